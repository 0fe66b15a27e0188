"""The value and the headers of a dead letter."""

import pytest

from contract.errors import VALUE_BYTES_MAX, Malformed, dead_letter


def test_a_dead_letter_has_the_bytes_the_reason_and_the_origin():
    """The value is unchanged; the headers are reason, detail and those of the service."""
    value, headers = dead_letter(b"junk", Malformed("bad_frame", "4 bytes"), ("mqtt_topic", b"fleet/v1/c/x"))
    assert value == b"junk"
    assert headers == [("reason", "bad_frame"), ("detail", "4 bytes"), ("mqtt_topic", b"fleet/v1/c/x")]


@pytest.mark.parametrize(("size", "kept"), [(VALUE_BYTES_MAX, 65_536), (VALUE_BYTES_MAX + 1, 65_536)])
def test_a_dead_letter_is_bounded(size: int, kept: int):
    """At most 64 KiB of the value and 500 characters of the detail, so that Kafka takes it."""
    value, headers = dead_letter(bytes(size), Malformed("oversized", "x" * 10_000))
    assert len(value) == kept
    assert headers[1] == ("detail", "x" * 500)
