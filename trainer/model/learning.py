"""From the rows of healthy cars to a detector. Read `learn`, then each step in the order it is called.

The graph makes its own training data: what a car remembers at a row is what the graph itself, replayed over
the car's rows before it, has in its state there.
"""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats
from plumbing.life import Stop
from trainer.model import constants, robust
from trainer.model.coordinates import coordinates
from trainer.model.domain import Domain
from trainer.model.graph import Graph
from trainer.model.network import masked_network
from trainer.model.replay import ranks, replay, runs
from trainer.model.robust import CarNumbers
from trainer.model.state import Memory
from trainer.reading import stop_if_asked

_log = logging.getLogger("trainer")

STATISTICS_ROWS_MAX = 200_000  # more rows do not change a quantile or a covariance
BLOCK_ROWS = 65_536
BATCH_ROWS = 1024
PASSES = 6  # over the training rows, within the bounds of the steps
STEPS_MIN, STEPS_PER_EPOCH = 400, 100
PATIENCE_EPOCHS = 4
LEARNING_RATE, WEIGHT_DECAY = 4e-3, 1e-4
VALIDATION_EVERY = 6  # of the training cars, to stop the network before it knows the others by heart
HUBER_KNEE = 5.0  # beyond so many spreads a residual pulls no harder: it may be a faulty car's

Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Learned:
    """What to tell of a training. `linear` is the detector without the network, where one ships with it."""

    linear: Graph | None
    metrics: dict[str, Any] = field(default_factory=dict)


def learn(
    domain: Domain,
    signals: Floats,
    car: CarNumbers,
    memory: Memory,
    seed: int,
    *,
    steps_max: int = 4_000,
    stop: Stop | None = None,
) -> tuple[Graph, Learned]:
    """The detector from rows of healthy cars by car and time: signals (N, K), NaN where missing, car (N,).

    Raises ValueError where no car has more rows than it is learned for, Stopped once `stop` was asked for.
    """
    load_tensorflow()
    stop = stop or Stop()
    if runs(car)[1].max(initial=0) <= memory.learning_samples:
        raise ValueError(
            f"no car has more than the {memory.learning_samples} samples that it is learned for: "
            "learn for a shorter time, or from more telemetry of each car"
        )
    trusted = np.ones(len(car), bool)
    fitted = fit(domain, signals, car, memory, trusted)
    stop_if_asked(stop)
    suspect = robust.suspects(fitted.score, car)  # faulty cars that no workshop has seen yet
    cars, suspects = len(np.unique(car)), len(np.unique(car[suspect]))
    _log.info("linear detector", extra={"samples": len(car), "cars": cars, "suspect": suspects})
    if suspects:
        del fitted  # before the next one is made: both together are most of the memory that learning takes
        trusted = ~suspect
        fitted = fit(domain, signals, car, memory, trusted)
        stop_if_asked(stop)
    network, loss = train_network(fitted, seed, steps_max, stop)
    gain = 1 - loss["loss"] / max(loss["linear_loss"], 1e-9)
    shipped = "network" if network is not None else "linear"
    metrics = {"samples": int(trusted.sum()), "suspect_cars": suspects} | loss
    metrics["network"] = {"shipped": shipped, "gain": gain}
    if network is None:
        return fitted.graph, Learned(None, metrics)
    graph = Graph(dataclasses.replace(fitted.graph.constants), network)
    fit_memory(graph, signals, car, trusted, fitted)
    return graph, Learned(fitted.graph, metrics)


