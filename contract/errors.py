"""The one error of this package."""


class Malformed(ValueError):
    """Bytes that do not keep the contract: the sender is to blame, the reader counts it and goes on.

    `reason` is a short slug, one of a small set, fit for a metric's label; `detail` is for people.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail
