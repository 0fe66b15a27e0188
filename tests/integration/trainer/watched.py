"""A watcher as a process on a real cloud cluster, and the records that others would send it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from contract import records
from contract.evidence import AT_THRESHOLD, LEVELS, Beyond, Evidence
from contract.manifest import Decision, Manifest
from contract.topics import ALERTS, EVIDENCE, MAINTENANCE
from trainer import trial
from trainer.publication import Publication

ROOT = Path(__file__).parents[3]
LOOK_MS = 500
WITHIN_S = 30.0
CARS = 100
INTERVAL_S = 6_048.0  # between two samples: 100 of them are a car-week
SHADOW = Decision(published=True, reasons=("passed the gate",), share=0.0)
# Leaves a line for each start, and takes its time, in which a decision can be written as the trainer would.
STUB = "import sys, time; open(sys.argv[1], 'a').write(' '.join(sys.argv[2:]) + chr(10)); time.sleep(3)"
SLEEPING = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"


@dataclass
class Watched:
    """Champion 1, and challenger 2 where it is wanted, with everything that is said of them."""

    cloud: Any
    detector: Any
    folder: Path
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @cached_property
    def publication(self) -> Publication:
        """The models of this name."""
        found: Publication = self.cloud.publication()
        return found

    def manifest(self, version: int, **fields: Any) -> Manifest:
        """With a state, so that judged samples are driving time."""
        layout = replace(self.detector.layout, sample_interval_s=INTERVAL_S)
        made: Manifest = self.detector.manifest(version, name=self.cloud.model, state=layout, **fields)
        return made

    def publish(self, share: float | None) -> None:
        """The champion and, with a share, the challenger."""
        publication = self.publication
        publication.open()
        publication.write(self.manifest(1), self.detector.tflite)
        if share is not None:
            decision = replace(SHADOW, share=share)
            publication.write(self.manifest(2, decision=decision), self.detector.tflite)

    def count(
        self, version: int, *, ago_looks: int = 0, openings: int = 0, moved: int = 0, **fields: Any
    ) -> None:
        """One record of evidence; by default of a time that begins now, as the trial did just before."""
        until = time.time_ns() // 1_000_000 - ago_looks * LOOK_MS + (50 if not ago_looks else 0)
        share = None if version == 1 else 0.0
        crossings = tuple(openings if number <= AT_THRESHOLD else 0 for number in range(len(LEVELS)))
        signal_moved = Beyond(name="battery_voltage", far_below=0, below=0, above=moved, far_above=moved)
        usual: dict[str, Any] = {
            "scorer": "scorer-0", "model_name": self.cloud.model, "model_version": version, "share": share,
            "since": until - LOOK_MS, "until": until, "judged": 12_000, "crossings": crossings,
            "alone": openings, "cars": CARS, "checked": 12_000, "signals": (signal_moved,),
        }  # fmt: skip
        value = records.encode("evidence", Evidence(**usual | fields).record())
        self.cloud.produce(EVIDENCE, [b"scorer-0"], [value])

    def alert(self, version: int, car: str) -> None:
        """An alert that opens now; the challenger's stands beside its evidence, where nobody is shown it."""
        now = time.time_ns() // 1_000_000
        value = records.encode(
            "alert",
            {
                "car_id": car, "alert_id": f"{car}-{version}", "action": "opened", "opened_at": now,
                "at": now, "level": 1.1, "threshold": 1.0, "component": "battery", "confidence": 1.0,
                "signals": [{"name": "battery_voltage", "share": 0.9, "value": 300.0}],
                "model_version": version, "scored_at": now,
            },
        )  # fmt: skip
        self.cloud.produce(ALERTS if version == 1 else EVIDENCE, [car.encode()], [value])

    def report(self, car: str, *, inspected: bool = False) -> None:
        """A failure that occurs now, or an inspection that finds nothing."""
        now = time.time_ns() // 1_000_000
        action = "repaired" if inspected else "failed"
        fields = {
            "car_id": car, "report_id": f"{car}-{action}", "component": "battery", "action": action,
            "occurred_at": now, "reported_at": now, "inspected": inspected,
        }  # fmt: skip
        self.cloud.produce(MAINTENANCE, [car.encode()], [records.encode("maintenance", fields)])

    def command(self, *flags: str) -> list[str]:
        """The command line of a watcher that starts no training."""
        usual = {
            "--kafka-bootstrap": self.cloud.bootstrap,
            "--edge-names": self.cloud.edge,
            "--model-name": self.cloud.model,
            "--look-every-s": str(LOOK_MS / 1000),
            "--train-with": "none",
            "--slice-s": "0",
            "--log-format": "json",
        }
        return [sys.executable, "-m", "trainer", "watch", *(w for p in usual.items() for w in p), *flags]

    def start(self, *flags: str, argv: Sequence[str] | None = None) -> "subprocess.Popen[bytes]":
        """Start a watcher; its log goes to a file."""
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("TRAINER_", "WATCHER_"))
        }
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                list(argv or self.command(*flags)),
                cwd=ROOT,
                env=kept | {"PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.processes.append(process)
        return process

    @property
    def log(self) -> Path:
        """The log of all watchers."""
        return self.folder / "watcher.log"

    def said(self) -> list[dict[str, Any]]:
        """The lines of the log."""
        lines = self.log.read_text(encoding="utf-8").splitlines() if self.log.exists() else []
        return [json.loads(line) for line in lines if line.startswith("{")]

    def until(self, holds: Callable[[], Any], what: str, within_s: float = WITHIN_S) -> Any:
        """Wait until something holds."""
        deadline = time.monotonic() + within_s
        while not (found := holds()):
            assert time.monotonic() < deadline, f"{what}: {self.log.read_text(encoding='utf-8')[-4000:]}"
            time.sleep(0.1)
        return found

    def until_said(self, words: str) -> dict[str, Any]:
        """Wait for a line of the log with these words in it; returns the line."""
        found: dict[str, Any] = self.until(
            lambda: next((line for line in self.said() if words in json.dumps(line)), None), words
        )
        return found

    def decided(self) -> list[tuple[int, str]]:
        """(version, verdict) of every decision."""
        return [
            (entry.manifest.version, trial.verdict(entry.manifest.decision))
            for entry in self.publication.history()
        ]

    def end(self) -> None:
        """End every watcher that still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                assert process.wait(30) == 0, self.log.read_text(encoding="utf-8")[-4000:]
