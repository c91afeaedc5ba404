"""Columns: fields of one kind of value each, see `featurizers.columns`."""

import numpy as np

from learner.kernels.jit import compiled, no, yes
from learner.kernels.program.layout import (
    BLANK,
    CANNOT,
    CODE,
    COLUMN_CATEGORY,
    COLUMN_FEATURE,
    COLUMN_MISSING,
    COLUMN_NUMBER,
    COLUMN_SILENT,
    COLUMN_YES_NO,
    DASH,
    DONE,
    DOT,
    ENTRIES,
    FAULT,
    FIRST_NUMBER,
    MAX_EXACT_DIGITS,
    MAX_EXACT_POWER,
    MAX_MISSING,
    N_ENTRIES,
    N_NUMBERS,
    N_PARTS,
    N_TEXTS,
    NIL,
    OWNER,
    PLUS,
    PRESENT,
    TEXT,
    Operation,
)
from learner.kernels.program.numbers import add_category
from learner.kernels.program.reading import column_of, is_ascii, is_text
from learner.kernels.program.strings import add_words, is_of, n_characters
from learner.kernels.program.whole import add_fields
from learner.kernels.program.writing import add_text
from learner.kernels.scanner import read_number, read_string


@compiled
def is_word(buffer, start, length, first, n, program):
    """Tell whether ASCII text, in lower case, is one of n words."""
    for text in range(first, first + n):
        begin, i = program.spans[text], np.int64(0)
        if program.spans[text + 1] - begin == length:
            while i < length:
                c = buffer[start + i]
                if (c + 32 if 65 <= c <= 90 else c) != program.texts[begin + i]:
                    break
                i += 1
            if i == length:
                return yes()
    return no()


@compiled
def is_missing_text(buffer, start, length, op, program, marks):
    """Tell whether a text is one of the words for a missing value, with blanks around it.

    It is a fault if all of a text may be blanks that are many, or beyond ASCII.
    """
    end, is_long = start + length, n_characters(buffer, start, length) > MAX_MISSING
    if is_long or not is_ascii(buffer, start, length):
        for i in range(start, end):
            c = np.int64(buffer[i])
            is_letter = 0xC3 <= c <= 0xE0 or c >= 0xE4  # the first byte of a character that is no blank
            if is_letter or (is_long and c < 0x80 and not is_of(c, BLANK, program)):
                return no()
        marks[FAULT] = CANNOT
        return no()
    while start < end and is_of(np.int64(buffer[start]), BLANK, program):
        start += 1
    while start < end and is_of(np.int64(buffer[end - 1]), BLANK, program):
        end -= 1
    first = op.text + 2 + np.int64(program.numbers[op.number + 1])
    return is_word(buffer, start, end - start, first, np.int64(program.numbers[op.number + 2]), program)


@compiled
def parse_decimal(buffer, start, length):
    """Return whether a text is a plain decimal whose value takes one rounding, and this value."""
    i, end = start, start + length
    is_negative = length > 0 and buffer[i] == DASH
    if length > 0 and (buffer[i] == DASH or buffer[i] == PLUS):
        i += 1
    digits, n_significant, power, n_digits_read = np.int64(0), 0, np.int64(0), 0
    after_point = no()
    while i < end and (48 <= buffer[i] <= 57 or (buffer[i] == DOT and not after_point)):
        if buffer[i] == DOT:
            after_point = yes()
        else:
            digits = digits * 10 + np.int64(buffer[i] - 48)
            n_digits_read += 1
            n_significant += digits > 0
            power -= after_point
            if n_significant > MAX_EXACT_DIGITS:
                return no(), 0.0
        i += 1
    if n_digits_read == 0:
        return no(), 0.0
    if i < end and (buffer[i] == 69 or buffer[i] == 101):
        i += 1
        sign = -1 if i < end and buffer[i] == DASH else 1
        if i < end and (buffer[i] == DASH or buffer[i] == PLUS):
            i += 1
        exponent = 0
        if i == end or end - i > 3:
            return no(), 0.0
        while i < end and 48 <= buffer[i] <= 57:
            exponent = exponent * 10 + np.int64(buffer[i] - 48)
            i += 1
        power += sign * exponent
    if i < end or abs(power) > MAX_EXACT_POWER:
        return no(), 0.0
    scale = 1.0
    for _ in range(abs(power)):
        scale *= 10.0
    x = float(digits) / scale if power < 0 else float(digits) * scale
    return yes(), -x if is_negative else x


