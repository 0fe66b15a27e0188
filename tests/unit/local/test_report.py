"""What a run leaves behind and shows: tables, and JSON files that other programs read."""

import io
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from contract.foresight import AlertVerdicts
from local import report, screen
from local.ledger import Stage
from local.watch import Latency, Observed

NO_LATENCY = Latency(0, None, None)
INCIDENT = {
    "car_id": "car-000001",
    "kind": "slow_puncture",
    "component": "tire_1_2",
    "onset_at": 20_000,
    "failed_at": 60_000,
    "repaired_at": 80_000,
}
ALERT = {
    "car_id": "car-000001",
    "alert_id": "car-000001-30",
    "action": "opened",
    "opened_at": 30_000,
    "component": "tire_1_2",
    "model_version": 1,
    "scored_at": 30_000,
}
REPORT = {
    "car_id": "car-000001",
    "report_id": "car-000001-0-tire_1_2-failed",
    "component": "tire_1_2",
    "action": "failed",
    "occurred_at": 60_000,
}


@pytest.fixture
def foresight() -> AlertVerdicts:
    """One alert that a report confirms."""
    verdicts = AlertVerdicts(100, 10)
    verdicts.take_alert(ALERT)
    verdicts.take_report(REPORT)
    return verdicts


def show(console: Console, run_dir: Path, foresight: AlertVerdicts, lost: int) -> int:
    """Verdicts on a fleet that drove for 100 s from second 0 on, with one fault."""
    moments = SimpleNamespace(
        telemetry=1.0, first_model=10.0, caught_up=11.0, fleet_ended=100.0, since_start=lambda moment: moment,
        drift=61.0, trial=75.0, promoted=None,
    )  # fmt: skip
    observer: Any = SimpleNamespace(
        moments=moments,
        foresight=foresight,
        watch=SimpleNamespace(seen=Observed(), latency=lambda since_s: NO_LATENCY),
        memory_mib_max=1.0,
        tallies=lambda now_s: foresight.tallies(now_s, 10.0),
        watched_from=lambda now_s: 10.0,
    )
    deployment: Any = SimpleNamespace(
        plan=SimpleNamespace(
            run_dir=run_dir,
            cars=2,
            learning_s=5.0,
            time_lapse=1.0,
            changes={"recalibrated": 0.5, "recalibrated_at_s": 50.0},
        ),
        truth=lambda: [INCIDENT],
        supervisor=SimpleNamespace(restarts=0),
    )
    return report.show(console, deployment, observer, [Stage("edge_kafka", 100, 100 - lost, 0, lost)], {})


@pytest.mark.parametrize(("lost", "status"), [(0, 0), (1, 1)])
def test_a_run_ends_with_ledger_and_both_scorecards(
    tmp_path: Path, foresight: AlertVerdicts, lost: int, status: int
):
    """Against the reports and against the plan; the exit status says whether a record is lost."""
    console = Console(file=io.StringIO(), width=130)
    assert show(console, tmp_path, foresight, lost) == status
    assert "slow_puncture" in console.file.getvalue()  # type: ignore[attr-defined]
    card = json.loads((tmp_path / "scorecard.json").read_text())
    assert card["per_kind"]["slow_puncture"]["foreseen"] == card["hypothesis_right"] == 1
    assert card["foresight"]["all"]["right"] == card["foresight"]["all"]["foreseen"] == 1
    assert (card["median_lead_s"], card["seconds"]) == (30, 99)
    book = json.loads((tmp_path / "ledger.json").read_text())
    assert book["stages"][0]["lost"] == lost
    assert book["after_the_change_s"] == {"drift_seen": 10.0, "on_trial": 24.0, "promoted": None}
    assert "seen as a drift after 10 s, a new model on trial after 24 s, not the champion yet" in (
        console.file.getvalue()  # type: ignore[attr-defined]
    )


def picture(foresight: AlertVerdicts) -> screen.Picture:
    """At a moment of the run."""
    anomaly = {"sampled_at": 0, "car_id": "car-000001", "seq": 1, "score": 2, "threshold": 1}
    return screen.Picture(
        elapsed_s=70,
        duration_s=180,
        cars_connected=2,
        cars=2,
        rows=[screen.Row("cars to MQTT", 2, 140, 0, "simulator")],
        model_version=1,
        trainer="published",
        watcher="",
        open_alerts=3,
        latency=NO_LATENCY,
        tallies=foresight.tallies(70, 10),
        time_lapse=1_200,
        anomalies=1,
        recent=[anomaly | {"model_version": 1, "signals": []}],
        memory_mib=1,
        restarts=0,
    )


@pytest.mark.parametrize(("width", "height", "shown"), [(130, 24, True), (130, 18, False), (80, 24, True)])
def test_a_low_terminal_shows_the_scorecard_rather_than_anomalies(
    foresight: AlertVerdicts, width: int, height: int, shown: bool
):
    """The tables that matter are not cut off, neither at the bottom nor at the right."""
    console = Console(file=io.StringIO(), width=width)
    console.print(screen.render(picture(foresight), width, height))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert ("car-000001" in text, "100%" in text) == (shown, True)
    assert "…" not in text
    assert not shown or len(text.splitlines()) < height


def test_the_live_table_can_be_kept_as_a_picture(foresight: AlertVerdicts):
    """As SVG with the table's text and without an address from which something would be loaded."""
    svg = screen.as_svg(picture(foresight))
    assert svg.startswith("<svg")
    assert "car-000001" in svg
    assert "url(" not in svg.replace("url(#", "")


def test_a_fresh_terminal_has_room_for_all_components(foresight: AlertVerdicts):
    """With 80 columns and 24 lines, nine rows of components and long numbers; leads in hours of driving."""
    tally = foresight.tallies(70, 10)["all"]
    names = (
        "air_filter",
        "battery",
        "brake",
        "coolant_circuit",
        "sensor",
        "tire",
        "unknown",
        "wheel_bearing",
    )
    stages = ("cars to MQTT", "MQTT to Kafka", "Kafka to scores", "edge to cloud")
    full = replace(
        picture(foresight),
        rows=[screen.Row(name, 10_000, 1_800_000, 12_000, "● scorer-0 ● scorer-1") for name in stages],
        tallies=dict.fromkeys((*names, "all"), tally),
        cars=100_000,
        cars_connected=100_000,
    )
    console = Console(file=io.StringIO(), width=80)
    console.print(screen.render(full, 80, 24))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) < 24
    assert "…" not in "".join(lines)
    assert any(line.startswith("wheel_bearing") and line.split()[-2:] == ["10.0", "h"] for line in lines)


def test_without_a_model_the_table_says_what_is_done_about_it(foresight: AlertVerdicts):
    """While the first one is learned, with the trainer's own words."""
    console = Console(file=io.StringIO(), width=80)
    waiting = replace(picture(foresight), model_version=0, trainer="step 1 of 5, gathering telemetry")
    console.print(screen.render(waiting, 80, 24))
    text = " ".join(console.file.getvalue().split())  # type: ignore[attr-defined]
    assert "the first is being learned: step 1 of 5, gathering telemetry" in text
    assert "no model yet: step 1 of 5" in screen.line(waiting)


def test_a_log_line_says_how_the_alerts_stand(foresight: AlertVerdicts):
    """Without a terminal it is all that is seen while the run lasts."""
    output = screen.line(picture(foresight))
    assert "1 alerts: 1 confirmed, 0 false" in output
    assert "1 of 1 failures foreseen" in output
