"""A featurizer's program: one interpreter for all featurizers, from records in msgpack to features in msgpack.

An operation is what a feature template does (see `featurizers.operations`). The interpreter reads a record's fields where they
lie in the buffer, writes each feature name by copying a constant and a slice of the record, and replaces the value of a name
that is there already, as a dict does. It gives up on a record that it can't do exactly as the templates do, such as one with a
wrong type or a name over 255 bytes; the templates then do this record, and raise their own errors.

All text is bytes here. Operations that must know more of a character than where it ends do ASCII only.
"""

import numpy as np

from learner.kernels.bits import store, swap
from learner.kernels.hashing import is_utf8
from learner.kernels.jit import compiled, no
from learner.kernels.program.columns import add_columns
from learner.kernels.program.emails import add_email
from learner.kernels.program.layout import (
    ABSENT,
    BOUNDS,
    CANNOT,
    CATEGORY,
    CELLS,
    CHARACTER_NGRAMS,
    CODE,
    COLUMNS,
    CONTAINS,
    CROSS,
    DONE,
    EMAIL_PARTS,
    ENDS_WITH,
    F_LENGTH,
    FAULT,
    FEATURES,
    FIELDS,
    FLOAT64,
    FRACTION,
    FULL,
    LAST_OF_STRINGS,
    LENGTH_GREATER,
    MAIN,
    MAX_LENGTH,
    MISTAKEN,
    N_PARTS,
    OPTIONAL,
    OUT_BYTES,
    OWNER,
    PARTS,
    PARTS_START,
    PATH,
    PATH_2,
    PIXELS,
    POSITION,
    ROOM,
    ROOT,
    SHAPE,
    STAMP,
    SUM_OF_SQUARES,
    TEXT,
    TIME_CYCLES,
    TIME_PARTS,
    WORDS,
    N,
    Operation,
)
from learner.kernels.program.moments import N_WEEKDAYS, add_time_cycles, add_time_parts, moment_at
from learner.kernels.program.numbers import add_category, add_cells, add_number, add_of_number, number_at
from learner.kernels.program.reading import (
    column_of,
    is_ascii,
    locate,
    operation_at,
    read_record,
    renew_stamp,
    width_of,
)
from learner.kernels.program.strings import (
    add_contained,
    add_ends,
    add_fractions,
    add_lengths,
    add_ngrams,
    add_shape,
    add_words,
)
from learner.kernels.program.whole import add_fields, add_pixels, join
from learner.kernels.program.writing import copy, open_sink
from learner.kernels.scanner import read_size, read_string


@compiled
def do(row, buffer, program, work):
    """Do one operation."""
    marks = work.marks
    code, path = column_of(row, CODE, program), column_of(row, PATH, program)
    place = locate(buffer, path, program, marks)
    other = locate(buffer, column_of(row, PATH_2, program), program, marks) if code == CELLS else place
    if place < 0 or other < 0:
        if place != ABSENT or other != ABSENT or column_of(row, OPTIONAL, program) == 0:
            marks[FAULT] = CANNOT
        return
    op = operation_at(row, buffer, place, program)
    marks[OWNER] += 1
    if code <= LAST_OF_STRINGS:
        if op.length < 0 or (code == EMAIL_PARTS and not is_ascii(buffer, op.start, op.length)):
            marks[FAULT] = CANNOT
        else:
            do_string(code, buffer, op, program, work)
    elif code == CATEGORY:
        add_category(buffer, place, op, program, work)
    elif code == FIELDS:
        add_fields(buffer, op, program, work)
    elif code == COLUMNS:
        add_columns(row, buffer, op, program, work)
    elif code == PIXELS:
        add_pixels(buffer, op, program, work)
    elif code == SUM_OF_SQUARES:
        add_sum(row, buffer, op, program, work)
    elif code in (TIME_PARTS, TIME_CYCLES):
        do_moment(code, place, buffer, op, program, work)
    else:
        is_there, x = number_at(buffer, place, row, program, marks)
        if code == CELLS:
            is_other, y = number_at(buffer, other, row, program, marks)
            if is_there and is_other:
                add_cells(x, y, op, program, work)
        elif is_there:
            add_of_number(code, x, op, program, work)


@compiled
def add_sum(row, buffer, op, program, work):
    """Do `sum_of_squares`, whose numbers are the next operations."""
    total = 0.0
    for k in range(row + 1, row + 1 + column_of(row, N_PARTS, program)):
        place = locate(buffer, column_of(k, PATH, program), program, work.marks)
        is_there, x = no(), 0.0
        if place >= 0:
            is_there, x = number_at(buffer, place, np.int64(k), program, work.marks)
        elif place == MISTAKEN or column_of(k, OPTIONAL, program) == 0:
            work.marks[FAULT] = CANNOT
        if not is_there:
            return
        total += x * x
    add_number(total, op.text, program, work)


@compiled
def do_moment(code, place, buffer, op, program, work):
    """Do an operation on a moment."""
    text = op.text + (op.n_numbers + N_WEEKDAYS if code == TIME_PARTS else op.n_numbers)
    is_there, moment = moment_at(buffer, place, op, text, op.text + op.n_texts - text, program, work.marks)
    if not is_there:
        work.marks[FAULT] = CANNOT
    elif code == TIME_PARTS:
        add_time_parts(moment, op, program, work)
    else:
        add_time_cycles(moment, op, program, work)


