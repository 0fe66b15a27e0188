"""What the decoder refuses and with which reason; the rest of the batch is decoded."""

import io
from typing import Any

import fastavro
import numpy as np
import pytest

from contract.records import confluent_header
from contract.schema import get
from contract.telemetry import SIGNALS, Decoder, encode, prefix

V1 = get("telemetry", 1)
VERSIONS = {number: get("telemetry", number) for number in (1, 2, 3)}
ALL = {schema.schema_id: schema for schema in VERSIONS.values()}
NOW_MS = 1_795_000_000_123
DECODER = Decoder(ALL)
CAR = b"car-000001"


def _sound(seq: int, version: int = 1) -> bytes:
    schema = VERSIONS[version]
    head = confluent_header(schema.schema_id) + prefix(schema, CAR.decode(), "Zoé")
    signals = np.full((1, len(schema.names("float"))), seq, np.float32)
    return encode([head], np.array([seq]), np.array([NOW_MS]), signals)[0]


def avro_long(number: int) -> bytes:
    """An Avro long of any sign."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema("long"), number)
    return out.getvalue()


SOUND = _sound(70)
HEAD, STRINGS, TAIL = SOUND[:5], SOUND[5:16], SOUND[-78:]  # frame, car_id, sampled_at and floats
NO_TIME = HEAD + STRINGS + b"\x02"
SOUND_V2 = _sound(70, 2)
HEAD_V2 = SOUND_V2[:5]

BAD: dict[str, tuple[Any, Any, str]] = {
    "no value": (None, CAR, "bad_frame"),
    "empty": (b"", CAR, "bad_frame"),
    "shorter than a frame": (b"\0\0\0\0", CAR, "bad_frame"),
    "another first byte": (b"\1" + SOUND[1:], CAR, "bad_frame"),
    "MQTT's frame": (b"\xc3\x01" + V1.fingerprint + SOUND[5:], CAR, "bad_frame"),
    "JSON": (b'{"car_id": "car-000001"}', CAR, "bad_frame"),
    "unknown schema": (confluent_header(99) + SOUND[5:], CAR, "unknown_schema"),
    "largest schema id": (b"\0\xff\xff\xff\xff" + SOUND[5:], CAR, "unknown_schema"),
    "no key": (SOUND, None, "missing_key"),
    "empty key": (SOUND, b"", "missing_key"),
    "empty key and car id": (HEAD + b"\0" + b"\x8c\x01" + TAIL, b"", "missing_key"),
    "frame only": (HEAD, CAR, "malformed_record"),
    "one byte more": (SOUND + b"\0", CAR, "malformed_record"),
    "one byte before": (HEAD + b"\0" + SOUND[5:], CAR, "malformed_record"),
    "v2's body as v1": (HEAD + SOUND_V2[5:], CAR, "malformed_record"),
    "v1's body as v2": (HEAD_V2 + SOUND[5:], CAR, "malformed_record"),
    "a longer key": (SOUND, CAR + b"1", "malformed_record"),
    "a shorter key": (SOUND, CAR[:-1], "malformed_record"),
    "seq of 6 bytes": (HEAD + STRINGS + b"\x80\x80\x80\x80\x80\x01" + TAIL, CAR, "malformed_record"),
    "seq of 10 bytes": (HEAD + STRINGS + b"\x80" * 9 + b"\x01" + TAIL, CAR, "malformed_record"),
    "no seq": (HEAD + STRINGS + TAIL, CAR, "malformed_record"),
    "two seqs": (HEAD + STRINGS + b"\x02\x02" + TAIL, CAR, "malformed_record"),
    "seq that does not end": (HEAD + STRINGS + b"\x80\x80" + TAIL, CAR, "malformed_record"),
    "time of 5 bytes": (HEAD + STRINGS + b"\x02" + b"\x80" * 4 + b"\x01" + TAIL[6:], CAR, "malformed_record"),
    "time of 8 bytes": (HEAD + STRINGS + b"\x02" + b"\x80" * 7 + b"\x01" + TAIL[6:], CAR, "malformed_record"),
    "time in 1901": (NO_TIME + avro_long(-2_147_483_648_000) + TAIL[6:], CAR, "malformed_record"),
    "time of 1970 in 6 bytes": (NO_TIME + b"\x80" * 5 + b"\0" + TAIL[6:], CAR, "malformed_record"),
    "seq -1": (HEAD + STRINGS + b"\x01" + TAIL, CAR, "malformed_record"),
    "seq 0 in 6 bytes": (HEAD + STRINGS + b"\x80" * 5 + b"\0" + TAIL, CAR, "malformed_record"),
    "car id that is not UTF-8": (HEAD + STRINGS[:-1] + b"\xff\x02" + TAIL, CAR, "malformed_record"),
    "model cut in UTF-8": (HEAD_V2 + STRINGS + b"\x04o\xc3" + b"\x02" + TAIL, CAR, "malformed_record"),
    "time in 2150": (NO_TIME + avro_long(5_680_281_600_000) + TAIL[6:], CAR, "impossible_time"),
    "time that does not end": (HEAD + STRINGS + b"\x02" + b"\x80" * 6 + TAIL[6:], CAR, "malformed_record"),
    "car id of negative length": (HEAD + b"\x01" + SOUND[6:], CAR, "malformed_record"),
    "model of negative length": (HEAD_V2 + STRINGS + b"\x01" + b"\x02" + TAIL, CAR, "malformed_record"),
    "model of 64 bytes": (HEAD_V2 + STRINGS + b"\x80\1" + b"m" * 64 + b"\2" + TAIL, CAR, "malformed_record"),
    "model beyond the end": (HEAD_V2 + STRINGS + b"\x7e" + b"\x02" + TAIL, CAR, "malformed_record"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_is_refused_and_its_neighbours_are_decoded(name: str):
    """The record has its reason; those before and after it, of other versions, come out in order."""
    value, key, reason = BAD[name]
    values = [_sound(1), value, _sound(2, 2), _sound(3, 3)]
    decoded = DECODER.decode(values, [CAR, key, CAR, CAR], NOW_MS)
    assert [(row, error.reason) for row, error in decoded.rejected] == [(1, reason)]
    assert decoded.rows.tolist() == [0, 2, 3]
    assert decoded.seq.tolist() == [1, 2, 3]
    assert decoded.signals[:, 0].tolist() == [1, 2, 3]
    assert decoded.sampled_at_ms.tolist() == [NOW_MS] * 3


@pytest.mark.parametrize("name", BAD)
def test_a_bad_record_alone(name: str):
    """A batch of one bad record gives no record and one reason."""
    value, key, reason = BAD[name]
    decoded = DECODER.decode([value], [key], NOW_MS)
    assert [(row, error.reason) for row, error in decoded.rejected] == [(0, reason)]
    assert decoded.signals.shape == (0, len(SIGNALS))


@pytest.mark.parametrize("version", VERSIONS)
def test_a_record_cut_at_any_byte_is_refused(version: int):
    """No prefix of a record passes, in one batch with whole records between the pieces."""
    whole = _sound(8_192, version)
    pieces = [whole[:size] for size in range(len(whole))]
    values = [part for piece in pieces for part in (piece, whole)]
    decoded = DECODER.decode(values, [CAR] * len(values))
    assert decoded.rows.tolist() == list(range(1, len(values), 2))
    assert set(decoded.seq.tolist()) == {8_192}
    assert [row for row, _ in decoded.rejected] == list(range(0, len(values), 2))
    assert {error.reason for _, error in decoded.rejected[5:]} == {"malformed_record"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_record_without_its_beginning_is_refused(version: int):
    """No suffix of a body passes after a valid frame."""
    whole = _sound(8_192, version)
    values = [whole[:5] + whole[start:] for start in range(6, len(whole) + 1)]
    assert len(DECODER.decode(values, [CAR] * len(values)).rejected) == len(values)


def test_a_reason_has_a_detail_for_people():
    """The rejected record's message says which version it failed, what is wrong, and what is right."""
    rejected = DECODER.decode([SOUND[:-1]], [CAR]).rejected
    detail = "telemetry v1: 71 bytes behind sampled_at, not 72"
    assert str(rejected[0][1]) == f"malformed_record: {detail}"


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_accepted_reads_the_same_with_a_general_reader(seed: int):
    """Each randomly damaged record is refused, or fastavro reads all of its bytes to the same values."""
    chance = np.random.default_rng(seed)
    sound = [_sound(seq, version) for seq in (1, 70, 9_000, 2**30) for version in VERSIONS]
    values = [_damaged(chance, sound[i % len(sound)]) for i in range(1_500)]
    decoded = DECODER.decode(values, [CAR] * len(values))
    assert sorted([*decoded.rows.tolist(), *(row for row, _ in decoded.rejected)]) == list(range(1_500))
    assert 100 < len(decoded.rejected) < 1_400
    for i, row in enumerate(decoded.rows.tolist()):
        source = io.BytesIO(values[row][5:])
        schema = ALL[int.from_bytes(values[row][1:5], "big")]
        record = fastavro.schemaless_reader(source, schema.parsed, None)
        assert isinstance(record, dict)
        assert source.tell() == len(values[row]) - 5
        assert (decoded.seq[i], decoded.sampled_at_ms[i]) == (record["seq"], record["sampled_at"])
        expected = np.array([record.get(name, np.nan) for name in SIGNALS], np.float32)
        np.testing.assert_array_equal(decoded.signals[i], expected)


