"""Makes the smallest detectors with the trainer's signature, for tests without TensorFlow.

    python tests/data/make_detector.py

detector.tflite, without state: score = sqrt(sum(z^2)) with z = (signals - mean) / spread, contribution = z^2;
a missing signal counts 0.

remembering.tflite, with state: z less the car's mean z in its first LEARNING samples, smoothed by SHARE; of
that the norm, 0 while it learns. State: samples seen, baseline (18), deviation (18).
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

MEAN = np.array([85, 30, 20, 70, 380, 20, 15, 900, 0.3, 32, 32, 32, 32, 0, 0, 0, 0, 1500], np.float32)
SPREAD = np.array([8, 6, 9, 15, 12, 25, 10, 400, 0.2, 1, 1, 1, 1, 2, 2, 2, 2, 500], np.float32)
LEARNING, SHARE = 8.0, 0.25


class Detector(tf.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mean = tf.Variable(MEAN)
        self.spread = tf.Variable(SPREAD)

    @tf.function(input_signature=[tf.TensorSpec((None, 18), tf.float32, name="signals")])
    def __call__(self, signals):
        z = (signals - self.mean) / self.spread
        contribution = tf.where(tf.equal(signals, signals), z * z, tf.zeros_like(z))
        return {"score": tf.sqrt(tf.reduce_sum(contribution, axis=1)), "contribution": contribution}


class Remembering(Detector):
    @tf.function(
        input_signature=[
            tf.TensorSpec((None, 18), tf.float32, name="signals"),
            tf.TensorSpec((None, 37), tf.float32, name="state"),
        ]
    )
    def __call__(self, signals, state):
        z = (signals - self.mean) / self.spread
        z = tf.where(tf.equal(signals, signals), z, tf.zeros_like(z))
        seen, baseline, deviation = state[:, :1], state[:, 1:19], state[:, 19:]
        learns = tf.cast(seen < LEARNING, tf.float32)
        seen = seen + learns
        baseline = baseline + learns * (z - baseline) / seen
        deviation = deviation + (1.0 - learns) * SHARE * (z - baseline - deviation)
        contribution = deviation * deviation
        return {
            "score": tf.sqrt(tf.reduce_sum(contribution, axis=1)),
            "contribution": contribution,
            "state": tf.concat([seen, baseline, deviation], axis=1),
        }


def convert(detector: Detector) -> bytes:
    function = detector.__call__.get_concrete_function()
    return tf.lite.TFLiteConverter.from_concrete_functions([function], detector).convert()


if __name__ == "__main__":
    for name, detector in {"detector": Detector(), "remembering": Remembering()}.items():
        Path(__file__).with_name(f"{name}.tflite").write_bytes(convert(detector))
