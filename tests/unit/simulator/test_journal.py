"""The cars' flash: nothing lost and no gap over a kill, bounded, and refused where it is another run's."""

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contract.telemetry import SIGNALS
from plumbing.settings import SettingsError
from simulator import journal as journals
from simulator.journal import Identity, Journal, path_of
from simulator.settings import Settings, WorkerJob
from simulator.switch import CUT
from simulator.worker_pool import WorkerPool

IDENTITY = Identity(seed=1, first=0, cars=3, ring=12, wear=7, epoch_ms=1_700_000_000_000)
EVERYONE, ALL = slice(0, 3), np.ones(3, np.bool_)


def samples(cars: int = 3, value: float = 1.0) -> np.ndarray:
    return np.full((cars, len(SIGNALS)), value, np.float32)


@pytest.fixture
def begin() -> Iterator[Callable[..., Journal]]:
    """Opens journals that end with the test."""
    opened = []

    def begin(path: Path, identity: Identity = IDENTITY) -> Journal:
        opened.append(Journal(path, identity))
        return opened[-1]

    yield begin
    for journal in opened:
        journal.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return path_of(tmp_path, 0)


def test_seq_begins_at_1_and_counts_every_sample(path: Path, begin: Callable[..., Journal]) -> None:
    """Three samples of each car: seq 1, 2, 3."""
    journal = begin(path)
    for value in (1, 2, 3):
        assert journal.append(EVERYONE, 1000 * value, samples(value=value), ALL).tolist() == [0, 1, 2]
    assert journal.sampled.tolist() == [3, 3, 3]
    at_ms, signals = journal.read(1, np.array([2, 3]))
    assert at_ms.tolist() == [2000, 3000]
    assert signals[:, 0].tolist() == [2, 3]


def test_a_car_with_too_many_samples_waiting_takes_no_sample(
    path: Path, begin: Callable[..., Journal]
) -> None:
    """After 4 unacknowledged samples a car skips; one PUBACK later it goes on at the next seq."""
    journal = begin(path)
    for value in range(4):
        journal.append(EVERYONE, value, samples(), ALL)
    assert journal.append(EVERYONE, 5, samples(), ALL).tolist() == []
    journal.acknowledged[1] = journal.confirmed[1] = 1
    assert journal.append(EVERYONE, 6, samples(), ALL).tolist() == [1]
    assert journal.sampled.tolist() == [4, 5, 4]


def test_a_group_changes_its_own_cars_alone(path: Path, begin: Callable[..., Journal]) -> None:
    """Appending for cars 1 and 2 leaves car 0 as it was."""
    journal = begin(path)
    journal.append(slice(1, 3), 5, samples(2), ALL[1:])
    assert journal.sampled.tolist() == [0, 1, 1]


def test_a_lost_session_makes_the_last_samples_unacknowledged_again(
    path: Path, begin: Callable[..., Journal]
) -> None:
    """Two thirds of a ring wait again, and the car samples on meanwhile."""
    journal = begin(path)
    for _ in range(10):
        journal.append(EVERYONE, 1, samples(), ALL)
        journal.acknowledged[:] = journal.confirmed[:] = journal.sampled
    journal.session_lost(0)
    assert journal.acknowledged.tolist() == [2, 10, 10]
    assert journal.append(EVERYONE, 1, samples(), ALL).tolist() == [0, 1, 2]


def test_a_young_car_sends_everything_again_after_a_lost_session(
    path: Path, begin: Callable[..., Journal]
) -> None:
    """A car with fewer samples than its ring goes back to its first one."""
    journal = begin(path)
    journal.append(EVERYONE, 1, samples(), ALL)
    journal.acknowledged[:] = journal.confirmed[:] = 1
    journal.session_lost(2)
    assert journal.acknowledged.tolist() == [1, 1, 0]


@pytest.mark.parametrize("other", [{"seed": 2}, {"cars": 4}, {"ring": 6}, {"wear": 8}, {"first": 9}], ids=str)
def test_the_journal_of_another_run_is_refused(
    path: Path, other: dict[str, int], begin: Callable[..., Journal]
) -> None:
    """The message names what differs and what to do."""
    begin(path).close()
    name = next(iter(other))
    for refuse in (begin, journals.refuse_other):
        with pytest.raises(SettingsError, match=rf"{name} .*\(now {other[name]}\).*--run-dir") as error:
            refuse(path, replace(IDENTITY, **other))
        assert str(path) in str(error.value)


def test_a_file_that_is_no_journal_is_refused(path: Path, begin: Callable[..., Journal]) -> None:
    """Something else under the journal's name is not overwritten."""
    path.write_bytes(b"my holiday pictures" * 100)
    with pytest.raises(SettingsError, match="is not a journal"):
        begin(path)


def test_a_journal_in_use_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, begin: Callable[..., Journal]
) -> None:
    """Two simulators never share the cars of one folder."""
    monkeypatch.setattr(journals, "_LOCK_WAIT_S", 0.0)
    first = begin(path)
    with pytest.raises(SettingsError, match="in use by another simulator"):
        begin(path)
    first.close()


def test_a_journal_whose_beginner_was_killed_is_begun_again(
    path: Path, begin: Callable[..., Journal]
) -> None:
    """The header is written last: a file without one holds nothing yet."""
    path.write_bytes(bytes(5000))
    assert begin(path).append(EVERYONE, 1, samples(), ALL).tolist() == [0, 1, 2]


def test_the_run_keeps_its_second_0(tmp_path: Path, begin: Callable[..., Journal]) -> None:
    """A later start finds when the run began; a new folder has not begun."""
    assert journals.epoch_ms(tmp_path, 0) is None
    begin(path_of(tmp_path, 0)).close()
    assert journals.epoch_ms(tmp_path, 0) == IDENTITY.epoch_ms
    assert journals.epoch_ms(tmp_path, 3) is None  # another simulator's, whose cars begin there


def test_the_cars_own_record_is_read_from_all_journals(tmp_path: Path, begin: Callable[..., Journal]) -> None:
    """For the ledger: what each car sent and had acknowledged, over the journals of two workers."""
    for first, sent in ((0, 2), (3, 1)):
        journal = begin(path_of(tmp_path, first), replace(IDENTITY, first=first))
        for _ in range(sent):
            journal.append(EVERYONE, 1, samples(), ALL)
        journal.confirmed[1] = 1
        journal.close()
    published = journals.published(tmp_path, [range(3), range(3, 6)])
    assert published["car"].tolist() == [0, 1, 2, 3, 4, 5]
    assert published["sent"].tolist() == [2, 2, 2, 1, 1, 1]
    assert published["acknowledged"].tolist() == [0, 1, 0, 0, 1, 0]


def test_reports_are_remembered(path: Path, begin: Callable[..., Journal]) -> None:
    """How many reports were acknowledged survives the process."""
    journal = begin(path)
    journal.reports_acknowledged = 5
    journal.close()
    assert begin(path).reports_acknowledged == 5


def test_a_fleet_that_does_not_begin_with_car_0_goes_on_where_it_stopped(tmp_path: Path) -> None:
    """A second simulator's cars, --first-car: its second 0 is found again in its own first journal."""
    settings = Settings(mqtt_brokers=("127.0.0.1:1",), run_dir=tmp_path, cars=2, first_car=5)
    job = WorkerJob(settings, worker=0, epoch_ms=1_700_000_000_000, parent_pid=1)
    Journal(job.journal_path, job.identity).close()
    handler = signal.getsignal(CUT)
    pool = WorkerPool(settings)
    signal.signal(CUT, handler)
    pool._lock.close()
    assert pool.epoch_ms == 1_700_000_000_000
