"""The end of a training: the packed model is proven in a process of its own, then published or refused."""

import dataclasses
import subprocess
import sys
from typing import Any

from contract.manifest import TFLITE_BYTES_MAX, Decision, Manifest, pack, sha256
from plumbing.life import WorldDown
from trainer.judge import gate
from trainer.publication import Publication
from trainer.table import table

PUBLISHED, REFUSED = 0, 3  # exit codes
VERIFY_S_MAX = 120.0


def verified(manifest: Manifest, tflite: bytes) -> tuple[str, ...]:
    """What a process without TensorFlow finds wrong with the packed record; empty where nothing is."""
    if len(tflite) > TFLITE_BYTES_MAX:
        return ()  # the gate says so; nobody would read it
    command, record = [sys.executable, "-m", "trainer.judge.verify"], pack(manifest, tflite)
    try:
        done = subprocess.run(command, input=record, capture_output=True, timeout=VERIFY_S_MAX, check=False)
    except subprocess.TimeoutExpired:
        return (f"no verdict within {VERIFY_S_MAX:.0f} s",)
    reasons = tuple(line for line in done.stdout.decode().splitlines() if line)
    if done.returncode != 0 and not reasons:
        return (f"verification ended with {done.returncode}: {done.stderr.decode()[-300:]}",)
    return reasons


def decide(draft: Manifest, tflite: bytes, evidence: gate.Evidence, publication: Publication) -> int:
    """Publish or refuse. Either is logged with its reasons and printed. Returns the exit code."""
    proven = dataclasses.replace(evidence, unsound=verified(draft, tflite))
    reasons = tuple(gate.reasons(proven))
    publication.open()
    champion = publication.champion()
    if (champion.manifest.version if champion else None) != draft.parent:
        raise WorldDown("another champion was published meanwhile: train again to be compared with it")
    decision = Decision(published=not reasons, reasons=reasons or ("passed the gate",))
    manifest = dataclasses.replace(draft, version=publication.next_version(), decision=decision)
    if len(tflite) > TFLITE_BYTES_MAX:  # the log keeps the reasons, not the bytes
        tflite = b""
        manifest = dataclasses.replace(manifest, tflite_bytes=0, tflite_sha256=sha256(tflite))
    publication.write(manifest, tflite)
    print(shown(manifest), flush=True)
    return REFUSED if reasons else PUBLISHED


def shown(manifest: Manifest) -> str:
    """The comparison as a table, and the decision with its reasons."""
    metrics = manifest.metrics
    judged: dict[str, dict[str, Any]] = {
        "candidate": metrics["candidate"],
        f"champion (version {manifest.parent})": metrics["champion"],
        **metrics["baselines"],
    }
    columns = ["recall", "auroc", "false_alarms_per_car_week", "suspect_share", "threshold"]
    rows = [
        [name, *[values.get(column) for column in columns]]
        for name, values in judged.items()
        if "recall" in values
    ]
    header = ["detector", "recall", "AUROC", "false alarms/car-week", "suspect cars", "threshold"]
    word = "published" if manifest.decision.published else "REFUSED"
    return "\n".join(
        [
            f"labels: {metrics['labels']}; detector: {metrics.get('network', {}).get('shipped', '-')}",
            table(header, rows),
            f"version {manifest.version} {word}:",
            *[f"  - {reason}" for reason in manifest.decision.reasons],
        ]
    )


def git_revision() -> str:
    """The commit of the source, or `unknown` where there is no git."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"
