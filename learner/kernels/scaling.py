"""Scaling of an example's values to their features' own scales, as the experts see them.

A feature's row has its count, the mean and standard deviation of its values, and its scale, about the largest size seen. A
feature with varying values that is in more than half of the examples is *dense*: it is centred, and an example that leaves it
out has the value 0 for it. One that is said to be missing (see `learner.kernels.example.add_missing`) counts as its mean.
"""

import math

import numpy as np

from learner.kernels.bits import MISSING, ONE
from learner.kernels.jit import inlined, no
from learner.kernels.table import COUNT, DENSE, DEVIATION, MEAN, PLACE_MASK, SAID, SCALE, find_again, width_of
from learner.layout import (
    CELLS,
    CROSSES,
    DENSE_SLOTS,
    EXAMPLES,
    MAX_BINNED,
    MAX_SWITCHES,
    MIN_CROSSED,
    MIN_CROSSED_SHARE,
    MIN_SWITCH_SHARE,
    N_CROSSED,
    N_DENSE,
    N_SWITCHES,
    SWITCH_MASK,
    SWITCH_SHIFT,
    WARM_COUNT,
)

# A value's size is clipped to the mean's size plus so many deviations; to so many means where all values were equal.
MAX_DEVIATIONS, MAX_MEANS = 15.0, 4.0
KEY_STEP = 16384.0  # above the number of features of an example
MAX_STANDARDIZED = 8.0  # deviations from the mean; standardised values are clipped to this


@inlined
def scaled(v, base, count, learning, rows):
    """Return a value, centred if its feature is dense, on its feature's scale, in [-1, 1].

    A larger value raises the scale; once the feature has been in `WARM_COUNT` examples, one value at most doubles it.
    """
    scale = np.float64(rows[base + SCALE])
    magnitude = abs(v)
    if magnitude > scale:
        scale = 2.0 * scale if scale > 0.0 and count > WARM_COUNT and magnitude > 2.0 * scale else magnitude
        if learning:
            rows[base + SCALE] = scale
    return min(max(v / scale, -1.0), 1.0)


@inlined
def bounded(v, bound):
    """Return a number clipped to plus and minus a bound."""
    return min(max(v, -bound), bound)


@inlined
def keep_largest(key, largest):
    """Put a key among the four largest ones, in descending order; without a branch, which would often be mispredicted."""
    a, b, c, d = largest
    a, key = max(a, key), min(a, key)
    b, key = max(b, key), min(b, key)
    c, key = max(c, key), min(c, key)
    return a, b, c, max(d, key)


@inlined
def frequency_key(i, count):
    """Return a key that orders the features of an example by their counts, then by their places; above 0."""
    return count * KEY_STEP - np.float64(i)


@inlined
def write_frequent(largest, bases, frequent):
    """Write the rows of the features with these keys; MISSING ends the list."""
    for j in range(N_CROSSED):
        key = largest[j]
        i = np.ceil(key / KEY_STEP) * KEY_STEP - key
        frequent[j] = bases[np.uint64(i)] if key > 0.0 else MISSING


@inlined
def observe_value(x, base, count, rows):
    """Update a feature's mean and deviation with a value (Welford, 1962, "Note on a method for calculating ... variances")."""
    mean, deviation = np.float64(rows[base + MEAN]), np.float64(rows[base + DEVIATION])
    delta = x - mean
    mean += delta / (count + 1.0)
    rows[base + MEAN] = mean
    variance = deviation * deviation
    rows[base + DEVIATION] = math.sqrt(variance + (delta * (x - mean) - variance) / (count + 1.0))


@inlined
def note_switch(base, count, learning, table, state, derived):
    """Note that the example has a switch; make a feature a switch if it is in enough of the examples, and not in too many."""
    totals = state.totals
    switch = np.int64(table.words32[base + DENSE] >> np.uint32(SWITCH_SHIFT) & np.uint32(SWITCH_MASK))
    if switch > 0:
        derived.numbers[MAX_BINNED + switch] = 1.0 + base
    elif learning and count >= MIN_CROSSED and totals[N_SWITCHES] < MAX_SWITCHES:
        margin = MIN_SWITCH_SHARE * totals[EXAMPLES]
        if margin < count < totals[EXAMPLES] - margin:
            totals[N_SWITCHES] += 1.0
            derived.numbers[MAX_BINNED + np.int64(totals[N_SWITCHES])] = 0.0  # on from the next example
            state.interactions[MAX_BINNED + np.int64(totals[N_SWITCHES]), 0] = count / totals[EXAMPLES]
            table.words32[base + DENSE] |= np.uint32(totals[N_SWITCHES]) << np.uint32(SWITCH_SHIFT)


