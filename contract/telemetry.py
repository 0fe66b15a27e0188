"""The telemetry record: encoded and decoded a batch at a time, without a loop over fields.

All signals are floats and come last, so the tail of every record of one schema is a fixed block. `seq` and
`sampled_at` come right before it, as zigzag varints (Avro's `long`) of at most 5 and of exactly 6 bytes. Only
strings of at most 63 bytes come before them; their lengths, one byte each, lead to where `seq` begins.

SIGNALS are the floats of the newest schema version. A version only adds signals at the end
(contract/schema.py), so the signals of an older record are the first columns; those that it lacks are NaN.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import Malformed
from contract.joined import Joined
from contract.records import CONFLUENT_BYTES, confluent_header, schema_ids, split_confluent
from contract.schema import Schema, latest, versions
from contract.varints import WORD, WORD_BYTES, Longs, at, longs, low_bytes, packed, padded, whole

SIGNALS: tuple[str, ...] = latest("telemetry").names("float")

STRING_BYTES_MAX = 63  # longer strings have a length of two bytes
SEQ_BYTES_MAX = 5
STAMP_BYTES = 6
SEQ_MAX = 2**34 - 1
# 6 varint bytes carry zigzag values from 2**35 up to 2**42: times from July 1970 to September 2039.
_STAMP_MS_MIN, _STAMP_MS_MAX = 2**34, 2**41 - 1
# Right shift of the word that ends with seq that leaves only seq, by the number of seq's bytes.
_SEQ_SHIFT_BITS = np.array([8 * (WORD_BYTES - size) for size in range(SEQ_BYTES_MAX + 1)], np.uint64)
_SEQ_SHIFT_BITS[0] = 0  # shifting by a whole word is undefined; a size of 0 is refused anyway
_BYTE = np.dtype(np.uint8)

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Layout:
    """The byte layout of one schema's records: strings (car_id first), seq, sampled_at, floats."""

    schema: Schema
    strings: int  # number of string fields
    block: np.dtype[np.void]  # all floats of a record as one item

    @classmethod
    def of(cls, schema: Schema) -> "Layout":
        """Raises ValueError if the schema's signals are not the first ones of SIGNALS."""
        signals = schema.names("float")
        if not signals or signals != SIGNALS[: len(signals)]:
            raise ValueError(
                f"{schema.name} v{schema.version} has the signals {', '.join(signals) or 'none'}; "
                f"they must be the first ones of {', '.join(SIGNALS)}"
            )
        return cls(schema, len(schema.names("string")), np.dtype(f"V{4 * len(signals)}"))

    @property
    def bytes_min(self) -> int:
        """Least size of a framed record; car_id has at least one character."""
        return CONFLUENT_BYTES + 2 + self.rest_bytes.start

    @property
    def rest_bytes(self) -> range:
        """Sizes that what follows car_id can have: the other strings, each with its length, and seq vary."""
        others, fixed_bytes = self.strings - 1, STAMP_BYTES + self.block.itemsize
        most = others * (1 + STRING_BYTES_MAX) + SEQ_BYTES_MAX + fixed_bytes
        return range(others + 1 + fixed_bytes, most + 1)

    def signals(self, blocks: NDArray[np.void]) -> Floats:
        """(n, K) signals of the float blocks (n,); NaN in the columns that the schema lacks."""
        lacking = len(SIGNALS) - self.block.itemsize // 4
        if not lacking:
            rows = blocks if blocks.flags.owndata else blocks.copy()
            return rows.view("<f4").reshape(len(blocks), len(SIGNALS))
        rows = np.empty(len(blocks), [("sent", self.block), ("lacks", "<f4", lacking)])
        rows["sent"], rows["lacks"] = blocks, np.nan
        return rows.view("<f4").reshape(len(blocks), len(SIGNALS))


def prefix(schema: Schema, car_id: str, vehicle_model: str = "unknown") -> bytes:
    """The bytes of a record that never change for a car: its strings. Raises ValueError over 63 bytes."""
    values = {"car_id": car_id, "vehicle_model": vehicle_model}
    return b"".join(_string(values[name]) for name in schema.names("string"))


def encode(prefixes: Sequence[bytes], seq: Longs, sampled_at_ms: Longs, signals: Floats) -> list[bytes]:
    """Records of n cars: each car's prefix (which may begin with a frame's header), then its numbers.

    seq (n,) from 0 to 2**34-1, sampled_at_ms (n,) ms since 1970, signals (n, k): the first k of SIGNALS, as
    many as the schema of the prefixes has. Raises ValueError for a seq or a time outside of these bounds.
    """
    if not prefixes:
        return []
    if seq.min() < 0 or seq.max() > SEQ_MAX:
        raise ValueError(f"seq must be 0 to {SEQ_MAX}, not {seq.min()} to {seq.max()}")
    if sampled_at_ms.min() < _STAMP_MS_MIN or sampled_at_ms.max() > _STAMP_MS_MAX:
        raise ValueError("sampled_at must be ms since 1970, from July 1970 to September 2039")
    return assemble(prefixes, seq, sampled_at_ms, floats(signals))


