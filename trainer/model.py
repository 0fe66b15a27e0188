"""The detector: one graph from raw signals to score and contributions, everything inside.

An autoencoder that cannot copy a fault: every signal is expected from the *other* signals only. Its linear
part is the ridge regression of each signal on the coordinates that have no part of it; a small network, with
the same rule built into its weights' masks, adds what is not linear. What is left over, the residual, is
bent where its tails are long, and its norm by one constant matrix is the score.

Only `network`, `Graph` and `convert` touch TensorFlow, and import it themselves.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer import robust
from trainer.coordinates import (
    COUNT,
    OPERATING_POINT,
    RESOLUTION,
    SCORED,
    WIDTH,
    coordinates,
    targets,
    visible,
)

# Standardised: beyond these a value says no more than "far off", and numbers stay finite.
_COORDINATE_MOST, _CONDITION_MOST = 100.0, 4.0
UNITS_PER_SIGNAL = 8

F4 = NDArray[np.float32]


@dataclass
class Constants:
    """What the statistics of the training cars give; the graph holds them as constants (float32).

    Of the coordinates: `centre`, `spread` (WIDTH,). Of signal expected from signals, where one is missing:
    `fill` (18, 18), `fill_bias` (18,). Of signal from coordinates: `linear` (WIDTH, 18), `bias` (18,). Of the
    residual: `residual_spread`, `knee` (18,), `norm` (18, 18).
    """

    centre: NDArray[Any]
    spread: NDArray[Any]
    fill: NDArray[Any]
    fill_bias: NDArray[Any]
    linear: NDArray[Any]
    bias: NDArray[Any]
    residual_spread: NDArray[Any]
    knee: NDArray[Any]
    norm: NDArray[Any]


def linear_constants(signals: F4) -> Constants:
    """The whole linear detector from healthy training samples (n, 18), all finite."""
    values = np.asarray(coordinates(signals))
    centre, spread = robust.centre_and_spread(values, RESOLUTION)
    placed = np.clip((values - centre) / spread, -_COORDINATE_MOST, _COORDINATE_MOST)
    seen, wanted = _bounded(placed), np.clip(placed[:, targets()], -6, 6)
    fill, fill_bias = robust.leave_out_linear(seen[:, :COUNT], seen[:, :COUNT], ~np.eye(COUNT, dtype=bool))
    linear, bias = robust.leave_out_linear(seen, wanted, visible())
    constants = Constants(
        centre=centre,
        spread=spread,
        fill=fill,
        fill_bias=fill_bias,
        linear=linear,
        bias=bias,
        residual_spread=np.ones(COUNT),
        knee=np.ones(COUNT),
        norm=np.eye(COUNT),
    )
    set_norm(constants, placed[:, targets()] - seen @ linear - bias)
    return constants


def set_norm(constants: Constants, residual: NDArray[Any]) -> None:
    """Fit bend and norm to the residuals (n, 18) of healthy training samples."""
    floor = (RESOLUTION / constants.spread)[targets()]
    constants.residual_spread, constants.knee = robust.bend(residual, floor)
    bent = _bent(constants, residual)[:, SCORED]
    constants.norm = np.zeros((COUNT, COUNT))
    constants.norm[np.ix_(SCORED, SCORED)] = robust.precision(bent)


def residual_score(constants: Constants, residual: NDArray[Any]) -> NDArray[Any]:
    """(n,) scores of residuals (n, 18), as the graph computes them."""
    bent = _bent(constants, residual)
    return np.asarray(np.sqrt(np.maximum(((bent @ constants.norm) * bent).sum(axis=1), 0)))


def _bent(constants: Constants, residual: NDArray[Any]) -> NDArray[Any]:
    knee = constants.knee
    return np.asarray(knee * np.arcsinh(residual / constants.residual_spread / knee) * SCORED)


def _bounded(placed: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.clip(placed, -_CONDITION_MOST, _CONDITION_MOST))


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


def _keep(mask: F4) -> Any:
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
        """(n, 18) raw signals to (conditions of the network (n, WIDTH), linear residual (n, 18)).

        Linear residual: what the network is to expect. A missing signal (NaN) is filled by what the others
        say and has the residual 0.
        """
        import tensorflow as tf

        c, f4 = self.constants, np.float32
        raw_centre, raw_spread = c.centre[:COUNT].astype(f4), c.spread[:COUNT].astype(f4)
        present = tf.equal(signals, signals)
        placed = _clipped((signals - raw_centre) / raw_spread, _COORDINATE_MOST)
        placed = tf.where(present, placed, tf.zeros_like(placed))
        expected = _clipped(placed, _CONDITION_MOST) @ c.fill.astype(f4) + c.fill_bias.astype(f4)
        whole = tf.where(present, placed, expected) * raw_spread + raw_centre
        values = (coordinates(whole) - c.centre.astype(f4)) * (1 / c.spread).astype(f4)
        values = _clipped(values, _COORDINATE_MOST)
        seen = _clipped(values, _CONDITION_MOST)
        judged = tf.gather(values, targets(), axis=1)
        residual = judged - seen @ c.linear.astype(f4) - c.bias.astype(f4)
        return seen, tf.where(present, residual, tf.zeros_like(residual))

    def run(self, signals: Any) -> tuple[Any, Any]:
        """(n, 18) raw signals to (score (n,), contribution (n, 18)).

        The contributions have signs and add up to the score squared.
        """
        import tensorflow as tf

        c, f4 = self.constants, np.float32
        seen, linear_residual = self.inputs(signals)
        residual = tf.where(
            tf.equal(signals, signals), linear_residual - self.added(seen), tf.zeros_like(linear_residual)
        )
        bent = residual * (SCORED / c.residual_spread / c.knee).astype(f4)
        size = tf.abs(bent)  # asinh of the size, then the sign: no cancellation for large negative values
        arc = tf.math.log(size + tf.sqrt(size * size + 1.0)) * c.knee.astype(f4)
        bent = tf.where(bent < 0, -arc, arc)
        contribution = bent * (bent @ c.norm.astype(f4))
        square = tf.reduce_sum(contribution, axis=1)
        return tf.sqrt(tf.maximum(square, 0.0)), contribution

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


def _clipped(values: Any, most: float) -> Any:
    import tensorflow as tf

    return tf.clip_by_value(values, -most, most)
