"""The detector: one graph from raw signals and a car's state to score, contributions and the new state.

Every signal is expected from the *other* signals and from the operating point, now and as it was lately: an
autoencoder that cannot copy a fault. Its linear part is a ridge regression within cars; a small network, with
the same rule built into its weights' masks, adds what the operating point does that is not linear. What is
left over, minus the car's own baseline, is averaged over time before anything is squared; the norm of that
memory by one constant matrix is the score. docs/decisions/model-and-norm.md says why.

Inside, tables lie: a row for each quantity, in it a number of each car (rows.py says why). Only what the
network and the regression see stands, a row for each car, as in training.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats
from trainer.model.constants import COORDINATE_MOST, Constants
from trainer.model.coordinates import all_there, coordinates
from trainer.model.network import nothing
from trainer.model.rows import column, picked, spread_out, stacked, times
from trainer.model.state import StateColumns, identities, state_columns

# Times this, all that is not 0 is beyond 1 either way: whether it is, without a comparison.
_STEEP = 1e20
# Spreads within which two readings are the same: less than any sensor resolves.
_SAME = 1e-6
# A residual at twice its limit scores as much as a memory of three.
_BEYOND_LIMIT = 3.0
# Spreads beyond which a signal makes a car no more restless: one broken sensor alone makes it no stranger.
_UNREST_MOST = 8.0
# A car so many times as restless as usual while it is learned is of a kind that no training car is: nothing
# can be said of it before a model has learned its kind. Healthy cars reach 4, an unknown model 10 and more.
_STRANGE = 7.0


class Graph:
    """The detector as TensorFlow functions: `seen` and `residual` for training, `run` for everybody."""

    def __init__(self, constants: Constants, added: Any = nothing) -> None:
        """`added` is the trained network, (n, seen) to (n, J)."""
        self.constants, self.added = constants, added
        self.columns: StateColumns = state_columns(constants.domain)

    def run(self, signals: Any, state: Any) -> tuple[Any, Any, Any]:
        """Raw signals (n, K) and states (n, S) to (score (n,), contribution (n, K), state after (n, S)).

        The contributions have signs and add up to the score squared.
        """
        import tensorflow as tf

        c = self.constants
        before = self._before(state)
        values, there = self._standardised(signals)
        identity = self._recognised(values, there, before)
        seen, recently = self._seen(values, there, before["seen"], before["point"])
        residual, judged = self._residual(values, there, seen)
        warm = tf.clip_by_value(before["seen"] - (c.memory.learning_samples - 1), 0.0, 1.0)
        limit = column(c.limit)
        bounded = _bounded(residual, -limit, limit)
        baseline, deviation = self._remembered(bounded, judged, warm, before)
        unrest = self._unrest(residual, baseline, judged, warm, before)
        restlessness = before["unrest"] / c.usual_unrest
        familiar = tf.clip_by_value(_STRANGE - restlessness, 0.0, 1.0)
        more = 1.0 + tf.maximum(restlessness - 1.0, 0.0) * c.unrest_known
        calm = familiar / (more * more) * warm
        repeats, last, restless = self._repeats(values, there, before)
        away = deviation + c.unshown * baseline if c.unshown else deviation
        vector = stacked(away * (judged * calm), (repeats - column(_usual_repeats(c))) * (restless * calm))
        beyond = (residual - bounded) * column(_scale(c)) * familiar
        shares = vector * times(c.norm, vector)
        contribution = self._of_signals(shares, beyond * beyond)
        score = tf.sqrt(tf.nn.relu(tf.reduce_sum(contribution, axis=0)))
        seen_after = tf.minimum(before["seen"] + 1.0, float(c.memory.learning_samples))
        after = [seen_after, baseline, deviation, recently, last, repeats, identity, unrest]
        if self.columns.width > self.columns.unrest[1]:  # one is spare, so that widths differ
            after.append(tf.zeros_like(unrest))
        return score, tf.transpose(contribution), tf.transpose(stacked(*after))

    def inputs(self, signals: Any, state_after: Any) -> tuple[Any, Any]:
        """For training: (what is seen (n, seen), what is to be expected of it (n, J)), standardised.

        `state_after` (n, S): the states that the same rows of signals (n, K), all finite, left behind.
        """
        import tensorflow as tf

        values, _ = self._standardised(signals)
        seen = stacked(values, self._before(state_after)["point"])
        return tf.transpose(seen), tf.transpose(picked(values, self._targets()))

    def residual(self, signals: Any, state_after: Any) -> Any:
        """For training, as `inputs`: (n, J) residuals in resolutions, before any baseline."""
        c = self.constants
        seen, wanted = self.inputs(signals, state_after)
        return (wanted - self._expected(_bounded(seen, c.low, c.high))) * c.unit.astype(np.float32)

    def _targets(self) -> Any:
        """(J,): places of what judges each judged signal."""
        domain = self.constants.domain
        return domain.targets()[domain.judged]

    def _expected(self, seen: Any) -> Any:
        """(n, J) of (n, seen), standardised."""
        c, f4 = self.constants, np.float32
        return seen @ c.linear.astype(f4) + (self.added(seen) + c.bias.astype(f4))

    def _before(self, state: Any) -> dict[str, Any]:
        """The parts of states (n, S) by their names, (rows, n) each."""
        import tensorflow as tf

        rows = tf.transpose(state)
        return {name: rows[slice(*getattr(self.columns, name))] for name in _PARTS}

    def _standardised(self, signals: Any) -> tuple[Any, Any]:
        """Of signals (n, K): values (width, n), 0 where one is missing, and 0 there, 1 elsewhere."""
        import tensorflow as tf

        c, domain = self.constants, self.constants.domain
        centre, spread = column(c.centre), column(c.spread)
        raw = tf.transpose(signals)
        known = tf.equal(raw, raw)
        present = tf.cast(known, tf.float32)
        # A value that is out of all bounds, also an infinite one, is as strange as can be, and finite. What a
        # bound makes of NaN differs between runtimes: it is replaced before, by the 0 of `present`.
        middle, most = centre[: domain.count], COORDINATE_MOST * spread[: domain.count]
        raw = _bounded(tf.where(known, raw, present), middle - most, middle + most)
        there = all_there(domain, present)
        values = (coordinates(domain, raw) - centre) * (1 / spread)
        return tf.clip_by_value(values, -COORDINATE_MOST, COORDINATE_MOST) * there, there

    def _seen(self, values: Any, there: Any, count: Any, point: Any) -> tuple[Any, Any]:
        """(What expectations are made of (seen, n), the operating point as it was lately (C, n)).

        A missing coordinate is filled by what the others say.
        """
        import tensorflow as tf

        c, domain = self.constants, self.constants.domain
        width = domain.width
        low, high = column(c.low), column(c.high)
        seen = _bounded(values, low[:width], high[:width])
        filled = times(c.fill, seen) + column(c.fill_bias)
        # What is missing is 0 in `seen`, within all bounds. To what is there nothing is added: not even a
        # rounding may tell a signal's own expectation of it.
        now = seen + (1.0 - there) * filled
        # At first the mean of all that was seen, then one that forgets.
        rate = tf.maximum(1.0 / (count + 1.0), 1 / c.memory.memory_samples)
        recently = point + rate * (picked(now, np.flatnonzero(domain.conditions)) - point)
        return stacked(now, _bounded(recently, low[width:], high[width:])), recently

    def _residual(self, values: Any, there: Any, seen: Any) -> tuple[Any, Any]:
        """Observed minus expected, in resolutions (J, n), and 1 where it says something, else 0 (J, n)."""
        import tensorflow as tf

        targets, unit = self._targets(), column(self.constants.unit)
        judged = picked(there, targets) * self._moving(values)
        expected = tf.transpose(self._expected(tf.transpose(seen)))
        return (picked(values, targets) - expected) * unit * judged, judged

    def _moving(self, values: Any) -> Any:
        """1 where what judges a signal is above its least denominator, else 0 (J, n)."""
        import tensorflow as tf

        of, least = _denominators(self.constants)
        if not len(of):
            return 1.0
        return tf.clip_by_value((picked(values, of) - column(least)) * _STEEP, 0.0, 1.0)

    def _remembered(self, bounded: Any, judged: Any, warm: Any, before: Any) -> tuple[Any, Any]:
        """(baseline, deviation) after this sample, (J, n) each.

        The baseline is the mean of the learning period and frozen afterwards; the first value of a signal
        that was never seen is its baseline, whenever it comes.
        """
        import tensorflow as tf

        c = self.constants
        pull = column(c.pull)
        unknown = tf.nn.relu(1.0 - tf.abs(before["baseline"]) * _STEEP)
        rate = tf.maximum(unknown, (1.0 - warm) / (before["seen"] + 1.0))
        baseline = before["baseline"] + judged * rate * (bounded - before["baseline"])
        away = _bounded(bounded - baseline, -pull, pull) - before["deviation"]
        return baseline, before["deviation"] + away * (judged * (warm * (1 / c.memory.memory_samples)))

    def _recognised(self, values: Any, there: Any, before: dict[str, Any]) -> Any:
        """What says what a car is (I, n). Where it changed, `before` is emptied: the car is learned anew."""
        import tensorflow as tf

        places = identities(self.constants.domain)
        if not len(places):
            return before["identity"]
        value, there = picked(values, places), picked(there, places)
        other = tf.minimum(tf.abs(value - before["identity"]) * _STEEP, 1.0) * there
        same = 1.0 - tf.reduce_max(other, axis=0, keepdims=True) * tf.minimum(before["seen"], 1.0)
        for name in ("seen", "baseline", "deviation", "unrest"):
            before[name] = before[name] * same
        return value + (1.0 - there) * before["identity"]

    def _of_signals(self, shares: Any, beyond: Any) -> Any:
        """(K, n): what is each signal's of the memory's `shares` (M, n) and of what is `beyond` (J, n)."""
        domain, judged = self.constants.domain, len(self.constants.limit)
        contribution = spread_out(shares[:judged] + beyond, domain.judged)
        if domain.restless.any():
            contribution += spread_out(shares[judged:], domain.restless)
        return contribution

    def _unrest(self, residual: Any, baseline: Any, judged: Any, warm: Any, before: Any) -> Any:
        """The mean square of the residual while the car is learned, in spreads within a car (1, n)."""
        import tensorflow as tf

        spread = column(self.constants.spread_within)
        away = tf.minimum(tf.abs(residual - baseline) * (1 / spread), _UNREST_MOST) * judged
        square = tf.reduce_mean(away * away, axis=0, keepdims=True)
        rate = (1.0 - warm) / (before["seen"] + 1.0)
        return before["unrest"] + rate * (square - before["unrest"])

    def _repeats(self, values: Any, there: Any, before: Any) -> tuple[Any, Any, Any]:
        """Of the restless signals: (share of repeats, last values, 1 where not missing), (R, n) each."""
        import tensorflow as tf

        c, places = self.constants, np.flatnonzero(self.constants.domain.restless)
        value, there = picked(values, places), picked(there, places)
        same = tf.nn.relu(1.0 - tf.abs(value - before["last"]) * (1 / _SAME))
        rate = tf.maximum(1.0 / (before["seen"] + 1.0), 1 / c.memory.memory_samples)
        repeats = before["repeats"] + there * (rate * (same - before["repeats"]))
        return repeats, value + (1.0 - there) * before["last"], there

    def convert(self) -> bytes:
        """The graph as TFLite: float32, builtin operators, dynamic batch. Tensors as in `run`."""
        import tensorflow as tf

        domain, width = self.constants.domain, self.columns.width
        signals = tf.TensorSpec((None, domain.count), tf.float32, name="signals")
        state = tf.TensorSpec((None, width), tf.float32, name="state")

        @tf.function(input_signature=[signals, state])  # type: ignore[untyped-decorator]
        def serve(signals: Any, state: Any) -> dict[str, Any]:
            score, contribution, after = self.run(signals, state)
            return {"score": score, "contribution": contribution, "state": after}

        module = tf.Module()
        # Without the variables attached the converter writes a file without weights, and says nothing.
        module.variables_of_the_network = [weight.value for weight in getattr(self.added, "variables", [])]
        module.serve = serve
        converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], module)
        return bytes(converter.convert())


_PARTS = ("seen", "baseline", "deviation", "point", "last", "repeats", "identity", "unrest")


def _bounded(values: Any, low: Any, high: Any) -> Any:
    import tensorflow as tf

    return tf.minimum(tf.maximum(values, low), high)


def _usual_repeats(constants: Constants) -> Floats:
    """(R,): how often a restless signal of a healthy car repeats itself."""
    return np.asarray(constants.usual[int(constants.domain.judged.sum()) :], np.float32)


def _scale(constants: Constants) -> Floats:
    """(J,): what a residual is multiplied by to be measured in limits, times what one is worth."""
    return np.asarray(_BEYOND_LIMIT / constants.limit, np.float32)


def _denominators(constants: Constants) -> tuple[NDArray[Any], NDArray[Any]]:
    """(J,) each: whose value must be above what, standardised, for a signal to be judged; none: always.

    A denominator counts by its size; where one can be negative, its ratio must not have a `judged_above`.
    """
    domain = constants.domain
    of, least = np.arange(domain.count), np.full(domain.count, -2 * COORDINATE_MOST)
    for ratio in domain.ratios:
        if ratio.judges is not None and ratio.judged_above > 0:
            judged, under = domain.place(ratio.judges), domain.place(ratio.denominator)
            of[judged] = under
            least[judged] = (ratio.judged_above - constants.centre[under]) / constants.spread[under]
    if (least == -2 * COORDINATE_MOST).all():
        return of[:0], least[:0]
    return of[domain.judged], least[domain.judged]