def assemble(prefixes: Sequence[bytes], seq: Longs, sampled_at_ms: Longs, *blocks: Bytes) -> list[bytes]:
    """The n records of any schema in which seq and sampled_at follow the prefix, then a row of each block.

    seq and sampled_at_ms (n,) within the bounds of `encode`; blocks (n, bytes), or (1, bytes) for what is the
    same in all records.
    """
    numbers, sizes = packed(seq, SEQ_BYTES_MAX)
    columns = (numbers, padded(sampled_at_ms, STAMP_BYTES), *blocks)
    width, begin = sum(each.shape[1] for each in columns), 0
    rows = np.empty((len(seq), width), np.uint8)
    for column in columns:
        rows[:, begin : begin + column.shape[1]] = column
        begin += column.shape[1]
    data = rows.tobytes()
    starts = (np.arange(len(seq)) * width + SEQ_BYTES_MAX - sizes).tolist()
    ends = range(width, len(data) + 1, width)
    return [head + data[start:end] for head, start, end in zip(prefixes, starts, ends, strict=True)]


def floats(values: Floats) -> Bytes:
    """The bytes (n, 4 k) of floats (n, k), as Avro has them."""
    return np.ascontiguousarray(values, "<f4").view(np.uint8)


@dataclass(frozen=True)
class Decoded:
    """The m valid records of a batch."""

    rows: NDArray[np.intp]  # (m,) positions in the batch, ascending
    seq: Longs  # (m,)
    sampled_at_ms: Longs  # (m,) ms since 1970
    signals: Floats  # (m, K) in the order of SIGNALS
    rejected: list[tuple[int, Malformed]] = field(default_factory=list)  # position in the batch, and why


class Decoder:
    """Decodes framed Kafka values of any schema version in one batch."""

    def __init__(self, schemas: Mapping[int, Schema]) -> None:
        """`schemas`: id in Kafka's frame to schema; those that are not telemetry are ignored."""
        self._layouts = {n: Layout.of(schema) for n, schema in schemas.items() if schema.name == "telemetry"}
        self._by_header = {confluent_header(n): layout for n, layout in self._layouts.items()}

    @classmethod
    def of_all_versions(cls, registered: Mapping[bytes, int] | None = None) -> "Decoder":
        """A decoder of every version; `registered`: fingerprint to the id that a registry gave instead."""
        return cls(schema_ids(versions("telemetry"), registered))

    def decode(self, values: Sequence[bytes | None], keys: Sequence[bytes | None]) -> Decoded:
        """Decode n values whose Kafka keys are the car ids.

        A record is rejected with the reason `missing_key`, `bad_frame`, `unknown_schema`, or
        `malformed_record` if its length, its strings or its varints do not fit its schema and key.
        """
        return self.decode_joined(Joined.of(values), Joined.of(keys))

    def decode_joined(self, values: Joined, keys: Joined) -> Decoded:
        """Like `decode`, for values and keys that are joined already."""
        layout = self._by_header.get(values.data[:CONFLUENT_BYTES])
        if layout and (alike := _decode_alike(layout, values, keys)):
            return alike
        sizes, key_sizes = np.array(values.sizes, np.int64), np.array(keys.sizes, np.int64)
        ends = np.cumsum(sizes)
        heads = at(values.data, ends - sizes) & low_bytes(CONFLUENT_BYTES)
        parts = []
        for header, layout in self._by_header.items():
            head = np.uint64(int.from_bytes(header, "little"))
            rows = np.flatnonzero((heads == head) & (sizes >= layout.bytes_min))
            if len(rows):
                bounds = ends[rows] - sizes[rows], ends[rows]
                parts.append(_decode_version(layout, values.data, rows, bounds, key_sizes[rows]))
        decoded = parts[0] if len(parts) == 1 else _in_order(parts)
        if len(decoded.rows) == len(values):
            return decoded
        valid = np.zeros(len(values), np.bool_)
        valid[decoded.rows] = True
        invalid = np.flatnonzero(~valid).tolist()
        return replace(decoded, rejected=[(row, self._error(values[row], keys[row])) for row in invalid])

    def _error(self, value: bytes, key: bytes) -> Malformed:
        """What is wrong with an invalid record."""
        if not key:
            return Malformed("missing_key", "the key must be the car id")
        try:
            schema_id, _ = split_confluent(value)
        except Malformed as error:
            return error
        if schema_id not in self._layouts:
            known = ", ".join(map(str, self._layouts))
            return Malformed("unknown_schema", f"schema id {schema_id} is not one of telemetry's: {known}")
        version = self._layouts[schema_id].schema.version
        detail = f"{len(value)} bytes are not a record of telemetry v{version} with the car id {key!r:.80}"
        return Malformed("malformed_record", detail)


