"""What a car sends: each sample once, again after a loss, and kept until its PUBACK."""

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

RING = 12
ACKNOWLEDGED_KEPT = 8  # two thirds of the ring
SCHEMA = get("telemetry", 1)


class TwoCars:
    """Two cars with their uplink, and the messages that they sent."""

    def __init__(self, run_dir: Path) -> None:
        identity = Identity(seed=1, first=0, cars=2, ring=RING, wear=0, epoch_ms=0)
        self.journal = Journal(path_of(run_dir, 0), identity)
        self.counts = WorkerCounts()
        self.cars = [CarClient(f"car-00000{i}", ("127.0.0.1", 1), None, index=i) for i in range(2)]
        prefixes = [single_object_header(SCHEMA) + prefix(SCHEMA, car.id) for car in self.cars]
        self.wire: list[tuple[str, int, bool]] = []  # car, seq, duplicate
        self.broken = False
        count = len(SCHEMA.names("float"))
        self.uplink = Uplink(self.cars, prefixes, self.journal, self.counts, self._send, signal_count=count)
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
        return [seq for sender, seq, _ in self.wire if sender == car]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[TwoCars]:
    fleet = TwoCars(tmp_path)
    yield fleet
    fleet.journal.close()


def test_a_sample_is_sent_at_once_and_only_once(fleet: TwoCars) -> None:
    """Connected cars send each sample when it is taken, without the DUP mark."""
    fleet.connect()
    fleet.sample(3)
    assert fleet.sent() == fleet.sent("1") == [1, 2, 3]
    assert not any(duplicate for _, _, duplicate in fleet.wire)
    assert (fleet.counts.published, fleet.counts.resent) == (6, 0)


def test_pubacks_in_order_free_the_ring(fleet: TwoCars) -> None:
    """Each PUBACK advances the car by one sample and is counted once."""
    fleet.connect()
    fleet.sample(2)
    fleet.answer(1)
    assert fleet.journal.acknowledged.tolist() == [1, 0]
    fleet.answer(2)
    assert fleet.journal.acknowledged.tolist() == [2, 0]
    assert fleet.counts.acknowledged == 2
    assert fleet.uplink.unacknowledged == 2


def test_a_puback_out_of_order_waits_for_the_ones_before(fleet: TwoCars) -> None:
    """If 2 and 3 are acknowledged before 1, nothing counts as acknowledged until 1 is too."""
    fleet.connect()
    fleet.sample(3)
    fleet.answer(3)
    fleet.answer(2)
    assert fleet.journal.acknowledged[0] == 0
    fleet.answer(1)
    assert fleet.journal.acknowledged[0] == 3
    assert fleet.counts.acknowledged == 3


def test_an_unexpected_puback_is_counted_and_changes_nothing(fleet: TwoCars) -> None:
    """A PUBACK for a message that is not in flight is counted as unexpected."""
    fleet.connect()
    fleet.sample()
    fleet.answer(1)
    for seq in (1, 2, 40_000):
        fleet.answer(seq)
    assert fleet.counts.unexpected == 3
    assert fleet.journal.acknowledged[0] == 1


def test_a_car_takes_its_first_sample_with_its_first_connection(fleet: TwoCars) -> None:
    """Before its first connection a car takes no samples, and none count as skipped."""
    fleet.sample(3)
    assert (fleet.counts.sampled, fleet.counts.skipped) == (0, 0)
    fleet.connect()
    assert fleet.sent() == []
    fleet.sample()
    assert fleet.sent() == [1]


def test_samples_taken_offline_are_sent_after_connecting(fleet: TwoCars) -> None:
    """Samples of a car without a connection wait in its ring and are sent first, in order, as new ones."""
    fleet.connect()
    fleet.disconnect()
    fleet.sample(3)
    assert fleet.wire == []
    fleet.connect()
    fleet.sample()
    assert fleet.sent() == [1, 2, 3, 4]
    assert not any(duplicate for _, _, duplicate in fleet.wire)


