"""What the scorer refuses to be told."""

import pytest

from plumbing.settings import SettingsError, load
from scorer.settings import Settings


def told(*flags: str) -> Settings:
    return load(Settings, prefix="SCORER", argv=flags, environ={})


def test_kafka_is_all_it_must_be_told() -> None:
    """Every other setting has a default."""
    assert told("--kafka-bootstrap", "127.0.0.1:9092").runtime == "litert"
    with pytest.raises(SettingsError, match="--kafka-bootstrap"):
        told()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("--kafka-bootstrap", "nowhere"),
        ("--runtime", "torch"),
        ("--batch-records-max", "0"),
        ("--batch-wait-ms", "-1"),
        ("--in-flight-batches-max", "0"),
        ("--commit-interval-ms", "0"),
        ("--remembered-records", "-1"),
        ("--delivery-timeout-s", "0"),
    ],
)
def test_what_cannot_be_is_refused_by_name(name: str, value: str) -> None:
    """The message names the setting."""
    given = {"--kafka-bootstrap": "127.0.0.1:9092"} | {name: value}
    with pytest.raises(SettingsError, match=name):
        told(*[part for pair in given.items() for part in pair])
