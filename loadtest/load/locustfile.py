"""The load test for locust: its flags, its shapes, its verdict (`python -m loadtest load --help`)."""

import secrets
import sys
from pathlib import Path
from typing import Any

from locust import LoadTestShape, events
from locust.runners import MasterRunner, WorkerRunner

from loadtest.load import budgets, flags, shapes, target, users
from loadtest.load.anomalies import Anomalies
from loadtest.load.budgets import ANOMALY, CONNECT, NAMES, PUBLISH, RECONNECT, BudgetLine
from loadtest.load.users import Car, FollowingCar
from plumbing.life import WorldDown
from plumbing.settings import SettingsError

__all__ = ["Car", "FollowingCar", "Shape"]  # what locust looks for in this file

_STORM = "storm"
# locust itself exits with 1 for failures and errors, with 2 for flags.
EXIT_BUDGET_BROKEN = 3
_verdict: list[BudgetLine] = []


class Shape(LoadTestShape):
    """The users of --shape, over --run-time and up to --users."""

    use_common_options = True

    def __init__(self) -> None:
        super().__init__()
        self._storms = 0

    def reset_time(self) -> None:
        """Called when a new run begins."""
        super().reset_time()
        self._storms = 0

    def tick(self) -> tuple[int, float] | None:
        """(users, how many of them may start or stop a second); locust asks once a second."""
        options = self.runner.environment.parsed_options
        step = shapes.at(options.shape, self.get_run_time(), users=options.num_users, run_s=options.run_time)
        if step is None:
            return None
        if step.storms > self._storms:
            self.runner.send_message(_STORM)
        self._storms = step.storms
        return step.users, options.spawn_rate


events.init_command_line_parser.add_listener(flags.add_to_locust)


@events.init.add_listener
def begin(environment: Any, runner: Any, **_: Any) -> None:
    """In every process. Exits with 1 (2 for a flag) where something is missing, before a car drives."""
    Car.run_id = secrets.token_hex(4)  # after the fork, so that the cars of every process have unique ids
    if not isinstance(runner, MasterRunner):
        runner.register_message(_STORM, users.cut_all)
    if isinstance(runner, WorkerRunner):
        return
    try:
        _check(environment)
    except SettingsError as error:
        print(f"settings: {error}", file=sys.stderr)
        sys.exit(2)
    except WorldDown as error:
        print(error, file=sys.stderr)
        sys.exit(1)


@events.test_start.add_listener
def start(environment: Any, **_: Any) -> None:
    """Read the anomalies in every process in which FollowingCars drive."""
    options = environment.parsed_options
    if not isinstance(environment.runner, MasterRunner) and FollowingCar in environment.user_classes:
        FollowingCar.anomalies = Anomalies(options.kafka_bootstrap, _properties(options))


@events.test_stop.add_listener
def stop(**_: Any) -> None:
    """Stop reading them after every car has ended."""
    if FollowingCar.anomalies is not None:
        FollowingCar.anomalies.close()
        FollowingCar.anomalies = None


@events.quitting.add_listener
def judge(environment: Any, **_: Any) -> None:
    """Set the exit status: 3 for a broken budget, 0 otherwise, even where requests failed within a budget."""
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
    """Print the verdict after locust's own tables."""
    if _verdict:
        print("\n".join(["", budgets.HEADER, *map(str, _verdict)]))
    for line in _verdict:
        if line.broken:
            measured = "no request was made" if line.measured is None else f"measured {line.measured:g}"
            limit = f"{line.limit} = {line.allowed:g}"
            print(f"budget broken: {line.request}, {limit}: {measured}", file=sys.stderr)


def _check(environment: Any) -> None:
    """Raises SettingsError for a wrong flag, WorldDown where the deployment is not ready."""
    options = environment.parsed_options
    for name in ("num_users", "spawn_rate", "run_time", "rate_hz", "faulty_every",
                 "puback_timeout_s", "anomaly_timeout_s"):  # fmt: skip
        if not getattr(options, name) > 0:
            raise SettingsError(f"{name} must be above 0, not {getattr(options, name)}")
    if options.healthy_first < 0:
        raise SettingsError(f"healthy_first must not be negative, not {options.healthy_first}")
    budgets.read(Path(options.budgets))
    if not options.master or options.processes:  # workers elsewhere have limits of their own
        target.check_files(options.num_users, options.processes or 1)
    target.check_brokers(environment.host)
    if FollowingCar in environment.user_classes:
        target.check_model(options.kafka_bootstrap, _properties(options), options.cloud_name)


def _lines(environment: Any) -> list[BudgetLine]:
    options = environment.parsed_options
    expected = {PUBLISH, CONNECT}
    if FollowingCar in environment.user_classes:
        expected.add(ANOMALY)
    if options.shape == "storm":
        expected.add(RECONNECT)
    measured = {
        entry.name: {
            "p50_ms_max": entry.get_response_time_percentile(0.5),
            "p99_ms_max": entry.get_response_time_percentile(0.99),
            "failure_share_max": entry.num_failures / entry.num_requests,
        }
        for entry in environment.stats.entries.values()
        if entry.name in NAMES and entry.num_requests
    }
    return budgets.judge(budgets.read(Path(options.budgets)), measured, expected)


def _properties(options: Any) -> Path | None:
    return Path(options.kafka_properties) if options.kafka_properties else None
