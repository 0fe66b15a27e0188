"""The detector: one graph from raw signals and a car's state to score, contributions and the new state.

Every signal is expected from the *other* signals and from the operating point, now and as it was lately: an
autoencoder that cannot copy a fault. Its linear part is a ridge regression within cars; a small network, with
the same rule built into its weights' masks, adds what the operating point does that is not linear. What is
left over, minus the car's own baseline, is averaged over time before anything is squared; the norm of that
memory by one constant matrix is the score. docs/decisions/model-and-norm.md says why.

Nearly all of it is products and sums: TFLite compares and chooses, gathers and slices several times slower.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats
from trainer.constants import COORDINATE_MOST, Constants
from trainer.coordinates import coordinates, picks
from trainer.domain import Domain
from trainer.memory import StateColumns, identities, state_columns
from trainer.network import nothing

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

        c, columns, f4 = self.constants, self.columns, np.float32
        values, gap = self._standardised(signals)
        before = {name: state[:, slice(*getattr(columns, name))] for name in _PARTS}
        identity = self._recognised(values, gap, before)
        seen, recently = self._seen(values, gap, before["seen"], before["point"])
        residual, judged = self._residual(values, gap, seen)
        warm = tf.clip_by_value(before["seen"] - (c.memory.learning_samples - 1), 0.0, 1.0)
        baseline, deviation = self._remembered(residual, judged, warm, before)
        unrest = self._unrest(residual, baseline, judged, warm, before)
        restlessness = before["unrest"] / c.usual_unrest
        familiar = tf.clip_by_value(_STRANGE - restlessness, 0.0, 1.0)
        more = 1.0 + tf.maximum(restlessness - 1.0, 0.0) * c.unrest_known
        calm = familiar / (more * more) * warm
        repeats, last, restless = self._repeats(values, gap, before)
        away = deviation + c.unshown * baseline if c.unshown else deviation
        vector = tf.concat(
            [away * (judged * calm), (repeats - _usual_repeats(c)) * (restless * calm)], axis=1
        )
        beyond = tf.maximum(tf.abs(residual) * _scale(c) - _BEYOND_LIMIT, 0.0) * (judged * familiar)
        parts = vector * (vector @ c.norm.astype(f4))
        contribution = parts @ _to_signals(c.domain, both=True) + (beyond * beyond) @ _to_signals(c.domain)
        score = tf.sqrt(tf.maximum(tf.reduce_sum(contribution, axis=1), 0.0))
        seen_after = tf.minimum(before["seen"] + 1.0, float(c.memory.learning_samples))
        after = [seen_after, baseline, deviation, recently, last, repeats, identity, unrest]
        if spare := columns.width - columns.unrest[1]:
            after.append(tf.zeros_like(state[:, -spare:]))
        return score, contribution, tf.concat(after, axis=1)

    def inputs(self, signals: Any, state_after: Any) -> tuple[Any, Any]:
        """For training: (what is seen (n, seen), what is to be expected of it (n, J)), standardised.

        `state_after` (n, S): the states that the same rows of signals (n, K), all finite, left behind.
        """
        import tensorflow as tf

        values, _ = self._standardised(signals)
        recently = state_after[:, slice(*self.columns.point)]
        return tf.concat([values, recently], axis=1), values @ self._targets()

    def residual(self, signals: Any, state_after: Any) -> Any:
        """For training, as `inputs`: (n, J) residuals in resolutions, before any baseline."""
        c = self.constants
        seen, wanted = self.inputs(signals, state_after)
        return (wanted - self._expected(_bounded(seen, c.low, c.high))) * c.unit.astype(np.float32)

    def _targets(self) -> Floats:
        """(width, J): picks what judges each judged signal."""
        domain = self.constants.domain
        return picks(domain.width, domain.targets()[domain.judged])

    def _expected(self, seen: Any) -> Any:
        c, f4 = self.constants, np.float32
        return seen @ c.linear.astype(f4) + (self.added(seen) + c.bias.astype(f4))

    def _standardised(self, signals: Any) -> tuple[Any, Any]:
        """Values (n, width), 0 where one is missing, and 1 there, 0 elsewhere (n, width)."""
        import tensorflow as tf

        c, f4, domain = self.constants, np.float32, self.constants.domain
        centre, spread = c.centre.astype(f4), c.spread.astype(f4)
        count = domain.count
        # A value that is out of all bounds, also an infinite one, is as strange as can be, and finite.
        most = COORDINATE_MOST * spread[:count]
        bounded = tf.minimum(tf.maximum(signals, centre[:count] - most), centre[:count] + most)
        # What a bound makes of NaN differs between runtimes: it is replaced afterwards.
        raw = tf.where(tf.equal(signals, signals), bounded, centre[:count])
        missing = tf.cast(tf.not_equal(signals, signals), tf.float32)
        gap = tf.minimum(missing @ domain.parts().T.astype(f4), 1.0)
        values = (coordinates(domain, raw) - centre) * (1 / spread)
        return tf.clip_by_value(values, -COORDINATE_MOST, COORDINATE_MOST) * (1.0 - gap), gap

    def _seen(self, values: Any, gap: Any, count: Any, point: Any) -> tuple[Any, Any]:
        """(What expectations are made of (n, seen), the operating point as it was lately (n, C)).

        A missing coordinate is filled by what the others say.
        """
        import tensorflow as tf

        c, f4, domain = self.constants, np.float32, self.constants.domain
        width = domain.width
        low, high = c.low.astype(f4), c.high.astype(f4)
        seen = _bounded(values, low[:width], high[:width])
        filled = seen @ c.fill.astype(f4) + c.fill_bias.astype(f4)
        now = seen + gap * filled - gap * seen
        # At first the mean of all that was seen, then one that forgets.
        rate = tf.maximum(1.0 / (count + 1.0), 1 / c.memory.memory_samples)
        recently = point + rate * (now @ picks(width, np.flatnonzero(domain.conditions)) - point)
        return tf.concat([now, _bounded(recently, low[width:], high[width:])], axis=1), recently

    def _residual(self, values: Any, gap: Any, seen: Any) -> tuple[Any, Any]:
        """Observed minus expected, in resolutions (n, J), and 1 where it says something, else 0 (n, J)."""
        c, f4 = self.constants, np.float32
        unit = c.unit.astype(f4)
        expected = seen @ (c.linear * unit).astype(f4) + (self.added(seen) + c.bias.astype(f4)) * unit
        judged = (1.0 - gap @ self._targets()) * self._moving(values)
        return (values @ (self._targets() * unit) - expected) * judged, judged

    def _moving(self, values: Any) -> Any:
        """1 where what judges a signal is above its least denominator, else 0 (n, J)."""
        import tensorflow as tf

        c, f4 = self.constants, np.float32
        pick, least = _denominators(c)
        if not pick.any():
            return 1.0
        return tf.clip_by_value((values @ pick.astype(f4) - least.astype(f4)) * _STEEP, 0.0, 1.0)

    def _remembered(self, residual: Any, judged: Any, warm: Any, before: Any) -> tuple[Any, Any]:
        """(baseline, deviation) after this sample, (n, J) each.

        The baseline is the mean of the learning period and frozen afterwards; the first value of a signal
        that was never seen is its baseline, whenever it comes.
        """
        import tensorflow as tf

        c, f4 = self.constants, np.float32
        limit, pull = c.limit.astype(f4), c.pull.astype(f4)
        bounded = _bounded(residual, -limit, limit)
        known = tf.minimum(tf.abs(before["baseline"]) * _STEEP, 1.0)
        rate = (1.0 - known) + known * ((1.0 - warm) / (before["seen"] + 1.0))
        baseline = before["baseline"] + judged * rate * (bounded - before["baseline"])
        away = _bounded(bounded - baseline, -pull, pull) - before["deviation"]
        return baseline, before["deviation"] + (judged * warm) * (away * (1 / c.memory.memory_samples))

    def _recognised(self, values: Any, gap: Any, before: dict[str, Any]) -> Any:
        """What says what a car is (n, I). Where it changed, `before` is emptied: the car is learned anew."""
        import tensorflow as tf

        domain = self.constants.domain
        places = identities(domain)
        if not len(places):
            return before["identity"]
        pick = picks(domain.width, places)
        value, there = values @ pick, 1.0 - gap @ pick
        other = tf.minimum(tf.abs(value - before["identity"]) * _STEEP, 1.0) * there
        same = 1.0 - tf.reduce_max(other, axis=1, keepdims=True) * tf.minimum(before["seen"], 1.0)
        for name in ("seen", "baseline", "deviation", "unrest"):
            before[name] = before[name] * same
        return there * value + (1.0 - there) * before["identity"]

    def _unrest(self, residual: Any, baseline: Any, judged: Any, warm: Any, before: Any) -> Any:
        """The mean square of the residual while the car is learned, in spreads within a car (n, 1)."""
        import tensorflow as tf

        spread = self.constants.spread_within.astype(np.float32)
        away = tf.minimum(tf.abs(residual - baseline) * (1 / spread), _UNREST_MOST) * judged
        square = tf.reduce_mean(away * away, axis=1, keepdims=True)
        rate = (1.0 - warm) / (before["seen"] + 1.0)
        return before["unrest"] + rate * (square - before["unrest"])

    def _repeats(self, values: Any, gap: Any, before: Any) -> tuple[Any, Any, Any]:
        """Of the restless signals: (share of repeats, last values, 1 where not missing), (n, R) each."""
        import tensorflow as tf

        c, domain = self.constants, self.constants.domain
        pick = picks(domain.width, np.flatnonzero(domain.restless))
        value, there = values @ pick, 1.0 - gap @ pick
        same = tf.maximum(1.0 - tf.abs(value - before["last"]) * (1 / _SAME), 0.0)
        rate = tf.maximum(1.0 / (before["seen"] + 1.0), 1 / c.memory.memory_samples)
        repeats = before["repeats"] + there * (rate * (same - before["repeats"]))
        return repeats, there * value + (1.0 - there) * before["last"], there

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


def _to_signals(domain: Domain, both: bool = False) -> Floats:
    """(J, K), or (M, K) for both blocks of the memory: whose signal a share is."""
    every = np.eye(domain.count, dtype=np.float32)
    judged = every[domain.judged]
    return np.concatenate([judged, every[domain.restless]]) if both else judged


def _denominators(constants: Constants) -> tuple[NDArray[Any], NDArray[Any]]:
    """(width, J) and (J,): pick what must be above what, standardised, for a signal to be judged.

    A denominator counts by its size; where one can be negative, its ratio must not have a `judged_above`.
    """
    domain = constants.domain
    pick = np.zeros((domain.width, domain.count))
    least = np.full(domain.count, -2 * COORDINATE_MOST)
    for ratio in domain.ratios:
        if ratio.judges is not None and ratio.judged_above > 0:
            place, of = domain.place(ratio.judges), domain.place(ratio.denominator)
            pick[of, place] = 1
            least[place] = (ratio.judged_above - constants.centre[of]) / constants.spread[of]
    return pick[:, domain.judged], least[domain.judged]
