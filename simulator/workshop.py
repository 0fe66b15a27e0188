"""The workshop: sends a report for every failed or repaired component until it is acknowledged."""

from collections.abc import Callable

import mqtt5
import numpy as np

from contract.records import body, single_object_header
from contract.schema import get
from contract.topics import MAINTENANCE, mqtt_topic
from simulator.connections import Client
from simulator.faults import FaultPlan
from simulator.journal import Journal
from simulator.metrics import WorkerCounts
from simulator.uplink import PACKET_IDS, REFUSED_WAIT_S

_SCHEMA = get(MAINTENANCE, 1)  # says all that this workshop knows
_HEADER = single_object_header(_SCHEMA)


class Workshop(Client):
    """The client of a worker that reports about the worker's cars, one report at a time."""

    def __init__(
        self, broker: tuple[str, int], plan: FaultPlan, journal: Journal, counts: WorkerCounts
    ) -> None:
        super().__init__(f"workshop-{journal.identity.first:06d}", broker, None)
        self._plan, self._journal, self._counts = plan, journal, counts
        self._in_flight = 0  # packet id of the report on its way; 0: none
        self._resumed = False  # the broker kept the session: the next report may be a duplicate
        self._retry_s = 0.0  # second of the run before which nothing is sent after a refusal

    def connected(self, *, session_present: bool, now_s: float, resend_s: float) -> None:
        """Continue on a new connection; resend the reports of the last resend_s if the session was lost."""
        self._in_flight, self._retry_s = 0, 0.0
        self._resumed = session_present
        if not session_present:
            before = np.searchsorted(self._plan.reported_s, now_s - resend_s, side="right")
            self._journal.reports[0] = min(before, self._journal.reports[0])

    def send_due(self, now_s: float, send: Callable[[Client, bytes], bool]) -> None:
        """Send the next report if it is due at second now_s of the run."""
        number = int(self._journal.reports[0])
        due_s = max(self._plan.reported_s[number], self._retry_s)
        if not self.online or self._in_flight or now_s < due_s:
            return
        packet_id = number % PACKET_IDS + 1
        report = self._plan.report(number, self._journal.identity.epoch_ms)
        packet = mqtt5.PublishPacket(
            mqtt_topic(report["car_id"], MAINTENANCE),
            _HEADER + body(_SCHEMA, report),
            qos=mqtt5.QoS.AT_LEAST_ONCE,
            packet_id=packet_id,
            duplicate=self._resumed,
        )
        if send(self, packet.write()):
            self._in_flight = packet_id
            self._resumed = False

    def answered(self, packet_id: int, now_s: float, *, delivered: bool) -> None:
        """Handle a PUBACK: go on to the next report, or resend this one later if it was not delivered."""
        if packet_id != self._in_flight:
            self._counts.unexpected += 1
            return
        self._in_flight = 0
        if delivered:
            self._journal.reports[0] += 1
            self._counts.reports += 1
        else:
            self._retry_s = now_s + REFUSED_WAIT_S
            self._counts.refused += 1
