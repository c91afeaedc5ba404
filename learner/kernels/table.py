"""The hash table from names to rows: looking up, and giving new features their rows."""

import numpy as np

from learner.kernels.bits import HALF, MISSING, NOTHING, ONE, prefetch
from learner.kernels.hashing import write_digits
from learner.kernels.jit import compiled, inlined
from learner.layout import COUNT as COUNT_WORD
from learner.layout import DENSE as DENSE_WORD
from learner.layout import DERIVED as DERIVED_BIT
from learner.layout import DEVIATION as DEVIATION_WORD
from learner.layout import HASH as HASH_WORD
from learner.layout import LINE
from learner.layout import MEAN as MEAN_WORD
from learner.layout import NAME as NAME_WORD
from learner.layout import PLACE_MASK as PLACE_BITS
from learner.layout import SCALE as SCALE_WORD

MASK32 = np.uint64(0xFFFFFFFF)
SCALE, COUNT, MEAN, DEVIATION, HASH, NAME, DENSE = (
    np.uint64(word) for word in (SCALE_WORD, COUNT_WORD, MEAN_WORD, DEVIATION_WORD, HASH_WORD, NAME_WORD, DENSE_WORD)
)
DERIVED, PLACE_MASK = np.uint32(DERIVED_BIT), np.uint32(PLACE_BITS)


@inlined
def width_of(settings):
    """Return the float32s in a row: a constant once compiled."""
    return np.uint64(LINE * len(settings.lines))


@inlined
def hash_at(table, base):
    """Return the hash of the name whose row starts there."""
    return table.words64[(base >> ONE) + HASH]


@inlined
def find(table, h, width):
    """Return where the row of the name with this hash starts in ``rows``, or MISSING."""
    mask = np.uint64(len(table.buckets) - 1)
    i = h & mask
    tag = h >> HALF
    while True:
        entry = table.buckets[i]
        if entry == NOTHING:
            return MISSING
        if entry >> HALF == tag:
            base = ((entry & MASK32) - ONE) * width
            if hash_at(table, base) == h:
                return base
        i = (i + ONE) & mask


@inlined
def look_up(n, hashes, bases, table, width):
    """Write where the rows of ``hashes[:n]`` probably start, or MISSING, into ``bases``; `find_again` makes sure of one.

    One loop with little in it, so that many cache misses are under way at once; the rows are fetched ahead, too.
    """
    mask = np.uint64(len(table.buckets) - 1)
    for j in range(n):
        h = hashes[j]
        tag = h >> HALF
        i = h & mask
        entry = table.buckets[i]
        while entry != NOTHING and entry >> HALF != tag:
            i = (i + ONE) & mask
            entry = table.buckets[i]
        if entry == NOTHING:
            bases[j] = MISSING
        else:
            base = ((entry & MASK32) - ONE) * width
            prefetch(table.rows, base)
            bases[j] = base


@inlined
def find_again(j, hashes, bases, table, width):
    """Return where the row of ``hashes[j]`` starts, or MISSING, which `look_up` may have taken for that of another name."""
    base = bases[j]
    if base != MISSING and hash_at(table, base) != hashes[j]:  # the other name has the same tag
        base = find(table, hashes[j], width)
        bases[j] = base
    return base


@compiled
def enter(buckets, h, slot):
    """Put a slot into the hash table under a hash that is not there yet."""
    mask = np.uint64(len(buckets) - 1)
    i = h & mask
    while buckets[i] != NOTHING:
        i = (i + ONE) & mask
    buckets[i] = (h >> HALF) << HALF | (slot + ONE)


@compiled
def rebuild(buckets, words64, n_rows, width):
    """Fill an empty hash table with the first rows."""
    half = np.uint64(width) >> ONE
    for slot in range(np.uint64(n_rows)):
        enter(buckets, words64[slot * half + HASH], slot)


@inlined
def new_row(h, table, width):
    """Return where a new row starts, entered under a hash; its header has nothing but that yet."""
    slot = np.uint64(table.sizes[0])
    table.sizes[0] += 1
    base = slot * width
    table.words64[(base >> ONE) + HASH] = h
    table.words32[base + COUNT] = 1
    enter(table.buckets, h, slot)
    table.dirty[slot] = 1
    return base


@compiled
def insert(buffer, i, features, table, width):
    """Give the i-th feature of an example its row and its name; the caller has made room. Return where the row starts."""
    base = new_row(features.hashes[i], table, width)
    x, start, length = features.values[i], features.starts[i], features.lengths[i]
    arena = table.sizes[1]
    table.sizes[1] += length + 2
    table.names[arena] = length & 255
    table.names[arena + 1] = length >> 8
    if start < 0:  # of an array
        write_digits(table.names, arena + 2, length, -1 - start)
    else:
        for k in range(length):
            table.names[arena + 2 + k] = buffer[start + k]
    table.rows[base + SCALE] = abs(x)
    table.rows[base + MEAN] = x
    table.words32[base + NAME] = arena
    return base


@inlined
def insert_derived(i, derived, table, width):
    """Give the i-th derived feature its row; its name is made of its parents' when somebody asks. Return where it starts."""
    base = new_row(derived.hashes[i], table, width)
    table.rows[base + SCALE] = 1.0
    table.words32[base + MEAN] = derived.parents[1, i]
    table.words32[base + NAME] = derived.parents[0, i]
    table.words32[base + DENSE] = DERIVED | derived.parents[2, i]
    return base
