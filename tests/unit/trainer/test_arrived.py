"""What edges report, for the board of the cloud."""

from prometheus_client import REGISTRY

from contract.evidence import AT_THRESHOLD, LEVELS, Evidence
from trainer.watch.arrived import Arrived

TOPIC = "west.scores.evidence"


def evidence(version: int, minute: int, share: float | None = None) -> Evidence:
    """100 samples judged in a minute, and 3 alerts opened."""
    return Evidence(
        scorer="scorer-0", model_name="failure-detector", model_version=version, share=share, judged=100,
        since=(minute - 1) * 60_000, until=minute * 60_000,
        crossings=tuple(3 if number <= AT_THRESHOLD else 0 for number in range(len(LEVELS))),
    )  # fmt: skip


def counted() -> list[float]:
    names = ("trainer_judged_records_total", "trainer_opened_alerts_total")
    return [REGISTRY.get_sample_value(name, {"edge": "west"}) or 0.0 for name in names]


def test_what_an_edge_reports_is_counted_once():
    """A log that is read again, a challenger, evidence of before the start and other edges add nothing."""
    arrived = Arrived(("west",), 600_000)
    assert REGISTRY.get_sample_value("trainer_opened_alerts_total", {"edge": "west"}) == 0
    for _ in range(2):
        for each in (evidence(1, 10), evidence(1, 11), evidence(2, 11, share=0.1), evidence(1, 12)):
            arrived.take((TOPIC, "scorer-0"), each)
            arrived.take(("east.scores.evidence", "scorer-0"), each)
    assert counted() == [200, 6]


def test_during_a_change_of_models_both_count():
    """An old model judges its cars until the new one has learned them."""
    arrived, before = Arrived(("west",), 600_000), counted()
    for version in (1, 2):
        arrived.take((TOPIC, "scorer-1"), evidence(version, 20))
    assert [now - then for now, then in zip(counted(), before, strict=True)] == [200, 6]
