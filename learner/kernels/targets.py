"""Running statistics of the targets: mean, deviation, range, recent means; bounds on rare wrong targets and on predictions."""

import math

import numpy as np

from learner.kernels.jit import compiled, inlined
from learner.layout import (
    DENSE_SLOTS,
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

# The first targets lie where the first dense features' slots will, as no feature is dense so soon: targets, relative
# importances, and two rows of work arrays.
N_FIRST, FIRST_TARGETS = 8, DENSE_SLOTS + 1
MAX_SPREADS = 10.0  # one of the first targets up to so many spreads from the median is learned in full
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

    The caller then counts it by `observe_target`. The first targets are judged by one another: see `among_first`. Later, a
    target counts as wrong if its residual ``|y - s|`` is above three *sizes* and above the targets' deviation. Then the target
    to learn is one size from the prediction, on the same side (Hampel, 1974, "The influence curve and its role in robust
    estimation": the influence of a large residual must fall again).

    The size is a running estimate of a high quantile of the residuals: see `follow_size`.
    """
    if totals[EXAMPLES] < N_FIRST:
        return among_first(totals, y, relative, False)
    if relative == 0.0 or totals[TARGET_SUM] == 0.0:
        return y
    residual, deviation = abs(y - s), target_deviation(totals)
    size = follow_size(totals, residual, deviation, relative)
    return s + math.copysign(size, y - s) if residual > max(MAX_SIZES * size, deviation) else y


@compiled
def credible_count(totals, rate, y, relative):
    """Return the count to learn for a predicted rate as `credible` does: residuals are of the roots, and a size is at least 1.

    The root of a Poisson variable has about the same deviation whatever the rate (Bartlett, 1936, "The square root
    transformation in analysis of variance").
    """
    if totals[EXAMPLES] < N_FIRST:
        return among_first(totals, y, relative, True)
    if relative == 0.0:
        return y
    s, root = math.sqrt(rate), math.sqrt(y)
    totals[RESIDUAL_SIZE] = max(totals[RESIDUAL_SIZE], 1.0)
    size = follow_size(totals, abs(root - s), 1.0, relative)
    return max(s + math.copysign(size, root - s), 0.0) ** 2 if abs(root - s) > MAX_SIZES * size else y


@inlined
def follow_size(totals, residual, deviation, relative):
    """Return the size of residuals, then update it with one.

    By stochastic approximation on the logarithm (Robbins, Monro, 1951) a residual above the size doubles it, another one
    shrinks it by ``log(2) / rarity``. Hence about one residual in `rarity` is above the size. Heavy tails raise the size, so
    they are learned; and where the targets move to another level for good, the size follows them in as many examples as it has
    to double. After targets that were all alike, one residual above the deviation is no size yet: it waits as a negative
    number, and the size is the smaller one of it and the next.
    """
    size = totals[RESIDUAL_SIZE]
    if size <= 0.0:
        if residual > deviation:
            totals[RESIDUAL_SIZE] = -residual if size == 0.0 else min(-size, residual)
        elif size == 0.0:
            totals[RESIDUAL_SIZE] = residual
        return max(totals[RESIDUAL_SIZE], 0.0)
    rarity = min(MIN_RARITY + RARITY_GROWTH * totals[EXAMPLES], MAX_RARITY)
    totals[RESIDUAL_SIZE] += size * min(relative, 1.0) * (1.0 if residual > size else -math.log(2.0) / rarity)
    return size


@compiled
def among_first(totals, y, relative, are_counts):
    """Take in one of the first targets, and count the others anew by `observe_target`; return the target to learn.

    A target counts as wrong if it is more than `MAX_SPREADS` spreads from the median of the first ones; it then is one spread
    from it. The spread is the median distance from the median (Hampel, 1974, section 4), or, if that is 0, the smallest other
    one but the largest; of counts, distances are of the roots, and the spread is at least 1. With the last of the first targets
    the largest distance of the others becomes the size of residuals.
    """
    n = np.int64(totals[EXAMPLES]) + 1
    targets, importances = totals[FIRST_TARGETS:][:n], totals[FIRST_TARGETS + N_FIRST :][:n]
    values, distances = totals[FIRST_TARGETS + 2 * N_FIRST :][:n], totals[FIRST_TARGETS + 3 * N_FIRST :][:n]
    targets[n - 1], importances[n - 1] = y, relative
    n_counted = 0
    for i in range(n):
        n_counted += importances[i] > 0.0
        values[i] = math.nan if importances[i] == 0.0 else math.sqrt(targets[i]) if are_counts else targets[i]
    median = ranked((n_counted - 1) // 2, values)
    for i in range(n):
        distances[i] = abs(values[i] - median)
    spread = spread_of(n_counted, distances)
    spread = max(spread, 1.0) if are_counts else spread
    totals[TARGET_SUM] = totals[TARGET_MEAN] = totals[TARGET_SQUARES] = size = 0.0
    for i in range(n):
        y = targets[i]
        if distances[i] > MAX_SPREADS * spread:
            y = median + math.copysign(spread, values[i] - median)
            y = max(y, 0.0) ** 2 if are_counts else y
        elif importances[i] > 0.0:
            size = max(size, distances[i])
        if i < n - 1:
            observe_target(totals, y, importances[i])
    if n == N_FIRST:
        totals[RESIDUAL_SIZE] = size
        totals[FIRST_TARGETS : FIRST_TARGETS + 4 * N_FIRST] = 0.0
    return y


@compiled
def spread_of(n, distances):
    """Return the spread of the first n targets, given their distances from the median: see `among_first`."""
    spread = ranked(n // 2, distances)
    if spread > 0.0 or n < 3:
        return spread
    n_zeros = 0
    for distance in distances:
        n_zeros += distance == 0.0
    if n_zeros == n - 1:
        return ranked(n - 1, distances) if n == 3 else 0.0
    return ranked(n_zeros, distances)


@compiled
def ranked(k, values):
    """Return the k-th smallest, from 0, of a few numbers; 0 if there is none. NaN is no number."""
    for value in values:
        n_smaller = n_equal = 0
        for other in values:
            n_smaller += other < value
            n_equal += other == value
        if n_smaller <= k < n_smaller + n_equal:
            return value
    return 0.0


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
