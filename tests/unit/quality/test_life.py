"""The experiments of `make life`."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from quality.life import drift, handovers, poisoned, trials
from quality.life import looks as looks_module
from quality.life.bars import Bar
from quality.life.looks import LOOK, Looks
from quality.life.replayed import Replayed, replayed, with_manifest
from scorer.model import Model


def test_every_publication_is_a_model_of_its_own(remembering: Any) -> None:
    """A graph that is published again takes over each car after half a learning period."""
    model = Model.open(remembering.record(1, threshold=3.0), "litert")
    noise = np.random.default_rng(1).normal(size=(2, 24, len(remembering.mean)))
    signals = (remembering.mean + remembering.spread * noise).astype(np.float32)
    result = replayed(signals, {0: model, 8: model, 14: model})
    assert result.models[0].tolist() == [0] * 11 + [1] * 6 + [2] * 7
    once = replayed(signals, {0: model})
    np.testing.assert_allclose(result.shares, once.shares, atol=1e-4)


def test_alerts_of_replayed_cars() -> None:
    """Openings, and cars whose alert is open at a moment."""
    shares = np.zeros((2, 100), np.float32)
    shares[0, 50:60] = 2
    result = Replayed(shares, np.zeros((2, 100), np.int64))
    assert result.false_alarms(0)[0] == 1
    assert result.false_alarms(0)[1] == pytest.approx(200 / (168 * 60))
    assert [result.open_share(sample) for sample in (49, 57, 99)] == [0, 0.5, 0]
    assert result.part(slice(1, 2)).false_alarms(0)[0] == 0


def test_the_bars_are_over_all_seeds() -> None:
    """Rates are pooled; the worst seed counts for the ages and the open alerts."""
    row = {"false_alarms": 2, "car_weeks": 10.0, "recall": 0.9}
    seed = dict.fromkeys(("never", "same", "retrained"), row)
    seed |= {"nightly": row | {"oldest_model_driving_h": 9.0}, "change": row | {"open_share": 0.01}}
    worse = seed | {"same": row | {"false_alarms": 8, "recall": 0.7}, "change": row | {"open_share": 0.2}}
    bars = {bar.name: bar for bar in handovers.bars([seed, worse])}
    assert bars["false_alarms_ratio"].figure == pytest.approx(2.5)
    assert bars["recall_loss"].figure == pytest.approx(0.1)
    assert {name for name, bar in bars.items() if not bar.met} == {
        "false_alarms_ratio", "recall_loss", "fleet_change_open_share",
    }  # fmt: skip
    assert Bar("", "", 2.0, 2).met


def test_cars_that_begin_later() -> None:
    """They are not known before, score 0 and count as the first model's."""
    assert len(drift._Fleet(1).begin()) == drift._HEALTHY + drift._FAULTY
    begin = drift._Fleet(1, "new_model").begin()
    assert (np.diff(begin) >= 0).all()
    assert np.mean(begin[: drift._HEALTHY] > 0) == pytest.approx(drift._SHARE)


def test_new_cars_in_a_replay(remembering: Any) -> None:
    """A car's scores do not depend on when it joins."""
    model = Model.open(remembering.record(1, threshold=3.0), "litert")
    noise = np.random.default_rng(1).normal(size=(2, 24, len(remembering.mean)))
    signals = (remembering.mean + remembering.spread * noise).astype(np.float32)
    known: list[int] = []
    late = np.concatenate([signals[:1], np.roll(signals[1:], 4, axis=1)])
    joined = replayed(
        late, {0: model}, begin=np.array([0, 4]), after=lambda _sample, _newest, cars: known.append(cars)
    )
    together = replayed(signals, {0: model})
    assert known == [1] * 4 + [2] * 20
    assert not joined.shares[1, :4].any()
    np.testing.assert_allclose(joined.shares[0], together.shares[0], atol=1e-5)
    np.testing.assert_allclose(joined.shares[1, 4:], together.shares[1, :20], atol=1e-5)


