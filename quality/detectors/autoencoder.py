"""The usual autoencoder: a bottleneck on z-scored single samples, scored by its reconstruction error."""

from typing import Any

import numpy as np

from contract.telemetry import SIGNALS, Floats
from quality.detectors import Detector
from quality.detectors.stateless import Standard, thinned

_HIDDEN = (14, 7, 7, 14)
_EPOCHS, _BATCH = 12, 512


class Autoencoder(Detector):
    """Dense layers 14-7-7-14 with tanh, linear output, mean squared error, Adam."""

    def fit(self, training: Floats) -> None:
        """Train in Keras. Scoring uses the same weights in numpy, so that TensorFlow is not needed."""
        import keras

        self._standard = Standard(training)
        rows = np.clip(self._standard(thinned(training)), -10, 10)
        keras.utils.set_random_seed(self._seed)
        width = rows.shape[1]
        layers = [keras.layers.Dense(size, activation="tanh") for size in _HIDDEN]
        model = keras.Sequential([keras.Input((width,)), *layers, keras.layers.Dense(width)])
        model.compile(optimizer=keras.optimizers.Adam(2e-3), loss="mse")
        model.fit(rows, rows, batch_size=_BATCH, epochs=_EPOCHS, verbose=0)
        self._layers: list[tuple[Floats, Floats]] = [tuple(layer.get_weights()) for layer in model.layers]

    def score(self, signals: Floats) -> Floats:
        """Scores (cars, samples): the root mean squared error."""
        z = self._standard(signals)
        scores = np.empty(z.shape[:2], np.float32)
        for car, rows in enumerate(z):
            error = self._rebuilt(rows) - rows
            scores[car] = np.sqrt(np.einsum("nk,nk->n", error, error) / error.shape[1])
        return scores

    def convert(self) -> bytes:
        """The TFLite graph as users deploy it: raw signals (n, K) float32, no state.

        Outputs score (n,) as above, and contribution (n, K), the squared errors; 0 for signals that are not
        judged.
        """
        import tensorflow as tf

        signals = tf.TensorSpec((None, len(SIGNALS)), tf.float32, name="signals")
        of_judged = np.eye(len(SIGNALS), dtype=np.float32)[self._standard.judged]

        @tf.function(input_signature=[signals])  # type: ignore[untyped-decorator]
        def serve(signals: Any) -> dict[str, Any]:
            z = (signals @ of_judged.T - self._standard.mean) * (1 / self._standard.deviation)
            rows = z
            for i, (weights, bias) in enumerate(self._layers):
                rows = rows @ weights + bias
                rows = tf.tanh(rows) if i < len(self._layers) - 1 else rows
            square = tf.square(rows - z)
            score = tf.sqrt(tf.reduce_mean(square, axis=1))
            return {"score": score, "contribution": square @ of_judged}

        module = tf.Module()
        module.serve = serve
        converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], module)
        return bytes(converter.convert())

    def _rebuilt(self, rows: Floats) -> Floats:
        for i, (weights, bias) in enumerate(self._layers):
            rows = rows @ weights + bias
            if i < len(self._layers) - 1:
                np.tanh(rows, out=rows)
        return rows
