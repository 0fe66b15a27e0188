"""What a car sends: once where all is well, again after a loss, never forgotten before its PUBACK."""

from collections.abc import Iterator
from pathlib import Path

import mqtt5
import numpy as np
import pytest

from contract.framing import single_object_header
from contract.records import decode_single_object
from contract.schema import get
from contract.telemetry import SIGNALS, prefix
from simulator.journal import Identity, Journal, path_of
from simulator.metrics import WorkerCounts
from simulator.uplink import PACKET_IDS, CarClient, Uplink

K = len(SIGNALS)

RING = 12  # two thirds of it for what was acknowledged
KEPT = 8
SCHEMA = get("telemetry", 1)


class Road:
    """Two cars with their uplink, and what they put on the wire."""

    def __init__(self, run_dir: Path) -> None:
        identity = Identity(seed=1, first=0, cars=2, ring=RING, wear=0, epoch_ms=0)
        self.journal = Journal(path_of(run_dir, 0), identity)
        self.counts = WorkerCounts()
        self.cars = [CarClient(f"car-00000{i}", ("127.0.0.1", 1), None, index=i) for i in range(2)]
        heads = [single_object_header(SCHEMA) + prefix(SCHEMA, car.id) for car in self.cars]
        self.wire: list[tuple[str, int, bool]] = []  # car, seq, duplicate
        self.broken = False
        self.uplink = Uplink(self.cars, heads, self.journal, self.counts, self._send)
        self.now = 100.0

    def _send(self, car: CarClient, data: bytes) -> bool:
        if self.broken:
            car.online = False
            return False
        packet, _ = mqtt5.read(memoryview(data))
        assert isinstance(packet, mqtt5.PublishPacket)
        _, record = decode_single_object(packet.payload)
        assert packet.topic == f"fleet/v1/{record['car_id']}/telemetry"
        assert packet.packet_id == record["seq"] % PACKET_IDS + 1
        assert packet.qos == mqtt5.QoS.AT_LEAST_ONCE
        self.wire.append((car.id[-1], record["seq"], packet.duplicate))
        return True

    def connect(self, *, present: bool = False, window: int = 100, delivering: bool = True) -> None:
        for car in self.cars:
            car.online, car.window = True, window
            self.uplink.connected(car, session_present=present)
            car.delivering = delivering or present
        self.uplink.catch_up(self.now)

    def disconnect(self) -> None:
        for car in self.cars:
            car.online = False

    def sample(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += 1
            self.uplink.sample(slice(0, 2), 1_700_000_000_000, np.ones((2, K), np.float32), self.now)
            self.uplink.catch_up(self.now)

    def answer(self, seq: int, code: int = 0, car: int = 0) -> None:
        handle = self.uplink.refused if code else self.uplink.delivered
        handle(self.cars[car], seq % PACKET_IDS + 1, self.now)
        self.uplink.catch_up(self.now)

    def sent(self, car: str = "0") -> list[int]:
        return [seq for who, seq, _ in self.wire if who == car]


@pytest.fixture
def road(tmp_path: Path) -> Iterator[Road]:
    road = Road(tmp_path)
    yield road
    road.journal.close()


def test_a_sample_is_sent_at_once_and_only_once(road: Road) -> None:
    """Connected cars send each sample when it is taken, not marked as a duplicate."""
    road.connect()
    road.sample(3)
    assert road.sent() == road.sent("1") == [1, 2, 3]
    assert not any(duplicate for _, _, duplicate in road.wire)
    assert (road.counts.published, road.counts.resent) == (6, 0)


def test_pubacks_in_order_free_the_ring(road: Road) -> None:
    """Each PUBACK moves the car's mark by one and is counted once."""
    road.connect()
    road.sample(2)
    road.answer(1)
    assert road.journal.acknowledged.tolist() == [1, 0]
    road.answer(2)
    assert road.journal.acknowledged.tolist() == [2, 0]
    assert road.counts.acknowledged == 2
    assert road.uplink.unacknowledged == 2


def test_a_puback_out_of_order_waits_for_the_ones_before(road: Road) -> None:
    """2 and 3 are answered before 1: nothing is forgotten until 1 is answered too."""
    road.connect()
    road.sample(3)
    road.answer(3)
    road.answer(2)
    assert road.journal.acknowledged[0] == 0
    road.answer(1)
    assert road.journal.acknowledged[0] == 3
    assert road.counts.acknowledged == 3


def test_a_puback_of_nothing_is_counted_and_changes_nothing(road: Road) -> None:
    """An answer to a message that is not on its way is unexpected."""
    road.connect()
    road.sample()
    road.answer(1)
    for seq in (1, 2, 40_000):
        road.answer(seq)
    assert road.counts.unexpected == 3
    assert road.journal.acknowledged[0] == 1


def test_a_car_takes_its_first_sample_with_its_first_connection(road: Road) -> None:
    """During the ramp-up nothing piles up, and nothing counts as skipped."""
    road.sample(3)
    assert (road.counts.sampled, road.counts.skipped) == (0, 0)
    road.connect()
    assert road.sent() == []
    road.sample()
    assert road.sent() == [1]


def test_what_was_sampled_offline_is_sent_on_connecting(road: Road) -> None:
    """Samples of a car without a connection wait in its ring and go out first, in order, as new ones."""
    road.connect()
    road.disconnect()
    road.sample(3)
    assert road.wire == []
    road.connect()
    road.sample()
    assert road.sent() == [1, 2, 3, 4]
    assert not any(duplicate for _, _, duplicate in road.wire)


def test_a_kept_session_gets_only_the_unacknowledged_again_as_duplicates(road: Road) -> None:
    """After a broken connection: what was sent and not acknowledged is marked DUP."""
    road.connect()
    road.sample(3)
    road.answer(1)
    road.disconnect()
    road.sample()
    road.wire.clear()
    road.connect(present=True)
    assert [(seq, dup) for who, seq, dup in road.wire if who == "0"] == [(2, True), (3, True), (4, False)]
    assert (road.counts.published, road.counts.resent) == (8, 2 + 3)


def test_until_somebody_takes_its_messages_a_car_sends_one_at_a_time(road: Road) -> None:
    """A broker without its subscriber refuses; of several messages it could hand on the second alone."""
    road.connect(delivering=False)
    road.sample(4)
    assert road.sent() == [1]
    road.answer(1, code=0x10)
    road.now += 10
    road.sample()
    assert road.sent() == [1, 1]
    road.answer(1)
    assert road.sent() == [1, 1, 2, 3, 4]  # a full ring took no fifth


def test_a_lost_session_gets_the_last_seconds_again(road: Road) -> None:
    """The broker forgot the car: acknowledged samples go out again too, as far as its buffer reaches."""
    road.connect()
    for seq in range(1, 11):
        road.sample()
        road.answer(seq)
    road.wire.clear()
    road.connect(present=False)
    assert road.sent() == list(range(11 - KEPT, 11))
    assert not any(duplicate for _, _, duplicate in road.wire)
    assert road.counts.sessions_lost == 1
    for seq in range(11 - KEPT, 11):
        road.answer(seq)
    assert road.counts.acknowledged == 10  # each counted once
    assert road.journal.confirmed[0] == 10


def test_what_a_dead_broker_took_along_outlives_any_outage(road: Road) -> None:
    """However long the broker is away, new samples never take the place of those it may have lost."""
    road.connect()
    for seq in range(1, 11):
        road.sample()
        road.answer(seq)
    road.disconnect()
    road.sample(5 * RING)
    for answers in ((3, 4), ()):  # the second time it dies while they are sent again
        road.wire.clear()
        road.connect(present=False)
        assert road.sent() == list(range(11 - KEPT, 11 + RING - KEPT))
        for seq in answers:
            road.answer(seq)


def test_a_lost_session_forgets_what_was_acknowledged_out_of_order(road: Road) -> None:
    """2 was acknowledged and 1 was not when the broker died: both go out again, also on a car's first day."""
    road.connect()
    road.sample(2)
    road.answer(2)
    road.wire.clear()
    road.connect(present=False)
    assert road.sent() == [1, 2]


def test_a_refused_message_is_sent_again_after_a_wait(road: Road) -> None:
    """A PUBACK with an error: silence, then everything unacknowledged again; later answers are kept."""
    road.connect()
    road.sample(3)
    road.wire.clear()
    road.answer(1, code=0x97)  # quota exceeded
    road.answer(2)
    road.answer(3)
    assert road.journal.acknowledged[0] == 0
    assert road.sent() == []
    road.now += 10
    road.uplink.catch_up(road.now)
    assert road.sent() == [1]
    road.answer(1)
    assert road.journal.acknowledged[0] == 3
    assert road.counts.refused == 1


def test_no_matching_subscriber_means_not_delivered(road: Road) -> None:
    """A success for MQTT, but the message is gone: it stays in the ring and is sent again."""
    road.connect()
    road.sample()
    road.answer(1, code=0x10)
    assert road.journal.acknowledged[0] == 0
    road.sample()
    assert road.sent() == [1]  # silent meanwhile
    road.now += 10
    road.uplink.catch_up(road.now)
    assert road.sent() == [1, 1]
    road.answer(1)
    assert road.sent() == [1, 1, 2]


def test_a_broker_gets_no_more_than_it_takes_at_once(road: Road) -> None:
    """With a receive maximum of 2 the third message waits for a PUBACK."""
    road.connect(window=2)
    road.sample(4)
    assert road.sent() == [1, 2]
    road.answer(1)
    assert road.sent() == [1, 2, 3]
    road.answer(2)
    road.answer(3)
    assert road.sent() == [1, 2, 3, 4]


def test_a_full_ring_skips_samples_and_leaves_no_gap(road: Road) -> None:
    """Nothing acknowledged: sampling stops at the ring's size, is counted, and goes on without a gap."""
    road.connect()
    road.sample(RING - KEPT + 3)
    assert road.sent() == list(range(1, RING - KEPT + 1))
    assert road.counts.skipped == 2 * 3
    road.answer(1)
    road.sample()
    assert road.sent() == list(range(1, RING - KEPT + 2))


def test_a_connection_that_breaks_while_sending_loses_nothing(road: Road) -> None:
    """The send fails: the sample stays in the ring and goes out on the next connection."""
    road.connect()
    road.broken = True
    road.sample(2)
    road.broken = False
    road.connect(present=True)
    assert road.sent() == [1, 2]
    assert road.journal.acknowledged.tolist() == [0, 0]


def test_a_restarted_process_sends_the_same_bytes_again(tmp_path: Path) -> None:
    """Unacknowledged samples of a killed process go out with the same seq and payload, marked DUP."""
    first = Road(tmp_path)
    payloads: list[bytes] = []

    def keep(car: CarClient, data: bytes) -> bool:
        packet, _ = mqtt5.read(memoryview(data))
        assert isinstance(packet, mqtt5.PublishPacket)
        payloads.append(packet.payload)
        return True

    first.uplink._send = keep  # type: ignore[assignment]
    first.connect()
    first.sample(3)
    first.journal.close()  # as the kernel does for a killed process
    second = Road(tmp_path)
    second.uplink._send = keep  # type: ignore[assignment]
    second.connect(present=True)
    assert sorted(payloads[6:]) == sorted(payloads[:6])
    second.uplink._send = second._send  # type: ignore[assignment]
    second.sample()
    assert second.sent() == [4]
    second.journal.close()


def test_silent_brokers_are_found(road: Road) -> None:
    """A car that waits for an answer and has heard nothing for too long is overdue; an idle one is not."""
    road.connect()
    for car in road.cars:
        car.heard_at = road.now
    road.sample()
    road.answer(1, car=1)
    assert list(road.uplink.overdue(road.now + 5, 20)) == []
    assert list(road.uplink.overdue(road.now + 30, 20)) == [road.cars[0]]


def test_packet_ids_wrap_without_confusion(road: Road) -> None:
    """Around seq 65535 the packet id begins again; answers still find their seq."""
    for counts in (road.journal.sampled, road.journal.acknowledged, road.journal.confirmed):
        counts[:] = PACKET_IDS - 2
    road.connect(present=True)
    road.sample(4)
    for seq in range(PACKET_IDS - 1, PACKET_IDS + 3):
        road.answer(seq)
    assert road.journal.acknowledged[0] == PACKET_IDS + 2
