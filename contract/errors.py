"""The error of this package."""


class Malformed(ValueError):
    """Bytes that break the contract. The sender is to blame: the reader counts the record and goes on."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason  # one of a small set of slugs, a metric's label
        self.detail = detail  # for people
