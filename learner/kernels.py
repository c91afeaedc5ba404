"""The compiled loops: from msgpack bytes to scores and updated weights, with no Python object a feature.

This is the only module that imports numba. With ``NUMBA_DISABLE_JIT=1`` the same functions run as plain Python, so tests can
step through them. Every function works on plain arrays, described in `learner.weights` (the dict) and `learner.linear`
(the learner); `learner.linear` calls three of them: `learn`, `predict` and `rebuild`.

An example is a msgpack array ``[target, {name: value}]`` or ``[target, {name: value}, importance]``. It is scanned and
checked as a whole before anything is changed, so that an example that can't be learned leaves no trace. In place of the map
there may be an array of values, whose names are their positions: `scan_array` reads it, and no name is hashed again.
"""

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config, njit, types
from numba.extending import intrinsic

from learner import layout, losses, optimizers
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
    BAYES,
    BAYES_SQUARES,
    BINS,
    BITS_A_SIGHTING,
    CELLS,
    CLASS,
    CONSTANT_HASH,
    CONSTANT_LOSS_SUM,
    CONSTANT_ROW,
    CROSSES,
    DENSE_SLOTS,
    DERIVED_SUM,
    EVICTED_SHARE,
    EXAMPLES,
    IMPORTANCE_SUM,
    KALMAN,
    KEY_BLOCK,
    LABEL_NEGATIVE,
    LABEL_POSITIVE,
    LOSS_SUM,
    MAX_BINNED,
    MAX_CELLS,
    MAX_DENSE,
    MAX_DERIVED,
    MAX_FEATURES,
    MAX_IMPORTANCE,
    MAX_NAME_BYTES,
    MAX_NUMBER,
    MIN_CROSSED,
    MIN_CROSSED_SHARE,
    MIN_NUMBER,
    MIN_ROWS_SWEPT,
    N_BINS,
    N_CELL_BINS,
    N_CROSSED,
    N_DENSE,
    N_SAMPLES,
    N_TRENDS,
    NEW_CLASS,
    NEWTON,
    OK,
    POSITION_HASHES,
    QUANTILE,
    REFUSED,
    REJECTED,
    RESIDUAL_SUM,
    SCALE_SUM,
    SIGHTINGS,
    SPARSE,
    SWEPT_ROWS,
    TARGET_MAX,
    TARGET_MEAN,
    TARGET_MIN,
    TARGET_SQUARES,
    TARGET_SUM,
    TREND,
    TRENDS,
    UPDATES,
)
from learner.metrics import (
    ABSOLUTE,
    CALIBRATION,
    CONSTANT_ABSOLUTE,
    CONSTANT_CORRECT,
    CONSTANT_COVERED,
    CONSTANT_DEVIANCE,
    CONSTANT_LOG_LOSS,
    CONSTANT_PINBALL,
    CONSTANT_SQUARED,
    CORRECT,
    COVERED,
    CURRENT,
    DEVIANCE,
    HALF_WINDOW,
    LOG_LOSS,
    MAX_SCORE,
    N_CALIBRATION,
    N_SCORES,
    NEGATIVES,
    OLDER,
    PINBALL,
    POSITIVES,
    PREVIOUS,
    SQUARES,
    WEIGHT,
)
from learner.metrics import MEAN as ROW_MEAN
from learner.metrics import SQUARED as SQUARED_ERRORS
from learner.metrics import N as N_EVALUATED

# Arrays are indexed by uint64: a signed index would be tested for being negative at every access.
ONE, MASK32 = np.uint64(1), np.uint64(0xFFFFFFFF)
HALF, NOTHING, MISSING = np.uint64(32), np.uint64(0), np.uint64((1 << 64) - 1)
SCALE, COUNT, MEAN, DEVIATION = (
    np.uint64(word) for word in (layout.SCALE, layout.COUNT, layout.MEAN, layout.DEVIATION)
)
HASH, NAME, DENSE, WEIGHTS = (np.uint64(word) for word in (layout.HASH, layout.NAME, layout.DENSE, layout.HEADER))
DERIVED, PLACE_MASK, CLASS_SHIFT = (np.uint32(word) for word in (layout.DERIVED, layout.PLACE_MASK, layout.CLASS_SHIFT))
THREE, SEVEN = np.uint64(3), np.uint64(7)

JIT = not config.DISABLE_JIT


VARIANCE, CONSTANT_VARIANCE = 0.15, 1.0  # of the Kalman expert's weights before their first example
MAX_RELATIVE_COUNT = 1e6  # a count is learned as at most so many times the mean
TREND_SHARES = np.array([1.0, 1.0 / 5.0, 1.0 / 50.0])  # of the newest target in the recent means


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

    @inlined
    def blend(a: Any, b: Any) -> Any:
        """Return the hash of two hashes, in order, never 0."""
        return max(spread(spread(a) + b), ONE)

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

    def blend(a: Any, b: Any) -> Any:
        """Return the hash of two hashes, in order, never 0."""
        return max(spread(int(spread(a)) + int(b) & (1 << 64) - 1), ONE)


@compiled
def blend_hashes(a, b):
    """Return `blend`, for callers that are not compiled."""
    return blend(a, b)


# ---- losses: the scalar functions of learner.losses; `loss` is the code that chooses them, and the level of a quantile ----
_squared_value = compiled(losses.squared_value)
_squared_derivative = compiled(losses.squared_derivative)
_squared_step = compiled(losses.squared_step)
_logistic_value = compiled(losses.logistic_value)
_logistic_derivative = compiled(losses.logistic_derivative)
_logistic_step = compiled(losses.logistic_step)
_hinge_value = compiled(losses.hinge_value)
_hinge_derivative = compiled(losses.hinge_derivative)
_hinge_step = compiled(losses.hinge_step)
_quantile_value = compiled(losses.quantile_value)
_quantile_derivative = compiled(losses.quantile_derivative)
_quantile_step = compiled(losses.quantile_step)
_poisson_value = compiled(losses.poisson_value)
_poisson_derivative = compiled(losses.poisson_derivative)
_poisson_step = compiled(losses.poisson_step)
_logistic = compiled(losses.logistic)

LOGISTIC = (losses.LOGISTIC, 0.5)  # as `loss`


@inlined
def is_binary(loss):
    """Tell whether the targets are -1 and +1."""
    return loss[0] == losses.LOGISTIC or loss[0] == losses.HINGE


@inlined
def is_standardised(loss):
    """Tell whether targets are learned less their mean, over their deviation."""
    return loss[0] == losses.SQUARED or loss[0] == losses.QUANTILE


@compiled
def value(loss, s, y):
    """Return the loss of a score."""
    if loss[0] == losses.LOGISTIC:
        return _logistic_value(s, y)
    if loss[0] == losses.SQUARED:
        return _squared_value(s, y)
    if loss[0] == losses.HINGE:
        return _hinge_value(s, y)
    if loss[0] == losses.QUANTILE:
        return _quantile_value(s, y, loss[1])
    return _poisson_value(s, y)


@compiled
def derivative(loss, s, y):
    """Return d loss / d score."""
    if loss[0] == losses.LOGISTIC:
        return _logistic_derivative(s, y)
    if loss[0] == losses.SQUARED:
        return _squared_derivative(s, y)
    if loss[0] == losses.HINGE:
        return _hinge_derivative(s, y)
    if loss[0] == losses.QUANTILE:
        return _quantile_derivative(s, y, loss[1])
    return _poisson_derivative(s, y)


@compiled
def step(loss, s, y, q, importance):
    """Return the importance-aware step."""
    if loss[0] == losses.LOGISTIC:
        return _logistic_step(s, y, q, importance)
    if loss[0] == losses.SQUARED:
        return _squared_step(s, y, q, importance)
    if loss[0] == losses.HINGE:
        return _hinge_step(s, y, q, importance)
    if loss[0] == losses.QUANTILE:
        return _quantile_step(s, y, q, importance, loss[1])
    return _poisson_step(s, y, q, importance)


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


# ---- how many experts there are: constants once compiled, since `rates` is a tuple ----------------------------------------
@inlined
def mixture(rates):
    """Tell whether there is more than one rate, and so all that goes with several."""
    return len(rates) > 1


@inlined
def linear_experts(rates):
    """Return how many linear experts score the features: AdaGrad's, and in a mixture Kalman's and Bayes's."""
    return len(rates) + (2 if mixture(rates) else 0)


@inlined
def experts_of(rates):
    """Return how many experts score the features: the linear ones and the head, which comes last."""
    return linear_experts(rates) + (1 if head_size() > 0 else 0)


@inlined
def derived_experts(rates):
    """Return how many experts score the derived features: AdaGrad's and Kalman's."""
    return len(rates) + 1 if mixture(rates) else 0


@inlined
def mixes(rates):
    """Tell whether there are several experts to mix."""
    return experts_of(rates) > 1 and not head_alone()


