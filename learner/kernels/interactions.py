"""Which pairs of numbers interact: cells and products are derived of the pairs that gain most by them.

The gain of a pair is the sum over examples of the error of the filter over the numbers times a function of each of the two
numbers. The filter is linear in the numbers, so a gain is far from 0 only if the pair interacts. (Testing the residuals of an
additive model for each pair's interaction is that of Lou, Caruana, Gehrke and Hooker, 2013, "Accurate intelligible models with
pairwise interactions"; here with two fixed functions, in one pass.) Where outcomes come in runs, errors have one sign for a
long time; a product, which has one weight, would follow these runs, so its gain is of the error less the recent mean error.
A *switch* is a frequent feature with only one value; it is paired with numbers, whose slopes may depend on it.

The gains lie in the state's array ``interactions``. Its rows and columns are places from 1; those of switches, which have no
columns, come after those of all numbers. (i, j) with i > j has the gain of a product, (j, i) that of cells. Column 0 has the
sum of squared errors, the number of errors, and the recent mean error; from `FIRST_SWITCH` the switches' shares of the
examples. Row 0 has, from column 1, the codes of the chosen pairs: first those of products, then those of cells, each by
descending gain.
"""

import math

import numpy as np

from learner.kernels.jit import compiled, inlined
from learner.layout import MAX_BINNED, N_DENSE, N_PAIRS, N_SWITCHES

FIRST_CHOICE = 128.0  # examples until pairs are chosen for the first time; again at 256, 512 and so on
SQUARES, OBSERVED, MEAN_ERROR = range(3)  # rows of column 0
RECENT = 0.02  # the share of the newest error in the recent mean
PRODUCTS, IN_CELLS = range(2)  # kinds of pairs
# The least gain of a chosen pair, by kind, over the root of the sum of squared errors: about 1 and 2 without interaction
MIN_GAINS = 6.0, 8.0
NO_RANK = 0.5 * (math.sqrt(5.0) - 1.0)  # where `curved` is 0
FIRST_SWITCH = MAX_BINNED + 1
MAX_DEVIATIONS = 3.0  # standardised numbers are clipped to this in gains and products


@inlined
def clipped(z):
    """Return a standardised number, clipped."""
    return min(max(z, -MAX_DEVIATIONS), MAX_DEVIATIONS)


@inlined
def curved(r):
    """Return a function of a standardised rank that neither rises nor falls alone: an interaction of any form shows in it."""
    return r + r * r - 1.0


@inlined
def observe(error, totals, derived, interactions):
    """Add an example to the gains of each pair, given the error of the filter over the numbers; choose pairs, if it is time.

    For products, the error is multiplied by both standardised numbers; for cells by a curve of the ranks of both.
    """
    n, n_switches = min(np.int64(totals[N_DENSE]), MAX_BINNED) + 1, np.int64(totals[N_SWITCHES])
    standardized, ranks = derived.standardized, derived.ranks
    centred = error - interactions[MEAN_ERROR, 0]
    interactions[SQUARES, 0] += error * error
    interactions[OBSERVED, 0] += 1.0
    interactions[MEAN_ERROR, 0] += RECENT * centred
    for i in range(2, n):
        straight, bent = centred * clipped(standardized[i]), error * curved(ranks[i])
        for j in range(1, i):
            interactions[i, j] += straight * clipped(standardized[j])
            interactions[j, i] += bent * curved(ranks[j])
    for i in range(FIRST_SWITCH, FIRST_SWITCH + n_switches):
        straight = centred * standardized_switch(derived.numbers[i] > 0.0, i, interactions)
        for j in range(1, n):
            interactions[i, j] += straight * clipped(standardized[j])
    t = interactions[OBSERVED, 0]
    if t >= FIRST_CHOICE and np.int64(t) & (np.int64(t) - 1) == 0:
        choose(n, n_switches, interactions)


@inlined
def standardized_switch(is_on, i, interactions):
    """Return whether a switch is on, standardised by its share of the examples so far; count the example in its share."""
    share = interactions[i, 0]
    deviation = math.sqrt(share * (1.0 - share))
    value = 1.0 if is_on else 0.0
    interactions[i, 0] += (value - share) / interactions[OBSERVED, 0]
    return clipped((value - share) / deviation) if deviation > 0.0 else 0.0


@inlined
def places_of(code, interactions):
    """Return the two places in a pair's code."""
    return np.int64(code) // len(interactions), np.int64(code) % len(interactions)


@inlined
def pair_at(k, kind, interactions):
    """Return the places of the k-th chosen pair of a kind, a switch or the later one first; (0, 0) if there are fewer."""
    return places_of(interactions[0, 1 + kind * N_PAIRS + k], interactions)


@compiled
def choose(n, n_switches, interactions):
    """Write the pairs with the largest gains: first those of products, then those of cells."""
    chosen = interactions[0, 1 : 1 + 2 * N_PAIRS]
    chosen[:] = 0.0
    for i in range(2, n):
        for j in range(1, i):
            keep_best(i, j, PRODUCTS, interactions, chosen[:N_PAIRS])
            keep_best(i, j, IN_CELLS, interactions, chosen[N_PAIRS:])
    for i in range(FIRST_SWITCH, FIRST_SWITCH + n_switches):
        for j in range(1, n):
            keep_best(i, j, PRODUCTS, interactions, chosen[:N_PAIRS])


@inlined
def keep_best(i, j, kind, interactions, chosen):
    """Insert a pair among those with the largest gains of a kind, if it is one."""
    gain, at = gain_of(i, j, kind, interactions), len(chosen)
    if gain < MIN_GAINS[kind] * math.sqrt(interactions[SQUARES, 0]):
        return
    while at > 0 and (
        chosen[at - 1] == 0.0 or gain_of(*places_of(chosen[at - 1], interactions), kind, interactions) < gain
    ):
        at -= 1
    if at < len(chosen):
        for k in range(len(chosen) - 1, at, -1):
            chosen[k] = chosen[k - 1]
        chosen[at] = i * len(interactions) + j


@inlined
def gain_of(i, j, kind, interactions):
    """Return the size of a pair's gain."""
    return abs(interactions[i, j] if kind == PRODUCTS else interactions[j, i])
