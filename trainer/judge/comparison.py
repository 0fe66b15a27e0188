"""The candidate beside champion and baselines, through the same replay, on the same held-out cars."""

import dataclasses
import logging
from typing import Any, NamedTuple

import numpy as np

from contract.alert_rule import AlertRule
from contract.errors import Malformed
from contract.manifest import Manifest
from contract.telemetry import Floats
from plumbing.tflite import Interpreter
from trainer import trial
from trainer.judge import alarms, baselines, evaluate, gate
from trainer.judge.baselines import Contender
from trainer.judge.evaluate import Judgement
from trainer.judge.exam import Exam, Examined, examine, judged_rows, unpack
from trainer.judge.held_out import HeldOut
from trainer.model.graph import Graph
from trainer.model.learning import Learned
from trainer.model.replay import ranks, runs
from trainer.publication import Entry, Publication
from trainer.table import table

_log = logging.getLogger("trainer")

# The scores of a detector without memory are noisy: they are smoothed more than the candidate's.
RULE_WITHOUT_MEMORY = AlertRule(smoothing=0.1)
# A threshold is tried in the exam if the cars of slice and exam were judged for so similar times.
_LENGTHS_ALIKE = 2.0
_PARITY_CARS, _PARITY_SAMPLES = 64, 400


class Compared(NamedTuple):
    """A candidate and what was measured of it."""

    graph: Graph
    learned: Learned
    tflite: bytes
    evidence: gate.Evidence  # what the gate decides by
    metrics: dict[str, Any]  # of all detectors, for the manifest


def compare(graph: Graph, learned: Learned, **given: Any) -> Compared:
    """Judge the candidate and all others, as `judge`; a network that costs recall is left out.

    Whether it ships was decided by its loss on cars that it had not seen. Where it surely foresees less of
    the failures of the held-out cars than the detector without it, that one is the candidate.
    """
    tflite = graph.convert()
    evidence, metrics = judge(graph, learned, tflite, **given)
    without = evidence.gains.get("linear")
    if learned.linear is None or without is None or without.high >= -gate.RECALL_TOLERANCE:
        return Compared(graph, learned, tflite, evidence, metrics)
    _log.info("the network is left out", extra={"recall": str(without)})
    return compare(learned.linear, learned.without_network(), **given)


def judge(
    graph: Graph,
    learned: Learned,
    tflite: bytes,
    *,
    training: Floats,
    data: HeldOut,
    champion: Entry | None,
    exam: Exam | None,
    budget: float,
    rule: AlertRule,
) -> tuple[gate.Evidence, dict[str, Any]]:
    """Judge the candidate (`graph`, exported as `tflite`) and all others for the same budget of false alarms.

    Returns (what the gate decides by, metrics of all detectors for the manifest). Baselines learn from
    `training` (n, K), complete rows of the training cars.
    """
    domain = graph.constants.domain
    contenders = [
        baselines.tflite_contender("candidate", tflite, rule),
        baselines.max_abs_z(domain, training, RULE_WITHOUT_MEMORY),
        baselines.mahalanobis(domain, training, RULE_WITHOUT_MEMORY),
    ]
    if learned.linear:
        contenders.append(baselines.tflite_contender("linear", learned.linear.convert(), rule))
    if champion:
        contenders.append(_champion(champion, domain.signals))
    _log.info("judging", extra={"labels": data.faulty.source, "failures": len(data.faulty.fault)})
    judged = {}
    for contender in contenders:
        judged[contender.name] = result = evaluate.judge(contender, data, budget)
        _log.info("judged", extra={"detector": contender.name, "recall": round(result.recall, 3)})
    candidate = judged.pop("candidate")
    gains = {name: evaluate.difference(candidate, other) for name, other in judged.items()}
    parity, finite = _parity(graph, tflite, data)
    judged_rows = int((ranks(data.healthy_car) >= data.judged_from).sum())
    model = (graph, tflite, rule)
    examined = _examined(model, candidate, data, budget=budget, champion=champion, exam=exam)
    evidence = gate.Evidence(
        candidate=candidate,
        gains=gains,
        budget=budget,
        car_weeks=alarms.car_weeks(judged_rows, data.interval_s),
        tflite_bytes=len(tflite),
        finite=finite,
        parity=parity,
        exam=examined,
        champion=judged.get("champion"),
        champion_before=_recall_before(champion, data.faulty.source),
        failing_cars=len(np.unique(data.faulty.failing_car)),
    )
    others = {
        name: result.metrics() | {"candidate_gains": dataclasses.asdict(gains[name])}
        for name, result in judged.items()
    }
    version = {"version": champion.manifest.version} if champion else {}
    metrics = {
        "labels": data.faulty.source,
        "failures": len(data.faulty.fault),
        "candidate": candidate.metrics() | {"parity": parity},
        "champion": version | others.pop("champion", {}),
        "baselines": others,
        "exam": examined.metrics() if examined else {},
    }
    return evidence, metrics


