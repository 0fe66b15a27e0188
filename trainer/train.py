"""The training, from top to bottom: a slice of the log in, a decision about a model out.

Read `run`, then each step in the order in which it is called. No device is named anywhere: TensorFlow takes
the GPU where there is one.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.alert_rule import AlertRule
from contract.golden import Golden
from contract.manifest import QUANTILES, Decision, Manifest, sha256
from contract.schema import latest
from contract.telemetry import SIGNALS, Floats
from contract.topics import TELEMETRY
from plumbing.life import Stop, WorldDown
from trainer import comparison, constants, decision, model, reading, robust
from trainer.constants import Constants
from trainer.domain import Domain, fleet_domain
from trainer.held_out import held_out
from trainer.interpreter import Interpreter
from trainer.publication import Publication
from trainer.reading import Slice, Stopped, stop_if_asked
from trainer.settings import Settings
from trainer.split import PARTS, TRAINING, parts_of

_log = logging.getLogger("trainer")

EXIT_STOPPED = 143  # 128 + SIGTERM
CARS_MIN = (50, 20, 20)  # of the parts in PARTS: fewer cannot be learned from or judged
BATCH_ROWS = 1024
PASSES = 4  # over the training data, within the bounds of the steps
STEPS_MIN, STEPS_PER_EPOCH = 400, 50
PATIENCE_EPOCHS = 3
LEARNING_RATE, WEIGHT_DECAY = 2e-3, 1e-4
VALIDATION_EVERY = 6  # of the training cars, to stop the network before it knows the others by heart
HUBER_KNEE = 2.0  # beyond so many spreads a residual pulls no harder: it may be a faulty car's
STATISTICS_ROWS_MAX = 200_000  # more rows do not change a quantile or a covariance
BLOCK_ROWS = 65_536
GOLDEN_ROWS = 8


def run(told: Settings, publication: Publication, stop: Stop) -> int:
    """Read, learn, judge, decide, publish. Returns the exit code. Raises WorldDown."""
    began_s = time.monotonic()
    try:
        domain, device = fleet_domain(), load_tensorflow()
        data = reading.read(told, stop)
        read_s = time.monotonic()
        part = parts_of(data.telemetry.cars)
        rows = training_rows(data, part)
        training = data.telemetry.signals[rows]
        graph, learned = learn(domain, training, data.telemetry.car[rows], told, stop)
        tflite = graph.convert()
        learned_s = time.monotonic()
        champion = publication.champion()
        sample = thinned(data.telemetry.signals, comparison.PARITY_ROWS)
        compared = comparison.compare(
            domain,
            tflite,
            told,
            kept=in_blocks(graph.run, sample)[0],
            sample=sample,
            training=thinned(training, STATISTICS_ROWS_MAX),
            data=held_out(domain, data.telemetry, part, data.reports, told),
            champion=champion,
        )
        stop_if_asked(stop)
        timing = {"device": device, "read_s": read_s - began_s, "learn_s": learned_s - read_s}
        draft = Manifest(
            name=told.model_name,
            version=publication.next_version(),
            parent=champion.manifest.version if champion else None,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            git_revision=told.git_revision or decision.git_revision(),
            signals=SIGNALS,
            schema_fingerprint=latest(TELEMETRY).fingerprint.hex(),
            threshold=compared.threshold,
            false_alarms_per_car_week=float("nan"),
            alert=AlertRule(),
            components={},
            state=None,
            training_offsets=data.offsets,
            validation_offsets=data.offsets,  # the parts differ by car, not by offset (trainer/split.py)
            seed=told.seed,
            metrics=compared.metrics | {"training": learned | timing},
            reference_quantiles=reference_quantiles(training),
            golden=golden(tflite, data.telemetry.signals),
            tflite_sha256=sha256(tflite),
            tflite_bytes=len(tflite),
            decision=Decision(published=False),
        )
        return decision.decide(draft, tflite, compared.evidence, publication)
    except Stopped:
        _log.info("stopped: nothing was published")
        return EXIT_STOPPED


def load_tensorflow() -> str:
    """Import it before waiting for records, because it takes seconds; returns the device it will use."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # else greetings of six lines
    import tensorflow as tf

    for name in ("absl", "tensorflow"):  # tell of every intermediate file of a conversion
        logging.getLogger(name).setLevel(logging.ERROR)

    tf.config.experimental.enable_op_determinism()
    devices = tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("CPU")
    _log.info("TensorFlow is loaded", extra={"version": tf.__version__, "device": devices[0].name})
    return str(devices[0].name)


