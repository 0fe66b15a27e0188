"""What is a drift of the fleet and what is not, by counts alone."""

from contract.evidence import LEVELS, Beyond, Evidence
from trainer.watch.drift import Look


def evidence(cars: int = 100, far_above: int = 0, far_below: int = 0, **counts: int) -> Evidence:
    """That of one scorer; so many of its cars deviate in the voltage."""
    voltage = Beyond(
        name="battery_voltage", far_below=far_below, below=far_below, above=far_above, far_above=far_above
    )
    return Evidence(
        scorer="scorer-0", model_name="failure-detector", model_version=7, share=None, since=0, until=60_000,
        judged=100, crossings=(0,) * len(LEVELS), cars=cars, signals=(voltage,), **counts,
    )  # fmt: skip


def kinds(*newest: Evidence, learned_before: int = 0) -> list[str]:
    """The drifts that these show."""
    return [drift.kind for drift in Look.of(newest, learned_before).drifts()]


def test_many_cars_that_deviate_the_same_way_are_a_drift() -> None:
    """With the share, the signal, and a reason that a person understands."""
    (drift,) = Look.of([evidence(far_above=20)]).drifts()
    assert (drift.kind, drift.signal, drift.share) == ("signal", "battery_voltage", 0.2)
    assert drift.reason == "20% of the cars send clearly more battery_voltage than they used to"


def test_faults_are_no_drift() -> None:
    """They move cars either way, and few of them."""
    assert kinds(evidence(far_above=10, far_below=10)) == []


def test_the_counts_of_scorers_add_up() -> None:
    """What is rare at one may be common at all, and the other way round."""
    assert kinds(evidence(far_below=20), evidence(far_below=14, cars=200)) == []
    (drift,) = Look.of([evidence(far_below=26), evidence(far_below=20, cars=200)]).drifts()
    assert drift.share == 46 / 300


def test_the_share_is_that_of_the_judged_cars() -> None:
    """Neither cars that are learned nor those of an unknown kind can deviate."""
    assert kinds(evidence(far_above=10)) == []
    assert kinds(evidence(far_above=10, learning=40, strange=5)) == ["signal"]


def test_a_few_cars_show_no_drift() -> None:
    """Some faults of a tenth of the cars would be one in twenty of them."""
    assert kinds(evidence(cars=29, far_above=29, strange=0)) == []
    assert kinds(evidence(cars=29, strange=29), evidence(cars=0)) == []


def test_cars_of_an_unknown_kind_are_a_drift() -> None:
    """It takes the learning period to see that a car is strange, so only learned cars are counted."""
    (drift,) = Look.of([evidence(strange=20)]).drifts()
    assert (drift.kind, drift.share, drift.reason) == (
        "strange", 0.2, "20% of the cars are of an unknown kind",
    )  # fmt: skip


def test_cars_that_are_learned_anew_are_a_drift() -> None:
    """A new firmware: they had been learned before."""
    assert kinds(evidence(learning=40), learned_before=100) == ["unlearned"]


def test_a_new_champion_and_a_new_fleet_have_cars_to_learn_and_no_drift() -> None:
    """Nobody had learned them; the same holds for cars that come in addition."""
    assert kinds(evidence(learning=100)) == []
    assert kinds(evidence(learning=40), learned_before=60) == []
    assert kinds(evidence(cars=300, learning=200), learned_before=100) == []


def test_a_scorer_that_is_silent_is_no_drift() -> None:
    """Its cars are missing, so they are not among those that are learned."""
    assert kinds(evidence(learning=3), learned_before=197) == []


def test_the_broken_records_of_all_scorers() -> None:
    """A share of all that were checked; none if none was."""
    assert Look.of([evidence(checked=100, broken=5), evidence(checked=300)]).broken == 5 / 400
    assert Look.of([]).broken == 0


def test_without_evidence_there_is_no_drift() -> None:
    """The watch may begin before any scorer has reported."""
    assert kinds() == []
    assert Look.of([]).learned == 0
