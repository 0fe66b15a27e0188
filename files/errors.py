"""The one error of this package."""


class BadData(Exception):
    """A file or folder that cannot be used; the message says where, and what its owner can change."""