def load_tensorflow() -> str:
    """Import it before waiting for anything, because it takes seconds; returns the device it will use."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # else greetings of six lines
    import tensorflow as tf

    for name in ("absl", "tensorflow"):  # tell of every intermediate file of a conversion
        logging.getLogger(name).setLevel(logging.ERROR)

    tf.config.experimental.enable_op_determinism()
    devices = tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("CPU")
    _log.info("TensorFlow is loaded", extra={"version": tf.__version__, "device": devices[0].name})
    return str(devices[0].name)


@dataclass(frozen=True)
class Fitted:
    """The linear detector, and what it was fitted to: `rows` of its training rows, with whose (n,) they are.

    `states` (n, S): the operating point in them is as it was lately. What is `seen` (n, seen), and what the
    linear part leaves over of the judged signals, `left` (n, J), both standardised. `score` (N,) of all rows.
    """

    graph: Graph
    rows: Rows
    states: Floats
    car: CarNumbers
    seen: Floats
    left: Floats
    score: Floats


def fit(domain: Domain, signals: Floats, car: CarNumbers, memory: Memory, trusted: Mask) -> Fitted:
    """The whole linear detector; its constants are fitted to some of the `trusted` rows, of whole cars.

    The others are passed through it like any car: a copy without them would be as large as the slice.
    """
    rows = some_rows(np.isfinite(signals).all(axis=1) & trusted)
    graph = Graph(constants.blank(domain, memory, np.asarray(coordinates(domain, signals[rows].T)).T))
    states = remembered(graph, signals, car, rows)
    seen, wanted = in_blocks(graph.inputs, signals[rows], states)
    constants.fit_linear(graph.constants, seen, wanted, car[rows])
    c = graph.constants
    seen = np.clip(seen, c.low, c.high).astype(np.float32)
    left = (wanted - seen @ c.linear - c.bias).astype(np.float32)
    fitted = Fitted(graph, rows, states, car[rows], seen, left, np.empty(0, np.float32))
    return dataclasses.replace(fitted, score=fit_memory(graph, signals, car, trusted, fitted))


def fit_memory(graph: Graph, signals: Floats, car: CarNumbers, trusted: Mask, fitted: Fitted) -> Floats:
    """What is too far, and the norm of what healthy cars have in memory; returns all rows' scores (N,)."""
    rows = fitted.rows
    residual = in_blocks(lambda *given: (graph.residual(*given),), signals[rows], fitted.states)
    constants.fit_limits(graph.constants, residual.pop(), car[rows])
    columns, memory = graph.columns, graph.constants.memory
    warm_for = np.where(trusted, ranks(car) - memory.learning_samples, -1)  # samples; below 0: not yet
    settled = warm_for >= min(memory.memory_samples, memory.learning_samples / 2)
    kept = remembered(graph, signals, car, some_rows(settled if settled.any() else warm_for >= 0))
    baseline, deviation, repeats = (
        kept[:, slice(*block)] for block in (columns.baseline, columns.deviation, columns.repeats)
    )
    c, unrest = graph.constants, kept[:, slice(*columns.unrest)]
    # What a slice does not show of a car it cannot say of its restlessness either.
    c.usual_unrest = max(float(np.median(unrest)), 1e-3) / max(1 - c.unshown, 1e-3)
    calm = 1 / (1 + np.maximum(unrest / c.usual_unrest - 1, 0) * c.unrest_known) ** 2
    constants.fit_norm(c, np.concatenate([deviation + c.unshown * baseline, repeats], axis=1) * calm)
    return replay(graph.convert(), signals, car).score


def remembered(graph: Graph, signals: Floats, car: CarNumbers, rows: Rows) -> Floats:
    """The states (n, S) after some rows (n,)."""
    kept = replay(graph.convert(), signals, car, keep=rows).kept
    assert kept is not None
    return kept


