"""The places of dense features: a feature gets one when it becomes dense; one that no longer comes gives a better one up.

The first `MAX_BINNED` places are the *binned* ones: the dense filter sees their features, and bins are derived from them. A
dense feature has *gone* when it is in fewer than `MIN_SHARE` of the examples. Every `EXAMPLES_BETWEEN` examples the binned
places of features that have gone are exchanged with the further places of features that still come; what was learned at such a
place (the sample, the filter's weight, the gains of pairs) starts anew. A derived feature keeps its row.
"""

import numpy as np

from learner.kernels.bits import MISSING, ONE
from learner.kernels.interactions import FIRST_CHOICE, OBSERVED, choose
from learner.kernels.jit import compiled, inlined, no, yes
from learner.kernels.table import COUNT, DENSE, PLACE_MASK, SAID, width_of
from learner.layout import DENSE_SLOTS, EXAMPLES, MAX_BINNED, MAX_DENSE, N_DENSE, N_SWITCHES

MIN_SHARE = 0.4  # of the examples; below the half that makes a feature dense, so that none goes to and fro
EXAMPLES_BETWEEN = 64


@inlined
def has_gone(place, width, words32, totals):
    """Tell whether the feature of a place no longer comes often enough."""
    base = np.uint64(totals[DENSE_SLOTS + place]) * width
    return np.float64(words32[base + COUNT]) < MIN_SHARE * totals[EXAMPLES]


@inlined
def put(slot, place, width, words32, totals):
    """Give the feature of a slot a place."""
    base = np.uint64(slot) * width
    totals[DENSE_SLOTS + place] = slot
    words32[base + DENSE] = (words32[base + DENSE] & ~PLACE_MASK) | np.uint32(place)


@inlined
def promote(settings, table, state, derived):
    """Give places to the features that became dense, and mark those that the example said are missing.

    The latter have an odd number in ``promoted``, the start of their row + 1. It is called after scoring, so it takes effect
    from the next example.
    """
    totals, words32, width, promoted = state.totals, table.words32, width_of(settings), derived.promoted
    is_time = np.int64(totals[EXAMPLES]) % EXAMPLES_BETWEEN == 0
    i, has_room = np.uint64(0), yes()
    while promoted[i] != MISSING:
        base = promoted[i] & ~ONE
        if promoted[i] & ONE != 0:  # an example says that it is missing
            words32[base + DENSE] |= SAID
            table.dirty[base // width] = 1
        if words32[base + DENSE] & PLACE_MASK == 0 and has_room:
            if totals[N_DENSE] < MAX_DENSE:
                totals[N_DENSE] += 1.0
                place = np.int64(totals[N_DENSE])
                put(np.float64(base // width), place, width, words32, totals)
                if place <= MAX_BINNED:
                    state.dense_filter[place, 1 + place] = 1.0
                    derived.standardized[place] = derived.ranks[place] = 0.0
            else:
                has_room = is_time and take_over(base // width, width, table, totals)
        i += ONE
    if is_time and totals[N_DENSE] > MAX_BINNED:
        exchange(width, table, state)


@compiled
def take_over(slot, width, table, totals):
    """Give a feature the last place whose feature has gone, if there is one beyond the binned ones; tell whether there is."""
    words32 = table.words32
    for place in range(MAX_DENSE, MAX_BINNED, -1):
        if has_gone(place, width, words32, totals):
            base = np.uint64(totals[DENSE_SLOTS + place]) * width
            words32[base + DENSE] &= ~PLACE_MASK
            table.dirty[base // width] = 1
            put(np.float64(slot), place, width, words32, totals)
            table.dirty[slot] = 1
            return True
    return False


@compiled
def exchange(width, table, state):
    """Exchange the binned places of features that have gone with places of features that still come, in order."""
    totals, words32, is_changed = state.totals, table.words32, no()
    n, other = np.int64(totals[N_DENSE]), MAX_BINNED + 1
    for place in range(1, MAX_BINNED + 1):
        if not has_gone(place, width, words32, totals):
            continue
        while other <= n and has_gone(other, width, words32, totals):
            other += 1
        if other > n:
            break
        slot, other_slot = totals[DENSE_SLOTS + place], totals[DENSE_SLOTS + other]
        put(other_slot, place, width, words32, totals)
        put(slot, other, width, words32, totals)
        table.dirty[np.uint64(slot)] = table.dirty[np.uint64(other_slot)] = 1
        begin(place, state)
        is_changed = yes()
    if is_changed and state.interactions[OBSERVED, 0] >= FIRST_CHOICE:
        choose(MAX_BINNED + 1, np.int64(totals[N_SWITCHES]), state.interactions)


@inlined
def begin(place, state):
    """Forget what was learned at a binned place."""
    state.samples[place - 1, :] = 0.0
    state.dense_filter[place, :] = 0.0
    state.dense_filter[:, 1 + place] = 0.0
    state.dense_filter[place, 1 + place] = 1.0
    state.interactions[place, 1:] = 0.0
    state.interactions[1:, place] = 0.0
