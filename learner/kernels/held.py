"""Held examples: when outcomes come late, an example waits in one of two small pools, and is learned in random order.

A request is answered without its neighbours' outcomes. So the experts' scores are mixed by how well they predict an example
when its neighbours' outcomes are not learned yet, and the experts learn the examples in another order than that of the stream:
otherwise runs, alternations and other patterns of the outcomes would be learned in place of the features.

- Three in four examples wait in the *short* pool, until some 170 others have come on average. They grade the mixer by the
  scores that they had on arrival.
- The others wait in the *long* pool, until `LONG_SHARE` times `MAX_LONG` others have come on average. They grade the mixer by
  their scores when they are learned, as examples from another part of the stream: an expert that follows a long run of equal
  outcomes, or a sorted stream, fails on them.

Which example leaves a pool is drawn by a hash of the model's seed and the number of examples so far, so that a replay is exact
(Lin, 1992, "Self-improving reactive agents based on reinforcement learning, planning and teaching", for learning from a
shuffled memory of examples; Vitter, 1985, "Random sampling with a reservoir", for the long pool).
"""

import numpy as np

from learner.kernels.bits import NOTHING, spread
from learner.kernels.jit import compiled, inlined
from learner.layout import (
    CONSTANT_HASH,
    EXAMPLES,
    HELD_SHARE,
    LATE,
    LONG_SHARE,
    MAX_HELD_FEATURES,
    MAX_LONG,
    MAX_SHORT,
)

__all__ = ["FIRST_LONG", "N_SIZES", "N_SLOTS", "arrive", "choose_pool", "holds", "is_short", "lacks_room", "leave"]

# sizes: the numbers of examples in the pools, of all their features; the row of `hashes` in use, and the end of its features
N_SHORT, N_LONG, N_FEATURES, SIDE, END = range(5)
N_SIZES = 5
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
def lacks_room(n, held):
    """Tell whether there is too little room for n features: the held ones would be moved together too often."""
    return 2 * held.sizes[N_FEATURES] + n > held.hashes.shape[1]


@compiled
def move_together(held):
    """Move the features of the held examples together, into the other row."""
    sizes, starts = held.sizes, held.starts
    side, other, end = sizes[SIDE], 1 - sizes[SIDE], np.int64(0)
    for k in range(sizes[N_SHORT] + sizes[N_LONG]):
        slot = k if k < sizes[N_SHORT] else FIRST_LONG + k - sizes[N_SHORT]
        start, n = starts[slot], held.lengths[slot]
        for i in range(n):
            held.hashes[other, end + i] = held.hashes[side, start + i]
            held.values[other, end + i] = held.values[side, start + i]
        starts[slot] = end
        end += n
    sizes[SIDE], sizes[END] = other, end


@inlined
def arrive(n, hashes, values, keys, totals, held):
    """Hold an example with n features; return its slot. There is room for it, see `lacks_room`."""
    sizes = held.sizes
    if sizes[END] + n > held.hashes.shape[1]:
        move_together(held)
    is_long = draw(keys, totals, held) % np.uint64(LONG_SHARE) == NOTHING
    slot = FIRST_LONG + sizes[N_LONG] if is_long else sizes[N_SHORT]
    side, start = sizes[SIDE], sizes[END]
    held.starts[slot], held.lengths[slot] = start, n
    for i in range(n):
        held.hashes[side, start + i] = hashes[i]
        held.values[side, start + i] = values[i]
    sizes[N_LONG if is_long else N_SHORT] += 1
    sizes[N_FEATURES] += n
    sizes[END] += n
    return slot


@inlined
def exchange(i, j, held):
    """Exchange two slots of one pool."""
    starts, lengths, numbers, inputs = held.starts, held.lengths, held.numbers, held.inputs
    starts[i], starts[j] = starts[j], starts[i]
    lengths[i], lengths[j] = lengths[j], lengths[i]
    for k in range(numbers.shape[1]):
        numbers[i, k], numbers[j, k] = numbers[j, k], numbers[i, k]
    if is_short(i):
        for c in range(inputs.shape[1]):
            for k in range(inputs.shape[2]):
                inputs[i, c, k], inputs[j, c, k] = inputs[j, c, k], inputs[i, c, k]


@inlined
def leave(pool, hashes, values, keys, totals, held):
    """Take a random example out of a pool; return its slot, which stays as it is until the next example arrives, and n.

    Its features' hashes and values are copied to the arrays given.
    """
    sizes = held.sizes
    first, count = (0, N_SHORT) if pool == SHORT else (FIRST_LONG, N_LONG)
    chosen = first + np.int64(draw(keys, totals, held) % np.uint64(sizes[count]))
    sizes[count] -= 1
    slot = first + sizes[count]
    exchange(chosen, slot, held)
    start, n, side = held.starts[slot], held.lengths[slot], sizes[SIDE]
    sizes[N_FEATURES] -= n
    for i in range(n):
        hashes[i] = held.hashes[side, start + i]
        values[i] = held.values[side, start + i]
    return slot, n
