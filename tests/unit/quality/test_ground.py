"""The fleet's samples on disk are the fleet's, and the truth is beside them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quality.ground import Ground, fingerprint
from quality.settings import CHANGES, FAULTY_IN, HOUR_S, PARTS, Settings

SETTINGS = Settings(
    hours=20.5,
    interval_s=1800.0,
    training_cars=8,
    calibration_cars=8,
    healthy_cars=8,
    faulty_cars=12,
    changed_cars=8,
    labelled_cars=8,
)


def test_a_part_on_disk_is_the_fleet_step_by_step(tmp_path: Path):
    """Written in blocks of time, read in blocks of cars: the same numbers as from the fleet itself."""
    ground = Ground(replace(SETTINGS, interval_s=3600.0), 3, tmp_path)
    part, shares = ground.part("training"), list[float]()
    ground.simulate(lambda step, share: shares.append(share) if "training" in step else None)
    fleet = ground.fleet("training")
    stepped = [fleet.step(slice(0, 8), (i + 1) * 3600.0, 3600.0) for i in range(ground.settings.samples)]
    read = np.concatenate([signals for _, signals in part.groups()])
    np.testing.assert_array_equal(read, np.stack(stepped, axis=1))
    assert shares[-1] == 1.0


def test_a_file_that_is_not_whole_has_no_name(tmp_path: Path):
    """A run that is ended while it simulates leaves nothing that a later one would take for samples."""
    ground = Ground(SETTINGS, 3, tmp_path)

    def broken(step: str, share: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ground.simulate(broken)
    assert [path.name for path in tmp_path.iterdir()] == ["training.part"]


def test_parts_share_no_car(tmp_path: Path):
    """Learning, calibration and test cars are different cars; only the faulty ones are tested four times."""
    ground = Ground(SETTINGS, 3, tmp_path)
    parts = set(PARTS) - set(FAULTY_IN.values())
    cars = [set(range(fleet.first, fleet.first + fleet.cars)) for fleet in map(ground.fleet, parts)]
    assert sum(map(len, cars)) == len(set.union(*cars))
    faulty = ground.fleet("faulty")
    assert {ground.fleet(part).first for part in FAULTY_IN.values()} == {faulty.first}


def test_only_the_cars_of_the_new_model_are_of_it(tmp_path: Path):
    """What a detector learns from or is tested on otherwise are cars of the models that the fleet has."""
    ground = Ground(SETTINGS, 3, tmp_path)
    known = set(ground.fleet("training", cars=1000).model.tolist())
    strange = {part for part in PARTS if not set(ground.fleet(part).model.tolist()) <= known}
    assert strange == {"new_model", FAULTY_IN["new_model"]}


@pytest.mark.parametrize("change", CHANGES)
def test_faulty_cars_live_through_a_change_with_the_same_failures(tmp_path: Path, change: str):
    """So what a change costs is seen on the same failures; only those that it can touch are asked for."""
    ground = Ground(replace(SETTINGS, hours=60.0), 3, tmp_path)
    faulty, changed = ground.fleet("faulty"), ground.fleet(FAULTY_IN[change])
    incidents = len(changed.plan.car)
    assert 0 < incidents < len(faulty.plan.car)
    for times in ("onset_s", "failed_s", "kind", "row"):
        np.testing.assert_array_equal(
            getattr(changed.plan, times), getattr(faulty.plan, times)[:incidents], strict=True
        )
    now_s, cars = ground.settings.hours * HOUR_S, slice(0, changed.cars)
    assert (changed.step(cars, now_s, 1800.0) != faulty.step(cars, now_s, 1800.0)).any()
    _, failures = ground.failures()
    asked = [failures[i] for i in ground.failures_in(change)]
    assert asked
    assert all(each.car < changed.cars and each.onset_s >= ground.changes_from_s(change) for each in asked)


def test_the_truth_is_the_plan_of_the_faulty_cars(tmp_path: Path):
    """What is asked begins after the learning period and fails within the record; healthy cars have none."""
    ground = Ground(SETTINGS, 3, tmp_path)
    every, asked = ground.failures()
    assert len(every) > len(asked)
    assert all(failure.onset_s >= 8 * 3600 and failure.failed_s <= 20.5 * 3600 for failure in asked)
    assert {failure.car for failure in every} <= set(range(12))
    healthy = ground.fleet("healthy")
    assert len(healthy.plan.car) == 0


def test_labels_are_what_workshops_report(tmp_path: Path):
    """The hours before a failure, the time until its repair; of the labelled cars, which nobody judges."""
    ground = Ground(replace(SETTINGS, hours=60.0), 3, tmp_path)
    plan, labels = ground.fleet("labelled").plan, ground.labels()
    assert labels.shape == (8, ground.settings.samples)
    assert set(np.unique(labels)) == {-1, 0, 1}
    failed_s, repaired_s = plan.failed_s[0], plan.repaired_s[0]  # the first failure of the first car
    for at_s, label in ((failed_s - 2 * 3600, 1), (failed_s + 1800, -1), (repaired_s - 1800, -1)):
        assert labels[0, int(at_s / 1800.0)] == label
    assert (labels[0, : int((failed_s - 13 * 3600) / 1800.0)] == 0).all()


def test_another_fleet_has_another_name():
    """Kept samples are used again only for the same simulator and the same fleet."""
    assert fingerprint(SETTINGS.fleet) == fingerprint(SETTINGS.fleet)
    assert fingerprint(SETTINGS.fleet) != fingerprint(Settings(hours=30.0).fleet)
