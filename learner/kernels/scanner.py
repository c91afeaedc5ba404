"""Reading msgpack value by value: numbers, strings, headers of arrays and maps, and the end of a value."""

import numpy as np

from learner.kernels.bits import float32_of, float64_of, load, swap
from learner.kernels.jit import compiled, inlined


@compiled
def big_endian(buffer, position, n):
    """Return an unsigned big-endian integer of n bytes."""
    v = np.uint64(0)
    for i in range(n):
        v = v << np.uint64(8) | np.uint64(buffer[position + i])
    return v


@compiled
def read_number(buffer, position):
    """Return (kind, value, next position): kind 1 is a number or a boolean, 0 another type, -1 a value that is cut off."""
    if position >= len(buffer):
        return -1, 0.0, position
    c = np.int64(buffer[position])
    if c <= 0x7F:
        return 1, float(c), position + 1
    if c == 0xCB:
        if position + 9 > len(buffer):
            return -1, 0.0, position
        return 1, float64_of(swap(load(buffer, position + 1))), position + 9
    if c >= 0xE0:
        return 1, float(c) - 256.0, position + 1
    if c == 0xC2 or c == 0xC3:
        return 1, float(c - 0xC2), position + 1
    if c == 0xCA:
        if position + 5 > len(buffer):
            return -1, 0.0, position
        return 1, float32_of(big_endian(buffer, position + 1, np.int64(4))), position + 5
    if 0xCC <= c <= 0xD3:
        n = 1 << ((c - 0xCC) & 3)
        if position + 1 + n > len(buffer):
            return -1, 0.0, position
        v = big_endian(buffer, position + 1, n)
        if c >= 0xD0 and buffer[position + 1] >= 0x80:
            if n < 8:
                return 1, float(np.int64(v)) - float(1 << (8 * n)), position + 1 + n
            return 1, float(np.int64(v)), position + 9
        return 1, float(v), position + 1 + n
    return 0, 0.0, position


@compiled
def read_string(buffer, position):
    """Return (length, start) of a string: length -1 is another type, -2 a string that is cut off."""
    if position >= len(buffer):
        return np.int64(-2), position
    c = np.int64(buffer[position])
    if 0xA0 <= c <= 0xBF:
        length = np.int64(c & 31)
        position += 1
    elif 0xD9 <= c <= 0xDB:
        n = 1 << (c - 0xD9)
        if position + 1 + n > len(buffer):
            return np.int64(-2), position
        length = np.int64(big_endian(buffer, position + 1, n))
        position += 1 + n
    else:
        return np.int64(-1), position
    if position + length > len(buffer):
        return np.int64(-2), position
    return length, position


@inlined
def read_size(buffer, position, fixed, wide):
    """Return (size, next position) of an array's or map's header: size -1 is another type, -2 a header that is cut off.

    ``fixed`` is the first byte of the short form (0x80 for maps, 0x90 for arrays), ``wide`` of the 16-bit form.
    """
    if position >= len(buffer):
        return np.int64(-2), position
    c = np.int64(buffer[position])
    if c & 0xF0 == fixed:
        return np.int64(c & 15), position + 1
    if c == wide or c == wide + 1:
        n = 2 << (c - wide)
        if position + 1 + n > len(buffer):
            return np.int64(-2), position
        return np.int64(big_endian(buffer, position + 1, n)), position + 1 + n
    return np.int64(-1), position


@compiled
def skip(buffer, position):
    """Return the end of the msgpack value at a position, or -1 when it is cut off or not msgpack; no recursion."""
    left = np.int64(1)
    while left > 0:
        if position >= len(buffer):
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
            if position + 1 + n > len(buffer):
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
            if position + 1 + n > len(buffer):
                return np.int64(-1)
            left += np.int64(big_endian(buffer, position + 1, n)) * (2 if c >= 0xDE else 1)
            position += 1 + n
        if position > len(buffer):
            return np.int64(-1)
    return np.int64(position)


@compiled
def boundaries(buffer, ends):
    """Write the ends of consecutive msgpack values into ``ends``, as many as it holds; return the number of whole values."""
    position = np.int64(0)
    n = 0
    while position < len(buffer) and n < len(ends):
        position = skip(buffer, position)
        if position < 0:
            break
        ends[n] = position
        n += 1
    return n
