"""Derived features, all of value 1: bins of numbers, cells of two numbers, pairs of frequent features.

Piecewise constant functions of the numbers, in bins between quantiles of their first values ("x in [a, b)"); of pairs of the
first numbers, in cells ("x in [a, b) and y in [c, d)"); and pairs of the most frequent other features ("a and b").
"""

import numpy as np

from learner.kernels.bits import MISSING, NOTHING, ONE, blend
from learner.kernels.jit import compiled, inlined
from learner.kernels.table import COUNT, find_again, hash_at, look_up, width_of
from learner.layout import (
    BINS,
    CELLS,
    CROSSES,
    DENSE_SLOTS,
    MAX_BINNED,
    MAX_CELLS,
    N_BINS,
    N_CELL_BINS,
    N_CROSSED,
    N_DENSE,
    N_SAMPLES,
)

# A sample of a number's values: how many there are, how many bounds of its bins differ, then the values, sorted at the end.
N_TAKEN, N_DIFFERENT, FIRST = 0, 1, 2
IN_CELL = np.uint64(64)  # is added to a bin that is one of a cell's, whose bins are others than those of a number alone
BYTE = np.uint64(8)


@inlined
def bin_of(x, sample, n_bins):
    """Return the bin of a value, from 1: how many of the bounds, quantiles of the sample, are not above it, and 1."""
    place = 1
    for j in range(1, n_bins):
        if x >= sample[FIRST + j * N_SAMPLES // n_bins]:
            place += 1
        else:
            break
    return np.uint64(place)


@compiled
def take_sample(x, sample):
    """Take a value into a sample; sort it and count the bounds that differ when it is complete."""
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
    """Add a derived feature of two parents, by their slots; return how many there are then."""
    derived.hashes[n] = h
    derived.parents[0, n], derived.parents[1, n], derived.parents[2, n] = first, second, bins
    return n + ONE


@inlined
def add_of_numbers(learning, settings, table, state, derived):
    """Add the bins of the first dense features, and the cells of pairs of them; return how many there are."""
    totals, samples = state.totals, state.samples
    width = width_of(settings)
    n = np.uint64(0)
    for dense in range(1, min(np.int64(totals[N_DENSE]), MAX_BINNED) + 1):
        sample = samples[dense - 1]
        x = np.float32(derived.numbers[dense])
        if sample[N_TAKEN] < N_SAMPLES:
            if learning:
                take_sample(x, sample)
            continue
        slot = np.uint64(totals[DENSE_SLOTS + dense])
        h = hash_at(table, slot * width)
        if settings.parts & BINS and sample[N_DIFFERENT] > 1.0:
            place = bin_of(x, sample, N_BINS)
            n = add(n, blend(h, place), slot, slot, place, derived)
        if settings.parts & CELLS and dense <= MAX_CELLS and sample[N_DIFFERENT] > 0.0:
            place = bin_of(x, sample, N_CELL_BINS)
            h = blend(h, place + IN_CELL)
            for other in range(1, dense):
                sample2 = samples[other - 1]
                if sample2[N_TAKEN] == N_SAMPLES and sample2[N_DIFFERENT] > 0.0:
                    slot2 = np.uint64(totals[DENSE_SLOTS + other])
                    place2 = bin_of(np.float32(derived.numbers[other]), sample2, N_CELL_BINS)
                    h2 = blend(hash_at(table, slot2 * width), place2 + IN_CELL)
                    n = add(n, blend(h, h2), slot, slot2, place | place2 << BYTE, derived)
    return n


@inlined
def add_crosses(n, settings, table, derived):
    """Add the pairs of the most frequent features; return how many there are then."""
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
def derive(learning, settings, table, state, derived):
    """Make the derived features of an example; return how many. Their rows, where they have any, are in ``bases``."""
    width = width_of(settings)
    n = add_of_numbers(learning, settings, table, state, derived)
    if settings.parts & CROSSES:
        n = add_crosses(n, settings, table, derived)
    look_up(n, derived.hashes, derived.bases, table, width)
    for i in range(n):
        base = find_again(i, derived.hashes, derived.bases, table, width)
        if learning and base != MISSING:
            table.words32[base + COUNT] += 1
            table.dirty[base // width] = 1
    return n
