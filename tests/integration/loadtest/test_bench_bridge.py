"""`python -m loadtest bench --stages bridge` with a small load, and a bridge that loses messages."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.bench import bridge
from loadtest.bench.run import BenchRun, Settings
from loadtest.children import flags
from local.java import ROOT
from local.supervisor import Child
from plumbing.life import WorldDown

pytestmark = [pytest.mark.integration, pytest.mark.measuring]

PORT_OFFSET = int(os.environ.get("TEST_PORT_OFFSET", "1000")) + 650
SMALL = {"rate": 500, "steady_s": 2.0, "backlog": 5_000, "port_offset": PORT_OFFSET}
# A bridge that acknowledges every message and drops every tenth one.
LOSES = """
import sys
import paho.mqtt.client as mqtt
from confluent_kafka import Producer
host, port, kafka = sys.argv[1:]
producer = Producer({"bootstrap.servers": kafka, "partitioner": "murmur2_random"})
seen = 0
def on_message(client, _, message):
    global seen
    seen += 1
    if seen % 10:
        producer.produce("telemetry", message.payload, message.topic.split("/")[2])
        producer.poll(0)
client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, "loses", clean_session=False)
client.on_message = on_message
client.connect(host, int(port))
client.subscribe("fleet/v1/#", qos=1)
client.loop_forever()
"""


def test_the_bridge_is_measured(tmp_path: Path):
    """Status 0; the summary has the figures, an empty ledger, commit and machine."""
    arguments = flags({"stages": "bridge", **SMALL, "run_dir": tmp_path})
    argv = [sys.executable, "-m", "loadtest", "bench", *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, cwd=ROOT, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "summary.json").read_text())
    figures = summary["bridge"]
    assert {"drain_msgs_per_s", "drain_us_per_msg", "steady_us_per_msg", "steady_p99_ms"} <= set(figures)
    assert [figures[key] for key in ("lost", "doubled", "out_of_order")] == [0, 0, 0]
    assert figures["drain_msgs_per_s"] > 0
    assert (summary["peers"], summary["not_measured"], summary["failures"]) == ({}, {}, {})
    assert summary["commit"]
    assert summary["machine"]["cores"] == os.cpu_count()


def test_a_program_that_loses_messages_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A strict measurement fails and counts the lost messages."""
    monkeypatch.setattr(bridge, "_ARRIVES_WITHIN_S", 4.0)  # the lost ones never arrive
    script = tmp_path / "loses.py"
    script.write_text(LOSES)

    def child(run: BenchRun, mqtt: str) -> Child:
        return Child("loses", [sys.executable, str(script), *mqtt.split(":"), run.edge], restart=False)

    run = BenchRun(Settings(**SMALL, run_dir=tmp_path / "run"))
    with run.stage("bridge"), pytest.raises(WorldDown, match=r"lost=[1-9]"):
        bridge.figures(run, child, ours=True)
