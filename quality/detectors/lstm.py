"""The supervised sequence model of demos in this field: an LSTM over windows of the last samples.

It learns from labelled failures. It reads means and spreads of a few minutes each, minus those of the car's
learning period: on plain z-scores, as the demos have them, it foresees 0.53 instead of 0.91 (docs/log.md).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats
from quality.detectors import Labels, Supervised
from quality.detectors.stateless import Standard
from trainer.model.state import Window

_STEPS = 20  # of a window, which is as long as the memory of the other detectors
_UNITS = 32
_WINDOWS, _EPOCHS, _BATCH = 90_000, 8, 512  # bounded: 30 s on one core
_GROUP_CARS = 16
_SPREAD_MIN = 1e-2  # standard deviations of the fleet: below it a signal counts as constant
_MOST = 10.0


class LSTM(Supervised):
    """One LSTM layer and one dense unit, binary cross-entropy, Adam; a third of the windows are positive."""

    def __init__(self, seed: int, window: Window) -> None:
        super().__init__(seed, window)
        self._samples = max(1, round(window.memory_samples / _STEPS))  # of a step
        self._learned = window.learning_samples // self._samples  # steps

    def fit(self, training: Floats) -> None:
        """Train in Keras; scoring uses the same weights in numpy. Raises ValueError before `see_failures`."""
        if self._failing is None:
            raise ValueError("a supervised detector needs failures to learn from")
        import keras

        labelled, failing = self._failing
        self._standard = Standard(training)
        self._scale = np.ones(1, np.float32)
        healthy = self._steps(training)
        self._scale = healthy.std(axis=(0, 1)) + np.float32(1e-3)
        healthy /= self._scale
        faulty, label = self._steps(labelled), self._at_ends(failing)
        sources = ((faulty, label == 1), (faulty, label == 0), (healthy, np.ones(healthy.shape[:2], bool)))
        random = np.random.default_rng(self._seed)
        parts = [self._windows(steps, wanted, random) for steps, wanted in sources]
        truth = np.repeat([1.0, 0.0, 0.0], [len(part) for part in parts])
        keras.utils.set_random_seed(self._seed)
        model = keras.Sequential(
            [keras.Input((_STEPS, healthy.shape[2])), keras.layers.LSTM(_UNITS), keras.layers.Dense(1)]
        )
        loss = keras.losses.BinaryCrossentropy(from_logits=True)
        model.compile(optimizer=keras.optimizers.Adam(3e-3), loss=loss)
        model.fit(np.concatenate(parts), truth, batch_size=_BATCH, epochs=_EPOCHS, verbose=0)
        self._weights: list[Floats] = model.get_weights()
        self._failing = None

    def score(self, signals: Floats) -> Floats:
        """Scores (cars, samples): minus the logarithm of the chance of no failure; 0 while a car is learned.

        A step's score stands from its last sample on until the next step's.
        """
        groups = range(0, len(signals), _GROUP_CARS)
        scores = np.zeros(signals.shape[:2], np.float32)
        for first in groups:
            group = slice(first, first + _GROUP_CARS)
            of_steps = np.repeat(self._risk(self._steps(signals[group])), self._samples, axis=1)
            known = scores[group, self._samples - 1 :]
            known[:] = of_steps[:, : known.shape[1]]
        return scores

    def _steps(self, signals: Floats) -> Floats:
        """Inputs (cars, steps, 2 * judged): mean and log spread of each step, minus the car's baseline."""
        groups = []
        for first in range(0, len(signals), _GROUP_CARS):
            cars = signals[first : first + _GROUP_CARS]
            whole = cars.shape[1] // self._samples * self._samples
            z = self._standard(cars[:, :whole])
            z = z.reshape(len(cars), -1, self._samples, z.shape[2])
            spread = np.log(z.std(axis=2) + np.float32(_SPREAD_MIN))
            steps = np.concatenate([z.mean(axis=2), spread], axis=2)
            steps -= steps[:, : self._learned].mean(axis=1, keepdims=True)
            steps /= self._scale
            groups.append(steps.clip(-_MOST, _MOST))
        return np.concatenate(groups)

    def _at_ends(self, labels: Labels) -> Labels:
        """(cars, steps) of labels (cars, samples): that of each step's last sample."""
        whole = labels.shape[1] // self._samples * self._samples
        return labels[:, self._samples - 1 : whole : self._samples]

    def _windows(self, steps: Floats, wanted: NDArray[np.bool_], random: np.random.Generator) -> Floats:
        """Up to a third of _WINDOWS windows (n, _STEPS, inputs) that end where `wanted` (cars, steps)."""
        car, last = np.nonzero(wanted[:, self._learned + _STEPS :])
        chosen = random.permutation(len(car))[: _WINDOWS // 3]
        last = last[chosen, None] + self._learned + _STEPS - np.arange(_STEPS)[::-1]
        return steps[car[chosen, None], last]

    def _risk(self, steps: Floats) -> Floats:
        """(cars, steps) the score of the window that ends with each step; the LSTM begins each one anew."""
        inputs, recurrent, bias, dense, offset = self._weights
        ends = max(0, steps.shape[1] - _STEPS + 1)
        projected = steps @ inputs + bias
        hidden = np.zeros((len(steps) * ends, _UNITS), np.float32)
        cell = np.zeros_like(hidden)
        for step in range(_STEPS):
            gates = projected[:, step : step + ends].reshape(-1, 4 * _UNITS) + hidden @ recurrent
            taken, kept, new, shown = np.split(gates, 4, axis=1)
            cell = _gate(kept) * cell + _gate(taken) * np.tanh(new)
            hidden = _gate(shown) * np.tanh(cell)
        risk = np.zeros(steps.shape[:2], np.float32)
        risk[:, _STEPS - 1 :] = np.logaddexp(0, hidden @ dense + offset).reshape(len(steps), ends)
        risk[:, : self._learned + _STEPS] = 0
        return risk


def _gate(values: NDArray[Any]) -> Floats:
    """The logistic function; numpy has a fast tanh."""
    half = np.float32(0.5)
    return np.asarray(np.tanh(values * half) * half + half)
