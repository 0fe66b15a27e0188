"""Models on a real cloud cluster: whole or not at all, counted, and brought back."""

import subprocess
import sys
from typing import Any

import pytest
from confluent_kafka import Producer

from contract.manifest import Decision
from contract.topics import MODELS, MODELS_EXAM, MODELS_LOG
from plumbing.life import WorldDown
from trainer import publication as publication_module
from trainer.publication import EXAM_PART_BYTES_MAX, EXAMS_KEPT, NotPublishable, Publication

pytestmark = pytest.mark.integration

ON_TRIAL = Decision(published=True, reasons=("passed the gate",), share=0.0)
REFUSED = Decision(published=False, reasons=("not better than max|z|",))

# Begins as the trainer does, has both records at the broker, and dies before the commit.
HALF_WAY = """
import os, sys
value = sys.stdin.buffer.read()
from plumbing import kafka
bootstrap, name = sys.argv[1:]
producer = kafka.producer(bootstrap, None, transactional_id=f"trainer-{name}")
producer.init_transactions(30)
producer.begin_transaction()
for topic in ("models.log", "models"):
    producer.produce(topic, key=name.encode(), value=value)
producer.produce("models.exam", key=f"{name}/1/00/01".encode(), value=b"exam")
assert producer.flush(30) == 0
print("written", flush=True)
os.kill(os.getpid(), 9)
"""


def published(publication: Publication, detector: Any, name: str, **fields: Any) -> None:
    manifest = detector.manifest(publication.next_version(), name=name, **fields)
    publication.write(manifest, detector.tflite)


def test_a_published_model_is_champion_and_history(cloud: Any, detector: Any) -> None:
    """One write, both topics; versions count on, whatever was decided."""
    publication = cloud.publication()
    assert publication.champion() is None
    assert publication.next_version() == 1
    publication.open()
    published(publication, detector, cloud.model)
    published(publication, detector, cloud.model, decision=REFUSED)
    published(publication, detector, cloud.model, parent=1)
    assert [entry.manifest.version for entry in publication.history()] == [1, 2, 3]
    champion = publication.champion()
    assert champion is not None
    assert (champion.manifest.version, champion.manifest.parent) == (3, 1)
    assert champion.tflite == detector.tflite


def test_a_refused_candidate_does_not_reach_the_scorers(cloud: Any, detector: Any) -> None:
    """It is in the log with its reasons, and the champion stays."""
    publication = cloud.publication()
    publication.open()
    published(publication, detector, cloud.model)
    published(publication, detector, cloud.model, decision=REFUSED)
    assert publication.champion().manifest.version == 1
    assert publication.history()[-1].manifest.decision == REFUSED


def test_a_challenger_stands_beside_the_champion_until_its_trial_ends(cloud: Any, detector: Any) -> None:
    """It never replaces the champion by itself; either end of its trial deletes it in one transaction."""
    publication = cloud.publication()
    publication.open()
    published(publication, detector, cloud.model)
    published(publication, detector, cloud.model, decision=ON_TRIAL)
    published(publication, detector, cloud.model, decision=REFUSED)
    assert publication.champion().manifest.version == 1
    assert publication.challenger().manifest.version == 2
    withdrawn = detector.manifest(2, name=cloud.model, decision=REFUSED)
    publication.write(withdrawn, detector.tflite)
    assert publication.challenger() is None
    assert publication.champion().manifest.version == 1
    published(publication, detector, cloud.model, decision=ON_TRIAL)
    published(publication, detector, cloud.model)
    assert publication.challenger() is None
    assert publication.champion().manifest.version == 5
    assert [entry.manifest.version for entry in publication.history()] == [1, 2, 3, 2, 4, 5]


def test_the_champion_s_exam_outlives_any_number_of_challengers(cloud: Any, detector: Any) -> None:
    """Each challenger has an exam of its own, and the next candidate is judged on the champion's."""
    publication = cloud.publication()
    publication.open()
    with_exam(publication, detector, cloud.model, b"champion's")
    for _ in range(EXAMS_KEPT + 1):
        with_exam(publication, detector, cloud.model, b"challenger's", decision=ON_TRIAL)
    assert publication.exam(1) == b"champion's"
    assert publication.exam(2) == b""
    assert publication.exam(EXAMS_KEPT + 2) == b"challenger's"


def test_killed_between_the_records_nothing_is_visible(cloud: Any, detector: Any) -> None:
    """Readers of committed records see neither record of the dead trainer; its successor starts at 1."""
    command = [sys.executable, "-c", HALF_WAY, cloud.bootstrap, cloud.model]
    dead = subprocess.run(
        command, input=detector.record(name=cloud.model), capture_output=True, timeout=60, check=False
    )
    assert dead.stdout == b"written\n", dead.stderr
    assert dead.returncode == -9
    publication = cloud.publication()
    assert publication.history() == []
    assert publication.champion() is None
    assert publication.exam(1) == b""
    publication.open()
    assert publication.next_version() == 1
    published(publication, detector, cloud.model)
    assert [entry.manifest.version for entry in publication.history()] == [1]
    assert publication.champion().manifest.version == 1


