"""Reading one example: msgpack bytes to a target, hashes, values and an importance, all checked before the model changes.

An example is a msgpack array ``[target, {name: value}]`` or ``[target, {name: value}, importance]``. The map can be replaced by
an array of values, named by position.
"""

import numpy as np

from learner.kernels.bits import HALF, MISSING, NOTHING, ONE, blend, float32_of, float64_of, load, prefetch, swap
from learner.kernels.hashing import hash_name, hash_positions, is_utf8, n_digits
from learner.kernels.jit import compiled, inlined
from learner.kernels.scanner import big_endian, read_number, read_size, read_string
from learner.kernels.table import COUNT, DENSE, DEVIATION, PLACE_MASK, find, width_of
from learner.kernels.tasks import CODES, accept
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
    EXAMPLES,
    LABEL_NEGATIVE,
    LABEL_POSITIVE,
    MAX_FEATURES,
    MAX_IMPORTANCE,
    MAX_NAME_BYTES,
    MAX_NUMBER,
    MIN_NUMBER,
    MISSING_SUFFIX,
    NEGATIVE_NUMBER,
    OK,
    POSITION_HASHES,
    POSITIVE_NUMBER,
    WARM_COUNT,
)

MASK32 = np.uint64(0xFFFFFFFF)
SUFFIX, LAST_OF_SUFFIX = len(MISSING_SUFFIX), ord(MISSING_SUFFIX[-1])
SUFFIX_WORD = np.uint64(int.from_bytes(MISSING_SUFFIX.encode(), "little"))
BINARY = CODES["binary"]
POSITIVE_WORDS = tuple(int.from_bytes(word, "big") for word in (b"true", b"t", b"yes", b"y"))
NEGATIVE_WORDS = tuple(int.from_bytes(word, "big") for word in (b"false", b"f", b"no", b"n"))


# ---- targets -------------------------------------------------------------------------------------------------------------
@compiled
def read_target(buffer, position, task, keys):
    """Return (code, target, next position); binary targets become -1 or +1.

    With a label that is a number, such as 1 or 2, a number must be one of the labels (true is 1, false is 0); without labels,
    the words of `read_word` are targets, too. If the model has a target range, a number must be within it.
    """
    kind, y, after = read_number(buffer, position)
    if kind == -1:
        return BAD_FRAMING, 0.0, position
    if kind == 1:
        low, high = float64_of(keys[NEGATIVE_NUMBER]), float64_of(keys[POSITIVE_NUMBER])
        has_numbers = keys[NEGATIVE_NUMBER] != keys[POSITIVE_NUMBER]
        if task == BINARY and has_numbers:
            return (OK if y in (low, high) else BAD_TARGET), (1.0 if y == high else -1.0), after
        accepted, y = accept(task, y)
        if task != BINARY and has_numbers:
            accepted = accepted and low <= y <= high
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
    if task == BINARY and keys[LABEL_POSITIVE] == NOTHING:
        y = read_word(buffer, start, length)
        if y != 0.0:
            return OK, y, start + length
    return BAD_TARGET, 0.0, position


@compiled
def read_word(buffer, start, length):
    """Return 1 for true, t, yes and y, -1 for false, f, no and n, in any case, and 0 for another word."""
    if length < 1 or length > 5:
        return 0.0
    word = np.int64(0)
    for i in range(length):
        word = (word << 8) | np.int64(buffer[start + i] | 0x20)
    for i in range(4):
        if word == POSITIVE_WORDS[i]:
            return 1.0
        if word == NEGATIVE_WORDS[i]:
            return -1.0
    return 0.0


# ---- features ------------------------------------------------------------------------------------------------------------
@compiled
def read_array(buffer, position):
    """Return (bytes of each value, number of values, start) of an array of features, a msgpack extension of type 4 or 8.

    The first number is 0 for anything else, and -1 for an array that is cut off.
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
    """Read and check an array of features, as `scan` does a map; values are named by position, "0", "1", ...

    ``starts`` is ``-1 - p`` for position p, because the buffer has no names. The names' hashes are computed once for a model.
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
            can_load = position + 8 <= len(buffer)
            last = swap(big_endian(buffer, position, np.int64(4))) >> HALF
            word = load(buffer, position) & MASK32 if can_load else last
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
def is_seen(h, mask, seen):
    """Tell whether the example has the name with this hash."""
    i = h & mask
    while seen[i] != NOTHING:
        if seen[i] == h:
            return True
        i = (i + ONE) & mask
    return False


@inlined
def find_of_first_class(table, h, width):
    """Return the start of the row of the name with this hash, or MISSING; with many classes: of the first one."""
    base = find(table, h, width)
    return base if base != MISSING else find(table, blend(h, ONE), width)


@inlined
def is_number(base, missing, width, learner):
    """Tell whether a row is that of a number that most examples have, or say that it is missing, by a feature of this hash."""
    rows, words32 = learner.table.rows, learner.table.words32
    if words32[base + DENSE] & PLACE_MASK != 0:
        return True
    count, other = np.float64(words32[base + COUNT]), find_of_first_class(learner.table, missing, width)
    if other == MISSING or count < WARM_COUNT or rows[base + DEVIATION] == 0.0:
        return False
    return count + np.float64(words32[other + COUNT]) > 0.5 * learner.state.totals[EXAMPLES]


