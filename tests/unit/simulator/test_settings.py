"""The simulator's settings: defaults, refusals, and what its workers receive."""

import pytest

from plumbing import settings
from plumbing.settings import SettingsError
from simulator import settings as simulator_settings
from simulator.scenario import NEVER
from simulator.settings import Settings, WorkerJob


def load(*flags: str) -> Settings:
    required = ["--mqtt-brokers", "127.0.0.1:1883,127.0.0.1:1884", "--run-dir", "/tmp/x"]
    return settings.load(Settings, prefix="SIMULATOR", argv=[*required, *flags], environ={})


def cars_of_all_workers(fleet: Settings) -> list[int]:
    jobs = [WorkerJob(fleet, worker, epoch_ms=0) for worker in range(fleet.workers)]
    return [car for job in jobs for car in job.cars]


def test_the_defaults_are_a_thousand_cars_at_one_hertz_in_one_process() -> None:
    """One worker; a ring for a minute of acknowledged samples and half a minute of waiting ones."""
    plain = load()
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
        ("--recalibrated", "1.1"),
        ("--recalibrated-at-s", "-1"),
        ("--recalibrated-signal", "oil_temp"),
        ("--recalibrated-factor", "0"),
        ("--gateway-zeros", "-0.1"),
        ("--gateway-zeros-at-s", "nan"),
        ("--first-car", "-1"),
        ("--ageing", "-1"),
        ("--time-lapse", "0"),
        ("--schema-version", "9"),
        ("--buffer-s", "100000"),
        ("--processes", "-1"),
        ("--processes", "2000"),
        ("--mqtt-brokers", "nowhere"),
        ("--mqtt-brokers", "127.0.0.1:1883,127.0.0.1"),
        ("--mqtt-brokers", ""),
    ],
    ids=" ".join,
)
def test_a_wrong_value_is_refused_by_name(flags: tuple[str, str]) -> None:
    """The message of the error names the setting."""
    with pytest.raises(SettingsError, match=flags[0]):
        load(*flags)


def test_the_number_of_workers_follows_from_the_limit_of_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """100 000 cars at 19 800 connections per process need 6 workers; 5 are refused."""
    monkeypatch.setattr(simulator_settings, "cars_per_process_max", lambda: 19_800)
    assert load("--cars", "100000").workers == 6
    with pytest.raises(SettingsError, match="--processes 5 are too few"):
        load("--cars", "100000", "--processes", "5")


def test_every_car_belongs_to_one_worker() -> None:
    """The cars of the workers cover the fleet without overlap."""
    fleet = load("--cars", "103", "--processes", "7")
    assert cars_of_all_workers(fleet) == list(range(103))


def test_a_slow_car_still_keeps_a_few_samples() -> None:
    """At one sample in 100 s a buffer of a minute would be one sample; the ring has some more."""
    assert load("--rate-hz", "0.01").ring == simulator_settings.RING_SAMPLES_MIN


@pytest.mark.parametrize(
    ("flags", "fit", "why"),
    [
        (("--cars", "100", "--processes", "5"), 10, "use at least 10, or 0, or raise the hard limit"),
        (("--cars", "2", "--processes", "5"), 10, "use fewer, or 0"),
        (("--cars", "1000"), 1, "raise the hard limit of open files .*or use fewer --cars"),
        (("--cars", "90000", "--mqtt-brokers", "far:1,off:1"), 9000, "45000 connections .*use more brokers"),
    ],
)
def test_contradictions_say_what_to_change(
    flags: tuple[str, ...], fit: int, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too many cars for the processes, files or ports: the message says what to change."""
    monkeypatch.setattr(simulator_settings, "cars_per_process_max", lambda: fit)
    monkeypatch.setattr(simulator_settings, "source_ports", lambda: 28_232)
    with pytest.raises(SettingsError, match=why):
        load(*flags)


def test_a_second_simulator_has_the_cars_after_those_of_the_first() -> None:
    """Cars that join a fleet later run in a second simulator, with their own numbers and car model."""
    newcomers = load("--first-car", "1000", "--cars", "100", "--processes", "3", "--new-model-from", "1000")
    assert cars_of_all_workers(newcomers) == list(range(1000, 1100))
    assert newcomers.new_model_from == 1000
    assert load().new_model_from == NEVER


@pytest.mark.parametrize("flag", ["--recalibrated", "--recalibrated-factor", "--gateway-zeros", "--cold-k"])
def test_a_journal_of_another_scenario_is_another_fleet_s(flag: str) -> None:
    """A run goes on only with the changes that it was begun with."""
    plain, same, other = (WorkerJob(load(*flags), 0, 0).identity for flags in ((), (), (flag, "0.5")))
    assert plain == same
    assert plain.scenario != other.scenario
