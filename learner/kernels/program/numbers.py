"""Operations on numbers: as they are, powers, waves, bins, categories, and cells of places."""

import math

import numpy as np

from learner.kernels.hashing import n_digits, write_digits
from learner.kernels.jit import compiled, no, yes
from learner.kernels.program.amounts import parse_decimal, strip
from learner.kernels.program.layout import (
    BINS,
    CANNOT,
    COMMA,
    DASH,
    DOT,
    END_BRACKET,
    FALSE,
    FAULT,
    FLOAT32,
    FLOAT64,
    MAX_EXACT_DIGITS,
    NUMBER,
    OPTIONAL,
    PARSES,
    PERIODIC,
    POWERS,
    TRUE,
)
from learner.kernels.program.reading import column_of
from learner.kernels.program.writing import add, add_slice, add_text, begin_name, copy
from learner.kernels.scanner import read_number, read_string


@compiled
def number_at(buffer, position, row, program, marks):
    """Return whether there is a number at a place for an operation, and this number.

    Text is read if the operation says so; blank text is missing. Anything else, also a boolean, is a fault.
    """
    length, begin = read_string(buffer, position)
    if length >= 0 and column_of(row, PARSES, program) != 0:
        start, end = strip(buffer, np.int64(begin), begin + length)
        if start == end and column_of(row, OPTIONAL, program) != 0:
            return no(), 0.0
        is_number, x = parse_decimal(buffer, start, end, no(), no())
    else:
        kind, x, _ = read_number(buffer, position)
        is_number = kind == 1 and not FALSE <= buffer[position] <= TRUE
    if not is_number or x - x != 0.0:
        marks[FAULT] = CANNOT
        return no(), 0.0
    return yes(), x


@compiled
def whole_at(buffer, position):
    """Return whether a whole number of less than 63 bits is at a place, and this number; a float may be whole, too."""
    kind, x, _ = read_number(buffer, position)
    c = np.int64(buffer[position])
    if kind != 1 or not abs(x) < 4e18:
        return False, np.int64(0)
    if FLOAT32 <= c <= FLOAT64:
        return x == np.floor(x), np.int64(x)
    if c <= 0x7F or c >= 0xE0:
        return True, np.int64(x)
    v, n = np.int64(0), 1 << ((c - 0xCC) & 3)
    if c >= 0xD0 and buffer[position + 1] >= 0x80:
        v = np.int64(-1)
    for i in range(n):
        v = v << 8 | np.int64(buffer[position + 1 + i])
    return True, v


@compiled
def write_whole(number, at, out):
    """Write a whole number; return the place after it."""
    if number < 0:
        out[at] = DASH
        at, number = at + 1, -number
    length = n_digits(number)
    write_digits(out, at, length, number)
    return at + length


@compiled
def length_of_whole(number):
    """Return the number of characters of a whole number."""
    return n_digits(abs(number)) + (1 if number < 0 else 0)


@compiled
def add_category(buffer, position, op, program, work):
    """Do `category`."""
    if op.length >= 0:
        add_slice(op.text, buffer, op.start, op.length, program, work)
        return
    c, out = np.int64(buffer[position]), work.out
    if FALSE <= c <= TRUE:
        word = op.text + 1 + c - FALSE
        start = program.spans[word]
        length = program.spans[word + 1] - start
        at = begin_name(op.text, length, program, work)
        if at >= 0:
            add(copy(program.texts, start, length, out, at), 1.0, no(), program, work)
        return
    is_whole, number = whole_at(buffer, position)
    n_after = np.int64(0)
    if not is_whole:
        _, x, _ = read_number(buffer, position)
        number, n_after = shortest_decimal(x)
    if n_after < 0:
        work.marks[FAULT] = CANNOT
        return
    at = begin_name(op.text, np.int64(length_of_decimal(number, n_after)), program, work)
    if at >= 0:
        add(write_decimal(number, n_after, at, out), 1.0, no(), program, work)


@compiled
def shortest_decimal(x):
    """Return the shortest decimal of a fraction without its point, and the number of digits after it, -1 for what isn't simple.

    Two decimals of at most 15 digits are never the same float64, so one whose quotient is x is the one that ``repr`` writes.
    """
    scale = 1.0
    if not abs(x) >= 1e-3:  # repr writes smaller ones with an exponent
        return np.int64(0), np.int64(-1)
    for n_after in range(1, MAX_EXACT_DIGITS + 4):
        scale *= 10.0
        digits = np.rint(abs(x) * scale)
        if digits >= 1e15:
            break
        if digits / scale == abs(x):
            return np.int64(-digits if x < 0.0 else digits), np.int64(n_after)
    return np.int64(0), np.int64(-1)


