"""A quantile of a number, by the pinball loss. Targets are learned less their mean, over their deviation."""

from learner.kernels.evaluation import count_example
from learner.kernels.jit import compiled
from learner.kernels.losses import derivative, value
from learner.kernels.targets import observe_target, target_deviation, within_range
from learner.kernels.tasks.regression import accept, has_scale, trend, unit_and_offset, within_targets
from learner.layout import (
    CONSTANT_LOSS_SUM,
    LOSS_SUM,
    QUANTILE,
    TARGET_MAX,
    TARGET_MEAN,
    TARGET_MIN,
    TARGET_SUM,
)
from learner.metrics import CONSTANT_COVERED, CONSTANT_PINBALL, COVERED, CURRENT, PINBALL

__all__ = ["accept", "evaluate", "has_scale", "trend", "unit_and_offset", "within_targets"]


def evaluate(loss, state, s, y, importance):
    """Count the pinball loss and the share of targets at most the prediction; the target is learned standardised."""
    totals = state.totals
    s, constant = within_range(totals, s), totals[QUANTILE]
    count_example(state.metrics, importance)
    sums = state.metrics[CURRENT]
    pinball, of_constant = value(loss, s, y), value(loss, constant, y)
    sums[PINBALL] += importance * pinball
    sums[CONSTANT_PINBALL] += importance * of_constant
    if y <= s:
        sums[COVERED] += importance
    if y <= constant:
        sums[CONSTANT_COVERED] += importance
    totals[LOSS_SUM] += importance * pinball
    totals[CONSTANT_LOSS_SUM] += importance * of_constant
    observe_target(totals, y, importance)
    follow_quantile(loss, totals, y, importance)
    return pinball, (y - totals[TARGET_MEAN]) / target_deviation(totals)


@compiled
def follow_quantile(loss, totals, y, importance):
    """Take a target into the running estimate of the quantile, which the best constant is.

    Stochastic approximation (Robbins, Monro, 1951): a step of 1 / (n f) along the slope, where f is a quarter of the density
    at the quantile of an asymmetric Laplace distribution of the same mean loss L, ``level (1 - level) / L``: too long a step
    costs little, one too short never arrives where the targets drift.
    """
    if importance == 0.0:
        return
    if totals[TARGET_SUM] == importance:
        totals[QUANTILE] = y
        return
    f = 0.25 * loss.level * (1.0 - loss.level)
    gain = totals[CONSTANT_LOSS_SUM] / totals[TARGET_SUM] / f * (importance / totals[TARGET_SUM])
    q = totals[QUANTILE] - gain * derivative(loss, totals[QUANTILE], y)
    totals[QUANTILE] = min(max(q, totals[TARGET_MIN]), totals[TARGET_MAX])
