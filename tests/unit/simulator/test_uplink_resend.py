"""What a car sends again: after a lost connection or session, a refusal, a restart."""

from pathlib import Path

import mqtt5

from simulator.uplink import CarConnection
from tests.unit.simulator.two_cars import ACKNOWLEDGED_KEPT, RING, TwoCars


def test_with_a_kept_session_only_unacknowledged_samples_are_sent_again_as_duplicates(fleet: TwoCars) -> None:
    """After a broken connection, samples that were sent but not acknowledged are sent again, marked DUP."""
    fleet.connect()
    fleet.sample(3)
    fleet.answer(1)
    fleet.disconnect()
    fleet.sample()
    fleet.wire.clear()
    fleet.connect(present=True)
    assert [(seq, dup) for car, seq, dup in fleet.wire if car == "0"] == [(2, True), (3, True), (4, False)]
    assert (fleet.counts.published, fleet.counts.resent) == (8, 2 + 3)


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

    def record(car: CarConnection, data: bytes) -> bool:
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
