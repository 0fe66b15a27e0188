"""The vectorised telemetry codec against independent Avro libraries."""

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from contract.bounds import SEQ_MAX, TIME_MS_MAX
from contract.records import confluent_header, single_object_header
from contract.schema import SCHEMAS, Schema, get
from contract.telemetry import SIGNALS, Decoder, Layout, encode, prefix

K = len(SIGNALS)

V1, V2 = get("telemetry", 1), get("telemetry", 2)
ALL = {schema.schema_id: schema for schema in SCHEMAS if schema.name == "telemetry"}
each_version = pytest.mark.parametrize("schema", ALL.values(), ids=lambda schema: f"v{schema.version}")
NOW_MS = 1_795_000_000_123
# The last seq of each length in bytes and the first of the next: a zigzag varint has 7 bits a byte.
SEQ_EDGES = [0, 1, 63, 64, 8_191, 8_192, 2**20 - 1, 2**20, 2**27 - 1, 2**27, SEQ_MAX]
STAMP_EDGES = [2**34, NOW_MS, 2**41 - 1]  # the times of 6 bytes, until September 2039
LATER_EDGES = [2**41, TIME_MS_MAX]  # those of 7


def _signals(count: int, seed: int = 1) -> Any:
    signals = np.random.default_rng(seed).normal(0, 1e3, (count, K)).astype(np.float32)
    signals[0, :4] = np.nan, np.inf, -np.inf, 1e-42  # missing, broken, and denormal ones
    return signals


def _framed(schema: Schema, cars: list[str], seq: Any, stamps: Any, signals: Any) -> Any:
    head = confluent_header(schema.schema_id)
    prefixes = [head + prefix(schema, car, "Zoé") for car in cars]
    signals = signals[:, : len(schema.names("float"))]
    return encode(prefixes, np.asarray(seq), np.asarray(stamps), signals), [car.encode() for car in cars]


def _record(schema: Schema, car: str, seq: int, stamp: int, signals: Any) -> dict[str, Any]:
    first = {"car_id": car, "seq": seq, "sampled_at": stamp}
    model = {"vehicle_model": "Zoé"} if schema is not V1 else {}
    return first | model | dict(zip(schema.names("float"), map(float, signals), strict=False))


def _with_gaps(schema: Schema, signals: Any) -> Any:
    """What the decoder must give for records of this version: NaN in the columns that it lacks."""
    lacks = [name not in schema.names("float") for name in SIGNALS]
    return np.where(lacks, np.float32(np.nan), signals)


