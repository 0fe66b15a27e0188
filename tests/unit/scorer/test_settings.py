"""The settings that the scorer refuses."""

import pytest

from plumbing.settings import SettingsError, load
from scorer.settings import Settings


def load_flags(*flags: str) -> Settings:
    return load(Settings, prefix="SCORER", argv=flags, environ={})


def test_only_kafka_is_required() -> None:
    """Every other setting has a default."""
    assert load_flags("--kafka-bootstrap", "127.0.0.1:9092").runtime == "litert"
    with pytest.raises(SettingsError, match="--kafka-bootstrap"):
        load_flags()


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
def test_impossible_values_are_refused_by_name(name: str, value: str) -> None:
    """SettingsError names the flag."""
    flags = {"--kafka-bootstrap": "127.0.0.1:9092"} | {name: value}
    with pytest.raises(SettingsError, match=name):
        load_flags(*[part for pair in flags.items() for part in pair])
