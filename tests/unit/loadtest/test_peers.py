"""Others' programs: their Python environments, and how a model server is asked."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadtest import peers
from loadtest.bench import serving
from loadtest.peers import model_server
from loadtest.peers.served_scorer import summary
from loadtest.peers.v2 import ANSWERS, INPUTS, OUTPUTS, REQUESTS, request, results_of


def test_an_environment_is_installed_once_until_its_pins_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """First use and changed pins make the environment anew; in between nothing is installed."""
    pins, commands = tmp_path / "loadtest/peers/rival.txt", list[str]()
    folder = tmp_path / "var/peers/rival"
    pins.parent.mkdir(parents=True)
    pins.write_text("rival==1\n")

    def install(argv: Sequence[str], within_s: float) -> None:
        commands.append(" ".join(argv[1:3]))
        folder.mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(peers, "_FOLDER", pins.parent)
    monkeypatch.setattr(peers, "install", install)
    assert peers.environment("rival") == folder / "bin/python"
    assert commands == ["-m venv", "-m pip"]
    peers.environment("rival")
    assert len(commands) == 2
    pins.write_text("rival==2\n")
    peers.environment("rival")
    assert len(commands) == 4


def test_a_record_travels_as_v2_json_and_back() -> None:
    """Names, shapes and float32 values survive; NaN, which JSON has not, is null."""
    signals, state = np.array([0.1, np.nan], np.float32), np.arange(3, dtype=np.float32)
    tensors = json.loads(request(signals, state))["inputs"]
    assert [tensor["name"] for tensor in tensors] == list(INPUTS)
    assert [tensor["shape"] for tensor in tensors] == [[1, 2], [1, 3]]
    assert tensors[0]["data"] == [float(np.float32(0.1)), None]
    outputs = zip(OUTPUTS, ([0.5], tensors[0]["data"], tensors[1]["data"]), strict=True)
    answer = json.dumps({"outputs": [{"name": name, "data": data} for name, data in outputs]})
    score, contribution, after = results_of(answer.encode())
    assert score.tolist() == [0.5]
    np.testing.assert_array_equal(contribution, signals)
    np.testing.assert_array_equal(after, state)


def test_the_model_server_listens_only_here_and_to_kafka_only_when_it_is_measured(tmp_path: Path) -> None:
    """And the model is named by an absolute path."""
    settings: dict[str, Any] = model_server.server_settings(1, 2, None)
    assert settings["host"] == "127.0.0.1"
    assert "kafka_enabled" not in settings
    settings = model_server.server_settings(1, 2, "127.0.0.1:3")
    topics = (settings["kafka_servers"], settings["kafka_topic_input"], settings["kafka_topic_output"])
    assert topics == ("127.0.0.1:3", REQUESTS, ANSWERS)
    parameters: Any = model_server.model_settings(tmp_path / "x.tflite")["parameters"]
    assert Path(parameters["uri"]).is_absolute()


def test_times_of_full_batches() -> None:
    """Median and 99th percentile in ms; without a full batch only their number."""
    assert summary([0.001, 0.002, 0.003]) == {"full_batches": 3, "batch_p50_ms": 2.0, "batch_p99_ms": 2.98}
    assert summary([]) == {"full_batches": 0}


def test_every_place_but_ours_is_a_peer() -> None:
    """One call a batch in two forms, one call a record, one message a record."""
    names = ["mlserver-grpc", "mlserver-grpc-floats", "mlserver-grpc-each", "mlserver-kafka"]
    assert list(serving.PEERS) == names
