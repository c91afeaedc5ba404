"""Bounded memory: the room that an example needs, the new features that get a row, and the removal of rows."""

import numpy as np

from learner.kernels.bits import HALF, NOTHING, ONE
from learner.kernels.jit import compiled, inlined
from learner.kernels.table import DENSE, DERIVED, MEAN, NAME, width_of
from learner.layout import (
    BITS_A_SIGHTING,
    EVICTED_SHARE,
    MAX_NAME_BYTES,
    MIN_ROWS_SWEPT,
    REFUSED,
    SIGHTINGS,
    SPARSE,
    SWEPT_ROWS,
)

THREE, SEVEN = np.uint64(3), np.uint64(7)


@compiled
def is_admitted(h, n_bytes, table, totals):
    """Tell whether a new feature may be stored; note its name as seen, and count a refusal.

    ``n_bytes`` is what its name takes, with the name's length: 0 for a derived feature, whose name is made of its parents'.
    Without ``max_features`` every feature is stored. With it, every feature is stored until nine tenths of the rows, or of the
    bytes of names, are in use; after that, a feature is stored if its name was seen recently and there is room. Seen names are
    kept in a sketch of two bits each (Bloom, 1970, "Space/time trade-offs in hash coding with allowable errors"). The sketch is
    cleared before an eighth of its bits are set, so on average half a percent of new names are taken for seen ones (Einziger,
    Friedman, 2017, "TinyLFU: a highly efficient cache admission policy", for such a doorkeeper). The hash is keyed, so nobody
    outside the model knows a name's bits.
    """
    sizes, sketch = table.sizes, table.sketch
    if len(sketch) == 0:
        return True
    rows_free, bytes_free = sizes[2] - sizes[0], sizes[3] - sizes[1]
    if rows_free <= sizes[2] // EVICTED_SHARE or (n_bytes > 0 and bytes_free <= sizes[3] // EVICTED_SHARE):
        seen = True
        for place in (h, h >> HALF):
            at = place >> THREE & np.uint64(len(sketch) - 1)
            bit = ONE << (place & SEVEN)
            seen = seen and sketch[at] & bit != NOTHING
            sketch[at] |= bit
        totals[SIGHTINGS] += 1.0
        if totals[SIGHTINGS] * BITS_A_SIGHTING >= 8 * len(sketch):
            totals[SIGHTINGS] = 0.0
            sketch[:] = 0
        if not seen:
            totals[REFUSED] += 1.0
            return False
    if rows_free == 0 or n_bytes > bytes_free:
        totals[REFUSED] += 1.0
        return False
    return True


@inlined
def wants_sweep(parts, table, totals):
    """Tell whether rows should be dropped before the next example. This depends on the learned state, not on array sizes.

    With ``max_features``: when all rows are in use, or the longest name might not fit, unless no row was added since the last
    sweep. With L1: when the number of rows has doubled since the last sweep.
    """
    sizes = table.sizes
    if len(table.sketch) > 0 and sizes[0] > totals[SWEPT_ROWS]:
        return sizes[0] == sizes[2] or sizes[1] + MAX_NAME_BYTES + 2 > sizes[3]
    return parts & SPARSE != 0 and sizes[0] >= max(2.0 * totals[SWEPT_ROWS], np.float64(MIN_ROWS_SWEPT))


@inlined
def missing_room(n_rows, n_bytes, settings, table):
    """Return the (rows, bytes of names) that must be added for new features; (0, 0) when the arrays are large enough."""
    sizes = table.sizes
    n_rows, n_bytes = min(sizes[0] + n_rows, sizes[2]), min(sizes[1] + n_bytes, sizes[3])
    full = n_rows * np.int64(width_of(settings)) > len(table.rows) or 10 * n_rows > 7 * len(table.buckets)
    if full or n_bytes > len(table.names):
        return n_rows - sizes[0], n_bytes - sizes[1]
    return np.int64(0), np.int64(0)


@inlined
def total(n, lengths):
    """Return the sum of the first n lengths."""
    n_bytes = np.int64(0)
    for i in range(n):
        n_bytes += lengths[i]
    return n_bytes


@compiled
def compact(keep, slots, table, width):
    """Move the kept rows and their names together, in order; write each row's new slot, or -1, into ``slots``.

    A derived feature is dropped if a parent is. The rows after the last kept row are set to zero.
    """
    rows, words32, names, sizes = table.rows, table.words32, table.names, table.sizes
    n = np.uint64(0)
    end = np.int64(0)
    for slot in range(np.uint64(sizes[0])):
        base, to = slot * np.uint64(width), n * np.uint64(width)
        slots[slot] = -1
        if not keep[slot]:
            continue
        if words32[base + DENSE] & DERIVED:
            first, second = slots[words32[base + NAME]], slots[words32[base + MEAN]]
            if first < 0 or second < 0:
                continue
            words32[base + NAME] = first
            words32[base + MEAN] = second
        else:
            start = np.int64(words32[base + NAME])
            length = 2 + (np.int64(names[start]) | np.int64(names[start + 1]) << 8)
            words32[base + NAME] = end
            for i in range(length):
                names[end + i] = names[start + i]
            end += length
        for i in range(np.uint64(width)):
            words32[to + i] = words32[base + i]
        slots[slot] = n
        n += ONE
    rows[n * np.uint64(width) : np.uint64(sizes[0]) * np.uint64(width)] = 0.0
    sizes[0], sizes[1] = n, end
