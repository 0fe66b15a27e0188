"""The training, read from top to bottom: `run` has the steps; the functions below it stand in their order.

1. read    a bounded slice of the replicated log                                  reading.py
2. select  the signals that are judged, and the rows of the training cars         here
3. learn   statistics, then a network, in one graph                               model/learning.py
4. judge   on held-out cars, beside champion and baselines                        judge/comparison.py
5. record  in a manifest all that is needed to check, use and rebuild the model   here
6. decide  verify the packed model in another process, pass the gate, publish     here
"""

import dataclasses
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.golden import Golden
from contract.manifest import QUANTILES, TFLITE_BYTES_MAX, Decision, Manifest, sha256
from contract.schema import latest
from contract.state_layout import SEEN
from contract.telemetry import SIGNALS, Floats
from contract.topics import TELEMETRY
from contract.trial import taking_part
from plumbing.life import Stop, WorldDown
from plumbing.tflite import Interpreter
from trainer import capacity, log_slice, reading, trial
from trainer.capacity import CARS_MIN
from trainer.history import slices
from trainer.judge import bounds, comparison, gate
from trainer.judge.exam import Exam, exam_of, pack
from trainer.judge.held_out import held_out
from trainer.judge.verify import verified
from trainer.log_slice import Telemetry
from trainer.model.directions import hypotheses
from trainer.model.domain import columns, fleet_domain
from trainer.model.graph import Graph
from trainer.model.learning import learn, load_tensorflow, some_rows
from trainer.model.replay import ranks, replay, runs
from trainer.model.robust import CarNumbers
from trainer.model.state import Window, state_layout
from trainer.publication import Entry, Publication
from trainer.reading import Slice, Stopped, stop_if_asked
from trainer.settings import Settings, git_revision
from trainer.split import PARTS, TRAINING, parts_of

_log = logging.getLogger("trainer")

EXIT_PUBLISHED, EXIT_REFUSED, EXIT_STOPPED = 0, 3, 143  # 128 + SIGTERM
# Settings that `trainer rebuild` needs to learn the same again; they are kept in the manifest.
LEARNING_SETTINGS = ("learning_s", "memory_s", "steps_max", "edge_names")
SENT_SHARE_MIN = 0.5  # of the records must have a signal that the model judges
GOLDEN_SAMPLES = 24  # enough for a car to become warm within the golden vectors


def run(settings: Settings, publication: Publication, stop: Stop) -> int:
    """Train and publish. Returns the exit code. Raises WorldDown, and SettingsError for a hopeless slice."""
    began_s = time.monotonic()
    if trial.goes_on(publication, settings.share):
        return EXIT_PUBLISHED
    try:
        load_tensorflow()
        # 1. Read. The offsets are fixed first: reading them again gives the same slice.
        data = reading.read(settings, stop)
        return train(data, settings, publication, stop, read_s=time.monotonic() - began_s)
    except Stopped:
        _log.info("stopped: nothing was published")
        return EXIT_STOPPED


def train(
    data: Slice, settings: Settings, publication: Publication, stop: Stop, *, read_s: float = 0.0
) -> int:
    """Train on the slice and publish. Returns the exit code. Raises WorldDown, Stopped."""
    device, began_s = load_tensorflow(), time.monotonic()
    outside = bounds.outside(data.telemetry.signals)
    # 2. Select. Cars are split by a hash of their id, so no model is judged on cars that it learned from.
    domain = fleet_domain(sent_signals(data.telemetry))
    data = with_signals(data, domain.signals)
    rows = training_rows(data, settings)
    # 3. Learn.
    graph, learned = learn(
        domain, rows.signals, rows.car, rows.window, settings.seed, steps_max=settings.steps_max, stop=stop
    )
    learn_s = time.monotonic() - began_s
    # 4. Judge: every detector gets the same cars, the same replay and the same budget of false alarms.
    champion = publication.champion()
    held = held_out(
        domain,
        data.telemetry,
        rows.part,
        data.reports,
        settings,
        judged_from=judged_from(rows.window, champion, data.telemetry.car),
        interval_s=rows.interval_s,
    )
    complete = some_rows(np.asarray(np.isfinite(rows.signals).all(axis=1)))
    graph, learned, tflite, evidence, judged = comparison.compare(
        graph,
        learned,
        training=rows.signals[complete],
        data=held,
        champion=champion,
        exam=comparison.champions_exam(champion, publication),
        budget=settings.false_alarms_per_car_week,
        rule=settings.alert_rule,
    )
    evidence = dataclasses.replace(evidence, outside=outside, trusted=settings.trust_slice)
    evidence = dataclasses.replace(evidence, on_trial=settings.share is not None)
    stop_if_asked(stop)
    # 5. Record.
    training = {"device": device, "read_s": read_s, "learn_s": learn_s, "from": settings.from_}
    metrics = judged | {
        "network": learned.metrics["network"],
        "training": learned.metrics | training,
        "settings": {name: getattr(settings, name) for name in LEARNING_SETTINGS},
        "outside_bounds": outside,
        "slice": {"topic_ids": dict(data.topic_ids)},
    }
    draft = manifest(
        settings,
        data,
        rows,
        graph,
        tflite=tflite,
        threshold=evidence.candidate.threshold,
        version=publication.next_version(),
        parent=champion.manifest.version if champion else None,
        metrics=metrics,
    )
    # 6. Decide. Its own held-out cars become the exam of the next candidate.
    own_exam = exam_of(held, domain.signals, data.telemetry.cars, settings.seed)
    return decide(draft, tflite, evidence, publication, settings=settings, own_exam=own_exam)


