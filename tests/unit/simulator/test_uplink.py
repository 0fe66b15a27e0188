"""What a car sends in normal operation: each sample once, in order, within the window of its broker."""

from simulator.uplink import PACKET_IDS
from tests.unit.simulator.two_cars import ACKNOWLEDGED_KEPT, RING, TwoCars


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


def test_packet_ids_wrap_without_confusion(fleet: TwoCars) -> None:
    """Around seq 65535 the packet ids start again; PUBACKs are still matched to their seq."""
    for counts in (fleet.journal.sampled, fleet.journal.acknowledged, fleet.journal.confirmed):
        counts[:] = PACKET_IDS - 2
    fleet.connect(present=True)
    fleet.sample(4)
    for seq in range(PACKET_IDS - 1, PACKET_IDS + 3):
        fleet.answer(seq)
    assert fleet.journal.acknowledged[0] == PACKET_IDS + 2
