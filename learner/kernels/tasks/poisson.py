"""Counts and rates, at least 0. The score is the logarithm of the rate; targets are learned relative to their mean."""

import math

from learner.kernels.evaluation import count_example
from learner.kernels.jit import compiled
from learner.kernels.losses import value
from learner.kernels.targets import credible_count, observe_target
from learner.layout import CONSTANT_LOSS_SUM, LOSS_SUM, MAX_NUMBER, TARGET_MAX, TARGET_MEAN, TARGET_SUM
from learner.metrics import (
    ABSOLUTE,
    CONSTANT_ABSOLUTE,
    CONSTANT_DEVIANCE,
    CONSTANT_SQUARED,
    CURRENT,
    DEVIANCE,
    SQUARED,
)

MAX_RELATIVE_COUNT = 1e6  # larger counts, relative to the mean, are learned as this


def accept(y):
    """Accept numbers from 0 to `MAX_NUMBER`."""
    return 0.0 <= y <= MAX_NUMBER, y


@compiled
def expected_count(totals):
    """Return the mean of the counts seen and an extra count of 1, which keeps it above 0: (sum + 1) / (importances + 1)."""
    return (totals[TARGET_MEAN] * totals[TARGET_SUM] + 1.0) / (totals[TARGET_SUM] + 1.0)


@compiled
def deviance(loss, mean, s, y):
    """Return the Poisson deviance of a log rate, computed relative to the mean."""
    return mean * value(loss, s - math.log(mean), y / mean)


def unit_and_offset(totals):
    """Return 1 and the mean's logarithm: scores are log rates relative to the mean."""
    return 1.0, math.log(expected_count(totals))


def within_targets(totals, s):
    """Limit a log rate to that of the largest target seen, or of the mean."""
    return min(s, math.log(max(totals[TARGET_MAX], expected_count(totals))))


def loss_at(loss, totals, s, y):
    """Return the deviance of a log rate after limiting it."""
    mean = expected_count(totals)
    return deviance(loss, mean, min(s, math.log(max(totals[TARGET_MAX], mean))), y)


def evaluate(loss, state, s, y, importance, relative):
    """Count the deviance, and the errors of the rate; the target is learned relative to the mean."""
    totals = state.totals
    mean = expected_count(totals)
    s = min(s, math.log(max(totals[TARGET_MAX], mean)))
    error, constant_error = math.exp(s) - y, mean - y
    count_example(state.metrics, importance)
    sums = state.metrics[CURRENT]
    sums[ABSOLUTE] += importance * abs(error)
    sums[SQUARED] += importance * (error * error)
    sums[CONSTANT_ABSOLUTE] += importance * abs(constant_error)
    sums[CONSTANT_SQUARED] += importance * (constant_error * constant_error)
    score_deviance, constant_deviance = deviance(loss, mean, s, y), deviance(loss, mean, math.log(mean), y)
    sums[DEVIANCE] += importance * score_deviance
    sums[CONSTANT_DEVIANCE] += importance * constant_deviance
    totals[LOSS_SUM] += importance * score_deviance
    totals[CONSTANT_LOSS_SUM] += importance * constant_deviance
    y = credible_count(totals, math.exp(s), y, relative)
    observe_target(totals, y, relative)
    return score_deviance, min(y / expected_count(totals), MAX_RELATIVE_COUNT)


def trend(totals, y):
    """Return ``log((1 + y) / 2)``, which is 0 at the mean."""
    return math.log(0.5 * (1.0 + y))


def has_scale(totals):
    """Tell whether a count above 0 was seen: zeros alone define no scale of the rate."""
    return totals[TARGET_MAX] != 0.0
