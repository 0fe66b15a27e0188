"""The settings of the trainer."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from contract.alert_rule import SMOOTHED, AlertRule
from plumbing.kafka import KafkaSettings
from plumbing.log import LogFormat
from plumbing.settings import setting


@dataclass(frozen=True, kw_only=True)
class Settings(KafkaSettings):
    """Flags, environment (TRAINER_…) or these defaults. All commands take all of them."""

    model_name: str = setting("key of the model on the models topic", default="failure-detector")
    edge_names: tuple[str, ...] = setting(
        "names of the edge clusters in replication: telemetry comes from <edge>.telemetry", default=("edge",)
    )
    wait_records: int = setting("start when the topics hold this many records", default=1, least=1)
    wait_seconds: float = setting("how long to wait for them before giving up", default=60.0, least=0)
    records_max: int = setting("train on at most this many of the newest records", default=1_000_000, least=1)
    seed: int = setting("seed of training and evaluation", default=1)
    steps_max: int = setting("at most this many training steps of the network", default=4_000, least=1)
    learning_s: float = setting(
        "how long a car is watched before it is judged, in seconds of its telemetry", default=28_800.0
    )
    memory_s: float = setting(
        "how far back a car's deviations are averaged, in seconds of its telemetry", default=3_600.0, above=0
    )
    false_alarms_per_car_week: float = setting(
        "budget: alerts that healthy cars may raise in 168 h of their telemetry", default=0.1, above=0
    )
    alert_smoothing: float = setting(
        "share of the newest score in the level that is held against the threshold; 1: no smoothing",
        default=SMOOTHED.smoothing,
    )
    alert_close_ratio: float = setting(
        "hysteresis: an open alert closes when the level falls below this share of the threshold",
        default=SMOOTHED.close_ratio,
    )
    label_window_s: float = setting(
        "an alert at most this long before a reported failure has foreseen it", default=3_600.0, above=0
    )
    labelled_cars_min: int = setting(
        "with reported failures of at least this many held-out cars the reports are the labels; with fewer, "
        "artificial deviations of healthy cars are",
        default=20,
        least=1,
    )
    share: float | None = setting(
        "train, promote: the model goes on trial beside the champion, and may score this share of the "
        "cars, 0 to 1; none: it becomes the champion",
        default=None,
        least=0,
        most=1,
    )
    trust_slice: bool = setting(
        "a person vouches for the slice: neither the champion's exam nor its recall in the slice nor the "
        "physical bounds refuse; for a fleet that has really changed",
        default=False,
    )
    models: tuple[int, ...] = setting("rescore: versions to compare, separated by commas", default=())
    from_: str = setting(
        "train, rescore: where the range begins: a time (2026-11-30T10:00Z), offsets (partition:offset,…), "
        "or empty: the oldest record",
        default="",
    )
    to: str = setting(
        "rescore: where the range ends, as --from; empty: the newest record",
        default="",
    )
    out: Path = setting("rescore: file for the results", default=Path("var/rescore.json"))
    tracking_uri: str = setting(
        "track: MLflow's store; artifacts lie beside a SQLite file", default="sqlite:///var/mlflow/mlflow.db"
    )
    git_revision: str = setting("source revision for the manifest; empty: ask git", default="")
    log_format: LogFormat = setting("log lines", default="auto")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.wait_records > self.records_max:
            raise ValueError("--wait-records must not be more than --records-max")
        if self.memory_s > self.learning_s:
            raise ValueError("--learning-s must be at least as long as --memory-s")
        _ = self.alert_rule  # raises ValueError for values that it refuses
        if not self.edge_names:
            raise ValueError("--edge-names must name at least one edge")
        if not self.model_name:
            raise ValueError("--model-name must not be empty")

    @property
    def alert_rule(self) -> AlertRule:
        """When the scorers open and close an alert; it goes into the manifest."""
        return AlertRule(smoothing=self.alert_smoothing, close_ratio=self.alert_close_ratio)


def git_revision() -> str:
    """The commit of the source, or `unknown` where there is no git."""
    try:
        done = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"
