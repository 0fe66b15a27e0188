"""Values behind each other are the same values."""

import pytest

from contract.joined import Joined

LISTS: list[list[bytes]] = [[], [b""], [b"", b""], [b"a"], [b"ab", b"cd"], [b"a", b"", b"bcd"]]


@pytest.mark.parametrize("values", LISTS)
def test_they_come_out_as_they_went_in(values: list[bytes]) -> None:
    """One by one, all together, and chosen ones; None is an empty one."""
    joined = Joined.of(values)
    assert list(joined) == [joined[row] for row in range(len(joined))] == values
    assert list(joined.take(range(len(values) - 1, -1, -1))) == values[::-1]
    assert Joined.of([value or None for value in values]) == joined


@pytest.mark.parametrize("first", LISTS)
@pytest.mark.parametrize("second", LISTS)
def test_several_are_as_one(first: list[bytes], second: list[bytes]) -> None:
    """Whether their values have the same size or not."""
    found = Joined.behind_each_other([Joined.of(first), Joined.of(second)])
    assert (list(found), found.sizes) == (first + second, list(map(len, first + second)))
    assert found.data == Joined.of(first + second).data
    assert found.same in (None, Joined.of(first + second).same)
