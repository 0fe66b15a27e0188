"""The demo's workshop: cars with an alert come in, and where nothing is broken it reports just that.

The simulator's workshop reports failures and repairs. So this one is silent about cars that are faulty.
"""

import hashlib
import time
from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from contract.maintenance import REPAIRED
from contract.records import body, single_object_header
from contract.schema import get
from contract.topics import MAINTENANCE, mqtt_topic

# Cars that are called in, and reports without a PUBACK: fewer than the 65 535 packet ids of MQTT.
WAITING_MAX = 10_000
_DRAIN_S, _LOOK_EVERY_S = 2.0, 0.02
_AGAIN_S = 1.0
_RECONNECT_S_MAX = 4
_SCHEMA = get(MAINTENANCE, 2)

_Report = dict[str, Any]


def connected(host: str, port: int) -> paho.Client:
    """A client that connects, again and again, in a thread of its own; what is published meanwhile waits."""
    client = paho.Client(CallbackAPIVersion.VERSION2, "demo-workshop", protocol=paho.MQTTv5)
    client.reconnect_delay_set(1, _RECONNECT_S_MAX)
    client.connect_async(host, port)
    client.loop_start()
    return client


class Workshop:
    """Inspects a share of the cars that have an alert. No method but `close` waits for anything."""

    def __init__(
        self,
        faults: Iterable[Mapping[str, Any]],
        client: paho.Client,
        *,
        delay_s: float,
        share: float = 0.3,
        seed: int = 1,
    ) -> None:
        """`faults`: all of the fleet (Deployment.truth). A car is inspected `delay_s` after its alert.

        `seed` and its id decide whether a car comes: a `share` of the cars with all their alerts, or never.
        """
        self.reports = 0  # that are or were on their way
        self.acknowledged = 0  # of these: the broker has handed them on
        self.left_out = 0  # alerts beyond WAITING_MAX
        self._delay_s, self._share, self._seed = delay_s, share, seed
        # By car: (onset, repair) of each fault, ms since 1970.
        self._faults: dict[str, list[tuple[float, float]]] = defaultdict(list)
        for fault in faults:
            self._faults[fault["car_id"]].append((fault["onset_at"], fault["repaired_at"]))
        # Times are s since 1970.
        self._called: dict[str, tuple[float, Mapping[str, Any]]] = {}  # by alert id: (due, alert)
        self._to_send = deque[tuple[float, _Report]]()  # (not before, report)
        self._sent: dict[int, _Report] = {}  # by packet id
        self._answers = deque[tuple[int, bool]]()  # (packet id, handed on), from the client's thread
        self._client = client
        client.on_publish = self._on_publish

    def take(self, alert: Mapping[str, Any], now_s: float) -> None:
        """Take one record of topic `alerts` at now_s, s since 1970; a later call has a later time."""
        alert_id = alert["alert_id"]
        if alert["action"] != "opened" or alert_id in self._called or not self._comes(alert["car_id"]):
            return
        if len(self._called) + len(self._to_send) + len(self._sent) >= WAITING_MAX:
            self.left_out += 1
            return
        self._called[alert_id] = (now_s + self._delay_s, alert)

    def tick(self, now_s: float) -> None:
        """Inspect the cars that are due at now_s, s since 1970, and send the reports; call it often."""
        while self._called:
            alert_id, (due_s, alert) = next(iter(self._called.items()))
            if due_s > now_s:
                break
            del self._called[alert_id]
            if not self._is_faulty(alert, now_ms := round(1000 * now_s)):
                self.reports += 1
                self._to_send.append((now_s, _nothing_found(alert, now_ms)))
        self._send(now_s)

    def close(self) -> None:
        """Wait, at most _DRAIN_S, until all reports are acknowledged, and disconnect."""
        deadline = time.monotonic() + _DRAIN_S
        while (self._to_send or self._sent) and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)
            self._send(time.time())
        self._client.disconnect()
        self._client.loop_stop()

    def _comes(self, car_id: str) -> bool:
        drawn = hashlib.blake2b(f"{self._seed} {car_id}".encode(), digest_size=8).digest()
        return int.from_bytes(drawn, "big") < self._share * 2**64

    def _is_faulty(self, alert: Mapping[str, Any], now_ms: int) -> bool:
        """Whether the car had a fault at any time since its alert opened."""
        faults = self._faults.get(alert["car_id"], ())
        return any(onset <= now_ms and alert["opened_at"] <= repaired for onset, repaired in faults)

    def _send(self, now_s: float) -> None:
        while self._answers:
            packet_id, handed_on = self._answers.popleft()
            report = self._sent.pop(packet_id)
            if handed_on:
                self.acknowledged += 1
            else:  # the bridge had not subscribed: the broker has dropped the report
                self._to_send.append((now_s + _AGAIN_S, report))
        while self._to_send and self._to_send[0][0] <= now_s:
            _, report = self._to_send.popleft()
            payload = single_object_header(_SCHEMA) + body(_SCHEMA, report)
            # Without a connection the client keeps the message, and sends it later.
            sent = self._client.publish(mqtt_topic(report["car_id"], MAINTENANCE), payload, qos=1)
            self._sent[sent.mid] = report

    def _on_publish(self, client: Any, userdata: Any, mid: int, reason_code: Any, properties: Any) -> None:
        self._answers.append((mid, reason_code == 0))


def _nothing_found(alert: Mapping[str, Any], now_ms: int) -> _Report:
    return {
        "car_id": alert["car_id"],
        "report_id": f"{alert['alert_id']}-inspected",
        "component": alert["component"],
        "action": REPAIRED,
        "occurred_at": now_ms,
        "reported_at": now_ms,
        "inspected": True,
        "alert_id": alert["alert_id"],
    }
