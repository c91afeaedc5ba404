"""Values on their features' own scales: what the experts see of an example.

A feature's row keeps how often it came, the mean and the deviation of its values, and the largest size of what was seen of
it. A feature that more than half of the examples have, with varying values, is *dense*: it is centred, and where it is left
out it counts with its value, 0.
"""

import math

import numpy as np

from learner.kernels.bits import MISSING, NOTHING, ONE
from learner.kernels.jit import inlined
from learner.kernels.table import COUNT, DENSE, DEVIATION, MEAN, PLACE_MASK, SCALE, find_again, width_of
from learner.layout import (
    CROSSES,
    DENSE_SLOTS,
    EXAMPLES,
    MAX_BINNED,
    MAX_DENSE,
    MIN_CROSSED,
    MIN_CROSSED_SHARE,
    N_CROSSED,
    N_DENSE,
)

WARM_COUNT = 8.0  # examples that a feature has been in, before outliers are told from its usual values
MAX_DEVIATIONS, MAX_MEANS = (
    15.0,
    4.0,
)  # a value is cut there: deviations from zero beyond the mean; means of a constant value
MAX_STANDARDIZED = 8.0  # deviations from the mean


@inlined
def scaled(v, base, count, learning, rows):
    """Return a value, centred or not, on its feature's own scale, in [-1, 1]; the scale grows with what it has seen."""
    scale = np.float64(rows[base + SCALE])
    magnitude = abs(v)
    if magnitude > scale:
        scale = 2.0 * scale if scale > 0.0 and count > WARM_COUNT and magnitude > 2.0 * scale else magnitude
        if learning:
            rows[base + SCALE] = scale
    return min(max(v / scale, -1.0), 1.0)


@inlined
def bounded(v, bound):
    """Return a number within plus and minus a bound."""
    return min(max(v, -bound), bound)


@inlined
def keep_frequent(base, count, n, frequent, counts):
    """Take a row into the list of the most frequent, the first ones first; return how many are in it."""
    if n < np.uint64(N_CROSSED):
        at = n
        n += ONE
    elif counts[N_CROSSED - 1] >= count:
        return n
    else:
        at = np.uint64(N_CROSSED - 1)
    while at > NOTHING and counts[at - ONE] < count:
        frequent[at] = frequent[at - ONE]
        counts[at] = counts[at - ONE]
        at -= ONE
    frequent[at] = base
    counts[at] = count
    return n


@inlined
def observe_value(x, base, count, rows):
    """Take a value into its feature's mean and deviation (Welford, 1962, "Note on a method for calculating ... variances")."""
    mean, deviation = np.float64(rows[base + MEAN]), np.float64(rows[base + DEVIATION])
    delta = x - mean
    mean += delta / (count + 1.0)
    rows[base + MEAN] = mean
    variance = deviation * deviation
    rows[base + DEVIATION] = math.sqrt(variance + (delta * (x - mean) - variance) / (count + 1.0))


@inlined
def scale_features(n, learning, settings, table, totals, features, derived):
    """Bring values onto their features' own scales: ``scaled[:n]`` in [-1, 1], and make sure of their rows; return n.

    Dense features are centred, and one that is left out of this example is added with its value, 0: the score stays linear in
    what the example says. When learning, the values are taken into the features' statistics. What comes after is left behind:
    the dense features' values, plain and standardised, and the most frequent of the other features, for what is derived of
    them; and which features are to become dense, for `promote`.
    """
    rows, words32, dirty = table.rows, table.words32, table.dirty
    bases = features.bases
    width = width_of(settings)
    half_of_examples = 0.5 * totals[EXAMPLES]
    enough = max(np.float64(MIN_CROSSED), MIN_CROSSED_SHARE * totals[EXAMPLES])
    crosses = len(settings.rates) > 1 and settings.parts & CROSSES != 0
    n_dense = np.int64(totals[N_DENSE])
    features.present[: n_dense + 1] = 0
    derived.numbers[:] = 0.0
    derived.standardized[:] = 0.0
    derived.standardized[0] = 1.0
    derived.frequent[0] = MISSING  # ends the list
    n_frequent = n_promoted = np.uint64(0)
    for i in range(np.uint64(n)):
        x = features.values[i]
        base = find_again(i, features.hashes, bases, table, width)
        if base == MISSING:
            features.scaled[i] = 1.0 if x > 0.0 else -1.0
            continue
        count = np.float64(words32[base + COUNT])
        if learning:
            words32[base + COUNT] += 1
            dirty[base // width] = 1
        place = np.int64(words32[base + DENSE] & PLACE_MASK)
        if crosses and count >= enough and place == 0:
            n_frequent = keep_frequent(base, count, n_frequent, derived.frequent, derived.counts)
        mean = np.float64(rows[base + MEAN])
        deviation = np.float64(rows[base + DEVIATION])
        if deviation == 0.0 and np.float32(x) == rows[base + MEAN]:  # it has had this one value only: an indicator
            features.scaled[i] = 1.0 if x > 0.0 else -1.0
            continue
        features.present[place] = 1
        if count > WARM_COUNT:  # a rare huge value must not stretch the scale
            x = bounded(x, abs(mean) + MAX_DEVIATIONS * deviation if deviation > 0.0 else MAX_MEANS * abs(mean))
        v = x
        if deviation > 0.0 and count > half_of_examples:  # dense: centred
            v = x - mean
            if count >= WARM_COUNT and place == 0 and learning:
                derived.promoted[n_promoted] = base
                n_promoted += ONE
            if 0 < place <= MAX_BINNED:
                derived.standardized[place] = bounded(v / deviation, MAX_STANDARDIZED)
        if 0 < place <= MAX_BINNED:
            derived.numbers[place] = x
        features.scaled[i] = scaled(v, base, count, learning, rows)
        if learning:
            observe_value(x, base, count, rows)
    n = add_left_out(n, learning, settings, table, totals, features, derived)
    if n_frequent < np.uint64(N_CROSSED):
        derived.frequent[n_frequent] = MISSING
    derived.promoted[n_promoted] = MISSING  # ends the list
    return n


@inlined
def add_left_out(n, learning, settings, table, totals, features, derived):
    """Add the dense features that an example has not, each with its value, 0; return how many features there are then."""
    rows = table.rows
    width = width_of(settings)
    for place in range(1, np.int64(totals[N_DENSE]) + 1):
        if features.present[place]:
            continue
        base = np.uint64(totals[DENSE_SLOTS + place]) * width
        count = np.float64(table.words32[base + COUNT])
        deviation = np.float64(rows[base + DEVIATION])
        if deviation > 0.0 and count > 0.5 * totals[EXAMPLES]:
            v = -np.float64(rows[base + MEAN])
            features.bases[n] = base
            features.scaled[n] = scaled(v, base, count, learning, rows)
            if place <= MAX_BINNED:
                derived.standardized[place] = bounded(v / deviation, MAX_STANDARDIZED)
            if learning:
                table.dirty[base // width] = 1
            n += 1
    return n


@inlined
def promote(settings, table, totals, promoted):
    """Give the features that became dense their places; called after scoring, so it takes effect from the next example."""
    i = np.uint64(0)
    while promoted[i] != MISSING and totals[N_DENSE] < MAX_DENSE:
        totals[N_DENSE] += 1.0
        totals[DENSE_SLOTS + np.int64(totals[N_DENSE])] = promoted[i] // width_of(settings)
        table.words32[promoted[i] + DENSE] |= np.uint32(totals[N_DENSE])
        i += ONE