def test_a_training_starts_where_drift_lasts(monkeypatch: Any) -> None:
    """A look that shows nothing begins the count anew."""
    shown = iter([(), ("drift",), ("drift",), (), ("drift",), ("drift",), ("drift",), ("drift",)])
    monkeypatch.setattr(looks_module.Look, "drifts", lambda _self: next(shown))
    monkeypatch.setattr(looks_module, "beyond", lambda _states, _known: ())
    states: Any = SimpleNamespace(
        all_warm=lambda: np.ones(40, np.bool_), strange=lambda _cars: np.zeros(40, np.bool_)
    )
    looks = Looks()
    for sample in range(9 * LOOK):
        looks.after(sample, states, 40)
    assert looks.triggered == 7 * LOOK - 1


def test_the_bars_of_drift() -> None:
    """The slowest change counts, and of each change the figures over all seeds."""
    row = {
        "triggered_s": 9.0, "promoted_s": 50.0, "failures": 10, "recall_before": 0.9, "recall_after": 0.9,
        "false_alarms": 1, "car_weeks": 10.0,
    }  # fmt: skip
    rows = [row | {"change": name} for name in (*drift._CHANGES, "new_model")]
    seed: Any = {"changes": rows, "fleets": 8, "false_triggers": 0}
    assert all(bar.met for bar in drift.bars([seed]))
    unseen = row | {"change": rows[0]["change"], "triggered_s": None, "recall_after": 0.5, "false_alarms": 9}
    worse = seed | {"changes": [unseen, *rows[1:]], "false_triggers": 1}
    figures = {bar.name: bar.figure for bar in drift.bars([seed, worse]) if not bar.met}
    assert figures == {
        "triggered_s": 120, "false_triggers": 1, "recall_loss": pytest.approx(0.4 * 10 / 20),
        "surely_too_many": 1,
    }  # fmt: skip


def test_the_summary_has_rows_whatever_was_run_before() -> None:
    """A list of changes beside the number of false triggers; of hand-overs the figures of the bars."""
    row = {"change": "voltage", "seed": 1, "triggered_s": 9.0}
    assert drift.summary([{"changes": [row]}, {"changes": [row | {"seed": 2}]}], {"false_triggers": 0}) == {
        "drift": [row, row | {"seed": 2}], "false_triggers": 0,
    }  # fmt: skip
    slices: list[Any] = [{"slices": [{"slice": "zeros", "published": False}]}]
    assert poisoned.summary(slices, {}) == {"poisoned": [{"seed": 1, "slice": "zeros", "published": False}]}
    assert handovers.summary([{}], {"recall_loss": 0.01})["handovers"]["recall_loss"] == 0.01


def test_a_change_is_a_setting_of_the_fleet() -> None:
    """It begins at its second, and the unchanged fleet has none."""
    changed = drift._Fleet(1, "cold").scenario("healthy", 3600.0)
    assert (changed.cold_k, changed.cold_at_s) == (20.0, 3600.0)
    assert drift._Fleet(1).scenario("healthy", 3600.0).cold_k == 0
    assert drift._Fleet(1, "new_model").scenario("faulty", 0.0).new_model_from == 3_000


def test_a_bad_model_on_trial_is_withdrawn(remembering: Any) -> None:
    """With a hundredth of the threshold every car is in alert; the champion's own model is left alone."""
    champion = Model.open(remembering.record(1, threshold=8.0), "litert")
    noise = np.random.default_rng(1).normal(size=(40, 16 * 60, len(remembering.mean)))
    signals = (remembering.mean + remembering.spread * noise).astype(np.float32)
    bad = trials._trial(signals, champion, with_manifest(champion, threshold=0.08), 1.0)
    assert not bad["promoted"]
    assert bad["withdrawn_after"] < 5
    good = trials._trial(signals, champion, champion, 1.0)
    assert (good["promoted"], good["withdrawn_after"]) == (False, None)
    assert "100 are needed" in good["reasons"][0]


def test_the_bars_of_trials() -> None:
    """A model that is never withdrawn misses the bar."""
    row = {"promoted": False, "withdrawn_after": 7.0}
    never, promoted = row | {"withdrawn_after": None}, row | {"promoted": True}
    assert all(bar.met for bar in trials.bars([{"trials": [row]}]))
    assert [bar.figure for bar in trials.bars([{"trials": [row]}, {"trials": [never, promoted]}])] == [1, 200]