def test_with_a_kept_session_only_unacknowledged_samples_are_sent_again_as_duplicates(fleet: TwoCars) -> None:
    """After a broken connection, samples that were sent but not acknowledged are sent again, marked DUP."""
    fleet.connect()
    fleet.sample(3)
    fleet.answer(1)
    fleet.disconnect()
    fleet.sample()
    fleet.wire.clear()
    fleet.connect(present=True)
    assert [(seq, dup) for who, seq, dup in fleet.wire if who == "0"] == [(2, True), (3, True), (4, False)]
    assert (fleet.counts.published, fleet.counts.resent) == (8, 2 + 3)


def test_until_a_message_is_delivered_a_car_sends_one_at_a_time(fleet: TwoCars) -> None:
    """A broker without a subscriber refuses; of several messages it could deliver only the second."""
    fleet.connect(delivering=False)
    fleet.sample(4)
    assert fleet.sent() == [1]
    fleet.answer(1, code=0x10)
    fleet.now += 10
    fleet.sample()
    assert fleet.sent() == [1, 1]
    fleet.answer(1)
    assert fleet.sent() == [1, 1, 2, 3, 4]  # the fifth sample was not taken: the ring was full


def test_after_a_lost_session_the_last_seconds_are_sent_again(fleet: TwoCars) -> None:
    """If the broker lost the session, the acknowledged samples in the ring are sent again, too."""
    fleet.connect()
    for seq in range(1, 11):
        fleet.sample()
        fleet.answer(seq)
    fleet.wire.clear()
    fleet.connect(present=False)
    assert fleet.sent() == list(range(11 - ACKNOWLEDGED_KEPT, 11))
    assert not any(duplicate for _, _, duplicate in fleet.wire)
    assert fleet.counts.sessions_lost == 1
    for seq in range(11 - ACKNOWLEDGED_KEPT, 11):
        fleet.answer(seq)
    assert fleet.counts.acknowledged == 10  # each counted once
    assert fleet.journal.confirmed[0] == 10


def test_samples_that_a_dead_broker_lost_survive_any_outage(fleet: TwoCars) -> None:
    """However long the broker is away, new samples never overwrite those that it may have lost."""
    fleet.connect()
    for seq in range(1, 11):
        fleet.sample()
        fleet.answer(seq)
    fleet.disconnect()
    fleet.sample(5 * RING)
    for answers in ((3, 4), ()):  # the second time it dies while they are sent again
        fleet.wire.clear()
        fleet.connect(present=False)
        assert fleet.sent() == list(range(11 - ACKNOWLEDGED_KEPT, 11 + RING - ACKNOWLEDGED_KEPT))
        for seq in answers:
            fleet.answer(seq)


def test_after_a_lost_session_acknowledgements_out_of_order_do_not_count(fleet: TwoCars) -> None:
    """If 2 was acknowledged and 1 was not when the broker died, both are sent again."""
    fleet.connect()
    fleet.sample(2)
    fleet.answer(2)
    fleet.wire.clear()
    fleet.connect(present=False)
    assert fleet.sent() == [1, 2]


def test_a_refused_message_is_sent_again_after_a_wait(fleet: TwoCars) -> None:
    """After a PUBACK with an error the car pauses, then sends what is unacknowledged; later PUBACKs count."""
    fleet.connect()
    fleet.sample(3)
    fleet.wire.clear()
    fleet.answer(1, code=0x97)  # quota exceeded
    fleet.answer(2)
    fleet.answer(3)
    assert fleet.journal.acknowledged[0] == 0
    assert fleet.sent() == []
    fleet.now += 10
    fleet.uplink.catch_up(fleet.now)
    assert fleet.sent() == [1]
    fleet.answer(1)
    assert fleet.journal.acknowledged[0] == 3
    assert fleet.counts.refused == 1


