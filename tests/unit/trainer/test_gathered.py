"""Evidence, alerts and reports of the log as the evidence of a trial."""

import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from unittest.mock import Mock

import pytest
from prometheus_client import REGISTRY

from contract.manifest import Decision, Manifest
from contract.trial import places
from plumbing.settings import load
from trainer.publication import Entry
from trainer.watch import models, shown
from trainer.watch.arrived import Arrived
from trainer.watch.gathered import trial_of
from trainer.watch.models import Models
from trainer.watch.reader import Facts
from trainer.watch.settings import Settings
from trainer.watch.verdict import judge

from .minutes import BEGAN_MS, EDGE, MINUTE_MS, as_read, far, record

NOW_S = BEGAN_MS / 1000 + 3600
PASSED = Decision(published=True, reasons=("passed the gate",))
SHADOW = replace(PASSED, share=0.0, on_trial=0.5)


def settings(*argv: str) -> Settings:
    given = ["--kafka-bootstrap", "localhost:29092", "--horizon-s", "1000000", *argv]
    return load(Settings, prefix="WATCHER", argv=given, environ={})


def at(manifest: Manifest) -> Manifest:
    """With a sample a minute."""
    assert manifest.state is not None
    return replace(manifest, state=replace(manifest.state, sample_interval_s=60.0))


@pytest.fixture
def facts(remembering: Any) -> Facts:
    """What is known of champion 1 and challenger 2, whose trial has just begun."""
    now = Models(
        champion=at(remembering.manifest(1)),
        challenger=at(remembering.manifest(2, decision=SHADOW)),
        versions=(1, 2),
        began_ms=BEGAN_MS,
    )
    return Facts(settings(), now, Arrived(("edge",), BEGAN_MS))


def alert(version: int, car: str, minute: int, **fields: Any) -> dict[str, Any]:
    at_ms = BEGAN_MS + minute * MINUTE_MS
    usual: dict[str, Any] = {
        "car_id": car, "alert_id": f"{car}-{version}-{minute}", "action": "opened", "component": "battery",
        "opened_at": at_ms, "scored_at": at_ms, "model_version": version,
    }  # fmt: skip
    return usual | fields


def report(car: str, minute: int, action: str = "failed", **fields: Any) -> dict[str, Any]:
    at_ms = BEGAN_MS + minute * MINUTE_MS
    usual = {"car_id": car, "report_id": f"{car}-{minute}-{action}", "component": "battery", "action": action}
    return as_read("maintenance", usual | {"occurred_at": at_ms, "reported_at": at_ms} | fields)


def gathered(facts: Facts) -> Any:
    return trial_of(facts, settings(), NOW_S)


def test_counts_add_up_over_scorers_edges_and_time(facts: Facts) -> None:
    """Driving is samples times the interval; how cars stand is what every scorer said last."""
    for minute in (1, 2):
        for edge in ("a", "b"):
            for version in (1, 2):
                facts.take(f"{edge}.x", "evidence", record(version, minute, 3, learning=5 - minute, alone=1))
    trial = gathered(facts)
    assert trial.challenger.car_weeks == pytest.approx(400 * 60 / 604_800)
    assert (trial.challenger.openings, trial.challenger.alone) == (12, 4)
    assert (trial.champion.cars, trial.champion.learning) == (200, 6)
    assert trial.learning_times == pytest.approx(400 / (200 * 8))


def test_only_this_trial_counts(facts: Facts) -> None:
    """Not what came before it, not another model, not a version in another role, not other levels."""
    facts.take(EDGE, "evidence", record(1, 0, 3))
    facts.take(EDGE, "evidence", record(2, 1, 3, model_name="another"))
    facts.take(EDGE, "evidence", record(2, 1, 3, share=None))
    facts.take(EDGE, "evidence", record(1, 1, 3, share=0.1))
    facts.take(EDGE, "evidence", record(3, 1, 3))
    facts.take(EDGE, "evidence", record(2, 1, 3) | {"crossings": (1, 2)})
    trial = gathered(facts)
    assert trial.champion.openings == trial.challenger.openings == 0


def test_a_scorer_that_is_gone_has_no_cars_any_more(facts: Facts) -> None:
    """Its counts stay, its cars are another's."""
    facts.take(EDGE, "evidence", record(1, 1, 3, scorer="gone"))
    for minute in range(1, 6):
        facts.take(EDGE, "evidence", record(1, minute, 1))
    trial = gathered(facts)
    assert (trial.champion.cars, trial.champion.openings) == (100, 8)


