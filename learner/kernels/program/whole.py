"""Whole records, images, and crosses."""

import numpy as np

from learner.kernels.hashing import n_digits
from learner.kernels.jit import compiled, no, yes
from learner.kernels.program.layout import (
    AMPERSAND,
    BOUNDS,
    CANNOT,
    CHOSEN,
    COMMA,
    DONE,
    DOT,
    EQUALS,
    F_LENGTH,
    FALSE,
    FAULT,
    FEATURES,
    MAIN,
    MAX_EMITTED,
    NIL,
    OWNER,
    PARTS,
    SINK,
    STACK,
    TRUE,
)
from learner.kernels.program.numbers import write_whole
from learner.kernels.program.reading import is_text
from learner.kernels.program.writing import add, begin_name, copy
from learner.kernels.scanner import read_number, read_size, read_string, skip


@compiled
def begin_path(depth, extra, buffer, op, program, work):
    """Begin a name with the prefix and the names of the maps and of the field that are open, before so many more bytes."""
    marks = work.marks
    extra += depth
    for level in range(depth + 1):
        extra += marks[STACK + 3 * level + 2]
    at = begin_name(op.text, np.int64(extra), program, work)
    if at >= 0:
        for level in range(depth + 1):
            if level > 0:
                work.out[at] = DOT
                at += 1
            at = copy(buffer, marks[STACK + 3 * level + 1], marks[STACK + 3 * level + 2], work.out, at)
    return at


@compiled
def add_path(depth, value, is_missing, buffer, op, program, work):
    """Add the feature that has the name of the open field; with the suffix of missing ones, if it is."""
    spans = program.spans
    n_suffix = spans[op.text + 2] - spans[op.text + 1] if is_missing else 0
    at = begin_path(depth, n_suffix, buffer, op, program, work)
    if at >= 0:
        at = copy(program.texts, spans[op.text + 1], n_suffix, work.out, at)
        add(at, value, no(), program, work)


@compiled
def add_item(depth, start, length, counts, buffer, op, program, work):
    """Add the feature of the open field with a text as its value."""
    at = begin_path(depth, length + 1, buffer, op, program, work)
    if at >= 0:
        work.out[at] = EQUALS
        add(copy(buffer, start, length, work.out, at + 1), 1.0, counts, program, work)


@compiled
def add_bag(depth, position, buffer, op, program, work):
    """Add the features of a list of texts."""
    n, position = read_size(buffer, position, 0x90, 0xDC)
    work.marks[OWNER] += 1
    for _ in range(n):
        length, start = read_string(buffer, position)
        if length < 0:
            work.marks[FAULT] = CANNOT
        if work.marks[FAULT] != DONE:
            return
        add_item(depth, start, length, yes(), buffer, op, program, work)
        position = start + length


@compiled
def add_value(depth, position, buffer, op, program, work):
    """Add the feature of the open field, whose value is neither a map nor a list."""
    length, start = read_string(buffer, position)
    if length > 0:
        add_item(depth, start, length, no(), buffer, op, program, work)
        return
    _, x, _ = read_number(buffer, position)
    is_missing = length == 0 or buffer[position] == NIL or x != x
    if is_missing:
        x = 1.0
    if abs(x) == np.inf:
        work.marks[FAULT] = CANNOT
    elif x != 0.0:
        add_path(depth, x, is_missing, buffer, op, program, work)


@compiled
def is_left_out(start, length, buffer, op, program):
    """Tell whether a field of the map itself is not taken."""
    mode = program.numbers[op.number]
    if mode == 0.0:
        return False
    for text in range(op.text + 2, op.text + 2 + np.int64(program.numbers[op.number + 1])):
        if is_text(buffer, start, length, text, program):
            return mode < 0.0
    return mode > 0.0


