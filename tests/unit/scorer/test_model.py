"""A model is used only if its checksum and its golden vectors are right."""

import struct
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from contract import records
from contract.errors import Malformed
from contract.manifest import MANIFEST_VERSION, TFLITE_BYTES_MAX
from contract.telemetry import SIGNALS
from plumbing import tflite
from plumbing.settings import SettingsError
from plumbing.tflite import interpreter_class
from scorer.model import Model
from tests import graphs
from tests.conftest import MEAN, SPREAD, Detector

K = len(SIGNALS)

NO_STATE = np.empty((1, 0), np.float32)


def refusal(record: bytes) -> str:
    """The reason for which a record is refused."""
    with pytest.raises(Malformed) as caught:
        Model.open(record, "litert")
    return caught.value.reason


@pytest.mark.parametrize("rows", [16, 1, 1_000])
def test_any_number_of_rows_is_scored_by_the_formula(detector: Any, rows: int) -> None:
    """Score and contribution agree with numpy, also for a NaN as a missing signal."""
    model = Model.open(detector.record(version=5, threshold=3.5), "litert")
    signals = (detector.mean + np.random.default_rng(rows).normal(size=(rows, K)) * 50).astype(np.float32)
    signals[0, 2] = np.nan
    score, contribution, _ = model.step(signals, np.empty((rows, 0), np.float32))
    np.testing.assert_allclose(score, detector.score(signals), rtol=1e-5)
    np.testing.assert_allclose(contribution, detector.contribution(signals), rtol=1e-5, atol=1e-9)
    assert (model.manifest.version, model.threshold) == (5, np.float32(3.5))


def test_results_do_not_change_with_the_next_call(detector: Any) -> None:
    """The arrays returned are not views into the interpreter's memory."""
    model = Model.open(detector.record(), "litert")
    first, _, _ = model.step(detector.mean[None, :], NO_STATE)
    model.step(detector.mean[None, :] + 100, NO_STATE)
    assert first[0] == 0


def test_a_wrong_checksum_is_refused(detector: Any) -> None:
    """A flipped bit in the graph is found before the graph is loaded."""
    flipped = bytearray(detector.tflite)
    flipped[700] ^= 1
    manifest = detector.manifest()
    fields = {"name": manifest.name, "version": 1, "manifest": manifest.to_json(), "tflite": bytes(flipped)}
    assert refusal(records.encode("model", fields)) == "bad_checksum"


def test_nan_weights_are_refused(detector: Any) -> None:
    """A graph whose weights are NaN, with the right checksum, fails its golden vectors."""
    offset = detector.tflite.index(detector.mean.tobytes())
    broken = bytearray(detector.tflite)
    broken[offset : offset + detector.mean.nbytes] = struct.pack("<f", np.nan) * K
    assert refusal(detector.record(tflite=bytes(broken))) == "golden_vectors"


def test_nan_golden_vectors_do_not_pass_nan_weights(detector: Any) -> None:
    """A broken graph whose own output was recorded as golden vectors is refused."""
    offset = detector.tflite.index(detector.mean.tobytes())
    broken = bytearray(detector.tflite)
    broken[offset : offset + detector.mean.nbytes] = struct.pack("<f", np.nan) * K
    nan = float("nan")
    golden = replace(detector.golden(), score=((nan,) * 16,), contribution=(((nan,) * K,) * 16,))
    assert refusal(detector.record(tflite=bytes(broken), golden=golden)) == "golden_vectors"


def test_other_weights_are_refused(detector: Any) -> None:
    """A valid graph with weights other than those of the golden vectors is refused."""
    offset = detector.tflite.index(detector.mean.tobytes())
    other = bytearray(detector.tflite)
    other[offset : offset + 4] = struct.pack("<f", 85.01)
    assert refusal(detector.record(tflite=bytes(other))) == "golden_vectors"


@pytest.mark.parametrize(
    "columns", [range(K - 1), [*range(K - 1, 2, -1)], [5, 0]], ids=["older", "others", "few"]
)
def test_a_model_that_judges_some_of_the_signals_gets_them_by_name(columns: Sequence[int]) -> None:
    """Score and contributions are those of its own columns, in any order; the others contribute 0."""
    picked = list(columns)
    some = Detector(graphs.detector(MEAN[picked], SPREAD[picked]), MEAN[picked], SPREAD[picked])
    model = Model.open(some.record(signals=tuple(SIGNALS[column] for column in picked)), "litert")
    signals = (MEAN + SPREAD * np.random.default_rng(1).normal(size=(7, K))).astype(np.float32)
    signals[:, [column for column in range(K) if column not in picked]] = np.nan
    score, contribution, _ = model.step(signals, np.empty((7, 0), np.float32))
    np.testing.assert_allclose(score, some.score(signals[:, picked]), rtol=1e-5)
    expected = np.zeros((7, K))
    expected[:, picked] = some.contribution(signals[:, picked])
    np.testing.assert_allclose(contribution, expected, rtol=1e-5, atol=1e-9)