def _decode_alike(layout: Layout, values: Joined, keys: Joined) -> Decoded | None:
    """All records of a batch in which every field is at the same offset: the usual case, at half the cost.

    None if the records differ or one is invalid; the general way then finds out which.
    """
    data, size, key_size = values.data, values.same, keys.same
    if not key_size or size is None or size < layout.bytes_min:
        return None

    def column(offset: int, dtype: np.dtype[Any] = WORD) -> NDArray[Any]:
        return np.ndarray((len(values),), dtype, data, offset, (size,))

    stamp_at = size - STAMP_BYTES - layout.block.itemsize
    begin = column(0) & low_bytes(CONFLUENT_BYTES + 1)  # the frame, and the length of car_id
    lengths, seq_at = [], CONFLUENT_BYTES  # (offset, length byte) of each string of the first record
    for _ in range(layout.strings):
        lengths.append((seq_at, data[seq_at]))
        seq_at = min(seq_at + 1 + (data[seq_at] >> 1), stamp_at)
    seq_bytes = stamp_at - seq_at
    if (
        lengths[0][1] != 2 * key_size
        or not 1 <= seq_bytes <= SEQ_BYTES_MAX
        or any(length & 0x81 for _, length in lengths)
        or (begin != begin[0]).any()
        or any((column(offset, _BYTE) != length).any() for offset, length in lengths[1:])
    ):
        return None
    seq_words = column(stamp_at - WORD_BYTES) >> _SEQ_SHIFT_BITS[seq_bytes]
    stamp_words = column(stamp_at) & low_bytes(STAMP_BYTES)
    if not (whole(seq_words, seq_bytes).all() and whole(stamp_words, STAMP_BYTES).all()):
        return None
    seq, sampled_at_ms = longs(np.stack([seq_words, stamp_words]))
    signals = layout.signals(column(stamp_at + STAMP_BYTES, layout.block))
    return Decoded(np.arange(len(values)), seq, sampled_at_ms, signals)


def _decode_version(
    layout: Layout, data: bytes, rows: NDArray[np.intp], bounds: tuple[Longs, Longs], key_sizes: Longs
) -> Decoded:
    """The valid ones of m `rows` (at least one), which have the frame and at least the size of `layout`.

    bounds (m,), (m,): where each value begins and ends in `data`; key_sizes (m,): bytes of each key.
    """
    starts, ends = bounds
    stamp_at = ends - STAMP_BYTES - layout.block.itemsize
    every, seq_at = np.frombuffer(data, np.uint8), starts + CONFLUENT_BYTES
    valid = (every[seq_at] == 2 * key_sizes) & (key_sizes > 0)  # the first string is car_id, the key
    for _ in range(layout.strings):  # seq begins after them
        length = every[seq_at]
        valid &= length & 0x81 == 0  # a varint of one byte that is not negative
        seq_at = np.minimum(seq_at + 1 + (length >> 1), stamp_at)
    seq_bytes = stamp_at - seq_at
    seq_bytes[seq_bytes > SEQ_BYTES_MAX] = 0  # refused below, as is a seq of 0 bytes
    seq_words = at(data, stamp_at - WORD_BYTES) >> _SEQ_SHIFT_BITS[seq_bytes]
    stamp_words = at(data, stamp_at) & low_bytes(STAMP_BYTES)
    valid &= whole(seq_words, seq_bytes) & whole(stamp_words, STAMP_BYTES)
    seq, sampled_at_ms = longs(np.stack([seq_words, stamp_words]))
    signals = layout.signals(at(data, stamp_at + STAMP_BYTES, layout.block))
    if valid.all():
        return Decoded(rows, seq, sampled_at_ms, signals)
    return Decoded(rows[valid], seq[valid], sampled_at_ms[valid], signals[valid])


def _in_order(parts: list[Decoded]) -> Decoded:
    """The records of several versions in their order of arrival."""
    if not parts:
        none = np.empty(0, np.int64)
        return Decoded(none, none, none, np.empty((0, len(SIGNALS)), np.float32))
    columns = zip(*((part.rows, part.seq, part.sampled_at_ms, part.signals) for part in parts), strict=True)
    rows, seq, sampled_at_ms, signals = map(np.concatenate, columns)
    order = np.argsort(rows)
    return Decoded(rows[order], seq[order], sampled_at_ms[order], signals.take(order, axis=0))


def _string(text: str) -> bytes:
    data = text.encode()
    if len(data) > STRING_BYTES_MAX:
        raise ValueError(f"{text[:80]!r} is longer than {STRING_BYTES_MAX} bytes")
    return bytes([2 * len(data)]) + data
