"""The candidate beside the champion and the baselines, on the same held-out cars."""

import dataclasses
import logging
from typing import Any

import numpy as np

from contract.telemetry import Floats
from trainer import baselines, evaluate, gate
from trainer.baselines import Detector
from trainer.domain import Domain
from trainer.held_out import HeldOut
from trainer.interpreter import Interpreter
from trainer.publication import Entry
from trainer.settings import Settings

_log = logging.getLogger("trainer")

PARITY_ROWS = 10_000


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The candidate's threshold, what the gate needs to know, and the metrics for the manifest."""

    threshold: float
    evidence: gate.Evidence
    metrics: dict[str, Any]


def compare(
    domain: Domain,
    tflite: bytes,
    told: Settings,
    *,
    kept: Floats,
    sample: Floats,
    training: Floats,
    data: HeldOut,
    champion: Entry | None,
) -> Comparison:
    """Judge all detectors.

    `kept`: Keras's scores (k,) of `sample` (k, K), which TFLite must give too. The baselines are fitted to
    `training` (n, K).
    """
    interpreter = Interpreter(tflite)
    detectors = [
        Detector("candidate", interpreter.scores),
        baselines.max_abs_z(domain, training),
        baselines.mahalanobis(domain, training),
    ]
    if champion:
        detectors.append(Detector("champion", Interpreter(champion.tflite).scores))
    _log.info("judging", extra={"labels": data.faulty.source, "faulty_samples": len(data.faulty.car)})
    judged = {each.name: evaluate.judge(each, data, told.false_alarm_share) for each in detectors}
    own = judged.pop("candidate")
    over = {name: evaluate.difference(own, other) for name, other in judged.items()}
    served = interpreter.scores(sample)
    parity = float(np.max(np.abs(served - kept) / np.maximum(1, np.abs(kept))))
    evidence = gate.Evidence(
        tflite_bytes=len(tflite),
        finite=bool(np.isfinite(served).all()),
        parity=parity,
        unsound=(),
        threshold=own.threshold,
        alarm_share=own.alarm_share,
        alarm_share_low=own.alarm_share_low,
        alarm_share_budget=told.false_alarm_share,
        suspect_share=own.suspect_share,
        over_max_abs_z=over["max_abs_z"],
        over_mahalanobis=over["mahalanobis"],
        over_champion=over.get("champion"),
    )
    others = {
        name: result.metrics() | {"candidate_gains": dataclasses.asdict(over[name])}
        for name, result in judged.items()
    }
    version = {"version": champion.manifest.version} if champion else {}
    metrics = {
        "labels": data.faulty.source,
        "candidate": own.metrics() | {"parity": parity},
        "champion": version | others.pop("champion", {}),
        "baselines": others,
    }
    return Comparison(own.threshold, evidence, metrics)