def _champion(champion: Entry, signals: tuple[str, ...]) -> Contender:
    manifest = champion.manifest
    return baselines.model_contender(
        "champion", champion.tflite, manifest.alert, manifest.signals, given=signals
    )


def champions_exam(champion: Entry | None, publication: Publication) -> Exam | None:
    """The rows that were kept with the champion. None without it, or where they cannot be read (logged)."""
    packed = publication.exam(champion.manifest.version) if champion else b""
    try:
        return unpack(packed) if packed else None
    except Malformed as error:
        _log.warning("the champion's exam cannot be read", extra={"why": str(error)})
        return None


def _examined(
    model: tuple[Graph, bytes, AlertRule],
    candidate: Judgement,
    data: HeldOut,
    *,
    budget: float,
    champion: Entry | None,
    exam: Exam | None,
) -> Examined | None:
    """The candidate, judged in its slice, and the champion in its exam; None, and logged, without one."""
    if champion is None:
        return None
    (graph, tflite, rule), state = model, champion.manifest.state
    constants = graph.constants
    longest = max(constants.window.learning_samples, state.learning_samples if state else 0)
    held = exam.held_out(longest) if exam else None
    if exam is None or held is None:
        why = "the champion has none" if exam is None else "its cars have too few rows for these models"
        _log.warning("judged without an exam", extra={"why": why})
        return None
    # The longer cars are judged, the higher a threshold has to be.
    alike = 1 / _LENGTHS_ALIKE <= judged_rows(data) / judged_rows(held) <= _LENGTHS_ALIKE
    examined = examine(
        held,
        baselines.model_contender("candidate", tflite, rule, constants.domain.signals, given=exam.signals),
        _champion(champion, exam.signals),
        budget=budget,
        served=candidate if alike else None,
    )
    _log.info("examined", extra={"failures": examined.failures, "gain": str(examined.gain)})
    return examined


def _recall_before(champion: Entry | None, labels: str) -> float | None:
    """What the champion foresaw in its own slice; None where other kinds of labels stand in its manifest."""
    if champion is None or champion.manifest.metrics.get("labels") != labels:
        return None
    recall = champion.manifest.metrics.get("candidate", {}).get("recall")
    return None if recall is None else float(recall)


def _parity(graph: Graph, tflite: bytes, data: HeldOut) -> tuple[float, bool]:
    """How far TFLite and TensorFlow come apart in a closed loop over some cars' rows, with gaps in them.

    (largest difference of a score, relative to max(1, score); whether all of TFLite's outputs are finite.)
    """
    import tensorflow as tf

    starts, lengths = runs(data.healthy_car)
    starts, samples = starts[:_PARITY_CARS], int(min(lengths[:_PARITY_CARS].min(), _PARITY_SAMPLES))
    interpreter = Interpreter(tflite, data.healthy.shape[1])
    step = tf.function(graph.run, reduce_retracing=True)
    tflite_state = np.zeros((len(starts), interpreter.state_width), np.float32)
    state, rng, worst, finite = tf.constant(tflite_state), np.random.default_rng(1), 0.0, True
    for sample in range(samples):
        signals = data.healthy[starts + sample].copy()
        signals[rng.random(signals.shape) < 0.01] = np.nan
        score, _, tflite_state = outputs = interpreter.run(signals, tflite_state)
        expected, _, state = step(tf.constant(signals), state)
        worst = max(worst, float(np.max(np.abs(score - expected) / np.maximum(1, np.abs(expected)))))
        finite &= all(bool(np.isfinite(output).all()) for output in outputs)
    return worst, finite


def as_text(manifest: Manifest) -> str:
    """The comparison as a table, and the decision with its reasons."""
    metrics = manifest.metrics
    champion = {f"champion (version {manifest.parent})": metrics["champion"]}
    judged = {"candidate": metrics["candidate"]} | champion | metrics["baselines"]
    columns = ["recall", "auroc", "false_alarms_per_car_week", "suspect_share", "threshold"]
    exam = metrics.get("exam", {})
    judged |= {f"{name} in the exam": exam[name] for name in exam if name != "failures"}
    rows = [[name, *map(each.get, columns)] for name, each in judged.items() if "recall" in each]
    header = ["detector", "recall", "AUROC", "false alarms/car-week", "suspect cars", "threshold"]
    lines = [
        f"labels: {metrics['labels']}; detector: {metrics.get('network', {}).get('shipped', '-')}",
        table(header, rows),
        *([] if exam or manifest.parent is None else ["judged without an exam"]),
        f"version {manifest.version} {trial.verdict(manifest.decision).replace('refused', 'REFUSED')}:",
        *[f"  - {reason}" for reason in manifest.decision.reasons],
    ]
    return "\n".join(lines)
