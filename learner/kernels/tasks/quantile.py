"""A quantile of a number, by the pinball loss. Targets are standardised for learning."""

import math

from learner.kernels.evaluation import count_example
from learner.kernels.jit import compiled
from learner.kernels.losses import derivative, value
from learner.kernels.targets import credible, observe_target, target_deviation, within_range
from learner.kernels.tasks.regression import accept, has_scale, trend, unit_and_offset
from learner.layout import (
    CONSTANT_LOSS_SUM,
    IMPORTANCE_SUM,
    LOSS_SUM,
    QUANTILE,
    TARGET_MAX,
    TARGET_MEAN,
    TARGET_MIN,
    TARGET_SUM,
)
from learner.metrics import CONSTANT_COVERED, CONSTANT_PINBALL, COVERED, CURRENT, PINBALL

__all__ = ["accept", "evaluate", "has_scale", "loss_at", "trend", "unit_and_offset", "within_targets"]


def within_targets(totals, s):
    """Clip a score to the range of the targets seen."""
    return within_range(totals, s)


def loss_at(loss, totals, s, y):
    """Return the loss of a score after clipping it to the range of the targets seen."""
    return value(loss, within_range(totals, s), y)


def evaluate(loss, state, s, y, importance, relative):
    """Count the pinball loss and the targets that are at most the prediction; the target to learn is standardised."""
    totals = state.totals
    s, constant = within_range(totals, s), totals[QUANTILE]
    count_example(state.metrics, importance)
    sums = state.metrics[CURRENT]
    pinball, constant_pinball = value(loss, s, y), value(loss, constant, y)
    sums[PINBALL] += importance * pinball
    sums[CONSTANT_PINBALL] += importance * constant_pinball
    if y <= s:
        sums[COVERED] += importance
    if y <= constant:
        sums[CONSTANT_COVERED] += importance
    totals[LOSS_SUM] += importance * pinball
    totals[CONSTANT_LOSS_SUM] += importance * constant_pinball
    y = credible(totals, s, y, relative)
    observe_target(totals, y, relative)
    follow_quantile(loss, totals, y, importance, relative)
    return pinball, (y - totals[TARGET_MEAN]) / target_deviation(totals)


@compiled
def follow_quantile(loss, totals, y, importance, relative):
    """Update the running estimate of the quantile, which serves as the best constant.

    Stochastic approximation (Robbins, Monro, 1951): a step of 1 / (n f) against the slope. Here f is a quarter of
    ``level (1 - level) / L``, the density at its quantile of an asymmetric Laplace distribution with the same mean loss L. A
    step that is too long costs little; steps that are too short never reach drifting targets. A rare wrong target raises L, so
    it is at most ``sqrt(level (1 - level))`` deviations, which the best constant's mean loss never exceeds.
    """
    if relative == 0.0:
        return
    if totals[TARGET_SUM] == relative:
        totals[QUANTILE] = y
        return
    spread = loss.level * (1.0 - loss.level)
    mean_loss = totals[CONSTANT_LOSS_SUM] / (totals[IMPORTANCE_SUM] + importance)
    mean_loss = min(mean_loss, math.sqrt(spread) * target_deviation(totals))
    gain = mean_loss / (0.25 * spread) * (relative / totals[TARGET_SUM])
    q = totals[QUANTILE] - gain * derivative(loss, totals[QUANTILE], y)
    totals[QUANTILE] = min(max(q, totals[TARGET_MIN]), totals[TARGET_MAX])