def _damaged(chance: np.random.Generator, value: bytes) -> bytes:
    """One to three bytes changed, inserted or removed, mostly among the strings and varints."""
    data = bytearray(value)
    for _ in range(chance.integers(1, 4)):
        offset = int(chance.integers(0, 40 if chance.random() < 0.8 else len(data)))
        what = chance.integers(3)
        if what == 0:
            data[offset] = chance.integers(256)
        elif what == 1:
            data.insert(offset, chance.integers(256))
        else:
            del data[offset]
    return bytes(data)


@pytest.mark.parametrize("version", VERSIONS)
def test_records_of_one_length_are_judged_like_any_others(version: int):
    """A record damaged without changing its length decodes as it does beside a longer neighbour."""
    sound, longer = _sound(70, version), _sound(9_000, version)
    for offset in range(len(sound)):
        for byte in (0x00, 0x01, 0x80, 0xFF):
            values = [sound, sound[:offset] + bytes([byte]) + sound[offset + 1 :], sound]
            alone = DECODER.decode(values, [CAR] * 3)
            beside = DECODER.decode([*values, longer], [CAR] * 4)
            assert alone.rows.tolist() == beside.rows.tolist()[:-1]
            assert alone.seq.tolist() == beside.seq.tolist()[:-1]
            assert alone.sampled_at_ms.tolist() == beside.sampled_at_ms.tolist()[:-1]
            assert alone.signals.tobytes() == beside.signals[:-1].tobytes()
            assert [str(e) for _, e in alone.rejected] == [str(e) for _, e in beside.rejected]
