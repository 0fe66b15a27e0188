"""The experiments of `make life`."""

from typing import Any

import numpy as np
import pytest

from quality.life import handovers
from quality.life.bars import Bar
from quality.life.replayed import Replayed, replayed
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
