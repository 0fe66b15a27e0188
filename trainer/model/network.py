"""The network beside the regression, a denoising autoencoder of the operating point, and its training."""

import logging
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats
from plumbing.life import Stop
from trainer.model import robust
from trainer.model.constants import Constants, visible_inputs
from trainer.model.domain import Domain
from trainer.model.replay import Rows
from trainer.model.robust import CarNumbers
from trainer.reading import stop_if_asked

_log = logging.getLogger("trainer")

# Hidden units: for all signals that see the same conditions together, and for each signal that sees its own.
UNITS_SHARED, UNITS_ALONE = 24, 6
INPUT_NOISE = 0.03  # standard deviations, while it is trained
BATCH_ROWS = 1024
PASSES = 6  # over the training rows, if they make at least STEPS_MIN steps and at most --steps-max
STEPS_MIN, STEPS_PER_EPOCH = 400, 100
PATIENCE_EPOCHS = 4
LEARNING_RATE, WEIGHT_DECAY = 4e-3, 1e-4
VALIDATION_EVERY = 6  # every sixth training car is held out to stop the training in time
HUBER_KNEE = 5.0  # spreads: larger residuals pull no harder, they may be a faulty car's
_PREDICT_ROWS = 65_536


def train_network(
    constants: Constants,
    inputs: Floats,
    residual: Floats,
    car: CarNumbers,
    *,
    seed: int,
    steps_max: int,
    stop: Stop,
) -> tuple[Any, dict[str, Any]]:
    """Train a network to predict the regression's residual (n, J) from its inputs (n, I), of cars (n,).

    Returns (the network, losses and epochs); None for a network by which held-out cars gain nothing. Each
    training car has an intercept of its own that is thrown away, as its baseline is when it is judged: so the
    network learns what happens within a car, not what tells cars apart. Raises Stopped.
    """
    import keras

    domain = constants.domain
    held_out = np.isin(car, np.unique(car)[::VALIDATION_EVERY])
    training, validation = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    steps = min(max(STEPS_MIN, PASSES * len(training) // BATCH_ROWS), steps_max)
    targets = domain.targets()[domain.judged]
    floor = domain.resolution[targets] / constants.spread[targets]
    spread = np.maximum(robust.within(residual, car).std(axis=0), floor).astype(np.float32)
    network = masked_network(domain, seed)
    cars, car_index = np.unique(car, return_inverse=True)
    samples, sample_car = keras.Input((inputs.shape[1],)), keras.Input((), dtype="int32")
    intercept = keras.layers.Embedding(len(cars), residual.shape[1], embeddings_initializer="zeros")
    model = keras.Model([samples, sample_car], network(samples) + intercept(sample_car))
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    optimizer, huber = keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY), _huber(spread)
    model.compile(optimizer, huber, jit_compile=False)  # compiling for the CPU costs more than it saves

    def other_cars_loss() -> float:
        """The loss on held-out cars, each without its own mean, as with its baseline."""
        left = residual[validation] - network.predict(inputs[validation], _PREDICT_ROWS, verbose=0)
        return float(np.mean(np.asarray(huber(robust.within(left, car[validation]), np.float32(0)))))

    epochs = _Epochs(model, network, other_cars_loss)
    if not len(training):  # a single car: nothing tells what holds for others from what was learned by heart
        return None, epochs.metrics()
    callback = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: stop_if_asked(stop),  # SIGTERM ends the training here
        on_epoch_end=epochs.end,
    )
    model.fit(
        _batches(inputs, residual, car_index.astype(np.int32), training, seed),
        steps_per_epoch=min(STEPS_PER_EPOCH, steps),
        epochs=-(-steps // STEPS_PER_EPOCH),
        shuffle=False,  # `_batches` shuffles
        callbacks=[callback],
        verbose=0,
    )
    stop_if_asked(stop)
    loss = epochs.metrics()
    _log.info("the network is trained", extra=loss)
    if not epochs.best_loss < epochs.linear_loss:
        return None, loss
    network.set_weights(epochs.best)
    return network, loss


def masked_network(domain: Domain, seed: int) -> Any:
    """A Keras model, inputs (n, I) to a correction (n, J) of the regression; untrained it gives 0.

    It sees only the operating point. Masks on its weights keep it from copying a fault: signals share hidden
    units only where they may see the same conditions. Noise on the inputs in training keeps it from leaning
    on small differences.
    """
    import keras

    keras.utils.set_random_seed(seed)
    to_units, to_signals = _masks(domain)
    inputs = keras.Input((to_units.shape[0],), name="inputs")
    # Layer names are part of the exported bytes, and Keras numbers those that it makes up.
    hidden = keras.layers.Dense(
        to_units.shape[1], activation="tanh", kernel_constraint=_keep(to_units), name="hidden"
    )
    correction = keras.layers.Dense(
        to_signals.shape[1],
        kernel_initializer="zeros",
        kernel_constraint=_keep(to_signals),
        name="correction",
    )
    noisy = keras.layers.GaussianNoise(INPUT_NOISE, name="noise")(inputs)
    model = keras.Model(inputs, correction(hidden(noisy)), name="network")
    hidden.kernel.assign(hidden.kernel * to_units)
    return model


def _masks(domain: Domain) -> tuple[Floats, Floats]:
    """Masks: inputs that each hidden unit sees (I, units), judged signals that it serves (units, J)."""
    conditions = np.concatenate([domain.conditions, np.ones(int(domain.conditions.sum()), bool)])
    visible = visible_inputs(domain) & conditions[:, None]
    signals_by_inputs: dict[bytes, list[int]] = {}
    for signal in range(visible.shape[1]):
        signals_by_inputs.setdefault(visible[:, signal].tobytes(), []).append(signal)
    to_units, to_signals = [], []
    for inputs, signals in signals_by_inputs.items():
        units = UNITS_SHARED if len(signals) > 1 else UNITS_ALONE
        to_units += [np.frombuffer(inputs, bool)] * units
        to_signals += [np.isin(np.arange(visible.shape[1]), signals)] * units
    return np.array(to_units, np.float32).T, np.array(to_signals, np.float32)


def _keep(mask: Floats) -> Any:
    """A Keras constraint: after every step, weights outside `mask` are 0 again."""
    import keras

    class Keep(keras.constraints.Constraint):  # type: ignore[misc]
        def __call__(self, kernel: Any) -> Any:
            return kernel * mask

    return Keep()


def no_network(inputs: Any) -> Any:
    """The correction of a detector without a network: 0."""
    return 0.0


class _Epochs:
    """The loss on held-out cars after each epoch: it says which weights are best and when to stop."""

    def __init__(self, model: Any, network: Any, loss: Callable[[], float]) -> None:
        self._model, self._network, self._loss = model, network, loss
        self.best, self._best_epoch, self._count = network.get_weights(), 0, 0
        self.linear_loss = self.best_loss = loss()  # an untrained network adds nothing to the regression

    def end(self, epoch: int, logs: Any) -> None:
        """After an epoch: the training stops after PATIENCE_EPOCHS without a gain."""
        loss, self._count = self._loss(), epoch + 1
        step = self._count * STEPS_PER_EPOCH
        _log.info("training", extra={"step": step, "other_cars_loss": round(loss, 4)})
        if loss < self.best_loss:
            self.best, self.best_loss, self._best_epoch = self._network.get_weights(), loss, self._count
        self._model.stop_training = self._count - self._best_epoch >= PATIENCE_EPOCHS

    def metrics(self) -> dict[str, Any]:
        """For the manifest."""
        return {"linear_loss": self.linear_loss, "loss": self.best_loss, "epochs": self._count}


def _batches(inputs: Floats, residual: Floats, car: NDArray[np.int32], rows: Rows, seed: int) -> Any:
    """An endless tf.data feed of shuffled batches: whole numpy blocks, because a row at a time is slow."""
    import tensorflow as tf

    def blocks() -> Iterator[tuple[tuple[Floats, NDArray[np.int32]], Floats]]:
        rng = np.random.default_rng(seed)
        while True:
            order = rng.permutation(rows)
            for start in range(0, len(order), BATCH_ROWS):
                block = order[start : start + BATCH_ROWS]
                yield (inputs[block], car[block]), residual[block]

    samples, targets = (tf.TensorSpec((None, array.shape[1]), tf.float32) for array in (inputs, residual))
    signature = ((samples, tf.TensorSpec((None,), tf.int32)), targets)
    return tf.data.Dataset.from_generator(blocks, output_signature=signature).prefetch(4)


def _huber(spread: Floats) -> Callable[[Any, Any], Any]:
    """Huber's loss of residual minus correction, in spreads of the residual."""
    import tensorflow as tf

    def loss(residual: Any, correction: Any) -> Any:
        size = tf.abs(residual - correction) / spread
        far = HUBER_KNEE * (size - HUBER_KNEE / 2)
        return tf.reduce_mean(tf.where(size < HUBER_KNEE, size * size / 2, far), axis=1)

    return loss
