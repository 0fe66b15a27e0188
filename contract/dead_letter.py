"""A dead letter on telemetry.rejected: the refused bytes, with the reason in the headers."""

from contract.errors import Malformed

# Kafka would refuse an oversized message a second time, so a dead letter holds the beginning of it.
VALUE_BYTES_MAX = 65_536
_DETAIL_CHARS_MAX = 500

Headers = list[tuple[str, str | bytes | None]]


def dead_letter(value: bytes, error: Malformed, *origin: tuple[str, str | bytes]) -> tuple[bytes, Headers]:
    """(value, headers) of the Kafka message; `origin`: headers that say where the refused bytes came from."""
    headers: Headers = [("reason", error.reason), ("detail", error.detail[:_DETAIL_CHARS_MAX]), *origin]
    return value[:VALUE_BYTES_MAX], headers
