"""Which car belongs to which part."""

import numpy as np

from trainer.split import CALIBRATION, TEST, TRAINING, parts_of


def test_a_car_keeps_its_part_for_ever() -> None:
    """A part depends on the id alone. If these values changed, models would be judged on cars they know."""
    cars = [b"car-000000", b"car-000001", b"car-000002", b"car-000003", b"WVWZZZ1KZAW000001", b"a"]
    parts = [TEST, TRAINING, TRAINING, TRAINING, CALIBRATION, TRAINING]
    assert parts_of(cars).tolist() == parts
    assert parts_of(cars[::-1]).tolist() == parts[::-1]


def test_the_shares_hold_for_ids_that_are_alike() -> None:
    """Consecutive ids fall into the parts in the ratio 6 : 2 : 2."""
    cars = [b"car-%06d" % number for number in range(20_000)]
    shares = np.bincount(parts_of(cars), minlength=3) / len(cars)
    assert np.allclose(shares, [0.6, 0.2, 0.2], atol=0.01)


def test_no_cars_have_no_parts() -> None:
    """An empty slice is no error here."""
    assert parts_of([]).shape == (0,)
