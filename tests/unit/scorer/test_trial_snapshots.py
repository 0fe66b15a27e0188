"""The challenger's states outlive the replica that learned them."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from contract import records
from scorer.model import Model
from scorer.snapshots import Snapshots

from .fleet import Fleet
from .trial import CARS, Drive, learned, model, openings

NAME = "failure-detector"


@pytest.fixture
def make(remembering: Any) -> Any:
    return partial(model, remembering)


@pytest.fixture
def drive(remembering: Any) -> Drive:
    return Drive(remembering)


def snapshots(fleet: Fleet, *earlier: Model) -> Snapshots:
    return Snapshots(fleet.detector, NAME, 10.0, {each.manifest.version: each for each in earlier}.get)


def written(fleet: Fleet) -> dict[bytes, tuple[int, bytes]]:
    """The last record of each key, as a successor reads them."""
    return {key: (p, value) for p, key, value in snapshots(fleet).changed_in([0]) if value is not None}


def successor(old: Fleet, challenger: Model | None, *models: Model) -> Fleet:
    """A replica that takes over: the last of the models is the champion, the others are known."""
    new = Fleet(models[-1])
    if challenger:
        new.detector.challenge(challenger)
    snapshots(new, *models).restore(written(old))
    new._seq = old._seq
    return new


def states(fleet: Fleet) -> Any:
    assert fleet.detector.trial
    numbers = [fleet.number(car) for car in CARS]
    return fleet.detector.trial.states.column.values[numbers]


@pytest.mark.parametrize("rounds", [2, 5])
@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_a_successor_goes_on_with_the_trial(make: Any, drive: Drive, rounds: int, share: float) -> None:
    """Learned or not, states, levels and alerts of both sides are those of the replica before."""
    one, first = Fleet(make(1)), Fleet(make(1))
    challenger = make(2, by=0.5, share=share)
    for fleet in (one, first):
        fleet.detector.generations.newest.column.values[:] = 0
    course = [0.0] * 8 + [0.0] * rounds + [4.0] * 6 + [0.0] * 6 + [4.0] * 3
    signals = [drive.signals(faulty) for faulty in course]
    stop = 8 + rounds + (0 if rounds == 2 else 5)
    for fleet in (one, first):
        for number, each in enumerate(signals[:stop]):
            if number == 8:
                fleet.detector.challenge(challenger)
            fleet.samples(CARS, each)
    second = successor(first, challenger, make(1))
    np.testing.assert_array_equal(states(second), states(one))
    for each in signals[stop:]:
        for fleet in (one, second):
            fleet.samples(CARS, each)
    np.testing.assert_allclose(states(second), states(one), atol=1e-6)
    assert first.changes + second.changes == one.changes
    hidden = [(a["alert_id"], a["action"], a["model_version"]) for a in first.unseen + second.unseen]
    assert hidden == [(a["alert_id"], a["action"], a["model_version"]) for a in one.unseen]
    assert first.scores | second.scores == pytest.approx(one.scores, rel=1e-4)
    assert first.versions | second.versions == one.versions


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_alerts_of_one_side_alone_survive(make: Any, drive: Drive, share: float) -> None:
    """The successor closes what the challenger alone has opened, on the topic where it was opened."""
    challenger, visible = make(2, share=share, threshold=2.0), []
    first = learned(Fleet(make(1)), drive, challenger)
    for _ in range(12):
        visible += first.samples(CARS, drive.signals(0.6))[1]  # 0.6 √K: over 2, under 80 % of 4
    second = successor(first, challenger, make(1))
    for _ in range(15):
        visible += second.samples(CARS, drive.signals())[1]
    unseen = first.unseen + second.unseen
    assert (len(openings(visible)), len(openings(unseen))) == ((8, 0) if share else (0, 8))


def test_a_promotion_in_between_costs_nothing(make: Any, drive: Drive) -> None:
    """States that were written in the trial serve the replica that starts with the promoted champion."""
    old = learned(Fleet(make(1)), drive, make(2, by=0.5, share=0.0))
    expected = states(old).copy()
    new = successor(old, None, make(1), make(2, by=0.5))
    assert new.detector.generations.counts() == (0, 0, 0)
    for number, car in enumerate(CARS):
        np.testing.assert_array_equal(new.state(car, 2), expected[number])


def test_scorers_of_before_trials_leave_the_states_out(make: Any, drive: Drive) -> None:
    """Key and model name are others, and the record is of the schema that they know."""
    old = learned(Fleet(make(1)), drive, make(2, share=0.0))
    mine = {key: value for key, (_, value) in written(old).items() if key.endswith(b"/challenger")}
    assert set(mine) == {f"{car}/challenger".encode() for car in CARS}
    for key, value in mine.items():
        name, fields = records.decode(value)
        assert (name, fields["model_name"]) == ("car_state", f"{NAME}/challenger")
        assert fields["car_id"] == key.decode().removesuffix("/challenger")
        assert [entry["model_version"] for entry in fields["states"]] == [2]


def test_states_are_written_every_sixth_interval(make: Any, drive: Drive) -> None:
    """All cars of the challenger once a minute, those of the champion every 10 s."""
    fleet = learned(Fleet(make(1)), drive, make(2, share=0.0))
    writer = snapshots(fleet)
    counts = []
    for interval in range(1, 13):
        fleet.samples(CARS, drive.signals())
        keys = [key for _, key, _ in writer.due(1_000.0 * interval, with_a_batch=True)]
        counts.append((len(keys), sum(key.endswith(b"/challenger") for key in keys)))
    assert counts == ([(40, 0)] * 5 + [(80, 40)]) * 2


@pytest.mark.parametrize("promoted", [True, False])
def test_after_the_trial_the_records_are_deleted(make: Any, drive: Drive, promoted: bool) -> None:
    """Each car's own record is written once more, and then the challenger's deleted, once."""
    fleet = learned(Fleet(make(1)), drive, make(2, share=0.0))
    writer = snapshots(fleet)
    assert len(writer.changed_in([0])) == 80
    if promoted:
        fleet.detector.add(make(2))
    else:
        fleet.detector.end_trial()
    found = writer.due(1_000.0, with_a_batch=True)
    assert [value is None for _, _, value in found] == [False] * 40 + [True] * 40
    assert {key for _, key, value in found if value is None} == {f"{car}/challenger".encode() for car in CARS}
    fleet.samples(CARS, drive.signals())
    assert len(writer.due(2_000.0, with_a_batch=True)) == 40


def test_records_of_a_trial_that_is_over_are_deleted_by_the_successor(make: Any, drive: Drive) -> None:
    """A replica that was killed at the end of the trial leaves nothing behind."""
    old = learned(Fleet(make(1)), drive, make(2, share=0.0))
    new = Fleet(make(1))
    writer = snapshots(new)
    writer.restore(written(old))
    found = writer.due(1_000.0, with_a_batch=True)
    assert sum(value is None for _, _, value in found) == 40


def test_broken_states_are_learned_anew(make: Any, drive: Drive) -> None:
    """A state of another size, or that is not finite, is left out and counted; the car's others are used."""
    old = learned(Fleet(make(1)), drive, make(2, share=0.0))
    last = written(old)
    for car, data in (("car-0", b"1234"), ("car-1", np.full(states(old).shape[1], np.nan, "<f4").tobytes())):
        key = f"{car}/challenger".encode()
        fields = records.decode(last[key][1])[1]
        fields["states"][0]["state"] = data
        last[key] = 0, records.encode("car_state", fields)
    new = Fleet(make(1))
    new.detector.challenge(make(2, share=0.0))
    snapshots(new).restore(last)
    assert new.detector.trial
    assert new.detector.trial.learning == 2
    assert new.detector.generations.counts() == (0, 0, 0)