@compiled
def do_string(code, buffer, op, program, work):
    """Do an operation on a string."""
    if code <= LENGTH_GREATER:
        add_lengths(code, buffer, op, program, work)
    elif code == CONTAINS:
        add_contained(buffer, op, program, work)
    elif code <= ENDS_WITH:
        add_ends(code, buffer, op, program, work)
    elif code == FRACTION:
        add_fractions(buffer, op, program, work)
    elif code == SHAPE:
        add_shape(buffer, op, program, work)
    elif code == CHARACTER_NGRAMS:
        add_ngrams(buffer, op, program, work)
    elif code == WORDS:
        add_words(buffer, op, program, work)
    else:
        add_email(buffer, op, program, work)


@compiled
def do_cross(row, buffer, program, work):
    """Do a cross, whose parts are the next operations."""
    marks, n_parts = work.marks, column_of(row, N_PARTS, program)
    place = locate(buffer, column_of(row, PATH, program), program, marks)
    if place < 0:
        if place == MISTAKEN or column_of(row, OPTIONAL, program) == 0:
            marks[FAULT] = CANNOT
        return
    stamp = marks[STAMP]
    open_sink(np.int64(PARTS), np.int64(PARTS_START), marks)
    marks[BOUNDS] = 0
    for k in range(n_parts):
        renew_stamp(marks)
        do(row + 1 + k, buffer, program, work)
        marks[BOUNDS + k + 1] = marks[PARTS + N]
        if marks[FAULT] != DONE:
            return
    marks[STAMP] = stamp
    op = Operation(column_of(row, TEXT, program), 0, 0, 0, np.int64(0), np.int64(0))
    join(n_parts, op, program, work)


@compiled
def featurize(buffer, start, at, program, work):
    """Write the features of the record at a place, which is plain; return the end of what is written, or -1."""
    marks, out = work.marks, work.out
    marks[ROOT], marks[FAULT], marks[OWNER] = start, DONE, 0
    if at + ROOM > OUT_BYTES:
        marks[FAULT] = FULL
        return np.int64(-1)
    open_sink(np.int64(MAIN), at + 3, marks)
    row = np.int64(0)
    while row < program.n_operations and marks[FAULT] == DONE:
        if column_of(row, CODE, program) == CROSS:
            do_cross(row, buffer, program, work)
        else:
            do(row, buffer, program, work)
        row += 1 + column_of(row, N_PARTS, program)
    if marks[FAULT] != DONE:
        return np.int64(-1)
    n = marks[MAIN + N]
    out[at], out[at + 1], out[at + 2] = 0xDE, n >> 8, n & 255
    for i in range(n):
        end = marks[MAIN + FEATURES + 4 * i] + marks[MAIN + FEATURES + 4 * i + F_LENGTH]
        out[end] = FLOAT64
        store(out, end + 1, swap(work.words[i]))
    return marks[MAIN + POSITION]


# ---- records and examples, one after another -----------------------------------------------------------------------------
@compiled
def scalar_end(buffer, position):
    """Return the end of a plain scalar or text, -1 if it is none or cut off."""
    length, start = read_string(buffer, position)
    if length >= 0:
        is_plain = length <= MAX_LENGTH and is_utf8(buffer, start, length)
        return start + length if is_plain else np.int64(-1)
    width = 0 if length == -2 else width_of(buffer, position)
    return position + width if width > 0 and position + width <= len(buffer) else np.int64(-1)


@compiled
def featurize_example(buffer, start, at, program, work):
    """Write ``[target, features]`` or ``[target, features, importance]``; return the ends of input and output, or -1 twice."""
    out, fault = work.out, (np.int64(-1), np.int64(-1))
    work.marks[FAULT] = CANNOT
    size, position = read_size(buffer, start, 0x90, 0xDC)
    end = scalar_end(buffer, position) if size == 2 or size == 3 else np.int64(-1)
    if end < 0:
        return fault
    record_end = read_record(buffer, end, program.keys, work.marks)
    importance_end = scalar_end(buffer, record_end) if size == 3 and record_end >= 0 else record_end
    if importance_end < 0:
        return fault
    if at + end - position + ROOM > OUT_BYTES:
        work.marks[FAULT] = FULL
        return fault
    out[at] = 0x90 | size
    at = featurize(buffer, end, copy(buffer, position, end - position, out, at + 1), program, work)
    if at < 0:
        return fault
    return importance_end, copy(buffer, record_end, importance_end - record_end, out, at)


@compiled
def run(buffer, position, are_examples, program, work, ends):
    """Featurize records, or examples of records, that follow one another.

    Parameters
    ----------
    position : int
        Where to start in the buffer.
    are_examples : bool
        Whether each is ``[target, record]`` or ``[target, record, importance]``; the output then has the features in its place.
    ends : int64 array, (2, n)
        Gets where each ends in the buffer, and in the output.

    Returns
    -------
    n, position, n_bytes, code
        How many were done; the place of the next; the bytes of output; CANNOT: the next can't be done here; FULL: there is no
        room for it after the others.
    """
    n, at = 0, np.int64(0)
    while position < len(buffer):
        if n == ends.shape[1]:
            return n, position, at, FULL
        if are_examples:
            after, end = featurize_example(buffer, position, at, program, work)
        else:
            work.marks[FAULT] = CANNOT
            after = read_record(buffer, position, program.keys, work.marks)
            end = featurize(buffer, position, at, program, work) if after >= 0 else np.int64(-1)
        if end < 0:
            return n, position, at, (FULL if n > 0 and work.marks[FAULT] == FULL else CANNOT)
        position, at = after, end
        ends[0, n], ends[1, n] = after, end
        n += 1
    return n, position, at, DONE
