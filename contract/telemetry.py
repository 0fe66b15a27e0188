"""The telemetry record: encoded and decoded a batch at a time, without a loop over fields.

All signals are floats and come last, so the tail of every record of one schema is a fixed block. `seq` and
`sampled_at` come right before it, as zigzag varints (Avro's `long`) of at most 5 and of 6 bytes; from
September 2039 on a time has 7. The byte before the last 6 tells which: with 6 it is the end of `seq`, with 7
it says that the number goes on. Only strings of at most 63 bytes come before them; their lengths, one byte
each, lead to where `seq` begins.

SIGNALS are the floats of the newest schema version. A version only adds signals at the end
(contract/schema.py), so the signals of an older record are the first columns; those that it lacks are NaN.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.assembly import assemble, floats
from contract.bounds import (
    SEQ_BYTES_MAX,
    SEQ_MAX,
    STAMP_BYTES,
    STRING_BYTES_MAX,
    TIME_MS_MAX,
    TIME_MS_MIN,
    check,
    refuse_other_than_utf8,
)
from contract.errors import Malformed
from contract.joined import Joined
from contract.records import CONFLUENT_BYTES, confluent_header, schema_ids, split_confluent
from contract.schema import Schema, latest, versions
from contract.varints import TOP_BITS, WORD, WORD_BYTES, Longs, at, longs, low_bytes, whole

SIGNALS: tuple[str, ...] = latest("telemetry").names("float")

# Right shift of the word that ends with seq that leaves only seq, by the number of seq's bytes.
_SEQ_SHIFT_BITS = np.array([8 * (WORD_BYTES - size) for size in range(SEQ_BYTES_MAX + 1)], np.uint64)
_SEQ_SHIFT_BITS[0] = 0  # shifting by a whole word is undefined; a size of 0 is refused anyway
_BYTE = np.dtype(np.uint8)
_LOW_BYTES = np.array([low_bytes(count) for count in range(WORD_BYTES)], np.uint64)

Floats = NDArray[np.float32]


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
        """Least size of a framed record; car_id has at least one character, seq one byte."""
        return CONFLUENT_BYTES + 2 + self.strings + STAMP_BYTES + self.block.itemsize

    def check(self, value: bytes, body_at: int, until_ms: int) -> int:
        """Where seq begins in a framed record. Raises Malformed as `contract.bounds.check` does."""
        floats_bytes = self.block.itemsize
        try:
            return check(value, body_at, strings=self.strings, floats_bytes=floats_bytes, until_ms=until_ms)
        except Malformed as error:
            raise Malformed(error.reason, f"telemetry v{self.schema.version}: {error.detail}") from None

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

    seq (n,) from 0 to SEQ_MAX, sampled_at_ms (n,) from TIME_MS_MIN to TIME_MS_MAX (contract/bounds.py),
    signals (n, k): the first k of SIGNALS, as many as the schema of the prefixes has. Raises ValueError for a
    seq or a time outside of these bounds.
    """
    if not prefixes:
        return []
    if seq.min() < 0 or seq.max() > SEQ_MAX:
        raise ValueError(f"seq must be 0 to {SEQ_MAX}, not {seq.min()} to {seq.max()}")
    if sampled_at_ms.min() < TIME_MS_MIN or sampled_at_ms.max() > TIME_MS_MAX:
        raise ValueError(f"sampled_at must be ms since 1970, from {TIME_MS_MIN} to {TIME_MS_MAX}")
    return assemble(prefixes, seq, sampled_at_ms, floats(signals))


