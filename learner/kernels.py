"""The compiled loops: from msgpack bytes to scores and updated weights, with no Python object a feature.

This is the only module that imports numba. With ``NUMBA_DISABLE_JIT=1`` the same functions run as plain Python, so tests can
step through them. Every function works on plain arrays, described in `learner.weights` (the dict) and `learner.linear`
(the learner); `learner.linear` calls three of them: `learn`, `predict` and `rebuild`.

An example is a msgpack array ``[target, {name: value}]`` or ``[target, {name: value}, importance]``. It is scanned and
checked as a whole before anything is changed, so that an example that can't be learned leaves no trace.
"""

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, njit, types
from numba.extending import intrinsic

from learner import layout, losses
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
    CONSTANT_LOSS_SUM,
    DENSE_SLOTS,
    EXAMPLES,
    IMPORTANCE_SUM,
    KEY_BLOCK,
    LABEL_NEGATIVE,
    LABEL_POSITIVE,
    LOSS_SUM,
    MAX_DENSE,
    MAX_DIRECT,
    MAX_FEATURES,
    MAX_IMPORTANCE,
    MAX_NAME_BYTES,
    MAX_NUMBER,
    MIN_NUMBER,
    N_DENSE,
    OK,
    REJECTED,
    RESIDUAL_SUM,
    SCALE_SUM,
    TARGET_MAX,
    TARGET_MEAN,
    TARGET_MIN,
    TARGET_SQUARES,
    TARGET_SUM,
)

# Arrays are indexed by uint64: a signed index would be tested for being negative at every access.
ONE, MASK32 = np.uint64(1), np.uint64(0xFFFFFFFF)
HALF, NOTHING, MISSING = np.uint64(32), np.uint64(0), np.uint64((1 << 64) - 1)
SCALE, COUNT, MEAN, DEVIATION = (
    np.uint64(word) for word in (layout.SCALE, layout.COUNT, layout.MEAN, layout.DEVIATION)
)
HASH, NAME, DENSE, WEIGHTS = (np.uint64(word) for word in (layout.HASH, layout.NAME, layout.DENSE, layout.HEADER))

JIT = not config.DISABLE_JIT


def compiled(function: Callable[..., Any]) -> Any:
    """Compile a function with numba, cached on disk; no fast-math, so that every run gives the same bits."""
    return njit(cache=True, error_model="numpy", nogil=True)(function)


def inlined(function: Callable[..., Any]) -> Any:
    """Compile a function into its callers: handing over a dozen arrays would cost as much as the work."""
    return njit(cache=True, error_model="numpy", nogil=True, forceinline=True)(function)


# ---- the bits that Python has no words for -----------------------------------------------------------------------------
PRIME = (1 << 61) - 1
GOLDEN = np.uint64(0x9E3779B97F4A7C15)

if JIT:
    from llvmlite import ir

    @intrinsic
    def load(typingctx: Any, buffer: Any, position: Any) -> Any:
        """Return the 8 bytes at a position of a byte array as a little-endian uint64; the caller checks the bounds."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            pointer = builder.gep(data, [args[1]])
            value = builder.load(builder.bitcast(pointer, ir.IntType(64).as_pointer()))
            value.align = 1
            return value

        return types.uint64(buffer, types.int64), codegen

    @intrinsic
    def swap(typingctx: Any, word: Any) -> Any:
        """Return a uint64 with its bytes in the other order."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bswap(args[0])

        return types.uint64(types.uint64), codegen

    @intrinsic
    def float64_of(typingctx: Any, word: Any) -> Any:
        """Return the float64 whose bits are the word."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.bitcast(args[0], ir.DoubleType())

        return types.float64(types.uint64), codegen

    @intrinsic
    def float32_of(typingctx: Any, word: Any) -> Any:
        """Return, as float64, the float32 whose bits are the low half of the word."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            low = builder.trunc(args[0], ir.IntType(32))
            return builder.fpext(builder.bitcast(low, ir.FloatType()), ir.DoubleType())

        return types.float64(types.uint64), codegen

    @intrinsic
    def prefetch(typingctx: Any, array: Any, index: Any) -> Any:
        """Ask the processor to fetch the cache line of an array's element; nothing else changes."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            address = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
            number = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
            function = builder.module.globals.get("llvm.prefetch.p0") or ir.Function(
                builder.module, kind, "llvm.prefetch.p0"
            )
            builder.call(function, [address, number(0), number(3), number(1)])
            return context.get_dummy_value()

        return types.void(array, types.uint64), codegen

    @intrinsic
    def multiply(typingctx: Any, a: Any, b: Any) -> Any:
        """Return ``a * b`` modulo 2^61 - 1, but for a multiple of it: below 2^63 for ``a < 2^62``, ``b < 2^61``."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            wide, narrow = ir.IntType(128), ir.IntType(64)
            product = builder.mul(builder.zext(args[0], wide), builder.zext(args[1], wide))
            low = builder.and_(builder.trunc(product, narrow), ir.Constant(narrow, PRIME))
            high = builder.trunc(builder.lshr(product, ir.Constant(wide, 61)), narrow)
            return builder.add(low, high)

        return types.uint64(types.uint64, types.uint64), codegen

    @inlined
    def spread(h: Any) -> Any:
        """Return a hash with every bit depending on all of them (multiplicative: Knuth, 1998, volume 3, section 6.4)."""
        h = (h ^ (h >> HALF)) * GOLDEN
        return h ^ (h >> HALF)

