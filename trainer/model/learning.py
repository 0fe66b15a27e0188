"""From the rows of healthy cars to a detector. Read `learn`, then each step in the order of the calls.

The graph makes its own training data: what the regression sees of a car's past is what the graph itself,
replayed over the car's rows, has in the state there.
"""

import copy
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats
from plumbing.life import Stop
from trainer.model import constants, robust
from trainer.model.constants import Constants
from trainer.model.coordinates import coordinates
from trainer.model.domain import Domain
from trainer.model.graph import Graph
from trainer.model.network import train_network
from trainer.model.replay import Rows, ranks, replay, runs
from trainer.model.robust import CarNumbers
from trainer.model.state import Window
from trainer.reading import stop_if_asked

_log = logging.getLogger("trainer")

STATISTICS_ROWS_MAX = 200_000  # more rows do not change a quantile or a covariance
_BLOCK_ROWS = 65_536  # that TensorFlow is given at once

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Learned:
    """What is reported of a training."""

    linear: Graph | None  # the detector without its network, to compare; None where no network ships
    metrics: dict[str, Any] = field(default_factory=dict)

    def without_network(self) -> "Learned":
        """The report of the same training where its network does not ship."""
        network = self.metrics["network"] | {"shipped": "linear"}
        return Learned(None, self.metrics | {"network": network})


def learn(
    domain: Domain,
    signals: Floats,
    car: CarNumbers,
    window: Window,
    seed: int,
    *,
    steps_max: int = 4_000,
    stop: Stop | None = None,
) -> tuple[Graph, Learned]:
    """Learn a detector from healthy cars: signals (N, K), NaN where missing, and car (N,), by car and time.

    Raises ValueError where no car has more rows than its learning period, Stopped once a stop is requested.
    """
    load_tensorflow()
    stop = stop or Stop()
    if runs(car)[1].max(initial=0) <= window.learning_samples:
        raise ValueError(
            f"no car has more than the {window.learning_samples} samples that it is learned for: "
            "learn for a shorter time, or from more telemetry of each car"
        )
    # 1. A linear detector from all cars; cars whose scores stand out may be faulty: then again without them.
    trusted = np.ones(len(car), bool)
    fitted, score = fit(domain, signals, car, window, trusted)
    stop_if_asked(stop)
    suspect = robust.suspects(score, car)
    cars, suspects = len(np.unique(car)), len(np.unique(car[suspect]))
    _log.info("linear detector", extra={"samples": len(car), "cars": cars, "suspect": suspects})
    if suspects:
        del fitted  # it and its successor together would be most of the memory that learning takes
        trusted = ~suspect
        fitted, _ = fit(domain, signals, car, window, trusted)
        stop_if_asked(stop)
    # 2. A network that predicts what the regression leaves over, if cars that it has not seen gain by it.
    c, inputs, residual = fitted.graph.constants, fitted.inputs, fitted.residual
    network, loss = train_network(c, inputs, residual, fitted.car, seed=seed, steps_max=steps_max, stop=stop)
    gain = 1 - loss["loss"] / max(loss["linear_loss"], 1e-9)
    metrics = {"samples": int(trusted.sum()), "suspect_cars": suspects} | loss
    metrics["network"] = {"shipped": "linear" if network is None else "network", "gain": gain}
    if network is None:
        return fitted.graph, Learned(None, metrics)
    # 3. With smaller residuals, limits and norm are fitted again.
    graph = Graph(copy.copy(c), network)
    fit_norm(graph, signals, car, trusted, fitted)
    return graph, Learned(fitted.graph, metrics)


