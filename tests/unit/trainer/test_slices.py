"""A slice that the log does not hold any more, told apart from one that it does."""

from typing import Any

import pytest
from confluent_kafka import Message

from plumbing.life import Stop, WorldDown
from tests.unit.plumbing.test_offsets import _Log
from trainer import log_slice, reading
from trainer.history import slices
from trainer.settings import Settings

SETTINGS = Settings(kafka_bootstrap="localhost:1")
OFFSETS = {"edge.telemetry": {0: (100, 150), 1: (7, 7)}, "edge.maintenance": {0: (0, 3)}}
IDS = {"edge.telemetry": "a", "edge.maintenance": "b", "models.slices": "c"}


@pytest.mark.parametrize(
    ("held", "ids", "reason"),
    [
        ((100, 150), IDS, ""),
        ((90, 900), IDS, ""),
        ((101, 900), IDS, "edge.telemetry/0 holds the offsets 101 to 900, not 100 to 150"),
        ((0, 120), IDS, "edge.telemetry/0 holds the offsets 0 to 120, not 100 to 150"),
        ((900, 900), IDS, "edge.telemetry/0 holds the offsets 900 to 900, not 100 to 150"),
        (
            (90, 900),
            IDS | {"edge.telemetry": "new"},
            "edge.telemetry was made anew since (topic id new, then a)",
        ),
        ((90, 900), {"edge.telemetry": "a"}, "Kafka has no topic edge.maintenance"),
    ],
)
def test_a_slice_is_lost_with_its_offsets_or_its_topic(
    held: tuple[int, int], ids: dict[str, str], reason: str
) -> None:
    """Deleted by retention, another log of the same name, or none; an empty partition loses nothing."""
    log: Any = _Log(**{"edge.telemetry": {0: held, 1: (50, 60)}, "edge.maintenance": {0: (0, 9)}})
    assert slices.lost(log, OFFSETS, IDS, ids) == reason


def test_a_manifest_of_earlier_has_no_topic_ids() -> None:
    """Then its offsets alone are compared."""
    log: Any = _Log(**{"edge.telemetry": {0: (90, 900), 1: (0, 9)}, "edge.maintenance": {0: (0, 9)}})
    assert slices.lost(log, OFFSETS, {}, IDS) == ""


@pytest.mark.parametrize(
    ("kept", "message"),
    [
        (None, "not 100 to 150; its slice was not kept, as only those of published models are"),
        (
            {"id": "x", "offsets": [3, 9]},
            "not 100 to 150; and models.slices/0 holds the offsets 5 to 20, not 3 to 9",
        ),
    ],
)
def test_a_model_that_cannot_be_rebuilt_says_from_when_on(
    kept: Any, message: str, detector: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the log holds now beside what it would have to hold, of the telemetry and of its copy."""
    log: Any = _Log(
        **{
            "edge.telemetry": {0: (500, 900), 1: (0, 9)},
            "edge.maintenance": {0: (0, 9)},
            "models.slices": {0: (5, 20)},
        }
    )
    log.close = lambda: None
    monkeypatch.setattr(reading, "open_log", lambda _: log)
    monkeypatch.setattr(slices, "_topic_ids", lambda *_: IDS)
    note = {"topic_ids": IDS, "kept": kept}
    manifest = detector.manifest(3, training_offsets=OFFSETS, metrics={"slice": note})
    with pytest.raises(WorldDown, match="version 3 cannot be rebuilt: edge.telemetry/0 holds .*" + message):
        slices.read_again(SETTINGS, manifest, Stop())


def test_only_the_records_of_one_slice_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trainers of several models write there at the same time: the header tells whose a record is."""
    messages = [
        Message(topic="models.slices", partition=0, offset=number, key=b"k", value=b"v", headers=headers)
        for number, headers in enumerate(
            [[("slice", b"mine")], [("slice", b"other")], None, [("slice", b"mine")]]
        )
    ]
    monkeypatch.setattr(log_slice, "read", lambda *_: iter([messages]))
    consumer: Any = None
    (batch,) = log_slice._records(consumer, {}, "mine")
    assert [message.offset() for message in batch] == [0, 3]
    (batch,) = log_slice._records(consumer, {}, None)
    assert len(batch) == 4


def test_a_trainer_before_the_topic_warns_and_publishes_all_the_same(
    detector: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An upgraded trainer in a cloud whose topics are of earlier: the manifest says that nothing is kept."""
    log: Any = _Log(**{"edge.telemetry": {0: (0, 9)}})
    log.close = lambda: None
    monkeypatch.setattr(reading, "open_log", lambda _: log)
    monkeypatch.setattr(slices, "_topic_ids", lambda *_: {"edge.telemetry": "a"})
    draft = detector.manifest(3, training_offsets={"edge.telemetry": {0: (0, 9)}})
    assert slices.noted(SETTINGS, draft, keep=True).metrics["slice"] == {
        "topic_ids": {"edge.telemetry": "a"},
        "kept": None,
    }
    assert "the slice is not kept: Kafka has no topic models.slices" in caplog.text


def test_a_topic_made_anew_while_a_model_learned_is_not_copied(
    detector: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Other records have these offsets by now. The manifest names the log of the model."""
    monkeypatch.setattr(slices, "_copied", lambda *_: pytest.fail("copied"))
    monkeypatch.setattr(slices, "_topic_ids", lambda *_: IDS | {"edge.telemetry": "new"})
    then = {"edge.telemetry": "a", "edge.maintenance": "b"}
    draft = detector.manifest(3, training_offsets=OFFSETS, metrics={"slice": {"topic_ids": then}})
    assert slices.noted(SETTINGS, draft, keep=True).metrics["slice"] == {"topic_ids": IDS, "kept": None}
    assert "edge.telemetry was made anew since it was read" in caplog.text
