"""The workshop's reports: each told once it is due, in order, until acknowledged, over restarts too."""

from collections.abc import Iterator
from pathlib import Path

import mqtt5
import pytest

from contract.records import decode_single_object
from simulator import chance
from simulator.connections import Client
from simulator.faults import FaultPlan, Wear
from simulator.journal import Identity, Journal, path_of
from simulator.metrics import WorkerCounts
from simulator.workshop import Workshop

EPOCH_MS = 1_700_000_000_000
PLAN = FaultPlan(chance.keys(1, 0, 50), 0, Wear(share=0.5, ageing=1000))
FIRST, SECOND = PLAN.report(0), PLAN.report(1)


class Town:
    """A workshop, and what it put on the wire."""

    def __init__(self, run_dir: Path) -> None:
        identity = Identity(seed=1, first=0, cars=50, ring=4, wear=0, epoch_ms=EPOCH_MS)
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
        return [decode_single_object(packet.payload)[1]["report_id"] for packet in self.wire]


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    town = Town(tmp_path)
    yield town
    town.journal.close()


def test_a_report_says_what_happened_to_which_car(town: Town) -> None:
    """It travels on the car's maintenance topic, with times in ms since 1970."""
    town.connect()
    town.send_due(FIRST.reported_s + 0.1)
    schema, record = decode_single_object(town.wire[0].payload)
    assert schema.name == "maintenance"
    assert town.wire[0].topic == f"fleet/v1/{record['car_id']}/maintenance"
    assert record["car_id"] == f"car-{FIRST.car:06d}"
    assert record["component"] == FIRST.component
    assert record["action"] == "failed"
    assert record["occurred_at"] == EPOCH_MS + round(1000 * FIRST.occurred_s)
    assert record["reported_at"] == EPOCH_MS + round(1000 * FIRST.reported_s)


def test_nothing_is_told_before_it_is_due(town: Town) -> None:
    """The workshop reports with a delay; until then nobody hears of it."""
    town.connect()
    town.send_due(FIRST.reported_s - 0.1)
    assert town.wire == []


def test_reports_are_told_one_after_the_other(town: Town) -> None:
    """The second one waits for the PUBACK of the first, however late it is."""
    town.connect()
    for _ in range(3):
        town.send_due(SECOND.reported_s + 1)
    assert town.report_ids() == [FIRST.report_id]
    town.answer(SECOND.reported_s + 1)
    town.send_due(SECOND.reported_s + 1)
    assert town.report_ids() == [FIRST.report_id, SECOND.report_id]


def test_an_unanswered_report_is_told_again_after_a_reconnect(town: Town) -> None:
    """Marked DUP where the broker kept the session."""
    town.connect()
    town.send_due(FIRST.reported_s + 0.1)
    town.connect(present=True)
    town.send_due(FIRST.reported_s + 0.2)
    assert town.report_ids() == [FIRST.report_id] * 2
    assert [packet.duplicate for packet in town.wire] == [False, True]


def test_a_restart_neither_loses_nor_doubles_reports(tmp_path: Path) -> None:
    """The journal knows what was acknowledged: the next process goes on after it."""
    before = Town(tmp_path)
    before.connect()
    before.send_due(SECOND.reported_s + 1)
    before.answer(SECOND.reported_s + 1)
    before.journal.close()
    after = Town(tmp_path)
    after.connect(present=True)
    after.send_due(SECOND.reported_s + 2)
    assert after.report_ids() == [SECOND.report_id]
    after.journal.close()


def test_a_refused_report_is_told_again_later(town: Town) -> None:
    """No subscriber yet: the same report after a wait."""
    town.connect()
    now_s = FIRST.reported_s + 0.1
    town.send_due(now_s)
    town.answer(now_s, code=0x10)
    town.send_due(now_s + 0.1)
    assert len(town.wire) == 1
    town.send_due(now_s + 5)
    assert town.report_ids() == [FIRST.report_id] * 2
    assert town.counts.refused == 1


def test_a_lost_session_gets_the_last_reports_again(town: Town) -> None:
    """What was told within the last minute may have been lost with the broker; what is older was not."""
    town.connect()
    now_s = SECOND.reported_s + 1
    for _ in range(2):
        town.send_due(now_s)
        town.answer(now_s)
    assert town.journal.reports_acknowledged == 2
    town.connect(now_s=SECOND.reported_s + 50, present=False)
    assert town.journal.reports_acknowledged < 2
    town.journal.reports_acknowledged = 2
    town.connect(now_s=SECOND.reported_s + 100, present=False)
    assert town.journal.reports_acknowledged == 2


def test_the_end_of_the_plan_is_no_error(town: Town) -> None:
    """After the last report there is nothing more to tell."""
    town.journal.reports_acknowledged = len(PLAN.reported_s)
    town.connect(now_s=1e9, present=True)
    town.send_due(1e9)
    assert town.wire == []
