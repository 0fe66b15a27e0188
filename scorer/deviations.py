"""How many cars deviate from themselves, signal by signal: what evidence says of the fleet."""

import numpy as np
from numpy.typing import NDArray

from contract.evidence import FAR, NEAR, Beyond
from contract.manifest import Manifest
from contract.signals import signal_settings
from contract.state_layout import StateLayout
from contract.telemetry import Floats
from scorer.model_states import ModelStates

_BLOCK = 8_192  # cars at a time, whose deviations stay in the processor's cache


def beyond(states: ModelStates, known: int) -> tuple[Beyond, ...]:
    """For each signal that the model judges, how many of the first `known` cars deviate, and which way.

    Only cars count that the model has learned and judges. Empty where the manifest does not say how far
    healthy cars deviate. It takes 4 ms for 100 000 cars, so once a minute is nothing in the scorer's loop.
    """
    manifest, layout = states.model.manifest, states.layout
    names = _judged(manifest)
    if layout is None or (bounds := _bounds(manifest, layout)) is None or bounds.shape[1] != len(names):
        return ()
    counts = np.zeros((4, len(names)), np.intp)
    for start in range(0, known, _BLOCK):
        counts += _counts(states.column.values[start : min(start + _BLOCK, known)], layout, bounds)
    return tuple(
        Beyond(name=name, far_below=far_below, below=below, above=above, far_above=far_above)
        for name, (far_below, below, above, far_above) in zip(names, counts.T.tolist(), strict=True)
    )


def _judged(manifest: Manifest) -> list[str]:
    """The names of the signals that the deviation's columns stand for, in their order."""
    judged = {signal.name for signal in signal_settings().signals if signal.judged}
    return [name for name in manifest.signals if name in judged]


def _bounds(manifest: Manifest, layout: StateLayout) -> Floats | None:
    """(4, J) deviations far below, below, above and far above what is usual; None where it is not known."""
    if manifest.hypotheses is None:
        return None
    if (healthy := manifest.hypotheses.healthy(range(*layout.deviation))) is None:
        return None
    usual, spread = healthy
    return (usual + np.multiply.outer([-FAR, -NEAR, NEAR, FAR], spread)).astype(np.float32)


def _counts(state: Floats, layout: StateLayout, bounds: Floats) -> NDArray[np.intp]:
    """(4, J) how many of the cars with these states (n, width) are beyond each bound."""
    judged = layout.judged(state)
    deviation = state[:, slice(*layout.deviation)]
    # By signal: comparisons along the cars, and counts of whole rows, are several times faster.
    by_signal = np.ascontiguousarray((deviation if judged.all() else deviation[judged]).T)
    far_below, below, above, far_above = bounds[:, :, None]
    sides = (by_signal < far_below, by_signal < below, by_signal > above, by_signal > far_above)
    return np.array([[np.count_nonzero(row) for row in side] for side in sides])
