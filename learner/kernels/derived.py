"""Derived features: bins of numbers, cells and products of two numbers, pairs of frequent features, pairs of the two kinds.

All have the value 1, but products.

- bins of a dense number, between quantiles of its first values ("x in [a, b)");
- cells of two numbers that interact ("x in [a, b) and y in [c, d)"), see `learner.kernels.interactions`;
- products of two numbers that interact, standardised, or of a number and a switch ("x times y");
- pairs of the example's most frequent other features ("a and b");
- for targets that are numbers, pairs of a bin of one of the very first dense numbers and a frequent feature ("x in [a, b) and
  c"): factors that multiply, such as a price by weight and by quality, become sums.
"""

import math

import numpy as np

from learner.kernels.bits import MISSING, NOTHING, ONE, blend
from learner.kernels.interactions import IN_CELLS, NO_RANK, PRODUCTS, clipped, pair_at
from learner.kernels.jit import compiled, inlined
from learner.kernels.places import has_gone
from learner.kernels.table import COUNT, find_again, hash_at, look_up, width_of
from learner.layout import (
    BINS,
    CELLS,
    CROSSES,
    DENSE_SLOTS,
    MAX_BINNED,
    MIXED,
    N_BINS,
    N_CELL_BINS,
    N_CROSSED,
    N_DENSE,
    N_MIXED,
    N_PAIRS,
    N_SAMPLES,
    PRODUCT,
)

# The layout of a sample of a number's values: how many there are, how many bounds of bins differ, then the sorted values.
N_TAKEN, N_DIFFERENT, FIRST = 0, 1, 2
PRODUCT_SCALE, SWITCHED_SCALE = 4.0, 2.0  # products are divided by this, and clipped to [-1, 1]
RANK_DEVIATION = math.sqrt((N_BINS * N_BINS - 1.0) / 12.0)  # of equally likely bins
IN_CELL = np.uint64(64)  # added to a bin's number within a cell: cells have other bins than single numbers
BYTE = np.uint64(8)