def test_a_model_that_judges_an_unknown_signal_is_refused(detector: Any) -> None:
    """The message says that this program must be rolled out first."""
    with pytest.raises(Malformed, match=r"other_signals: .*no_such_signal.*roll out this program"):
        Model.open(detector.record(signals=(*SIGNALS[:-1], "no_such_signal")), "litert")


@pytest.mark.parametrize("signals", [(), SIGNALS[:-1], (*SIGNALS[:-1], SIGNALS[0])])
def test_signals_that_do_not_fit_the_golden_vectors_are_refused(
    detector: Any, signals: tuple[str, ...]
) -> None:
    """None, fewer than the graph's, and one of them twice."""
    assert refusal(detector.record(signals=signals)) == "malformed_manifest"


def test_an_unknown_manifest_version_is_refused(detector: Any) -> None:
    """A manifest of a newer trainer is not interpreted."""
    assert refusal(detector.record(manifest_version=MANIFEST_VERSION + 1)) == "unknown_manifest_version"


def test_an_oversized_graph_is_refused(detector: Any) -> None:
    """A graph above TFLITE_BYTES_MAX is not loaded, valid or not."""
    assert refusal(detector.record(tflite=detector.tflite + bytes(TFLITE_BYTES_MAX))) == "too_large"


@pytest.mark.parametrize("garbage", [b"", b"garbage", b"\0\0\0\0TFL3" + bytes(200), bytes(5_000)])
def test_garbage_instead_of_a_graph_is_refused(detector: Any, garbage: bytes) -> None:
    """Garbage with a right checksum is refused and does not crash the process."""
    assert refusal(detector.record(tflite=garbage)) == "unusable_graph"


@pytest.mark.parametrize("share", np.linspace(0.05, 0.95, 10))
def test_a_truncated_graph_is_refused(detector: Any, share: float) -> None:
    """A truncated graph with a right checksum is refused and does not crash the process."""
    size = int(share * len(detector.tflite))
    assert refusal(detector.record(tflite=detector.tflite[:size])) in {"unusable_graph", "golden_vectors"}


@pytest.mark.parametrize("record", [b"", b"junk", b"\0\0\0\0\x01" + bytes(100), b"\0\0\0\0\x63"])
def test_a_record_that_is_not_a_model_is_refused(record: bytes) -> None:
    """Other bytes and other records on the models topic are refused with a reason."""
    assert refusal(record) in {"bad_frame", "unknown_schema", "malformed_record"}


def test_a_model_that_cannot_be_verified_is_refused(detector: Any) -> None:
    """Golden vectors and a finite threshold are required."""
    empty = replace(detector.golden(), signals=(), score=(), contribution=())
    assert refusal(detector.record(golden=empty)) == "golden_vectors"
    assert refusal(detector.record(threshold=float("nan"))) == "golden_vectors"


class Interpreter:
    """A graph with the fixed number of rows of the golden vectors."""

    def __init__(self, **_: Any) -> None:
        self.rows = 0

    def get_input_details(self) -> list[dict[str, Any]]:
        return [{"index": 0, "shape": (16, K)}]

    def get_output_details(self) -> list[dict[str, Any]]:
        return [{"index": 1, "shape": (16,)}, {"index": 2, "shape": (16, K)}]

    def resize_tensor_input(self, _index: int, shape: tuple[int, int]) -> None:
        if shape[0] != 16:
            raise RuntimeError("Attempting to resize a fixed-size tensor")


def test_a_graph_of_a_fixed_batch_size_is_refused(detector: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A graph that can run its golden vectors but not a single record is refused."""
    monkeypatch.setattr(tflite, "interpreter_class", lambda _: Interpreter)
    assert refusal(detector.record()) == "unusable_graph"


def test_outputs_are_identified_by_rank(detector: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs may be in another order; a graph that lacks one is refused."""
    real = interpreter_class("litert")

    def swapped(**options: Any) -> Any:
        inner = real(**options)
        details = inner.get_output_details()[::-1]
        return SimpleNamespace(**{name: getattr(inner, name) for name in dir(inner) if name[0] != "_"}
                               | {"get_output_details": lambda: details[:keep]})  # fmt: skip

    monkeypatch.setattr(tflite, "interpreter_class", lambda _: swapped)
    keep = 2
    assert Model.open(detector.record(), "litert").step(detector.mean[None, :], NO_STATE)[0].shape == (1,)
    keep = 1
    assert refusal(detector.record()) == "unusable_graph"


def test_a_runtime_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """SettingsError names the flag."""
    monkeypatch.setitem(__import__("sys").modules, "tflite_runtime.interpreter", None)
    with pytest.raises(SettingsError, match="--runtime tflite-runtime is not installed"):
        interpreter_class("tflite-runtime")
