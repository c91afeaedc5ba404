"""Operations on numbers: categories, bins, and cells of places."""

import numpy as np

from learner.kernels.hashing import n_digits, write_digits
from learner.kernels.jit import compiled, no
from learner.kernels.program.layout import CANNOT, COMMA, DASH, DOT, END_BRACKET, FALSE, FAULT, FLOAT32, FLOAT64, TRUE
from learner.kernels.program.writing import add, add_slice, add_text, begin_name, copy
from learner.kernels.scanner import read_number


@compiled
def number_at(buffer, position, marks):
    """Return the finite number at a place; anything else, also a boolean, is a fault."""
    kind, x, _ = read_number(buffer, position)
    if kind != 1 or FALSE <= buffer[position] <= TRUE or x - x != 0.0:
        marks[FAULT] = CANNOT
        return 0.0
    return x


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
    if not is_whole:
        work.marks[FAULT] = CANNOT
        return
    at = begin_name(op.text, np.int64(length_of_whole(number)), program, work)
    if at >= 0:
        add(write_whole(number, at, out), 1.0, no(), program, work)


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