else:

    def load(buffer: Any, position: int) -> Any:
        """Return the 8 bytes at a position of a byte array as a little-endian uint64."""
        return np.uint64(int.from_bytes(buffer[position : position + 8].tobytes(), "little"))

    def swap(word: Any) -> Any:
        """Return a uint64 with its bytes in the other order."""
        return np.uint64(int.from_bytes(int(word).to_bytes(8, "little"), "big"))

    def float64_of(word: Any) -> float:
        """Return the float64 whose bits are the word."""
        return float(struct.unpack("<d", int(word).to_bytes(8, "little"))[0])

    def float32_of(word: Any) -> float:
        """Return, as float64, the float32 whose bits are the low half of the word."""
        return float(struct.unpack("<f", (int(word) & 0xFFFFFFFF).to_bytes(4, "little"))[0])

    def prefetch(array: Any, index: Any) -> None:
        """Ask the processor to fetch a cache line; nothing to do without it."""

    def multiply(a: Any, b: Any) -> Any:
        """Return ``a * b`` modulo 2^61 - 1, but for a multiple of it."""
        product = int(a) * int(b)
        return np.uint64((product & PRIME) + (product >> 61))

    def spread(h: Any) -> Any:
        """Return a hash with every bit depending on all of them."""
        h = (int(h) ^ int(h) >> 32) * int(GOLDEN) & (1 << 64) - 1
        return np.uint64(h ^ h >> 32)


# ---- losses: the scalar functions of learner.losses, chosen by code -----------------------------------------------------
_squared_value = compiled(losses.squared_value)
_squared_derivative = compiled(losses.squared_derivative)
_squared_step = compiled(losses.squared_step)
_logistic_value = compiled(losses.logistic_value)
_logistic_derivative = compiled(losses.logistic_derivative)
_logistic_step = compiled(losses.logistic_step)
_hinge_value = compiled(losses.hinge_value)
_hinge_derivative = compiled(losses.hinge_derivative)
_hinge_step = compiled(losses.hinge_step)
_logistic = compiled(losses.logistic)


@compiled
def value(loss, s, y):
    """Return the loss of a score."""
    if loss == losses.LOGISTIC:
        return _logistic_value(s, y)
    if loss == losses.SQUARED:
        return _squared_value(s, y)
    return _hinge_value(s, y)


@compiled
def derivative(loss, s, y):
    """Return d loss / d score."""
    if loss == losses.LOGISTIC:
        return _logistic_derivative(s, y)
    if loss == losses.SQUARED:
        return _squared_derivative(s, y)
    return _hinge_derivative(s, y)


@compiled
def step(loss, s, y, q, importance):
    """Return the importance-aware step."""
    if loss == losses.LOGISTIC:
        return _logistic_step(s, y, q, importance)
    if loss == losses.SQUARED:
        return _squared_step(s, y, q, importance)
    return _hinge_step(s, y, q, importance)


# ---- names and the hash table -------------------------------------------------------------------------------------------
P61 = np.uint64(PRIME)
LOW56, HIGH_BITS = np.uint64((1 << 56) - 1), np.uint64(0x8080808080808080)


@inlined
def modulo(h):
    """Return a number below 2^63 modulo 2^61 - 1."""
    h = (h & P61) + (h >> np.uint64(61))
    return h - P61 if h >= P61 else h


@inlined
def hash_name(buffer, start, length, keys):
    """Return the keyed 64-bit hash of a name, never 0, and whether the name has a byte that isn't ASCII.

    The polynomial ``((n + m_1) r + .. + m_k) r`` over the field of 2^61 - 1 elements, in the name's length ``n`` and its
    7-byte blocks ``m_i``, with a secret ``r`` (Carter and Wegman, 1979, "Universal classes of hash functions"), spread over
    64 bits by a bijection: a polynomial alone would lay numbered names out in steps, which crowd a table. Two different
    names of at most 256 bytes collide with a probability of at most 38 / 2^61 over the secret, which nobody outside the
    model knows: collisions can't be aimed.
    """
    r = keys[KEY_BLOCK]
    h = np.uint64(length)
    bits = np.uint64(0)
    position = start
    end = start + length
    while position + 8 <= end or (position < end and position + 8 <= len(buffer)):
        block = load(buffer, position) & LOW56
        left = end - position
        if left < 7:
            block &= (ONE << np.uint64(8 * left)) - ONE
        bits |= block
        h = modulo(multiply(h + block, r))
        position += 7
    while position < end:  # the last bytes of the whole buffer
        block = np.uint64(0)
        n = min(7, end - position)
        for i in range(n):
            block |= np.uint64(buffer[position + i]) << np.uint64(8 * i)
        bits |= block
        h = modulo(multiply(h + block, r))
        position += 7
    return max(spread(h), ONE), (bits & HIGH_BITS) != NOTHING