@compiled
def add_fields(buffer, op, program, work):
    """Do `fields`."""
    marks = work.marks
    size, position = read_size(buffer, op.start, 0x80, 0xDE)
    if size < 0:
        marks[FAULT] = CANNOT
        return
    depth, marks[STACK] = np.int64(0), size  # what is left of the map; the name of its field that is open
    while marks[FAULT] == DONE:
        level = STACK + 3 * depth
        if marks[level] == 0:
            depth -= 1
            if depth < 0:
                return
            continue
        marks[level] -= 1
        length, start = read_string(buffer, position)
        position = start + length
        c = buffer[position]
        if length == 0:
            marks[FAULT] = CANNOT
        elif depth == 0 and is_left_out(start, length, buffer, op, program):
            position = skip(buffer, position)
        else:
            marks[level + 1], marks[level + 2] = start, length
            if c & 0xF0 == 0x80 or c & 0xFE == 0xDE:
                depth += 1
                marks[level + 3], position = read_size(buffer, position, 0x80, 0xDE)
            else:
                if c & 0xF0 == 0x90 or c & 0xFE == 0xDC:
                    add_bag(depth, position, buffer, op, program, work)
                else:
                    add_value(depth, position, buffer, op, program, work)
                position = skip(buffer, position)


@compiled
def add_pixel(i, j, end, position, buffer, op, program, work):
    """Add the pixel at a row and a column, whose name ends in a text; return the place after its number."""
    kind, x, after = read_number(buffer, position)
    if kind != 1 or FALSE <= buffer[position] <= TRUE or x - x != 0.0:
        work.marks[FAULT] = CANNOT
    elif x != 0.0:
        n_end = program.spans[end + 1] - program.spans[end]
        at = begin_name(op.text, np.int64(n_digits(i) + 1 + n_digits(j) + n_end), program, work)
        if at >= 0:
            at = write_whole(i, at, work.out)
            work.out[at] = COMMA
            at = write_whole(j, at + 1, work.out)
            add(copy(program.texts, program.spans[end], n_end, work.out, at), x, no(), program, work)
    return np.int64(after)


@compiled
def add_pixels(buffer, op, program, work):
    """Do `pixels`; the first pixel says how many there are in a row, and whether they have channels."""
    marks, n_channels = work.marks, op.n_texts - 2
    n_rows, position = read_size(buffer, op.start, 0x90, 0xDC)
    n_columns, is_deep = np.int64(-1), False
    if n_rows < 0:
        marks[FAULT] = CANNOT
    for i in range(n_rows):
        size, position = read_size(buffer, position, 0x90, 0xDC)
        if i == 0:
            n_columns = size
            is_deep = size > 0 and (buffer[position] & 0xF0 == 0x90 or buffer[position] & 0xFE == 0xDC)
        if size < 0 or size != n_columns or n_rows * size * (n_channels if is_deep else 1) > MAX_EMITTED:
            marks[FAULT] = CANNOT
        for j in range(size):
            if marks[FAULT] != DONE:
                return
            if not is_deep:
                position = add_pixel(np.int64(i), np.int64(j), op.text + 1, position, buffer, op, program, work)
                continue
            n, position = read_size(buffer, position, 0x90, 0xDC)
            if n != n_channels:
                marks[FAULT] = CANNOT
                return
            for k in range(n):
                position = add_pixel(np.int64(i), np.int64(j), op.text + 2 + k, position, buffer, op, program, work)


@compiled
def join(n_parts, op, program, work):
    """Add the features of a cross, of which each part's features lie between two bounds."""
    out, marks, values = work.out, work.marks, work.values
    total, longest = 1, 0
    for k in range(n_parts):
        n = marks[BOUNDS + k + 1] - marks[BOUNDS + k]
        total *= n
        longest = max(longest, n)
    marks[SINK] = MAIN
    if total > MAX_EMITTED or (n_parts > 2 and longest > 1):
        marks[FAULT] = CANNOT
        return
    for i in range(total):
        rest, product, extra = i, 1.0, np.int64(n_parts - 1)
        for k in range(n_parts - 1, -1, -1):
            n = marks[BOUNDS + k + 1] - marks[BOUNDS + k]
            marks[CHOSEN + k] = marks[BOUNDS + k] + rest % n
            rest //= n
            extra += marks[PARTS + FEATURES + 4 * marks[CHOSEN + k] + F_LENGTH]
        for k in range(n_parts):
            product *= values[MAX_EMITTED + marks[CHOSEN + k]]
        if product == 0.0:
            continue
        at = begin_name(op.text, extra, program, work)
        if at < 0 or product - product != 0.0:
            marks[FAULT] = max(marks[FAULT], CANNOT)
            return
        for k in range(n_parts):
            if k > 0:
                out[at] = AMPERSAND
                at += 1
            feature = PARTS + FEATURES + 4 * marks[CHOSEN + k]
            at = copy(out, marks[feature], marks[feature + F_LENGTH], out, at)
        add(at, product, no(), program, work)