def training_rows(data: Slice, part: NDArray[np.int8]) -> NDArray[np.intp]:
    """Rows of the training cars without a workshop report and without a missing signal."""
    telemetry, reported = data.telemetry, {report.car for report in data.reports}
    sound = np.array([car not in reported for car in telemetry.cars], bool)
    counts = [int((sound & (part == number)).sum()) for number in range(len(PARTS))]
    _log.info("cars", extra=dict(zip(PARTS, counts, strict=True)) | {"reported": int((~sound).sum())})
    if any(count < least for count, least in zip(counts, CARS_MIN, strict=True)):
        raise WorldDown(f"cars without a report for {', '.join(PARTS)}: {counts}, at least {CARS_MIN}")
    chosen = (sound & (part == TRAINING))[telemetry.car] & np.isfinite(telemetry.signals).all(axis=1)
    return np.flatnonzero(chosen)


def learn(
    domain: Domain, signals: Floats, car: robust.Cars, told: Settings, stop: Stop
) -> tuple[model.Graph, dict[str, Any]]:
    """The detector from training samples (n, K): linear part, network, norm; and what to tell of it."""
    linear = model.Graph(
        constants.linear_constants(domain, thinned(signals, STATISTICS_ROWS_MAX)), model.nothing
    )
    score = constants.residual_score(linear.constants, in_blocks(linear.inputs, signals)[1])
    suspect = robust.suspects(score, car)  # faulty cars that no workshop has seen yet
    cars, suspects = len(np.unique(car)), len(np.unique(car[suspect]))
    _log.info("linear detector", extra={"samples": len(car), "cars": cars, "suspect": suspects})
    signals, car = signals[~suspect], car[~suspect]
    linear = model.Graph(
        constants.linear_constants(domain, thinned(signals, STATISTICS_ROWS_MAX)), model.nothing
    )
    seen, residual = in_blocks(linear.inputs, signals)
    network, learned = train_network(linear.constants, seen, residual, car=car, told=told, stop=stop)
    few_seen, few_residual = thinned(seen, STATISTICS_ROWS_MAX), thinned(residual, STATISTICS_ROWS_MAX)
    constants.set_norm(linear.constants, few_residual - network.predict(few_seen, BLOCK_ROWS, verbose=0))
    return model.Graph(linear.constants, network), learned | {"samples": len(car), "suspect_cars": suspects}


