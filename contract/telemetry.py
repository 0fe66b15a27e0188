"""The telemetry record: encoded and decoded a batch at a time, without a loop over fields.

All signals are floats and stand last, so the tail of every record of one schema is a fixed block; `seq` and
`sampled_at` stand right before it, as zigzag varints (Avro's `long`) of at most 5 and of exactly 6 bytes.
Before them stand only strings of at most 63 bytes, whose length is one byte: they lead to where `seq` begins.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import Malformed
from contract.framing import CONFLUENT_BYTES, confluent_header, split_confluent
from contract.joined import Joined
from contract.schema import Schema, get
from contract.varints import WORD, WORD_BYTES, Longs, Words, at, longs, low_bytes, packed, padded, whole

SIGNALS: tuple[str, ...] = tuple(f["name"] for f in get("telemetry", 1).fields if f["type"] == "float")

STRING_BYTES_MAX = 63  # keeps Avro's length of a string a single byte
SEQ_BYTES_MAX = 5
STAMP_BYTES = 6
SEQ_MAX = 2**34 - 1
# 6 varint bytes carry zigzag values from 2**35 up to 2**42: times from July 1970 to September 2039.
_STAMP_MS_MIN, _STAMP_MS_MAX = 2**34, 2**41 - 1
# By seq's size in bytes: how far the word that ends with seq must be shifted to hold nothing else.
_SEQ_SHIFT_BITS = np.array([8 * (WORD_BYTES - size) for size in range(SEQ_BYTES_MAX + 1)], np.uint64)
_SEQ_SHIFT_BITS[0] = 0  # no shift by a whole word; a size of 0 is refused
_BYTE = np.dtype(np.uint8)

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Layout:
    """How the records of one schema are laid out: strings, car_id first; seq; sampled_at; floats."""

    schema: Schema
    strings: int
    block: np.dtype[np.void]  # all floats as one item
    columns: list[int] | None  # of each of SIGNALS among the floats; None where these are SIGNALS

    @classmethod
    def of(cls, schema: Schema) -> "Layout":
        """Raises ValueError for a schema that is laid out otherwise."""
        names = [f["name"] for f in schema.fields]
        strings = [f["name"] for f in schema.fields if f["type"] == "string"]
        floats = [f["name"] for f in schema.fields if f["type"] == "float"]
        missing = sorted(set(SIGNALS) - set(floats))
        if missing or strings[:1] != ["car_id"] or names != [*strings, "seq", "sampled_at", *floats]:
            raise ValueError(
                f"{schema.name} v{schema.version} must have the fields car_id, any other strings, seq, "
                f"sampled_at, and as floats all signals; missing are {', '.join(missing) or 'none'}"
            )
        columns = [floats.index(name) for name in SIGNALS]
        alike = columns == list(range(len(floats)))
        return cls(schema, len(strings), np.dtype(f"V{4 * len(floats)}"), None if alike else columns)

    @property
    def bytes_min(self) -> int:
        """A framed record's size at least; car_id has one character."""
        return CONFLUENT_BYTES + 2 + self.rest_bytes_min

    @property
    def rest_bytes_min(self) -> int:
        """What follows car_id at least: other strings empty, seq of one byte."""
        return self.strings - 1 + 1 + STAMP_BYTES + self.block.itemsize

    @property
    def rest_bytes_max(self) -> int:
        """What follows car_id at most."""
        strings_bytes = (self.strings - 1) * (1 + STRING_BYTES_MAX)
        return strings_bytes + SEQ_BYTES_MAX + STAMP_BYTES + self.block.itemsize

    def signals(self, blocks: NDArray[np.void]) -> Floats:
        """(n, 18) of the float blocks (n,) of n records."""
        floats = blocks.view("<f4").reshape(len(blocks), self.block.itemsize // 4)
        return floats if self.columns is None else floats[:, self.columns]


def prefix(schema: Schema, car_id: str, vehicle_model: str = "unknown") -> bytes:
    """The bytes of a record that stay the same for a car: all fields before `seq`."""
    values = {"car_id": car_id, "vehicle_model": vehicle_model}
    head = [f["name"] for f in schema.fields][: -2 - len(SIGNALS)]
    return b"".join(_string(values[name]) for name in head)


def encode(prefixes: Sequence[bytes], seq: Longs, sampled_at_ms: Longs, signals: Floats) -> list[bytes]:
    """Records of n cars, each its prefix (which may begin with a frame's header) and its tail.

    seq (n,) from 0 to 2**34-1, sampled_at_ms (n,) ms since 1970, signals (n, 18) in the order of SIGNALS.
    Raises ValueError for a seq or a time that its bytes cannot carry.
    """
    count = len(prefixes)
    if count == 0:
        return []
    if seq.min() < 0 or seq.max() > SEQ_MAX:
        raise ValueError(f"seq must be 0 to {SEQ_MAX}, not {seq.min()} to {seq.max()}")
    if sampled_at_ms.min() < _STAMP_MS_MIN or sampled_at_ms.max() > _STAMP_MS_MAX:
        raise ValueError("sampled_at must be ms since 1970, up to September 2039")
    width = SEQ_BYTES_MAX + STAMP_BYTES + 4 * signals.shape[1]
    block = np.empty((count, width), np.uint8)
    block[:, :SEQ_BYTES_MAX], length = packed(seq, SEQ_BYTES_MAX)
    block[:, SEQ_BYTES_MAX : SEQ_BYTES_MAX + STAMP_BYTES] = padded(sampled_at_ms, STAMP_BYTES)
    block[:, SEQ_BYTES_MAX + STAMP_BYTES :] = np.ascontiguousarray(signals, "<f4").view(np.uint8)
    data = block.tobytes()
    ends = range(width, (count + 1) * width, width)
    starts = (np.arange(count) * width + SEQ_BYTES_MAX - length).tolist()
    return [head + data[start:end] for head, start, end in zip(prefixes, starts, ends, strict=True)]


@dataclass(frozen=True)
class Decoded:
    """The m sound records of a batch: `rows` (m,) are their places in it, the rest is `rejected`."""

    rows: NDArray[np.intp]
    seq: Longs
    sampled_at_ms: Longs
    signals: Floats
    rejected: list[tuple[int, Malformed]] = field(default_factory=list)


class Decoder:
    """Decodes framed Kafka values by their schema id (`schemas`: id to telemetry schema)."""

    def __init__(self, schemas: Mapping[int, Schema]) -> None:
        known = {number: schema for number, schema in schemas.items() if schema.name == "telemetry"}
        self._layouts = {number: Layout.of(schema) for number, schema in known.items()}
        self._heads = {n: np.uint64(int.from_bytes(confluent_header(n), "little")) for n in known}
        self._by_header = {confluent_header(n): layout for n, layout in self._layouts.items()}

    def decode(self, values: Sequence[bytes | None], keys: Sequence[bytes | None]) -> Decoded:
        """Decode n values whose Kafka keys are the car ids.

        A record is rejected with the reason `missing_key`, `bad_frame`, `unknown_schema`, or
        `malformed_record` where its length, its strings or its varints cannot be those of its schema and key.
        """
        return self.decode_joined(Joined.of(values), Joined.of(keys))

    def decode_joined(self, values: Joined, keys: Joined) -> Decoded:
        """The same of values, and of keys, that lie behind each other already."""
        layout = self._by_header.get(values.data[:CONFLUENT_BYTES])
        if layout and (alike := _decode_alike(layout, values, keys)):
            return alike
        batch = _Batch.of(values, keys)
        parts = []
        for schema_id, head in self._heads.items():
            layout = self._layouts[schema_id]
            rows = np.flatnonzero((batch.heads == head) & (batch.sizes >= layout.bytes_min))
            if len(rows):
                parts.append(_decode_same(layout, batch, rows))
        found = parts[0] if len(parts) == 1 else _in_order(parts)
        if len(found.rows) == len(values):
            return found
        sound = np.zeros(len(values), np.bool_)
        sound[found.rows] = True
        bad = np.flatnonzero(~sound).tolist()
        return replace(found, rejected=[(row, self._blame(values[row], keys[row])) for row in bad])

    def _blame(self, value: bytes, key: bytes) -> Malformed:
        """What is wrong with a record that is known to be."""
        if not key:
            return Malformed("missing_key", "the key must be the car id")
        try:
            schema_id, _ = split_confluent(value)
        except Malformed as error:
            return error
        if schema_id not in self._layouts:
            return Malformed("unknown_schema", f"schema id {schema_id} is no telemetry")
        version = self._layouts[schema_id].schema.version
        detail = f"{len(value)} bytes are no telemetry v{version} of {key!r:.80}"
        return Malformed("malformed_record", detail)


@dataclass(frozen=True)
class _Batch:
    """The n values of a batch behind each other, so that numpy reaches all of them at once."""

    data: bytes
    starts: Longs  # (n,) where each value begins in `data`
    sizes: Longs  # of the values and of the keys, in bytes
    key_sizes: Longs
    heads: Words  # the 5 bytes of each frame

    @classmethod
    def of(cls, values: Joined, keys: Joined) -> "_Batch":
        sizes = np.array(values.sizes, np.int64)
        starts = np.cumsum(sizes) - sizes
        heads = at(values.data, starts) & low_bytes(CONFLUENT_BYTES)
        return cls(values.data, starts, sizes, np.array(keys.sizes, np.int64), heads)


def _decode_alike(layout: Layout, values: Joined, keys: Joined) -> Decoded | None:
    """All records of a batch in which every field stands at the same place: usual, and half the cost.

    None where they are not alike, or one is not sound: then the general way finds out which.
    """
    data, size, key_size = values.data, values.same, keys.same
    if not key_size or size is None or size < layout.bytes_min:
        return None

    def column(place: int, dtype: np.dtype[Any] = WORD) -> NDArray[Any]:
        return np.ndarray((len(values),), dtype, data, place, (size,))

    stamp_at = size - STAMP_BYTES - layout.block.itemsize
    begin = column(0) & low_bytes(CONFLUENT_BYTES + 1)  # the frame, and the length of car_id
    lengths = _string_lengths(layout, data, stamp_at)
    seq_bytes = stamp_at - CONFLUENT_BYTES - sum(1 + (length >> 1) for _, length in lengths)
    if (
        lengths[0][1] != 2 * key_size
        or not 1 <= seq_bytes <= SEQ_BYTES_MAX
        or any(length & 0x81 for _, length in lengths)
        or (begin != begin[0]).any()
        or any((column(place, _BYTE) != length).any() for place, length in lengths[1:])
    ):
        return None
    seq_words = column(stamp_at - WORD_BYTES) >> _SEQ_SHIFT_BITS[seq_bytes]
    stamp_words = column(stamp_at) & low_bytes(STAMP_BYTES)
    if not (whole(seq_words, seq_bytes).all() and whole(stamp_words, STAMP_BYTES).all()):
        return None
    seq, sampled_at_ms = longs(np.stack([seq_words, stamp_words]))
    signals = layout.signals(column(stamp_at + STAMP_BYTES, layout.block).copy())
    return Decoded(np.arange(len(values)), seq, sampled_at_ms, signals)


def _string_lengths(layout: Layout, data: bytes, limit: int) -> list[tuple[int, int]]:
    """Of the first record's strings: where the length stands, at most at `limit`, and its byte."""
    found, place = [], CONFLUENT_BYTES
    for _ in range(layout.strings):
        found.append((place, data[place]))
        place = min(place + 1 + (data[place] >> 1), limit)
    return found


def _decode_same(layout: Layout, batch: _Batch, rows: NDArray[np.intp]) -> Decoded:
    """The sound ones of `rows` (at least one), which have the frame and at least the size of `layout`."""
    stamp_at = (batch.starts + batch.sizes)[rows] - STAMP_BYTES - layout.block.itemsize
    seq_at, sound = _after_strings(layout, batch, rows, stamp_at)
    seq_bytes = stamp_at - seq_at
    seq_bytes[seq_bytes > SEQ_BYTES_MAX] = 0  # refused like one without any
    seq_words = at(batch.data, stamp_at - WORD_BYTES) >> _SEQ_SHIFT_BITS[seq_bytes]
    stamp_words = at(batch.data, stamp_at) & low_bytes(STAMP_BYTES)
    sound &= whole(seq_words, seq_bytes) & whole(stamp_words, STAMP_BYTES)
    seq, sampled_at_ms = longs(np.stack([seq_words, stamp_words]))
    signals = layout.signals(at(batch.data, stamp_at + STAMP_BYTES, layout.block))
    if sound.all():
        return Decoded(rows, seq, sampled_at_ms, signals)
    return Decoded(rows[sound], seq[sound], sampled_at_ms[sound], signals[sound])


def _after_strings(
    layout: Layout, batch: _Batch, rows: NDArray[np.intp], limit: Longs
) -> tuple[Longs, NDArray[np.bool_]]:
    """Where seq begins in each record, at most `limit`; and whether the strings before it are possible."""
    data = np.frombuffer(batch.data, np.uint8)
    place = batch.starts[rows] + CONFLUENT_BYTES
    key_sizes = batch.key_sizes[rows]
    sound = (data[place] == 2 * key_sizes) & (key_sizes > 0)  # the first string is car_id, the key
    for _ in range(layout.strings):
        length = data[place]
        sound &= length & 0x81 == 0  # a varint of one byte, not negative
        place = np.minimum(place + 1 + (length >> 1), limit)
    return place, sound


def _in_order(parts: list[Decoded]) -> Decoded:
    if not parts:
        none = np.empty(0, np.int64)
        return Decoded(none, none, none, np.empty((0, len(SIGNALS)), np.float32))
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows)  # of arrival
    return Decoded(
        rows[order],
        np.concatenate([part.seq for part in parts])[order],
        np.concatenate([part.sampled_at_ms for part in parts])[order],
        np.concatenate([part.signals for part in parts])[order],
    )


def _string(text: str) -> bytes:
    data = text.encode()
    if len(data) > STRING_BYTES_MAX:
        raise ValueError(f"{text[:80]!r} is longer than {STRING_BYTES_MAX} bytes")
    return bytes([2 * len(data)]) + data