def sent_signals(telemetry: Telemetry) -> tuple[str, ...]:
    """The signals that a model from this slice judges: those that most of the records have.

    Models learn from complete records. While most cars still have an older schema, they teach more without
    the new signal; a model that judges it follows once most cars send it.
    """
    shares = np.isfinite(telemetry.signals).mean(axis=0)
    judged = tuple(name for name, share in zip(SIGNALS, shares, strict=True) if share >= SENT_SHARE_MIN)
    if rare := [name for name in SIGNALS if name not in judged]:
        _log.warning("signals that too few records have are not judged", extra={"signals": ", ".join(rare)})
    return judged


def with_signals(data: Slice, signals: tuple[str, ...]) -> Slice:
    """The slice with these signals only."""
    picked = columns(data.telemetry.signals, SIGNALS, signals)
    return dataclasses.replace(data, telemetry=dataclasses.replace(data.telemetry, signals=picked))


@dataclass(frozen=True)
class TrainingRows:
    """n rows of the training cars without a reported fault, by car and time, and what follows from them."""

    signals: Floats  # (n, K) NaN where missing
    car: CarNumbers  # (n,)
    part: NDArray[np.int8]  # (cars of the slice,) TRAINING, CALIBRATION or TEST
    interval_s: float  # between two samples of a car, in the median
    window: Window


def training_rows(data: Slice, settings: Settings) -> TrainingRows:
    """Select the training cars' rows. Raises WorldDown where a part has too few cars to learn or to judge."""
    telemetry, faulty = data.telemetry, log_slice.faulty_cars(data.reports)
    interval_s = capacity.sample_interval_s(telemetry)
    learning = capacity.learning_samples(settings.learning_s, interval_s)
    memory = capacity.learning_samples(settings.memory_s, interval_s)
    sound = np.array([car not in faulty for car in telemetry.cars], bool)
    part = parts_of(telemetry.cars)
    watched = np.bincount(telemetry.car, minlength=len(sound)) > learning
    counts = [int((sound & watched & (part == number)).sum()) for number in range(len(PARTS))]
    _log.info("cars", extra=dict(zip(PARTS, counts, strict=True)) | {"reported": int((~sound).sum())})
    if any(count < least for count, least in zip(counts, CARS_MIN, strict=True)):
        raise WorldDown(
            f"cars without a reported fault and with more than the {learning} samples that they are "
            f"learned for, for {', '.join(PARTS)}: {counts}, at least {CARS_MIN}; read more (--records-max, "
            "--wait-records) or learn for a shorter time (--learning-s)"
        )
    rows = np.flatnonzero((sound & (part == TRAINING))[telemetry.car])
    window = Window(learning, float(min(memory, learning)))
    return TrainingRows(telemetry.signals[rows], telemetry.car[rows], part, interval_s, window)


def judged_from(window: Window, champion: Entry | None, car: CarNumbers) -> int:
    """The number of a car's row from which on candidate and champion are compared: both have learned it then.

    A champion that needs more rows than nearly all cars have in the slice is not waited for.
    """
    own = window.learning_samples
    state = champion.manifest.state if champion else None
    longest = max(own, state.learning_samples if state else 0)
    return longest if np.quantile(ranks(car), 0.9) > longest else own


