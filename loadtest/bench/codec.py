"""Encoding, decoding and invoking alone: µs of CPU a record at the batch sizes that services have."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np

from contract import telemetry
from contract.framing import confluent_header, schema_ids
from contract.schema import get, schemas
from contract.telemetry import Decoder
from contract.topics import TELEMETRY
from loadtest.bench import detector
from loadtest.bench.fleet import Records
from loadtest.bench.run import BenchRun
from scorer.model import Model

BATCHES = (100, 1_000, 2_000)
_SECONDS, _TIMES = 0.4, 5


def measure(run: BenchRun) -> dict[str, float]:
    """`encode_100_us` and so on; a batch of `decode_mixed` has two schema versions and two lengths of seq."""
    model = Model.open(detector.record(run), "litert")
    decoder = Decoder(schema_ids(schemas()))
    figures: dict[str, float] = {}
    for count in BATCHES:
        samples = Records(count, seed=1, first_seq=1_000).next_samples(slice(0, count), 1_795_000_000_000)
        keys = [key.encode() for key in samples.keys]
        decoded = decoder.decode(samples.values, keys)
        rows = decoded.sampled_at_ms, decoded.signals
        long_seq = decoded.seq * np.resize(np.repeat([1, 1 << 20], 2), count)
        uniform = partial(telemetry.encode, _prefixes(samples.keys, (1,)), decoded.seq, *rows)
        mixed = telemetry.encode(_prefixes(samples.keys, (1, 2)), long_seq, *rows)
        steps: dict[str, Callable[[], object]] = {
            "encode": uniform,
            "decode": partial(decoder.decode, samples.values, keys),
            "decode_mixed": partial(decoder.decode, mixed, keys),
            "invoke": partial(model.step, decoded.signals, np.zeros((count, model.width), np.float32)),
        }
        figures |= {f"{name}_{count}_us": _us_per_record(step, count) for name, step in steps.items()}
    return figures


def _prefixes(keys: list[str], versions: tuple[int, ...]) -> list[bytes]:
    """The bytes before seq in the records of these cars, which take turns with the schema versions."""
    by_version = {version: get(TELEMETRY, version) for version in versions}
    return [
        confluent_header(by_version[version].schema_id) + telemetry.prefix(by_version[version], key)
        for version, key in zip(np.resize(versions, len(keys)).tolist(), keys, strict=True)
    ]


def _us_per_record(step: Callable[[], object], records: int) -> float:
    """CPU a record; the least of several measurements, because load by other processes only adds."""
    least = float("inf")
    for _ in range(_TIMES):
        began, times = time.thread_time(), 0
        while time.thread_time() - began < _SECONDS / _TIMES:
            step()
            times += 1
        least = min(least, (time.thread_time() - began) / times)
    return round(1e6 * least / records, 3)
