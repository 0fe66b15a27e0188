"""The candidate beside the champion and the baselines, through the same replay, on the same held-out cars."""

import dataclasses
import logging
from typing import Any

import numpy as np

from contract.alert_rule import AlertRule
from contract.telemetry import Floats
from trainer.judge import alarms, baselines, evaluate, gate
from trainer.judge.baselines import Detector
from trainer.judge.held_out import HeldOut
from trainer.model.domain import Domain
from trainer.model.graph import Graph
from trainer.model.interpreter import Interpreter
from trainer.model.learning import Learned
from trainer.model.replay import ranks, runs
from trainer.publication import Entry
from trainer.settings import Settings

_log = logging.getLogger("trainer")

# The score of a graph with memory is smooth by itself: only, a single reading must not open an alert. A
# detector without memory would drown in its own noise.
RULE, RULE_WITHOUT_MEMORY = AlertRule(smoothing=0.3), AlertRule(smoothing=0.1)
_PARITY_CARS, _PARITY_SAMPLES = 64, 400


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The candidate's threshold, what the gate needs to know, and the metrics for the manifest."""

    threshold: float
    evidence: gate.Evidence
    metrics: dict[str, Any]


def compare(
    graph: Graph,
    learned: Learned,
    tflite: bytes,
    told: Settings,
    *,
    training: Floats,
    data: HeldOut,
    champion: Entry | None,
) -> Comparison:
    """Judge all detectors. `learned`: what the candidate's training told; baselines learn from `training`."""
    domain, linear = graph.constants.domain, learned.linear
    detectors = [
        baselines.of_graph("candidate", tflite, RULE),
        baselines.max_abs_z(domain, training, RULE_WITHOUT_MEMORY),
        baselines.mahalanobis(domain, training, RULE_WITHOUT_MEMORY),
    ]
    if linear:
        detectors.append(baselines.of_graph("linear", linear.convert(), RULE))
    if champion:
        detectors.append(baselines.of_graph("champion", champion.tflite, champion.manifest.alert))
    _log.info("judging", extra={"labels": data.faulty.source, "failures": len(data.faulty.fault)})
    judged = {each.name: judge(each, data, told) for each in detectors}
    own = judged.pop("candidate")
    over = {name: evaluate.difference(own, other) for name, other in judged.items()}
    parity, finite = parity_of(graph, tflite, domain, data)
    evidence = gate.Evidence(
        tflite_bytes=len(tflite),
        finite=finite,
        parity=parity,
        unsound=(),
        threshold=own.threshold,
        false_alarms=own.false_alarms_per_car_week,
        false_alarms_low=own.false_alarms_low,
        budget=told.false_alarms_per_car_week,
        car_weeks=alarms.car_weeks(int((ranks(data.healthy_car) >= data.judged_from).sum()), data.interval_s),
        suspect_share=own.suspect_share,
        recall=own.recall,
        over_max_abs_z=over["max_abs_z"],
        over_mahalanobis=over["mahalanobis"],
        over_linear=over.get("linear"),
        over_champion=over.get("champion"),
    )
    others = {
        name: result.metrics() | {"candidate_gains": dataclasses.asdict(over[name])}
        for name, result in judged.items()
    }
    version = {"version": champion.manifest.version} if champion else {}
    metrics = {
        "labels": data.faulty.source,
        "failures": len(data.faulty.fault),
        "candidate": own.metrics() | {"parity": parity},
        "champion": version | others.pop("champion", {}),
        "baselines": others,
    }
    return Comparison(own.threshold, evidence, metrics)


def judge(detector: Detector, data: HeldOut, told: Settings) -> evaluate.Judgement:
    """One detector, and a line that says so."""
    judged = evaluate.judge(detector, data, told.false_alarms_per_car_week)
    _log.info("judged", extra={"detector": detector.name, "recall": round(judged.recall, 3)})
    return judged


def parity_of(graph: Graph, tflite: bytes, domain: Domain, data: HeldOut) -> tuple[float, bool]:
    """How far TFLite and TensorFlow come apart in a closed loop over some cars' rows, with gaps in them.

    (largest difference of a score, relative to max(1, score); whether all of TFLite's outputs are finite.)
    """
    import tensorflow as tf

    starts, lengths = runs(data.healthy_car)
    starts, samples = starts[:_PARITY_CARS], int(min(lengths[:_PARITY_CARS].min(), _PARITY_SAMPLES))
    interpreter, step = Interpreter(tflite, domain.count), tf.function(graph.run, reduce_retracing=True)
    served = np.zeros((len(starts), interpreter.state_width), np.float32)
    kept, rng, worst, finite = tf.constant(served), np.random.default_rng(1), 0.0, True
    for sample in range(samples):
        signals = data.healthy[starts + sample].copy()
        signals[rng.random(signals.shape) < 0.01] = np.nan
        score, contribution, served = interpreter.run(signals, served)
        expected, _, kept = step(tf.constant(signals), kept)
        worst = max(worst, float(np.max(np.abs(score - expected) / np.maximum(1, np.abs(expected)))))
        finite &= bool(np.isfinite(score).all() & np.isfinite(contribution).all() & np.isfinite(served).all())
    return worst, finite
