"""The demo's workshop: which cars it inspects, when, and what it reports."""

from types import SimpleNamespace
from typing import Any

import pytest

from contract import maintenance
from local import workshop as module
from local.workshop import Workshop
from tests.payloads import read_payload

DELAY_S, NOW_S = 5.0, 1_790_000_000.0
# car-000002 is faulty from second 100 to 200, when it is repaired.
FAULTS = [
    {
        "car_id": "car-000002",
        "component": "battery",
        "onset_at": 1000 * (NOW_S + 100),
        "failed_at": 1000 * (NOW_S + 150),
        "repaired_at": 1000 * (NOW_S + 200),
    }
]


class _Broker:
    """paho's client without a network: it acknowledges at once, with this reason code; None: not at all."""

    def __init__(self) -> None:
        self.on_publish: Any = None
        self.sent: list[tuple[str, bytes]] = []
        self.reason_code: int | None = 0
        self.calls: list[str] = []

    def publish(self, topic: str, payload: bytes, qos: int) -> Any:
        assert qos == 1
        self.sent.append((topic, payload))
        if self.reason_code is not None:
            self.on_publish(self, None, len(self.sent), self.reason_code, None)
        return SimpleNamespace(mid=len(self.sent))

    def disconnect(self) -> None:
        self.calls.append("disconnect")

    def loop_stop(self) -> None:
        self.calls.append("loop_stop")


@pytest.fixture
def broker() -> _Broker:
    return _Broker()


def workshop(broker: Any, share: float = 1.0, seed: int = 1) -> Workshop:
    return Workshop(FAULTS, broker, delay_s=DELAY_S, share=share, seed=seed)


def alert(car: int = 1, opened_s: float = 0.0, action: str = "opened") -> dict[str, Any]:
    """An alert of a car that opened so many seconds after NOW_S."""
    car_id = f"car-{car:06d}"
    times = {"opened_at": round(1000 * (NOW_S + opened_s)), "scored_at": round(1000 * (NOW_S + opened_s))}
    named = {"car_id": car_id, "alert_id": f"{car_id}-{opened_s:.0f}", "component": "tire_1_1"}
    return {"action": action} | named | times


def reports(broker: _Broker) -> list[dict[str, Any]]:
    return [read_payload(payload)[1] for _, payload in broker.sent]


def test_a_healthy_car_is_inspected_after_the_delay(broker: _Broker) -> None:
    """The report names the alert, in the newest version, on the car's own topic; it is sent once."""
    shop = workshop(broker)
    shop.take(alert(), NOW_S)
    shop.tick(NOW_S + DELAY_S - 0.1)
    assert broker.sent == []
    for later_s in (0.0, 0.1, 100.0):
        shop.tick(NOW_S + DELAY_S + later_s)
    ((topic, payload),) = broker.sent
    schema, report = read_payload(payload)
    assert topic == "fleet/v1/car-000001/maintenance"
    assert (schema.name, schema.version) == ("maintenance", 2)
    assert maintenance.action(report) == "inspected"
    assert (report["car_id"], report["alert_id"]) == ("car-000001", "car-000001-0")
    assert (report["action"], report["component"]) == ("repaired", "tire_1_1")
    assert report["occurred_at"] == report["reported_at"] == 1000 * (NOW_S + DELAY_S)
    assert shop.acknowledged == shop.reports == 1


@pytest.mark.parametrize(
    ("opened_s", "says_nothing_found"),
    [(0, True), (94, True), (96, False), (120, False), (170, False), (199, False), (201, True)],
)
def test_a_faulty_car_is_not_reported(broker: _Broker, opened_s: float, says_nothing_found: bool) -> None:
    """From the onset to the repair, also where it begins or ends on the way to the workshop."""
    shop = workshop(broker)
    shop.take(alert(2, opened_s), NOW_S + opened_s)
    shop.tick(NOW_S + opened_s + DELAY_S)
    assert (len(broker.sent) == 1) is says_nothing_found


