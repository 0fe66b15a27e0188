"""Looks at the cars of all scorers, and the drift that lasts over several of them."""

import pytest

from trainer.watch import looks as looks_module
from trainer.watch.looks import NEWEST, Looks, lasting, lasts_since_ms, recent

from .minutes import BEGAN_MS, EDGE, MINUTE_MS, far


def test_a_drift_lasts_where_each_of_the_last_looks_shows_it() -> None:
    """A look is over when a later one has begun; sources come in any order."""
    looks = Looks(MINUTE_MS)
    for minute, cars in ((1, 0), (2, 50), (3, 50), (4, 50)):
        looks.add((EDGE, "a"), far(minute, cars))
    assert not lasting(looks.over(), 3)
    looks.add((EDGE, "a"), far(5, 0))
    assert [drift.signal for drift in lasting(looks.over(), 3)] == ["battery_voltage"]
    looks.add((EDGE, "a"), far(6, 0))
    assert not lasting(looks.over(), 3)
    assert recent(looks.over())
    for minute, scorer in ((minute, f"{number}") for minute in (2, 3, 4) for number in range(4)):
        looks.add((EDGE, scorer), far(minute, 0))
    assert not recent(looks.over())


def test_a_drift_is_known_to_have_begun_long_ago() -> None:
    """Also where scorers are read one after the other, as after a restart; one sound look begins it anew."""
    looks, minutes = Looks(MINUTE_MS), 4 * NEWEST
    for scorer in ("a", "b"):
        for minute in range(minutes):
            looks.add((EDGE, scorer), far(minute, 0 if minute < 40 else 50))
    past = looks.over()
    assert lasts_since_ms(past) == (BEGAN_MS // MINUTE_MS + 40) * MINUTE_MS
    assert past[0].look.cars == past[-1].look.cars == 200
    looks.add((EDGE, "a"), far(minutes, 0))
    looks.add((EDGE, "a"), far(minutes + 1, 50))
    assert lasts_since_ms(looks.over()) == 0


def test_looks_are_bounded_and_remember_that_cars_were_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cars that have to be learned anew are seen although their learned days are long dropped."""
    monkeypatch.setattr(looks_module, "KEPT", 200)
    looks = Looks(MINUTE_MS)
    for minute in range(204):
        looks.add((EDGE, "a"), far(minute, 0, learning=0 if minute < 50 else 40))
    assert len(looks.over()) == 200
    assert len(looks._newest) == NEWEST + 1
    assert {drift.kind for drift in lasting(looks.over(), 3)} == {"unlearned"}
