"""One example: msgpack bytes to a target, hashes, values and an importance, all of it checked before anything is changed.

An example is a msgpack array ``[target, {name: value}]`` or ``[target, {name: value}, importance]``. In place of the map there
may be an array of values, whose names are their positions.
"""

import numpy as np

from learner.kernels.bits import HALF, NOTHING, ONE, float32_of, float64_of, load, prefetch, swap
from learner.kernels.hashing import hash_name, hash_positions, is_utf8, n_digits
from learner.kernels.jit import compiled, inlined
from learner.kernels.scanner import big_endian, read_number, read_size, read_string
from learner.kernels.tasks import accept
from learner.layout import (
    BAD_DUPLICATE,
    BAD_EXAMPLE,
    BAD_FRAMING,
    BAD_IMPORTANCE,
    BAD_MAP,
    BAD_NAME_LENGTH,
    BAD_NAME_RESERVED,
    BAD_NAME_TYPE,
    BAD_NAME_UTF8,
    BAD_TARGET,
    BAD_VALUE_FINITE,
    BAD_VALUE_TYPE,
    BAD_WIDTH,
    CONSTANT_HASH,
    LABEL_NEGATIVE,
    LABEL_POSITIVE,
    MAX_FEATURES,
    MAX_IMPORTANCE,
    MAX_NAME_BYTES,
    MAX_NUMBER,
    MIN_NUMBER,
    OK,
    POSITION_HASHES,
)

MASK32 = np.uint64(0xFFFFFFFF)


# ---- targets -------------------------------------------------------------------------------------------------------------
@compiled
def read_target(buffer, position, task, keys):
    """Return (code, target, next position); binary targets become -1 or +1."""
    kind, y, after = read_number(buffer, position)
    if kind == -1:
        return BAD_FRAMING, 0.0, position
    if kind == 1:
        accepted, y = accept(task, y)
        return (OK if accepted else BAD_TARGET), y, after
    length, start = read_string(buffer, position)
    if length == -2:
        return BAD_FRAMING, 0.0, position
    if length >= 0 and length <= MAX_NAME_BYTES:
        h, _ = hash_name(buffer, start, length, keys)
        if h == keys[LABEL_POSITIVE]:
            return OK, 1.0, start + length
        if h == keys[LABEL_NEGATIVE]:
            return OK, -1.0, start + length
    return BAD_TARGET, 0.0, position


# ---- features ------------------------------------------------------------------------------------------------------------
@compiled
def read_array(buffer, position):
    """Return (bytes a value, values, where they start) of an array of features, a msgpack extension of type 4 or 8.

    The bytes a value are 0 for something else, -1 when it is cut off.
    """
    c = np.int64(buffer[position])
    position += 1
    if 0xD4 <= c <= 0xD8:  # of 1, 2, 4, 8 or 16 bytes
        length = np.int64(1) << (c - 0xD4)
    elif 0xC7 <= c <= 0xC9:
        n = 1 << (c - 0xC7)
        if position + n > len(buffer):
            return np.int64(-1), np.int64(0), position
        length = np.int64(big_endian(buffer, position, n))
        position += n
    else:
        return np.int64(0), np.int64(0), position
    if position + 1 + length > len(buffer):
        return np.int64(-1), np.int64(0), position
    width = np.int64(buffer[position])
    if (width != 4 and width != 8) or length % width != 0:
        return np.int64(0), np.int64(0), position
    return width, length // width, position + 1


@compiled
def scan_array(buffer, start, keys, features):
    """Read an array of features and check all of it, as `scan` does a map: a value's name is its position, "0", "1", ...

    ``starts[:n]`` are ``-1 - p`` for position p, since the names lie nowhere. Their hashes were computed once a model.
    """
    width, size, position = read_array(buffer, start)
    if width <= 0:
        return (BAD_FRAMING if width < 0 else BAD_MAP), start, np.int64(0)
    if size > MAX_FEATURES:
        return BAD_WIDTH, start, np.int64(0)
    if size > 0 and keys[POSITION_HASHES + size - 1] == NOTHING:
        hash_positions(size, keys, features.text)
    n = np.int64(0)
    for p in range(size):
        if width == 8:
            word = load(buffer, position)
            x = float64_of(word)
        else:
            whole = position + 8 <= len(buffer)
            last = swap(big_endian(buffer, position, np.int64(4))) >> HALF
            word = load(buffer, position) & MASK32 if whole else last
            x = float32_of(word)
        position += width
        if word == NOTHING:
            continue
        if not abs(x) <= MAX_NUMBER:
            return BAD_VALUE_FINITE, start, np.int64(0)
        if abs(x) >= MIN_NUMBER:
            at = np.uint64(n)
            features.hashes[at] = keys[np.uint64(POSITION_HASHES + p)]
            features.starts[at] = -1 - p
            features.lengths[at] = n_digits(p)
            features.values[at] = x
            n += 1
    return OK, position, n


