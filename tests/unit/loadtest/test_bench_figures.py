"""The benchmark's own arithmetic: which messages are lost, doubled or out of order, and bars."""

import io

import numpy as np
import pytest
from rich.console import Console

from contract.records import CONFLUENT_BYTES, SINGLE_OBJECT_BYTES, confluent_header, split_single_object
from contract.schema import latest
from loadtest.bench.arrivals import Ledger, decode, percentiles, reconcile
from loadtest.bench.report import BARS, figure_table
from loadtest.bench.traffic import Traffic, car_number
from loadtest.output import Bar, shown
from plumbing.life import WorldDown
from plumbing.mqtt import parse


def _reconcile(*records: tuple[int, int]) -> Ledger:
    """The ledger of 6 sent messages for (car, seq) in the order of arrival; 2 cars, from seq 11 on."""
    cars, seq = np.array(records).T
    return reconcile(cars, seq, 6, fleet=2, first_seq=11)


def test_every_message_once_and_in_order_leaves_an_empty_ledger():
    """Cars may overtake each other; records of another run are ignored."""
    records = [(1, 11), (1, 12), (0, 1), (0, 11), (1, 13), (0, 12), (0, 13), (1, 14)]
    assert _reconcile(*records) == Ledger(0, 0, 0)


def test_lost_doubled_and_overtaken_messages_are_counted():
    """A record that arrives again after a newer one is doubled, not overtaken: its first arrival counts."""
    assert _reconcile((0, 11), (1, 11), (0, 12), (1, 13)) == Ledger(2, 0, 0)
    assert _reconcile((0, 11), (0, 12), (0, 11), (0, 13)) == Ledger(3, 1, 0)
    assert _reconcile((0, 12), (0, 11), (0, 13), (1, 11), (1, 13), (1, 12)) == Ledger(0, 0, 2)


def test_traffic_is_valid_telemetry():
    """Consecutive packet ids, cars in turn, seq by car; the time stamp is the time of sending."""
    packets = parse(Traffic(3, first_seq=5).take(2_500))[0]
    keys = [packet.topic.split("/")[2].encode() for packet in packets]  # type: ignore[union-attr]
    payloads = [packet.payload for packet in packets]  # type: ignore[union-attr]
    assert [packet.packet_id for packet in packets[:4]] == [1, 2, 3, 4]  # type: ignore[union-attr]
    assert split_single_object(payloads[0])[0] == latest("telemetry").fingerprint
    cars, seq, sampled_ms = decode(keys, payloads)
    assert cars[:4].tolist() == [0, 1, 2, 0]
    assert seq[:4].tolist() == [5, 5, 5, 6]
    assert 0 <= sampled_ms.max() - sampled_ms.min() < 1_000
    framed = [confluent_header(latest("telemetry").schema_id) + p[SINGLE_OBJECT_BYTES:] for p in payloads]
    assert decode(keys, framed)[1].tolist() == seq.tolist()
    assert len(framed[0]) == len(payloads[0]) - SINGLE_OBJECT_BYTES + CONFLUENT_BYTES


def test_records_that_are_not_telemetry_fail_the_benchmark():
    """A figure measured with garbage means nothing."""
    with pytest.raises(WorldDown, match="1 of 1 records"):
        decode([b"bench-000001"], [b"\0garbage"])


def test_a_car_id_carries_the_number_of_the_car():
    """An id of another fleet is refused."""
    assert car_number(b"bench-000042") == 42
    with pytest.raises(ValueError, match="car"):
        car_number(b"car-000042")


def test_bars():
    """A rate must reach its bar, a cost must not exceed it; NaN and a missing figure meet none."""
    assert BARS["bridge"]["drain_msgs_per_s"].met(200_000)
    assert not BARS["bridge"]["drain_us_per_msg"].met(4.01)
    assert not Bar(1).met(float("nan"))
    assert not Bar(1).met(None)
    assert (shown(None), shown(1234567.8), shown(2.345)) == ("-", "1 234 568", "2.35")


def test_percentiles_without_latencies_are_refused():
    """Where no message arrived, there is no latency to report."""
    assert percentiles([1.0, 2.0, 3.0]) == (2.0, 3.0)
    with pytest.raises(WorldDown, match="no message arrived"):
        percentiles([])


def test_the_table_of_five_programs_fits_on_a_terminal():
    """Nothing is cut off at 80 columns; a stage without bars has no column for them."""
    peers = {
        f"mlserver-{place}": {"us_per_record": 1_104.0} for place in ("grpc", "grpc-floats", "grpc-each")
    }
    figures = {"records_per_s": 181_412.0, "broker_us_per_record": 3.98, "steady_scored_p50_ms": 22.0}
    written = io.StringIO()
    peers["mlserver-kafka"] = {"records_per_s": 137_931.0}
    Console(file=written, width=80).print(figure_table("serving", figures, peers))
    assert "…" not in written.getvalue()
    assert "bar" not in written.getvalue()
    assert all(key in written.getvalue() for key in (*figures, "us_per_record", "137 931"))
