"""What a training is doing, read from the end of the trainer's log."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from local import observer


def child(status: int | None = None) -> Any:
    """A trainer that runs, or has ended."""
    return SimpleNamespace(process=None if status is not None else object(), status=status)


def line(message: str, **fields: Any) -> str:
    return json.dumps({"time": "", "level": "info", "service": "trainer", "message": message, **fields})


def test_the_step_is_named_with_its_progress():
    """The newest line counts; lines of libraries are passed over."""
    lines = [
        line("cars", training=300),
        line("waiting for records", found=22_000, wanted=40_000),
        "WARNING: tf",
    ]
    assert (
        observer.training_state(child(), lines)
        == "step 1 of 5, gathering telemetry, 22 000 of 40 000 records"
    )
    assert (
        observer.training_state(child(), [line("training", step=800)])
        == "step 4 of 5, training the network, step 800"
    )
    assert observer.training_state(child(), ["WARNING: tf"]) == "starts"


def test_another_message_is_shown_as_it_is():
    """Such as an error, which must not be hidden."""
    assert observer.line_in_words(line("Kafka is away", port=1)) == "Kafka is away port 1"
    assert observer.training_state(child(1), [line("Kafka is away")]) == "ended with status 1: Kafka is away"


def test_an_ended_training_says_how():
    """Published, refused, or none was started yet."""
    assert observer.training_state(child(0), []) == "a model was published"
    assert observer.training_state(child(3), []) == "the model was refused by the gate"
    assert observer.training_state(None, []) == "waits for telemetry"


def test_the_trainer_says_these_messages():
    """Every message that is shown stands in the trainer's source."""
    sources = "".join(path.read_text() for path in Path(observer.__file__).parents[1].glob("trainer/**/*.py"))
    logged = set(re.findall(r'\b(?:_log\.info|log_progress)\("([^"]+)"', sources))
    assert set(observer._SHOWN) - logged == set()
