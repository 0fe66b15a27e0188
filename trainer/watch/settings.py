"""The settings of the watcher."""

from dataclasses import dataclass
from typing import Literal

from plumbing.kafka import KafkaSettings
from plumbing.service import ServiceSettings
from plumbing.settings import setting
from trainer.watch.verdict import Rules

TrainWith = Literal["process", "launch", "none"]


@dataclass(frozen=True, kw_only=True)
class Settings(KafkaSettings, ServiceSettings):
    """Flags, environment (WATCHER_…) or these defaults."""

    model_name: str = setting("key of the model on the models topic", default="failure-detector")
    edge_names: tuple[str, ...] = setting(
        "names of the edge clusters in replication: evidence comes from <edge>.scores.evidence",
        default=("edge",),
    )
    look_every_s: float = setting("how often evidence is judged", default=60.0, above=0)
    looks: int = setting("a drift that lasts for this many looks starts a training", default=3, least=1)
    cool_down_s: float = setting(
        "no training is started this soon after any decision about the model", default=21_600.0, least=0
    )
    slice_s: float = setting(
        "how old a drift of a signal must be for a training, which learns from telemetry since then alone",
        default=86_400.0,
        least=0,
    )
    train_with: TrainWith = setting(
        "how a training is started: as a process here, with trainer launch as a Job, or not at all",
        default="process",
    )
    promote: Literal["by-evidence", "by-hand"] = setting(
        "whether a challenger is promoted on its evidence, or only by a person", default="by-evidence"
    )
    false_alarms_per_car_week: float = setting(
        "budget: alerts that healthy cars may raise in 168 h of their telemetry", default=0.1, above=0
    )
    car_weeks_min: float = setting(
        "a challenger is promoted after so many times 168 h of judged telemetry", default=100.0, above=0
    )
    horizon_s: float = setting(
        "an alert is right where a failure follows within this time", default=1_209_600.0, above=0
    )
    report_s: float = setting("how long a workshop's report may take", default=86_400.0, above=0)
    history_s: float = setting("how far back alerts and reports are read", default=2_592_000.0, above=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.edge_names:
            raise ValueError("--edge-names must name at least one edge")
        if not self.model_name:
            raise ValueError("--model-name must not be empty")

    @property
    def rules(self) -> Rules:
        """What the verdict on a trial depends on."""
        return Rules(
            budget=self.false_alarms_per_car_week,
            car_weeks_min=self.car_weeks_min,
            by_evidence=self.promote == "by-evidence",
        )
