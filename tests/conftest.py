"""What tests of several packages need: a smallest model and telemetry records, as they travel."""

import gc
import hashlib
import signal
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contract import records, telemetry
from contract.alert_rule import AlertRule
from contract.golden import Golden
from contract.manifest import Decision, Manifest
from contract.records import confluent_header
from contract.schema import get, latest
from contract.state_layout import StateLayout
from contract.telemetry import SIGNALS, Floats
from tests import graphs

K = len(SIGNALS)
# The constants of the test detectors' graphs, in the order of SIGNALS; a signal added later is 50 ± 5.
_MEANS = (85, 30, 20, 70, 380, 20, 15, 900, 0.3, 32, 32, 32, 32, 0, 0, 0, 0, 1500)
_SPREADS = (8, 6, 9, 15, 12, 25, 10, 400, 0.2, 1, 1, 1, 1, 2, 2, 2, 2, 500)
MEAN = np.array([*_MEANS, *[50] * (K - len(_MEANS))], np.float32)
SPREAD = np.array([*_SPREADS, *[5] * (K - len(_SPREADS))], np.float32)


def pytest_configure() -> None:
    """A shell's job in the background ignores SIGINT, and so would every process that a test starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, Any, Any]:
    """What imports and collection make lives to the end: no garbage collector needs to look at it again.

    That was a tenth of the CPU of the unit tests. What a test leaves behind is found as before.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@dataclass(frozen=True)
class Detector:
    """graphs.detector: the score of a sample is its distance from `mean` in units of `spread`."""

    tflite: bytes
    mean: NDArray[np.float32]
    spread: NDArray[np.float32]

    def contribution(self, signals: NDArray[np.float32]) -> NDArray[np.float64]:
        """What the graph must give for (n, K), computed without it."""
        z = (signals.astype(np.float64) - self.mean) / self.spread
        return np.where(np.isnan(signals), 0, z * z)

    def score(self, signals: NDArray[np.float32]) -> NDArray[np.float64]:
        """What the graph must give for (n, K), computed without it: (n,)."""
        distances: NDArray[np.float64] = np.sqrt(self.contribution(signals).sum(axis=1))
        return distances

    def golden(self) -> Golden:
        """16 samples around the mean; the last misses a signal."""
        noise = np.random.default_rng(1).normal(size=(16, len(self.mean)))
        signals = (self.mean + self.spread * noise).astype(np.float32)
        signals[-1, 1] = np.nan
        no_state = np.empty((16, 0), np.float32)
        return Golden.of(
            signals[None], no_state, lambda s, _: (self.score(s), self.contribution(s), no_state)
        )

    def manifest(self, version: int = 1, threshold: float = 12.0, **other: Any) -> Manifest:
        """A sound manifest; `other` replaces fields."""
        tflite = other.pop("tflite", self.tflite)
        sound = Manifest(
            name="failure-detector",
            version=version,
            parent=None,
            created_at="2026-01-01T00:00:00Z",
            git_revision="0" * 40,
            signals=SIGNALS,
            schema_fingerprint=latest("telemetry").fingerprint.hex(),
            threshold=threshold,
            false_alarms_per_car_week=0.1,
            alert=AlertRule(),
            components={"coolant_circuit": ("coolant_temp",), "tire_1_1": ("tire_pressure_1_1",)},
            state=None,
            training_offsets={},
            validation_offsets={},
            seed=1,
            metrics={},
            reference_quantiles={},
            golden=self.golden(),
            tflite_sha256=hashlib.sha256(tflite).hexdigest(),
            tflite_bytes=len(tflite),
            decision=Decision(published=True),
        )
        return replace(sound, **other)

    def record(self, version: int = 1, threshold: float = 12.0, **other: Any) -> bytes:
        """The framed model record, as it is in the topic; `other` replaces fields of the manifest.

        `tflite` is the graph itself. Nothing is checked: a record can be as broken as a test needs it.
        """
        manifest = self.manifest(version, threshold, **other)
        tflite = other.get("tflite", self.tflite)
        fields = {"name": manifest.name, "version": version, "manifest": manifest.to_json(), "tflite": tflite}
        return records.encode("model", fields)


