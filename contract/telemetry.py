"""The telemetry record: encoded and decoded a batch at a time, without a loop over fields.

All signals are floats and stand last, so the tail of every record of one schema is a fixed block; `seq` and
`sampled_at` stand right before it, as zigzag varints (Avro's `long`) of at most 5 and of exactly 6 bytes.
Both are read for a whole batch from the same tails. A varint's bytes have the top bit set but for the last
one, and whatever stands before `seq` (a string or a varint) ends in a byte without it: so `seq` is found
from its end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import Malformed
from contract.framing import CONFLUENT_BYTES, confluent_header
from contract.schema import Schema, get

SIGNALS: tuple[str, ...] = tuple(f["name"] for f in get("telemetry", 1).fields if f["type"] == "float")

SEQ_BYTES_MAX = 5
STAMP_BYTES = 6
SEQ_MAX = 2**34 - 1
# 6 varint bytes carry zigzag values from 2**35 up to 2**42: times from July 1970 to September 2039.
_STAMP_MS_MIN, _STAMP_MS_MAX = 2**34, 2**41 - 1

Floats = NDArray[np.float32]
Longs = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """Where the parts of one schema's records stand, counted from the record's end."""

    schema: Schema
    columns: NDArray[np.intp]  # of each of SIGNALS among the schema's trailing floats
    floats: int
    plain: bool  # nothing stands between car_id and seq: a record's length is exactly known

    @property
    def tail_bytes(self) -> int:
        """seq at its longest, sampled_at, and the floats."""
        return SEQ_BYTES_MAX + STAMP_BYTES + 4 * self.floats

    @classmethod
    def of(cls, schema: Schema) -> "Layout":
        """Raises ValueError for a schema without car_id first and seq, sampled_at, floats last."""
        names = [f["name"] for f in schema.fields]
        trailing = [f["name"] for f in schema.fields if f["type"] == "float"]
        head = names[: len(names) - len(trailing)]
        missing = set(SIGNALS) - set(trailing)
        if missing or head[0] != "car_id" or head[-2:] != ["seq", "sampled_at"]:
            raise ValueError(
                f"{schema.name} v{schema.version} must have car_id first and seq, sampled_at and the floats "
                f"{', '.join(SIGNALS)} last; missing: {', '.join(sorted(missing)) or 'none'}"
            )
        columns = np.array([trailing.index(name) for name in SIGNALS], dtype=np.intp)
        return cls(schema, columns, len(trailing), plain=len(head) == 3)


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
    zigzag = seq << 1
    length = 1 + sum((zigzag >= 1 << 7 * i).astype(np.int64) for i in range(1, SEQ_BYTES_MAX))
    for i in range(SEQ_BYTES_MAX):  # right-aligned: byte i counts from the varint's last possible one
        place = length - SEQ_BYTES_MAX + i  # below 0: not part of the varint
        more = 0x80 if i < SEQ_BYTES_MAX - 1 else 0
        block[:, i] = zigzag >> 7 * np.maximum(place, 0) & 0x7F | more
    stamp = sampled_at_ms << 1
    for i in range(STAMP_BYTES):
        block[:, SEQ_BYTES_MAX + i] = stamp >> 7 * i & 0x7F | (0x80 if i < STAMP_BYTES - 1 else 0)
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
        self._layouts = {
            confluent_header(schema_id): Layout.of(schema)
            for schema_id, schema in schemas.items()
            if schema.name == "telemetry"
        }

    def decode(self, values: Sequence[bytes | None], keys: Sequence[bytes | None]) -> Decoded:
        """Decode n values whose Kafka keys are the car ids.

        A record is rejected with the reason `bad_frame`, `unknown_schema`, `missing_key`, or
        `malformed_record` where its length or its varints cannot be those of its schema.
        """
        if not values:
            return _join([], [])
        head = (values[0] or b"")[:CONFLUENT_BYTES]
        layout = self._layouts.get(head)
        if layout is not None:  # nearly always: one schema in the whole batch, nothing to sort out
            shortest = CONFLUENT_BYTES + layout.tail_bytes - SEQ_BYTES_MAX + 1
            # Lists, not generators: half the time.
            alike = [v is not None and v.startswith(head) and len(v) > shortest for v in values]
            if all(alike) and all(keys):
                return _join([_decode_same(layout, np.arange(len(values)), values, keys)], [])
        return self._decode_mixed(values, keys)

    def _decode_mixed(self, values: Sequence[bytes | None], keys: Sequence[bytes | None]) -> Decoded:
        groups: dict[bytes, list[int]] = {}
        rejected: list[tuple[int, Malformed]] = []
        for row, (value, key) in enumerate(zip(values, keys, strict=True)):
            try:
                groups.setdefault(self._checked_head(value, key), []).append(row)
            except Malformed as error:
                rejected.append((row, error))
        parts = [
            _decode_same(
                self._layouts[head], np.array(rows), [values[r] for r in rows], [keys[r] for r in rows]
            )
            for head, rows in groups.items()
        ]
        return _join(parts, rejected)

    def _checked_head(self, value: bytes | None, key: bytes | None) -> bytes:
        if not key:
            raise Malformed("missing_key", "the key must be the car id")
        if value is None or len(value) < CONFLUENT_BYTES or value[0] != 0:
            raise Malformed(
                "bad_frame", f"{len(value or b'')} bytes that do not begin with 00 and a schema id"
            )
        head = value[:CONFLUENT_BYTES]
        layout = self._layouts.get(head)
        if layout is None:
            raise Malformed("unknown_schema", f"schema id {int.from_bytes(head[1:], 'big')} is no telemetry")
        if len(value) < CONFLUENT_BYTES + layout.tail_bytes - SEQ_BYTES_MAX + 3:
            raise Malformed("malformed_record", f"{len(value)} bytes are too few")
        return head


def _decode_same(
    layout: Layout, rows: NDArray[np.intp], values: Sequence[Any], keys: Sequence[Any]
) -> Decoded:
    """Decode values (bytes) that have the frame of `layout`, and at least its shortest length."""
    tail = layout.tail_bytes
    # A short seq leaves room in front of it; a record so short that its frame is reached is padded.
    tails = [v[-tail:] if len(v) >= tail else v.rjust(tail, b"\0") for v in values]
    block = np.frombuffer(b"".join(tails), np.uint8).reshape(len(values), tail)
    seq, seq_length = _seq(block)
    stamp, sound = _stamp(block[:, SEQ_BYTES_MAX : SEQ_BYTES_MAX + STAMP_BYTES])
    lengths = np.fromiter(map(len, values), np.int64, len(values))
    key_lengths = np.fromiter(map(len, keys), np.int64, len(keys))
    expected = CONFLUENT_BYTES + 1 + key_lengths + seq_length + tail - SEQ_BYTES_MAX
    sound &= (lengths == expected) if layout.plain else (lengths > expected)
    floats = block[:, SEQ_BYTES_MAX + STAMP_BYTES :].copy().view("<f4")
    signals = floats if np.array_equal(layout.columns, range(layout.floats)) else floats[:, layout.columns]
    if sound.all():
        return Decoded(rows, seq, stamp, signals)
    rejected = [
        (
            int(row),
            Malformed(
                "malformed_record", f"{size} bytes are no {layout.schema.name} v{layout.schema.version}"
            ),
        )
        for row, size in zip(rows[~sound], lengths[~sound], strict=True)
    ]
    return Decoded(rows[sound], seq[sound], stamp[sound], signals[sound], rejected)


def _seq(block: NDArray[np.uint8]) -> tuple[Longs, Longs]:
    """seq and its length in bytes, read backwards from its last byte."""
    value = block[:, SEQ_BYTES_MAX - 1].astype(np.int64)
    length = np.ones(len(block), np.int64)
    within = value < 0x80
    for i in range(SEQ_BYTES_MAX - 2, -1, -1):
        byte = block[:, i].astype(np.int64)
        within = within & (byte >= 0x80)
        if not within.any():
            break
        value = np.where(within, value << 7 | byte & 0x7F, value)
        length += within
    return value >> 1 ^ -(value & 1), length


def _stamp(block: NDArray[np.uint8]) -> tuple[Longs, NDArray[np.bool_]]:
    """sampled_at in ms, and whether its 6 bytes are one varint."""
    more = block >= 0x80
    sound = more[:, :-1].all(axis=1) & ~more[:, -1]
    weights = np.int64(1) << 7 * np.arange(STAMP_BYTES, dtype=np.int64)
    value = (block & 0x7F).astype(np.int64) @ weights
    return value >> 1 ^ -(value & 1), sound


def _join(parts: list[Decoded], rejected: list[tuple[int, Malformed]]) -> Decoded:
    if len(parts) == 1 and not rejected:
        return parts[0]
    rejected = rejected + [bad for part in parts for bad in part.rejected]
    if not parts:
        none = np.empty(0, np.int64)
        return Decoded(none, none, none, np.empty((0, len(SIGNALS)), np.float32), rejected)
    rows = np.concatenate([part.rows for part in parts])
    order = np.argsort(rows)  # back to the order of arrival
    return Decoded(
        rows[order],
        np.concatenate([part.seq for part in parts])[order],
        np.concatenate([part.sampled_at_ms for part in parts])[order],
        np.concatenate([part.signals for part in parts])[order],
        sorted(rejected, key=lambda bad: bad[0]),
    )


def _string(text: str) -> bytes:
    data = text.encode()
    if len(data) > 63:  # keeps Avro's length a single byte, which the bridge's check relies on
        raise ValueError(f"{text[:80]!r} is longer than 63 bytes")
    return bytes([2 * len(data)]) + data