@inlined
def scan(buffer, position, keys, table, features):
    """Read a map of features (or an array of them: see `scan_array`) and check all of it.

    Returns (code, where, n): ``hashes[:n]`` the names' hashes, ``starts[:n]`` and ``lengths[:n]`` where the names lie and
    ``values[:n]`` the values; zero values are left out. ``where`` is the next position, or that of what is wrong.
    """
    seen = features.seen
    start = position
    size, position = read_size(buffer, position, 0x80, 0xDE)
    if size == -1:
        return scan_array(buffer, start, keys, features)
    n = np.int64(0)
    if size < 0:
        return BAD_FRAMING, start, n
    if size > MAX_FEATURES:
        return BAD_WIDTH, start, n
    room = 64
    while room < 2 * size:
        room *= 2
    mask = np.uint64(room - 1)
    table_mask = np.uint64(len(table.buckets) - 1)
    seen[:room] = 0
    for _ in range(size):
        where = position
        if position < len(buffer) and buffer[np.uint64(position)] & 0xE0 == 0xA0:  # the usual, short form
            length = np.int64(buffer[np.uint64(position)] & 31)
            begin = position + 1
            if begin + length > len(buffer):
                return BAD_FRAMING, where, n
        else:
            length, begin = read_string(buffer, position)
        if length < 0:
            return (BAD_FRAMING if length == -2 else BAD_NAME_TYPE), where, n
        if length > MAX_NAME_BYTES or length == 0:
            return BAD_NAME_LENGTH, where, n
        h, beyond_ascii = hash_name(buffer, begin, length, keys)
        prefetch(table.buckets, h & table_mask)
        if beyond_ascii and not is_utf8(buffer, begin, length):
            return BAD_NAME_UTF8, where, n
        if h == keys[CONSTANT_HASH]:
            return BAD_NAME_RESERVED, where, n
        position = begin + length
        if position + 9 <= len(buffer) and buffer[np.uint64(position)] == 0xCB:  # the usual: a float64
            x = float64_of(swap(load(buffer, position + 1)))
            position += 9
        else:
            kind, x, position = read_number(buffer, position)
            if kind != 1:
                return (BAD_FRAMING if kind == -1 else BAD_VALUE_TYPE), where, n
        if not abs(x) <= MAX_NUMBER:
            return BAD_VALUE_FINITE, where, n
        i = h & mask
        while seen[i] != NOTHING:
            if seen[i] == h:
                return BAD_DUPLICATE, where, n
            i = (i + ONE) & mask
        seen[i] = h
        if abs(x) >= MIN_NUMBER:
            at = np.uint64(n)
            features.hashes[at] = h
            features.starts[at] = begin
            features.lengths[at] = length
            features.values[at] = x
            n += 1
    return OK, position, n


# ---- the whole -----------------------------------------------------------------------------------------------------------
@inlined
def read_header(buffer, position):
    """Return (code, next position, whether an importance comes) of an example."""
    size, after = read_size(buffer, position, 0x90, 0xDC)
    if size != 2 and size != 3:
        return (BAD_FRAMING if size == -2 else BAD_EXAMPLE), position, False
    return OK, after, size == 3


@inlined
def read_rest(buffer, position, with_importance, keys, table, features):
    """Return (code, where, number of features, importance) of what comes after the target; ``where`` as in `scan`."""
    code, where, n = scan(buffer, position, keys, table, features)
    if code != OK or not with_importance:
        return code, where, n, 1.0
    kind, importance, after = read_number(buffer, where)
    if kind != 1 or not 0.0 <= importance <= MAX_IMPORTANCE:
        return (BAD_FRAMING if kind == -1 else BAD_IMPORTANCE), where, n, 1.0
    return OK, after, n, importance


@inlined
def read(buffer, position, learner, work):
    """Return (code, where, number of features, target, importance) of an example."""
    code, after, with_importance = read_header(buffer, position)
    if code != OK:
        return code, after, np.int64(0), 0.0, 0.0
    code, y, where = read_target(buffer, after, learner.settings.task, learner.keys)
    if code != OK:
        return code, after, np.int64(0), 0.0, 0.0
    code, where, n, importance = read_rest(buffer, where, with_importance, learner.keys, learner.table, work.features)
    return code, where, n, y, importance
