"""The workshop: tells which component of which car failed or was repaired, each until acknowledged."""

import math
from collections.abc import Callable

import mqtt5

from contract.framing import single_object_header
from contract.records import body
from contract.schema import latest
from contract.topics import MAINTENANCE, mqtt_topic
from simulator.cars import car_id
from simulator.connections import Client
from simulator.faults import FaultPlan, WorkshopReport
from simulator.journal import Journal
from simulator.metrics import Tally
from simulator.uplink import PACKET_IDS, REFUSED_WAIT_S

_SCHEMA = latest(MAINTENANCE)
_HEADER = single_object_header(_SCHEMA)


class Workshop(Client):
    """One connection a worker, for the reports about its cars; one report is on its way at a time."""

    __slots__ = ("_again", "_due_s", "_epoch_ms", "_journal", "_plan", "_tally", "_under_way")

    def __init__(
        self,
        address: tuple[str, int],
        source: str | None,
        plan: FaultPlan,
        journal: Journal,
        tally: Tally,
    ) -> None:
        super().__init__(f"workshop-{journal.identity.first:06d}", address, source)
        self._plan, self._journal, self._tally = plan, journal, tally
        self._epoch_ms = journal.identity.epoch_ms
        self._under_way: int | None = None
        self._again = False
        self._due_s = 0.0  # before it nothing is to be told

    def session(self, *, present: bool, now_s: float, resend_s: float) -> None:
        """Connected. Where the broker lost the session, the reports of the last resend_s are told again."""
        self._under_way, self._due_s = None, 0.0
        self._again = present
        count = self._journal.reports_acknowledged
        while not present and count and self._plan.report(count - 1).reported_s > now_s - resend_s:
            count -= 1
        self._journal.reports_acknowledged = count

    def tell(self, now_s: float, send: Callable[[Client, bytes], bool]) -> None:
        """Send the next report where one is due. now_s: second of the run."""
        if not self.online or self._under_way is not None or now_s < self._due_s:
            return
        number = self._journal.reports_acknowledged
        if number >= len(self._plan.reported_s):
            self._due_s = math.inf
            return
        report = self._plan.report(number)
        if report.reported_s > now_s:
            self._due_s = report.reported_s
            return
        packet = mqtt5.PublishPacket(
            mqtt_topic(car_id(report.car), MAINTENANCE),
            payload(report, self._epoch_ms),
            qos=mqtt5.QoS.AT_LEAST_ONCE,
            packet_id=number % PACKET_IDS + 1,
            duplicate=self._again,
        )
        if send(self, packet.write()):
            self._under_way = number
            self._again = False

    def answered(self, packet_id: int, now_s: float, *, kept: bool) -> None:
        """The broker answers: on to the next report, or a while later this one again."""
        number, self._under_way = self._under_way, None
        if number is None or packet_id != number % PACKET_IDS + 1:
            self._under_way = number
            self._tally.unexpected += 1
        elif not kept:
            self._due_s = now_s + REFUSED_WAIT_S
            self._tally.refused += 1
        else:
            self._journal.reports_acknowledged = number + 1
            self._tally.reports += 1


def payload(report: WorkshopReport, epoch_ms: int) -> bytes:
    """The report as it travels on MQTT."""
    record = {
        "car_id": car_id(report.car),
        "report_id": report.report_id,
        "component": report.component,
        "action": report.action,
        "occurred_at": epoch_ms + round(1000 * report.occurred_s),
        "reported_at": epoch_ms + round(1000 * report.reported_s),
    }
    return _HEADER + body(_SCHEMA, record)
