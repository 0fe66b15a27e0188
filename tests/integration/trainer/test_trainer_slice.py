"""The slice of a real log that a training reads: repeatable, fair, refused where it is too small."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.topics import TELEMETRY
from plumbing.life import Stop, WorldDown
from plumbing.settings import SettingsError
from trainer import log_slice, reading, train
from trainer.history import slices
from trainer.quota import Quota

pytestmark = pytest.mark.integration

Fleet = Callable[..., NDArray[np.float32]]


def test_the_same_offsets_give_the_same_slice(
    cloud: Any, fleet: Fleet, telemetry_values: Callable[..., list[bytes]]
) -> None:
    """A slice read twice, and again after more has come, is the same; duplicates and garbage are left out."""
    cloud.drive(fleet(50, 10, seed=3))
    cloud.produce(TELEMETRY, [b"car-000001"] * 2, telemetry_values(["car-000001"] * 2, [3, 4]))
    cloud.produce(TELEMETRY, [b"car-000001"] * 2, [b"garbage", b"\x00\x00\x00\x00\x63 unknown"])
    cloud.report("car-000002", "tire_1_1", 1_790_000_005_000)
    given = cloud.settings()
    first = reading.read(given, Stop())
    assert len(first.telemetry.car) == 500
    assert first.telemetry.duplicates == 2
    assert dict(first.telemetry.rejected) == {"bad_frame": 1, "unknown_schema": 1}
    assert [(report.car, report.component) for report in first.reports] == [(b"car-000002", "tire_1_1")]
    cloud.drive(fleet(50, 20, seed=4)[10:], since=11)
    again = reading.read_again(given, first.offsets, Stop())
    assert np.array_equal(again.telemetry.signals, first.telemetry.signals)
    assert again.telemetry.cars == first.telemetry.cars
    assert len(reading.read(given, Stop()).telemetry.car) > 500
    few = reading.read(cloud.settings(records_max=120), Stop())
    assert 100 < len(few.telemetry.car) <= 120


def test_a_car_that_sends_most_holds_little_of_the_slice(
    cloud: Any, fleet: Fleet, telemetry_values: Callable[..., list[bytes]], caplog: pytest.LogCaptureFixture
) -> None:
    """The log is read further back, so that the others are whole; from a manifest it is the same slice."""
    cloud.drive(fleet(60, 15, seed=3))
    loud = "car-000007"
    cloud.produce(TELEMETRY, [loud.encode()] * 3000, telemetry_values([loud] * 3000, range(100, 3100)))
    given = cloud.settings(records_max=1_000)
    first = reading.read(given, Stop())
    held = np.bincount(first.telemetry.car)
    assert held[7] == 30
    assert sorted(held)[:-1] == [15] * 59
    assert first.quota == Quota(11, 30)
    assert "cars that send more than others are cut" in caplog.text
    assert log_slice.records_in({topic: first.offsets[topic] for topic in list(first.offsets)[:1]}) == 3_900
    manifest: Any = SimpleNamespace(training_offsets=first.offsets, metrics={"quota": vars(first.quota)})
    again = slices.read_again(given, manifest, Stop())
    assert np.array_equal(again.telemetry.seq, first.telemetry.seq)
    assert np.array_equal(again.telemetry.signals, first.telemetry.signals)


def test_too_little_telemetry_is_the_worlds_fault(cloud: Any, fleet: Fleet) -> None:
    """Nothing within the time, or too few cars to judge by: the message says what there was."""
    with pytest.raises(WorldDown, match="0 records after 1 s, --wait-records is 10"):
        train.run(cloud.settings(wait_records=10, wait_seconds=1), cloud.publication(), Stop())
    cloud.drive(fleet(20, 5, seed=6))
    with pytest.raises(WorldDown, match="cars without a reported fault and with more than the 10 samples"):
        train.run(cloud.settings(), cloud.publication(), Stop())
    assert cloud.publication().history() == []


def test_a_slice_that_can_never_hold_enough_is_refused_before_the_wait(cloud: Any, fleet: Fleet) -> None:
    """The newest records show the fleet: the refusal comes at once, with the number that would do."""
    cloud.drive(fleet(120, 4, seed=9))
    hopeless = cloud.settings(learning_s=28_800.0, records_max=100_000, wait_records=400, wait_seconds=60)
    with pytest.raises(SettingsError, match=r"--records-max 100000 can never hold.*about 6912000 records"):
        reading.read(hopeless, Stop())
    with pytest.raises(WorldDown, match="cars without a reported fault and with more than the 10 samples"):
        train.run(cloud.settings(), cloud.publication(), Stop())  # 480 records are only too few yet