@dataclass(frozen=True)
class Remembering(Detector):
    """graphs.remembering: that distance less the car's own mean of it, smoothed; with state.

    `learning` samples, during which the score is 0; then `share` of each sample goes into the deviation.
    """

    learning = 8
    share = np.float32(0.25)

    @classmethod
    def of(cls, mean: NDArray[np.float32], spread: NDArray[np.float32]) -> "Remembering":
        """The detector of as many signals as there are means."""
        graph = graphs.remembering(mean, spread, learning=cls.learning, share=float(cls.share))
        return cls(graph, mean, spread)

    @property
    def layout(self) -> StateLayout:
        """Samples seen, baseline and deviation."""
        k = len(self.mean)
        return StateLayout(
            width=1 + 2 * k, learning_samples=8, memory_samples=4.0, sample_interval_s=1.0,
            baseline=(1, 1 + k), deviation=(1 + k, 1 + 2 * k), units=f"spreads of {k} signals",
        )  # fmt: skip

    def step(self, signals: Floats, state: Floats) -> tuple[Floats, Floats, Floats]:
        """What the graph must give for signals (n, K) and state (n, 1 + 2 K), computed without it."""
        z, k = np.nan_to_num((signals - self.mean) / self.spread), len(self.mean)
        seen, baseline, deviation = state[:, :1], state[:, 1 : 1 + k], state[:, 1 + k :]
        learns = (seen < self.learning).astype(np.float32)
        seen = seen + learns
        baseline = baseline + learns * (z - baseline) / seen
        deviation = deviation + (1 - learns) * self.share * (z - baseline - deviation)
        contribution = deviation * deviation
        after = np.concatenate([seen, baseline, deviation], axis=1).astype(np.float32)
        return np.sqrt(contribution.sum(axis=1)), contribution, after

    def golden(self) -> Golden:
        """12 samples of a new car, of one that has learned from 5 already, and of a warm one."""
        k = len(self.mean)
        noise = np.random.default_rng(1).normal(size=(12, 3, k))
        signals = (self.mean + self.spread * noise).astype(np.float32)
        signals[4:, 1, 1] = np.nan
        state = np.zeros((3, self.layout.width), np.float32)
        state[1, : 1 + k] = 5, *[0.5] * k
        state[2, :] = 8, *[0.1] * 2 * k
        return Golden.of(signals, state, self.step)

    def manifest(self, version: int = 1, threshold: float = 12.0, **other: Any) -> Manifest:
        """A sound manifest; `other` replaces fields."""
        return super().manifest(version, threshold, **{"state": self.layout, **other})

    def shifted(self, by: float) -> "Remembering":
        """Another model: it expects every signal to be by so many spreads higher."""
        mean = (self.mean + np.float32(by) * self.spread).astype(np.float32)
        return replace(self, mean=mean, tflite=self.tflite.replace(self.mean.tobytes(), mean.tobytes()))


@pytest.fixture(scope="session")
def detector() -> Detector:
    return Detector(graphs.detector(MEAN, SPREAD), MEAN, SPREAD)


@pytest.fixture(scope="session")
def remembering() -> Remembering:
    return Remembering.of(MEAN, SPREAD)


@pytest.fixture(scope="session")
def telemetry_values() -> Callable[..., list[bytes]]:
    """Framed telemetry values as they are in Kafka: of cars (n), with their seq (n) and signals (n, K)."""

    def values(
        cars: Sequence[str],
        seq: Sequence[int],
        signals: NDArray[np.float32] | None = None,
        sampled_at_ms: int | NDArray[np.int64] | None = None,
        version: int = latest("telemetry").version,
    ) -> list[bytes]:
        schema = get("telemetry", version)
        header = confluent_header(schema.schema_id)
        count = len(cars)
        now_ms = time.time_ns() // 1_000_000 if sampled_at_ms is None else sampled_at_ms
        return telemetry.encode(
            [header + telemetry.prefix(schema, car) for car in cars],
            np.array(seq, np.int64),
            np.full(count, now_ms, np.int64),
            (np.tile(MEAN, (count, 1)) if signals is None else signals)[:, : len(schema.names("float"))],
        )

    return values
