"""Columns: fields of one kind of value each, see `featurizers.columns`."""

import numpy as np

from learner.kernels.jit import compiled, no
from learner.kernels.program.amounts import has_digit, is_word, parse_amount, strip
from learner.kernels.program.layout import (
    BLANK,
    CANNOT,
    CODE,
    COLUMN_CATEGORY,
    COLUMN_CELLS,
    COLUMN_DATE,
    COLUMN_DATE_HEADS,
    COLUMN_FEATURE,
    COLUMN_MISSING,
    COLUMN_NUMBER,
    COLUMN_SILENT,
    COLUMN_YES_NO,
    DONE,
    ENTRIES,
    FAULT,
    MAX_MISSING,
    N_ENTRIES,
    N_PARTS,
    NIL,
    OWNER,
    PRESENT,
    TEXT,
    Operation,
)
from learner.kernels.program.moments import (
    DAY,
    HOUR,
    MONTH,
    N_WEEKDAYS,
    WEEKDAY,
    YEAR,
    add_part,
    days_since_1970,
    read_moment,
)
from learner.kernels.program.numbers import add_category, add_cells, add_number
from learner.kernels.program.reading import column_of, is_ascii, is_text, operation_at
from learner.kernels.program.strings import add_words, is_of, n_characters
from learner.kernels.program.whole import add_fields
from learner.kernels.program.writing import add_text
from learner.kernels.scanner import read_number

N_WORDS = 5  # of the columns' numbers, the place of the number of currencies


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
def add_otherwise(buffer, place, part, program, work):
    """Add a value that should be a number or a date and isn't: it is a category, and the number is missing."""
    if part.length >= 0 and (
        has_digit(buffer, part.start, part.length) or not is_ascii(buffer, part.start, part.length)
    ):
        work.marks[FAULT] = CANNOT  # it may be one in another form
        return
    add_category(buffer, place, part, program, work)
    add_text(part.text + COLUMN_MISSING, 1.0, program, work)


@compiled
def number_of(buffer, place, part, op, program):
    """Return whether the value of a column of numbers is one, and this number."""
    if part.length < 0:
        kind, x, _ = read_number(buffer, place)
        return kind == 1 and x - x == 0.0, x
    kind, has_comma = np.int64(program.numbers[part.number]), program.numbers[part.number + 1] != 0.0
    first, n = op.text + 2, np.int64(program.numbers[op.number + N_WORDS])
    for i in range(1, N_WORDS):
        first += np.int64(program.numbers[op.number + i])
    return parse_amount(buffer, part.start, part.length, kind, has_comma, first, n, program)


@compiled
def add_number_column(buffer, place, part, op, program, work):
    """Do a column of numbers, of money or of percentages."""
    is_number, x = number_of(buffer, place, part, op, program)
    if is_number:
        add_number(x, part.text + COLUMN_FEATURE, program, work)
    elif part.length >= 0:
        add_otherwise(buffer, place, part, program, work)
    else:
        work.marks[FAULT] = CANNOT


@compiled
def add_date_column(buffer, place, part, program, work):
    """Do a column of dates."""
    heads = part.text + COLUMN_DATE_HEADS
    weekdays, forms = heads + 4, heads + 4 + N_WEEKDAYS
    is_date, moment = no(), np.int64(0)
    if part.length >= 0:
        start, end = strip(buffer, part.start, part.start + part.length)
        n = part.text + part.n_texts - forms
        is_date, moment = read_moment(buffer, start, end, forms, n, program, work.marks)
    if not is_date:
        add_otherwise(buffer, place, part, program, work)
        return
    is_exact, days = days_since_1970(moment)
    if not is_exact:
        work.marks[FAULT] = CANNOT
    add_number(days, part.text + COLUMN_FEATURE, program, work)
    add_part(YEAR, heads, weekdays, moment, program, work)
    add_part(MONTH, heads + 1, weekdays, moment, program, work)
    add_part(WEEKDAY, heads + 2, weekdays, moment, program, work)
    if moment % DAY != 0:
        add_part(HOUR, heads + 3, weekdays, moment, program, work)


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
    part = operation_at(row, buffer, place, program)
    length = part.length
    if length >= 0:
        is_missing = is_missing_text(buffer, part.start, length, op, program, marks)
    else:
        _, x, _ = read_number(buffer, place)
        is_missing = buffer[place] == NIL or x != x
    marks[OWNER] += 1
    if is_missing:
        add_text(part.text + COLUMN_MISSING, 1.0, program, work)
    elif code == COLUMN_NUMBER:
        add_number_column(buffer, place, part, op, program, work)
    elif code == COLUMN_DATE:
        add_date_column(buffer, place, part, program, work)
    elif code == COLUMN_CATEGORY:
        add_category(buffer, place, part, program, work)
    elif code == COLUMN_YES_NO:
        add_yes_no_column(buffer, place, part, op, program, work)
    elif length < 0:
        marks[FAULT] = CANNOT
    else:
        add_words(buffer, part, program, work)
        add_text(part.text + COLUMN_FEATURE, float(n_characters(buffer, part.start, length)), program, work)


@compiled
def coordinate(row, k, buffer, op, program, marks):
    """Return whether the record has a number in its column k, and this number."""
    if marks[PRESENT + k] == 0:
        return no(), 0.0
    place = marks[PRESENT + k]
    return number_of(buffer, place, operation_at(row + 1 + k, buffer, place, program), op, program)


@compiled
def add_column_cells(row, of_cells, buffer, op, program, work):
    """Do the cells of a place, whose numbers begin with the places of its columns."""
    part = operation_at(of_cells, buffer, op.start, program)
    numbers = program.numbers
    has_lat, lat = coordinate(row, np.int64(numbers[part.number]), buffer, op, program, work.marks)
    has_lon, lon = coordinate(row, np.int64(numbers[part.number + 1]), buffer, op, program, work.marks)
    if has_lat and has_lon and abs(lat) <= 90.0 and abs(lon) <= 180.0:
        sizes = Operation(part.text, part.n_texts, part.number + 2, part.n_numbers - 2, part.start, part.length)
        add_cells(lat, lon, sizes, program, work)


@compiled
def add_columns(row, buffer, op, program, work):
    """Do `columns`, whose parts are the next operations: declared fields, others, absent ones, cells of places."""
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
            marks[PRESENT + k] = marks[entry + 2]
            add_column(row + 1 + k, marks[entry + 2], buffer, op, program, work)
        if marks[FAULT] != DONE:
            return
    add_fields(buffer, op, program, work)
    for k in range(n):
        code = column_of(row + 1 + k, CODE, program)
        if code == COLUMN_CELLS:
            add_column_cells(row, row + 1 + k, buffer, op, program, work)
        elif marks[PRESENT + k] == 0 and code != COLUMN_SILENT:
            add_text(column_of(row + 1 + k, TEXT, program) + COLUMN_MISSING, 1.0, program, work)
