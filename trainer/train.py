"""The training, read from top to bottom: a slice of the log, a detector, its proof, its publication.

Read `run`, then each step in the order in which it is called; trainer/model/learning.py has the learning.
No device is named anywhere: TensorFlow takes the GPU where there is one.
"""

import logging
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.golden import Golden
from contract.manifest import QUANTILES, Decision, Manifest, sha256
from contract.schema import latest
from contract.state_layout import SEEN
from contract.telemetry import SIGNALS, Floats
from contract.topics import TELEMETRY
from plumbing.life import Stop, WorldDown
from trainer import capacity, reading
from trainer.capacity import CARS_MIN
from trainer.judge import comparison, decision
from trainer.judge.held_out import held_out
from trainer.model.directions import hypotheses
from trainer.model.domain import fleet_domain
from trainer.model.interpreter import Interpreter
from trainer.model.learning import learn, load_tensorflow
from trainer.model.replay import ranks, replay, runs
from trainer.model.robust import CarNumbers
from trainer.model.state import Memory, state_layout
from trainer.publication import Entry, Publication
from trainer.reading import Slice, Stopped, stop_if_asked
from trainer.settings import Settings
from trainer.split import PARTS, TRAINING, parts_of

_log = logging.getLogger("trainer")

EXIT_STOPPED = 143  # 128 + SIGTERM
STATISTICS_ROWS_MAX = 200_000  # more rows do not change a quantile or a covariance
GOLDEN_SAMPLES = 24  # more than the longest golden gap in learning is not needed: a car becomes warm in them


def run(told: Settings, publication: Publication, stop: Stop) -> int:
    """Read, learn, judge, decide, publish. Returns the exit code. Raises WorldDown."""
    began_s = time.monotonic()
    try:
        domain, device = fleet_domain(), load_tensorflow()
        data = reading.read(told, stop)
        read_s = time.monotonic()
        interval_s = capacity.sample_interval_s(data.telemetry)
        memory = memory_of(told, interval_s)
        part = parts_of(data.telemetry.cars)
        signals, car = training_rows(data, part, memory)
        graph, learned = learn(domain, signals, car, memory, told.seed, steps_max=told.steps_max, stop=stop)
        tflite = graph.convert()
        learned_s = time.monotonic()
        champion = publication.champion()
        held = held_out(
            domain,
            data.telemetry,
            part,
            data.reports,
            told,
            judged_from=judged_from(memory, champion, data.telemetry.car),
            interval_s=interval_s,
        )
        compared = comparison.compare(
            graph,
            learned,
            tflite,
            told,
            training=thinned(signals[np.isfinite(signals).all(axis=1)], STATISTICS_ROWS_MAX),
            data=held,
            champion=champion,
        )
        stop_if_asked(stop)
        timing = {"device": device, "read_s": read_s - began_s, "learn_s": learned_s - read_s}
        network = learned.metrics["network"]
        draft = Manifest(
            name=told.model_name,
            version=publication.next_version(),
            parent=champion.manifest.version if champion else None,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            git_revision=told.git_revision or decision.git_revision(),
            signals=SIGNALS,
            schema_fingerprint=latest(TELEMETRY).fingerprint.hex(),
            threshold=compared.threshold,
            false_alarms_per_car_week=told.false_alarms_per_car_week,
            alert=comparison.RULE,
            components={name: tuple(c.signal for c in of) for name, of in domain.components.items()},
            hypotheses=hypotheses(graph, tflite, signals, car),
            state=state_layout(domain, memory, interval_s),
            training_offsets=data.offsets,
            validation_offsets=data.offsets,  # the parts differ by car, not by offset (trainer/split.py)
            seed=told.seed,
            metrics=compared.metrics
            | {"network": network, "training": learned.metrics | timing, "settings": learning_settings(told)},
            reference_quantiles=reference_quantiles(signals),
            golden=golden(tflite, signals, car, memory),
            tflite_sha256=sha256(tflite),
            tflite_bytes=len(tflite),
            decision=Decision(published=False),
        )
        return decision.decide(draft, tflite, compared.evidence, publication)
    except Stopped:
        _log.info("stopped: nothing was published")
        return EXIT_STOPPED


