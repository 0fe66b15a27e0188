"""The workshop sends each report when it is due, in order, until acknowledged, also over restarts."""

from collections.abc import Iterator
from pathlib import Path

import mqtt5
import numpy as np
import pytest

from simulator import chance
from simulator.connections import Client
from simulator.faults import FaultPlan
from simulator.journal import Identity, Journal, path_of
from simulator.metrics import WorkerCounts
from simulator.scenario import Scenario
from simulator.workshop import Workshop
from tests.payloads import read_payload

EPOCH_MS = 1_700_000_000_000
PLAN = FaultPlan(chance.keys(1, 0, 50), 0, Scenario(faulty_share=0.5, ageing=1000))
FIRST, SECOND = PLAN.report(0, EPOCH_MS), PLAN.report(1, EPOCH_MS)
FIRST_S, SECOND_S = PLAN.reported_s[:2].tolist()


class WorkshopOnWire:
    """A workshop and the messages that it sent."""

    def __init__(self, run_dir: Path) -> None:
        identity = Identity(seed=1, first=0, cars=50, ring=4, scenario=0, epoch_ms=EPOCH_MS)
        self.journal = Journal(path_of(run_dir, 0), identity)
        self.counts = WorkerCounts()
        self.workshop = Workshop(("127.0.0.1", 1), PLAN, self.journal, self.counts)
        self.wire: list[mqtt5.PublishPacket] = []

    def _send(self, client: Client, data: bytes) -> bool:
        packet, _ = mqtt5.read(memoryview(data))
        assert isinstance(packet, mqtt5.PublishPacket)
        self.wire.append(packet)
        return True

    def connect(self, now_s: float = 0.0, *, present: bool = False) -> None:
        self.workshop.online = True
        self.workshop.connected(session_present=present, now_s=now_s, resend_s=60.0)

    def send_due(self, now_s: float) -> None:
        self.workshop.send_due(now_s, self._send)

    def answer(self, now_s: float, code: int = 0) -> None:
        packet_id = self.wire[-1].packet_id
        assert packet_id is not None
        self.workshop.answered(packet_id, now_s, delivered=not code)

    def report_ids(self) -> list[str]:
        return [read_payload(packet.payload)[1]["report_id"] for packet in self.wire]


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[WorkshopOnWire]:
    workshop = WorkshopOnWire(tmp_path)
    yield workshop
    workshop.journal.close()


def test_a_report_names_car_component_action_and_times(workshop: WorkshopOnWire) -> None:
    """It is sent on the maintenance topic of the car, with times in ms since 1970."""
    workshop.connect()
    workshop.send_due(FIRST_S + 0.1)
    schema, record = read_payload(workshop.wire[0].payload)
    assert schema.name == "maintenance"
    assert workshop.wire[0].topic == f"fleet/v1/{record['car_id']}/maintenance"
    incident = int(np.argmin(PLAN.failed_s))
    assert record["car_id"] == f"car-{PLAN.car[incident]:06d}"
    assert record["component"] == PLAN.component(incident)
    assert record["action"] == "failed"
    assert record["occurred_at"] == EPOCH_MS + round(1000 * PLAN.failed_s[incident])
    assert record["reported_at"] == EPOCH_MS + round(1000 * FIRST_S)


def test_no_report_is_sent_before_it_is_due(workshop: WorkshopOnWire) -> None:
    """The workshop reports with a delay; until then nothing is sent."""
    workshop.connect()
    workshop.send_due(FIRST_S - 0.1)
    assert workshop.wire == []


def test_reports_are_sent_one_after_the_other(workshop: WorkshopOnWire) -> None:
    """The second report waits for the PUBACK of the first one, however late it is."""
    workshop.connect()
    for _ in range(3):
        workshop.send_due(SECOND_S + 1)
    assert workshop.report_ids() == [FIRST["report_id"]]
    workshop.answer(SECOND_S + 1)
    workshop.send_due(SECOND_S + 1)
    assert workshop.report_ids() == [FIRST["report_id"], SECOND["report_id"]]


def test_an_unacknowledged_report_is_sent_again_after_a_reconnect(workshop: WorkshopOnWire) -> None:
    """It is marked DUP if the broker kept the session."""
    workshop.connect()
    workshop.send_due(FIRST_S + 0.1)
    workshop.connect(present=True)
    workshop.send_due(FIRST_S + 0.2)
    assert workshop.report_ids() == [FIRST["report_id"]] * 2
    assert [packet.duplicate for packet in workshop.wire] == [False, True]


def test_a_restart_neither_loses_nor_doubles_reports(tmp_path: Path) -> None:
    """The journal stores how many were acknowledged; the next process continues after them."""
    before = WorkshopOnWire(tmp_path)
    before.connect()
    before.send_due(SECOND_S + 1)
    before.answer(SECOND_S + 1)
    before.journal.close()
    after = WorkshopOnWire(tmp_path)
    after.connect(present=True)
    after.send_due(SECOND_S + 2)
    assert after.report_ids() == [SECOND["report_id"]]
    after.journal.close()


def test_a_refused_report_is_sent_again_later(workshop: WorkshopOnWire) -> None:
    """Without a subscriber the same report is sent again after a pause."""
    workshop.connect()
    now_s = FIRST_S + 0.1
    workshop.send_due(now_s)
    workshop.answer(now_s, code=0x10)
    workshop.send_due(now_s + 0.1)
    assert len(workshop.wire) == 1
    workshop.send_due(now_s + 5)
    assert workshop.report_ids() == [FIRST["report_id"]] * 2
    assert workshop.counts.refused == 1


def test_after_a_lost_session_the_last_reports_are_sent_again(workshop: WorkshopOnWire) -> None:
    """Reports of the last minute may have been lost with the broker; older ones were not."""
    workshop.connect()
    now_s = SECOND_S + 1
    for _ in range(2):
        workshop.send_due(now_s)
        workshop.answer(now_s)
    assert workshop.journal.reports[0] == 2
    workshop.connect(now_s=SECOND_S + 50, present=False)
    assert workshop.journal.reports[0] < 2
    workshop.journal.reports[0] = 2
    workshop.connect(now_s=SECOND_S + 100, present=False)
    assert workshop.journal.reports[0] == 2


def test_after_the_last_report_nothing_is_sent(workshop: WorkshopOnWire) -> None:
    """The end of the plan is not an error."""
    workshop.journal.reports[0] = 2 * len(PLAN.car)
    workshop.connect(now_s=1e9, present=True)
    workshop.send_due(1e9)
    assert workshop.wire == []
