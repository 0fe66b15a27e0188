"""The journal: no lost sample and no gap over a kill, bounded, and refused if it belongs to another run."""

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
from simulator.worker_pool import CUT, WorkerPool

IDENTITY = Identity(seed=1, first=0, cars=3, ring=12, scenario=7, epoch_ms=1_700_000_000_000)
EVERYONE, ALL = slice(0, 3), np.ones(3, np.bool_)


def samples(cars: int = 3, value: float = 1.0) -> np.ndarray:
    return np.full((cars, len(SIGNALS)), value, np.float32)


@pytest.fixture
def begin() -> Iterator[Callable[..., Journal]]:
    """Opens journals that are closed after the test."""
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
    """Three samples of each car have seq 1, 2, 3."""
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
    """After 4 unacknowledged samples a car skips; after a PUBACK it continues with the next seq."""
    journal = begin(path)
    for value in range(4):
        journal.append(EVERYONE, value, samples(), ALL)
    assert journal.append(EVERYONE, 5, samples(), ALL).tolist() == []
    journal.acknowledged[1] = journal.confirmed[1] = 1
    assert journal.append(EVERYONE, 6, samples(), ALL).tolist() == [1]
    assert journal.sampled.tolist() == [4, 5, 4]


def test_appending_for_a_group_changes_its_own_cars_only(path: Path, begin: Callable[..., Journal]) -> None:
    """Appending for cars 1 and 2 does not change car 0."""
    journal = begin(path)
    journal.append(slice(1, 3), 5, samples(2), ALL[1:])
    assert journal.sampled.tolist() == [0, 1, 1]


def test_a_lost_session_makes_the_last_samples_unacknowledged_again(
    path: Path, begin: Callable[..., Journal]
) -> None:
    """Two thirds of the ring wait again, and the car still takes samples."""
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
    """A car with fewer samples than its ring holds goes back to its first one."""
    journal = begin(path)
    journal.append(EVERYONE, 1, samples(), ALL)
    journal.acknowledged[:] = journal.confirmed[:] = 1
    journal.session_lost(2)
    assert journal.acknowledged.tolist() == [1, 1, 0]


@pytest.mark.parametrize(
    "other", [{"seed": 2}, {"cars": 4}, {"ring": 6}, {"scenario": 8}, {"first": 9}], ids=str
)
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
    """Another file with the name of the journal is not overwritten."""
    path.write_bytes(b"my holiday pictures" * 100)
    with pytest.raises(SettingsError, match="is not a journal"):
        begin(path)


def test_a_journal_in_use_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch, begin: Callable[..., Journal]
) -> None:
    """Two simulators never use the same folder."""
    monkeypatch.setattr(journals, "_LOCK_WAIT_S", 0.0)
    first = begin(path)
    with pytest.raises(SettingsError, match="in use by another simulator"):
        begin(path)
    first.close()


def test_a_journal_without_a_header_is_begun_again(path: Path, begin: Callable[..., Journal]) -> None:
    """The header is written last: a file without one belongs to a process that was killed before."""
    path.write_bytes(bytes(5000))
    assert begin(path).append(EVERYONE, 1, samples(), ALL).tolist() == [0, 1, 2]


def test_the_run_keeps_its_second_0(tmp_path: Path, begin: Callable[..., Journal]) -> None:
    """A later start finds second 0 of the run; a new folder has none."""
    assert journals.identity_of(path_of(tmp_path, 0)) is None
    begin(path_of(tmp_path, 0)).close()
    assert journals.identity_of(path_of(tmp_path, 0)) == IDENTITY
    assert journals.identity_of(path_of(tmp_path, 3)) is None  # a second simulator, whose cars begin there


def test_what_the_cars_sent_is_read_from_all_journals(tmp_path: Path, begin: Callable[..., Journal]) -> None:
    """For the ledger: what each car sent and had acknowledged, from the journals of two workers."""
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


def test_the_number_of_acknowledged_reports_is_stored(path: Path, begin: Callable[..., Journal]) -> None:
    """The number of acknowledged reports survives the process."""
    journal = begin(path)
    journal.reports[0] = 5
    journal.close()
    assert begin(path).reports[0] == 5


def test_a_fleet_that_does_not_begin_with_car_0_continues_its_run(tmp_path: Path) -> None:
    """With --first-car, second 0 of the run is found in the first journal of that simulator."""
    settings = Settings(mqtt_brokers=("127.0.0.1:1",), run_dir=tmp_path, cars=2, first_car=5)
    job = WorkerJob(settings, worker=0, epoch_ms=1_700_000_000_000)
    Journal(path_of(tmp_path, 5), job.identity).close()
    handler = signal.getsignal(CUT)
    pool = WorkerPool(settings)
    signal.signal(CUT, handler)
    pool._lock.close()
    assert pool.epoch_ms == 1_700_000_000_000
