"""The samples of a load car, and the command line that starts locust."""

import pytest

from contract.telemetry import SIGNALS
from loadtest.load import command_line, flags, target
from loadtest.load.samples import Sensors
from plumbing.settings import SettingsError
from tests.payloads import read_payload


def test_samples_are_valid_telemetry_without_a_gap():
    """An Avro reader decodes car, seq from 1, time and all signals; a faulty sample differs."""
    sensors = Sensors("load-0-000001")
    payloads = [sensors.sample(1_700_000_000_000 + i, faulty=i == 2) for i in range(50)]
    read = [read_payload(payload) for payload in payloads]
    assert {schema.name for schema, _ in read} == {"telemetry"}
    assert [record["seq"] for _, record in read] == list(range(1, 51))
    assert [record["sampled_at"] - 1_700_000_000_000 for _, record in read] == list(range(50))
    assert {record["car_id"] for _, record in read} == {"load-0-000001"}
    assert set(SIGNALS) < set(read[0][1])
    assert read[2][1]["tire_pressure_1_1"] < read[1][1]["tire_pressure_1_1"] / 2


def test_the_host_is_a_list_of_shards():
    """Cars are spread over all of them; anything but host:port is refused."""
    assert target.brokers("a:1, b:2") == (("a", 1), ("b", 2))
    with pytest.raises(SettingsError, match="--host"):
        target.brokers("a")


def test_locust_writes_reports_to_var_load_and_its_workers_write_none():
    """The given arguments come last, where locust prefers them."""
    assert command_line(["--csv", "x"])[-2:] == ["--csv", "x"]
    assert "var/load/report.html" in command_line([])
    assert "--html" not in command_line(["--worker"])


def test_help_explains_every_flag_of_ours():
    """locust's own help does not include them."""
    for flag in ("--host", "--shape", "--rate-hz", "--healthy-first", "--kafka-bootstrap", "--budgets"):
        assert flag in flags.text()