@compiled
def is_utf8(buffer, start, length):
    """Tell whether bytes are well-formed UTF-8 (Unicode 15, table 3-7)."""
    i = start
    end = start + length
    while i < end:
        c = buffer[i]
        if c < 0x80:
            i += 1
            continue
        if 0xC2 <= c <= 0xDF:
            n = 1
        elif 0xE0 <= c <= 0xEF:
            n = 2
        elif 0xF0 <= c <= 0xF4:
            n = 3
        else:
            return False
        if i + n >= end:
            return False
        second = buffer[i + 1]
        low = 0xA0 if c == 0xE0 else 0x90 if c == 0xF0 else 0x80
        high = 0x9F if c == 0xED else 0x8F if c == 0xF4 else 0xBF
        if second < low or second > high:
            return False
        for j in range(2, n + 1):
            if buffer[i + j] < 0x80 or buffer[i + j] > 0xBF:
                return False
        i += n + 1
    return True


# ---- the neural head's places: none here; learner.neural writes a module with a head's own ------------------------------
@inlined
def head_size():
    """Return how many float32s of a row belong to the head: a column of V_1 and its sums of squared gradients."""
    return 0


@inlined
def head_alone():
    """Tell whether the head's score is the score, with no linear experts beside it."""
    return False


@inlined
def head_start(base, h, rows):
    """Draw a new feature's column of V_1."""


@inlined
def head_score(n, bases, us, rows, head):
    """Return the head's score; what it computed stays in ``head`` for `head_learn`."""
    return 0.0


@inlined
def head_learn(n, slope, bases, us, rows, head):
    """Update the head, given the derivative of the loss by its score."""


@inlined
def experts_of(rates):
    """Return how many experts there are: one a rate, and the head."""
    return len(rates) + (1 if head_size() > 0 else 0)


@inlined
def mixes(rates):
    """Tell whether there are several experts to mix."""
    return experts_of(rates) > 1 and not head_alone()