def train_network(
    fitted: Constants,
    seen: Floats,
    residual: Floats,
    *,
    car: robust.Cars,
    told: Settings,
    stop: Stop,
) -> tuple[Any, dict[str, Any]]:
    """What the linear part leaves over, learned from `seen`; stopped when other cars gain no more by it."""
    import keras

    held = np.isin(car, np.unique(car)[::VALIDATION_EVERY])
    learning, validation = np.flatnonzero(~held), thinned(np.flatnonzero(held), BLOCK_ROWS)
    steps = min(max(STEPS_MIN, PASSES * len(learning) // BATCH_ROWS), told.steps_max)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    network = model.network(fitted.domain, told.seed)
    optimizer = keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY)
    network.compile(optimizer, loss=_loss(fitted), jit_compile=False)  # compiling costs more than it saves
    validation_data = (seen[validation], residual[validation])
    linear_loss = float(network.evaluate(*validation_data, batch_size=BLOCK_ROWS, verbose=0))
    losses = network.fit(
        batches(seen, residual, learning, told.seed),
        steps_per_epoch=min(STEPS_PER_EPOCH, steps),
        epochs=-(-steps // STEPS_PER_EPOCH),
        shuffle=False,  # `batches` does
        validation_data=validation_data,
        validation_batch_size=BLOCK_ROWS,
        callbacks=[
            keras.callbacks.EarlyStopping(patience=PATIENCE_EPOCHS, restore_best_weights=True),
            keras.callbacks.LambdaCallback(on_train_batch_end=_stopper(network, stop), on_epoch_end=_say),
        ],
        verbose=0,
    ).history["val_loss"]
    stop_if_asked(stop)
    if not min(losses) < linear_loss:  # then the linear detector is the better one
        network.set_weights([np.zeros_like(weight) for weight in network.get_weights()])
    learned: dict[str, Any] = {
        "linear_loss": linear_loss,
        "loss": min(linear_loss, *losses),
        "epochs": len(losses),
    }
    _log.info("the network is trained", extra=learned)
    return network, learned


def batches(seen: Floats, residual: Floats, rows: NDArray[np.intp], seed: int) -> Any:
    """An endless tf.data feed of shuffled blocks: whole numpy batches, because a row at a time is slow."""
    import tensorflow as tf

    def blocks() -> Iterator[tuple[Floats, Floats]]:
        rng = np.random.default_rng(seed)
        while True:
            order = rng.permutation(rows)
            for start in range(0, len(order), BATCH_ROWS):
                block = order[start : start + BATCH_ROWS]
                yield seen[block], residual[block]

    shape = tuple(tf.TensorSpec((None, block.shape[1]), tf.float32) for block in (seen, residual))
    return tf.data.Dataset.from_generator(blocks, output_signature=shape).prefetch(4)


def _loss(fitted: Constants) -> Callable[[Any, Any], Any]:
    """Huber's loss of what is left over, in units of the residual's spread."""
    import tensorflow as tf

    weight = (fitted.domain.judged / fitted.residual_spread).astype(np.float32)

    def loss(residual: Any, added: Any) -> Any:
        size = tf.abs(residual - added) * weight
        far = HUBER_KNEE * (size - HUBER_KNEE / 2)
        return tf.reduce_mean(tf.where(size < HUBER_KNEE, size * size / 2, far), axis=1)

    return loss


def _stopper(network: Any, stop: Stop) -> Callable[[int, Any], None]:
    def at_batch_end(batch: int, logs: Any) -> None:
        network.stop_training = network.stop_training or stop.requested

    return at_batch_end


def _say(epoch: int, logs: dict[str, float]) -> None:
    extra = {"step": (epoch + 1) * STEPS_PER_EPOCH, "other_cars_loss": round(logs["val_loss"], 4)}
    _log.info("training", extra=extra)


def reference_quantiles(signals: Floats) -> dict[str, tuple[float, ...]]:
    """What the training cars' signals look like, to see drift later."""
    quantiles = np.quantile(signals, QUANTILES, axis=0)
    return {name: tuple(map(float, quantiles[:, i])) for i, name in enumerate(SIGNALS)}


def golden(tflite: bytes, signals: Floats) -> Golden:
    """Vectors from all over the slice, one with a missing signal, with what the graph makes of them here."""
    places = np.linspace(0, len(signals) - 1, GOLDEN_ROWS).astype(int)
    vectors = np.nan_to_num(signals[places], nan=0.0, posinf=0.0, neginf=0.0)
    vectors[-1, 0] = np.nan
    interpreter = Interpreter(tflite)
    no_state = np.empty((len(vectors), 0), np.float32)
    return Golden.of(vectors[None], no_state, lambda signals, state: (*interpreter.run(signals), state))


def thinned(rows: NDArray[Any], rows_max: int) -> NDArray[Any]:
    """Every row, or every second, third, … so that no more than rows_max are left."""
    return rows[:: max(1, -(-len(rows) // rows_max))]


def in_blocks(function: Callable[[Any], tuple[Any, Any]], signals: Floats) -> tuple[Floats, Floats]:
    """Both outputs of one of the graph's functions for any number of rows."""
    starts = range(0, len(signals), BLOCK_ROWS)
    parts = [function(signals[start : start + BLOCK_ROWS]) for start in starts]
    first, second = (np.concatenate([np.asarray(part[i]) for part in parts]) for i in range(2))
    return first, second
