"""Makes detector.tflite, a smallest detector with the trainer's signature, for tests without TensorFlow.

    python tests/data/make_detector.py

score = sqrt(sum(z^2)) with z = (signals - mean) / spread, contribution = z^2; a missing signal counts 0.
"""

from pathlib import Path

import numpy as np
import tensorflow as tf

MEAN = np.array([85, 30, 20, 70, 380, 20, 15, 900, 0.3, 32, 32, 32, 32, 0, 0, 0, 0, 1500], np.float32)
SPREAD = np.array([8, 6, 9, 15, 12, 25, 10, 400, 0.2, 1, 1, 1, 1, 2, 2, 2, 2, 500], np.float32)


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


if __name__ == "__main__":
    detector = Detector()
    convert = tf.lite.TFLiteConverter.from_concrete_functions(
        [detector.__call__.get_concrete_function()], detector
    )
    Path(__file__).with_name("detector.tflite").write_bytes(convert.convert())
