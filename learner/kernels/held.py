"""Held examples: when outcomes come late, an example waits in one of two small pools, and is learned in random order.

A request is answered without its neighbours' outcomes. So the experts' scores are mixed by how well they predict an example
when its neighbours' outcomes are not learned yet, and the experts learn the examples in another order than that of the stream:
otherwise runs, alternations and other patterns of the outcomes would be learned in place of the features.

- Three in four examples wait in the *short* pool, until some 170 others have come on average. They grade the mixer by the
  scores that they had on arrival.
- The others wait in the *long* pool, until `LONG_SHARE` times `MAX_LONG` others have come on average. They grade the mixer by
  their scores when they are learned, as examples from another part of the stream: an expert that follows a long run of equal
  outcomes, or a sorted stream, fails on them.

An example is found and scaled once: its rows are held, and its scaled values and derived features. In a model's beginnings, and
where it knows numbers, scales and derived features change while examples wait; then only the rows are held, with the values.

Which example leaves a pool is drawn by a hash of the model's seed and the number of examples so far, so that a replay is exact
(Lin, 1992, "Self-improving reactive agents based on reinforcement learning, planning and teaching", for learning from a
shuffled memory of examples; Vitter, 1985, "Random sampling with a reservoir", for the long pool).
"""

import numpy as np

from learner.kernels.bits import NOTHING, ONE, prefetch, spread
from learner.kernels.jit import compiled, inlined
from learner.kernels.table import width_of
from learner.layout import (
    CONSTANT_HASH,
    EXAMPLES,
    HELD_SHARE,
    LATE,
    LONG_SHARE,
    MAX_HELD_FEATURES,
    MAX_LONG,
    MAX_SHORT,
    N_DENSE,
    SETTLED,
)

__all__ = [
    "FIRST_LONG", "N_SIZES", "N_SLOTS", "N_SPANS", "arrive", "choose_pool", "hold_features", "hold_hashes", "hold_unscaled",
    "holds", "is_settled", "is_short", "lacks_room", "leave", "recall", "recall_hashes",
]  # fmt: skip

# sizes: the numbers of examples in the pools, of all their features; the row of `features` in use, and the end of its features
N_SHORT, N_LONG, N_FEATURES, SIDE, END = range(5)
N_SIZES = 5
# spans, by slot: where an example's features start, for how many there is room, how many there are, and how many of these, the
# last ones, are derived; or UNSCALED
START, ROOM, N, N_DERIVED = range(4)
N_SPANS, UNSCALED = 4, np.int64(-1)
# slots: each pool has one for an example that has just arrived, or is about to leave
FIRST_LONG = MAX_SHORT + 1
N_SLOTS = FIRST_LONG + MAX_LONG + 1
NONE, SHORT, LONG = range(3)  # pools


@inlined
def holds(settings):
    """Tell whether examples are held before they are learned."""
    return settings.parts & LATE != 0


@inlined
def is_short(slot):
    """Tell whether a slot is one of the short pool."""
    return slot < FIRST_LONG


@inlined
def choose_pool(holds_back, totals, held):
    """Return the pool of which an example should be learned now, or NONE; unless `holds_back`, one that isn't empty."""
    sizes = held.sizes
    most = np.int64(totals[EXAMPLES]) // HELD_SHARE if holds_back else 0
    if sizes[N_SHORT] > min(most, MAX_SHORT):
        return SHORT
    if sizes[N_LONG] > min(most, MAX_LONG):
        return LONG
    if sizes[N_FEATURES] > MAX_HELD_FEATURES:
        return SHORT if sizes[N_SHORT] >= sizes[N_LONG] else LONG
    return NONE


@inlined
def draw(keys, totals, held):
    """Return a number that depends on the seed and on how many examples have arrived and are held: never twice the same."""
    n_held = np.uint64(held.sizes[N_SHORT] + held.sizes[N_LONG])
    return spread(spread(keys[CONSTANT_HASH] + np.uint64(totals[EXAMPLES])) + n_held)


@inlined
def arrive(keys, totals, held):
    """Put the example at hand into a pool; return its slot, which has no features yet: see `room_of`."""
    sizes = held.sizes
    is_long = draw(keys, totals, held) % np.uint64(LONG_SHARE) == NOTHING
    slot = held.slots[FIRST_LONG + sizes[N_LONG] if is_long else sizes[N_SHORT]]
    sizes[N_LONG if is_long else N_SHORT] += 1
    return slot


@inlined
def leave(pool, keys, totals, held):
    """Take a random example out of a pool; return its slot, which stays as it is until the next example arrives."""
    sizes, slots = held.sizes, held.slots
    first, count = (0, N_SHORT) if pool == SHORT else (FIRST_LONG, N_LONG)
    chosen = first + np.int64(draw(keys, totals, held) % np.uint64(sizes[count]))
    sizes[count] -= 1
    last = first + sizes[count]
    slots[chosen], slots[last] = slots[last], slots[chosen]
    slot = slots[last]
    sizes[N_FEATURES] -= held.spans[slot, N]
    return slot


@inlined
def lacks_room(n, held):
    """Tell whether there is too little room for n features: the held ones would be moved together too often."""
    return 2 * held.sizes[N_FEATURES] + n > held.features.shape[1]