def manifest(
    settings: Settings,
    data: Slice,
    rows: TrainingRows,
    graph: Graph,
    *,
    tflite: bytes,
    threshold: float,
    version: int,
    parent: int | None,
    metrics: Mapping[str, Any],
) -> Manifest:
    """The manifest of the exported graph, before a decision."""
    domain = graph.constants.domain
    return Manifest(
        name=settings.model_name,
        version=version,
        parent=parent,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        git_revision=settings.git_revision or git_revision(),
        signals=domain.signals,
        schema_fingerprint=latest(TELEMETRY).fingerprint.hex(),
        threshold=threshold,
        false_alarms_per_car_week=settings.false_alarms_per_car_week,
        alert=settings.alert_rule,
        components={
            name: tuple(change.signal for change in changes) for name, changes in domain.components.items()
        },
        hypotheses=hypotheses(graph, tflite, rows.signals, rows.car),
        state=state_layout(domain, rows.window, rows.interval_s, graph.constants.strange_variance),
        training_offsets=data.offsets,
        validation_offsets=data.offsets,  # the parts differ by car, not by offset
        seed=settings.seed,
        metrics=dict(metrics) | {"quota": data.quota and vars(data.quota)},
        reference_quantiles=reference_quantiles(domain.signals, rows.signals),
        golden=golden_vectors(tflite, rows),
        tflite_sha256=sha256(tflite),
        tflite_bytes=len(tflite),
        decision=Decision(published=False, on_trial=taking_part(len(data.telemetry.cars))),
    )


def reference_quantiles(names: tuple[str, ...], signals: Floats) -> Mapping[str, tuple[float, ...]]:
    """Quantiles of the training cars' signals, to notice drift later."""
    some = signals[some_rows(np.ones(len(signals), bool))]
    quantiles = np.nanquantile(some, QUANTILES, axis=0)
    return {name: tuple(map(float, quantiles[:, i])) for i, name in enumerate(names)}


def golden_vectors(tflite: bytes, rows: TrainingRows) -> Golden:
    """A closed loop of three cars, with gaps: a new one, one that becomes warm within it, and a warm one."""
    interpreter = Interpreter(tflite, rows.signals.shape[1])
    starts, lengths = runs(rows.car)
    longest = np.argsort(-lengths, kind="stable")[:3]
    samples = int(min(GOLDEN_SAMPLES, lengths[longest].min()))
    first = starts[longest[:, None]] + np.arange(samples)
    signals = np.nan_to_num(rows.signals[first.T], nan=0.0, posinf=0.0, neginf=0.0)  # (T, 3, K)
    for sample in range(0, samples, 5):
        signals[sample, :, (3 * sample) % signals.shape[2]] = np.nan
    past = slice(starts[longest[1]], starts[longest[1]] + lengths[longest[1]])
    state = np.zeros((3, interpreter.state_width), np.float32)
    state[1:] = replay(tflite, rows.signals[past], np.zeros(lengths[longest[1]], int)).state
    state[1, SEEN] = max(0, rows.window.learning_samples - samples // 2)
    return Golden.of(signals, state, interpreter.run)


def decide(
    draft: Manifest,
    tflite: bytes,
    evidence: gate.Evidence,
    publication: Publication,
    *,
    settings: Settings,
    own_exam: Exam | None,
) -> int:
    """Publish or refuse; either is logged with its reasons and printed. Returns the exit code.

    Raises WorldDown where another champion was published since the candidate was compared with the old one.
    """
    proven = dataclasses.replace(evidence, unsound=verified(draft, tflite))
    reasons = tuple(gate.reasons(proven))
    draft = slices.noted(settings, draft, keep=not reasons)
    publication.open()
    champion = publication.champion()
    if (champion.manifest.version if champion else None) != draft.parent:
        raise WorldDown("another champion was published meanwhile: train again to be compared with it")
    share = settings.share if champion and not reasons else None
    if trial.goes_on(publication, share):
        raise WorldDown("another model went on trial meanwhile: train again when its trial has ended")
    why = reasons or ("passed the gate",)
    decision = dataclasses.replace(draft.decision, published=not reasons, reasons=why, share=share)
    final = dataclasses.replace(draft, version=publication.next_version(), decision=decision)
    if len(tflite) > TFLITE_BYTES_MAX:  # the log keeps the reasons, not the bytes
        tflite = b""
        final = dataclasses.replace(final, tflite_bytes=0, tflite_sha256=sha256(tflite))
    publication.write(final, tflite, pack(own_exam) if own_exam and not reasons else b"")
    print(comparison.as_text(final), flush=True)
    return EXIT_REFUSED if reasons else EXIT_PUBLISHED
