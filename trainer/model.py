"""The detector: one graph from raw signals to score and contributions, everything inside.

An autoencoder that cannot copy a fault: every signal is expected from the *other* signals only. Its linear
part is the ridge regression of each signal on the coordinates that are not made of it; a small network, with
the same rule built into its weights' masks, adds what the operating point does that is not linear. What is
left over, the residual, is bent where its tails are long, and its norm by one constant matrix is the score.
"""

from typing import Any

import numpy as np

from contract.telemetry import Floats
from trainer.constants import COORDINATE_MOST, Constants
from trainer.coordinates import COUNT, OPERATING_POINT, SCORED, WIDTH, coordinates, parts, targets, visible

UNITS_PER_SIGNAL = 8


def network(seed: int, noise: float = 0.1) -> Any:
    """A Keras model (n, WIDTH) to (n, 18): what to add to the linear expectation; at first nothing.

    Each signal has its own few units, which see only the part of the operating point that may be used to
    expect it. Noise on the inputs in
    training (a denoising autoencoder) keeps it from leaning on small differences.
    """
    import keras

    keras.utils.set_random_seed(seed)
    may_see = visible() & OPERATING_POINT[:, None] & SCORED
    to_units = np.repeat(may_see, UNITS_PER_SIGNAL, axis=1).astype(np.float32)
    to_signals = np.repeat(np.eye(COUNT, dtype=np.float32), UNITS_PER_SIGNAL, axis=0)
    inputs = keras.Input((WIDTH,))
    hidden = keras.layers.Dense(
        COUNT * UNITS_PER_SIGNAL, activation="tanh", kernel_constraint=_keep(to_units)
    )
    added = keras.layers.Dense(COUNT, kernel_initializer="zeros", kernel_constraint=_keep(to_signals))
    model = keras.Model(inputs, added(hidden(keras.layers.GaussianNoise(noise)(inputs))))
    hidden.kernel.assign(hidden.kernel * to_units)
    return model


def _keep(mask: Floats) -> Any:
    """A Keras constraint: after every step, weights outside `mask` are 0 again."""
    import keras

    class Keep(keras.constraints.Constraint):  # type: ignore[misc]
        def __call__(self, kernel: Any) -> Any:
            return kernel * mask

    return Keep()


def nothing(seen: Any) -> Any:
    """The network of a detector that has none yet: (n, WIDTH) to 0."""
    return 0.0


class Graph:
    """The detector as TensorFlow functions: `inputs` for training, `run` for everybody."""

    def __init__(self, constants: Constants, added: Any) -> None:
        """`added` is the trained `network`."""
        self.constants, self.added = constants, added

    def inputs(self, signals: Any) -> tuple[Any, Any]:
        """(n, 18) raw signals to (conditions (n, WIDTH), what the linear part leaves over (n, 18))."""
        seen, residual, _ = self._prepared(signals)
        return seen, residual

    def run(self, signals: Any) -> tuple[Any, Any]:
        """(n, 18) raw signals to (score (n,), contribution (n, 18)).

        The contributions have signs and add up to the score squared.
        """
        import tensorflow as tf

        c, f4 = self.constants, np.float32
        seen, linear_residual, gap = self._prepared(signals)
        residual = tf.where(gap, tf.zeros_like(linear_residual), linear_residual - self.added(seen))
        bent = residual * (SCORED / c.residual_spread / c.knee).astype(f4)
        size = tf.abs(bent)  # asinh of the size, then the sign: no cancellation for large negative values
        arc = tf.math.log(size + tf.sqrt(size * size + 1.0)) * c.knee.astype(f4)
        bent = tf.where(bent < 0, -arc, arc)
        contribution = bent * (bent @ c.norm.astype(f4))
        square = tf.reduce_sum(contribution, axis=1)
        return tf.sqrt(tf.maximum(square, 0.0)), contribution

    def _prepared(self, signals: Any) -> tuple[Any, Any, Any]:
        """Conditions, linear residual, and where that is none (n, 18).

        A coordinate with a missing part (NaN) is filled by what the others say, and not judged.
        """
        import tensorflow as tf

        c, f4 = self.constants, np.float32
        centre, spread = c.centre.astype(f4), c.spread.astype(f4)
        low, high = c.low.astype(f4), c.high.astype(f4)
        present = tf.equal(signals, signals)
        # A value that is out of all bounds, also an infinite one, is as strange as can be, and finite.
        raw = _clipped((signals - centre[:COUNT]) / spread[:COUNT]) * spread[:COUNT] + centre[:COUNT]
        raw = tf.where(present, raw, centre[:COUNT])
        values = _clipped((coordinates(raw) - centre) * (1 / spread))
        missing = tf.where(present, tf.zeros_like(signals), tf.ones_like(signals))
        gap = missing @ parts().T.astype(f4) > 0
        values = tf.where(gap, tf.zeros_like(values), values)
        seen = tf.clip_by_value(values, low, high)
        seen = tf.where(gap, seen @ c.fill.astype(f4) + c.fill_bias.astype(f4), seen)
        residual = tf.gather(values, targets(), axis=1) - seen @ c.linear.astype(f4) - c.bias.astype(f4)
        unjudged = tf.gather(gap, targets(), axis=1)
        return seen, tf.where(unjudged, tf.zeros_like(residual), residual), unjudged

    def convert(self) -> bytes:
        """The graph as TFLite, float32, with a dynamic batch: tensors `signals`, `score`, `contribution`."""
        import tensorflow as tf

        @tf.function(input_signature=[tf.TensorSpec((None, COUNT), tf.float32, name="signals")])  # type: ignore[untyped-decorator]
        def serve(signals: Any) -> dict[str, Any]:
            score, contribution = self.run(signals)
            return {"score": score, "contribution": contribution}

        module = tf.Module()
        # Without the variables attached the converter writes a file without weights, and says nothing.
        module.variables_of_the_network = [weight.value for weight in self.added.variables]
        module.serve = serve
        converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], module)
        return bytes(converter.convert())


def _clipped(values: Any) -> Any:
    import tensorflow as tf

    return tf.clip_by_value(values, -COORDINATE_MOST, COORDINATE_MOST)
