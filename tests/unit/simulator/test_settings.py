"""What the simulator can be told, and what it refuses."""

import pytest

from plumbing import settings
from plumbing.settings import SettingsError
from simulator import settings as simulator_settings
from simulator.changes import Changes
from simulator.settings import Settings, arguments


def told(*flags: str) -> Settings:
    required = ["--mqtt-brokers", "127.0.0.1:1883,127.0.0.1:1884", "--run-dir", "/tmp/x"]
    return settings.load(Settings, prefix="SIMULATOR", argv=[*required, *flags], environ={})


def test_the_defaults_are_a_thousand_cars_at_one_hertz_in_one_process() -> None:
    """One worker, a ring of a minute for what was acknowledged and half a minute for what waits."""
    plain = told()
    assert (plain.cars, plain.period_s, plain.ring, plain.workers) == (1000, 1.0, 92, 1)


@pytest.mark.parametrize(
    "flags",
    [
        ("--cars", "0"),
        ("--cars", "1000001"),
        ("--rate-hz", "0"),
        ("--rate-hz", "nan"),
        ("--faulty-share", "1.5"),
        ("--firmware-share", "2"),
        ("--cold-for-s", "-1"),
        ("--new-model-from", "-3"),
        ("--first-car", "-1"),
        ("--ageing", "-1"),
        ("--time-lapse", "0"),
        ("--schema-version", "9"),
        ("--buffer-s", "100000"),
        ("--processes", "-1"),
        ("--processes", "2000"),
        ("--duration-s", "-5"),
        ("--mqtt-brokers", "nowhere"),
        ("--mqtt-brokers", "127.0.0.1:1883,127.0.0.1"),
        ("--mqtt-brokers", ""),
    ],
    ids=" ".join,
)
def test_nonsense_is_refused_by_name(flags: tuple[str, str]) -> None:
    """The message names the setting."""
    with pytest.raises(SettingsError, match=flags[0]):
        told(*flags)


def test_workers_are_as_many_as_the_limit_of_open_files_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 000 cars at 19 800 connections a process take 6 workers; 5 are refused."""
    monkeypatch.setattr(simulator_settings, "cars_per_process_max", lambda: 19_800)
    assert told("--cars", "100000").workers == 6
    with pytest.raises(SettingsError, match="--processes 5 is too few"):
        told("--cars", "100000", "--processes", "5")


def test_every_car_belongs_to_one_worker() -> None:
    """The shares of the workers cover the fleet without overlap."""
    fleet = told("--cars", "103", "--processes", "7")
    assert [car for worker in range(7) for car in fleet.share(worker)] == list(range(103))


def test_a_slow_car_still_keeps_a_few_samples() -> None:
    """At one sample in 100 s a minute's buffer would be one sample; it keeps some more."""
    assert told("--rate-hz", "0.01").ring == simulator_settings.RING_SAMPLES_MIN


def test_a_worker_is_told_exactly_what_the_parent_was_told() -> None:
    """The command line made of settings gives the same settings."""
    fleet = told("--cars", "12", "--rate-hz", "0.1", "--worker", "0", "--epoch-ms", "5")
    again = settings.load(Settings, prefix="SIMULATOR", argv=arguments(fleet), environ={})
    assert again == fleet


@pytest.mark.parametrize(
    ("flags", "fit", "why"),
    [
        (("--cars", "100", "--processes", "5"), 10, "take at least 10, or 0, or raise the hard limit"),
        (("--cars", "2", "--processes", "5"), 10, "take fewer, or 0"),
        (("--cars", "1000"), 1, "raise the hard limit of open files .*or take fewer --cars"),
        (("--cars", "90000", "--mqtt-brokers", "far:1,off:1"), 9000, "45000 connections .*take more brokers"),
    ],
)
def test_contradictions_say_what_to_change(
    flags: tuple[str, ...], fit: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cars against processes, files and ports: the message names the way out."""
    monkeypatch.setattr(simulator_settings, "cars_per_process_max", lambda: fit)
    monkeypatch.setattr(simulator_settings, "source_ports", lambda: 28_232)
    with pytest.raises(SettingsError, match=why):
        told(*flags)


def test_another_simulator_goes_on_where_the_first_ends() -> None:
    """Cars that enter a fleet later are a second simulator's, with numbers and a car model of their own."""
    newcomers = told("--first-car", "1000", "--cars", "100", "--processes", "3", "--new-model-from", "1000")
    assert [car for worker in range(3) for car in newcomers.share(worker)] == list(range(1000, 1100))
    assert newcomers.changes.new_model_from == 1000
    assert told().changes == Changes()
