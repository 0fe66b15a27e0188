"""Which component a deviation speaks of: by angle, measured by what healthy cars do."""

import numpy as np
import pytest

from contract.hypotheses import Hypotheses

# Columns 1, 2 and 3 of a state; healthy cars move the first two together, and hardly apart.
COVARIANCE = np.array([[1.0, 0.9, 0.0], [0.9, 1.0, 0.0], [0.0, 0.0, 0.04]])
DIRECTIONS = {
    "tire": ((-1.0, 0.0, 0.0),),
    "brake": ((1.0, 0.0, 0.0),),
    "sensor": ((0.0, 1.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)),
    "twin": ((1.0, 0.01, 0.0),),
}


def known(**changes: object) -> Hypotheses:
    values = {
        "columns": (1, 2, 3),
        "usual": (0.0, 0.0, 0.5),
        "norm": tuple(map(tuple, (np.linalg.inv(COVARIANCE) / 3).tolist())),
        "directions": DIRECTIONS,
    }
    return Hypotheses(**values | changes)  # type: ignore[arg-type]


def state(*away: float) -> np.ndarray:
    return np.array([9.0, away[0], away[1], away[2] + 0.5, 9.0], np.float32)


@pytest.mark.parametrize(
    ("away", "component"),
    [
        ((-2, 0, 0), "tire"),
        ((2, 0, 0), "brake"),  # the other way of the same signal is another fault
        ((0, 2, 0), "sensor"),
        ((0, -2, 0), "sensor"),  # one that drifts either way
        ((0, 0, 0.4), "sensor"),  # or repeats itself
        ((0, 0, -0.4), ""),  # nothing goes that way
        ((0, 0, 0), ""),
        ((np.nan, 0, 0), ""),
    ],
)
def test_the_direction_says_which_component(away: tuple[float, ...], component: str):
    """Signs count, and what is usual does not."""
    name, confidence = known().of(state(*away))
    assert name == component
    assert (confidence > 0.9) == bool(component)


def test_spreads_are_those_of_healthy_cars():
    """The norm is the inverse of their covariance over the number of columns, as the trainer makes it."""
    assert known().spread == pytest.approx([1.0, 1.0, 0.2])


def test_of_two_that_look_alike_the_first_is_named():
    """ "twin" fits by a hair better than "brake", which stands before it; turned round it is named."""
    assert known().of(state(1, 0.01, 0))[0] == "brake"
    turned = dict(reversed(DIRECTIONS.items()))
    assert known(directions=turned).of(state(1, 0, 0))[0] == "twin"


def test_angles_are_measured_by_healthy_cars():
    """Half as much of the second signal would be near the middle, were the two not used to go together."""
    _, confidence = known(directions={"brake": DIRECTIONS["brake"]}).of(state(1, 0.9, 0))
    assert confidence == pytest.approx(np.sqrt(1 - 0.81), abs=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"columns": (1, 2)},
        {"columns": (1, 2, -1)},
        {"usual": (0.0, 0.0)},
        {"directions": {}},
        {"directions": {"tire": ()}},
        {"directions": {"tire": ((1.0, 0.0),)}},
        {"directions": {"tire": ((0.0, 0.0, 0.0),)}},
        {"norm": ((0.0,) * 3,) * 3},
        {"norm": ((float("nan"),) * 3,) * 3},
    ],
)
def test_what_compares_nothing_is_refused(changes: dict[str, object]):
    """Sizes that differ, no component, a direction without a length."""
    with pytest.raises(ValueError, match=r"must|every"):
        known(**changes)
