"""Names of features: their keyed hash, the check for UTF-8, and the names of an array's positions."""

import numpy as np

from learner.kernels.bits import NOTHING, ONE, PRIME, load, multiply, readable, spread
from learner.kernels.jit import compiled, inlined
from learner.layout import KEY_BLOCK, POSITION_HASHES

P61 = np.uint64(PRIME)
LOW56, HIGH_BITS = np.uint64((1 << 56) - 1), np.uint64(0x8080808080808080)


@inlined
def modulo(h):
    """Return h modulo 2^61 - 1, for h below 2^63."""
    h = (h & P61) + (h >> np.uint64(61))
    return h - P61 if h >= P61 else h


@inlined
def hash_name(buffer, start, length, keys):
    """Return the keyed 64-bit hash of a name, never 0, and whether the name has a byte that isn't ASCII.

    The polynomial ``((n + m_1) r + .. + m_k) r`` over the field of 2^61 - 1 elements, in the name's length ``n`` and its
    7-byte blocks ``m_i``, with a secret ``r`` (Carter and Wegman, 1979, "Universal classes of hash functions"). A bijection
    then spreads it over 64 bits, because the polynomials of numbered names are equally spaced and would crowd a hash table. Two
    different names of at most 256 bytes collide with a probability of at most 38 / 2^61 over the secret. Nobody outside the
    model knows the secret, so nobody can construct collisions.
    """
    r = keys[KEY_BLOCK]
    h = np.uint64(length)
    bits = np.uint64(0)
    position = start
    end = start + length
    while position + 8 <= end or (position < end and position + 8 <= readable(buffer)):
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


# ---- positions: the names "0", "1", ... of an array's values -------------------------------------------------------------
@compiled
def n_digits(number):
    """Return the number of decimal digits of a whole number from 0 to 10^15."""
    n = 1
    while number > 9:
        number //= 10
        n += 1
    return n


@compiled
def write_digits(text, at, length, number):
    """Write the decimal digits of a whole number, `length` of them, into an array of bytes."""
    for i in range(at + length - 1, at - 1, -1):
        text[i] = 48 + number % 10
        number //= 10


@compiled
def hash_positions(n, keys, text):
    """Write the hashes of the names of the first n positions into the keys; ``text`` is a work array for one name."""
    for position in range(n):
        length = n_digits(position)
        write_digits(text, np.int64(0), length, position)
        keys[POSITION_HASHES + position], _ = hash_name(text, np.int64(0), length, keys)