@inlined
def width_of(rates):
    """Return the float32s in a row; a constant once compiled, since `rates` is a tuple."""
    return np.uint64((layout.HEADER + 2 * len(rates) + head_size() + 15) // 16 * 16)


@inlined
def find(store, h, width):
    """Return where the row of the name with this hash starts in ``rows``, or MISSING."""
    table, _, words64, _, _, _, _ = store
    mask = np.uint64(len(table) - 1)
    i = h & mask
    tag = h >> HALF
    while True:
        entry = table[i]
        if entry == NOTHING:
            return MISSING
        if entry >> HALF == tag:
            base = ((entry & MASK32) - ONE) * width
            if words64[(base >> ONE) + HASH] == h:
                return base
        i = (i + ONE) & mask


@inlined
def look_up(n, hashes, bases, store, width):
    """Write where the rows of ``hashes[:n]`` probably start, or MISSING, into ``bases``; `prepare` makes sure.

    One loop with little in it, so that many cache misses are under way at once; the rows are fetched ahead, too.
    """
    table, rows, _, _, _, _, _ = store
    mask = np.uint64(len(table) - 1)
    for j in range(np.uint64(n)):
        h = hashes[j]
        tag = h >> HALF
        i = h & mask
        entry = table[i]
        while entry != NOTHING and entry >> HALF != tag:
            i = (i + ONE) & mask
            entry = table[i]
        if entry == NOTHING:
            bases[j] = MISSING
        else:
            base = ((entry & MASK32) - ONE) * width
            prefetch(rows, base)
            bases[j] = base


@compiled
def enter(table, h, slot):
    """Put a slot into the table under a hash that is not there yet."""
    mask = np.uint64(len(table) - 1)
    i = h & mask
    while table[i] != NOTHING:
        i = (i + ONE) & mask
    table[i] = (h >> HALF) << HALF | (slot + ONE)


@compiled
def rebuild(table, words64, n_rows, width):
    """Fill an empty table with the first rows."""
    half = np.uint64(width) >> ONE
    for slot in range(np.uint64(n_rows)):
        enter(table, words64[slot * half + HASH], slot)


@compiled
def insert(buffer, start, length, h, x, store, width):
    """Give a new feature its row, its entry in the table and its name; the caller has made room. Return its row."""
    table, rows, words64, words32, names, sizes, dirty = store
    slot = np.uint64(sizes[0])
    arena = sizes[1]
    sizes[0] += 1
    sizes[1] += length + 2
    names[arena] = length & 255
    names[arena + 1] = length >> 8
    for i in range(length):
        names[arena + 2 + i] = buffer[start + i]
    base = slot * width
    rows[base + SCALE] = abs(x)
    words32[base + COUNT] = 1
    rows[base + MEAN] = x
    words64[(base >> ONE) + HASH] = h
    words32[base + NAME] = arena
    head_start(base, h, rows)
    enter(table, h, slot)
    dirty[slot] = 1
    return base


# ---- msgpack -------------------------------------------------------------------------------------------------------------
@compiled
def big_endian(buffer, position, n):
    """Return an unsigned big-endian integer of n bytes."""
    v = np.uint64(0)
    for i in range(n):
        v = v << np.uint64(8) | np.uint64(buffer[position + i])
    return v


@compiled
def read_number(buffer, position, stop):
    """Return (kind, value, next position): kind 1 is a number (or true, false), 0 something else, -1 cut off."""
    if position >= stop:
        return -1, 0.0, position
    c = np.int64(buffer[position])
    if c <= 0x7F:
        return 1, float(c), position + 1
    if c == 0xCB:
        if position + 9 > stop:
            return -1, 0.0, position
        return 1, float64_of(swap(load(buffer, position + 1))), position + 9
    if c >= 0xE0:
        return 1, float(c) - 256.0, position + 1
    if c == 0xC2 or c == 0xC3:
        return 1, float(c - 0xC2), position + 1
    if c == 0xCA:
        if position + 5 > stop:
            return -1, 0.0, position
        return 1, float32_of(big_endian(buffer, position + 1, 4)), position + 5
    if 0xCC <= c <= 0xD3:
        n = 1 << ((c - 0xCC) & 3)
        if position + 1 + n > stop:
            return -1, 0.0, position
        v = big_endian(buffer, position + 1, n)
        if c >= 0xD0 and buffer[position + 1] >= 0x80:
            if n < 8:
                return 1, float(np.int64(v)) - float(1 << (8 * n)), position + 1 + n
            return 1, float(np.int64(v)), position + 9
        return 1, float(v), position + 1 + n
    return 0, 0.0, position


@compiled
def read_string(buffer, position, stop):
    """Return (length, where it starts): length -1 is something else than a string, -2 cut off."""
    if position >= stop:
        return np.int64(-2), position
    c = np.int64(buffer[position])
    if 0xA0 <= c <= 0xBF:
        length = np.int64(c & 31)
        position += 1
    elif 0xD9 <= c <= 0xDB:
        n = 1 << (c - 0xD9)
        if position + 1 + n > stop:
            return np.int64(-2), position
        length = np.int64(big_endian(buffer, position + 1, n))
        position += 1 + n
    else:
        return np.int64(-1), position
    if position + length > stop:
        return np.int64(-2), position
    return length, position


@inlined
def read_size(buffer, position, stop, fixed, wide):
    """Return (size, next position) of an array or map header; size -1 is something else, -2 cut off.

    ``fixed`` is the first byte of the short form (0x80 for maps, 0x90 for arrays), ``wide`` of the 16-bit form.
    """
    if position >= stop:
        return np.int64(-2), position
    c = np.int64(buffer[position])
    if c & 0xF0 == fixed:
        return np.int64(c & 15), position + 1
    if c == wide or c == wide + 1:
        n = 2 << (c - wide)
        if position + 1 + n > stop:
            return np.int64(-2), position
        return np.int64(big_endian(buffer, position + 1, n)), position + 1 + n
    return np.int64(-1), position


@compiled
def skip(buffer, position, stop):
    """Return where the msgpack value at a position ends, or -1 when it is cut off or not msgpack; no recursion."""
    left = np.int64(1)
    while left > 0:
        if position >= stop:
            return np.int64(-1)
        c = np.int64(buffer[position])
        left -= 1
        if c <= 0x7F or c >= 0xE0 or c == 0xC0 or c == 0xC2 or c == 0xC3:
            position += 1
        elif c <= 0x8F:
            left += 2 * np.int64(c & 15)
            position += 1
        elif c <= 0x9F:
            left += np.int64(c & 15)
            position += 1
        elif c <= 0xBF:
            position += 1 + np.int64(c & 31)
        elif c == 0xC1:
            return np.int64(-1)
        elif c <= 0xC6 or 0xD9 <= c <= 0xDB or 0xC7 <= c <= 0xC9:  # bin, str, ext with a length
            n = 1 << ((c - 0xC4) if c <= 0xC6 else (c - 0xC7) if c <= 0xC9 else (c - 0xD9))
            if position + 1 + n > stop:
                return np.int64(-1)
            extra = 1 if 0xC7 <= c <= 0xC9 else 0
            position += 1 + n + extra + np.int64(big_endian(buffer, position + 1, n))
        elif c == 0xCA:
            position += 5
        elif c == 0xCB:
            position += 9
        elif c <= 0xD3:
            position += 1 + (1 << ((c - 0xCC) & 3))
        elif c <= 0xD8:  # fixext
            position += 2 + (1 << (c - 0xD4))
        else:
            n = 2 << ((c - 0xDC) & 1)
            if position + 1 + n > stop:
                return np.int64(-1)
            left += np.int64(big_endian(buffer, position + 1, n)) * (2 if c >= 0xDE else 1)
            position += 1 + n
        if position > stop:
            return np.int64(-1)
    return np.int64(position)


@compiled
def boundaries(buffer, ends):
    """Write where msgpack values that follow one another end, as many as ``ends`` holds; return how many are whole."""
    position = np.int64(0)
    n = 0
    while position < len(buffer) and n < len(ends):
        position = skip(buffer, position, len(buffer))
        if position < 0:
            break
        ends[n] = position
        n += 1
    return n


# ---- one example ---------------------------------------------------------------------------------------------------------
@compiled
def read_target(buffer, position, stop, loss, keys):
    """Return (code, target, next position); binary targets become -1 or +1."""
    kind, y, after = read_number(buffer, position, stop)
    if kind == -1:
        return BAD_FRAMING, 0.0, position
    if kind == 1:
        if loss == losses.SQUARED:
            return (OK if abs(y) <= MAX_NUMBER else BAD_TARGET), y, after
        if y == 1.0:
            return OK, 1.0, after
        if y == 0.0 or y == -1.0:
            return OK, -1.0, after
        return BAD_TARGET, y, after
    length, start = read_string(buffer, position, stop)
    if length == -2:
        return BAD_FRAMING, 0.0, position
    if length >= 0 and length <= MAX_NAME_BYTES and loss != losses.SQUARED:
        h, _ = hash_name(buffer, start, length, keys)
        if h == keys[LABEL_POSITIVE]:
            return OK, 1.0, start + length
        if h == keys[LABEL_NEGATIVE]:
            return OK, -1.0, start + length
    return BAD_TARGET, 0.0, position


@inlined
def scan(buffer, position, stop, keys, store, scratch):
    """Read a map of features and check all of it.

    Returns (code, where, n): ``hashes[:n]`` the names' hashes, ``starts[:n]`` and ``lengths[:n]`` where the names lie and
    ``xs[:n]`` the values; zero values are left out. ``where`` is the next position, or that of what is wrong.
    """
    table = store[0]
    seen, hashes, starts, lengths, _, xs, _, _ = scratch
    start = position
    size, position = read_size(buffer, position, stop, 0x80, 0xDE)
    if size < 0:
        return (BAD_FRAMING if size == -2 else BAD_MAP), start, 0
    if size > MAX_FEATURES:
        return BAD_WIDTH, start, 0
    room = 64
    while room < 2 * size:
        room *= 2
    mask = np.uint64(room - 1)
    table_mask = np.uint64(len(table) - 1)
    seen[:room] = 0
    n = 0
    for _ in range(size):
        where = position
        if position < stop and buffer[np.uint64(position)] & 0xE0 == 0xA0:  # the usual, short form
            length = np.int64(buffer[np.uint64(position)] & 31)
            begin = position + 1
            if begin + length > stop:
                return BAD_FRAMING, where, n
        else:
            length, begin = read_string(buffer, position, stop)
        if length < 0:
            return (BAD_FRAMING if length == -2 else BAD_NAME_TYPE), where, n
        if length > MAX_NAME_BYTES or length == 0:
            return BAD_NAME_LENGTH, where, n
        h, beyond_ascii = hash_name(buffer, begin, length, keys)
        prefetch(table, h & table_mask)
        if beyond_ascii and not is_utf8(buffer, begin, length):
            return BAD_NAME_UTF8, where, n
        if h == keys[CONSTANT_HASH]:
            return BAD_NAME_RESERVED, where, n
        position = begin + length
        if position + 9 <= stop and buffer[np.uint64(position)] == 0xCB:  # the usual: a float64
            x = float64_of(swap(load(buffer, position + 1)))
            position += 9
        else:
            kind, x, position = read_number(buffer, position, stop)
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
            hashes[at] = h
            starts[at] = begin
            lengths[at] = length
            xs[at] = x
            n += 1
    return OK, position, n


@inlined
def read_example(buffer, position, stop, loss, keys, store, scratch):
    """Return (code, where, number of features, target, importance); ``where`` as in `scan`."""
    start = position
    size, position = read_size(buffer, position, stop, 0x90, 0xDC)
    if size != 2 and size != 3:
        return (BAD_FRAMING if size == -2 else BAD_EXAMPLE), start, 0, 0.0, 0.0
    where = position
    code, y, position = read_target(buffer, position, stop, loss, keys)
    if code != OK:
        return code, where, 0, 0.0, 0.0
    code, position, n = scan(buffer, position, stop, keys, store, scratch)
    importance = 1.0
    if code == OK and size == 3:
        where = position
        kind, importance, position = read_number(buffer, position, stop)
        if kind != 1 or not 0.0 <= importance <= MAX_IMPORTANCE:
            return (BAD_FRAMING if kind == -1 else BAD_IMPORTANCE), where, 0, 0.0, 0.0
    return code, position, n, y, importance


@inlined
def scaled(v, base, count, learning, rows):
    """Return a value, centred or not, on its feature's own scale, in [-1, 1]; the scale grows with what it has seen."""
    scale = np.float64(rows[base + SCALE])
    magnitude = abs(v)
    if magnitude > scale:
        scale = 2.0 * scale if scale > 0.0 and count > 8.0 and magnitude > 2.0 * scale else magnitude
        if learning:
            rows[base + SCALE] = scale
    return min(max(v / scale, -1.0), 1.0)


@inlined
def prepare(n, learning, rates, store, scratch, totals, mixing):
    """Bring values onto their features' own scales: ``us[:n]`` in [-1, 1], and make sure of their rows.

    Dense features, those of varying values that more than half of the examples had, are centred, and one that is left out of
    this example is added with its value, 0: the score stays linear in what the example says. Returns (n, k): the mixer gets
    the first dense features themselves, as ``inputs[:k]`` at the places ``inputs_at[:k]``. When learning, the values are taken
    into the features' statistics.
    """
    _, rows, words64, words32, _, _, dirty = store
    _, hashes, _, _, bases, xs, us, present = scratch
    inputs, inputs_at, _ = mixing
    width = width_of(rates)
    n_experts = experts_of(rates)
    half_of_examples = 0.5 * totals[EXAMPLES]
    n_dense = np.int64(totals[N_DENSE])
    present[: n_dense + 1] = 0
    k = 0
    for i in range(np.uint64(n)):
        x = xs[i]
        base = bases[i]
        if base != MISSING and words64[(base >> ONE) + HASH] != hashes[i]:  # another name with the same tag
            base = find(store, hashes[i], width)
            bases[i] = base
        if base == MISSING:
            us[i] = 1.0 if x > 0.0 else -1.0
            continue
        count = np.float64(words32[base + COUNT])
        if learning:
            words32[base + COUNT] += 1
            dirty[base // width] = 1
        mean = np.float64(rows[base + MEAN])
        deviation = np.float64(rows[base + DEVIATION])
        if deviation == 0.0 and np.float32(x) == rows[base + MEAN]:  # it has had this one value only: an indicator
            us[i] = 1.0 if x > 0.0 else -1.0
            continue
        dense = np.int64(words32[base + DENSE])
        present[dense] = 1
        if count > 8.0:  # a rare huge value must not stretch the scale
            bound = abs(mean) + 30.0 * deviation if deviation > 0.0 else 1000.0 * abs(mean)
            x = min(max(x, -bound), bound)
        v = x
        if deviation > 0.0 and count > half_of_examples:  # dense: centred
            v = x - mean
            if count >= 8.0:
                if dense == 0 and learning and totals[N_DENSE] < MAX_DENSE:
                    totals[N_DENSE] += 1.0
                    dense = np.int64(totals[N_DENSE])
                    totals[DENSE_SLOTS + dense] = base // width
                    words32[base + DENSE] = dense
                if 0 < dense <= MAX_DIRECT:
                    inputs[k] = min(max(v / deviation, -8.0), 8.0)
                    inputs_at[k] = n_experts + dense
                    k += 1
        us[i] = scaled(v, base, count, learning, rows)
        if learning:
            delta = x - mean
            mean += delta / (count + 1.0)
            rows[base + MEAN] = mean
            variance = deviation * deviation
            rows[base + DEVIATION] = math.sqrt(variance + (delta * (x - mean) - variance) / (count + 1.0))
    for dense in range(1, n_dense + 1):
        if present[dense]:
            continue
        base = np.uint64(totals[DENSE_SLOTS + dense]) * width
        count = np.float64(words32[base + COUNT])
        deviation = np.float64(rows[base + DEVIATION])
        if deviation > 0.0 and count > half_of_examples:
            v = -np.float64(rows[base + MEAN])
            bases[n] = base
            us[n] = scaled(v, base, count, learning, rows)
            if learning:
                dirty[base // width] = 1
            n += 1
            if dense <= MAX_DIRECT:
                inputs[k] = min(max(v / deviation, -8.0), 8.0)
                inputs_at[k] = n_experts + dense
                k += 1
    return n, k


@inlined
def score_experts(n, rates, store, scratch, scores):
    """Write every expert's score ``w_k . u`` into ``scores``; features without a row weigh nothing."""
    rows = store[1]
    bases, us = scratch[4], scratch[6]
    n_rates = np.uint64(len(rates))
    for k in range(experts_of(rates)):
        scores[k] = 0.0
    for i in range(np.uint64(n)):
        base = bases[i]
        if base != MISSING:
            u = us[i]
            for k in range(n_rates):
                scores[k] += rows[base + WEIGHTS + k] * u


@inlined
def combine(rates, scores, mixer, mixing, n_inputs):
    """Append the experts' scores and a 1 to the mixer's inputs v; return the mixed score ``a . v`` and v's length.

    One expert alone is not mixed.
    """
    if not mixes(rates):
        return scores[experts_of(rates) - 1], 0
    inputs, inputs_at, _ = mixing
    n_experts = experts_of(rates)
    for k in range(n_experts):
        inputs[n_inputs + k] = scores[k]
        inputs_at[n_inputs + k] = k
    n_inputs += n_experts
    inputs[n_inputs] = 1.0
    inputs_at[n_inputs] = n_experts
    n_inputs += 1
    s = 0.0
    for i in range(n_inputs):
        s += mixer[inputs_at[i], 0] * inputs[i]
    return s, n_inputs


@compiled
def predict(buffer, position, stop, rates, keys, store, totals, mixer, head, scratch, mixing, scores):
    """Score one map of features, changing nothing; return (code, where, features, dense inputs, score).

    Leaves in the scratch arrays what `learner.linear` explains the score with.
    """
    bases, us = scratch[4], scratch[6]
    code, where, n = scan(buffer, position, stop, keys, store, scratch)
    if code != OK:
        return code, where, 0, 0, 0.0
    look_up(n, scratch[1], bases, store, width_of(rates))
    n, k = prepare(n, False, rates, store, scratch, totals, mixing)
    bases[n] = NOTHING  # the constant: row 0, always 1
    us[n] = 1.0
    score_experts(n + 1, rates, store, scratch, scores)
    scores[experts_of(rates) - 1] += head_score(n, bases, us, store[1], head)
    s, _ = combine(rates, scores, mixer, mixing, k)
    return OK, where, n, k, s


# ---- learning ------------------------------------------------------------------------------------------------------------
@compiled
def observe_target(totals, y, importance):
    """Take a target into the running mean, squared deviations and range (Welford, 1962)."""
    if importance == 0.0:
        return
    if totals[TARGET_SUM] == 0.0:
        totals[TARGET_MIN] = y
        totals[TARGET_MAX] = y
    totals[TARGET_SUM] += importance
    delta = y - totals[TARGET_MEAN]
    totals[TARGET_MEAN] += importance * delta / totals[TARGET_SUM]
    totals[TARGET_SQUARES] += importance * delta * (y - totals[TARGET_MEAN])
    totals[TARGET_MIN] = min(totals[TARGET_MIN], y)
    totals[TARGET_MAX] = max(totals[TARGET_MAX], y)


@compiled
def target_deviation(totals):
    """Return the standard deviation of the targets seen, 1 while there is none."""
    if totals[TARGET_SQUARES] > 0.0:
        return math.sqrt(totals[TARGET_SQUARES] / totals[TARGET_SUM])
    return 1.0


@compiled
def regress(totals, s):
    """Return the prediction of a regression: the score in the targets' units, within the range seen."""
    p = totals[TARGET_MEAN] + target_deviation(totals) * s
    return min(max(p, totals[TARGET_MIN]), totals[TARGET_MAX])


@inlined
def observe(loss, totals, s, y, importance):
    """Count the loss of a score and of the best constant so far, take in the target; return the target to learn.

    That is the target itself, or in a regression the standardised one.
    """
    if loss == losses.SQUARED:
        error = regress(totals, s) - y
        totals[LOSS_SUM] += importance * error * error
        error = totals[TARGET_MEAN] - y
        totals[CONSTANT_LOSS_SUM] += importance * error * error
        observe_target(totals, y, importance)
        return (y - totals[TARGET_MEAN]) / target_deviation(totals)
    totals[LOSS_SUM] += importance * value(loss, s, y)
    positive = 0.5 * (1.0 + totals[TARGET_MEAN]) * totals[TARGET_SUM]
    p = (positive + 1.0) / (totals[TARGET_SUM] + 2.0)
    if loss == losses.LOGISTIC:
        totals[CONSTANT_LOSS_SUM] -= importance * math.log(p if y > 0.0 else 1.0 - p)
    elif (p >= 0.5) != (y > 0.0):
        totals[CONSTANT_LOSS_SUM] += 2.0 * importance
    observe_target(totals, y, importance)
    return y


@inlined
def update_experts(n, loss, y, importance, rates, decays, store, scratch, totals, scores, updating):
    """AdaGrad with importance-aware steps, every expert on the gradient at its own score.

    ``G <- decay G + (g u)^2``, ``r = u / (0.1 + sqrt G)``, doubled for the constant, which comes last; then
    ``w += h rate c r`` where ``h`` is the loss's importance-aware step over the distance ``q = rate c sum r u``, and
    ``c = sqrt(t / N)`` (Duchi, Hazan, Singer, 2011, "Adaptive subgradient methods"; Ross, Mineiro, Langford, 2013,
    "Normalized online learning", for c). ``slopes`` holds ``g`` on entry.
    """
    rows = store[1]
    bases, us = scratch[4], scratch[6]
    slopes, paths, steps = updating
    n_rates = np.uint64(len(rates))
    squares = WEIGHTS + n_rates
    c = math.sqrt((totals[EXAMPLES] + 1.0) / totals[SCALE_SUM])
    last = np.uint64(n - 1)
    for k in range(n_rates):
        paths[k] = 0.0
    for i in range(np.uint64(n)):
        base = bases[i] + squares
        u = us[i]
        at = i * n_rates
        for k in range(n_rates):
            gu = slopes[k] * u
            G = decays[k] * rows[base + k] + gu * gu
            rows[base + k] = G
            r = u / (np.float32(0.1) + np.sqrt(G))
            if i == last:
                r += r
            steps[at + k] = r
            paths[k] += r * u
    for k in range(n_rates):
        rate = rates[np.int64(k)] * c
        q = rate * paths[k]
        slopes[k] = step(loss, scores[k], y, q, importance) * rate if q > 0.0 else 0.0
    for i in range(np.uint64(n)):
        base = bases[i] + WEIGHTS
        at = i * n_rates
        for k in range(n_rates):
            rows[base + k] += slopes[k] * steps[at + k]


@inlined
def update_mixer(loss, s, y, importance, rates, totals, mixer, mixing, n_inputs):
    """One step of an extended Kalman filter over the mixing weights, at the mixed score.

    With curvature H and error e of the loss: ``a += P v e / (1 + H v'Pv)``, ``P -= H (Pv)(Pv)' / (1 + H v'Pv)``, then a
    little is added to P's diagonal, so that the weights can follow a drift (Haykin, 2001, "Kalman filtering and neural
    networks", section 2.3). The hinge loss is smoothed into its square.
    """
    inputs, inputs_at, work = mixing
    if loss == losses.LOGISTIC:
        p = _logistic(s)
        curvature = max(p * (1.0 - p), 1e-3)
        error = (1.0 if y > 0.0 else 0.0) - p
    else:
        residual = 0.0 if loss == losses.HINGE and y * s >= 1.0 else y - s
        curvature = (1.0 + totals[IMPORTANCE_SUM]) / (1.0 + totals[RESIDUAL_SUM])
        error = curvature * residual
        totals[RESIDUAL_SUM] += importance * residual * residual
        if residual == 0.0:
            return
    curvature *= importance
    error *= importance
    n_active = experts_of(rates) + 1 + min(np.int64(totals[N_DENSE]), MAX_DIRECT)
    for i in range(n_active):
        pv = 0.0
        for j in range(n_inputs):
            pv += mixer[i, 1 + inputs_at[j]] * inputs[j]
        work[i] = pv
    vpv = 0.0
    for j in range(n_inputs):
        vpv += work[inputs_at[j]] * inputs[j]
    gain = 1.0 / (1.0 + curvature * vpv)
    for i in range(n_active):
        mixer[i, 0] += work[i] * error * gain
        f = curvature * gain * work[i]
        for j in range(n_active):
            mixer[i, 1 + j] -= f * work[j]
        mixer[i, 1 + i] += 1e-6 if i <= experts_of(rates) else 1e-5


@inlined
def learn_example(
    buffer, n, y, importance, loss, rates, decays, keys, store, totals, mixer, head, scratch, mixing, updating, scores
):  # fmt: skip
    """Predict one scanned example, then learn it; return the score it had before, in the target's units."""
    _, hashes, starts, lengths, bases, xs, us, _ = scratch
    slopes = updating[0]
    width = width_of(rates)
    if store[5][0] == 0:
        insert(buffer, 0, 0, keys[CONSTANT_HASH], 1.0, store, width)
    look_up(n, hashes, bases, store, width)
    n, k = prepare(n, True, rates, store, scratch, totals, mixing)
    bases[n] = NOTHING  # the constant: row 0, always 1
    us[n] = 1.0
    n += 1
    score_experts(n, rates, store, scratch, scores)
    scores[experts_of(rates) - 1] += head_score(n - 1, bases, us, store[1], head)
    s, n_inputs = combine(rates, scores, mixer, mixing, k)
    before = s
    if loss == losses.SQUARED:
        before = totals[TARGET_MEAN] + target_deviation(totals) * s
    y = observe(loss, totals, s, y, importance)

    square = 0.0
    for i in range(n):
        square += us[i] * us[i]
    totals[SCALE_SUM] += square
    moved = False
    for k in range(experts_of(rates)):
        slopes[k] = derivative(loss, scores[k], y) * math.sqrt(importance)
        moved = moved or slopes[k] != 0.0
    if moved:
        for i in range(n):
            if bases[i] == MISSING:
                bases[i] = insert(buffer, starts[i], lengths[i], hashes[i], xs[i], store, width)
        if head_size() > 0:
            slope = importance * derivative(loss, scores[len(rates)], y)
            head_learn(n - 1, slope, bases, us, store[1], head)
        if not head_alone():
            update_experts(n, loss, y, importance, rates, decays, store, scratch, totals, scores, updating)
    if mixes(rates):
        update_mixer(loss, s, y, importance, rates, totals, mixer, mixing, n_inputs)
    totals[EXAMPLES] += 1.0
    totals[IMPORTANCE_SUM] += importance
    return before


@compiled
def learn(
    buffer, position, stop, loss, rates, decays, keys, store, totals, mixer, head, scratch, mixing, updating, scores, results
):  # fmt: skip
    """Learn examples one after another, until the buffer or the room for results or for new features ends.

    Returns (examples done, next position, rows needed, bytes of names needed): the last two are 0 unless the next example
    needs more room than there is. ``results`` has for each example done: the score before
    learning; OK or why it was rejected; and where it ended, or (rejected) where what is wrong with it lies.
    """
    table, rows, _, _, names, sizes, dirty = store
    lengths = scratch[3]
    out_scores, out_codes, out_ends = results
    done = 0
    while position < stop and done < len(out_scores):
        code, where, n, y, importance = read_example(buffer, position, stop, loss, keys, store, scratch)
        end = where
        if code == OK:
            n_bytes = np.int64(0)
            for i in range(n):
                n_bytes += lengths[i]
            n_rows = sizes[0] + n + 1
            full = n_rows * np.int64(width_of(rates)) > len(rows) or 10 * n_rows > 7 * len(table)
            if full or sizes[1] + n_bytes + 2 * (n + 1) > len(names):
                return done, position, n + 1, n_bytes
            out_scores[done] = learn_example(
                buffer, n, y, importance, loss, rates, decays, keys, store, totals, mixer, head, scratch, mixing,
                updating, scores,
            )  # fmt: skip
            dirty[0] = 1  # the constant's row
        else:
            out_scores[done] = math.nan
            totals[REJECTED] += 1.0
            end = skip(buffer, position, stop)
            if end < 0:  # nothing after this can be told apart
                end = stop
        out_codes[done] = code
        out_ends[done] = where
        position = end
        done += 1
    return done, position, 0, np.int64(0)