@inlined
def room_of(slot, n, n_derived, held):
    """Return where to write the features of an example that has just arrived, n of them; see `lacks_room`.

    An example mostly takes the place of the one that was in its slot before.
    """
    sizes, spans = held.sizes, held.spans
    spans[slot, N], spans[slot, N_DERIVED] = 0, n_derived
    if n > spans[slot, ROOM]:
        if sizes[END] + n > held.features.shape[1]:
            move_together(held)
        spans[slot, START], spans[slot, ROOM] = sizes[END], n
        sizes[END] += n
    spans[slot, N] = n
    sizes[N_FEATURES] += n
    return spans[slot, START]


@compiled
def move_together(held):
    """Move the features of the held examples together, into the other row."""
    sizes, spans = held.sizes, held.spans
    side, other, end = sizes[SIDE], 1 - sizes[SIDE], np.int64(0)
    spans[:, ROOM] = 0
    for k in range(sizes[N_SHORT] + sizes[N_LONG]):
        slot = held.slots[k if k < sizes[N_SHORT] else FIRST_LONG + k - sizes[N_SHORT]]
        start, n = spans[slot, START], spans[slot, N]
        for i in range(n):
            held.features[other, end + i] = held.features[side, start + i]
            held.values[other, end + i] = held.values[side, start + i]
        spans[slot, START], spans[slot, ROOM] = end, n
        end += n
    sizes[SIDE], sizes[END] = other, end


# ---- held by rows: a learner that has a row for each feature ---------------------------------------------------------------
@inlined
def is_settled(totals):
    """Tell whether an example's scaled values and derived features hardly change while it waits: the model knows no numbers."""
    return totals[N_DENSE] == 0.0 and totals[EXAMPLES] >= SETTLED


@inlined
def hold_features(slot, n, n_derived, learner, work):
    """Hold the rows and scaled values of an example that has just arrived, all of which have rows."""
    held, width, n = learner.state.held, width_of(learner.settings), np.uint64(n)
    start = np.uint64(room_of(slot, np.int64(n + n_derived), np.int64(n_derived), held))
    rows, values = held.features[held.sizes[SIDE]], held.values[held.sizes[SIDE]]
    for i in range(n):
        rows[start + i], values[start + i] = work.features.bases[i] // width, work.features.scaled[i]
    start += n
    for i in range(n_derived):
        rows[start + i], values[start + i] = work.derived.bases[i] // width, work.derived.values[i]


@inlined
def hold_unscaled(slot, n, learner, work):
    """Hold the rows and values of an example that has just arrived; they are scaled when it is learned.

    The dense features that it left out, which come last, with the value 0, are not its own: they are added again then.
    """
    held, width, n = learner.state.held, width_of(learner.settings), np.uint64(n)
    while n > NOTHING and work.features.values[n - ONE] == 0.0:
        n -= ONE
    start = np.uint64(room_of(slot, np.int64(n), UNSCALED, held))
    rows, values = held.features[held.sizes[SIDE]], held.values[held.sizes[SIDE]]
    for i in range(n):
        rows[start + i], values[start + i] = work.features.bases[i] // width, work.features.values[i]


@inlined
def recall(slot, learner, work):
    """Take a held example's features back into the work arrays, and mark their rows as changed.

    Returns (features without the constant, derived features, whether the values are scaled). Values that aren't are in
    ``values``, without derived features.
    """
    held, table, width = learner.state.held, learner.table, width_of(learner.settings)
    is_scaled = held.spans[slot, N_DERIVED] != UNSCALED
    start, n_derived = np.uint64(held.spans[slot, START]), np.uint64(max(held.spans[slot, N_DERIVED], 0))
    n = np.uint64(held.spans[slot, N]) - n_derived
    rows, values = held.features[held.sizes[SIDE]], held.values[held.sizes[SIDE]]
    for i in range(n):
        work.features.bases[i], work.features.values[i] = changed(rows[start + i], table, width), values[start + i]
        work.features.scaled[i] = work.features.values[i]
    start += n
    for i in range(n_derived):
        work.derived.bases[i], work.derived.values[i] = changed(rows[start + i], table, width), values[start + i]
    return np.int64(n), n_derived, is_scaled


@inlined
def changed(row, table, width):
    """Mark a row as changed, and prefetch it; return its start."""
    base = np.uint64(row) * width
    prefetch(table.rows, base)
    table.dirty[np.uint64(row)] = 1
    return base


# ---- held by hashes: many classes, each with rows of its own ---------------------------------------------------------------
@inlined
def hold_hashes(slot, n, hashes, values, held):
    """Hold the hashes and values of an example that has just arrived."""
    start, side = room_of(slot, n, UNSCALED, held), held.sizes[SIDE]
    for i in range(n):
        held.features[side, start + i], held.values[side, start + i] = hashes[i], values[i]


@inlined
def recall_hashes(slot, hashes, values, held):
    """Take a held example's hashes and values back; return their number."""
    start, n, side = held.spans[slot, START], held.spans[slot, N], held.sizes[SIDE]
    for i in range(n):
        hashes[i], values[i] = held.features[side, start + i], held.values[side, start + i]
    return n