@compiled
def add_number_column(buffer, place, part, program, work):
    """Do a column of numbers."""
    kind, x, _ = read_number(buffer, place)
    is_number = kind == 1
    if part.length >= 0:
        is_number, x = parse_decimal(buffer, part.start, part.length)
    if not is_number or x - x != 0.0:
        work.marks[FAULT] = CANNOT
    elif x != 0.0:
        add_text(part.text + COLUMN_FEATURE, x, program, work)


@compiled
def add_yes_no_column(buffer, place, part, op, program, work):
    """Do a column of yes and no."""
    n_before = np.int64(program.numbers[op.number + 1] + program.numbers[op.number + 2])
    first, n_yes = op.text + 2 + n_before, np.int64(program.numbers[op.number + 3])
    n_no = np.int64(program.numbers[op.number + 4])
    is_yes, is_no = no(), no()
    if part.length >= 0:
        ends = part.length > 0 and (
            is_of(np.int64(buffer[part.start]), BLANK, program)
            or is_of(np.int64(buffer[part.start + part.length - 1]), BLANK, program)
        )
        if ends or not is_ascii(buffer, part.start, part.length):
            work.marks[FAULT] = CANNOT
            return
        is_yes = is_word(buffer, part.start, part.length, first, n_yes, program)
        is_no = is_word(buffer, part.start, part.length, first + n_yes, n_no, program)
    else:
        kind, x, _ = read_number(buffer, place)
        is_yes, is_no = kind == 1 and x == 1.0, kind == 1 and x == 0.0
    if is_yes:
        add_text(part.text + COLUMN_FEATURE, 1.0, program, work)
    elif not is_no:
        add_category(buffer, place, part, program, work)


@compiled
def add_column(row, place, buffer, op, program, work):
    """Do the column of a row for the value at a place."""
    marks = work.marks
    code = column_of(row, CODE, program)
    if code == COLUMN_SILENT:
        return
    length, start = read_string(buffer, place)
    part = Operation(
        column_of(row, TEXT, program), column_of(row, N_TEXTS, program), column_of(row, FIRST_NUMBER, program),
        column_of(row, N_NUMBERS, program), np.int64(start), length,
    )  # fmt: skip
    if length >= 0:
        is_missing = is_missing_text(buffer, start, length, op, program, marks)
    else:
        _, x, _ = read_number(buffer, place)
        is_missing = buffer[place] == NIL or x != x
    marks[OWNER] += 1
    if is_missing:
        add_text(part.text + COLUMN_MISSING, 1.0, program, work)
    elif code == COLUMN_NUMBER:
        add_number_column(buffer, place, part, program, work)
    elif code == COLUMN_CATEGORY:
        add_category(buffer, place, part, program, work)
    elif code == COLUMN_YES_NO:
        add_yes_no_column(buffer, place, part, op, program, work)
    elif length < 0:
        marks[FAULT] = CANNOT
    else:
        add_words(buffer, part, program, work)
        add_text(part.text + COLUMN_FEATURE, float(n_characters(buffer, start, length)), program, work)


@compiled
def add_columns(row, buffer, op, program, work):
    """Do `columns`, whose parts are the next operations: first declared fields, then the others, then those that are absent."""
    marks, n = work.marks, column_of(row, N_PARTS, program)
    for k in range(n):
        marks[PRESENT + k] = 0
    k = np.int64(0)  # mostly the fields come in the same order
    for i in range(marks[N_ENTRIES]):
        entry = ENTRIES + 3 * i
        n_tried = 0
        while n_tried < n and not is_text(buffer, marks[entry], marks[entry + 1], op.text + 2 + k, program):
            k = k + 1 if k + 1 < n else np.int64(0)
            n_tried += 1
        if n_tried < n:
            marks[PRESENT + k] = 1
            add_column(row + 1 + k, marks[entry + 2], buffer, op, program, work)
        if marks[FAULT] != DONE:
            return
    add_fields(buffer, op, program, work)
    for k in range(n):
        if marks[PRESENT + k] == 0 and column_of(row + 1 + k, CODE, program) != COLUMN_SILENT:
            add_text(column_of(row + 1 + k, TEXT, program) + COLUMN_MISSING, 1.0, program, work)
