"""The end of a run: ledger and scorecard as tables and JSON files, and what to do next."""

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from local import scorecard, screen
from local.deployment import TRAINER, Deployment
from local.ledger import Stage
from local.observer import Observer

# Model version -> replica -> when it scored its first batch with it, s since 1970.
FirstBatches = Mapping[int, Mapping[str, float]]
_NEXT = """\
What to do next:
  make up      keep it running: train, list and roll back models meanwhile
  make chaos   kill everything under load, then look for every record
  var/venv/bin/python -m files example --out pumps.csv   a file to fit and score"""


def show(
    console: Console,
    deployment: Deployment,
    observer: Observer,
    stages: Sequence[Stage],
    first_batches: FirstBatches,
) -> int:
    """Print and write everything. The exit status is 0 where records flowed and none was lost."""
    plan, seen = deployment.plan, observer.watch.seen
    run_dir, ended_at = plan.run_dir, observer.moments.fleet_ended or time.time()
    book = _ledger(deployment, observer, stages, first_batches, ended_at)
    card = scorecard.draw_up(
        deployment.truth(),
        observer.foresight.alerts(ended_at),
        cars=plan.cars,
        from_s=observer.moments.telemetry or ended_at,
        to_s=ended_at,
        learning_s=plan.learning_s,
        time_lapse=plan.time_lapse,
    )
    foreseen = observer.foresight.as_dict(ended_at, observer.watched_from(ended_at))
    for name, content in (("ledger", book), ("scorecard", card.as_dict() | {"foresight": foreseen})):
        (run_dir / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    console.print(screen.anomalies_table(list(seen.recent), narrow=console.width < screen.WIDE_COLUMNS))
    screen.show_ledger(console, stages)
    tallies = observer.tallies(ended_at)
    screen.show_foresight(console, observer.foresight, tallies, plan.time_lapse)
    screen.show_scorecard(console, card)
    latency = book["car_to_anomaly_ms"]
    console.print(
        f"first anomaly after {book['seconds_to_first_anomaly']} s; car to anomaly p50 "
        f"{screen.milliseconds(latency['p50'])}, p99 {screen.milliseconds(latency['p99'])} "
        f"({latency['anomalies']} anomalies since the scorers had caught up); "
        f"at most {screen.number(book['memory_mib'])} MiB; {book['restarts']} restarts"
    )
    for model in book["models"]:
        hops = ", ".join(f"{name} {ms} ms" for name, ms in model["to_first_batch_ms"].items())
        console.print(
            f"model {model['version']}: on the edge {model['to_edge_ms']} ms after it was published; "
            f"first batch scored by it: {hops or 'none'}"
        )
    _show_change(console, book["after_the_change_s"])
    console.print(f"written to {run_dir}/ledger.json and {run_dir}/scorecard.json; logs in {run_dir}/logs")
    status = _verdict(console, deployment, observer, stages)
    console.print(_NEXT, soft_wrap=True)
    return status


def _show_change(console: Console, after_s: Mapping[str, float | None]) -> None:
    """Print what became of the change of the fleet."""
    words = {"drift_seen": "seen as a drift", "on_trial": "a new model on trial", "promoted": "the champion"}
    if any(after_s.values()):
        steps = ", ".join(
            f"{words[name]} after {at:.0f} s" if at is not None else f"not {words[name]} yet"
            for name, at in after_s.items()
        )
        console.print(f"the change of the fleet: {steps}")


def _ledger(
    deployment: Deployment,
    observer: Observer,
    stages: Sequence[Stage],
    first_batches: FirstBatches,
    ended_at: float,
) -> dict[str, Any]:
    """The content of ledger.json."""
    moments = observer.moments
    latency = observer.watch.latency(moments.caught_up or ended_at)
    return {
        "stages": [vars(stage) for stage in stages],
        "seconds_to_telemetry": moments.since_start(moments.telemetry),
        "seconds_to_first_model": moments.since_start(moments.first_model),
        "seconds_to_first_anomaly": moments.since_start(observer.watch.seen.first_anomaly_at),
        "car_to_anomaly_ms": {"p50": latency.p50_ms, "p99": latency.p99_ms, "anomalies": latency.count},
        # ms from the publication of each model to the edge, and to the first batch of each replica.
        "models": [
            {
                "version": arrival.version,
                "to_edge_ms": round(1000 * (arrival.at_edge - arrival.published_at)),
                "to_first_batch_ms": {
                    scorer: round(1000 * (at - arrival.published_at))
                    for scorer, at in sorted(first_batches.get(arrival.version, {}).items())
                },
            }
            for arrival in observer.watch.seen.models
            if not arrival.on_trial
        ],
        "after_the_change_s": _after_the_change_s(deployment, observer),
        "memory_mib": round(observer.memory_mib_max),
        "restarts": deployment.supervisor.restarts,
    }


def _after_the_change_s(deployment: Deployment, observer: Observer) -> dict[str, float | None]:
    """When what a change of the fleet leads to was seen, s after it; None: not yet, or nothing changed."""
    moments, plan = observer.moments, deployment.plan
    changed = plan.changes.get("recalibrated_at_s") if plan.changes.get("recalibrated") else None
    steps = {"drift_seen": moments.drift, "on_trial": moments.trial, "promoted": moments.promoted}
    if not isinstance(changed, int | float) or moments.telemetry is None:
        return dict.fromkeys(steps)
    changed_at = moments.telemetry + changed
    return {name: None if at is None else round(at - changed_at, 1) for name, at in steps.items()}


def _verdict(console: Console, deployment: Deployment, observer: Observer, stages: Sequence[Stage]) -> int:
    lost = [stage.stage for stage in stages if stage.lost]
    if lost:
        console.print(f"[bold red]records are lost at: {', '.join(lost)}[/]")
    if observer.moments.first_model is None:
        supervisor = deployment.supervisor
        console.print(
            f"no model came into use; the end of {supervisor.log_of(TRAINER)}:\n"
            f"{supervisor.last_lines(TRAINER)}",
            markup=False,
        )
    return 1 if lost or not stages[0].expected else 0