def load_tensorflow() -> str:
    """Import TensorFlow, which takes seconds, before waiting for anything; returns the device it will use.

    No device is named anywhere: it takes the GPU where there is one.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # else it logs greetings of six lines
    import tensorflow as tf

    for name in ("absl", "tensorflow"):  # they log every intermediate file of a conversion
        logging.getLogger(name).setLevel(logging.ERROR)

    tf.config.experimental.enable_op_determinism()
    devices = tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("CPU")
    _log.info("TensorFlow is loaded", extra={"version": tf.__version__, "device": devices[0].name})
    return str(devices[0].name)


@dataclass(frozen=True)
class Fitted:
    """The linear detector, and what it was fitted to: n complete rows of trusted cars."""

    graph: Graph
    rows: Rows  # (n,) their indices in the N training rows
    states: Floats  # (n, S) states after them
    car: CarNumbers  # (n,)
    inputs: Floats  # (n, I) of the regression, standardised and clipped
    residual: Floats  # (n, J) of the regression, standardised


def fit(
    domain: Domain, signals: Floats, car: CarNumbers, window: Window, trusted: Mask
) -> tuple[Fitted, Floats]:
    """Fit the linear detector to some of the `trusted` rows (N,), which are all rows of some cars.

    The others are passed through it as well: a copy without them would be as large as the slice. Returns the
    detector and scores (N,) of all rows, in which faulty cars stand out.
    """
    rows = some_rows(np.isfinite(signals).all(axis=1) & trusted)
    graph = Graph(Constants(domain, window, np.asarray(coordinates(domain, signals[rows].T)).T))
    states = replay(graph.convert(), signals, car, keep=rows).kept
    inputs, targets = in_blocks(graph.regression, signals[rows], states)
    constants.fit_regression(graph.constants, inputs, targets, car[rows])
    c = graph.constants
    inputs = np.clip(inputs, c.low, c.high).astype(np.float32)
    residual = (targets - inputs @ c.linear - c.bias).astype(np.float32)
    fitted = Fitted(graph, rows, states, car[rows], inputs, residual)
    return fitted, fit_norm(graph, signals, car, trusted, fitted)


def fit_norm(graph: Graph, signals: Floats, car: CarNumbers, trusted: Mask, fitted: Fitted) -> Floats:
    """Fit the limits of the residual and the norm of its averages; returns scores (N,) of all rows.

    These are by the norm of most samples, in which faulty cars stand out.
    """
    c, columns = graph.constants, graph.columns
    (residual,) = in_blocks(lambda *block: (graph.residual(*block),), signals[fitted.rows], fitted.states)
    constants.fit_limits(c, residual, fitted.car)
    del residual
    # States of trusted cars once their averages have settled after the learning period, or else at all. A
    # signal that a car does not send leaves nothing in its state, so only complete rows count.
    complete = np.isfinite(signals).all(axis=1)
    warm_samples = np.where(trusted & complete, ranks(car) - c.window.learning_samples, -1)
    settled = warm_samples >= min(c.window.memory_samples, c.window.learning_samples / 2)
    rows = some_rows(settled if settled.any() else warm_samples >= 0)
    states = replay(graph.convert(), signals, car, keep=rows).kept
    baseline, deviation, repeat_rate, variance = (
        states[:, slice(*block)]
        for block in (columns.baseline, columns.deviation, columns.repeat_rate, columns.variance)
    )
    # Slices that do not show how a car varies understate its variance, too.
    c.usual_variance = max(float(np.median(variance)), 1e-3) / max(1 - c.baseline_weight, 1e-3)
    # The vector as Graph.run makes it of these cars, whose operating points are all known.
    weight = 1 / (1 + np.maximum(variance / c.usual_variance - 1, 0) * c.variance_confidence) ** 2
    departure = deviation + c.baseline_weight * baseline
    vectors = np.concatenate([departure, repeat_rate], axis=1) * weight
    constants.fit_norm(c, vectors, tails=False)
    score = replay(graph.convert(), signals, car).score
    constants.fit_norm(c, vectors, tails=True)
    return score


def some_rows(wanted: Mask) -> Rows:
    """The indices of every wanted row, or of every third, fifth, …: no more than statistics need."""
    rows = np.flatnonzero(wanted)
    return rows[:: max(1, -(-len(rows) // STATISTICS_ROWS_MAX)) | 1]


def in_blocks(function: Callable[..., tuple[Any, ...]], *arrays: Floats) -> list[Floats]:
    """The outputs of one of the graph's functions for any number of rows."""
    starts = range(0, len(arrays[0]), _BLOCK_ROWS)
    parts = [function(*[array[start : start + _BLOCK_ROWS] for array in arrays]) for start in starts]
    return [np.concatenate([np.asarray(part[output]) for part in parts]) for output in range(len(parts[0]))]
