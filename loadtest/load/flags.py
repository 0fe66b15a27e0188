"""The load test's flags: locust's own with defaults that fit, and ours."""

import argparse
from typing import Any

from loadtest.load import budgets, shapes

_DESCRIPTION = """\
locust drives a running deployment (make up, make demo, a cluster) as an outside client. Users are cars:
Car publishes telemetry and waits for each PUBACK; FollowingCar (1 of 10) also sends a clearly faulty
sample now and then and waits for its anomaly in edge Kafka, for which a model must be in use. Reports
go to var/load/: CSV and report.html. Exit status: 0 budgets kept, 3 a budget broken, 1 no deployment,
2 a wrong flag.
"""
_EPILOG = """\
Everything else that locust knows works as well (python -m locust --help): --processes, --master, --worker,
--web-port, --csv-full-history, … Without --headless there is the web UI on 127.0.0.1:8089.

  python -m loadtest load --headless --users 500 --run-time 2m --shape storm
  python -m loadtest load --headless --processes 2 --users 2000 Car
  python -m loadtest load --host 127.0.0.1:18830,127.0.0.1:18831
"""

# locust's flags that matter most here: destination, flag, default, what it means here.
_LOCUST = (
    (
        "host",
        "--host",
        "127.0.0.1:18830",
        "all MQTT shards, cars are spread over them: host:port,host:port,…",
    ),
    ("num_users", "--users", 200, "cars at the shape's peak"),
    ("spawn_rate", "--spawn-rate", 100, "cars that may come or go a second"),
    ("run_time", "--run-time", "2m", "length of the run; it always ends"),
    ("stop_timeout", "--stop-timeout", "15", "seconds that a car gets at the end for what it waits for"),
    ("web_host", "--web-host", "127.0.0.1", "where the web UI listens"),
    ("master_bind_host", "--master-bind-host", "127.0.0.1", "where a master listens for workers"),
)


def add_to_locust(parser: Any) -> None:
    """For the parser of locust's own start: defaults, and our flags (the web UI shows them, too)."""
    parser.set_defaults(**{destination: default for destination, _, default, _ in _LOCUST})
    _add(parser)


def text() -> str:
    """The answer to --help; locust's does not know a locustfile's flags."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest load",
        usage="%(prog)s [--headless] [flags] [Car] [FollowingCar]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    group = parser.add_argument_group("locust's flags, with defaults of ours")
    for destination, flag, default, meaning in _LOCUST:
        group.add_argument(flag, dest=destination, metavar="VALUE", help=f"{meaning} [{default}]")
    _add(parser.add_argument_group("flags of this load test"), " [%(default)s]")
    return parser.format_help()


def _add(parser: Any, shown: str = "") -> None:
    def add(flag: str, default: Any, meaning: str, **more: Any) -> None:
        parser.add_argument(flag, type=type(default), default=default, help=meaning + shown, **more)

    add("--shape", "ramp", "how the load changes over the run", choices=tuple(shapes.SHAPES))
    add("--rate-hz", 1.0, "samples a second of each car")
    add("--puback-timeout-s", 10.0, "a PUBACK later than this is a failure")
    add("--faulty-every", 20, "every so many samples of a FollowingCar are faulty")
    add("--healthy-first", 30, "samples before a FollowingCar's first faulty one: a model learns a car first")
    add("--anomaly-timeout-s", 10.0, "an anomaly later than this is a failure")
    add("--kafka-bootstrap", "127.0.0.1:19092", "edge Kafka, where FollowingCar reads anomalies")
    add("--kafka-properties", "", "file with more Kafka client settings (security, …)")
    add("--cloud-name", "cloud", "name of the cloud in replication: models come from <cloud>.models")
    add("--budgets", str(budgets.DEFAULT), "file of the limits that the run must keep")
