"""`trainer rescore`: a range of the log through several models, their alerts beside the workshops' reports.

Every model begins with new cars, and all are judged on the same records: those after which each of them has
learned the car.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.foresight import ALL
from contract.maintenance import INSPECTED
from contract.telemetry import Decoded
from contract.topics import MAINTENANCE, TELEMETRY, mirrored
from plumbing import kafka
from plumbing.life import Stop, WorldDown
from plumbing.offsets import bounds
from plumbing.settings import SettingsError
from trainer import log_slice, reading
from trainer.history.replayed import ReplayedCars, ReplayedModel
from trainer.history.span import span
from trainer.judge import alarms
from trainer.publication import Entry, newest
from trainer.settings import Settings
from trainer.table import table

_BLOCK_RECORDS = 131_072  # enough for a thousand cars in step, and 10 MB
_COLUMNS = ("alerts", "confirmed", "late", "false", "pending", "precision", "failures", "foreseen", "recall")
_Batch = tuple[NDArray[np.int32], Decoded]


def run(settings: Settings, history: Sequence[Entry], stop: Stop) -> int:
    """Rescore, print the table, write the JSON. Returns the exit code.

    Raises NotPublishable for an unknown version, SettingsError, WorldDown, Stopped.
    """
    if not settings.models:
        raise SettingsError("--models names the versions to compare, as in --models 16,17")
    models = [replayed(newest(history, version), settings) for version in settings.models]
    cars = ReplayedCars(max(model.learning_samples for model in models))
    telemetry, maintenance = (
        [mirrored(edge, kind) for edge in settings.edge_names] for kind in (TELEMETRY, MAINTENANCE)
    )
    with closing(reading.open_log(settings)) as consumer:
        topic_ids = kafka.topic_ids(settings.kafka_bootstrap, settings.kafka_properties, telemetry)
        offsets = span(consumer, telemetry, settings.from_, settings.to)
        progress = reading.log_progress("rescoring", log_slice.records_in(offsets), stop)
        began_s = time.perf_counter()
        batches = log_slice.batches(consumer, offsets, reading.decoder(settings), cars.numbers)
        for numbers, decoded in blocks(batches, progress):
            block = cars.block(numbers, decoded)
            for model in models:
                model.take(block)
        seconds = time.perf_counter() - began_s
        reports = log_slice.reports(consumer, bounds(consumer, maintenance), reading.report_schemas(settings))
    results = {"offsets": offsets, "topic_ids": topic_ids, "seconds": seconds} | judged(models, cars, reports)
    settings.out.parent.mkdir(parents=True, exist_ok=True)
    settings.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    print(f"{as_text(results)}\nwritten to {settings.out}")
    return 0


def replayed(entry: Entry, settings: Settings) -> ReplayedModel:
    """The model of a record. Raises SettingsError where its graph was too large to be kept."""
    if not entry.tflite:
        raise SettingsError(f"version {entry.manifest.version} was refused as too large: no graph was kept")
    return ReplayedModel(entry.manifest, entry.tflite, settings.label_window_s)


def blocks(batches: Iterable[_Batch], progress: Callable[[int], None]) -> Iterator[_Batch]:
    """The batches, joined to blocks of _BLOCK_RECORDS or a little more; the last may be smaller."""
    parts, records, blocks_end = list[_Batch](), 0, _BLOCK_RECORDS
    for batch in batches:
        parts.append(batch)
        records += len(batch[0])
        progress(records)
        if records >= blocks_end:
            yield _joined(parts)
            parts, blocks_end = [], records + _BLOCK_RECORDS
    if parts:
        yield _joined(parts)


def _joined(parts: list[_Batch]) -> _Batch:
    seq, at_ms, signals = (
        np.concatenate([getattr(decoded, name) for _, decoded in parts])
        for name in ("seq", "sampled_at_ms", "signals")
    )
    return np.concatenate([numbers for numbers, _ in parts]), Decoded(
        np.arange(len(seq)), seq, at_ms, signals
    )


def judged(
    models: Sequence[ReplayedModel], cars: ReplayedCars, reports: Sequence[log_slice.MaintenanceReport]
) -> dict[str, Any]:
    """The results for the JSON. Raises WorldDown where no car was learned."""
    if not cars.judged_records:
        raise WorldDown(
            f"{cars.records} records of {len(cars.numbers)} cars, none after the {cars.judged_from} samples "
            "that the models learn a car for: take a longer range (--from, --to)"
        )
    counted = [
        report
        for report in reports
        if cars.judged_since_ms(report.car) <= report.occurred_at_ms <= cars.newest_ms
    ]
    results = []
    for model in models:
        for number, report in enumerate(counted):
            model.verdicts.take_report(vars(report) | {
                "report_id": str(number), "car_id": report.car.decode(), "occurred_at": report.occurred_at_ms,
                "inspected": report.action == INSPECTED,  # and no alert_id: it names one of another model
            })  # fmt: skip
        speed = {"version": model.manifest.version, "records_per_cpu_s": round(cars.records / model.cpu_s)}
        results.append(speed | model.verdicts.as_dict(cars.newest_ms / 1000, -np.inf))
    return {
        "records": cars.records,
        "records_left_out": cars.left_out,
        "cars": len(cars.numbers),
        "judged_car_weeks": alarms.car_weeks(cars.judged_records, cars.interval_s),
        "sampled_from_ms": cars.oldest_ms,
        "sampled_to_ms": cars.newest_ms,
        "reports": len(counted),
        "models": results,
    }


def as_text(results: dict[str, Any]) -> str:
    """The results as a table, the models of a component one below the other."""
    tallies = {model["version"]: model["per_component"] | {ALL: model["all"]} for model in results["models"]}
    names = sorted({name for tally in tallies.values() for name in tally} - {ALL})
    rows = []
    for name in (*names, ALL):
        for version, tally in tallies.items():
            if row := tally.get(name):
                lead_s, weekly = row["median_lead_s"], row["false"] / results["judged_car_weeks"]
                rows.append([name, version, *(row[column] for column in _COLUMNS), lead_s, weekly])
    times = (datetime.fromtimestamp(results[f"sampled_{end}_ms"] / 1000, UTC) for end in ("from", "to"))
    since, until = (time.isoformat(timespec="seconds") for time in times)
    header = ("component", "model", *_COLUMNS, "median lead s", "false alarms/car-week")
    speeds = ", ".join(f"model {each['version']} {each['records_per_cpu_s']}" for each in results["models"])
    return (
        f"{results['records']} records of {results['cars']} cars, {since} to {until}; judged: "
        f"{results['judged_car_weeks']:.4g} car-weeks, {results['reports']} reports\n\n"
        f"{table(header, rows)}\n\n{results['seconds']:.1f} s, "
        f"{results['records'] / results['seconds']:.0f} records/s through all; a second of CPU: {speeds}"
    )
