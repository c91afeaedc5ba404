"""Reading a record: whether it is plain, and where its fields are."""

import numpy as np

from learner.kernels.bits import NOTHING, ONE, load
from learner.kernels.hashing import hash_name, is_utf8
from learner.kernels.jit import compiled, inlined
from learner.kernels.program.layout import (
    ABSENT,
    ENTRIES,
    FALSE,
    FIRST_NUMBER,
    FLOAT32,
    FLOAT64,
    HIGH_BITS,
    HINTS,
    KEY_MASK,
    KEY_TABLE,
    LAST_STAMP,
    MAX_DEPTH,
    MAX_ENTRIES,
    MAX_KEYS,
    MISTAKEN,
    N_ENTRIES,
    N_NUMBERS,
    N_TEXTS,
    NIL,
    OPERATION_COLUMNS,
    ROOT,
    STACK,
    STAMP,
    TEXT,
    TRUE,
    Operation,
)
from learner.kernels.scanner import read_size, read_string, skip


@compiled
def is_ascii(buffer, start, length):
    """Tell whether all bytes are ASCII."""
    position, end, bits = start, start + length, np.uint64(0)
    while position + 8 <= end:
        bits |= load(buffer, position)
        position += 8
    while position < end:
        bits |= np.uint64(buffer[position])
        position += 1
    return bits & HIGH_BITS == NOTHING


@compiled
def renew_stamp(marks):
    """Take a stamp that no table has: all tables are empty for it."""
    marks[LAST_STAMP] += 1
    marks[STAMP] = marks[LAST_STAMP]


@inlined
def is_new_key(h, n, marks):
    """Tell whether a hash is not among those of this record yet, and add it; with too many of them it is not."""
    i = h & KEY_MASK
    while marks[KEY_TABLE + 2 * np.int64(i) + 1] == marks[STAMP]:
        if marks[KEY_TABLE + 2 * np.int64(i)] == np.int64(h):
            return False
        i = (i + ONE) & KEY_MASK
    marks[KEY_TABLE + 2 * np.int64(i)] = np.int64(h)
    marks[KEY_TABLE + 2 * np.int64(i) + 1] = marks[STAMP]
    return n < MAX_KEYS


@inlined
def width_of(buffer, position):
    """Return the bytes of a plain scalar other than a string, and 0 of anything else."""
    c = np.int64(buffer[position])
    if c <= 0x7F or c >= 0xE0 or c == NIL or FALSE <= c <= TRUE:
        return 1
    if c == FLOAT32:
        return 5
    if c == FLOAT64:
        return 9
    if 0xCC <= c <= 0xD3:
        return 1 + (1 << ((c - 0xCC) & 3))
    return 0


@compiled
def read_record(buffer, start, keys, marks):
    """Return the end of a record, and list its fields; -1 if it isn't plain.

    Plain are: None, booleans, numbers of 64 bits, texts in UTF-8, lists, and maps whose names are texts, each once. As the
    decoder does, this looks at all of the record.
    """
    renew_stamp(marks)
    marks[N_ENTRIES] = 0
    depth, n_keys, position = np.int64(0), np.int64(0), start
    marks[STACK], marks[STACK + 1] = 1, 0  # what is left; whether it is a map; where it starts
    while True:
        top = STACK + 3 * depth
        if marks[top] == 0:
            depth -= 1
            if depth < 0:
                return position
            continue
        is_key = marks[top + 1] != 0 and marks[top] & 1 == 0
        marks[top] -= 1
        length, begin = read_string(buffer, position)
        if length >= 0:
            if not is_ascii(buffer, begin, length) and not is_utf8(buffer, begin, length):
                return np.int64(-1)
            position = begin + length
            if is_key:
                h, _ = hash_name(buffer, begin, length, keys)
                if not is_new_key(h + np.uint64(marks[top + 2]), n_keys, marks):
                    return np.int64(-1)
                n_keys += 1
                if depth == 1:
                    if marks[N_ENTRIES] == MAX_ENTRIES:
                        return np.int64(-1)
                    entry = ENTRIES + 3 * marks[N_ENTRIES]
                    marks[entry], marks[entry + 1], marks[entry + 2] = begin, length, position
                    marks[N_ENTRIES] += 1
            continue
        if length == -2 or is_key:
            return np.int64(-1)
        width = width_of(buffer, position)
        if width > 0:
            position += width
            if position > len(buffer):
                return np.int64(-1)
            continue
        begin = position
        size, position = read_size(buffer, begin, 0x80, 0xDE)
        is_map = size >= 0
        if size == -1:
            size, position = read_size(buffer, begin, 0x90, 0xDC)
        if size < 0 or depth == MAX_DEPTH:
            return np.int64(-1)
        depth += 1
        top = STACK + 3 * depth
        marks[top], marks[top + 1], marks[top + 2] = (2 * size if is_map else size), is_map, begin


@inlined
def column_of(row, column, program):
    """Return what an operation has in a column."""
    return program.operations[row * OPERATION_COLUMNS + column]


@inlined
def operation_at(row, buffer, place, program):
    """Return the operation of a row, for the value at a place."""
    length, start = read_string(buffer, place)
    return Operation(
        column_of(row, TEXT, program), column_of(row, N_TEXTS, program), column_of(row, FIRST_NUMBER, program),
        column_of(row, N_NUMBERS, program), np.int64(start), length,
    )  # fmt: skip


@compiled
def is_text(buffer, start, length, text, program):
    """Tell whether bytes are one of the program's texts."""
    first, i = program.spans[text], np.int64(0)
    if program.spans[text + 1] - first != length:
        return False
    while i < length and buffer[start + i] == program.texts[first + i]:
        i += 1
    return i == length


@compiled
def look_up(buffer, position, text, program):
    """Return the place of a name's value in a map, or ABSENT, or MISTAKEN if it is no map."""
    size, position = read_size(buffer, position, 0x80, 0xDE)
    if size < 0:
        return MISTAKEN
    for _ in range(size):
        length, begin = read_string(buffer, position)
        if is_text(buffer, begin, length, text, program):
            return np.int64(begin + length)
        position = skip(buffer, begin + length)
    return ABSENT


@compiled
def locate(buffer, path, program, marks):
    """Return the place of a path's value in the record, or ABSENT (None is, too), or MISTAKEN."""
    text, n_parts = program.paths[2 * path], program.paths[2 * path + 1]
    place = marks[ROOT]
    if n_parts > 0:
        if buffer[place] & 0xF0 != 0x80 and buffer[place] & 0xFE != 0xDE:
            return MISTAKEN
        place, hint = ABSENT, marks[HINTS + path]
        for i in range(-1, marks[N_ENTRIES]):
            at = hint if i < 0 else i
            entry = ENTRIES + 3 * at
            if at < marks[N_ENTRIES] and is_text(buffer, marks[entry], marks[entry + 1], text, program):
                marks[HINTS + path] = at
                place = marks[entry + 2]
                break
    for i in range(1, n_parts):
        if place < 0 or buffer[place] == NIL:
            break
        place = look_up(buffer, place, text + i, program)
    return place if place < 0 or buffer[place] != NIL else ABSENT