def on_trial(count: int, takes: bool = True) -> list[str]:
    """Cars that take part in the trial of version 2, or do not."""
    cars = [f"car-{number}" for number in range(100)]
    below = places([car.encode() for car in cars], 2) < 0.5
    return [car for car, mine in zip(cars, below.tolist(), strict=True) if mine == takes][:count]


def test_failures_count_from_when_both_models_judge(facts: Facts) -> None:
    """The challenger cannot foresee what it has not learned; one that the champion missed proves nothing."""
    early, both, missed, unforeseen = on_trial(4)
    for car, alerted, failed in ((early, 3, 30), (both, 5, 30), (missed, 5, 30)):
        facts.take("edge.alerts", "alert", alert(1, car, alerted))
        facts.take("edge.maintenance", "maintenance", report(car, failed))
    facts.take("edge.maintenance", "maintenance", report(unforeseen, 30))
    facts.take(EDGE, "alert", alert(2, both, 6))
    assert gathered(facts).foreseen == 0
    for minute, learning in ((2, 50), (4, 0)):
        facts.take(EDGE, "evidence", record(1, minute))
        facts.take(EDGE, "evidence", record(2, minute, learning=learning))
    trial = gathered(facts)
    assert (trial.foreseen, trial.foreseen_too) == (2, 1)
    assert (trial.champion.explained, trial.challenger.explained) == (3, 1)
    assert trial.champion.explained_elsewhere == 0


def test_what_fails_in_cars_that_are_not_on_trial_says_nothing_of_the_challenger(facts: Facts) -> None:
    """It is missed by no model that does not see the car, and explains no alert that is compared."""
    judged = {"cars": 50, "judged": 50}
    for minute in (1, 2):
        facts.take(EDGE, "evidence", record(1, minute))
        facts.take(EDGE, "evidence", record(2, minute, **judged))
    mine, others = on_trial(1), on_trial(3, takes=False)
    for car in mine + others:
        facts.take("edge.alerts", "alert", alert(1, car, 5))
        facts.take("edge.maintenance", "maintenance", report(car, 30))
    facts.take(EDGE, "alert", alert(2, mine[0], 6))
    trial = gathered(facts)
    assert (trial.foreseen, trial.foreseen_too) == (1, 1)
    assert (trial.champion.explained, trial.champion.explained_elsewhere) == (4, 3)
    assert {version: tally.recall for version, tally in shown.tallies(facts, NOW_S).items()} == {
        1: 1.0,
        2: 1.0,
    }