def test_no_matching_subscriber_means_not_delivered(fleet: TwoCars) -> None:
    """MQTT counts it as success, but the message is lost: it stays in the ring and is sent again."""
    fleet.connect()
    fleet.sample()
    fleet.answer(1, code=0x10)
    assert fleet.journal.acknowledged[0] == 0
    fleet.sample()
    assert fleet.sent() == [1]  # the car pauses
    fleet.now += 10
    fleet.uplink.catch_up(fleet.now)
    assert fleet.sent() == [1, 1]
    fleet.answer(1)
    assert fleet.sent() == [1, 1, 2]


def test_the_receive_maximum_of_a_broker_is_respected(fleet: TwoCars) -> None:
    """With a receive maximum of 2 the third message waits for a PUBACK."""
    fleet.connect(window=2)
    fleet.sample(4)
    assert fleet.sent() == [1, 2]
    fleet.answer(1)
    assert fleet.sent() == [1, 2, 3]
    fleet.answer(2)
    fleet.answer(3)
    assert fleet.sent() == [1, 2, 3, 4]


def test_a_full_ring_skips_samples_without_a_gap_in_seq(fleet: TwoCars) -> None:
    """Without PUBACKs sampling stops when the ring is full, is counted, and continues without a gap."""
    fleet.connect()
    fleet.sample(RING - ACKNOWLEDGED_KEPT + 3)
    assert fleet.sent() == list(range(1, RING - ACKNOWLEDGED_KEPT + 1))
    assert fleet.counts.skipped == 2 * 3
    fleet.answer(1)
    fleet.sample()
    assert fleet.sent() == list(range(1, RING - ACKNOWLEDGED_KEPT + 2))


def test_a_connection_that_breaks_while_sending_loses_nothing(fleet: TwoCars) -> None:
    """If sending fails, the sample stays in the ring and is sent on the next connection."""
    fleet.connect()
    fleet.broken = True
    fleet.sample(2)
    fleet.broken = False
    fleet.connect(present=True)
    assert fleet.sent() == [1, 2]
    assert fleet.journal.acknowledged.tolist() == [0, 0]


def test_a_restarted_process_sends_the_same_bytes_again(tmp_path: Path) -> None:
    """Unacknowledged samples of a killed process are sent with the same seq and payload, marked DUP."""
    first = TwoCars(tmp_path)
    payloads: list[bytes] = []

    def record(car: CarClient, data: bytes) -> bool:
        packet, _ = mqtt5.read(memoryview(data))
        assert isinstance(packet, mqtt5.PublishPacket)
        payloads.append(packet.payload)
        return True

    first.uplink._send = record  # type: ignore[assignment]
    first.connect()
    first.sample(3)
    first.journal.close()  # the kernel does this for a killed process
    second = TwoCars(tmp_path)
    second.uplink._send = record  # type: ignore[assignment]
    second.connect(present=True)
    assert sorted(payloads[6:]) == sorted(payloads[:6])
    second.uplink._send = second._send  # type: ignore[assignment]
    second.sample()
    assert second.sent() == [4]
    second.journal.close()


def test_silent_brokers_are_found(fleet: TwoCars) -> None:
    """A car that waits for a PUBACK and received nothing for too long is overdue; an idle one is not."""
    fleet.connect()
    for car in fleet.cars:
        car.heard_at = fleet.now
    fleet.sample()
    fleet.answer(1, car=1)
    assert list(fleet.uplink.overdue(fleet.now + 5, 20)) == []
    assert list(fleet.uplink.overdue(fleet.now + 30, 20)) == [fleet.cars[0]]


def test_packet_ids_wrap_without_confusion(fleet: TwoCars) -> None:
    """Around seq 65535 the packet ids start again; PUBACKs are still matched to their seq."""
    for counts in (fleet.journal.sampled, fleet.journal.acknowledged, fleet.journal.confirmed):
        counts[:] = PACKET_IDS - 2
    fleet.connect(present=True)
    fleet.sample(4)
    for seq in range(PACKET_IDS - 1, PACKET_IDS + 3):
        fleet.answer(seq)
    assert fleet.journal.acknowledged[0] == PACKET_IDS + 2