@each_version
@pytest.mark.parametrize("edges", [STAMP_EDGES, LATER_EDGES], ids=["6 bytes", "7 bytes"])
def test_bytes_are_those_of_apache_avro(schema: Schema, edges: list[int], apache: Any):
    """encode() writes byte for byte what Apache's library writes, at every edge of seq and of time."""
    rows = [(seq, stamp) for seq in SEQ_EDGES for stamp in edges]
    seq, stamps = np.array(rows).T
    cars = ["c" * (1 + i * 62 // (len(rows) - 1)) for i in range(len(rows))]  # 1 to 63 characters
    signals = _signals(len(rows))
    ours, _ = _framed(schema, cars, seq, stamps, signals)
    for i, value in enumerate(ours):
        record = _record(schema, cars[i], int(seq[i]), int(stamps[i]), signals[i])
        assert value[5:] == apache.write(schema, record)


@each_version
def test_values_are_those_that_apache_avro_wrote(schema: Schema, apache: Any):
    """decode() gives back what Apache's library wrote, bit for bit, at every edge of seq and of time."""
    rows = [(seq, stamp) for seq in SEQ_EDGES for stamp in STAMP_EDGES + LATER_EDGES]
    signals = _signals(len(rows))
    values = [
        confluent_header(schema.schema_id) + apache.write(schema, _record(schema, "car-1", *row, signals[i]))
        for i, row in enumerate(rows)
    ]
    decoded = Decoder(ALL).decode(values, [b"car-1"] * len(values))
    assert not decoded.rejected
    assert list(zip(decoded.seq.tolist(), decoded.sampled_at_ms.tolist(), strict=True)) == rows
    assert decoded.signals.dtype == np.float32
    np.testing.assert_array_equal(decoded.signals, _with_gaps(schema, signals))


def test_seq_has_as_many_bytes_as_it_needs():
    """1 to 5 bytes: what the bridge's check of lengths relies on."""
    values, _ = _framed(V1, ["c"] * len(SEQ_EDGES), SEQ_EDGES, [NOW_MS] * 11, _signals(11))
    assert [len(value) - 5 - 2 - 6 - 72 for value in values] == [
        1,
        1,
        1,
        2,
        2,
        3,
        3,
        4,
        4,
        5,
        5,
    ]


@pytest.mark.parametrize("seed", range(5))
def test_roundtrip_of_random_batches(seed: int):
    """Any mixture of versions, ids, seqs and times comes back in its order of arrival."""
    chance = np.random.default_rng(seed)
    count = 700
    cars = ["".join(chance.choice(list("abcXYZ019_-"), chance.integers(1, 64))) for _ in range(count)]
    models = ["", "Zoé", "Škoda", "e-Up!", "x" * 63, "模型"]
    seq = chance.integers(0, 2 ** chance.integers(1, 35, count))
    stamps = chance.integers(2**34, 2 ** chance.integers(41, 48, count))
    signals = _signals(count, seed)
    schema_ids = chance.choice(list(ALL), count)
    values: list[bytes] = [b""] * count
    for schema_id, schema in ALL.items():
        rows = np.flatnonzero(schema_ids == schema_id)
        prefixes = [
            confluent_header(schema_id) + prefix(schema, cars[row], models[row % len(models)]) for row in rows
        ]
        sent = signals[rows][:, : len(schema.names("float"))]
        for row, value in zip(rows, encode(prefixes, seq[rows], stamps[rows], sent), strict=True):
            values[row] = value
        signals[rows] = _with_gaps(schema, signals[rows])
    decoded = Decoder(ALL).decode(values, [car.encode() for car in cars])
    assert not decoded.rejected
    np.testing.assert_array_equal(decoded.rows, np.arange(count))
    np.testing.assert_array_equal(decoded.seq, seq)
    np.testing.assert_array_equal(decoded.sampled_at_ms, stamps)
    np.testing.assert_array_equal(decoded.signals, signals)


def test_a_model_name_that_ends_beyond_ascii_does_not_touch_seq():
    """The last byte of `é` looks like a varint that goes on; seq is found from the front, so it is right."""
    values, keys = _framed(V2, ["car"] * 11, SEQ_EDGES, [NOW_MS] * 11, _signals(11))
    assert Decoder(ALL).decode(values, keys).seq.tolist() == SEQ_EDGES


def test_an_empty_batch():
    """No records in, none out, in the usual shapes and types."""
    decoded = Decoder(ALL).decode([], [])
    assert decoded.signals.shape == (0, K)
    assert (decoded.seq.dtype, decoded.signals.dtype) == (np.int64, np.float32)
    assert encode([], np.empty(0, np.int64), np.empty(0, np.int64), np.empty((0, K), np.float32)) == []


def test_mqtt_and_kafka_differ_only_in_the_header():
    """The body after either header is the same: the bridge swaps headers and nothing else."""
    seq, stamps, signals = np.array([5]), np.array([NOW_MS]), _signals(1)[:, : len(V1.names("float"))]
    on_mqtt = encode([single_object_header(V1) + prefix(V1, "c")], seq, stamps, signals)[0]
    in_kafka = encode([confluent_header(V1.schema_id) + prefix(V1, "c")], seq, stamps, signals)[0]
    assert on_mqtt[10:] == in_kafka[5:]
    assert on_mqtt[:10] == b"\xc3\x01" + V1.fingerprint


@pytest.mark.parametrize(
    ("seq", "stamp", "named"),
    [
        (-1, NOW_MS, "seq"),
        (SEQ_MAX + 1, NOW_MS, "seq"),
        (1, 2**34 - 1, "sampled_at"),
        (1, TIME_MS_MAX + 1, "sampled_at"),
    ],
)
def test_encode_refuses_what_its_bytes_cannot_carry(seq: int, stamp: int, named: str):
    """A seq or a time outside the layout's bytes is a ValueError that names it."""
    with pytest.raises(ValueError, match=named):
        _framed(V1, ["c", "c"], [1, seq], [NOW_MS, stamp], _signals(2))


def test_a_batch_of_the_night_in_which_times_grow_a_byte():
    """On both sides of the last time of 6 bytes every record comes back, in one batch and in its own size."""
    stamps = np.arange(2**41 - 500, 2**41 + 500)
    values, keys = _framed(V2, ["car"] * 1_000, range(1_000), stamps, _signals(1_000))
    alone, _ = _framed(V2, ["car"], [7], [2**41 - 500], _signals(1))
    decoded = Decoder(ALL).decode([*values, *alone], [*keys, b"car"])
    assert decoded.sampled_at_ms.tolist() == [*stamps.tolist(), 2**41 - 500]
    assert decoded.seq.tolist() == [*range(1_000), 7]


def test_strings_over_63_bytes_are_refused():
    """A longer string would have a length of two bytes, which the layout does not have."""
    with pytest.raises(ValueError, match="63"):
        prefix(V2, "car", "é" * 32)


def test_a_schema_whose_signals_are_not_the_first_ones_is_refused():
    """A decoder that knows no column for a signal must not drop it silently."""
    text = json.loads(V1.text)
    text["fields"].append({"name": "oil_temp", "type": "float"})
    with pytest.raises(ValueError, match=r"oil_temp; they must be the first ones of coolant_temp"):
        Layout.of(dataclasses.replace(V1, text=json.dumps(text)))
