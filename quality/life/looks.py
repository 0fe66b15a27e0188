"""When the trainer's watch would start a training for a fleet that is replayed."""

from contract.evidence import LEVELS, Evidence
from scorer.deviations import beyond
from scorer.model_states import ModelStates
from trainer.watch.drift import Look

LOOK, _LASTING = 60, 3  # samples between two looks, and looks in a row that start a training


class Looks:
    """Looks at a replayed fleet, as the trainer's watch takes them."""

    def __init__(self) -> None:
        self.triggered: int | None = None  # the sample after which drift had lasted
        self._learned = self._in_a_row = 0

    def after(self, sample: int, states: ModelStates, known: int) -> None:
        """Look at the states of the newest model of all cars after a sample, if it is time."""
        if self.triggered is not None or (sample + 1) % LOOK:
            return
        learned = int(states.all_warm().sum())
        evidence = Evidence(
            scorer="scorer-0", model_name="failure-detector", model_version=0, share=None, since=0, until=0,
            judged=0, crossings=(0,) * len(LEVELS), cars=known, learning=known - learned,
            strange=int(states.strange(slice(known)).sum()), signals=beyond(states, known),
        )  # fmt: skip
        drifts = Look.of([evidence], self._learned).drifts()
        self._learned = max(self._learned, learned)
        self._in_a_row = self._in_a_row + 1 if drifts else 0
        if self._in_a_row == _LASTING:
            self.triggered = sample
