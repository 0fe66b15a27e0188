"""The detector: one graph from raw signals and a car's state to score, contributions and the new state.

Every signal is predicted from the *other* signals and from the operating point, now and lately: an
autoencoder that cannot copy a fault. A ridge regression within cars does most of it; a small network, whose
weights are masked by the same rule, adds what is not linear in the operating point. The residual, minus the
car's own baseline, is averaged over time before anything is squared, and the score is the Mahalanobis norm
of these averages. docs/decisions/model-and-norm.md says why.

Inside the graph arrays are (quantities, cars); only the inputs of the network are (cars, quantities).
Sizes: n cars, K signals, `width` coordinates, J judged signals, I inputs of the regression, R restless
signals.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.telemetry import Floats
from trainer.model.constants import COORDINATE_MAX, INPUT_BEYOND, STRANGE, Constants
from trainer.model.coordinates import coordinates, presence
from trainer.model.network import no_network
from trainer.model.rows import column, matmul, scatter, select, stack
from trainer.model.state import CarState, identities, state_columns

# Multiplying by this and clipping to 0..1 tests for "greater than zero" without a branch.
_STEEP = 1e20
_SAME = 1e-6  # spreads within which two readings are the same: less than any sensor resolves
_BEYOND_LIMIT = 3.0  # a residual at twice its limit scores as much as a norm of 3
# Spreads at which a residual is clipped in a car's variance: one broken sensor makes no car a stranger.
_VARIANCE_CLIP = 8.0


class Graph:
    """The detector as TensorFlow functions: `run` to score, `regression` and `residual` to train it."""

    def __init__(self, constants: Constants, network: Any = no_network) -> None:
        """`network`: inputs (n, I) to the correction (n, J) of the regression."""
        self.constants, self.network = constants, network
        self.columns, self.state_width = state_columns(constants.domain)

    def run(self, signals: Any, state: Any) -> tuple[Any, Any, Any]:
        """One sample of each car: signals (n, K), state (n, S) to score (n,), contribution (n, K), new state.

        Contributions are signed and add up to the score squared.
        """
        import tensorflow as tf

        c = self.constants
        before = self._parts(state)
        # z-scores of the coordinates (width, n), 0 where missing, and their mask: 1 where present, else 0.
        values, present = self._standardised(signals)
        # What kind of car it is; a car whose firmware changed is as new: `before` is reset to zeros.
        identity, before = self._identified(values, present, before)
        # What the regression sees (I, n), and the moving average of the operating point (C, n).
        inputs, point = self._inputs(values, present, before)
        # Observed minus expected, in resolutions (J, n), and the mask of signals that can be judged (J, n).
        residual, mask = self._residual(values, present, inputs)
        # 1 for a car whose learning period is over, else 0 (1, n).
        warm = tf.clip_by_value(before.count - (c.window.learning_samples - 1), 0.0, 1.0)
        # The residual clipped to its limit, and the rest of it, which counts by itself and at once (J, n).
        limit = column(c.limit)
        clipped = _clip(residual, -limit, limit)
        # Mean residual of the learning period, and EWMA of the deviation from it (J, n).
        baseline, deviation = self._averages(clipped, mask, warm, before)
        # How restless the car was while it was learned (1, n), relative to the usual car.
        variance = self._variance(residual, baseline, mask, warm, before)
        variance_ratio = before.variance / c.usual_variance
        # 1 for a car like the training cars, falling to 0 for one of an unknown kind (1, n).
        familiar = tf.clip_by_value(STRANGE - variance_ratio, 0.0, 1.0)
        # Cars that vary more than usual are scaled down by as much, as far as it is known to be their own.
        excess = 1.0 + tf.maximum(variance_ratio - 1.0, 0.0) * c.variance_confidence
        # Weight of the averages in the score: 0 while the car is learned or if it is unfamiliar (1, n).
        weight = familiar * self._charted(point) / (excess * excess) * warm
        # EWMA of how often each restless signal repeats itself, its last value, and its mask (R, n).
        repeat_rate, last, restless_mask = self._repeats(values, present, before)
        # Where the slices were too short to show how cars vary, part of the baseline counts as deviation.
        departure = deviation + c.baseline_weight * baseline if c.baseline_weight else deviation
        # What the norm is taken of (M, n), and each component's part of the squared Mahalanobis norm.
        vector = stack(
            departure * (mask * weight),
            (repeat_rate - column(self._usual_repeat_rate())) * (restless_mask * weight),
        )
        parts = vector * matmul(c.precision, vector)
        # The residual beyond its limit, in limits times what one is worth (J, n).
        beyond = (residual - clipped) * column(np.asarray(_BEYOND_LIMIT / c.limit, np.float32)) * familiar
        contribution = self._by_signal(parts, beyond * beyond)
        score = tf.sqrt(tf.nn.relu(tf.reduce_sum(contribution, axis=0)))
        count = tf.minimum(before.count + 1.0, float(c.window.learning_samples))
        after = [*CarState(count, baseline, deviation, point, last, repeat_rate, identity, variance)]
        if self.state_width > self.columns.variance[1]:  # a spare column, so that widths differ
            after.append(tf.zeros_like(variance))
        return score, tf.transpose(contribution), tf.transpose(stack(*after))

    def regression(self, signals: Any, state_after: Any) -> tuple[Any, Any]:
        """For training: (inputs (n, I), targets (n, J)) of the regression, standardised.

        `signals` (n, K) are finite; `state_after` (n, S) are the states that these rows left behind.
        """
        import tensorflow as tf

        values, _ = self._standardised(signals)
        inputs = stack(values, self._parts(state_after).point)
        return tf.transpose(inputs), tf.transpose(select(values, self._targets()))

    def residual(self, signals: Any, state_after: Any) -> Any:
        """For training, arguments as `regression`: (n, J) residuals in resolutions, before any baseline."""
        c = self.constants
        inputs, targets = self.regression(signals, state_after)
        return (targets - self._expected(_clip(inputs, c.low, c.high))) * c.unit.astype(np.float32)

    def _targets(self) -> NDArray[np.intp]:
        """(J,) the coordinate that judges each judged signal."""
        domain = self.constants.domain
        return domain.targets()[domain.judged]

    def _expected(self, inputs: Any) -> Any:
        """Inputs (n, I) to expected values (n, J), standardised."""
        c, f4 = self.constants, np.float32
        return inputs @ c.linear.astype(f4) + (self.network(inputs) + c.bias.astype(f4))

    def _parts(self, state: Any) -> CarState:
        """The parts of states (n, S), (rows, n) each."""
        import tensorflow as tf

        rows = tf.transpose(state)
        return CarState(*[rows[slice(*columns)] for columns in self.columns])

    def _standardised(self, signals: Any) -> tuple[Any, Any]:
        """Signals (n, K) to z-scores of the coordinates, 0 where missing, and the mask (width, n) each."""
        import tensorflow as tf

        c, domain = self.constants, self.constants.domain
        centre, spread = column(c.centre), column(c.spread)
        raw = tf.transpose(signals)
        known = tf.equal(raw, raw)
        present = tf.cast(known, tf.float32)
        # Values out of all bounds, infinite ones too, are clipped: as strange as can be, and finite. Clipping
        # NaN differs between runtimes, so NaN is replaced before, by the 0 of `present`.
        middle, most = centre[: domain.count], COORDINATE_MAX * spread[: domain.count]
        raw = _clip(tf.where(known, raw, present), middle - most, middle + most)
        there = presence(domain, present)
        values = (coordinates(domain, raw) - centre) * (1 / spread)
        return tf.clip_by_value(values, -COORDINATE_MAX, COORDINATE_MAX) * there, there

    def _identified(self, values: Any, present: Any, before: CarState) -> tuple[Any, CarState]:
        """(identity (I, n), state before): what the car has learned is zeroed where its identity changed."""
        import tensorflow as tf

        indices = identities(self.constants.domain)
        if not len(indices):
            return before.identity, before
        value, there = select(values, indices), select(present, indices)
        changed = tf.minimum(tf.abs(value - before.identity) * _STEEP, 1.0) * there
        same = 1.0 - tf.reduce_max(changed, axis=0, keepdims=True) * tf.minimum(before.count, 1.0)
        learned = ("count", "baseline", "deviation", "variance")
        before = before._replace(**{name: getattr(before, name) * same for name in learned})
        return value + (1.0 - there) * before.identity, before

    def _inputs(self, values: Any, present: Any, before: CarState) -> tuple[Any, Any]:
        """(inputs of the regression (I, n), moving average of the operating point (C, n)).

        Missing coordinates are imputed from the others.
        """
        import tensorflow as tf

        c, domain = self.constants, self.constants.domain
        low, high = column(c.low), column(c.high)
        known = _clip(values, low[: domain.width], high[: domain.width])
        filled = matmul(c.fill, known) + column(c.fill_bias)
        # The fill is added only where a value is missing: even rounding noise would leak a signal into its
        # own prediction. A missing value is 0 in `known`.
        now = known + (1.0 - present) * filled
        # The mean of all samples at first, then an EWMA.
        rate = tf.maximum(1.0 / (before.count + 1.0), 1 / self.constants.window.memory_samples)
        point = before.point + rate * (select(now, np.flatnonzero(domain.conditions)) - before.point)
        return stack(now, _clip(point, low[domain.width :], high[domain.width :])), point

    def _charted(self, point: Any) -> Any:
        """(1, n) 1 at operating points (C, n) of the training cars; outside predictions extrapolate: less."""
        import tensorflow as tf

        c, width = self.constants, self.constants.domain.width
        low, high = (column(bound[width:] / INPUT_BEYOND) for bound in (c.low, c.high))
        outside = tf.reduce_sum(tf.abs(point - _clip(point, low, high)), axis=0, keepdims=True)
        return 1.0 / (1.0 + outside)

    def _residual(self, values: Any, present: Any, inputs: Any) -> tuple[Any, Any]:
        """(observed minus expected, in resolutions, 0 outside of the mask; mask) (J, n) each."""
        import tensorflow as tf

        targets, unit = self._targets(), column(self.constants.unit)
        mask = select(present, targets) * self._denominator_mask(values)
        expected = tf.transpose(self._expected(tf.transpose(inputs)))
        return (select(values, targets) - expected) * unit * mask, mask

    def _denominator_mask(self, values: Any) -> Any:
        """(J, n) 1 where the ratio that judges a signal has a denominator above `judged_above`, else 0."""
        import tensorflow as tf

        denominators, least = _denominators(self.constants)
        if not len(denominators):
            return 1.0
        return tf.clip_by_value((select(values, denominators) - column(least)) * _STEEP, 0.0, 1.0)

    def _averages(self, clipped: Any, mask: Any, warm: Any, before: CarState) -> tuple[Any, Any]:
        """(baseline, deviation) (J, n) each, after this sample.

        The baseline is the mean of the learning period and frozen afterwards. A signal that was never present
        takes its first value as its baseline, whenever it comes.
        """
        import tensorflow as tf

        c = self.constants
        pull = column(c.pull)
        unknown = tf.nn.relu(1.0 - tf.abs(before.baseline) * _STEEP)
        rate = tf.maximum(unknown, (1.0 - warm) / (before.count + 1.0))
        baseline = before.baseline + mask * rate * (clipped - before.baseline)
        step = _clip(clipped - baseline, -pull, pull) - before.deviation
        return baseline, before.deviation + step * (mask * (warm * (1 / c.window.memory_samples)))

    def _variance(self, residual: Any, baseline: Any, mask: Any, warm: Any, before: CarState) -> Any:
        """(1, n) mean square of the residual in the learning period, in spreads within a car."""
        import tensorflow as tf

        spread = column(self.constants.spread_within)
        size = tf.minimum(tf.abs(residual - baseline) * (1 / spread), _VARIANCE_CLIP) * mask
        square = tf.reduce_mean(size * size, axis=0, keepdims=True)
        rate = (1.0 - warm) / (before.count + 1.0)
        return before.variance + rate * (square - before.variance)

    def _repeats(self, values: Any, present: Any, before: CarState) -> tuple[Any, Any, Any]:
        """(moving average of repeats, last values, mask) (R, n) each, of the restless signals."""
        import tensorflow as tf

        c, indices = self.constants, np.flatnonzero(self.constants.domain.restless)
        value, mask = select(values, indices), select(present, indices)
        same = tf.nn.relu(1.0 - tf.abs(value - before.last) * (1 / _SAME))
        rate = tf.maximum(1.0 / (before.count + 1.0), 1 / c.window.memory_samples)
        repeat_rate = before.repeat_rate + mask * (rate * (same - before.repeat_rate))
        return repeat_rate, value + (1.0 - mask) * before.last, mask

    def _usual_repeat_rate(self) -> Floats:
        """(R,): how often a restless signal of a healthy car repeats itself."""
        return np.asarray(self.constants.usual[len(self.constants.limit) :], np.float32)

    def _by_signal(self, parts: Any, beyond: Any) -> Any:
        """(K, n) contributions: parts (M, n) of the squared norm and squares `beyond` (J, n), by signal."""
        domain, judged = self.constants.domain, len(self.constants.limit)
        contribution = scatter(parts[:judged] + beyond, domain.judged)
        if domain.restless.any():
            contribution += scatter(parts[judged:], domain.restless)
        return contribution

    def convert(self) -> bytes:
        """The graph as TFLite: float32, builtin operators, any number of cars. Tensors as in `run`."""
        import tensorflow as tf

        signals = tf.TensorSpec((None, self.constants.domain.count), tf.float32, name="signals")
        state = tf.TensorSpec((None, self.state_width), tf.float32, name="state")

        @tf.function(input_signature=[signals, state])  # type: ignore[untyped-decorator]
        def serve(signals: Any, state: Any) -> dict[str, Any]:
            score, contribution, after = self.run(signals, state)
            return {"score": score, "contribution": contribution, "state": after}

        module = tf.Module()
        # Without the variables attached the converter writes a file without weights, and says nothing. With
        # `serve` attached it would trace it a second time, for the same bytes.
        module.network_variables = [weight.value for weight in getattr(self.network, "variables", [])]
        converter = tf.lite.TFLiteConverter.from_concrete_functions([serve.get_concrete_function()], module)
        return bytes(converter.convert())


def _clip(values: Any, low: Any, high: Any) -> Any:
    """The values clipped to bounds that broadcast."""
    import tensorflow as tf

    return tf.minimum(tf.maximum(values, low), high)


def _denominators(constants: Constants) -> tuple[NDArray[Any], NDArray[Any]]:
    """(J,) each: a signal is judged where this coordinate is above this value, standardised; empty: always.

    The coordinate is the denominator of the ratio that judges the signal. A ratio with `judged_above` must
    have a denominator that is never negative.
    """
    domain, always = constants.domain, -2 * COORDINATE_MAX
    coordinate, least = np.arange(domain.count), np.full(domain.count, always)
    for ratio in domain.ratios:
        if ratio.judges is not None and ratio.judged_above > 0:
            judged, under = domain.index(ratio.judges), domain.index(ratio.denominator)
            coordinate[judged] = under
            least[judged] = (ratio.judged_above - constants.centre[under]) / constants.spread[under]
    if (least == always).all():
        return coordinate[:0], least[:0]
    return coordinate[domain.judged], least[domain.judged]
