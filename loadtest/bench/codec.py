"""Encoding, decoding and invoking alone: µs of CPU a record at the batch sizes that services have."""

from collections.abc import Callable
from functools import partial

import numpy as np

from contract import telemetry
from contract.records import confluent_header
from contract.schema import Schema, get, latest
from contract.telemetry import Decoded, Decoder
from contract.topics import TELEMETRY
from contract.varints import Longs
from loadtest.bench import detector
from loadtest.bench.fleet import Records
from loadtest.bench.run import BenchRun, cpu_s
from scorer.model import Model

BATCHES = (100, 1_000, 2_000)


def measure(run: BenchRun) -> dict[str, float]:
    """`encode_100_us` and so on; a batch of `decode_mixed` has two schema versions and two lengths of seq."""
    model = Model.open(detector.record(run), "litert")
    decoder = Decoder.of_all_versions()
    figures: dict[str, float] = {}
    for count in BATCHES:
        fleet = Records(count, seed=1, first_seq=1_000)
        car_ids, values = fleet.next_samples(slice(0, count), 1_795_000_000_000)
        keys = [car_id.encode() for car_id in car_ids]
        decoded = decoder.decode(values, keys)
        long_seq = decoded.seq * np.resize(np.repeat([1, 1 << 20], 2), count)
        newest, older = (
            partial(_encode, car_ids, schema, decoded)
            for schema in (latest(TELEMETRY), get(TELEMETRY, latest(TELEMETRY).version - 1))
        )
        mixed = [pair[i % 2] for i, pair in enumerate(zip(newest(long_seq), older(long_seq), strict=True))]
        steps: dict[str, Callable[[], object]] = {
            "encode": partial(newest, decoded.seq),
            "decode": partial(decoder.decode, values, keys),
            "decode_mixed": partial(decoder.decode, mixed, keys),
            "invoke": partial(model.step, decoded.signals, np.zeros((count, model.width), np.float32)),
        }
        figures |= {f"{name}_{count}_us": round(1e6 * cpu_s(step) / count, 3) for name, step in steps.items()}
    return figures


def _encode(keys: list[str], schema: Schema, samples: Decoded, seq: Longs) -> list[bytes]:
    """The samples of these cars as framed records of one schema version, with other sequence numbers."""
    head = confluent_header(schema.schema_id)
    prefixes = [head + telemetry.prefix(schema, key) for key in keys]
    signals = samples.signals[:, : len(schema.names("float"))]
    return telemetry.encode(prefixes, seq, samples.sampled_at_ms, signals)
