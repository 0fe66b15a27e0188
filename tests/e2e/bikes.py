"""Delivery e-bikes: vehicles with a schema of their own (k8s/components/own-schema), published by paho.

Nothing of the fleet's simulator and codec is in here: physics of four lines, Avro by fastavro.
"""

import io
import json
import time
from pathlib import Path
from typing import Any

import fastavro
import numpy as np
import paho.mqtt.client as paho
from fastavro.schema import fingerprint, to_parsing_canonical_form
from numpy.typing import NDArray
from paho.mqtt.enums import CallbackAPIVersion

SCHEMAS = Path(__file__).parents[2] / "k8s/components/own-schema"
SIGNALS = ("speed", "motor_current", "motor_temp", "battery_voltage", "fork_vibration", "tire_pressure")
INTERVAL_S = 60.0
AMBIENT_C, HOTTER_K = 15.0, 25.0
_RIDDEN_BEFORE = 100  # so that no motor begins cold
_UNACKNOWLEDGED_MAX = 2_000
_ACKNOWLEDGED_WITHIN_S = 60.0
_NOISE = np.array([0.1, 0.2, 0.3, 0.05, 0.05, 0.02])

Floats = NDArray[np.float64]


class Bikes:
    """n bikes; each call of `step` is a sample of every one."""

    def __init__(self, count: int, seed: int) -> None:
        self.ids = [f"bike-{number:04d}" for number in range(count)]
        self._chance = np.random.default_rng(seed)
        self._bias = self._chance.normal(0, [0.1, 0.3, 4.0, 0.6, 0.25, 0.3], (count, 6))
        self._pace, self._climb, self._heat = np.zeros((3, count))
        self._charge = np.full(count, 0.7)
        for _ in range(_RIDDEN_BEFORE):
            self.step()

    def step(self, hot: slice = slice(0)) -> Floats:
        """(n, 6) of SIGNALS; the motors of the bikes `hot` are hotter, as with a worn bearing."""
        count = len(self.ids)
        self._pace += -0.1 * self._pace + self._chance.normal(0, 0.8, count)
        self._climb += -0.05 * self._climb + self._chance.normal(0, 0.6, count)
        speed = np.clip(5 + self._pace, 0, 9)
        current = np.clip(1 + 0.9 * speed + self._climb, 0, 18)
        self._heat += 0.05 * (0.25 * current**2 - self._heat)
        # Riders plug in whenever they wait: the charge comes and goes around the same middle.
        self._charge += 0.05 * (0.7 - self._charge) + self._chance.normal(0, 0.02, count)
        voltage = 33 + 8 * self._charge - 0.12 * current
        true = np.stack(
            [speed, current, AMBIENT_C + self._heat, voltage, 0.3 + 0.35 * speed, np.full(count, 4.2)], 1
        )
        true[hot, 2] += HOTTER_K
        return np.asarray(true + self._bias + self._chance.normal(0, _NOISE, (count, 6)))


class Gateway:
    """Publishes what the bikes say, at QoS 1, and waits until the broker has taken it."""

    def __init__(self, bikes: Bikes, port: int, begin_s: float) -> None:
        self.bikes = bikes
        self.sent = 0  # of each bike
        self._acknowledged = 0
        self._begin_ms = int(begin_s * 1000)
        definition = json.loads((SCHEMAS / "telemetry.v1.avsc").read_text())
        crc = fingerprint(to_parsing_canonical_form(definition), "CRC-64-AVRO")
        self._header, self._schema = b"\xc3\x01" + bytes.fromhex(crc), fastavro.parse_schema(definition)
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "bikes", protocol=paho.MQTTv5)
        self._client.max_inflight_messages_set(_UNACKNOWLEDGED_MAX)
        self._client.on_publish = self._on_publish
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def _on_publish(self, *_: Any) -> None:
        self._acknowledged += 1

    def ride(self, samples: int, hot: slice = slice(0)) -> None:
        """So many samples of every bike; returns when the broker has them all."""
        for _ in range(samples):
            self.sent += 1
            signals = self.bikes.step(hot)
            for bike_id, row in zip(self.bikes.ids, signals.tolist(), strict=True):
                self._client.publish(f"fleet/v1/{bike_id}/telemetry", self._payload(bike_id, row), qos=1)
            self._wait(_UNACKNOWLEDGED_MAX)
        self._wait(0)

    def _wait(self, unacknowledged: int) -> None:
        deadline = time.monotonic() + _ACKNOWLEDGED_WITHIN_S
        while self.sent * len(self.bikes.ids) - self._acknowledged > unacknowledged:
            assert time.monotonic() < deadline, "the broker does not acknowledge"
            time.sleep(0.005)

    def sampled_at_ms(self, seq: int) -> int:
        """Since 1970."""
        return self._begin_ms + int(1000 * INTERVAL_S) * seq

    def _payload(self, bike_id: str, row: list[float]) -> bytes:
        times = {"seq": self.sent, "sampled_at": self.sampled_at_ms(self.sent)}
        record = {"car_id": bike_id} | times | dict(zip(SIGNALS, row, strict=True))
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self._schema, record)
        return self._header + out.getvalue()

    def read(self, value: bytes) -> tuple[int, str, int]:
        """(schema id in the frame, bike, seq) of a value in Kafka; all of its bytes must be the record."""
        assert value[0] == 0
        source = io.BytesIO(value[5:])
        record: Any = fastavro.schemaless_reader(source, self._schema, None)
        assert source.tell() == len(value) - 5
        return int.from_bytes(value[1:5], "big"), record["car_id"], record["seq"]

    def close(self) -> None:
        """Ends the connection."""
        self._client.disconnect()
        self._client.loop_stop()