@compiled
def add_missing(buffer, n, mask, width, learner, features):
    """Append the numbers that the example says are missing, with NaN as value; return the new number of features.

    The feature ``f_missing`` says that ``f`` is missing; it counts if most examples have ``f``, or say that it is missing.
    """
    for i in range(n):
        start, length = features.starts[i], features.lengths[i] - SUFFIX
        if length < 1 or n >= MAX_FEATURES or load(buffer, start + length) != SUFFIX_WORD:
            continue
        h, _ = hash_name(buffer, start, length, learner.keys)
        if is_seen(h, mask, features.seen):
            continue
        base = find_of_first_class(learner.table, h, width)
        if base != MISSING and is_number(base, features.hashes[i], width, learner):
            features.hashes[n], features.starts[n], features.lengths[n] = h, start, length
            features.values[n] = np.nan
            n += 1
    return n


@inlined
def scan(buffer, position, learner, features):
    """Read and check a map of features (or an array of them: see `scan_array`).

    Returns (code, where, n); ``where`` is the next position, or the position of the fault. ``hashes[:n]`` are then the names'
    hashes, ``starts[:n]`` and ``lengths[:n]`` the places of the names in the buffer, and ``values[:n]`` the values; features
    with a value of zero are left out, and some that are missing are added: see `add_missing`.
    """
    size, after = read_size(buffer, position, 0x80, 0xDE)
    if size == -1:
        return scan_array(buffer, position, learner.keys, features)
    if size < 0 or size > MAX_FEATURES:
        return (BAD_FRAMING if size < 0 else BAD_WIDTH), position, np.int64(0)
    code, where, n, mask = scan_map(buffer, after, size, learner.keys, learner.table.buckets, features)
    if mask != NOTHING:
        n = add_missing(buffer, n, mask, width_of(learner.settings), learner, features)
    return code, where, n


@inlined
def scan_map(buffer, position, size, keys, buckets, features):
    """Read and check the names and values of a map of so many; of a learner it needs the keys, and ``buckets`` to prefetch.

    Returns (code, where, n, mask): as `scan` does, and the mask of the table of names ``seen`` if a name may say that a
    number is missing, else 0.
    """
    seen = features.seen
    says_missing = False
    n = np.int64(0)
    room = 64
    while room < 8 * size:
        room *= 2
    mask = np.uint64(room - 1)
    table_mask = np.uint64(len(buckets) - 1)
    seen[:room] = 0
    for _ in range(size):
        where = position
        if position < len(buffer) and buffer[np.uint64(position)] & 0xE0 == 0xA0:  # mostly: a short string
            length = np.int64(buffer[np.uint64(position)] & 31)
            begin = position + 1
            if begin + length > len(buffer):
                return BAD_FRAMING, where, n, NOTHING
        else:
            length, begin = read_string(buffer, position)
        if length < 0:
            return (BAD_FRAMING if length == -2 else BAD_NAME_TYPE), where, n, NOTHING
        if length > MAX_NAME_BYTES or length == 0:
            return BAD_NAME_LENGTH, where, n, NOTHING
        h, beyond_ascii = hash_name(buffer, begin, length, keys)
        prefetch(buckets, h & table_mask)
        if beyond_ascii and not is_utf8(buffer, begin, length):
            return BAD_NAME_UTF8, where, n, NOTHING
        if h == keys[CONSTANT_HASH]:
            return BAD_NAME_RESERVED, where, n, NOTHING
        position = begin + length
        if position + 9 <= len(buffer) and buffer[np.uint64(position)] == 0xCB:  # mostly: a float64
            x = float64_of(swap(load(buffer, position + 1)))
            position += 9
        else:
            kind, x, position = read_number(buffer, position)
            if kind != 1:
                return (BAD_FRAMING if kind == -1 else BAD_VALUE_TYPE), where, n, NOTHING
        if not abs(x) <= MAX_NUMBER:
            return BAD_VALUE_FINITE, where, n, NOTHING
        i = h & mask
        while seen[i] != NOTHING:
            if seen[i] == h:
                return BAD_DUPLICATE, where, n, NOTHING
            i = (i + ONE) & mask
        seen[i] = h
        if abs(x) >= MIN_NUMBER:
            at = np.uint64(n)
            features.hashes[at] = h
            features.starts[at] = begin
            features.lengths[at] = length
            features.values[at] = x
            n += 1
            says_missing |= length > SUFFIX and buffer[begin + length - 1] == LAST_OF_SUFFIX
    return OK, position, n, mask if says_missing else NOTHING


# ---- a whole example -----------------------------------------------------------------------------------------------------
@inlined
def read_header(buffer, position):
    """Return (code, next position, whether the example has an importance)."""
    size, after = read_size(buffer, position, 0x90, 0xDC)
    if size != 2 and size != 3:
        return (BAD_FRAMING if size == -2 else BAD_EXAMPLE), position, False
    return OK, after, size == 3


@inlined
def read_rest(buffer, position, with_importance, learner, features):
    """Return (code, where, number of features, importance) of the values after the target; ``where`` is as in `scan`."""
    code, where, n = scan(buffer, position, learner, features)
    importance = 1.0
    if code == OK and with_importance:
        code, where, importance = read_importance(buffer, where)
    return code, where, n, importance


@inlined
def read_importance(buffer, position):
    """Return (code, next position, importance)."""
    kind, importance, after = read_number(buffer, position)
    if kind != 1 or not 0.0 <= importance <= MAX_IMPORTANCE:
        return (BAD_FRAMING if kind == -1 else BAD_IMPORTANCE), position, 1.0
    return OK, after, importance


@inlined
def read(buffer, position, learner, work):
    """Return (code, where, number of features, target, importance) of an example."""
    code, after, with_importance = read_header(buffer, position)
    if code != OK:
        return code, after, np.int64(0), 0.0, 0.0
    code, y, where = read_target(buffer, after, learner.settings.task, learner.keys)
    if code != OK:
        return code, after, np.int64(0), 0.0, 0.0
    code, where, n, importance = read_rest(buffer, where, with_importance, learner, work.features)
    return code, where, n, y, importance
