"""Checks that the settings of several commands share."""


def require_fleet(cars: int, rate: float) -> None:
    """Raises ValueError where a car would have to send more than 10 messages a second."""
    if rate > 10 * cars:
        raise ValueError(
            f"--rate {rate:.0f} for {cars} --cars is more than 10 messages a second from each car; "
            "give more --cars"
        )
