"""The benchmark's own arithmetic: what it counts as lost, doubled, overtaken, and what it publishes."""

import numpy as np
import pytest

from contract.framing import CONFLUENT_BYTES, SINGLE_OBJECT_BYTES, confluent_header, split_single_object
from contract.schema import latest
from loadtest.bench.arrivals import Arrivals, Ledger, percentiles, reconcile
from loadtest.bench.report import BARS, Bar, shown
from loadtest.bench.traffic import Traffic, car_number
from plumbing.life import WorldDown
from plumbing.mqtt import parse


def _reconcile(*records: tuple[int, int], wanted: int = 6) -> Ledger:
    """Of (car, seq) in the order of arrival; 2 cars, from seq 11 on."""
    cars, seq = np.array(records).T
    return reconcile(cars, seq, wanted, fleet=2, first_seq=11)


def test_all_there_in_each_car_s_order():
    """Cars may overtake each other; another run's records are no part of it."""
    records = [(1, 11), (1, 12), (0, 1), (0, 11), (1, 13), (0, 12), (0, 13), (1, 14)]
    assert _reconcile(*records) == Ledger(0, 0, 0)


def test_what_is_missing_twice_there_or_overtaken_is_counted():
    """A record that comes again after a newer one is doubled, not overtaken: its first arrival counts."""
    assert _reconcile((0, 11), (1, 11), (0, 12), (1, 13)) == Ledger(2, 0, 0)
    assert _reconcile((0, 11), (0, 12), (0, 11), (0, 13), wanted=6) == Ledger(3, 1, 0)
    assert _reconcile((0, 12), (0, 11), (0, 13), (1, 11), (1, 13), (1, 12)) == Ledger(0, 0, 2)


def test_traffic_is_telemetry_that_the_bridge_would_take():
    """Sound packets, ids in a row, cars in turn, seq by car; the stamp is the time of sending."""
    packets = parse(Traffic(3, first_seq=5).take(2_500))[0]
    keys = [packet.topic.split("/")[2].encode() for packet in packets]  # type: ignore[union-attr]
    payloads = [packet.payload for packet in packets]  # type: ignore[union-attr]
    assert [packet.packet_id for packet in packets[:4]] == [1, 2, 3, 4]  # type: ignore[union-attr]
    assert split_single_object(payloads[0])[0] == latest("telemetry").fingerprint
    stamps = [0.0] * len(keys)
    cars, seq, sampled_ms, _ = Arrivals(keys, payloads, stamps).decoded()
    assert cars[:4].tolist() == [0, 1, 2, 0]
    assert seq[:4].tolist() == [5, 5, 5, 6]
    assert 0 <= sampled_ms.max() - sampled_ms.min() < 1_000
    framed = [confluent_header(latest("telemetry").schema_id) + p[SINGLE_OBJECT_BYTES:] for p in payloads]
    assert Arrivals(keys, framed, stamps).decoded()[1].tolist() == seq.tolist()
    assert len(framed[0]) == len(payloads[0]) - SINGLE_OBJECT_BYTES + CONFLUENT_BYTES


def test_records_that_are_no_telemetry_fail_the_benchmark():
    """A figure over garbage is none."""
    with pytest.raises(WorldDown, match="1 of 1 records"):
        Arrivals([b"bench-000001"], [b"\0garbage"], [0.0]).decoded()


def test_cars_have_their_number_in_their_name():
    """And others are not taken for ours."""
    assert car_number(b"bench-000042") == 42
    with pytest.raises(ValueError, match="car"):
        car_number(b"car-000042")


def test_bars():
    """A rate must reach its bar, a cost must stay below; nothing measured meets nothing."""
    assert BARS["bridge"]["drain_msgs_per_s"].met(200_000)
    assert not BARS["bridge"]["drain_us_per_msg"].met(4.01)
    assert not Bar(1).met(float("nan"))
    assert (shown(None), shown(1234567.8), shown(2.345)) == ("-", "1 234 568", "2.35")


def test_percentiles_of_nothing_are_no_figure():
    """Silence is not fast."""
    assert percentiles([1.0, 2.0, 3.0]) == (2.0, 3.0)
    with pytest.raises(WorldDown, match="no message arrived"):
        percentiles([])
