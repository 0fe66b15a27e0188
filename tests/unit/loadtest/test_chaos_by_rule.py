"""What the services say is missing by rule."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contract import records
from contract.schema import latest
from contract.telemetry import SIGNALS
from loadtest.chaos import by_rule
from loadtest.chaos.auditor import Gap
from local.ledger import SEQ_BITS

NOW_MS = 1_796_000_000_000
AHEAD_MS = NOW_MS + 3_600_000


def letter(seq: int, sampled_at: int, reason: str = "impossible_time", *, framed_for: str = "mqtt") -> Any:
    """A dead letter of car-1, as a bridge (mqtt) or a scorer (kafka) writes it."""
    sample = {"car_id": "car-1", "model": "x", "seq": seq, "sampled_at": sampled_at}
    body = records.encode("telemetry", sample | dict.fromkeys(SIGNALS, 0.0))
    if framed_for == "mqtt":
        body = records.single_object_header(latest("telemetry")) + body[records.CONFLUENT_BYTES :]
    return SimpleNamespace(
        headers=lambda: [("reason", reason.encode())], value=lambda: body, timestamp=lambda: (1, NOW_MS)
    )


def test_a_record_that_is_ahead_of_time_is_refused_by_rule(monkeypatch: pytest.MonkeyPatch):
    """Once, however often it was refused; a reason that is not true, and other reasons, excuse nothing."""
    letters = [
        letter(1, AHEAD_MS),
        letter(1, AHEAD_MS),
        letter(2, AHEAD_MS, framed_for="kafka"),
        letter(3, NOW_MS),
        letter(4, AHEAD_MS, "bad_frame"),
    ]
    monkeypatch.setattr(by_rule, "read_topic", lambda *_: [letters])
    assert by_rule.refused("", ["car-0", "car-1"]).tolist() == [1 << SEQ_BITS | 1, 1 << SEQ_BITS | 2]
    assert by_rule.refused("", ["car-0"]).tolist() == []


def line(**fields: Any) -> str:
    gap = {"partition": 3, "offset": 10, "records": 4, "message": "… deleted them before they were read"}
    return json.dumps(gap | fields)


def test_gaps_are_read_from_the_logs(tmp_path: Path):
    """Only those of telemetry that was deleted first, of every replica of the service."""
    (tmp_path / "scorer-0.log").write_text(f"Traceback\n{line()}\n{line(message='set forward')}\n")
    (tmp_path / "scorer-1.log").write_text(f"{line(topic='alerts')}\n{line(offset=12)}\n")
    (tmp_path / "mirror-watch.log").write_text(line(topic="telemetry", offset=9))
    gaps = by_rule.deleted(tmp_path, "scorer")
    assert sorted(gaps) == [Gap(3, 10, 4), Gap(3, 12, 4)]
    assert by_rule.records_in(gaps) == 6
    assert by_rule.deleted(tmp_path, "mirror-watch") == [Gap(3, 9, 4)]
