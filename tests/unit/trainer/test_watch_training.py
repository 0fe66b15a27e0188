"""When the watcher starts a training, and with which command."""

from typing import Any

import pytest

from plumbing.settings import load
from trainer.watch.drift import Look
from trainer.watch.looks import PastLook
from trainer.watch.models import Models
from trainer.watch.settings import Settings
from trainer.watch.training import command, reason_against

NOW_S = 1_790_000_000.0
HOUR_S = 3600.0


def settings(*argv: str) -> Settings:
    given = ["--kafka-bootstrap", "localhost:29092", *argv]
    return load(Settings, prefix="WATCHER", argv=given, environ={})


@pytest.mark.parametrize(
    ("change", "against"),
    [
        ({}, ""),
        ({"on_trial": True}, "version 2 is on trial"),
        ({"broken": 11}, "too many records are broken"),
        ({"decided_h": 5.9}, "a decision was taken lately"),
        ({"retry_s": 1.0}, "a training ended without a decision lately"),
        ({"drift_h": 23.9}, "there is too little telemetry of after the change"),
        ({"drift_h": 24.1}, ""),
        ({"old_s": 301.0}, "the evidence is old"),
    ],
)
def test_a_training_waits_for_a_reason(detector: Any, change: dict[str, Any], against: str) -> None:
    """A trial, broken records, the cool-down, one that failed, a drift of late, scorers that are silent."""
    usual = {"on_trial": False, "broken": 10, "decided_h": 6.1, "retry_s": 0.0, "old_s": 30.0, "drift_h": 1e5}
    usual |= change
    models = Models(
        challenger=detector.manifest(2) if usual["on_trial"] else None,
        decided_ms=int((NOW_S - usual["decided_h"] * HOUR_S) * 1000),
    )
    look = Look(cars=100, checked=1_000, broken_records=usual["broken"])
    newest = PastLook(0, int((NOW_S - usual["old_s"]) * 1000), look, ())
    times = {"since_s": NOW_S - usual["drift_h"] * HOUR_S, "retry_at_s": NOW_S + usual["retry_s"]}
    assert reason_against(models, newest, settings(), now_s=NOW_S, **times) == against


def test_a_training_gets_what_the_watcher_knows_and_what_a_person_adds() -> None:
    """A shadow of the same model from the same cluster; the person's words come last and win."""
    options = settings("--model-name", "m", "--edge-names", "a,b", "--schema-registry-url", "http://r")
    words = command(options, ["--share", "0.1"], "")
    assert words[1:5] == ["-m", "trainer", "train", "--share"]
    assert words[-2:] == ["--share", "0.1"]
    assert words[words.index("--edge-names") + 1] == "a,b"
    assert words[words.index("--schema-registry-url") + 1] == "http://r"
    assert "--kafka-properties" not in words
    launched = command(settings("--train-with", "launch"), ["--seed", "7"], "2026-11-30T10:00:00+00:00")
    follow = ["launch", "--if-running", "follow", "--", "--share", "0"]
    assert launched[3:] == [*follow, "--from", "2026-11-30T10:00:00+00:00", "--seed", "7"]
