"""What strings, numbers and times a record may have: one rule for every end that checks them.

The decoder checks whole batches of telemetry with numpy (contract/telemetry.py). `check` checks one record,
and says what is wrong with it.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from contract.errors import Malformed
from contract.varints import WORD, WORD_BYTES, Longs, Words, at

STRING_BYTES_MAX = 63  # longer strings have a length of two bytes
SEQ_MAX = 2**34 - 1  # what a varint of 5 bytes holds
# From the first time that takes 6 bytes, in July 1970, to the end of 9999, the last year of most calendars.
TIME_MS_MIN, TIME_MS_MAX = 2**34, 253_402_300_799_999
AHEAD_MS_MAX = 5 * 60_000  # how far a car's clock may be ahead of ours
# A clock before 2026 was never set, as that of a machine without a battery: it cannot tell what is late.
CLOCK_MS_MIN = 1_767_225_600_000
SEQ_BYTES_MAX = 5
STAMP_BYTES = 6  # of a time until September 2039; from then on it has one byte more
_LONG_BYTES_MAX = 10


def latest_ms(now_ms: int) -> int:
    """The latest `sampled_at` that is believed at `now_ms`."""
    return now_ms + AHEAD_MS_MAX if now_ms >= CLOCK_MS_MIN else TIME_MS_MAX


def check(value: bytes, body_at: int, *, strings: int, floats_bytes: int, until_ms: int) -> int:
    """Where `seq` begins in a framed record of telemetry whose body begins at `body_at`.

    strings: number of its string fields; floats_bytes: size of all signals; until_ms: the latest time that is
    believed. Raises Malformed: `malformed_record`, or `impossible_time` for a time after `until_ms`.
    """
    seq_at = body_at
    for _ in range(strings):
        if seq_at >= len(value) or value[seq_at] & 0x81:
            raise Malformed("malformed_record", f"a string that does not have 0 to {STRING_BYTES_MAX} bytes")
        seq_at += 1 + (value[seq_at] >> 1)
    seq, stamp_at = _long(value, seq_at)
    sampled_at_ms, floats_at = _long(value, stamp_at)
    if len(value) - floats_at != floats_bytes:
        detail = f"{len(value) - floats_at} bytes behind sampled_at, not {floats_bytes}"
        raise Malformed("malformed_record", detail)
    try:
        value[body_at:seq_at].decode()  # the lengths between the strings are ASCII
    except UnicodeDecodeError as error:
        raise Malformed("malformed_record", f"a string is not UTF-8: {value[body_at:seq_at]!r}") from error
    if not 0 <= seq <= SEQ_MAX or stamp_at - seq_at > SEQ_BYTES_MAX:
        raise Malformed("malformed_record", f"seq {seq} in {stamp_at - seq_at} bytes is not 0 to {SEQ_MAX}")
    check_time("sampled_at", sampled_at_ms, until_ms)
    if not 0 <= floats_at - stamp_at - STAMP_BYTES <= 1:
        raise Malformed("malformed_record", f"sampled_at takes {floats_at - stamp_at} bytes")
    return seq_at


def check_time(name: str, time_ms: int, until_ms: int) -> None:
    """Raises Malformed: `malformed_record`, or `impossible_time` for a time after `until_ms`."""
    if not TIME_MS_MIN <= time_ms <= TIME_MS_MAX:
        detail = f"{name} {time_ms} is no time in ms since 1970 ({TIME_MS_MIN} to {TIME_MS_MAX})"
        raise Malformed("malformed_record", detail)
    if time_ms > until_ms:
        ahead_s = (time_ms - until_ms + AHEAD_MS_MAX) // 1_000
        raise Malformed("impossible_time", f"{name} {time_ms} is {ahead_s} s ahead of our clock")


def refuse_other_than_utf8(valid: NDArray[np.bool_], data: bytes, starts: Longs, ends: Longs) -> None:
    """Clear `valid` (m,) where the strings, lengths included, from `starts` to `ends` (m,) are not UTF-8."""
    sizes = ends - starts
    words = -(-int(sizes.max()) // WORD_BYTES)
    if starts[-1] + words * WORD_BYTES > len(data):  # the last values are short ones
        data += bytes(words * WORD_BYTES)
    strings = at(data, starts, np.dtype((np.void, words * WORD_BYTES))).view(WORD).reshape(-1, words)
    beyond_ascii = strings & _top_bits(words).take(sizes, axis=0)
    if not np.bitwise_or.reduce(beyond_ascii, axis=None):
        return
    rows = np.flatnonzero(beyond_ascii.any(axis=1) & valid)
    for row, start, end in zip(rows.tolist(), starts[rows].tolist(), ends[rows].tolist(), strict=True):
        try:
            data[start:end].decode()  # the lengths are ASCII, so a character cannot go on
        except UnicodeDecodeError:
            valid[row] = False


@cache
def _top_bits(words: int) -> Words:
    """(8 words + 1, words): the top bits of the first 0, 1, … bytes of some words."""
    bits = np.tri(WORD_BYTES * words + 1, WORD_BYTES * words, -1, np.uint8) * np.uint8(0x80)
    return bits.view(WORD)


def _long(data: bytes, at: int) -> tuple[int, int]:
    """(an Avro long, where it ends). Raises Malformed (`malformed_record`)."""
    zigzag, first = 0, at
    for byte in data[first : first + _LONG_BYTES_MAX]:
        zigzag |= (byte & 0x7F) << 7 * (at - first)
        at += 1
        if byte < 0x80:
            return zigzag >> 1 ^ -(zigzag & 1), at
    raise Malformed("malformed_record", f"the number at byte {first} does not end")
