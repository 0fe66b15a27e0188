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
from trainer.coordinates import coordinates, picks
from trainer.domain import Domain

# Hidden units of signals that may see the same of the operating point: together so many, and so many for each
# signal that sees its own part of it.
UNITS_SHARED, UNITS_ALONE = 24, 6
# Times this, all but zero is beyond 1 either way: its sign, without a comparison.
_STEEP = 1e20


def network(domain: Domain, seed: int, noise: float = 0.1) -> Any:
    """A Keras model (n, width) to (n, K): what to add to the linear expectation; at first nothing.

    Signals share hidden units where, and only where, the same part of the operating point may be used to
    expect them. Noise on the inputs in training (a denoising autoencoder) keeps it from leaning on small
    differences.
    """
    import keras

    keras.utils.set_random_seed(seed)
    to_units, to_signals = _masks(domain)
    inputs = keras.Input((domain.width,))
    hidden = keras.layers.Dense(to_units.shape[1], activation="tanh", kernel_constraint=_keep(to_units))
    added = keras.layers.Dense(domain.count, kernel_initializer="zeros", kernel_constraint=_keep(to_signals))
    model = keras.Model(inputs, added(hidden(keras.layers.GaussianNoise(noise)(inputs))))
    hidden.kernel.assign(hidden.kernel * to_units)
    return model


def _masks(domain: Domain) -> tuple[Floats, Floats]:
    """Which coordinates each hidden unit sees (width, units), and which signals it serves (units, K)."""
    may_see = domain.visible() & domain.conditions[:, None]
    signals_by_sight: dict[tuple[int, ...], list[int]] = {}
    for signal in np.flatnonzero(domain.judged).tolist():
        signals_by_sight.setdefault(tuple(np.flatnonzero(may_see[:, signal]).tolist()), []).append(signal)
    to_units, to_signals = [], []
    for sight, signals in signals_by_sight.items():
        units = UNITS_SHARED if len(signals) > 1 else UNITS_ALONE
        to_units += [np.isin(np.arange(domain.width), sight)] * units
        to_signals += [np.isin(np.arange(domain.count), signals)] * units
    return np.array(to_units, np.float32).T, np.array(to_signals, np.float32)


def _keep(mask: Floats) -> Any:
    """A Keras constraint: after every step, weights outside `mask` are 0 again."""
    import keras

    class Keep(keras.constraints.Constraint):  # type: ignore[misc]
        def __call__(self, kernel: Any) -> Any:
            return kernel * mask

    return Keep()


def nothing(seen: Any) -> Any:
    """The network of a detector that has none yet: (n, width) to 0."""
    return 0.0


class Graph:
    """The detector as TensorFlow functions: `inputs` for training, `run` for everybody."""

    def __init__(self, constants: Constants, added: Any) -> None:
        """`added` is the trained `network`."""
        self.constants, self.added = constants, added

    def inputs(self, signals: Any) -> tuple[Any, Any]:
        """(n, K) raw signals to (conditions (n, width), what the linear part leaves over (n, K))."""
        seen, residual, _ = self._prepared(signals)
        return seen, residual

    def run(self, signals: Any) -> tuple[Any, Any]:
        """(n, K) raw signals to (score (n,), contribution (n, K)).

        The contributions have signs and add up to the score squared.
        """
        import tensorflow as tf

        c, f4 = self.constants, np.float32
        seen, linear_residual, judged = self._prepared(signals)
        scale = (c.domain.judged / c.residual_spread / c.knee).astype(f4)
        residual = (linear_residual - self.added(seen)) * judged * scale
        size = tf.abs(residual)  # asinh of the size, then the sign: no cancellation for large negative values
        sign = tf.clip_by_value(residual * _STEEP, -1.0, 1.0)
        bent = tf.math.log(size + tf.sqrt(size * size + 1.0)) * sign
        contribution = bent * (bent @ (c.norm * c.knee * c.knee[:, None]).astype(f4))
        square = tf.reduce_sum(contribution, axis=1)
        return tf.sqrt(tf.maximum(square, 0.0)), contribution

    def _prepared(self, signals: Any) -> tuple[Any, Any, Any]:
        """Conditions, linear residual, and 1 where that is one, 0 where its signal is missing; (n, K).

        A coordinate with a missing part (NaN) is filled by what the others say, and not judged. Nearly all
        of it is products and sums, which TFLite runs several times faster than comparing and choosing.
        """
        import tensorflow as tf

        c, f4, domain = self.constants, np.float32, self.constants.domain
        count = domain.count
        centre, spread = c.centre.astype(f4), c.spread.astype(f4)
        low, high = c.low.astype(f4), c.high.astype(f4)
        # A value that is out of all bounds, also an infinite one, is as strange as can be, and finite.
        most = COORDINATE_MOST * spread[:count]
        bounded = tf.minimum(tf.maximum(signals, centre[:count] - most), centre[:count] + most)
        # What a bound makes of NaN differs between runtimes: it is replaced afterwards.
        raw = tf.where(tf.equal(signals, signals), bounded, centre[:count])
        missing = tf.cast(tf.not_equal(signals, signals), tf.float32)
        gap = tf.minimum(missing @ domain.parts().T.astype(f4), 1.0)  # 0 or 1, as missing
        values = _clipped((coordinates(domain, raw) - centre) * (1 / spread)) * (1.0 - gap)
        seen = tf.minimum(tf.maximum(values, low), high)
        filled = seen @ c.fill.astype(f4) + c.fill_bias.astype(f4)
        seen = seen + gap * filled - gap * seen
        judged = 1.0 - gap @ picks(domain.width, domain.targets())
        expected = seen @ c.linear.astype(f4) + c.bias.astype(f4)
        return seen, (values @ picks(domain.width, domain.targets()) - expected) * judged, judged

    def convert(self) -> bytes:
        """The graph as TFLite, float32, with a dynamic batch: tensors `signals`, `score`, `contribution`."""
        import tensorflow as tf

        spec = tf.TensorSpec((None, self.constants.domain.count), tf.float32, name="signals")

        @tf.function(input_signature=[spec])  # type: ignore[untyped-decorator]
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