def test_a_second_trainer_fences_the_first(cloud: Any, detector: Any) -> None:
    """Who opens last publishes; the other's write fails and leaves nothing: no version is given twice."""
    first, second = cloud.publication(), cloud.publication()
    first.open()
    second.open()
    published(second, detector, cloud.model)
    with pytest.raises(WorldDown, match="version 2 was not written"):
        published(first, detector, cloud.model)
    assert [entry.manifest.version for entry in first.history()] == [1]


def test_rollback_publishes_the_earlier_bytes_again(cloud: Any, detector: Any) -> None:
    """The champion is the earlier version, the decision says so, and the next candidate counts on."""
    publication = cloud.publication()
    publication.open()
    published(publication, detector, cloud.model, threshold=3.0)
    published(publication, detector, cloud.model, threshold=4.0)
    published(publication, detector, cloud.model, decision=REFUSED)
    cloud.publication().roll_back(1)
    champion = publication.champion().manifest
    assert (champion.version, champion.threshold) == (1, 3.0)
    assert champion.decision == Decision(published=True, reasons=("rolled back instead of version 2",))
    assert publication.next_version() == 4
    cloud.publication().roll_back(2)
    assert publication.champion().manifest.threshold == 4.0


def test_rollback_refuses_what_must_not_come_back(cloud: Any, detector: Any) -> None:
    """A refused version, an unknown one, the champion itself: each with its reason; nothing is written."""
    publication = cloud.publication()
    publication.open()
    published(publication, detector, cloud.model)
    published(publication, detector, cloud.model, decision=REFUSED)
    for version, why in ((1, "is the champion already"), (2, "was refused"), (7, "no version 7")):
        with pytest.raises(NotPublishable, match=why):
            cloud.publication().roll_back(version)
    assert [entry.manifest.version for entry in publication.history()] == [1, 2]


def test_foreign_records_are_passed_over(cloud: Any, detector: Any) -> None:
    """Another model's record, a malformed one and a tombstone hide nothing."""
    publication = cloud.publication()
    publication.open()
    published(publication, detector, cloud.model)
    producer = Producer({"bootstrap.servers": cloud.bootstrap})
    for topic in (MODELS, MODELS_LOG):
        producer.produce(topic, key=b"another-model", value=detector.record(7, name="another-model"))
        producer.produce(topic, key=cloud.model.encode(), value=b"\x00 no model")
        producer.produce(topic, key=cloud.model.encode(), value=None)
    assert producer.flush(30) == 0
    assert publication.champion().manifest.version == 1
    assert publication.next_version() == 2


def with_exam(publication: Publication, detector: Any, name: str, exam: bytes, **fields: Any) -> None:
    manifest = detector.manifest(publication.next_version(), name=name, **fields)
    publication.write(manifest, detector.tflite, exam)


def test_an_exam_is_kept_with_its_model(cloud: Any, detector: Any) -> None:
    """In parts below Kafka's limit, read whole; each version has its own; a refused one leaves none."""
    publication = cloud.publication()
    publication.open()
    large = bytes(range(256)) * (2 * EXAM_PART_BYTES_MAX // 256 + 100)
    with_exam(publication, detector, cloud.model, large)
    with_exam(publication, detector, cloud.model, b"second")
    with_exam(publication, detector, cloud.model, b"refused", decision=REFUSED)
    published(publication, detector, cloud.model)
    assert [publication.exam(version) for version in (1, 2, 3, 4)] == [large, b"second", b"", b""]
    cloud.publication().roll_back(1)
    assert publication.exam(1) == large


def test_only_the_newest_exams_are_kept(cloud: Any, detector: Any) -> None:
    """All parts of older ones are deleted, so the topic stays bounded; foreign records are passed over."""
    producer = Producer({"bootstrap.servers": cloud.bootstrap})
    foreign = (b"another-model/1/00/01", b"no exam", f"{cloud.model}/x/00/01".encode())
    for key in foreign:
        producer.produce(MODELS_EXAM, key=key, value=b"foreign")
    assert producer.flush(30) == 0
    publication = cloud.publication()
    publication.open()
    for version in range(1, EXAMS_KEPT + 3):
        with_exam(publication, detector, cloud.model, bytes(EXAM_PART_BYTES_MAX + version))
    kept = [version for version in range(1, EXAMS_KEPT + 3) if publication.exam(version)]
    assert kept == list(range(3, EXAMS_KEPT + 3))
    assert len(publication.exam(kept[-1])) == EXAM_PART_BYTES_MAX + kept[-1]


def test_a_cluster_without_the_topic_of_exams_still_gets_models(
    cloud: Any, detector: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deployment from before exams: the model is published, its exam is not kept."""
    monkeypatch.setattr(publication_module, "MODELS_EXAM", "no.such.topic")
    publication = cloud.publication()
    publication.open()
    with_exam(publication, detector, cloud.model, b"exam")
    assert publication.champion().manifest.version == 1
    assert publication.exam(1) == b""
