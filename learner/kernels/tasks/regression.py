"""Numbers: predicts the mean. Targets are standardised for learning."""

from learner.kernels.evaluation import count_example, is_full
from learner.kernels.jit import inlined
from learner.kernels.losses import value
from learner.kernels.targets import credible, near_range, observe_edges, observe_target, target_deviation
from learner.layout import CONSTANT_LOSS_SUM, LOSS_SUM, MAX_NUMBER, TARGET_MEAN
from learner.metrics import (
    ABSOLUTE,
    CONSTANT_ABSOLUTE,
    CONSTANT_SQUARED,
    CURRENT,
    MEAN,
    OLDER,
    PREVIOUS,
    SQUARED,
    SQUARES,
    WEIGHT,
)


def accept(y):
    """Accept numbers up to `MAX_NUMBER` in size."""
    return abs(y) <= MAX_NUMBER, y


def unit_and_offset(totals):
    """Return the targets' deviation and mean: scores are deviations from the mean."""
    return target_deviation(totals), totals[TARGET_MEAN]


def within_targets(totals, s):
    """Move a score into the range of the targets seen."""
    return near_range(totals, s)


def loss_at(loss, totals, s, y):
    """Return the loss of a score after moving it into the range of the targets seen."""
    return value(loss, near_range(totals, s), y)


def evaluate(loss, state, s, y, importance, relative):
    """Count absolute and squared errors, and the targets' variance; the target to learn is standardised."""
    totals, raw = state.totals, s
    s = near_range(totals, raw)
    mean = totals[TARGET_MEAN]
    error, constant_error = s - y, mean - y
    count(state.metrics, importance)
    sums = state.metrics[CURRENT]
    sums[ABSOLUTE] += importance * abs(error)
    sums[SQUARED] += importance * (error * error)
    sums[CONSTANT_ABSOLUTE] += importance * abs(constant_error)
    sums[CONSTANT_SQUARED] += importance * (constant_error * constant_error)
    if importance > 0.0:
        delta = y - sums[MEAN]
        sums[MEAN] += importance * delta / sums[WEIGHT]
        sums[SQUARES] += importance * delta * (y - sums[MEAN])
    totals[LOSS_SUM] += importance * value(loss, s, y)
    totals[CONSTANT_LOSS_SUM] += importance * value(loss, mean, y)
    y = credible(totals, s, y, relative)
    observe_edges(totals, raw, y, relative)
    observe_target(totals, y, relative)
    return error * error, (y - totals[TARGET_MEAN]) / target_deviation(totals)


@inlined
def count(metrics, importance):
    """Count an example as `count_example` does; also merge the means and squared deviations of rows (Chan et al., 1979)."""
    older, previous = metrics[OLDER], metrics[PREVIOUS]
    full, mean = is_full(metrics), older[MEAN]
    if full and previous[WEIGHT] > 0.0:
        weight = older[WEIGHT] + previous[WEIGHT]
        delta = previous[MEAN] - older[MEAN]
        share = previous[WEIGHT] / weight
        mean = older[MEAN] + delta * share
        older[SQUARES] += delta * delta * older[WEIGHT] * share
    count_example(metrics, importance)
    if full:
        older[MEAN] = mean


def trend(totals, y):
    """Return the standardised target."""
    return y


def has_scale(totals):
    """Return True: one target is enough."""
    return True
