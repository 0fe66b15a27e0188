"""Avro's longs, many at once."""

import numpy as np
import pytest

from contract import varints


def _encoded(number: int) -> bytes:
    """As the Avro specification describes it: zigzag, then 7 bits a byte, the lowest first."""
    zigzag = number << 1 ^ number >> 63
    out = bytearray()
    while zigzag > 0x7F:
        out.append(zigzag & 0x7F | 0x80)
        zigzag >>= 7
    return bytes([*out, zigzag])


def test_the_specification_s_examples():
    """0, -1, 1, -2, 2, -64 and 64 are 00, 01, 02, 03, 04, 7f and 80 01."""
    assert [_encoded(n).hex() for n in (0, -1, 1, -2, 2, -64, 64)] == [
        "00",
        "01",
        "02",
        "03",
        "04",
        "7f",
        "8001",
    ]


def test_numbers_of_every_size_and_sign():
    """longs() reads what the specification writes, up to 8 bytes, and whole() knows where each ends."""
    numbers = [sign * (2**bits + low) for bits in range(54) for low in (-1, 0, 1) for sign in (1, -1)]
    encoded = [_encoded(n) for n in numbers]
    words = np.array([int.from_bytes(e, "little") for e in encoded], np.uint64)
    sizes = np.array([len(e) for e in encoded])
    assert varints.longs(words).tolist() == numbers
    assert varints.whole(words, sizes).all()
    assert set(sizes.tolist()) == set(range(1, 9))


@pytest.mark.parametrize(
    ("data", "size"), [("80", 1), ("02", 2), ("8002", 1), ("808002", 2), ("028002", 3), ("", 0)]
)
def test_bytes_that_are_not_one_varint(data: str, size: int):
    """A varint that goes on, ends early, or has no byte at all is not whole."""
    word = np.array([int.from_bytes(bytes.fromhex(data), "little")], np.uint64)
    assert not varints.whole(word, np.array([size])).any()


def test_words_are_read_from_any_place():
    """at() needs no alignment, and refuses a place where the data end too early."""
    data = bytes(range(20))
    places = np.array([0, 3, 12])
    expected = [int.from_bytes(data[p : p + 8], "little") for p in places]
    assert varints.at(data, places).tolist() == expected
    with pytest.raises(IndexError):
        varints.at(data, np.array([13]))