def test_more_cars_on_trial_have_to_be_learned_first(facts: Facts) -> None:
    """A share over a half brings cars that the challenger has not seen; a smaller share takes none away."""
    for minute, share, cars, learning in (
        (1, 0.0, 50, 0),
        (2, 0.8, 80, 30),
        (3, 0.8, 80, 0),
        (4, 0.0, 80, 0),
    ):
        facts.take(EDGE, "evidence", record(1, minute))
        facts.take(EDGE, "evidence", record(2, minute, share=share, cars=cars, learning=learning))
        since_ms = facts.counts.both_judge_since_ms
        assert (since_ms and (since_ms - BEGAN_MS) // MINUTE_MS) == {1: 1, 2: None, 3: 3, 4: 3}[minute]


def test_a_model_is_judged_since_it_is_what_it_is(remembering: Any) -> None:
    """A promoted one not by failures of cars that were not on its trial."""
    log = [(1, PASSED), (2, SHADOW), (2, PASSED), (3, SHADOW), (3, replace(SHADOW, share=0.8))]
    entries = [
        Entry(remembering.manifest(version, decision=decision), b"", written_ms=1000 * number)
        for number, (version, decision) in enumerate(log)
    ]
    publication = Mock(history=lambda: entries, champion=lambda: entries[2], challenger=lambda: entries[-1])
    assert models.read(publication).since_s == {1: 0.0, 2: 2.0, 3: 3.0}


def test_inspections_of_moved_cars_are_counted_by_car(facts: Facts) -> None:
    """An inspection without a finding, a failure, or nobody has looked; not alerts of long before."""
    for car, minute in (("nothing", -60), ("found", 2), ("nobody", 3), ("long ago", -2_000)):
        facts.take("edge.alerts", "alert", alert(1, car, minute))
    for car in ("nothing", "found", "long ago"):
        seen = {"inspected": True, "alert_id": None}
        facts.take("edge.maintenance", "maintenance", report(car, 10, "repaired", **seen))
    facts.take("edge.maintenance", "maintenance", report("found", 20))
    trial = gathered(facts)
    assert (trial.moved, trial.found, trial.nothing_found) == (3, 1, 1)


@pytest.mark.parametrize(("since", "moved"), [(-700, 2), (-30, 1), (None, 1)])
def test_cars_have_moved_since_the_time_from_which_the_challenger_learned(
    facts: Facts, since: int | None, moved: int
) -> None:
    """That is when the drift began; without it nobody knows, and it may be as long ago as the cool-down."""
    began = "" if since is None else datetime.fromtimestamp(BEGAN_MS / 1000 + 60 * since, UTC).isoformat()
    assert facts.models.challenger is not None
    learned = replace(facts.models.challenger, metrics={"training": {"from": began}})
    facts.models = replace(facts.models, challenger=learned)
    for car, minute in (("a", -600), ("b", -20)):
        facts.take("edge.alerts", "alert", alert(1, car, minute))
    assert gathered(facts).moved == moved


def test_an_alert_of_another_signal_is_no_move(facts: Facts) -> None:
    """While the voltage drifts a car with a flat tyre is a car with a flat tyre."""
    for minute in (1, 2, 3):
        facts.looks.add((EDGE, "a"), far(minute, 50))
    for signal in ("battery_voltage", "tire_pressure_1_1"):
        made_of = [{"name": signal, "share": 0.8, "value": 1.0}]
        facts.take("edge.alerts", "alert", alert(1, signal, 2, signals=made_of))
    trial = gathered(facts)
    assert [drift.signal for drift in trial.drift] == ["battery_voltage"]
    assert trial.moved == 1


def test_a_trial_begins_once(detector: Any) -> None:
    """Another share and a hold go on; after a withdrawal or another champion it is a new one."""
    withdrawn = Decision(published=False, reasons=("withdrawn: by hand",))
    refused = Decision(published=False, reasons=("worse",))
    log = [
        (1, PASSED),
        (2, SHADOW),
        (3, refused),
        (2, replace(SHADOW, share=0.1)),
        (2, replace(SHADOW, held=True)),
    ]

    def began(decisions: list[tuple[int, Decision]]) -> int:
        entries = [
            Entry(detector.manifest(version, decision=decision), b"", written_ms=10 * number)
            for number, (version, decision) in enumerate(decisions)
        ]
        return models.began_ms(entries, entries[-1])

    assert began(log) == 10
    assert began([*log, (2, withdrawn), (2, SHADOW)]) == 60
    assert began([*log, (4, PASSED), (2, SHADOW)]) == 60


def test_the_age_of_the_evidence_is_measured(facts: Facts) -> None:
    """From the end of the newest look that is over: it grows where nothing more is counted."""
    for minute in (1, 2, 3):
        facts.looks.add((EDGE, "a"), far(minute, 0))
    past = facts.looks.over()
    shown.measure(facts, past, None, None, past[-1].ended_ms / 1000 + 7)
    assert REGISTRY.get_sample_value("trainer_evidence_age_seconds") == pytest.approx(7, abs=0.01)


def test_evidence_that_never_came_grows_old(facts: Facts) -> None:
    """From the last decision about the models on, or nobody would hear that the scorers count nothing."""
    facts.models = replace(facts.models, decided_ms=BEGAN_MS)
    shown.measure(facts, (), None, None, BEGAN_MS / 1000 + 1_000)
    assert REGISTRY.get_sample_value("trainer_evidence_age_seconds") == pytest.approx(1_000)


def test_the_table_shows_both_models_and_the_verdict(facts: Facts) -> None:
    """A row for each, then what would be decided, and why."""
    facts.take(EDGE, "evidence", record(2, 1, 3))
    trial, options = gathered(facts), settings()
    text = shown.text(facts, trial, judge(trial, options.rules), 0.1, time.time())
    lines = text.splitlines()
    assert lines[0] == "version 2 is on trial, share 0"
    assert lines[3].split()[:2] == ["champion", "1"]
    assert lines[4].split()[:2] == ["challenger", "2"]
    assert lines[5] == "wait:"
    assert "at least 100 are needed" in lines[6]


def test_the_watcher_loads_no_tensorflow() -> None:
    """It is a small process, and starts at once."""
    code = "import sys, trainer.watch.command; print({'tensorflow', 'keras'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
