"""The job as a process, from the mirrored topics of a real cluster to a published model."""

import contextlib
import io
import json
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient  # type: ignore[attr-defined]
from numpy.typing import NDArray

from contract.manifest import Manifest
from contract.telemetry import SIGNALS
from contract.topics import TELEMETRY
from plumbing.life import Stop
from tests.integration.trainer.conftest import ROOT, environment
from trainer import train
from trainer.history import rebuild
from trainer.model.learning import learn
from trainer.publication import Entry

pytestmark = pytest.mark.integration

CARS, SECONDS = 600, 20
REPORTED = range(0, CARS, 10)
Fleet = Callable[..., NDArray[np.float32]]
# The command, which does not wait for an answer for ten seconds.
IMPATIENT = """
from plumbing import offsets
offsets._ANSWER_S_MAX = 0.5
from trainer.__main__ import main
main()
"""


def telemetry_of(entry: Entry, topic: str) -> Iterable[tuple[int, tuple[int, int]]]:
    return entry.manifest.training_offsets[topic].items()


def show(cloud: Any, version: int) -> Manifest:
    shown = cloud.trainer("show", str(version))
    assert shown.returncode == 0, shown.stderr
    return Manifest.from_json(shown.stdout)


@dataclass(frozen=True)
class Trained:
    """Two trainings on one log: what they printed, and what the second one learned, from which rows."""

    cloud: Any
    first: str
    second: str
    rows: Any  # signals (N, K) and cars (N,)
    learned: Any  # (graph, Learned)


@pytest.fixture(scope="module")
def trained(new_cloud: Callable[[], Any], fleet: Fleet) -> Trained:
    """Version 1 by the command; version 2 in this process, on twice as much telemetry with reported cars."""
    cloud, signals = new_cloud(), fleet(CARS, 2 * SECONDS, seed=1)
    signals[SECONDS + 11 :, list(REPORTED), SIGNALS.index("tire_pressure_1_1")] *= 0.6
    cloud.drive(signals[:SECONDS])
    first = cloud.trainer("train", "--wait-records", str(CARS * SECONDS), "--steps-max", "100")
    assert first.returncode == 0, first.stderr + first.stdout
    cloud.drive(signals[SECONDS:], since=SECONDS + 1)
    for car in REPORTED:
        cloud.report(f"car-{car:06d}", "tire_1_1", 1_790_000_000_000 + 2000 * SECONDS)
    calls: list[Any] = []

    def learning(*arguments: Any, **named: Any) -> Any:
        calls.append((arguments[1:3], learn(*arguments, **named)))
        return calls[0][1]

    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as printed:
        patch.setattr(train, "learn", learning)
        given = cloud.settings(seed=2, steps_max=100, labelled_cars_min=10)
        assert train.run(given, cloud.publication(), Stop()) == 0, printed.getvalue()
    return Trained(cloud, first.stdout, printed.getvalue(), *calls[0])


def test_the_first_model_is_published_with_its_evidence(trained: Trained) -> None:
    """The manifest has the whole slice, no parent, and the baselines that the candidate beats."""
    assert "version 1 published" in trained.first
    manifest = show(trained.cloud, 1)
    offsets = manifest.training_offsets[f"{trained.cloud.edge}.{TELEMETRY}"]
    assert sum(after - first for first, after in offsets.values()) == CARS * SECONDS
    assert manifest.decision.published
    assert manifest.parent is None
    assert manifest.metrics["labels"] == "growing deviations"
    assert manifest.metrics["candidate"]["recall"] > manifest.metrics["baselines"]["max_abs_z"]["recall"]
    assert set(manifest.reference_quantiles) == set(SIGNALS)


def test_the_next_model_is_compared_with_the_champion(trained: Trained) -> None:
    """It says so, and names its parent."""
    assert "champion (version 1)" in trained.second
    assert show(trained.cloud, 2).parent == 1


def test_reported_cars_are_labels_and_not_learned_from(trained: Trained) -> None:
    """With enough reports on the log, the gate judges by them, and says so."""
    metrics = show(trained.cloud, 2).metrics
    assert metrics["labels"] == "workshop reports"
    assert metrics["candidate"]["recall_by_fault"]["tire_1_1"] > 0.9


def test_a_model_is_rebuilt_from_its_manifest(trained: Trained, capsys: pytest.CaptureFixture[str]) -> None:
    """In another process than its training, after more telemetry has come: the same bytes."""
    (first, *_) = trained.cloud.publication().history()
    assert rebuild.run(trained.cloud.settings(), first, Stop()) == 0
    assert f"version 1: the same {first.manifest.tflite_bytes} bytes" in capsys.readouterr().out
    assert trained.cloud.trainer("rebuild", "9").returncode == 2


