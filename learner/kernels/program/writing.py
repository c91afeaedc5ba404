"""Writing features: names, and the table that keeps each name once."""

import numpy as np

from learner.kernels.bits import ONE, load, readable, store
from learner.kernels.hashing import hash_name
from learner.kernels.jit import compiled, inlined, no
from learner.kernels.program.layout import (
    CANNOT,
    END,
    F_HASH,
    F_LENGTH,
    F_OWNER,
    FAULT,
    FEATURES,
    FIRST_VALUE,
    FULL,
    MAIN,
    MAX_EMITTED,
    MAX_LENGTH,
    NAME,
    OUT_BYTES,
    OWNER,
    POSITION,
    ROOM,
    SINK,
    SLOT_MASK,
    STAMP,
    TABLE,
    TEXT_START,
    N,
)
from learner.kernels.program.reading import renew_stamp


@inlined
def copy(source, start, length, out, at):
    """Copy bytes, and up to seven more after them; return the place after them."""
    i = np.int64(0)
    while i < length and start + i + 8 <= readable(source):
        store(out, at + i, load(source, start + i))
        i += 8
    while i < length:
        out[at + i] = source[start + i]
        i += 1
    return at + length


@compiled
def copy_case(source, start, length, lower, out, at):
    """Copy ASCII bytes, on demand in lower case; return the place after them."""
    for i in range(length):
        c = source[start + i]
        out[at + i] = c + 32 if lower and 65 <= c <= 90 else c
    return at + length


@inlined
def begin_name(text, extra, program, work):
    """Begin a feature's name with a text, before so many more bytes; return the place of these, or -1 and note the fault."""
    out, marks = work.out, work.marks
    sink = marks[SINK]
    first = program.spans[text]
    n_first = program.spans[text + 1] - first
    length, position = n_first + extra, marks[sink + POSITION]
    if length > MAX_LENGTH or length == 0 or marks[sink + N] == MAX_EMITTED:
        marks[FAULT] = CANNOT
        return np.int64(-1)
    if position + length + ROOM > marks[sink + END]:
        marks[FAULT] = FULL if sink == MAIN else CANNOT
        return np.int64(-1)
    if length < 32:
        out[position] = 0xA0 | length
        position += 1
    else:
        out[position], out[position + 1] = 0xD9, length
        position += 2
    marks[NAME] = position
    return copy(program.texts, first, n_first, out, position)


@inlined
def same(out, one, other, length):
    """Tell whether two slices of an array are equal."""
    i = np.int64(0)
    while i < length and out[one + i] == out[other + i]:
        i += 1
    return i == length


@inlined
def add(end, value, counts, program, work):
    """Add the feature whose name ends here.

    A name that is there gets the new value; if it `counts`, and the name is of this owner, it gets 1 more.
    """
    out, marks, values = work.out, work.marks, work.values
    sink, start = marks[SINK], marks[NAME]
    length = end - start
    h, _ = hash_name(out, start, length, program.keys)
    slot = h & SLOT_MASK
    while True:
        entry = marks[sink + TABLE + np.int64(slot)]
        if entry >> 16 != marks[STAMP]:
            break
        i = entry & 0xFFFF
        feature = sink + FEATURES + 4 * i
        if (
            marks[feature + F_HASH] == np.int64(h)
            and marks[feature + F_LENGTH] == length
            and same(out, marks[feature], start, length)
        ):
            is_more = counts and marks[feature + F_OWNER] == marks[OWNER]
            values[marks[sink + FIRST_VALUE] + i] = values[marks[sink + FIRST_VALUE] + i] + 1.0 if is_more else value
            marks[feature + F_OWNER] = marks[OWNER]
            return
        slot = (slot + ONE) & SLOT_MASK
    n = marks[sink + N]
    feature = sink + FEATURES + 4 * n
    marks[feature], marks[feature + F_LENGTH] = start, length
    marks[feature + F_HASH], marks[feature + F_OWNER] = np.int64(h), marks[OWNER]
    marks[sink + TABLE + np.int64(slot)] = marks[STAMP] << 16 | n
    values[marks[sink + FIRST_VALUE] + n] = value
    marks[sink + N], marks[sink + POSITION] = n + 1, end + 9


@compiled
def add_text(text, value, program, work):
    """Add the feature whose name is a text."""
    at = begin_name(text, np.int64(0), program, work)
    if at >= 0:
        add(at, value, no(), program, work)


@compiled
def add_slice(text, buffer, start, length, program, work):
    """Add the feature, of value 1, whose name is a text and a slice of the record."""
    at = begin_name(text, length, program, work)
    if at >= 0:
        add(copy(buffer, start, length, work.out, at), 1.0, no(), program, work)


@compiled
def open_sink(sink, position, marks):
    """Make a sink empty, and the one that features go to."""
    renew_stamp(marks)
    is_main = sink == MAIN
    marks[SINK], marks[sink + POSITION], marks[sink + N] = sink, position, 0
    marks[sink + END] = OUT_BYTES if is_main else TEXT_START
    marks[sink + FIRST_VALUE] = 0 if is_main else MAX_EMITTED