@compiled
def add_number(x, text, program, work):
    """Add a number that was computed: nothing for 0, and a fault for what isn't finite."""
    if x - x != 0.0:
        work.marks[FAULT] = CANNOT
    elif x != 0.0:
        add_text(text, x, program, work)


@compiled
def add_waves(angle, text, program, work):
    """Add an angle's cosine, and its sine under the next text."""
    if angle - angle != 0.0:
        work.marks[FAULT] = CANNOT
        return
    add_number(math.cos(angle), text, program, work)
    add_number(math.sin(angle), text + 1, program, work)


@compiled
def add_of_number(code, x, op, program, work):
    """Do an operation on one number."""
    if code == NUMBER:
        add_number(x, op.text, program, work)
    elif code == POWERS:
        for i in range(op.n_numbers):
            add_number(x ** program.numbers[op.number + i], op.text + i, program, work)
    elif code == PERIODIC:
        for i in range(op.n_numbers):
            add_waves(program.numbers[op.number + i] * x, op.text + 2 * i, program, work)
    elif code == BINS:
        add_bin(x, op, program, work)
    else:
        add_number(math.copysign(math.log1p(abs(x)), x), op.text, program, work)


@compiled
def add_bin(x, op, program, work):
    """Do `bins`: find the first edge that is not below the number."""
    low, high = 0, op.n_numbers
    while low < high:
        middle = (low + high) // 2
        if program.numbers[op.number + middle] < x:
            low = middle + 1
        else:
            high = middle
    text = op.text + low
    if program.spans[text + 1] > program.spans[text]:
        add_text(text, 1.0, program, work)


@compiled
def index_of(degrees, limit, p, q):
    """Return the number of the interval that holds a coordinate: see `featurizers.places.interval`."""
    index = np.int64(np.floor(degrees * float(q) / float(p)))
    if degrees < float(p * index) / float(q):
        index -= 1
    elif degrees >= float(p * (index + 1)) / float(q):
        index += 1
    return min(index, limit * q // p - 1)


@compiled
def plain_decimal(number, n_digits_after):
    """Return a decimal's digits as a whole number, and how many of them are after the point, without zeros at the end."""
    while n_digits_after > 0 and number % 10 == 0:
        number //= 10
        n_digits_after -= 1
    return number, n_digits_after


@compiled
def length_of_decimal(number, n_after):
    """Return the number of characters of a decimal."""
    number, n_after = plain_decimal(number, n_after)
    n = n_digits(abs(number))
    return (1 if number < 0 else 0) + (n if n_after == 0 else max(n - n_after, 1) + 1 + n_after)


@compiled
def write_decimal(number, n_after, at, out):
    """Write a decimal; return the place after it."""
    number, n_after = plain_decimal(number, n_after)
    if number < 0:
        out[at] = DASH
        at, number = at + 1, -number
    power = np.int64(1)
    for _ in range(n_after):
        power *= 10
    at = write_whole(number // power, at, out)
    if n_after > 0:
        out[at] = DOT
        write_digits(out, at + 1, n_after, number % power)
        at += 1 + n_after
    return at


@compiled
def add_cells(lat, lon, op, program, work):
    """Do `cells`."""
    numbers, spans, out = program.numbers, program.spans, work.out
    if not (abs(lat) <= 90.0 and abs(lon) <= 180.0):
        work.marks[FAULT] = CANNOT
        return
    middle, all_around = op.text + 1, op.text + 2
    n_middle, n_around = spans[middle + 1] - spans[middle], spans[all_around + 1] - spans[all_around]
    is_pole = abs(lat) == 90.0
    lon = -180.0 if lon == 180.0 else lon
    for k in range(op.number, op.number + op.n_numbers, 4):
        p, q, n_after, unit = (
            np.int64(numbers[k]),
            np.int64(numbers[k + 1]),
            np.int64(numbers[k + 2]),
            np.int64(numbers[k + 3]),
        )
        south, west = unit * index_of(lat, np.int64(90), p, q), unit * index_of(lon, np.int64(180), p, q)
        extra = n_middle + 2 + length_of_decimal(south, n_after) + length_of_decimal(south + unit, n_after)
        extra += n_around if is_pole else 1 + length_of_decimal(west, n_after) + length_of_decimal(west + unit, n_after)
        at = begin_name(op.text, np.int64(extra), program, work)
        if at < 0:
            return
        at = write_decimal(south, n_after, at, out)
        out[at] = COMMA
        at = write_decimal(south + unit, n_after, at + 1, out)
        at = copy(program.texts, spans[middle], n_middle, out, at)
        if is_pole:
            at = copy(program.texts, spans[all_around], n_around, out, at)
        else:
            at = write_decimal(west, n_after, at, out)
            out[at] = COMMA
            at = write_decimal(west + unit, n_after, at + 1, out)
        out[at] = END_BRACKET
        add(at + 1, 1.0, no(), program, work)