@inlined
def width_of(rates):
    """Return the float32s in a row."""
    n = 2 * len(rates) + (4 if mixture(rates) else 0)
    return np.uint64((layout.HEADER + n + head_size() + 15) // 16 * 16)


@inlined
def kalman_at(rates):
    """Return where in a row the Kalman expert's weight lies; its variance and the Bayes expert's two sums follow."""
    return WEIGHTS + np.uint64(2 * len(rates))


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
def write_digits(names, at, length, position):
    """Write the name of a position, its so many decimal digits, into an array of bytes."""
    for i in range(at + length - 1, at - 1, -1):
        names[i] = 48 + position % 10
        position //= 10


@compiled
def insert(buffer, start, length, h, x, rates, store):
    """Give a new feature its row, its entry in the table and its name; the caller has made room. Return its row."""
    table, rows, words64, words32, names, sizes, dirty = store
    slot = np.uint64(sizes[0])
    arena = sizes[1]
    sizes[0] += 1
    sizes[1] += length + 2
    names[arena] = length & 255
    names[arena + 1] = length >> 8
    if start < 0:  # of an array
        write_digits(names, arena + 2, length, -1 - start)
    else:
        for i in range(length):
            names[arena + 2 + i] = buffer[start + i]
    base = slot * width_of(rates)
    rows[base + SCALE] = abs(x)
    words32[base + COUNT] = 1
    rows[base + MEAN] = x
    words64[(base >> ONE) + HASH] = h
    words32[base + NAME] = arena
    if mixture(rates):
        rows[base + kalman_at(rates) + ONE] = CONSTANT_VARIANCE if length == 0 else VARIANCE
    head_start(base, h, rows)
    enter(table, h, slot)
    dirty[slot] = 1
    return base


@inlined
def insert_derived(h, first, second, bins, rates, store):
    """Give a derived feature its row and its entry in the table; its name is made of its parts when somebody asks."""
    table, rows, words64, words32, _, sizes, dirty = store
    slot = np.uint64(sizes[0])
    sizes[0] += 1
    base = slot * width_of(rates)
    rows[base + SCALE] = 1.0
    words32[base + COUNT] = 1
    words32[base + MEAN] = second
    words64[(base >> ONE) + HASH] = h
    words32[base + NAME] = first
    words32[base + DENSE] = DERIVED | bins
    rows[base + kalman_at(rates) + ONE] = VARIANCE
    enter(table, h, slot)
    dirty[slot] = 1
    return base


# ---- bounded memory ------------------------------------------------------------------------------------------------------
@compiled
def admitted(h, n_bytes, store, totals, sketch):
    """Tell whether a new feature is to be stored; count it as seen, or refused.

    It is until the last tenth of the rows, or of the bytes of names, that there may be; then only when its name was seen
    before, lately, and there is room. Names seen are kept in a sketch of two bits each (Bloom, 1970, "Space/time trade-offs in
    hash coding with allowable errors"), emptied before an eighth of them is set: half a percent of names seem seen that are
    not (Einziger, Friedman, 2017, "TinyLFU: a highly efficient cache admission policy", for such a doorkeeper). Where the
    bits of a name are, nobody knows outside the model: its hash is keyed.
    """
    sizes = store[5]
    rows_free, bytes_free = sizes[2] - sizes[0], sizes[3] - sizes[1]
    if rows_free <= sizes[2] // EVICTED_SHARE or bytes_free <= sizes[3] // EVICTED_SHARE:
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
    if rows_free == 0 or n_bytes + 2 > bytes_free:
        totals[REFUSED] += 1.0
        return False
    return True


@inlined
def wants_sweep(parts, store, totals, sketch):
    """Tell whether rows should be dropped before the next example: by what was learned only, not by the room there is.

    That is when no more fit, but for features that can't be dropped; with L1 when the rows have doubled since the last time.
    """
    sizes = store[5]
    if len(sketch) > 0 and sizes[0] > totals[SWEPT_ROWS]:
        return sizes[0] == sizes[2] or sizes[1] + MAX_NAME_BYTES + 2 > sizes[3]
    return parts & SPARSE != 0 and sizes[0] >= max(2.0 * totals[SWEPT_ROWS], np.float64(MIN_ROWS_SWEPT))


@inlined
def room_needed(n, n_derived, lengths, store):
    """Return the rows and the bytes of names that there are after an example of so many features, at most."""
    sizes = store[5]
    n_bytes = np.int64(0)
    for i in range(n):
        n_bytes += lengths[i]
    return min(sizes[0] + n + 1 + n_derived, sizes[2]), min(sizes[1] + n_bytes + 2 * (n + 1), sizes[3])


@compiled
def compact(keep, slots, rows, words32, names, sizes, width):
    """Move the rows to keep, and their names, together, in order; write where each went, or -1, into ``slots``.

    Derived features go with the features they are made of. The rows after the last one become zero.
    """
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
        if not is_binary(loss):
            fits = abs(y) <= MAX_NUMBER and (loss[0] != losses.POISSON or y >= 0.0)
            return (OK if fits else BAD_TARGET), y, after
        if y == 1.0:
            return OK, 1.0, after
        if y == 0.0 or y == -1.0:
            return OK, -1.0, after
        return BAD_TARGET, y, after
    length, start = read_string(buffer, position, stop)
    if length == -2:
        return BAD_FRAMING, 0.0, position
    if length >= 0 and length <= MAX_NAME_BYTES and is_binary(loss):
        h, _ = hash_name(buffer, start, length, keys)
        if h == keys[LABEL_POSITIVE]:
            return OK, 1.0, start + length
        if h == keys[LABEL_NEGATIVE]:
            return OK, -1.0, start + length
    return BAD_TARGET, 0.0, position


@compiled
def digits_of(position):
    """Return how many decimal digits a position has, below 10,000."""
    return 1 + (position > 9) + (position > 99) + (position > 999)


@compiled
def hash_positions(n, keys):
    """Write the hashes of the names of the first positions, "0", "1", ..., into the keys."""
    name = np.zeros(8, np.uint8)
    for p in range(n):
        length = digits_of(p)
        write_digits(name, 0, length, p)
        keys[POSITION_HASHES + p], _ = hash_name(name, 0, length, keys)


@compiled
def read_array(buffer, position, stop):
    """Return (bytes a value, values, where they start) of an array of features, a msgpack extension of type 4 or 8.

    The bytes a value are 0 for something else, -1 when it is cut off.
    """
    c = np.int64(buffer[position])
    position += 1
    if 0xD4 <= c <= 0xD8:  # of 1, 2, 4, 8 or 16 bytes
        length = np.int64(1) << (c - 0xD4)
    elif 0xC7 <= c <= 0xC9:
        n = 1 << (c - 0xC7)
        if position + n > stop:
            return np.int64(-1), np.int64(0), position
        length = np.int64(big_endian(buffer, position, n))
        position += n
    else:
        return np.int64(0), np.int64(0), position
    if position + 1 + length > stop:
        return np.int64(-1), np.int64(0), position
    width = np.int64(buffer[position])
    if (width != 4 and width != 8) or length % width != 0:
        return np.int64(0), np.int64(0), position
    return width, length // width, position + 1


@compiled
def scan_array(buffer, start, stop, keys, scratch):
    """Read an array of features and check all of it, as `scan` does a map: a value's name is its position, "0", "1", ...

    ``starts[:n]`` are ``-1 - p`` for position p, since the names lie nowhere. Their hashes were computed once a model.
    """
    _, hashes, starts, lengths, _, xs, _, _ = scratch
    width, size, position = read_array(buffer, start, stop)
    if width <= 0:
        return (BAD_FRAMING if width < 0 else BAD_MAP), start, 0
    if size > MAX_FEATURES:
        return BAD_WIDTH, start, 0
    if size > 0 and keys[POSITION_HASHES + size - 1] == NOTHING:
        hash_positions(size, keys)
    n = 0
    for p in range(size):
        if width == 8:
            word = load(buffer, position)
            x = float64_of(word)
        else:
            whole = position + 8 <= len(buffer)
            word = load(buffer, position) & MASK32 if whole else swap(big_endian(buffer, position, 4)) >> HALF
            x = float32_of(word)
        position += width
        if word == NOTHING:
            continue
        if not abs(x) <= MAX_NUMBER:
            return BAD_VALUE_FINITE, start, 0
        if abs(x) >= MIN_NUMBER:
            at = np.uint64(n)
            hashes[at] = keys[np.uint64(POSITION_HASHES + p)]
            starts[at] = -1 - p
            lengths[at] = digits_of(p)
            xs[at] = x
            n += 1
    return OK, position, n


@inlined
def scan(buffer, position, stop, keys, store, scratch):
    """Read a map of features (or an array of them: see `scan_array`) and check all of it.

    Returns (code, where, n): ``hashes[:n]`` the names' hashes, ``starts[:n]`` and ``lengths[:n]`` where the names lie and
    ``xs[:n]`` the values; zero values are left out. ``where`` is the next position, or that of what is wrong.
    """
    table = store[0]
    seen, hashes, starts, lengths, _, xs, _, _ = scratch
    start = position
    size, position = read_size(buffer, position, stop, 0x80, 0xDE)
    if size == -1:
        return scan_array(buffer, start, stop, keys, scratch)
    if size < 0:
        return BAD_FRAMING, start, 0
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
def prepare(n, learning, rates, parts, store, scratch, deriving, totals):
    """Bring values onto their features' own scales: ``us[:n]`` in [-1, 1], and make sure of their rows; return n.

    Dense features, those of varying values that more than half of the examples had, are centred, and one that is left out of
    this example is added with its value, 0: the score stays linear in what the example says. When learning, the values are
    taken into the features' statistics. What comes after is left behind: the values of the first dense features and the most
    frequent of the others, for `derive`; and which features are to become dense, for `promote`.
    """
    _, rows, words64, words32, _, _, dirty = store
    _, hashes, _, _, bases, xs, us, present = scratch
    values, tops, counts, zs, promoted = deriving[4], deriving[5], deriving[6], deriving[8], deriving[9]
    width = width_of(rates)
    half_of_examples = 0.5 * totals[EXAMPLES]
    frequent = max(np.float64(MIN_CROSSED), MIN_CROSSED_SHARE * totals[EXAMPLES])
    n_dense = np.int64(totals[N_DENSE])
    present[: n_dense + 1] = 0
    values[:] = 0.0
    zs[:] = 0.0
    zs[0] = 1.0
    tops[0] = MISSING  # ends the list
    n_tops = n_promoted = np.uint64(0)
    crosses = mixture(rates) and parts & CROSSES != 0
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
        dense = np.int64(words32[base + DENSE] & PLACE_MASK)
        if crosses and count >= frequent and dense == 0:
            n_tops = keep_frequent(base, count, n_tops, tops, counts)
        mean = np.float64(rows[base + MEAN])
        deviation = np.float64(rows[base + DEVIATION])
        if deviation == 0.0 and np.float32(x) == rows[base + MEAN]:  # it has had this one value only: an indicator
            us[i] = 1.0 if x > 0.0 else -1.0
            continue
        present[dense] = 1
        if count > 8.0:  # a rare huge value must not stretch the scale
            bound = abs(mean) + 15.0 * deviation if deviation > 0.0 else 4.0 * abs(mean)
            x = min(max(x, -bound), bound)
        v = x
        if deviation > 0.0 and count > half_of_examples:  # dense: centred
            v = x - mean
            if count >= 8.0 and dense == 0 and learning:
                promoted[n_promoted] = base
                n_promoted += ONE
            if 0 < dense <= MAX_BINNED:
                zs[dense] = min(max(v / deviation, -8.0), 8.0)
        if 0 < dense <= MAX_BINNED:
            values[dense] = x
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
            if dense <= MAX_BINNED:
                zs[dense] = min(max(v / deviation, -8.0), 8.0)
            if learning:
                dirty[base // width] = 1
            n += 1
    if n_tops < np.uint64(N_CROSSED):
        tops[n_tops] = MISSING
    promoted[n_promoted] = MISSING  # ends the list
    return n


@inlined
def promote(rates, store, deriving, totals):
    """Give the features that `prepare` found to be dense their places; only once the example is scored without."""
    words32, promoted = store[3], deriving[9]
    i = np.uint64(0)
    while promoted[i] != MISSING and totals[N_DENSE] < MAX_DENSE:
        totals[N_DENSE] += 1.0
        totals[DENSE_SLOTS + np.int64(totals[N_DENSE])] = promoted[i] // width_of(rates)
        words32[promoted[i] + DENSE] |= np.uint32(totals[N_DENSE])
        i += ONE


# ---- derived features ----------------------------------------------------------------------------------------------------
@inlined
def keep_frequent(base, count, n, tops, counts):
    """Take a row into the list of the most frequent, the first ones first; return how many are in it."""
    if n < np.uint64(N_CROSSED):
        at = n
        n += ONE
    elif counts[N_CROSSED - 1] >= count:
        return n
    else:
        at = np.uint64(N_CROSSED - 1)
    while at > NOTHING and counts[at - ONE] < count:
        tops[at] = tops[at - ONE]
        counts[at] = counts[at - ONE]
        at -= ONE
    tops[at] = base
    counts[at] = count
    return n


@inlined
def bin_of(x, sample, n_bins):
    """Return the bin of a value, from 1: how many of the bounds, quantiles of the sample, are not above it, and 1."""
    place = 1
    for j in range(1, n_bins):
        if x >= sample[2 + j * N_SAMPLES // n_bins]:
            place += 1
        else:
            break
    return np.uint64(place)


@compiled
def take_sample(x, sample):
    """Take a value into a sample; sort it and count the bounds that differ when it is complete."""
    at = 2 + np.int64(sample[0])
    x = np.float32(x)
    while at > 2 and sample[at - 1] > x:
        sample[at] = sample[at - 1]
        at -= 1
    sample[at] = x
    sample[0] += 1.0
    if sample[0] == N_SAMPLES:
        bound = sample[2]
        for j in range(1, N_BINS):
            if sample[2 + j * N_SAMPLES // N_BINS] > bound:
                bound = sample[2 + j * N_SAMPLES // N_BINS]
                sample[1] += 1.0


@inlined
def derive(parts, learning, rates, store, deriving, totals):
    """Make the derived features of an example, all of value 1; return how many.

    Piecewise constant functions of the numbers, in bins between quantiles of their first values ("x in [a, b)"); of pairs of
    the first numbers, in cells ("x in [a, b) and y in [c, d)"); and pairs of the most frequent other features ("a and b").
    ``hashes[:n]`` are theirs, ``bases[:n]`` where their rows start or MISSING, ``made[:, :n]`` their parts: the slots of two
    features and their bins.
    """
    _, _, words64, words32, _, _, dirty = store
    samples, hashes, bases, made, values, tops, _, _, _, _ = deriving
    width = width_of(rates)
    n = np.uint64(0)
    n_binned = min(np.int64(totals[N_DENSE]), MAX_BINNED)
    for dense in range(1, n_binned + 1):
        sample = samples[dense - 1]
        x = np.float32(values[dense])
        if sample[0] < N_SAMPLES:
            if learning:
                take_sample(x, sample)
            continue
        slot = np.uint64(totals[DENSE_SLOTS + dense])
        h = words64[(slot * width >> ONE) + HASH]
        if parts & BINS and sample[1] > 1.0:
            place = bin_of(x, sample, N_BINS)
            hashes[n] = blend(h, place)
            made[0, n], made[1, n], made[2, n] = slot, slot, place
            n += ONE
        if parts & CELLS and dense <= MAX_CELLS and sample[1] > 0.0:
            place = bin_of(x, sample, N_CELL_BINS)
            mine = blend(h, place + np.uint64(64))
            for other in range(1, dense):
                if samples[other - 1, 0] == N_SAMPLES and samples[other - 1, 1] > 0.0:
                    slot2 = np.uint64(totals[DENSE_SLOTS + other])
                    place2 = bin_of(np.float32(values[other]), samples[other - 1], N_CELL_BINS)
                    hashes[n] = blend(mine, blend(words64[(slot2 * width >> ONE) + HASH], place2 + np.uint64(64)))
                    made[0, n], made[1, n], made[2, n] = slot, slot2, place | place2 << np.uint64(8)
                    n += ONE
    if parts & CROSSES:
        for i in range(np.uint64(N_CROSSED)):
            if tops[i] == MISSING:
                break
            for j in range(i):
                first, second = min(tops[i], tops[j]), max(tops[i], tops[j])
                hashes[n] = blend(words64[(first >> ONE) + HASH], words64[(second >> ONE) + HASH])
                made[0, n], made[1, n], made[2, n] = first // width, second // width, NOTHING
                n += ONE
    look_up(n, hashes, bases, store, width)
    for i in range(n):
        base = bases[i]
        if base != MISSING and words64[(base >> ONE) + HASH] != hashes[i]:
            base = find(store, hashes[i], width)
            bases[i] = base
        if learning and base != MISSING:
            words32[base + COUNT] += 1
            dirty[base // width] = 1
    return n


# ---- scores --------------------------------------------------------------------------------------------------------------
@inlined
def is_zero(base, rates, rows):
    """Tell whether every expert with a gradient weighs a feature with exactly zero."""
    for k in range(np.uint64(len(rates))):
        if rows[base + WEIGHTS + k] != 0.0:
            return False
    return not mixture(rates) or rows[base + kalman_at(rates)] == 0.0


@inlined
def score_experts(n, parts, rates, store, scratch, totals, scores):
    """Write the score ``w . u`` of every expert of the features into ``scores``; features without a row weigh nothing.

    The Bayes expert's weight of a feature is its log odds ratio, ``log((n+ + p) / (n- + 1 - p)) - log(P / N)``, where n+ and n-
    are the importances of positive and negative examples that had it, P and N those of all examples, and p = P / (P + N), all
    with one more of each (naive Bayes: Maron, 1961, "Automatic indexing"; Good, 1965, for the prior). It weighs nothing for
    centred numbers, and with L1 for features that all other experts weigh with zero. Its score is divided by the root mean
    square of those before, since it grows with the number of features.
    """
    _, rows, _, words32, _, _, _ = store
    bases, us = scratch[4], scratch[6]
    n_rates = np.uint64(len(rates))
    for k in range(experts_of(rates)):
        scores[k] = 0.0
    kalman = kalman_at(rates)
    bayes = mixture(rates) and parts & BAYES != 0
    sparse = parts & SPARSE != 0
    prior = other = odds = np.float32(1.0)
    if bayes:
        prior, other, odds = class_priors(totals)
    for i in range(np.uint64(n)):
        base = bases[i]
        if base != MISSING:
            u = us[i]
            for k in range(n_rates):
                scores[k] += rows[base + WEIGHTS + k] * u
            if mixture(rates):
                scores[n_rates] += rows[base + kalman] * u
                if bayes and words32[base + DENSE] & PLACE_MASK == 0 and not (sparse and is_zero(base, rates, rows)):
                    has, lacks = rows[base + kalman + np.uint64(2)], rows[base + kalman + np.uint64(3)]
                    if has + lacks > np.float32(0.0):
                        scores[n_rates + ONE] += np.log((has + prior) / (lacks + other) * odds) * u
    if bayes:
        scores[n_rates + ONE] *= bayes_scale(totals)


@inlined
def class_priors(totals):
    """Return the share of positives, of negatives, and the odds against a positive, with one more of each."""
    positive = 0.5 * (1.0 + totals[TARGET_MEAN]) * totals[TARGET_SUM] + 1.0
    negative = totals[TARGET_SUM] + 2.0 - positive
    prior = np.float32(positive / (positive + negative))
    return prior, np.float32(1.0) - prior, np.float32(negative / positive)


@compiled
def bayes_weights(totals, matrix, at):
    """Return the Bayes expert's weights of rows, whose sums lie at a column and the next; see `score_experts`."""
    prior, other, odds = class_priors(totals)
    weights = np.zeros(len(matrix))
    for i in range(len(matrix)):
        has, lacks = matrix[i, at], matrix[i, at + 1]
        if has + lacks > np.float32(0.0):
            weights[i] = np.log((has + prior) / (lacks + other) * odds)
    return weights


@inlined
def bayes_scale(totals):
    """Return what the Bayes expert's scores are multiplied by."""
    return 1.0 / math.sqrt(1.0 + totals[BAYES_SQUARES] / max(totals[IMPORTANCE_SUM], 1.0))


@inlined
def score_derived(n, rates, store, deriving, scores):
    """Write the scores of the derived features' experts behind the others."""
    rows, bases = store[1], deriving[2]
    n_rates = np.uint64(len(rates))
    first = np.uint64(experts_of(rates))
    for k in range(derived_experts(rates)):
        scores[first + np.uint64(k)] = 0.0
    for i in range(n):
        base = bases[i]
        if base != MISSING:
            for k in range(n_rates):
                scores[first + k] += rows[base + WEIGHTS + k]
            scores[first + n_rates] += rows[base + kalman_at(rates)]


@inlined
def score_newton(parts, rates, newton, deriving, totals, scores):
    """Write the score of the full-matrix filter over the first dense numbers behind the others."""
    zs = deriving[8]
    s = 0.0
    if parts & NEWTON:
        for i in range(1 + min(np.int64(totals[N_DENSE]), MAX_BINNED)):
            s += newton[i, 0] * zs[i]
    scores[experts_of(rates) + derived_experts(rates)] = s


@inlined
def combine(parts, rates, scores, totals, mixer, mixing):
    """Make the mixer's inputs v of the experts' scores, a 1 and the trends; return the mixed score ``a . v``.

    One expert alone is not mixed.
    """
    if not mixes(rates):
        return scores[experts_of(rates) - 1]
    inputs = mixing[0]
    n = experts_of(rates) + derived_experts(rates) + (1 if mixture(rates) else 0)
    for k in range(n):
        inputs[k] = scores[k]
    inputs[n] = 1.0
    if mixture(rates):
        for k in range(N_TRENDS):
            inputs[n + 1 + k] = totals[TREND + k] if parts & TRENDS else 0.0
    s = 0.0
    for i in range(len(mixer)):
        s += mixer[i, 0] * inputs[i]
    return s


@inlined
def salt(n, hashes, salted, totals):
    """Write the hashes under which a class of a multi-class model has the features."""
    k = np.uint64(totals[CLASS])
    for i in range(np.uint64(n)):
        salted[i] = blend(hashes[i], k)


@inlined
def score_example(n, learning, parts, rates, store, totals, mixer, newton, head, scratch, deriving, mixing, scores):
    """Score one scanned example; return (features without the constant, derived features, score)."""
    bases, us = scratch[4], scratch[6]
    look_up(n, scratch[1], bases, store, width_of(rates))
    n = prepare(n, learning, rates, parts, store, scratch, deriving, totals)
    bases[n] = (np.uint64(totals[CONSTANT_ROW]) - ONE) * width_of(rates) if totals[CONSTANT_ROW] > 0.0 else MISSING
    us[n] = 1.0  # the constant
    n_derived = np.uint64(0)
    score_experts(n + 1, parts, rates, store, scratch, totals, scores)
    if mixture(rates) and not head_alone():
        n_derived = derive(parts, learning, rates, store, deriving, totals)
        score_derived(n_derived, rates, store, deriving, scores)
        score_newton(parts, rates, newton, deriving, totals, scores)
    if head_size() > 0:
        scores[experts_of(rates) - 1] = head_score(n, bases, us, store[1], head)
    return n, n_derived, combine(parts, rates, scores, totals, mixer, mixing)


@compiled
def predict(
    buffer, position, stop, parts, rates, keys, store, totals, mixer, newton, head, scratch, deriving, mixing, scores
):
    """Score one map of features, changing nothing; return (code, where, features, derived features, score).

    Leaves in the scratch arrays what `learner.linear` explains the score with.
    """
    code, where, n = scan(buffer, position, stop, keys, store, scratch)
    if code != OK:
        return code, where, 0, np.uint64(0), 0.0
    if totals[CLASS] > 0.0:
        salt(n, scratch[1], scratch[1], totals)
    n, n_derived, s = score_example(
        n, False, parts, rates, store, totals, mixer, newton, head, scratch, deriving, mixing, scores
    )
    return OK, where, n, n_derived, s


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
def expected_count(totals):
    """Return the mean of the counts seen and of one of 1, so that it is above 0: (sum + 1) / (importances + 1)."""
    return (totals[TARGET_MEAN] * totals[TARGET_SUM] + 1.0) / (totals[TARGET_SUM] + 1.0)


@compiled
def unit_and_offset(loss, totals):
    """Return what a mixed score is multiplied by, and what is then added, to make it a score in the targets' units.

    That of a count is the logarithm of the rate; the mixture's is relative to the mean.
    """
    if is_standardised(loss):
        return target_deviation(totals), totals[TARGET_MEAN]
    if loss[0] == losses.POISSON:
        return 1.0, math.log(expected_count(totals))
    return 1.0, 0.0


@compiled
def within_targets(loss, totals, s):
    """Return a score within the range of the targets seen; of a log rate only the upper bound, at least the mean, counts."""
    if loss[0] == losses.POISSON:
        return min(s, math.log(max(totals[TARGET_MAX], expected_count(totals))))
    return min(max(s, totals[TARGET_MIN]), totals[TARGET_MAX])


@compiled
def deviance(totals, s, y):
    """Return the Poisson deviance of a log rate, computed relative to the mean."""
    mean = expected_count(totals)
    return mean * _poisson_value(s - math.log(mean), y / mean)


@compiled
def follow_quantile(loss, totals, y, importance):
    """Take a target into the running estimate of the quantile, which the constant's loss is that of.

    Stochastic approximation (Robbins, Monro, 1951): a step of 1 / (n f) along the slope, where f is a quarter of the density
    at the quantile of an asymmetric Laplace distribution of the same mean loss L, ``level (1 - level) / L``: too long a step
    costs little, one too short never arrives where the targets drift.
    """
    if importance == 0.0:
        return
    if totals[TARGET_SUM] == importance:
        totals[QUANTILE] = y
        return
    f = 0.25 * loss[1] * (1.0 - loss[1])
    gain = totals[CONSTANT_LOSS_SUM] / totals[TARGET_SUM] / f * (importance / totals[TARGET_SUM])
    q = totals[QUANTILE] - gain * _quantile_derivative(totals[QUANTILE], y, loss[1])
    totals[QUANTILE] = min(max(q, totals[TARGET_MIN]), totals[TARGET_MAX])


@inlined
def observe(loss, totals, s, y, importance):
    """Count the loss of a score and of the best constant so far, take in the target; return the target to learn.

    That is the target itself, in a regression the standardised one, of a count the one relative to the mean; the score is in
    the target's units.
    """
    if loss[0] == losses.POISSON:
        totals[LOSS_SUM] += importance * deviance(totals, within_targets(loss, totals, s), y)
        totals[CONSTANT_LOSS_SUM] += importance * deviance(totals, math.log(expected_count(totals)), y)
        observe_target(totals, y, importance)
        return min(y / expected_count(totals), MAX_RELATIVE_COUNT)
    if is_standardised(loss):
        constant = totals[QUANTILE] if loss[0] == losses.QUANTILE else totals[TARGET_MEAN]
        totals[LOSS_SUM] += importance * value(loss, within_targets(loss, totals, s), y)
        totals[CONSTANT_LOSS_SUM] += importance * value(loss, constant, y)
        observe_target(totals, y, importance)
        if loss[0] == losses.QUANTILE:
            follow_quantile(loss, totals, y, importance)
        return (y - totals[TARGET_MEAN]) / target_deviation(totals)
    totals[LOSS_SUM] += importance * value(loss, s, y)
    positive = 0.5 * (1.0 + totals[TARGET_MEAN]) * totals[TARGET_SUM]
    p = (positive + 1.0) / (totals[TARGET_SUM] + 2.0)
    if loss[0] == losses.LOGISTIC:
        totals[CONSTANT_LOSS_SUM] -= importance * math.log(p if y > 0.0 else 1.0 - p)
    elif (p >= 0.5) != (y > 0.0):
        totals[CONSTANT_LOSS_SUM] += 2.0 * importance
    observe_target(totals, y, importance)
    return y


# ---- progressive evaluation: see learner.metrics -------------------------------------------------------------------------
@compiled
def move_up(loss, metrics):
    """Begin a new half of the window: the older half's sums go to those of all examples before."""
    older, previous = metrics[OLDER], metrics[PREVIOUS]
    if loss[0] == losses.SQUARED and previous[WEIGHT] > 0.0:  # mean and squared deviations of both (Chan et al., 1979)
        weight = older[WEIGHT] + previous[WEIGHT]
        delta = previous[ROW_MEAN] - older[ROW_MEAN]
        share = previous[WEIGHT] / weight
        mean = older[ROW_MEAN] + delta * share
        older[SQUARES] += delta * delta * older[WEIGHT] * share
    else:
        mean = older[ROW_MEAN]
    for i in range(metrics.shape[1]):
        older[i] += previous[i]
        previous[i] = metrics[CURRENT, i]
        metrics[CURRENT, i] = 0.0
    if loss[0] == losses.SQUARED:
        older[ROW_MEAN] = mean


@inlined
def evaluate(loss, metrics, totals, s, y, importance):
    """Count how good a score's prediction and the running constant's are; return its loss, of a binary task the log loss.

    ``totals`` must not have seen the target yet.
    """
    if metrics[CURRENT, N_EVALUATED] == HALF_WINDOW:
        move_up(loss, metrics)
    sums = metrics[CURRENT]
    sums[N_EVALUATED] += 1.0
    sums[WEIGHT] += importance
    if loss[0] == losses.QUANTILE:
        s = within_targets(loss, totals, s)
        pinball = _quantile_value(s, y, loss[1])
        sums[PINBALL] += importance * pinball
        sums[CONSTANT_PINBALL] += importance * _quantile_value(totals[QUANTILE], y, loss[1])
        if y <= s:
            sums[COVERED] += importance
        if y <= totals[QUANTILE]:
            sums[CONSTANT_COVERED] += importance
        return pinball
    if not is_binary(loss):
        s = within_targets(loss, totals, s)
        counts = loss[0] == losses.POISSON
        mean = expected_count(totals) if counts else totals[TARGET_MEAN]
        error = (math.exp(s) if counts else s) - y
        constant = mean - y
        sums[ABSOLUTE] += importance * abs(error)
        sums[SQUARED_ERRORS] += importance * (error * error)
        sums[CONSTANT_ABSOLUTE] += importance * abs(constant)
        sums[CONSTANT_SQUARED] += importance * (constant * constant)
        if counts:
            found = deviance(totals, s, y)
            sums[DEVIANCE] += importance * found
            sums[CONSTANT_DEVIANCE] += importance * deviance(totals, math.log(mean), y)
            return found
        if importance > 0.0:
            delta = y - sums[ROW_MEAN]
            sums[ROW_MEAN] += importance * delta / sums[WEIGHT]
            sums[SQUARES] += importance * delta * (y - sums[ROW_MEAN])
        return error * error
    if s != s:  # whatever it comes from, no NaN may choose a place in memory
        s = 0.0
    p = _logistic(s)
    log_loss = _logistic_value(s, y)
    sums[LOG_LOSS] += importance * log_loss
    if (s > 0.0) == (y > 0.0):
        sums[CORRECT] += importance
    prior = (0.5 * (1.0 + totals[TARGET_MEAN]) * totals[TARGET_SUM] + 1.0) / (totals[TARGET_SUM] + 2.0)
    sums[CONSTANT_LOG_LOSS] -= importance * math.log(prior if y > 0.0 else 1.0 - prior)
    if (prior > 0.5) == (y > 0.0):
        sums[CONSTANT_CORRECT] += importance
    place = min(np.int64(p * N_CALIBRATION), N_CALIBRATION - 1)
    sums[CALIBRATION + place] += importance * (p if y < 0.0 else p - 1.0)
    place = np.int64((min(max(s, -MAX_SCORE), MAX_SCORE) + MAX_SCORE) * (0.5 * N_SCORES / MAX_SCORE))
    sums[(POSITIVES if y > 0.0 else NEGATIVES) + min(place, N_SCORES - 1)] += importance
    return log_loss


@inlined
def curvature_and_error(loss, s, y, totals):
    """Return what the Kalman filters take a loss at a score for: its curvature, and its slope downwards.

    The squared loss's curvature is the inverse of the mean squared residual of the mixed score; the hinge loss is smoothed
    into its square. The pinball loss is taken for the negative log likelihood of an asymmetric Laplace distribution (Yu,
    Moyeed, 2001, "Bayesian quantile regression") whose scale is the mean pinball loss of the mixed score, with the Fisher
    information as its curvature. The Poisson loss is divided by the dispersion, the mean deviance (Wedderburn, 1974,
    "Quasi-likelihood functions"; McCullagh, Nelder, 1989, "Generalized linear models", section 2.3); where the target is above
    the score its curvature is that of the chord of the slope up to the target, so that no step oversteps it.
    """
    if loss[0] == losses.LOGISTIC:
        p = _logistic(s)
        return max(p * (1.0 - p), 1e-3), (1.0 if y > 0.0 else 0.0) - p
    if loss[0] == losses.HINGE and y * s >= 1.0:
        return 0.0, 0.0
    inverse = (1.0 + totals[IMPORTANCE_SUM]) / (1.0 + totals[RESIDUAL_SUM])
    if loss[0] == losses.QUANTILE:
        slope = _quantile_derivative(s, y, loss[1])
        return inverse * inverse * loss[1] * (1.0 - loss[1]), -inverse * slope
    if loss[0] == losses.POISSON:
        rate = relative_rate(s)
        curvature = (y - rate) / math.log(y / rate) if y > rate * 1.000001 else rate
        return inverse * max(curvature, 1e-3), inverse * (y - rate)
    return inverse, inverse * (y - s)


@inlined
def relative_rate(s):
    """Return ``e^s``, within what float32 holds."""
    return math.exp(min(max(s, -losses.MAX_LOG_RATE), losses.MAX_LOG_RATE))


@inlined
def residual(loss, s, y):
    """Return what the mean residual of the mixed score is made of: see `curvature_and_error`."""
    if loss[0] == losses.QUANTILE:
        return _quantile_value(s, y, loss[1])
    if loss[0] == losses.POISSON:
        return _poisson_value(s, y)
    if loss[0] == losses.LOGISTIC or (loss[0] == losses.HINGE and y * s >= 1.0):
        return 0.0
    return (y - s) * (y - s)


@inlined
def update_adagrad(n, bases, us, has_constant, c, offset, loss, y, importance, rates, decays, store, scores, updating):
    """AdaGrad with importance-aware steps, every expert on the gradient at its own score, to which `offset` is added.

    ``G <- decay G + (g u)^2``, ``r = u / (0.1 + sqrt G)``, doubled for the constant, which comes last; then
    ``w += h rate c r`` where ``h`` is the loss's importance-aware step over the distance ``q = rate c sum r u`` (Duchi, Hazan,
    Singer, 2011, "Adaptive subgradient methods"; Ross, Mineiro, Langford, 2013, "Normalized online learning", for c).
    """
    rows = store[1]
    slopes, paths, steps = updating
    n_rates = np.uint64(len(rates))
    squares = WEIGHTS + n_rates
    for k in range(n_rates):
        paths[k] = 0.0
        slopes[k] = derivative(loss, offset + scores[k], y) * math.sqrt(importance)
    last = np.uint64(n - 1) if has_constant else MISSING
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
        slopes[k] = step(loss, offset + scores[k], y, q, importance) * rate if q > 0.0 else 0.0
    for i in range(np.uint64(n)):
        base = bases[i] + WEIGHTS
        at = i * n_rates
        for k in range(n_rates):
            rows[base + k] += slopes[k] * steps[at + k]


@inlined
def update_kalman(n, bases, us, curvature, error, rates, store):
    """One step of an extended Kalman filter over the weights, that keeps a variance v for each and no covariances.

    ``w += v u e / (1 + H sum v u^2)``, ``v -= H (v u)^2 / (1 + H sum v u^2)`` with the loss's curvature H and error e (Haykin,
    2001, "Kalman filtering and neural networks", section 2.5, decoupled; Dredze, Crammer, Pereira, 2008, "Confidence-weighted
    linear classification", for keeping variances only).
    """
    rows = store[1]
    at = kalman_at(rates)
    spread_of_score = 0.0
    for i in range(np.uint64(n)):
        u = np.float64(us[i])
        spread_of_score += rows[bases[i] + at + ONE] * u * u
    gain = 1.0 / (1.0 + curvature * spread_of_score)
    shrink = curvature * gain
    gain *= error
    for i in range(np.uint64(n)):
        base = bases[i] + at
        v = np.float64(rows[base + ONE])
        vu = v * us[i]
        rows[base] += vu * gain
        rows[base + ONE] = v - shrink * vu * vu


@compiled
def shrink(n, bases, c, l1, l2, importance, rates, store):
    """Bring weights nearer to zero after an example, those of its features without the constant: L1 and L2.

    A proximal step for ``l1 |w| + l2 w^2 / 2``, ``w <- sign(w) max(|w| - r l1, 0) / (1 + r l2)``, in each expert's own metric:
    ``r = rate c / (0.1 + sqrt G)`` for AdaGrad's (Duchi, Singer, 2009, "Efficient online and batch learning using forward
    backward splitting", section 5; Duchi, Hazan, Singer, 2011, "Adaptive subgradient methods", section 5), and ``r = v``, the
    weight's variance, for Kalman's. There L2 is one more observation of the weight, 0 with the precision l2, and so v becomes
    ``v / (1 + v l2)``, too.
    """
    rows = store[1]
    n_rates = np.uint64(len(rates))
    at = kalman_at(rates)
    for i in range(np.uint64(n)):
        base = bases[i] + WEIGHTS
        for k in range(n_rates):
            r = importance * rates[np.int64(k)] * c / (0.1 + math.sqrt(np.float64(rows[base + n_rates + k])))
            w = np.float64(rows[base + k])
            rows[base + k] = math.copysign(max(abs(w) - r * l1, 0.0), w) / (1.0 + r * l2) + 0.0  # + 0.0: no -0.0
        if mixture(rates):
            base = bases[i] + at
            v = np.float64(rows[base + ONE])
            r = importance * v
            w = np.float64(rows[base])
            rows[base] = math.copysign(max(abs(w) - r * l1, 0.0), w) / (1.0 + r * l2) + 0.0
            rows[base + ONE] = v / (1.0 + r * l2)


@inlined
def count_for_bayes(n, bases, us, y, importance, rates, store):
    """Count the importance of an example for its features, on the side of its class."""
    rows = store[1]
    at = kalman_at(rates) + np.uint64(2 if y > 0.0 else 3)
    for i in range(np.uint64(n)):
        if us[i] > 0.0:
            rows[bases[i] + at] += importance * us[i]


@inlined
def update_filter(n, inputs, curvature, error, matrix, work):
    """One step of an extended Kalman filter over weights a and their covariance P, columns 0 and 1.. of a matrix.

    With curvature H and error e of the loss at ``a . v``: ``a += P v e / (1 + H v'Pv)``, ``P -= H (Pv)(Pv)' / (1 + H v'Pv)``,
    then P's diagonal, where it is below 1, grows by 1 in 10,000, so that the weights can follow a drift (Haykin, 2001, "Kalman
    filtering and neural networks", section 2.3). The bound is for inputs that are always 0 or the same as another: nothing is
    ever learned of those directions, whose variance would grow for ever.
    """
    vpv = 0.0
    for i in range(n):
        pv = 0.0
        for j in range(n):
            pv += matrix[i, 1 + j] * inputs[j]
        work[i] = pv
        vpv += pv * inputs[i]
    gain = 1.0 / (1.0 + curvature * max(vpv, 0.0))
    for i in range(n):
        matrix[i, 0] += work[i] * error * gain
        f = curvature * gain * work[i]
        for j in range(n):
            matrix[i, 1 + j] -= f * work[j]
        if matrix[i, 1 + i] < 1.0:
            matrix[i, 1 + i] += 1e-4 * matrix[i, 1 + i]


@inlined
def follow_target(loss, y, importance, totals):
    """Take a target, less the mean of all, into the recent means; of a count the logarithm of half of one more."""
    if loss[0] == losses.POISSON:
        y = math.log(0.5 * (1.0 + y))
    elif is_binary(loss):
        y -= totals[TARGET_MEAN]
    for k in range(N_TRENDS):
        share = TREND_SHARES[k]
        if importance != 1.0:
            share = 1.0 - (1.0 - share) ** importance
        totals[TREND + k] += share * (y - totals[TREND + k])


@inlined
def learn_example(
    buffer, n, y, importance, loss, parts, rates, decays, penalties, keys, store, totals, sketch, mixer, newton, metrics,
    head, scratch, deriving, mixing, updating, scores,
):  # fmt: skip
    """Predict one scanned example, then learn it; return its score before, in the target's units, and its loss then."""
    _, hashes, starts, lengths, bases, xs, us, _ = scratch
    _, d_hashes, d_bases, made, _, _, _, ones, zs, _ = deriving
    words32, dirty = store[3], store[6]
    width = width_of(rates)
    mine = np.uint32(totals[CLASS]) << CLASS_SHIFT
    if totals[CONSTANT_ROW] == 0.0:
        hashes[n] = keys[CONSTANT_HASH]
        if totals[CLASS] > 0.0:
            hashes[n] = blend(hashes[n], np.uint64(totals[CLASS]))
        base = insert(buffer, 0, 0, hashes[n], 1.0, rates, store)
        words32[base + DENSE] = mine
        totals[CONSTANT_ROW] = base // width + ONE
    n, n_derived, s = score_example(
        n, True, parts, rates, store, totals, mixer, newton, head, scratch, deriving, mixing, scores
    )
    promote(rates, store, deriving, totals)
    dirty[bases[n] // width] = 1  # the constant's row
    unit, offset = unit_and_offset(loss, totals)
    before = unit * s + offset
    found = evaluate(loss, metrics, totals, before, y, importance)
    y = observe(loss, totals, before, y, importance)
    seen = importance
    if loss[0] == losses.POISSON and totals[TARGET_MAX] == 0.0:  # zeros alone: the rate has no scale yet
        importance = 0.0

    n_experts = experts_of(rates)
    moved = False
    for k in range(len(rates)):
        moved = moved or derivative(loss, scores[k], y) != 0.0
    if head_size() > 0:
        moved = moved or derivative(loss, scores[n_experts - 1], y) != 0.0
    moved = moved and importance > 0.0
    if moved:
        constant = bases[n]
        kept = NOTHING
        for i in range(np.uint64(n)):
            base = bases[i]
            if base == MISSING:
                if len(sketch) > 0 and not admitted(hashes[i], lengths[i], store, totals, sketch):
                    continue  # as if it had not been there
                base = insert(buffer, starts[i], lengths[i], hashes[i], xs[i], rates, store)
                words32[base + DENSE] = mine
            bases[kept] = base
            us[kept] = us[i]
            kept += ONE
        n = np.int64(kept)
        bases[n] = constant
        us[n] = 1.0
    square = 1.0
    for i in range(n):
        square += us[i] * us[i]
    totals[SCALE_SUM] += square
    totals[DERIVED_SUM] += np.float64(n_derived)
    l1, l2 = penalties
    if moved:
        if head_size() > 0:
            slope = importance * derivative(loss, scores[n_experts - 1], y)
            head_learn(n, slope, bases, us, store[1], head)
        if not head_alone():
            t = totals[EXAMPLES] + 1.0
            c = math.sqrt(t / totals[SCALE_SUM])
            update_adagrad(n + 1, bases, us, True, c, 0.0, loss, y, importance, rates, decays, store, scores, updating)
            if mixture(rates):
                n_rates = len(rates)
                if parts & NEWTON and totals[N_DENSE] > 0.0:
                    at = scores[n_experts + derived_experts(rates)]
                    curvature, error = curvature_and_error(loss, at, y, totals)
                    n_zs = 1 + min(np.int64(totals[N_DENSE]), MAX_BINNED)
                    update_filter(n_zs, zs, curvature * importance, error * importance, newton, mixing[1])
                if parts & KALMAN:
                    curvature, error = curvature_and_error(loss, scores[n_rates], y, totals)
                    update_kalman(n + 1, bases, us, curvature * importance, error * importance, rates, store)
            if l1 > 0.0 or l2 > 0.0:
                shrink(n, bases, c, l1, l2, importance, rates, store)
            if mixture(rates):
                if parts & BAYES:
                    count_for_bayes(n, bases, us, y, importance, rates, store)
                    raw = scores[n_rates + 1] / bayes_scale(totals)
                    totals[BAYES_SQUARES] += importance * raw * raw
                if n_derived > NOTHING:
                    derived_scores = scores[n_experts:]
                    offset = s  # of all but the derived features
                    for k in range(derived_experts(rates)):
                        offset -= mixer[n_experts + k, 0] * derived_scores[k]
                    n_made = n_derived
                    n_derived = NOTHING
                    for i in range(n_made):
                        base = d_bases[i]
                        if base == MISSING:
                            if len(sketch) > 0 and not admitted(d_hashes[i], 0, store, totals, sketch):
                                continue
                            base = insert_derived(d_hashes[i], made[0, i], made[1, i], made[2, i] | mine, rates, store)
                        d_bases[n_derived] = base
                        n_derived += ONE
                    c = math.sqrt(t / (t + totals[DERIVED_SUM]))
                    update_adagrad(
                        n_derived, d_bases, ones, False, c, offset, loss, y, importance, rates, decays, store,
                        derived_scores, updating,
                    )  # fmt: skip
                    if parts & KALMAN:
                        curvature, error = curvature_and_error(loss, offset + derived_scores[n_rates], y, totals)
                        update_kalman(
                            n_derived, d_bases, ones, curvature * importance, error * importance, rates, store
                        )
                    if l1 > 0.0 or l2 > 0.0:
                        shrink(n_derived, d_bases, c, l1, l2, importance, rates, store)
    if mixes(rates) and importance > 0.0:
        curvature, error = curvature_and_error(loss, s, y, totals)
        update_filter(len(mixer), mixing[0], curvature * importance, error * importance, mixer, mixing[1])
        totals[RESIDUAL_SUM] += importance * residual(loss, s, y)
        follow_target(loss, y, importance, totals)
    totals[EXAMPLES] += 1.0
    totals[IMPORTANCE_SUM] += seen
    totals[RESIDUAL_SUM] += seen - importance
    return before, found


@compiled
def learn(
    buffer, position, stop, loss, parts, rates, decays, penalties, keys, store, totals, sketch, mixer, newton, metrics, head,
    scratch, deriving, mixing, updating, scores, results,
):  # fmt: skip
    """Learn examples one after another, until the buffer or the room for results or for new features ends.

    Returns (examples done, next position, rows needed, bytes of names needed): the last two are 0 unless the next example
    needs more room than there is, and the rows are -1 when some should be dropped first. ``results`` has for each example
    done: the score before learning; OK or why it was rejected; where it ended, or (rejected) where what is wrong with it lies;
    the loss before learning that `evaluate` returns; and the importance.
    """
    table, rows, _, _, names, sizes, _ = store
    lengths = scratch[3]
    out_scores, out_codes, out_ends, out_losses, out_importances = results
    done = 0
    while position < stop and done < len(out_scores):
        code, where, n, y, importance = read_example(buffer, position, stop, loss, keys, store, scratch)
        end = where
        if code == OK:
            if wants_sweep(parts, store, totals, sketch):
                return done, position, np.int64(-1), np.int64(0)
            n_rows, n_bytes = room_needed(n, MAX_DERIVED if mixture(rates) else 0, lengths, store)
            full = n_rows * np.int64(width_of(rates)) > len(rows) or 10 * n_rows > 7 * len(table)
            if full or n_bytes > len(names):
                return done, position, n_rows - sizes[0], n_bytes - sizes[1]
            out_scores[done], out_losses[done] = learn_example(
                buffer, n, y, importance, loss, parts, rates, decays, penalties, keys, store, totals, sketch, mixer, newton,
                metrics, head, scratch, deriving, mixing, updating, scores,
            )  # fmt: skip
            out_importances[done] = importance
        else:
            out_scores[done] = math.nan
            out_losses[done] = math.nan
            out_importances[done] = math.nan
            totals[REJECTED] += 1.0
            end = skip(buffer, position, stop)
            if end < 0:  # nothing after this can be told apart
                end = stop
        out_codes[done] = code
        out_ends[done] = where
        position = end
        done += 1
    return done, position, np.int64(0), np.int64(0)


# ---- many classes: one learner a class, over one dict; see learner.multiclass ---------------------------------------------
@compiled
def class_of(buffer, position, stop, keys, classes, digits):
    """Return (code, class, next position) of a label: a string, or a whole number, which is its decimal digits.

    ``classes`` are the hashes of the labels seen. The class is -1 for another, and the code then NEW_CLASS.
    """
    kind, y, after = read_number(buffer, position, stop)
    if kind == -1:
        return BAD_FRAMING, -1, position
    if kind == 1:
        if y != np.floor(y) or abs(y) > 1e15 or buffer[position] == 0xC2 or buffer[position] == 0xC3:
            return BAD_TARGET, -1, position
        length = 0
        left = np.int64(abs(y))
        while left > 0 or length == 0:
            length += 1
            digits[len(digits) - length] = 48 + left % 10
            left //= 10
        if y < 0.0:
            length += 1
            digits[len(digits) - length] = 45
        h, _ = hash_name(digits, len(digits) - length, length, keys)
    else:
        length, start = read_string(buffer, position, stop)
        if length == -2:
            return BAD_FRAMING, -1, position
        if length < 1 or length > MAX_NAME_BYTES or not is_utf8(buffer, start, length):
            return BAD_TARGET, -1, position
        h, _ = hash_name(buffer, start, length, keys)
        after = start + length
    for k in range(len(classes)):
        if classes[k] == h:
            return OK, k, after
    return NEW_CLASS, -1, after


@inlined
def evaluate_classes(metrics, totals, shares, probabilities, k, importance):
    """Count how good the classes' probabilities and their running shares are for the class k; return the log loss.

    ``shares`` are the importances of the classes' examples before this one, -1 for a class that has had none: its first example
    counts with the loss of an even guess among it and the others.
    """
    if metrics[CURRENT, N_EVALUATED] == HALF_WINDOW:
        move_up(LOGISTIC, metrics)
    sums = metrics[CURRENT]
    sums[N_EVALUATED] += 1.0
    sums[WEIGHT] += importance
    n = len(probabilities)
    best = likeliest = 0
    for j in range(n):
        if probabilities[j] > probabilities[best]:
            best = j
        if shares[j] > shares[likeliest]:
            likeliest = j
    log_loss = constant = math.log(np.float64(n))
    correct = 0.0
    if shares[k] >= 0.0:
        log_loss = -math.log(max(probabilities[k], 1e-300))
        constant = -math.log((shares[k] + 1.0) / (totals[IMPORTANCE_SUM] + n))
        correct = 1.0 if best == k else 0.0
        sums[CONSTANT_CORRECT] += importance if likeliest == k else 0.0
    sums[LOG_LOSS] += importance * log_loss
    sums[CORRECT] += importance * correct
    sums[CONSTANT_LOG_LOSS] += importance * constant
    place = min(np.int64(probabilities[best] * N_CALIBRATION), N_CALIBRATION - 1)
    sums[CALIBRATION + place] += importance * (probabilities[best] - correct)
    totals[LOSS_SUM] += importance * log_loss
    totals[CONSTANT_LOSS_SUM] += importance * constant
    return log_loss


@compiled
def normalise(scores, probabilities):
    """Write the classes' probabilities: each learner's own, divided by their sum."""
    whole = 0.0
    for k in range(len(scores)):
        probabilities[k] = _logistic(scores[k])
        whole += probabilities[k]
    for k in range(len(scores)):
        probabilities[k] = probabilities[k] / whole if whole > 0.0 else 1.0 / len(scores)


@compiled
def learn_classes(
    buffer, position, stop, parts, rates, decays, keys, classes, digits, store, totals, sketch, class_totals, mixers, newtons,
    samples, metrics, binary_metrics, scratch, plain_hashes, deriving, mixing, updating, scores, class_scores, probabilities,
    shares, results,
):  # fmt: skip
    """Learn examples one after another as `learn` does, every class's learner each one: its own label against the rest.

    Returns what `learn` does and a code: NEW_CLASS where the next example has a label never seen, for which the caller makes
    room.
    """
    table, rows, _, _, names, sizes, _ = store
    _, hashes, _, lengths, _, _, _, _ = scratch
    out_scores, out_codes, out_ends, out_losses, out_importances = results
    done = 0
    n_classes = len(classes)
    while position < stop and done < len(out_scores):
        start = position
        size, position = read_size(buffer, position, stop, 0x90, 0xDC)
        code, where, n, importance, k = OK, start, 0, 1.0, -1
        if size != 2 and size != 3:
            code = BAD_FRAMING if size == -2 else BAD_EXAMPLE
        else:
            where = position
            code, k, position = class_of(buffer, position, stop, keys, classes, digits)
            target = code
            if code in (OK, NEW_CLASS):
                code, where, n = scan(buffer, position, stop, keys, store, scratch)
                if code == OK and size == 3:
                    position = where
                    kind, importance, where = read_number(buffer, position, stop)
                    if kind != 1 or not 0.0 <= importance <= MAX_IMPORTANCE:
                        code, where = (BAD_FRAMING if kind == -1 else BAD_IMPORTANCE), position
                if code == OK and target == NEW_CLASS:
                    return done, start, 0, np.int64(0), NEW_CLASS
        end = where
        if code == OK:
            n_bytes = np.int64(0)
            for i in range(n):
                n_bytes += lengths[i]
                plain_hashes[i] = hashes[i]
            n_rows = n_classes * (n + 1 + MAX_DERIVED)
            n_bytes = n_classes * n_bytes + 2 * n_rows
            full = (sizes[0] + n_rows) * np.int64(width_of(rates)) > len(rows) or 10 * (sizes[0] + n_rows) > 7 * len(
                table
            )
            if full or sizes[1] + n_bytes > len(names):
                return done, start, n_rows, n_bytes, OK
            for j in range(n_classes):
                of_class = class_totals[j]
                shares[j] = -1.0
                if of_class[EXAMPLES] > 0.0:
                    shares[j] = 0.5 * (1.0 + of_class[TARGET_MEAN]) * of_class[TARGET_SUM]
                salt(n, plain_hashes, hashes, class_totals[j])
                theirs = (
                    samples[j], deriving[1], deriving[2], deriving[3], deriving[4], deriving[5], deriving[6], deriving[7],
                    deriving[8], deriving[9],
                )  # fmt: skip
                before, _ = learn_example(
                    buffer, n, 1.0 if j == k else -1.0, importance, LOGISTIC, parts, rates, decays, (0.0, 0.0), keys, store,
                    class_totals[j], sketch, mixers[j], newtons[j], binary_metrics, (), scratch, theirs, mixing, updating,
                    scores,
                )  # fmt: skip
                class_scores[j] = before
            normalise(class_scores, probabilities)
            out_losses[done] = evaluate_classes(metrics, totals, shares, probabilities, k, importance)
            out_scores[done] = probabilities[k]
            out_importances[done] = importance
            totals[EXAMPLES] += 1.0
            totals[IMPORTANCE_SUM] += importance
        else:
            out_scores[done] = math.nan
            out_losses[done] = math.nan
            out_importances[done] = math.nan
            totals[REJECTED] += 1.0
            end = skip(buffer, start, stop)
            if end < 0:  # nothing after this can be told apart
                end = stop
        out_codes[done] = code
        out_ends[done] = where
        position = end
        done += 1
    return done, position, 0, np.int64(0), OK


# ---- a named algorithm in place of the mixture: the scalar functions of learner.optimizers, chosen by code -----------------
_sgd = inlined(optimizers.sgd)
_adagrad = inlined(optimizers.adagrad)
_adam = inlined(optimizers.adam)
_ftrl = inlined(optimizers.ftrl)
_ng = inlined(optimizers.ng)
_nag = inlined(optimizers.nag)
ONE_RATE = (1.0,)  # gives rows of 16 float32s, of which the weight and the algorithm's two numbers follow the header
N_OPTIONS = 4  # a tuple of so many, which is not memory: the compiler takes what depends on them alone out of the loop
WIDTH = np.uint64(layout.row_width(1))
MAX_STATE = 3e38  # a float32 holds it
MAX_COUNT = 1e12  # a count is learned as at most this

_rescaled = inlined(optimizers.rescaled)


@inlined
def bounded(number):
    """Return what a row takes of a number: never infinite."""
    return min(max(number, -MAX_STATE), MAX_STATE)


@inlined
def update_feature(code, w, a, b, x, slope, importance, t, updates, n, options):
    """Return an algorithm's new weight and state of a feature."""
    if code == optimizers.SGD:
        return _sgd(w, a, b, x, slope, importance, t, updates, n, options)
    if code == optimizers.ADAGRAD:
        return _adagrad(w, a, b, x, slope, importance, t, updates, n, options)
    if code == optimizers.ADAM:
        return _adam(w, a, b, x, slope, importance, t, updates, n, options)
    if code == optimizers.FTRL:
        return _ftrl(w, a, b, x, slope, importance, t, updates, n, options)
    if code == optimizers.NG:
        return _ng(w, a, b, x, slope, importance, t, updates, n, options)
    return _nag(w, a, b, x, slope, importance, t, updates, n, options)


@inlined
def score_named(n, normalised, store, scratch, weights):
    """Return the score of one scanned example, the constant behind its features; leave in ``weights`` what scored each."""
    rows, words64 = store[1], store[2]
    _, hashes, _, _, bases, xs, _, _ = scratch
    look_up(n, hashes, bases, store, WIDTH)
    bases[n] = NOTHING  # the constant: row 0, always 1
    xs[n] = 1.0
    s = 0.0
    for i in range(np.uint64(n + 1)):
        base = bases[i]
        if i < np.uint64(n) and base != MISSING and words64[(base >> ONE) + HASH] != hashes[i]:
            base = find(store, hashes[i], WIDTH)
            bases[i] = base
        weights[i] = 0.0
        if base != MISSING:
            at = base + WEIGHTS
            weights[i] = _rescaled(normalised, np.float64(rows[at]), np.float64(rows[at + ONE]), xs[i])
        s += weights[i] * xs[i]
    return s


@compiled
def predict_named(buffer, position, stop, normalised, keys, store, scratch, weights):
    """Score one map of features, changing nothing; return (code, where, features, score)."""
    code, where, n = scan(buffer, position, stop, keys, store, scratch)
    if code != OK:
        return code, where, 0, 0.0
    return OK, where, n, score_named(n, normalised, store, scratch, weights)


@inlined
def learn_named_example(
    buffer, n, y, importance, loss, code, normalised, options, keys, store, totals, sketch, metrics, scratch, weights
):  # fmt: skip
    """Predict one scanned example, then learn it; return its score before, and its loss then."""
    _, rows, _, words32, _, sizes, dirty = store
    _, hashes, starts, lengths, bases, xs, _, _ = scratch
    if sizes[0] == 0:
        insert(buffer, 0, 0, keys[CONSTANT_HASH], 1.0, ONE_RATE, store)
        totals[CONSTANT_ROW] = 1.0
    s = score_named(n, normalised, store, scratch, weights)
    found = evaluate(loss, metrics, totals, s, y, importance)
    observe(loss, totals, s, y, importance)
    totals[EXAMPLES] += 1.0
    totals[IMPORTANCE_SUM] += importance
    if importance == 0.0:
        return s, found
    totals[UPDATES] += 1.0
    slope = derivative(loss, s, y if loss[0] != losses.POISSON else min(y, MAX_COUNT))
    if loss[0] == losses.LOGISTIC and abs(slope) <= optimizers.MIN_LOGISTIC_SLOPE:
        slope = 0.0
    kept = NOTHING
    for i in range(np.uint64(n)):
        base = bases[i]
        if base != MISSING:
            words32[base + COUNT] += 1
        else:
            if slope == 0.0 and normalised == 0.0:
                continue
            if len(sketch) > 0 and not admitted(hashes[i], lengths[i], store, totals, sketch):
                continue
            base = insert(buffer, starts[i], lengths[i], hashes[i], xs[i], ONE_RATE, store)
        bases[kept], xs[kept], weights[kept] = base, xs[i], weights[i]
        kept += ONE
    bases[kept], xs[kept], weights[kept] = NOTHING, 1.0, weights[n]  # the constant
    n = np.int64(kept)
    if normalised != 0.0:
        for i in range(np.uint64(n + 1)):
            x = xs[i]
            u = x / max(np.float64(rows[bases[i] + WEIGHTS + ONE]), abs(x))
            totals[SCALE_SUM] += importance * u * u
    t, updates, scales = totals[IMPORTANCE_SUM], totals[UPDATES], totals[SCALE_SUM]
    for i in range(np.uint64(n + 1)):
        at = bases[i] + WEIGHTS
        a, b = np.float64(rows[at + ONE]), np.float64(rows[at + ONE + ONE])
        w, a, b = update_feature(code, weights[i], a, b, xs[i], slope, importance, t, updates, scales, options)
        rows[at], rows[at + ONE], rows[at + ONE + ONE] = bounded(w), bounded(a), bounded(b)
        dirty[bases[i] // WIDTH] = 1
    return s, found


@compiled
def learn_named(
    buffer, position, stop, loss, code, normalised, options, keys, store, totals, sketch, metrics, scratch, weights, results
):  # fmt: skip
    """Learn examples by a named algorithm; takes and returns what `learn` does."""
    table, rows, _, _, names, sizes, _ = store
    lengths = scratch[3]
    out_scores, out_codes, out_ends, out_losses, out_importances = results
    done = 0
    while position < stop and done < len(out_scores):
        why, where, n, y, importance = read_example(buffer, position, stop, loss, keys, store, scratch)
        end = where
        s, found = math.nan, math.nan
        if why == OK:
            if wants_sweep(0, store, totals, sketch):
                return done, position, np.int64(-1), np.int64(0)
            n_rows, n_bytes = room_needed(n, 0, lengths, store)
            full = n_rows * np.int64(WIDTH) > len(rows) or 10 * n_rows > 7 * len(table)
            if full or n_bytes > len(names):
                return done, position, n_rows - sizes[0], n_bytes - sizes[1]
            s, found = learn_named_example(
                buffer, n, y, importance, loss, code, normalised, options, keys, store, totals, sketch, metrics, scratch,
                weights,
            )  # fmt: skip
        else:
            importance = math.nan
            totals[REJECTED] += 1.0
            end = skip(buffer, position, stop)
            if end < 0:  # nothing after this can be told apart
                end = stop
        out_scores[done], out_losses[done], out_importances[done] = s, found, importance
        out_codes[done], out_ends[done] = why, where
        position = end
        done += 1
    return done, position, np.int64(0), np.int64(0)
