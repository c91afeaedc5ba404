"""The hash table from names to rows: lookups, and rows for new features.

A full table is replaced by one twice as large, but not at once: the entries are copied to the new one a few buckets at a time,
in order, with each new row (incremental rehashing). Until then a new row is entered into the former table, where it is copied
later, unless its bucket there has been copied before. So all rows are in one of the two tables.
"""

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
from learner.layout import SAID as SAID_BIT
from learner.layout import SCALE as SCALE_WORD

MASK32 = np.uint64(0xFFFFFFFF)
COPIED = 4  # in ``sizes``: how many buckets of the former table have been copied
COPIED_A_ROW = 8  # buckets: meanwhile the part not yet copied fills up from 0.7 to at most 0.7 + 1/8
SCALE, COUNT, MEAN, DEVIATION, HASH, NAME, DENSE = (
    np.uint64(word) for word in (SCALE_WORD, COUNT_WORD, MEAN_WORD, DEVIATION_WORD, HASH_WORD, NAME_WORD, DENSE_WORD)
)
DERIVED, PLACE_MASK, SAID = np.uint32(DERIVED_BIT), np.uint32(PLACE_BITS), np.uint32(SAID_BIT)


@inlined
def width_of(settings):
    """Return the number of float32s in a row; a constant in compiled code."""
    return np.uint64(LINE * len(settings.lines))


@inlined
def hash_at(table, base):
    """Return the hash of the name whose row starts at `base`."""
    return table.words64[(base >> ONE) + HASH]


@compiled
def search(buckets, h, table, width):
    """Return the start in ``rows`` of the row of the name with this hash, by one of the two tables, or MISSING."""
    mask = np.uint64(len(buckets) - 1)
    i = h & mask
    tag = h >> HALF
    while True:
        entry = buckets[i]
        if entry == NOTHING:
            return MISSING
        if entry >> HALF == tag:
            base = ((entry & MASK32) - ONE) * width
            if hash_at(table, base) == h:
                return base
        i = (i + ONE) & mask


@inlined
def find(table, h, width):
    """Return the start in ``rows`` of the row of the name with this hash, or MISSING."""
    base = MISSING
    if len(table.former) > 0:
        base = search(table.former, h, table, width)
    return search(table.buckets, h, table, width) if base == MISSING else base


@inlined
def probe(buckets, h):
    """Return the first entry with the tag of a hash, or NOTHING."""
    mask = np.uint64(len(buckets) - 1)
    tag = h >> HALF
    i = h & mask
    entry = buckets[i]
    while entry != NOTHING and entry >> HALF != tag:
        i = (i + ONE) & mask
        entry = buckets[i]
    return entry


@inlined
def look_up(n, hashes, bases, table, width):
    """Write the probable starts of the rows of ``hashes[:n]``, or MISSING, into ``bases``; `find_again` confirms one of them.

    The loop is short, so that the processor handles many cache misses at once. It also prefetches the rows.
    """
    for j in range(n):
        base = probable(hashes[j], table, width)
        if base != MISSING:
            prefetch(table.rows, base)
        bases[j] = base


@inlined
def probable(h, table, width):
    """Return the probable start of the row of the name with this hash, or MISSING."""
    entry = NOTHING
    if len(table.former) > 0:
        entry = probe(table.former, h)
    if entry == NOTHING:
        entry = probe(table.buckets, h)
    return MISSING if entry == NOTHING else ((entry & MASK32) - ONE) * width


@inlined
def find_again(j, hashes, bases, table, width):
    """Return the start of the row of ``hashes[j]``, or MISSING; `look_up` may have given another name's row."""
    base = bases[j]
    if base != MISSING and hash_at(table, base) != hashes[j]:  # the other name has the same tag
        base = find(table, hashes[j], width)
        bases[j] = base
    return base


@compiled
def enter(buckets, h, slot):
    """Enter a slot into the hash table under a new hash."""
    mask = np.uint64(len(buckets) - 1)
    i = h & mask
    while buckets[i] != NOTHING:
        i = (i + ONE) & mask
    buckets[i] = (h >> HALF) << HALF | (slot + ONE)


@compiled
def rebuild(buckets, words64, first, n_rows, width):
    """Enter the rows from `first` to `n_rows` into a hash table that has none of them."""
    half = np.uint64(width) >> ONE
    for slot in range(np.uint64(first), np.uint64(n_rows)):
        enter(buckets, words64[slot * half + HASH], slot)


@compiled
def enter_former(h, slot, table, width):
    """Enter a slot into the former table if it will be copied from there, else into the new one; copy some buckets."""
    former = table.former
    i, n = h & np.uint64(len(former) - 1), np.uint64(len(former))
    if i >= np.uint64(table.sizes[COPIED]):
        while i < n and former[i] != NOTHING:
            i += ONE
    else:
        i = n
    if i < n:
        former[i] = (h >> HALF) << HALF | (slot + ONE)
    else:
        enter(table.buckets, h, slot)
    copy_buckets(COPIED_A_ROW, table, width)


@compiled
def copy_buckets(n, table, width):
    """Copy the entries of the next n buckets of the former table to the new one."""
    first = np.uint64(table.sizes[COPIED])
    last = min(first + np.uint64(n), np.uint64(len(table.former)))
    for i in range(first, last):
        entry = table.former[i]
        if entry != NOTHING:
            slot = (entry & MASK32) - ONE
            enter(table.buckets, hash_at(table, slot * width), slot)
    table.sizes[COPIED] = last


@inlined
def new_row(h, table, width):
    """Add a row under a hash, with a count of 1; return its start. The caller fills in the rest of the header."""
    slot = np.uint64(table.sizes[0])
    table.sizes[0] += 1
    base = slot * width
    table.words64[(base >> ONE) + HASH] = h
    table.words32[base + COUNT] = 1
    if len(table.former) > 0:
        enter_former(h, slot, table, width)
    else:
        enter(table.buckets, h, slot)
    table.dirty[slot] = 1
    return base


@compiled
def insert(buffer, i, features, table, width):
    """Give the i-th feature of an example a row and store its name; the caller has made room. Return the start of the row."""
    base = new_row(features.hashes[i], table, width)
    x, start, length = features.values[i], features.starts[i], features.lengths[i]
    arena = table.sizes[1]
    table.sizes[1] += length + 2
    table.names[arena] = length & 255
    table.names[arena + 1] = length >> 8
    if start < 0:  # a position of an array
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
    """Give the i-th derived feature a row without a name, which its parents' names imply. Return the start of the row."""
    base = new_row(derived.hashes[i], table, width)
    table.rows[base + SCALE] = 1.0
    table.words32[base + MEAN] = derived.parents[1, i]
    table.words32[base + NAME] = derived.parents[0, i]
    table.words32[base + DENSE] = DERIVED | derived.parents[2, i]
    return base