@inlined
def note_missing(i, base, half_of_examples, table, features, derived):
    """Give a number that is missing the value of its mean, which changes no statistics and is in no bin.

    Returns whether this is new: whether its row has yet to be marked `SAID`.
    """
    rows, words32 = table.rows, table.words32
    word, count = words32[base + DENSE], np.float64(words32[base + COUNT])
    place = np.int64(word & PLACE_MASK)
    features.present[place] = 1
    if 0 < place <= MAX_BINNED:
        derived.numbers[place] = math.nan
    if word & SAID == 0 and count <= half_of_examples:  # not centred
        features.scaled[i] = scaled(np.float64(rows[base + MEAN]), base, count, no(), rows)
    return rows[base + DEVIATION] > 0.0 and word & SAID == 0


@inlined
def clear_dense(totals, derived):
    """Set the dense features' values, ranks and standardised values to 0, and the switches to off."""
    derived.standardized[0] = 1.0
    for place in range(1, min(np.int64(totals[N_DENSE]), MAX_BINNED) + 1):
        derived.numbers[place] = derived.ranks[place] = derived.standardized[place] = 0.0
    for switch in range(1, np.int64(totals[N_SWITCHES]) + 1):
        derived.numbers[MAX_BINNED + switch] = 0.0


@inlined
def scale_features(n, learning, is_held, settings, table, state, features, derived):
    """Write values on their features' own scales, in [-1, 1], into ``scaled[:n]``; confirm rows that weren't held; return n.

    Dense features are centred. A dense feature that this example leaves out is added with the value 0, so the score stays
    linear in the example's values. When learning, the values update the features' statistics. For later steps this also writes
    the dense features' values, plain and standardised; which switches are on; the most frequent other features, for crosses;
    and the features that become dense, for `learner.kernels.places.promote`.
    """
    rows, words32, dirty = table.rows, table.words32, table.dirty
    bases, totals = features.bases, state.totals
    width = width_of(settings)
    half_of_examples = 0.5 * totals[EXAMPLES]
    min_count = max(np.float64(MIN_CROSSED), MIN_CROSSED_SHARE * totals[EXAMPLES])
    crosses = len(settings.rates) > 1 and settings.parts & CROSSES != 0
    n_dense = np.int64(totals[N_DENSE])
    features.present[: n_dense + 1] = 0
    clear_dense(totals, derived)
    largest = (0.0, 0.0, 0.0, 0.0)
    n_promoted = np.uint64(0)
    for i in range(np.uint64(n)):
        x = features.values[i]
        base = bases[i] if is_held else find_again(i, features.hashes, bases, table, width)
        if x != x:  # missing
            features.scaled[i] = 0.0
            if base != MISSING and note_missing(i, base, half_of_examples, table, features, derived) and learning:
                derived.promoted[n_promoted] = base | ONE
                n_promoted += ONE
            continue
        if base == MISSING:
            features.scaled[i] = 1.0 if x > 0.0 else -1.0
            continue
        count = np.float64(words32[base + COUNT])
        if learning:
            words32[base + COUNT] += 1
            dirty[base // width] = 1
        place = np.int64(words32[base + DENSE] & PLACE_MASK)
        if crosses:
            largest = keep_largest(frequency_key(i, count) if count >= min_count and place == 0 else 0.0, largest)
        mean = np.float64(rows[base + MEAN])
        deviation = np.float64(rows[base + DEVIATION])
        if deviation == 0.0 and np.float32(x) == rows[base + MEAN]:  # an indicator: all its values were equal
            features.scaled[i] = 1.0 if x > 0.0 else -1.0
            if n_dense > 0 and place == 0 and settings.parts & CELLS != 0:
                note_switch(base, count, learning, table, state, derived)
            continue
        features.present[place] = 1
        if count > WARM_COUNT:  # a rare huge value must not stretch the scale
            x = bounded(x, abs(mean) + MAX_DEVIATIONS * deviation if deviation > 0.0 else MAX_MEANS * abs(mean))
        v = x
        if deviation > 0.0 and (count > half_of_examples or table.words32[base + DENSE] & SAID != 0):  # dense: centred
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
    write_frequent(largest, bases, derived.frequent)
    derived.promoted[n_promoted] = MISSING  # ends the list
    return n


@inlined
def add_left_out(n, learning, settings, table, totals, features, derived):
    """Append the dense features that an example leaves out, with the value 0; return the new number of features."""
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
            features.values[n] = 0.0
            features.scaled[n] = scaled(v, base, count, learning, rows)
            if place <= MAX_BINNED:
                derived.standardized[place] = bounded(v / deviation, MAX_STANDARDIZED)
            if learning:
                table.dirty[base // width] = 1
            n += 1
    return n
