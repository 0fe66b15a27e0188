"""The network beside the regression: an autoencoder, conditioned on the operating point, that cannot copy."""

from typing import Any

import numpy as np

from contract.telemetry import Floats
from trainer.model.constants import sight
from trainer.model.domain import Domain

# Hidden units of signals that may see the same of the operating point: together so many, and so many for each
# signal that sees its own part of it.
UNITS_SHARED, UNITS_ALONE = 24, 6


def masked_network(domain: Domain, seed: int, noise: float = 0.03) -> Any:
    """A Keras model (n, seen) to (n, J): what to add to the linear expectation; at first nothing.

    Signals share hidden units where, and only where, the same part of the operating point may be used to
    expect them. Noise on the inputs in training (a denoising autoencoder) keeps it from leaning on small
    differences.
    """
    import keras

    keras.utils.set_random_seed(seed)
    to_units, to_signals = _masks(domain)
    inputs = keras.Input((to_units.shape[0],), name="seen")
    # Names are in the graph's bytes: those that Keras makes up count on from training to training.
    hidden = keras.layers.Dense(
        to_units.shape[1], activation="tanh", kernel_constraint=_keep(to_units), name="hidden"
    )
    added = keras.layers.Dense(
        to_signals.shape[1], kernel_initializer="zeros", kernel_constraint=_keep(to_signals), name="added"
    )
    noisy = keras.layers.GaussianNoise(noise, name="noise")(inputs)
    model = keras.Model(inputs, added(hidden(noisy)), name="network")
    hidden.kernel.assign(hidden.kernel * to_units)
    return model


def _masks(domain: Domain) -> tuple[Floats, Floats]:
    """What of the seen each hidden unit sees (seen, units), and which judged signals it serves (units, J)."""
    conditions = np.concatenate([domain.conditions, np.ones(int(domain.conditions.sum()), bool)])
    may_see = sight(domain) & conditions[:, None]
    signals_by_sight: dict[bytes, list[int]] = {}
    for signal in range(may_see.shape[1]):
        signals_by_sight.setdefault(may_see[:, signal].tobytes(), []).append(signal)
    to_units, to_signals = [], []
    for sees, signals in signals_by_sight.items():
        units = UNITS_SHARED if len(signals) > 1 else UNITS_ALONE
        to_units += [np.frombuffer(sees, bool)] * units
        to_signals += [np.isin(np.arange(may_see.shape[1]), signals)] * units
    return np.array(to_units, np.float32).T, np.array(to_signals, np.float32)


def _keep(mask: Floats) -> Any:
    """A Keras constraint: after every step, weights outside `mask` are 0 again."""
    import keras

    class Keep(keras.constraints.Constraint):  # type: ignore[misc]
        def __call__(self, kernel: Any) -> Any:
            return kernel * mask

    return Keep()


def nothing(seen: Any) -> Any:
    """The network of a detector that has none: (n, seen) to 0."""
    return 0.0
