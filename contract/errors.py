"""The error of this package, and the dead letter about refused bytes."""

# Kafka would refuse an oversized message a second time, so a dead letter holds the beginning of it.
VALUE_BYTES_MAX = 65_536
_DETAIL_CHARS_MAX = 500

Headers = list[tuple[str, str | bytes | None]]


class Malformed(ValueError):
    """Bytes that break the contract. The sender is to blame: the reader counts the record and goes on."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason  # one of a small set of slugs, a metric's label
        self.detail = detail  # for people


def dead_letter(value: bytes, error: Malformed, *origin: tuple[str, str | bytes]) -> tuple[bytes, Headers]:
    """A message for telemetry.rejected: (value, headers), the refused bytes with the reason in the headers.

    origin: headers that say where the refused bytes came from.
    """
    headers: Headers = [("reason", error.reason), ("detail", error.detail[:_DETAIL_CHARS_MAX]), *origin]
    return value[:VALUE_BYTES_MAX], headers
