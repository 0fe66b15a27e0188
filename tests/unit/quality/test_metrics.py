"""Recall, lead times and AUROC on hand-made answers."""

import numpy as np
import pytest

from contract.alert_rule import AlertRule
from quality import metrics
from quality.ground import Failure
from quality.metrics import FleetLevels
from trainer.judge.evaluate import auroc

HOUR_S = 3600.0


def _failure(car: int, onset_h: float, failed_h: float, kind: str = "a") -> Failure:
    return Failure(car, kind, kind, onset_h * HOUR_S, failed_h * HOUR_S)


def _levels(*cars: list[float]) -> FleetLevels:
    return FleetLevels.of(np.array(cars, np.float32), 0, HOUR_S, AlertRule(close_ratio=0.5))


def test_a_failure_is_foreseen_by_an_alert_between_onset_and_failure():
    """The lead is from the first such alert; of another car, before the onset or after the failure: none."""
    levels = _levels(
        [0, 0, 0, 3, 0, 3, 0, 0],  # alerts at 4 h and 6 h
        [3, 0, 0, 0, 0, 0, 0, 3],  # at 1 h and 8 h
        [0, 0, 0, 0, 0, 0, 0, 0],
    )
    asked = [_failure(0, 2, 7), _failure(1, 2, 7), _failure(2, 2, 7), _failure(0, 4.5, 7)]
    leads = levels.leads_h(2.0, asked)
    assert leads[[0, 3]].tolist() == [3.0, 1.0]
    assert np.isnan(leads[[1, 2]]).all()


def test_an_alert_that_was_open_before_the_onset_foresees_nothing():
    """Only what opens after the onset counts: a false alarm is no foresight."""
    assert np.isnan(_levels([0, 3, 3, 3, 3, 3]).leads_h(2.0, [_failure(0, 3, 5)])[0])


def test_leads_are_summed_up_over_what_was_foreseen():
    """Recall counts all failures; median and worst tenth only the foreseen ones."""
    summary = metrics.summary(np.array([1.0, 2.0, 3.0, np.nan]))
    assert summary == {"recall": 0.75, "median_lead_h": 2.0, "p10_lead_h": pytest.approx(1.2)}
    assert metrics.summary(np.array([np.nan])) == {"recall": 0.0, "median_lead_h": None, "p10_lead_h": None}
    assert metrics.summary(np.array([]))["recall"] is None


def test_auroc_counts_pairs():
    """Share of pairs in which the faulty sample scores higher, ties half."""
    healthy, faulty = np.array([1.0, 2.0, 3.0, 4.0]), np.array([2.0, 5.0])
    assert auroc(healthy, faulty) == pytest.approx((1.5 + 4) / 8)
    assert np.isnan(auroc(healthy, np.array([])))


def test_samples_of_a_fault_are_those_from_onset_to_failure():
    """By car, in the places of the scores."""
    grown = metrics.grown_samples((2, 6), [_failure(1, 2, 4)], HOUR_S)
    assert np.argwhere(grown).tolist() == [[1, 2], [1, 3]]