def test_a_model_is_rebuilt_after_its_telemetry_is_gone(
    trained: Trained, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Retention has deleted what it learned from: the same rows, from the slice that was kept.

    That the same rows give the same bytes is shown above.
    """

    def learned_again(_: Any, signals: Any, car: Any, *__: Any, **___: Any) -> Any:
        assert np.array_equal(signals, trained.rows[0], equal_nan=True)
        assert np.array_equal(car, trained.rows[1])
        return trained.learned

    monkeypatch.setattr(rebuild, "learn", learned_again)
    cloud, (_, second) = trained.cloud, trained.cloud.publication().history()
    topic = f"{cloud.edge}.{TELEMETRY}"
    ends = [TopicPartition(topic, number, after) for number, (_, after) in telemetry_of(second, topic)]
    admin = AdminClient({"bootstrap.servers": cloud.bootstrap})
    for deleted in admin.delete_records(ends).values():
        deleted.result(30)
    assert rebuild.run(cloud.settings(), second, Stop()) == 0
    assert f"version 2: the same {second.manifest.tflite_bytes} bytes" in capsys.readouterr().out


def test_an_earlier_model_is_brought_back(trained: Trained) -> None:
    """rollback makes it the champion again, list tells of it; an unknown version is refused."""
    cloud = trained.cloud
    assert cloud.publication().champion().manifest.version == 2
    back = cloud.trainer("rollback", "1")
    assert back.returncode == 0, back.stderr
    assert cloud.publication().champion().manifest.version == 1
    lines = cloud.trainer("list").stdout.splitlines()[2:]
    assert [line.split()[0] for line in lines] == ["1", "2", "*"]
    assert "rolled back instead of version 2" in lines[2]
    assert cloud.trainer("rollback", "9").returncode == 2


def test_a_candidate_that_is_no_better_than_the_baselines_is_refused(
    cloud: Any,
    trained: Trained,
    noise: NDArray[np.float32],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On signals without any relation: exit 3, the reason in print and in the log, no champion."""
    cloud.drive(noise)
    monkeypatch.setattr(train, "learn", lambda *_, **__: trained.learned)
    assert train.run(cloud.settings(), cloud.publication(), Stop()) == 3
    assert re.search(r"version 1 REFUSED:\n(  - .*\n)*  - not better than max\|z\|", capsys.readouterr().out)
    publication = cloud.publication()
    assert publication.champion() is None
    (entry,) = publication.history()
    assert not entry.manifest.decision.published
    assert entry.manifest.decision.reasons
    assert "refused" in cloud.trainer("list").stdout


def test_a_poisoned_slice_is_refused_and_the_next_sound_one_published(
    new_cloud: Callable[[], Any], fleet: Fleet, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway sends 0 V for all cars: refused by name, champion and exam stay; then it is mended."""
    monkeypatch.setattr(train, "learn", lambda *_, **__: trained.learned)
    signals, clouds = fleet(400, 3 * SECONDS, seed=5), [new_cloud() for _ in range(3)]
    signals[SECONDS : 2 * SECONDS, :, SIGNALS.index("battery_voltage")] = 0
    publication, decisions = clouds[0].publication(), []
    for cloud, slice_ in zip(clouds, np.split(signals, 3), strict=True):  # one model, each slice of an edge
        cloud.drive(slice_)
        train.run(clouds[0].settings(edge_names=(cloud.edge,)), publication, Stop())
        decisions.append(publication.history()[-1].manifest)
    assert [manifest.decision.published for manifest in decisions] == [True, False, True]
    reasons = "; ".join(decisions[1].decision.reasons)
    assert re.search(r"values outside of physical bounds: battery_voltage 100\.0%", reasons)
    assert "the slice is unsound: the champion foresees" in reasons
    assert decisions[0].metrics["exam"] == {}
    assert decisions[2].metrics["exam"]["failures"] > 100
    assert publication.champion().manifest.version == 3
    assert [bool(publication.exam(version)) for version in (1, 2, 3)] == [True, False, True]


def test_nan_weights_are_refused(
    cloud: Any, fleet: Fleet, trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training that ends in NaN is found by every check and never reaches the models topic."""
    cloud.drive(fleet(CARS, SECONDS, seed=2))
    graph, _ = trained.learned
    monkeypatch.setattr(graph.constants, "linear", graph.constants.linear * np.nan)
    monkeypatch.setattr(train, "learn", lambda *_, **__: trained.learned)
    publication = cloud.publication()
    assert train.run(cloud.settings(), publication, Stop()) == 3
    assert publication.champion() is None
    (entry,) = publication.history()
    reasons = "\n".join(entry.manifest.decision.reasons)
    assert "not finite" in reasons
    assert "unsound" in reasons


def test_a_broker_that_is_not_there_is_the_worlds_fault(cloud: Any) -> None:
    """Exit 1 with the broker's silence in words; a wrong setting is exit 2."""
    cloud.bootstrap = "127.0.0.1:1"
    command = cloud.command("list")
    command[1:3] = ["-c", IMPATIENT]
    gone = subprocess.run(
        command, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert gone.returncode == 1
    assert "Kafka does not answer" in gone.stderr
    wrong = cloud.trainer("train", "--wait-records", "many")
    assert wrong.returncode == 2
    assert "--wait-records" in wrong.stderr


def test_sigterm_ends_a_waiting_trainer(cloud: Any) -> None:
    """While it waits for records: exit 143 within seconds, nothing published."""
    waiting = ("--wait-records", "1000000", "--wait-seconds", "120", "--log-format", "json")
    command = cloud.command("train", *waiting)
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        guard = threading.Timer(60, process.kill)
        guard.start()
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("{") and json.loads(line)["message"] == "waiting for records":
                break
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(20) == 143
        assert time.monotonic() - began < 5
        guard.cancel()
    assert cloud.publication().history() == []