@dataclass(frozen=True)
class Decoded:
    """The m valid records of a batch."""

    rows: NDArray[np.intp]  # (m,) positions in the batch, ascending
    seq: Longs  # (m,)
    sampled_at_ms: Longs  # (m,) ms since 1970
    signals: Floats  # (m, K) in the order of SIGNALS
    rejected: list[tuple[int, Malformed]] = field(default_factory=list)  # position in the batch, and why

    def within(self, until_ms: int) -> "Decoded":
        """Only the records whose numbers are within their bounds, with times until `until_ms`."""
        seq, times = self.seq, self.sampled_at_ms  # 5 bytes hold no seq over SEQ_MAX
        if not len(seq) or (seq.min() >= 0 and times.min() >= TIME_MS_MIN and times.max() <= until_ms):
            return self
        return self.only((seq >= 0) & (times >= TIME_MS_MIN) & (times <= until_ms))

    def only(self, chosen: NDArray[np.bool_]) -> "Decoded":
        """The records that the mask (m,) chooses."""
        return Decoded(self.rows[chosen], self.seq[chosen], self.sampled_at_ms[chosen], self.signals[chosen])


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

    def decode(
        self, values: Sequence[bytes | None], keys: Sequence[bytes | None], until_ms: int = TIME_MS_MAX
    ) -> Decoded:
        """Decode n values whose Kafka keys are the car ids.

        A record is rejected with the reason `missing_key`, `bad_frame`, `unknown_schema`, `impossible_time`
        if it was sampled after `until_ms`, or `malformed_record` if its length, its strings or its numbers do
        not fit its schema, its key and contract/bounds.py.
        """
        return self.decode_joined(Joined.of(values), Joined.of(keys), until_ms)

    def decode_joined(self, values: Joined, keys: Joined, until_ms: int = TIME_MS_MAX) -> Decoded:
        """Like `decode`, for values and keys that are joined already."""
        layout = self._by_header.get(values.data[:CONFLUENT_BYTES])
        decoded = _decode_alike(layout, values, keys) if layout else None
        decoded = (decoded or self._decode_each(values, keys)).within(until_ms)
        if len(decoded.rows) == len(values):
            return decoded
        valid = np.zeros(len(values), np.bool_)
        valid[decoded.rows] = True
        invalid = np.flatnonzero(~valid).tolist()
        rejected = [(row, self._error(values[row], keys[row], until_ms)) for row in invalid]
        return replace(decoded, rejected=rejected)

    def _decode_each(self, values: Joined, keys: Joined) -> Decoded:
        """The records of a batch, whatever their versions and sizes; what is left out is invalid."""
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
        return parts[0] if len(parts) == 1 else _in_order(parts)

    def _error(self, value: bytes, key: bytes, until_ms: int) -> Malformed:
        """What is wrong with an invalid record."""
        if not key:
            return Malformed("missing_key", "the key must be the car id")
        try:
            schema_id, _ = split_confluent(value)
            if schema_id not in self._layouts:
                known = ", ".join(map(str, self._layouts))
                return Malformed(
                    "unknown_schema", f"schema id {schema_id} is not one of telemetry's: {known}"
                )
            self._layouts[schema_id].check(value, CONFLUENT_BYTES, until_ms)
        except Malformed as error:
            return error
        return Malformed("malformed_record", f"the record's car id is not the key {key!r:.80}")


def _decode_alike(layout: Layout, values: Joined, keys: Joined) -> Decoded | None:
    """All records of a batch in which every field is at the same offset: the usual case, at half the cost.

    None if the records differ or one is invalid; the general way then finds out which.
    """
    data, size, key_size = values.data, values.same, keys.same
    if not key_size or size is None or size < layout.bytes_min:
        return None

    def column(offset: int, dtype: np.dtype[Any] = WORD) -> NDArray[Any]:
        return np.ndarray((len(values),), dtype, data, offset, (size,))

    floats_at = size - layout.block.itemsize
    stamp_bytes = STAMP_BYTES + (data[floats_at - STAMP_BYTES - 1] >> 7)
    stamp_at = floats_at - stamp_bytes
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
    stamp_words = column(stamp_at) & low_bytes(stamp_bytes)
    if not (whole(seq_words, seq_bytes).all() and whole(stamp_words, stamp_bytes).all()):
        return None
    for offset in range(CONFLUENT_BYTES, seq_at, WORD_BYTES):
        beyond_ascii = np.bitwise_or.reduce(column(offset)) & TOP_BITS
        if beyond_ascii & low_bytes(min(seq_at - offset, WORD_BYTES)):
            return None
    seq, sampled_at_ms = longs(np.stack([seq_words, stamp_words]))
    signals = layout.signals(column(floats_at, layout.block))
    return Decoded(np.arange(len(values)), seq, sampled_at_ms, signals)


def _decode_version(
    layout: Layout, data: bytes, rows: NDArray[np.intp], bounds: tuple[Longs, Longs], key_sizes: Longs
) -> Decoded:
    """The valid ones of m `rows` (at least one), which have the frame and at least the size of `layout`.

    bounds (m,), (m,): where each value begins and ends in `data`; key_sizes (m,): bytes of each key.
    """
    starts, ends = bounds
    every, floats_at = np.frombuffer(data, np.uint8), ends - layout.block.itemsize
    longer = every[floats_at - STAMP_BYTES - 1] >> 7
    stamp_bytes = STAMP_BYTES + longer.astype(np.int64) if longer.any() else STAMP_BYTES
    stamp_at, seq_at = floats_at - stamp_bytes, starts + CONFLUENT_BYTES
    valid = (every[seq_at] == 2 * key_sizes) & (key_sizes > 0)  # the first string is car_id, the key
    for _ in range(layout.strings):  # seq begins after them
        length = every[seq_at]
        valid &= length & 0x81 == 0  # a varint of one byte that is not negative
        seq_at = np.minimum(seq_at + 1 + (length >> 1), stamp_at)
    seq_bytes = stamp_at - seq_at
    seq_bytes[seq_bytes > SEQ_BYTES_MAX] = 0  # refused below, as is a seq of 0 bytes
    seq_words = at(data, stamp_at - WORD_BYTES) >> _SEQ_SHIFT_BITS[seq_bytes]
    stamp_words = at(data, stamp_at) & _LOW_BYTES[stamp_bytes]
    valid &= whole(seq_words, seq_bytes) & whole(stamp_words, stamp_bytes)
    refuse_other_than_utf8(valid, data, starts + CONFLUENT_BYTES, seq_at)
    seq, sampled_at_ms = longs(np.stack([seq_words, stamp_words]))
    decoded = Decoded(rows, seq, sampled_at_ms, layout.signals(at(data, floats_at, layout.block)))
    return decoded if valid.all() else decoded.only(valid)


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
