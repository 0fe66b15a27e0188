"""Rows by car and time, and the cars in step."""

import numpy as np
import pytest

from trainer.model.replay import in_step, ranks, runs

CAR = np.array([7, 3, 3, 3, 5, 5])


def test_cars_of_different_lengths_go_in_step() -> None:
    """The first rows of all cars, then the second rows of those that have one."""
    steps = [(rows.tolist(), whose.tolist()) for rows, whose in in_step(CAR)]
    assert steps == [([1, 4, 0], [1, 2, 0]), ([2, 5], [1, 2]), ([3], [1])]


@pytest.mark.parametrize("cars_max", [1, 2, 3, 9])
def test_groups_pass_every_row_once_and_a_car_in_its_order(cars_max: int) -> None:
    """For any number of cars in step."""
    steps = list(in_step(CAR, cars_max))
    rows = np.concatenate([rows for rows, _ in steps])
    whose = np.concatenate([whose for _, whose in steps])
    assert sorted(rows.tolist()) == list(range(6))
    assert max(len(rows) for rows, _ in steps) == min(cars_max, 3)
    for number, car in enumerate((7, 3, 5)):
        assert rows[whose == number].tolist() == np.flatnonzero(car == CAR).tolist()


def test_no_rows_are_no_steps() -> None:
    """An empty array yields nothing."""
    assert list(in_step(CAR[:0])) == []


def test_runs_and_ranks_say_where_cars_begin() -> None:
    """First rows and lengths of the cars; how many rows of its car come before each row."""
    starts, lengths = runs(CAR)
    assert (starts.tolist(), lengths.tolist()) == ([0, 1, 4], [1, 3, 2])
    assert ranks(CAR).tolist() == [0, 0, 1, 2, 0, 1]