def memory_of(told: Settings, interval_s: float) -> Memory:
    """The settings' seconds of telemetry as samples."""
    learning, memory = (
        capacity.learning_samples(seconds, interval_s) for seconds in (told.learning_s, told.memory_s)
    )
    return Memory(learning, float(min(memory, learning)))


def training_rows(data: Slice, part: NDArray[np.int8], memory: Memory) -> tuple[Floats, CarNumbers]:
    """(signals (n, K), car (n,)) of the training cars without a workshop report.

    Raises WorldDown where too few cars of a part have been watched for longer than they are learned for.
    """
    telemetry, reported = data.telemetry, {report.car for report in data.reports}
    sound = np.array([car not in reported for car in telemetry.cars], bool)
    long = np.bincount(telemetry.car, minlength=len(sound)) > memory.learning_samples
    counts = [int((sound & long & (part == number)).sum()) for number in range(len(PARTS))]
    _log.info("cars", extra=dict(zip(PARTS, counts, strict=True)) | {"reported": int((~sound).sum())})
    if any(count < least for count, least in zip(counts, CARS_MIN, strict=True)):
        raise WorldDown(
            f"cars without a report and with more than the {memory.learning_samples} samples that they are "
            f"learned for, for {', '.join(PARTS)}: {counts}, at least {CARS_MIN}; read more (--records-max, "
            "--wait-records) or learn for a shorter time (--learning-s)"
        )
    rows = np.flatnonzero((sound & (part == TRAINING))[telemetry.car])
    return telemetry.signals[rows], telemetry.car[rows]


def judged_from(memory: Memory, champion: Entry | None, car: CarNumbers) -> int:
    """From which row of a car on candidate and champion are compared: both have learned it by then.

    A champion that learns cars for longer than the slice holds of nearly all of them cannot be waited for.
    """
    own = memory.learning_samples
    state = champion.manifest.state if champion else None
    longest = max(own, state.learning_samples if state else 0)
    return longest if np.quantile(ranks(car), 0.9) > longest else own


def learning_settings(told: Settings) -> dict[str, Any]:
    """What `rebuild` must be told to learn the same again."""
    return {name: getattr(told, name) for name in LEARNING_SETTINGS}


LEARNING_SETTINGS = ("learning_s", "memory_s", "steps_max", "edge_names")


def reference_quantiles(signals: Floats) -> Mapping[str, tuple[float, ...]]:
    """What the training cars' signals look like, to see drift later."""
    quantiles = np.nanquantile(thinned(signals, STATISTICS_ROWS_MAX), QUANTILES, axis=0)
    return {name: tuple(map(float, quantiles[:, i])) for i, name in enumerate(SIGNALS)}


def golden(tflite: bytes, signals: Floats, car: CarNumbers, memory: Memory) -> Golden:
    """A closed loop of three cars: a new one, one that is learned within it, and a warm one; with gaps."""
    interpreter = Interpreter(tflite, signals.shape[1])
    starts, lengths = runs(car)
    longest = np.argsort(-lengths, kind="stable")[:3]
    samples = int(min(GOLDEN_SAMPLES, lengths[longest].min()))
    rows = starts[longest[:, None]] + np.arange(samples)
    vectors = np.nan_to_num(signals[rows.T], nan=0.0, posinf=0.0, neginf=0.0)  # (T, 3, K)
    for sample in range(0, samples, 5):
        vectors[sample, :, (3 * sample) % signals.shape[1]] = np.nan
    state = np.zeros((3, interpreter.state_width), np.float32)
    state[1:] = replay(
        tflite, signals[starts[longest[1]] :][: lengths[longest[1]]], np.zeros(lengths[longest[1]], int)
    ).state
    state[1, SEEN] = max(0, memory.learning_samples - samples // 2)
    return Golden.of(vectors, state, interpreter.run)


def thinned(rows: NDArray[Any], rows_max: int) -> NDArray[Any]:
    """Every row, or every second, third, … so that no more than rows_max are left."""
    return rows[:: max(1, -(-len(rows) // rows_max))]