@inlined
def bin_of(x, sample, n_bins):
    """Return the number of a value's bin: 1 plus the number of bounds (quantiles of the sample) that are not above it."""
    bin_number = 1
    for j in range(1, n_bins):
        if x >= sample[FIRST + j * N_SAMPLES // n_bins]:
            bin_number += 1
        else:
            break
    return np.uint64(bin_number)


@compiled
def take_sample(x, sample):
    """Insert a value into a sorted sample; when the sample is complete, count the bounds that differ."""
    at = FIRST + np.int64(sample[N_TAKEN])
    x = np.float32(x)
    while at > FIRST and sample[at - 1] > x:
        sample[at] = sample[at - 1]
        at -= 1
    sample[at] = x
    sample[N_TAKEN] += 1.0
    if sample[N_TAKEN] == N_SAMPLES:
        bound = sample[FIRST]
        for j in range(1, N_BINS):
            if sample[FIRST + j * N_SAMPLES // N_BINS] > bound:
                bound = sample[FIRST + j * N_SAMPLES // N_BINS]
                sample[N_DIFFERENT] += 1.0


@inlined
def add(n, h, first, second, bins, derived):
    """Append a derived feature, given its parents' slots and bins; return the new number of derived features."""
    derived.hashes[n] = h
    derived.values[n] = 1.0
    derived.parents[0, n], derived.parents[1, n], derived.parents[2, n] = first, second, bins
    return n + ONE


@inlined
def add_bins(learning, settings, table, state, derived):
    """Append the bins of the first dense features, and write their ranks; return the number of derived features.

    The rank is the standardised place of the value among the first values, or the standardised value if few of these differ.
    A feature that is missing, or dense no more, has the rank of no interaction.
    """
    totals, samples = state.totals, state.samples
    width = width_of(settings)
    n = np.uint64(0)
    for dense in range(1, min(np.int64(totals[N_DENSE]), MAX_BINNED) + 1):
        sample = samples[dense - 1]
        x = np.float32(derived.numbers[dense])
        z = derived.standardized[dense]
        derived.ranks[dense] = clipped(z) if z != 0.0 else NO_RANK
        if x != x:
            continue  # missing
        if sample[N_TAKEN] < N_SAMPLES:
            if learning:
                take_sample(x, sample)
        elif settings.parts & BINS and sample[N_DIFFERENT] > 1.0:
            slot = np.uint64(totals[DENSE_SLOTS + dense])
            bin_number = bin_of(x, sample, N_BINS)
            n = add(n, blend(hash_at(table, slot * width), bin_number), slot, slot, bin_number, derived)
            if z != 0.0 and sample[N_DIFFERENT] >= 0.5 * N_BINS:
                derived.ranks[dense] = (np.float64(bin_number) - 0.5 * (N_BINS + 1)) / RANK_DEVIATION
    return n


@inlined
def add_cells(n, settings, table, state, derived):
    """Append the cells of the pairs that were chosen for them; return the new number of derived features."""
    totals, samples = state.totals, state.samples
    width = width_of(settings)
    for k in range(N_PAIRS):
        i, j = pair_at(k, IN_CELLS, state.interactions)
        if i == 0:
            break
        first, second = samples[i - 1], samples[j - 1]
        if min(first[N_TAKEN], second[N_TAKEN]) == N_SAMPLES and min(first[N_DIFFERENT], second[N_DIFFERENT]) > 0.0:
            if derived.numbers[i] != derived.numbers[i] or derived.numbers[j] != derived.numbers[j]:
                continue  # missing
            slot, other_slot = np.uint64(totals[DENSE_SLOTS + i]), np.uint64(totals[DENSE_SLOTS + j])
            bin_number = bin_of(np.float32(derived.numbers[i]), first, N_CELL_BINS)
            other_bin = bin_of(np.float32(derived.numbers[j]), second, N_CELL_BINS)
            h = blend(hash_at(table, slot * width), bin_number + IN_CELL)
            other_h = blend(hash_at(table, other_slot * width), other_bin + IN_CELL)
            n = add(n, blend(h, other_h), slot, other_slot, bin_number | other_bin << BYTE, derived)
    return n


@inlined
def add_products(n, settings, table, state, derived):
    """Append the products of the pairs that were chosen for them; return the new number of derived features."""
    totals, numbers, standardized = state.totals, derived.numbers, derived.standardized
    width = width_of(settings)
    for k in range(N_PAIRS):
        i, j = pair_at(k, PRODUCTS, state.interactions)
        if i == 0:
            break
        if i > MAX_BINNED and numbers[i] == 0.0:
            continue  # the switch is off
        slot, other_slot = np.uint64(totals[DENSE_SLOTS + min(i, MAX_BINNED)]), np.uint64(totals[DENSE_SLOTS + j])
        product = clipped(standardized[j])
        if i > MAX_BINNED:
            slot = np.uint64(numbers[i] - 1.0) // width
        else:
            product *= clipped(standardized[i])
        h = blend(blend(hash_at(table, slot * width), IN_CELL), blend(hash_at(table, other_slot * width), IN_CELL))
        n = add(n, h, slot, other_slot, np.uint64(PRODUCT), derived)
        derived.values[n - ONE] = min(max(product / (SWITCHED_SCALE if i > MAX_BINNED else PRODUCT_SCALE), -1.0), 1.0)
    return n


@inlined
def add_crosses(n, settings, table, derived):
    """Append the pairs of the most frequent features; return the new number of derived features."""
    width = width_of(settings)
    for i in range(np.uint64(N_CROSSED)):
        if derived.frequent[i] == MISSING:
            break
        for j in range(i):
            first = min(derived.frequent[i], derived.frequent[j])
            second = max(derived.frequent[i], derived.frequent[j])
            h = blend(hash_at(table, first), hash_at(table, second))
            n = add(n, h, first // width, second // width, NOTHING, derived)
    return n


@inlined
def add_mixed(n, settings, table, state, derived):
    """Append the pairs of a bin and a frequent feature; return the new number of derived features."""
    width = width_of(settings)
    n_mixed = 0
    for dense in range(1, min(np.int64(state.totals[N_DENSE]), MAX_BINNED) + 1):
        if n_mixed == N_MIXED:
            break
        if has_gone(dense, width, table.words32, state.totals):
            continue
        n_mixed += 1
        sample, x = state.samples[dense - 1], np.float32(derived.numbers[dense])
        if x != x or sample[N_TAKEN] < N_SAMPLES or sample[N_DIFFERENT] == 0.0:
            continue
        slot = np.uint64(state.totals[DENSE_SLOTS + dense])
        bin_number = bin_of(x, sample, N_CELL_BINS)
        h = blend(hash_at(table, slot * width), bin_number + IN_CELL)
        for i in range(np.uint64(N_CROSSED)):
            if derived.frequent[i] == MISSING:
                break
            frequent = derived.frequent[i]
            n = add(n, blend(h, hash_at(table, frequent)), slot, frequent // width, bin_number, derived)
    return n


@inlined
def derive(learning, settings, table, state, derived):
    """Derive an example's features; return their number. ``bases`` then holds the starts of their rows, or MISSING."""
    width = width_of(settings)
    n = add_bins(learning, settings, table, state, derived)
    if settings.parts & CELLS:
        n = add_cells(n, settings, table, state, derived)
        n = add_products(n, settings, table, state, derived)
    if settings.parts & CROSSES:
        n = add_crosses(n, settings, table, derived)
    if settings.parts & MIXED:
        n = add_mixed(n, settings, table, state, derived)
    look_up(n, derived.hashes, derived.bases, table, width)
    for i in range(n):
        base = find_again(i, derived.hashes, derived.bases, table, width)
        if learning and base != MISSING:
            table.words32[base + COUNT] += 1
            table.dirty[base // width] = 1
    return n
