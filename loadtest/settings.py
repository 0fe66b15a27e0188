"""Checks that the settings of several commands share."""

from plumbing.settings import flag


def require_positive(settings: object, *names: str) -> None:
    """Raises ValueError naming the first of the settings that is not above 0."""
    for name in names:
        if getattr(settings, name) <= 0:
            raise ValueError(f"{flag(name)} must be positive")


def require_not_negative(settings: object, *names: str) -> None:
    """Raises ValueError naming the first of the settings that is below 0."""
    for name in names:
        if getattr(settings, name) < 0:
            raise ValueError(f"{flag(name)} must not be negative")


def require_fleet(cars: int, rate: float) -> None:
    """Raises ValueError where a car would have to send more than 10 messages a second."""
    if rate > 10 * cars:
        raise ValueError(
            f"--rate {rate:.0f} for {cars} --cars is more than 10 messages a second from each car; "
            "give more --cars"
        )
