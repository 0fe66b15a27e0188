"""Quix Streams beside our scorer: its environment, and one run on the records that are in Kafka."""

import json
import subprocess
import sys
from pathlib import Path

from contract.manifest import unpack
from contract.schema import get
from contract.topics import MAINTENANCE, TELEMETRY
from loadtest.bench.run import Run
from local.java import ROOT
from local.supervisor import Child
from plumbing.life import WorldDown

_PINS = Path(__file__).with_name("quix.txt")
_APP = Path(__file__).with_name("quix_app.py")
_INSTALLED_WITHIN_S = 600.0


def python() -> Path:
    """The interpreter of its environment under var/peers, made where it is not there or has other pins.

    Raises WorldDown where pip cannot install it.
    """
    folder = ROOT / "var/peers/quix"
    made_from, found = folder / "pins.txt", folder / "bin/python"
    if made_from.exists() and made_from.read_bytes() == _PINS.read_bytes():
        return found
    steps = ([sys.executable, "-m", "venv", "--clear", str(folder)],
             [str(found), "-m", "pip", "install", "--quiet", "--requirement", str(_PINS)])  # fmt: skip
    for argv in steps:
        try:
            done = subprocess.run(
                argv, capture_output=True, text=True, check=False, timeout=_INSTALLED_WITHIN_S
            )
        except subprocess.TimeoutExpired as error:
            raise WorldDown(f"`{' '.join(argv)}` took longer than {_INSTALLED_WITHIN_S:.0f} s") from error
        if done.returncode != 0:
            raise WorldDown(f"`{' '.join(argv)}` failed: {done.stderr[-500:].strip()}")
    made_from.write_bytes(_PINS.read_bytes())
    return found


def measure(run: Run, model: bytes, count: int) -> dict[str, float]:
    """The same telemetry and the same graph; anomalies out. Raises WorldDown where it does not finish."""
    interpreter = python()
    manifest, tflite = unpack(model)
    schema_file, tflite_file = run.folder / "telemetry.avsc", run.folder / "detector.tflite"
    schema_file.write_text(get(TELEMETRY, 1).text, encoding="utf-8")
    tflite_file.write_bytes(tflite)
    run.say(f"quix-streams: {count} records")
    # MAINTENANCE is a topic that nothing else of this stage writes to.
    told = [run.edge, TELEMETRY, MAINTENANCE, schema_file, tflite_file, manifest.threshold, count]
    argv = [str(interpreter), str(_APP), *map(str, told)]
    # Its exactly-once and state are off by default, as they are in our scorer's loop.
    child = run.supervisor.start(Child("quix", argv, restart=False, env={"TF_CPP_MIN_LOG_LEVEL": "2"}))
    while child.process is not None:
        run.supervisor.tick()
    lines = run.supervisor.log_of("quix").read_text(errors="replace").splitlines()
    try:
        told_us = json.loads(lines[-1])
        if told_us["records"] < count:
            raise WorldDown(f"quix-streams scored {told_us['records']} of {count} records")
        return {"records_per_s": round(count / told_us["wall_s"]),
                "us_per_record": round(1e6 * told_us["cpu_s"] / count, 3)}  # fmt: skip
    except (IndexError, ValueError, KeyError, TypeError) as error:
        raise WorldDown(
            f"quix-streams ended with {child.status}:\n{run.supervisor.last_lines('quix')}"
        ) from error
