"""Operations on arrays of (quantities, cars), and coordinates, against numpy."""

from typing import Any

import numpy as np
import pytest

from contract.signals import Ratio
from trainer.model.coordinates import coordinates, presence
from trainer.model.domain import Domain
from trainer.model.rows import matmul, scatter

pytestmark = pytest.mark.integration

RNG = np.random.default_rng(1)
ABOUT: dict[str, Any] = {"resolution": 0.1, "denominator_offset": 1.0}
RATIOS = (
    Ratio(name="power", numerator=("a", "c"), denominator="d", unit=10.0, most=0.5, **ABOUT),
    Ratio(
        name="reaction",
        numerator=("b",),
        denominator="d",
        numerator_offset=2.0,
        power=0.5,
        logarithm=True,
        **ABOUT,
    ),
    Ratio(name="share", numerator=("e",), denominator="a", **ABOUT),
)
DOMAIN = Domain(
    signals=tuple("abcde"),
    judged=np.array([False, True, True, True, True]),
    conditions=np.zeros(8, bool),
    resolution=np.full(8, 0.1),
    restless=np.zeros(5, bool),
    ratios=RATIOS,
)


def test_ratios_stand_behind_the_signals_in_the_domains_order() -> None:
    """Logarithms and quotients are computed apart and put back in their order; quotients are clipped."""
    signals = RNG.normal(0, 3, (5, 40)).astype(np.float32)
    a, b, c, d, e = signals.astype(np.float64)
    expected = [
        np.clip(a * c / (10 * (np.abs(d) + 1)), -0.5, 0.5),
        np.log(np.abs(b) + 2) - 0.5 * np.log(np.abs(d) + 1),
        e / (np.abs(a) + 1),
    ]
    computed = np.asarray(coordinates(DOMAIN, signals))
    assert np.allclose(computed, [*signals, *expected], rtol=1e-5, atol=1e-5)


def test_a_ratio_is_there_where_all_of_its_parts_are() -> None:
    """For ratios of two and of three signals; signals keep their own mask."""
    present = (RNG.random((5, 60)) < 0.7).astype(np.float32)
    a, b, c, d, e = present
    assert np.array_equal(np.asarray(presence(DOMAIN, present)), [*present, a * c * d, b * d, e * a])


def test_rows_are_scattered_by_a_mask() -> None:
    """0 in every other row; a mask that is true everywhere changes nothing."""
    rows = RNG.normal(size=(4, 7)).astype(np.float32)
    assert np.array_equal(np.asarray(scatter(rows, DOMAIN.judged)), [np.zeros(7), *rows])
    assert np.array_equal(np.asarray(scatter(rows, np.ones(4, bool))), rows)


def test_a_matrix_multiplies_each_cars_numbers() -> None:
    """The result equals that of the transposed array."""
    matrix, rows = RNG.normal(size=(4, 3)), RNG.normal(size=(4, 7)).astype(np.float32)
    assert np.allclose(np.asarray(matmul(matrix, rows)), (rows.T @ matrix).T, atol=1e-5)
