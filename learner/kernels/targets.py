"""Running statistics of the targets: mean, deviation, range, recent means; bounds on rare wrong targets and on predictions."""

import math

import numpy as np

from learner.kernels.jit import compiled, inlined
from learner.layout import (
    EXAMPLES,
    HIGH_DISTANCE,
    IMPORTANCE_SUM,
    LOW_DISTANCE,
    N_TRENDS,
    RESIDUAL_SIZE,
    TARGET_MAX,
    TARGET_MEAN,
    TARGET_MIN,
    TARGET_SQUARES,
    TARGET_SUM,
    TREND,
    UPDATES,
)

TREND_SHARES = np.array([1.0, 1.0 / 5.0, 1.0 / 50.0])  # weights of the newest target in the recent means

N_FIRST = 4  # examples whose targets are learned in any case
MAX_SIZES = 3.0  # a residual up to so many sizes is learned in full
# One in so many residuals is above the size: at first MIN_RARITY, more by RARITY_GROWTH with each example, up to MAX_RARITY.
MIN_RARITY, RARITY_GROWTH, MAX_RARITY = 10.0, 0.5, 500.0
EDGE_SHARE = 1.0 / 50.0  # weight of the newest target in the mean distances from the smallest and the largest target


@compiled
def observe_target(totals, y, relative):
    """Update the running mean, squared deviations and range with a target (Welford, 1962)."""
    if relative == 0.0:
        return
    if totals[TARGET_SUM] == 0.0:
        totals[TARGET_MIN] = y
        totals[TARGET_MAX] = y
    totals[TARGET_SUM] += relative
    delta = y - totals[TARGET_MEAN]
    totals[TARGET_MEAN] += relative * delta / totals[TARGET_SUM]
    totals[TARGET_SQUARES] += relative * delta * (y - totals[TARGET_MEAN])
    totals[TARGET_MIN] = min(totals[TARGET_MIN], y)
    totals[TARGET_MAX] = max(totals[TARGET_MAX], y)


@compiled
def target_deviation(totals):
    """Return the standard deviation of the targets seen; 1 as long as it is 0."""
    if totals[TARGET_SQUARES] > 0.0:
        return math.sqrt(totals[TARGET_SQUARES] / totals[TARGET_SUM])
    return 1.0


@compiled
def credible(totals, s, y, relative):
    """Return the target to learn for a prediction s, in the target's units: the target, or one nearer to the prediction.

    A target counts as wrong if its residual ``|y - s|`` is above three *sizes* and above the targets' deviation. Then the
    target to learn is one size from the prediction, on the same side (Hampel, 1974, "The influence curve and its role in robust
    estimation": the influence of a large residual must fall again).

    The size is a running estimate of a high quantile of the residuals (stochastic approximation on the logarithm: Robbins,
    Monro, 1951): a residual above it doubles it, another one shrinks it by ``log(2) / rarity``. Hence about one residual in
    `rarity` is above the size. Heavy tails raise the size, so they are learned; and where the targets move to another level for
    good, the size follows them in as many examples as it has to double.
    """
    if relative == 0.0:
        return y
    residual, size = abs(y - s), totals[RESIDUAL_SIZE]
    if totals[EXAMPLES] < N_FIRST or size == 0.0:
        totals[RESIDUAL_SIZE] = max(size, residual) if totals[TARGET_SUM] > 0.0 else 0.0
        return y
    rarity = min(MIN_RARITY + RARITY_GROWTH * totals[EXAMPLES], MAX_RARITY)
    totals[RESIDUAL_SIZE] += size * min(relative, 1.0) * (1.0 if residual > size else -math.log(2.0) / rarity)
    if residual > max(MAX_SIZES * size, target_deviation(totals)):
        return s + math.copysign(size, y - s)
    return y


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


@compiled
def near_range(totals, s):
    """Return a score moved into the range of the targets seen, smoothly, so that scores beyond it do not all become its ends.

    Let d be the mean distance from the smallest target of the recent targets whose score was below it. From d above the
    smallest target downwards, the score approaches that target as ``min + d e^((s - min - d) / d)``; at the largest target
    likewise. Without such scores d is 0, and the score is clipped.
    """
    low, high = totals[TARGET_MIN], totals[TARGET_MAX]
    half = 0.5 * (high - low)
    d = min(totals[LOW_DISTANCE], half)
    if d > 0.0 and s < low + d:
        return low + d * math.exp((s - low) / d - 1.0)
    d = min(totals[HIGH_DISTANCE], half)
    if d > 0.0 and s > high - d:
        return high - d * math.exp((high - s) / d - 1.0)
    return within_range(totals, s)


@compiled
def observe_edges(totals, s, y, relative):
    """Update the mean distances from the smallest and the largest target, if the score was beyond it."""
    share = 1.0 - (1.0 - EDGE_SHARE) ** relative
    if s < totals[TARGET_MIN]:
        totals[LOW_DISTANCE] += share * (max(y - totals[TARGET_MIN], 0.0) - totals[LOW_DISTANCE])
    elif s > totals[TARGET_MAX]:
        totals[HIGH_DISTANCE] += share * (max(totals[TARGET_MAX] - y, 0.0) - totals[HIGH_DISTANCE])


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