def test_a_share_of_the_cars_comes_always_the_same(broker: _Broker) -> None:
    """Drawn from the seed and the car: every alert of such a car, and none of the others."""
    came = []
    for seed in (1, 1, 2):
        broker.sent.clear()
        shop = workshop(broker, share=0.3, seed=seed)
        for opened_s in (0, 10):
            for car in range(10, 1010):
                shop.take(alert(car, opened_s), NOW_S + opened_s)
        shop.tick(NOW_S + 20)
        came.append([report["car_id"] for report in reports(broker)])
    assert came[0] == came[1] != came[2]
    half = len(came[0]) // 2
    assert came[0][:half] == came[0][half:]
    assert half == pytest.approx(300, abs=45)


def test_a_closing_alert_and_one_that_comes_twice_call_nobody(broker: _Broker) -> None:
    """The topic is at least once, and a car that was called in is inspected though its alert has closed."""
    shop = workshop(broker)
    shop.take(alert(3, action="closed"), NOW_S)
    for later_s in (0.0, DELAY_S / 2):
        shop.take(alert(), NOW_S + later_s)
    shop.tick(NOW_S + DELAY_S)
    assert [report["car_id"] for report in reports(broker)] == ["car-000001"]
    shop.take(alert(), NOW_S + 60)
    shop.tick(NOW_S + 60 + DELAY_S)
    assert len({report["report_id"] for report in reports(broker)}) == 1


def test_a_report_that_nobody_heard_is_sent_again(broker: _Broker) -> None:
    """As after the death of a broker: the bridge's subscription is gone, and the broker drops what comes."""
    shop = workshop(broker)
    broker.reason_code = 0x10  # no matching subscribers
    shop.take(alert(), NOW_S)
    shop.tick(NOW_S + DELAY_S)
    broker.reason_code = 0
    shop.tick(NOW_S + DELAY_S + 0.1)
    assert (len(broker.sent), shop.acknowledged) == (1, 0)
    for later_s in (2, 3, 4):
        shop.tick(NOW_S + DELAY_S + later_s)
    assert reports(broker)[0] == reports(broker)[1]
    assert (len(broker.sent), shop.reports, shop.acknowledged) == (2, 1, 1)


def test_cars_beyond_the_limit_are_left_out_and_counted(
    broker: _Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that alarms on everything, or a broker that is silent, does not fill the memory."""
    monkeypatch.setattr(module, "WAITING_MAX", 2)
    shop, broker.reason_code = workshop(broker), None
    for car in (3, 4, 5):
        shop.take(alert(car), NOW_S)
    assert shop.left_out == 1
    shop.tick(NOW_S + DELAY_S)
    shop.take(alert(6), NOW_S + DELAY_S)
    assert (len(broker.sent), shop.left_out) == (2, 2)


@pytest.mark.parametrize("answers", [True, False])
def test_closing_waits_a_bounded_time_for_the_acknowledgements(
    broker: _Broker, answers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without an answer it gives up; either way the connection and its thread are ended, in this order."""
    monkeypatch.setattr(module, "_DRAIN_S", 0.05)
    broker.reason_code = 0 if answers else None
    shop = workshop(broker)
    shop.take(alert(), NOW_S)
    shop.tick(NOW_S + DELAY_S)
    shop.close()
    assert broker.calls == ["disconnect", "loop_stop"]
    assert shop.acknowledged == int(answers)


def test_a_broker_that_is_not_there_blocks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real client connects in a thread of its own; reports wait."""
    monkeypatch.setattr(module, "_DRAIN_S", 0.0)
    shop = Workshop(FAULTS, module.connected("127.0.0.1", 9), delay_s=0.0, share=1.0)
    try:
        shop.take(alert(), NOW_S)
        shop.tick(NOW_S)
        assert (shop.reports, shop.acknowledged) == (1, 0)
    finally:
        shop.close()
