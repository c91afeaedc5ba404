"""Running statistics of the targets: mean, deviation, range, and recent means."""

import math

import numpy as np

from learner.kernels.jit import compiled, inlined
from learner.layout import (
    IMPORTANCE_SUM,
    N_TRENDS,
    TARGET_MAX,
    TARGET_MEAN,
    TARGET_MIN,
    TARGET_SQUARES,
    TARGET_SUM,
    TREND,
    UPDATES,
)

TREND_SHARES = np.array([1.0, 1.0 / 5.0, 1.0 / 50.0])  # weights of the newest target in the recent means


@compiled
def observe_target(totals, y, importance):
    """Update the running mean, squared deviations and range with a target (Welford, 1962)."""
    if importance == 0.0:
        return
    if totals[TARGET_SUM] == 0.0:
        totals[TARGET_MIN] = y
        totals[TARGET_MAX] = y
    totals[TARGET_SUM] += importance
    delta = y - totals[TARGET_MEAN]
    totals[TARGET_MEAN] += importance * delta / totals[TARGET_SUM]
    totals[TARGET_SQUARES] += importance * delta * (y - totals[TARGET_MEAN])
    totals[TARGET_MIN] = min(totals[TARGET_MIN], y)
    totals[TARGET_MAX] = max(totals[TARGET_MAX], y)


@compiled
def target_deviation(totals):
    """Return the standard deviation of the targets seen; 1 as long as it is 0."""
    if totals[TARGET_SQUARES] > 0.0:
        return math.sqrt(totals[TARGET_SQUARES] / totals[TARGET_SUM])
    return 1.0


@inlined
def relative_importance(importance, totals):
    """Return an importance relative to the mean of all so far, this one included; zeros don't count in the mean.

    The mixture learns by relative importances: multiplied by a constant, importances teach it the same.
    """
    if importance == 0.0:
        return 0.0
    return importance * (totals[UPDATES] + 1.0) / (totals[IMPORTANCE_SUM] + importance)


@inlined
def within_range(totals, s):
    """Return a score clipped to the range of the targets seen."""
    return min(max(s, totals[TARGET_MIN]), totals[TARGET_MAX])


@inlined
def positives(totals):
    """Return the total importance of the positive examples seen, for targets of -1 and +1."""
    return 0.5 * (1.0 + totals[TARGET_MEAN]) * totals[TARGET_SUM]


@inlined
def follow_trends(totals, y, importance):
    """Update the recent means with a target."""
    for k in range(N_TRENDS):
        share = TREND_SHARES[k]
        if importance != 1.0:
            share = 1.0 - (1.0 - share) ** importance
        totals[TREND + k] += share * (y - totals[TREND + k])
