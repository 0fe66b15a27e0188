"""An independent Avro library, Apache's own, to write and read what our codec reads and writes."""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import avro.schema
import pytest
from avro.io import BinaryDecoder, BinaryEncoder, DatumReader, DatumWriter

from contract.schema import Schema

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Apache:
    """Bodies by Apache's avro. Times are ms since 1970, as in our hands."""

    def write(self, schema: Schema, record: dict[str, Any]) -> bytes:
        """The record's Avro bytes, without a frame."""
        parsed = avro.schema.parse(schema.text)
        times = {f["name"] for f in schema.fields if is_time(f)}
        given = {k: EPOCH + timedelta(milliseconds=v) if k in times else v for k, v in record.items()}
        out = io.BytesIO()
        DatumWriter(parsed).write(given, BinaryEncoder(out))
        return out.getvalue()

    def read(self, schema: Schema, body: bytes, reader: Schema | None = None) -> dict[str, Any]:
        """The record in `body`, resolved to the schema `reader`; all bytes must be read."""
        source = io.BytesIO(body)
        resolved = DatumReader(avro.schema.parse(schema.text), avro.schema.parse((reader or schema).text))
        record = resolved.read(BinaryDecoder(source))
        assert source.tell() == len(body)
        assert isinstance(record, dict)
        return {k: round((v - EPOCH) / timedelta(milliseconds=1)) if isinstance(v, datetime) else v
                for k, v in record.items()}  # fmt: skip


def is_time(field: dict[str, Any]) -> bool:
    """Whether a schema's field is a timestamp-millis."""
    return isinstance(field["type"], dict) and field["type"].get("logicalType") == "timestamp-millis"


@pytest.fixture(scope="session")
def apache() -> Apache:
    return Apache()


@pytest.fixture(scope="session")
def crc_64_avro() -> Callable[[bytes], int]:
    """The fingerprint as the Avro specification writes it down ("Schema Fingerprints"), bit for bit."""
    empty = 0xC15D213AA4D7A795

    def fingerprint(data: bytes) -> int:
        fp = empty
        for byte in data:
            fp ^= byte
            for _ in range(8):
                fp = (fp >> 1) ^ (empty if fp & 1 else 0)
        return fp

    return fingerprint
