"""Encode, decode and invoke alone: µs of CPU a record at the batch sizes that services have."""

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
from loadtest.bench.run import Run
from scorer.model import Model

BATCHES = (100, 1_000, 2_000)
_SECONDS, _TIMES = 0.4, 5


def measure(run: Run) -> dict[str, float]:
    """`encode_100_us` and so on; `decode_mixed`: two schema versions and two lengths of seq in a batch."""
    model = Model.open(detector.record(run), "litert")
    decoder = Decoder(schema_ids(schemas()))
    found: dict[str, float] = {}
    for count in BATCHES:
        moment = Records(count, seed=1, first_seq=1_000).moment(slice(0, count), 1_795_000_000_000)
        keys = [key.encode() for key in moment.keys]
        decoded = decoder.decode(moment.values, keys)
        rows = decoded.sampled_at_ms, decoded.signals
        seq = decoded.seq * np.resize(np.repeat([1, 1 << 20], 2), count)
        same, mixed = (
            partial(telemetry.encode, _heads(moment.keys, versions), numbers, *rows)
            for versions, numbers in (((1,), decoded.seq), ((1, 2), seq))
        )
        steps: dict[str, Callable[[], object]] = {
            "encode": same,
            "decode": partial(decoder.decode, moment.values, keys),
            "decode_mixed": partial(decoder.decode, mixed(), keys),
            "invoke": partial(model.step, decoded.signals, np.zeros((count, model.width), np.float32)),
        }
        found |= {f"{name}_{count}_us": _us(step, count) for name, step in steps.items()}
    return found


def _heads(keys: list[str], versions: tuple[int, ...]) -> list[bytes]:
    """What stands before seq in the records of these cars, their schemas in turn."""
    known = {version: get(TELEMETRY, version) for version in versions}
    return [
        confluent_header(known[version].schema_id) + telemetry.prefix(known[version], key)
        for version, key in zip(np.resize(versions, len(keys)).tolist(), keys, strict=True)
    ]


def peers(run: Run) -> dict[str, dict[str, float]]:
    """None: Quix Streams, in the scorer's stage, decodes and invokes as others do."""
    return {}


def _us(step: Callable[[], object], records: int) -> float:
    """CPU a record, the best of a few times: another process's load only adds."""
    best = float("inf")
    for _ in range(_TIMES):
        began, times = time.thread_time(), 0
        while time.thread_time() - began < _SECONDS / _TIMES:
            step()
            times += 1
        best = min(best, (time.thread_time() - began) / times)
    return round(1e6 * best / records, 3)
