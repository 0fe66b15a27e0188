"""Quix Streams beside our scorer: one run on the records that are in Kafka."""

import json
from pathlib import Path

from contract.manifest import unpack
from contract.schema import latest
from contract.topics import MAINTENANCE, TELEMETRY
from loadtest import peers
from loadtest.bench.run import BenchRun
from local.supervisor import Child
from plumbing.life import WorldDown

_APP = Path(__file__).with_name("quix_app.py")


def measure(run: BenchRun, model: bytes, count: int) -> dict[str, float]:
    """Score `count` records of telemetry with the same graph. Raises WorldDown where it does not finish."""
    interpreter = peers.environment("quix")
    manifest, tflite = unpack(model)
    schema_file, tflite_file = run.folder / "telemetry.avsc", run.folder / "detector.tflite"
    schema_file.write_text(latest(TELEMETRY).text, encoding="utf-8")
    tflite_file.write_bytes(tflite)
    run.say(f"quix-streams: {count} records")
    # Anomalies go to MAINTENANCE because nothing else in this stage writes to that topic.
    arguments = [run.edge, TELEMETRY, MAINTENANCE, schema_file, tflite_file, manifest.threshold, count]
    argv = [str(interpreter), str(_APP), *map(str, arguments)]
    # Exactly-once and state stay off, which is the default and corresponds to our scorer's loop.
    child = Child("quix", argv, restart=False, env={"TF_CPP_MIN_LOG_LEVEL": "2"})
    run.wait_end(run.supervisor.start(child))
    last_line = run.supervisor.last_lines("quix").rpartition("\n")[2]
    try:
        result = json.loads(last_line)
        records, wall_s, cpu_s = result["records"], result["wall_s"], result["cpu_s"]
    except (ValueError, KeyError, TypeError) as error:
        raise WorldDown(f"quix-streams printed no result but {last_line!r}") from error
    if records < count:
        raise WorldDown(f"quix-streams scored {records} of {count} records")
    return {"records_per_s": round(count / wall_s), "us_per_record": round(1e6 * cpu_s / count, 3)}
