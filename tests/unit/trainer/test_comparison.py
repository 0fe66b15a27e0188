"""Which detector is the candidate: with its network, or without it."""

from types import SimpleNamespace
from typing import Any

import pytest

from trainer.judge import comparison
from trainer.judge.evaluate import Difference
from trainer.model.learning import Learned


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The graphs that were judged, in order; with its network the candidate foresees more by `gain`."""
    graphs: list[bytes] = []

    def judge(graph: Any, learned: Learned, tflite: bytes, *, gain: Difference) -> Any:
        graphs.append(tflite)
        return SimpleNamespace(gains={"linear": gain} if learned.linear else {}), {"candidate": tflite}

    monkeypatch.setattr(comparison, "judge", judge)
    return graphs


def compared(gain: Difference) -> comparison.Compared:
    """The outcome for a candidate with a network and a detector without it."""
    network, linear = (SimpleNamespace(convert=lambda name=name: name) for name in (b"network", b"linear"))
    metrics = {"samples": 9, "network": {"shipped": "network", "gain": 0.04}}
    graph: Any = network
    without: Any = linear
    return comparison.compare(graph, Learned(without, metrics), gain=gain)


def test_a_network_that_surely_costs_recall_is_left_out(judged: list[bytes]):
    """Then the detector without it is judged as the candidate; before, the whole training was refused."""
    outcome = compared(Difference(-0.043, -0.058, -0.029))
    assert judged == [b"network", b"linear"]
    assert outcome.tflite == outcome.metrics["candidate"] == b"linear"
    assert outcome.learned.linear is None
    assert outcome.learned.metrics == {"samples": 9, "network": {"shipped": "linear", "gain": 0.04}}


@pytest.mark.parametrize("gain", [Difference(0.02, 0.01, 0.03), Difference(-0.02, -0.05, -0.005)])
def test_a_network_that_may_be_as_good_stays(judged: list[bytes], gain: Difference):
    """A loss that is not sure, or hardly one, is chance."""
    outcome = compared(gain)
    assert judged == [b"network"]
    assert outcome.tflite == b"network"
    assert outcome.learned.metrics["network"]["shipped"] == "network"