def train_network(fitted: Fitted, seed: int, steps_max: int, stop: Stop) -> tuple[Any, dict[str, Any]]:
    """What the linear part leaves over, learned from what is seen; None where other cars gain nothing by it.

    Each training car has an intercept of its own that is thrown away: it is what a baseline is to a car that
    is judged, so the network learns what happens within a car, not what tells cars apart.
    """
    import keras

    domain = fitted.graph.constants.domain
    held = np.isin(fitted.car, np.unique(fitted.car)[::VALIDATION_EVERY])
    learning, others = np.flatnonzero(~held), np.flatnonzero(held)
    steps = min(max(STEPS_MIN, PASSES * len(learning) // BATCH_ROWS), steps_max)
    targets = domain.targets()[domain.judged]
    floor = domain.resolution[targets] / fitted.graph.constants.spread[targets]
    spread = np.maximum(robust.within(fitted.left, fitted.car).std(axis=0), floor).astype(np.float32)
    network = masked_network(domain, seed)
    owners, owner = np.unique(fitted.car, return_inverse=True)
    inputs, whose = keras.Input((fitted.seen.shape[1],)), keras.Input((), dtype="int32")
    own = keras.layers.Embedding(len(owners), fitted.left.shape[1], embeddings_initializer="zeros")(whose)
    taught = keras.Model([inputs, whose], network(inputs) + own)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    taught.compile(  # compiling for the CPU costs more than it saves
        keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY), loss=_loss(spread), jit_compile=False
    )
    judge = _judge(network, fitted.seen[others], fitted.left[others], fitted.car[others], spread)
    if not len(learning):  # one car alone: nobody tells what holds for others from what it is by heart
        alone = judge()
        return None, {"linear_loss": alone, "loss": alone, "epochs": 0}
    epochs = _Epochs(network, judge, stop)
    with contextlib.suppress(_Enough):
        taught.fit(
            batches(fitted, owner.astype(np.int32), learning, seed),
            steps_per_epoch=min(STEPS_PER_EPOCH, steps),
            epochs=-(-steps // STEPS_PER_EPOCH),
            shuffle=False,  # `batches` does
            callbacks=[
                keras.callbacks.LambdaCallback(on_train_batch_end=epochs.batch, on_epoch_end=epochs.end)
            ],
            verbose=0,
        )
    stop_if_asked(stop)
    loss = {"linear_loss": epochs.linear_loss, "loss": epochs.best_loss, "epochs": epochs.count}
    _log.info("the network is trained", extra=loss)
    if not epochs.best_loss < epochs.linear_loss:  # then the linear detector is the better one
        return None, loss
    network.set_weights(epochs.best)
    return network, loss


class _Enough(Exception):
    """Other cars gain no more by the training."""


class _Epochs:
    """Says how the training goes, keeps the best weights, and ends it when other cars gain no more by it."""

    def __init__(self, network: Any, judge: Callable[[], float], stop: Stop) -> None:
        self._network, self._judge, self._stop = network, judge, stop
        self.best, self._since_best, self.count = network.get_weights(), 0, 0
        self.linear_loss = self.best_loss = judge()

    def batch(self, number: int, logs: Any) -> None:
        """SIGTERM ends the training within a step."""
        stop_if_asked(self._stop)

    def end(self, epoch: int, logs: Any) -> None:
        """Ask the other cars."""
        loss, self.count = self._judge(), epoch + 1
        _log.info("training", extra={"step": self.count * STEPS_PER_EPOCH, "other_cars_loss": round(loss, 4)})
        self._since_best += 1
        if loss < self.best_loss:
            self.best, self.best_loss, self._since_best = self._network.get_weights(), loss, 0
        if self._since_best >= PATIENCE_EPOCHS:
            raise _Enough


def batches(fitted: Fitted, owner: NDArray[np.int32], rows: Rows, seed: int) -> Any:
    """An endless tf.data feed of shuffled blocks: whole numpy batches, because a row at a time is slow."""
    import tensorflow as tf

    def blocks() -> Iterator[tuple[tuple[Floats, NDArray[np.int32]], Floats]]:
        rng = np.random.default_rng(seed)
        while True:
            order = rng.permutation(rows)
            for start in range(0, len(order), BATCH_ROWS):
                block = order[start : start + BATCH_ROWS]
                yield (fitted.seen[block], owner[block]), fitted.left[block]

    seen, left = (tf.TensorSpec((None, block.shape[1]), tf.float32) for block in (fitted.seen, fitted.left))
    shape = ((seen, tf.TensorSpec((None,), tf.int32)), left)
    return tf.data.Dataset.from_generator(blocks, output_signature=shape).prefetch(4)


def _loss(spread: Floats) -> Callable[[Any, Any], Any]:
    """Huber's loss of what is left over, in units of the residual's spread."""
    import tensorflow as tf

    def loss(left: Any, added: Any) -> Any:
        size = tf.abs(left - added) / spread
        far = HUBER_KNEE * (size - HUBER_KNEE / 2)
        return tf.reduce_mean(tf.where(size < HUBER_KNEE, size * size / 2, far), axis=1)

    return loss


def _judge(network: Any, seen: Floats, left: Floats, car: CarNumbers, spread: Floats) -> Callable[[], float]:
    """The loss on other cars, each with its own mean taken out, as its baseline will be."""
    loss = _loss(spread)

    def judge() -> float:
        added = network.predict(seen, BLOCK_ROWS, verbose=0)
        own = robust.within(left - added, car)
        return float(np.mean(np.asarray(loss(own, np.float32(0)))))

    return judge


def some_rows(wanted: Mask) -> Rows:
    """Every wanted row, or every second, third, … so that no more are left than statistics need."""
    rows = np.flatnonzero(wanted)
    return rows[:: max(1, -(-len(rows) // STATISTICS_ROWS_MAX)) | 1]


def in_blocks(function: Callable[..., tuple[Any, ...]], *arrays: Floats) -> list[Floats]:
    """All outputs of one of the graph's functions for any number of rows."""
    starts = range(0, len(arrays[0]), BLOCK_ROWS)
    parts = [function(*[array[start : start + BLOCK_ROWS] for array in arrays]) for start in starts]
    return [np.concatenate([np.asarray(part[place]) for part in parts]) for place in range(len(parts[0]))]
