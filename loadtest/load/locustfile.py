"""The load test for locust: its flags, its shapes, its verdict (`python -m loadtest load --help`)."""

import sys
from pathlib import Path
from typing import Any

from locust import LoadTestShape, events
from locust.runners import MasterRunner, WorkerRunner

from loadtest.load import budgets, flags, shapes, target, users
from loadtest.load.anomalies import Anomalies
from loadtest.load.budgets import ANOMALY, CONNECT, NAMES, PUBLISH, RECONNECT, Line, Measured
from loadtest.load.users import Car, FollowingCar
from plumbing.life import WorldDown
from plumbing.settings import SettingsError

__all__ = ["Car", "FollowingCar", "Shape"]  # what locust looks for in this file

_STORM = "storm"
# locust itself ends with 1 for failures and errors, with 2 for flags.
EXIT_BUDGET_BROKEN = 3
_verdict: list[Line] = []


class Shape(LoadTestShape):
    """--shape, over --run-time and up to --users; it always ends."""

    use_common_options = True

    def __init__(self) -> None:
        super().__init__()
        self._storms = 0

    def reset_time(self) -> None:
        """A new run begins."""
        super().reset_time()
        self._storms = 0

    def tick(self) -> tuple[int, float] | None:
        """locust asks once a second: (users, how many of them may come or go a second)."""
        told = self.runner.environment.parsed_options
        step = shapes.at(told.shape, self.get_run_time(), users=told.num_users, run_s=told.run_time)
        if step is None:
            return None
        if step.storms > self._storms:
            self.runner.send_message(_STORM)
        self._storms = step.storms
        return step.users, told.spawn_rate


events.init_command_line_parser.add_listener(flags.add_to_locust)


@events.init.add_listener
def begin(environment: Any, runner: Any, **_: Any) -> None:
    """In every process. Where something is missing: say what, exit 1 (2: a flag), before a car drives."""
    users.begin_process()
    if not isinstance(runner, MasterRunner):
        runner.register_message(_STORM, users.cut_all)
    if isinstance(runner, WorkerRunner):
        return
    try:
        _check(environment)
    except SettingsError as error:
        sys.exit(_say(f"settings: {error}", 2))
    except WorldDown as error:
        sys.exit(_say(str(error), 1))


@events.test_start.add_listener
def start(environment: Any, **_: Any) -> None:
    """Where FollowingCars drive, their process reads the anomalies."""
    told = environment.parsed_options
    if not isinstance(environment.runner, MasterRunner) and FollowingCar in environment.user_classes:
        FollowingCar.anomalies = Anomalies(told.kafka_bootstrap, _properties(told))


@events.test_stop.add_listener
def stop(**_: Any) -> None:
    """Every car has ended."""
    if FollowingCar.anomalies is not None:
        FollowingCar.anomalies.close()
        FollowingCar.anomalies = None


@events.quitting.add_listener
def judge(environment: Any, **_: Any) -> None:
    """The exit status: 3 for a broken budget, 0 for kept ones even where some requests failed within them."""
    runner = environment.runner
    if isinstance(runner, WorkerRunner):
        return
    _verdict.extend(_lines(environment))
    if any(line.broken for line in _verdict):
        environment.process_exit_code = EXIT_BUDGET_BROKEN
    elif not runner.exceptions and environment.process_exit_code is None:
        environment.process_exit_code = 0


@events.quit.add_listener
def show(**_: Any) -> None:
    """After locust's own tables."""
    if _verdict:
        print("\n".join(["", budgets.HEADER, *map(str, _verdict)]))
    for line in _verdict:
        if line.broken:
            measured = "no request was made" if line.measured is None else f"measured {line.measured:g}"
            print(
                f"budget broken: {line.request}, {line.limit} = {line.allowed:g}: {measured}", file=sys.stderr
            )


def _check(environment: Any) -> None:
    """Raises SettingsError or WorldDown."""
    told = environment.parsed_options
    for name in ("num_users", "spawn_rate", "run_time", "rate_hz", "faulty_every",
                 "puback_timeout_s", "anomaly_timeout_s"):  # fmt: skip
        if not getattr(told, name) > 0:
            raise SettingsError(f"{name} must be above 0, not {getattr(told, name)}")
    if told.healthy_first < 0:
        raise SettingsError(f"healthy_first must not be negative, not {told.healthy_first}")
    budgets.read(Path(told.budgets))
    if not told.master or told.processes:  # workers elsewhere have limits of their own
        target.check_files(told.num_users, told.processes or 1)
    target.check_brokers(environment.host)
    if FollowingCar in environment.user_classes:
        target.check_model(told.kafka_bootstrap, _properties(told), told.cloud_name)


def _lines(environment: Any) -> list[Line]:
    told, stats = environment.parsed_options, environment.stats
    expected = {PUBLISH, CONNECT}
    if FollowingCar in environment.user_classes:
        expected.add(ANOMALY)
    if told.shape == "storm":
        expected.add(RECONNECT)
    measured = {
        entry.name: Measured(
            entry.num_requests,
            entry.num_failures,
            entry.get_response_time_percentile(0.5),
            entry.get_response_time_percentile(0.99),
        )
        for entry in stats.entries.values()
        if entry.name in NAMES and entry.num_requests
    }
    return budgets.judge(budgets.read(Path(told.budgets)), measured, expected)


def _properties(told: Any) -> Path | None:
    return Path(told.kafka_properties) if told.kafka_properties else None


def _say(text: str, status: int) -> int:
    print(text, file=sys.stderr)
    return status
