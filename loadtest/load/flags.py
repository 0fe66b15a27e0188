"""The load test's flags: locust's own with other defaults, and additional ones."""

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
All other flags of locust work as well (python -m locust --help): --processes, --master, --worker,
--web-port, --csv-full-history, … Without --headless there is the web UI on 127.0.0.1:8089.

  python -m loadtest load --headless --users 500 --run-time 2m --shape storm
  python -m loadtest load --headless --processes 2 --users 2000 Car
  python -m loadtest load --host 127.0.0.1:18830,127.0.0.1:18831
"""
# locust's most important flags here: destination, default, meaning.
_LOCUST = (
    ("host", "127.0.0.1:18830", "all MQTT shards, over which cars are spread: host:port,host:port,…"),
    ("num_users", 200, "cars at the peak of the shape"),
    ("spawn_rate", 100, "cars that may start or stop a second"),
    ("run_time", "2m", "length of the run; every run ends"),
    ("stop_timeout", "15", "seconds that a car may take at the end for outstanding answers"),
    ("web_host", "127.0.0.1", "where the web UI listens"),
    ("master_bind_host", "127.0.0.1", "where a master listens for workers"),
)


def add_to_locust(parser: Any) -> None:
    """Set the defaults of locust's parser and add our flags, which the web UI shows, too."""
    parser.set_defaults(**{destination: default for destination, default, _ in _LOCUST})
    _add(parser)


def text() -> str:
    """The answer to --help; locust's own does not include a locustfile's flags."""
    parser = argparse.ArgumentParser(
        prog="python -m loadtest load",
        usage="%(prog)s [--headless] [flags] [Car] [FollowingCar]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    group = parser.add_argument_group("locust's flags, with other defaults")
    for destination, default, meaning in _LOCUST:
        flag = "--users" if destination == "num_users" else "--" + destination.replace("_", "-")
        group.add_argument(flag, dest=destination, metavar="VALUE", help=f"{meaning} [{default}]")
    _add(parser.add_argument_group("flags of this load test"), " [%(default)s]")
    return parser.format_help()


def _add(parser: Any, suffix: str = "") -> None:
    def add(flag: str, default: Any, meaning: str, **more: Any) -> None:
        parser.add_argument(flag, type=type(default), default=default, help=meaning + suffix, **more)

    add("--shape", "ramp", "how the load changes over the run", choices=tuple(shapes.SHAPES))
    add("--rate-hz", 1.0, "samples a second of each car")
    add("--puback-timeout-s", 10.0, "a PUBACK later than this is a failure")
    add("--mqtt-username", "", "user name at the MQTT brokers")
    add("--mqtt-password-file", "", "file with the password at the MQTT brokers")
    add("--faulty-every", 20, "one of this many samples of a FollowingCar is faulty")
    add("--healthy-first", 30, "samples before a FollowingCar's first faulty one: a model learns a car first")
    add("--anomaly-timeout-s", 10.0, "an anomaly later than this is a failure")
    add("--kafka-bootstrap", "127.0.0.1:19092", "edge Kafka, where FollowingCar reads anomalies")
    add("--kafka-properties", "", "file with more Kafka client settings (security, …)")
    add("--cloud-name", "cloud", "name of the cloud in replication: models come from <cloud>.models")
    add("--budgets", str(budgets.DEFAULT), "file of the limits that the run must keep")
