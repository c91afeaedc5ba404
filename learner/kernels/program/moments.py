"""Operations on moments: reading them by the forms of `datetime.strptime`, their parts and cycles; see `featurizers.dates`."""

import numpy as np

from learner.kernels.jit import compiled, inlined, no, yes
from learner.kernels.program.layout import COLON, DASH, PERCENT, PLUS, SLICES
from learner.kernels.program.numbers import add_waves, length_of_whole, write_whole
from learner.kernels.program.writing import add, add_text, begin_name, copy
from learner.kernels.scanner import read_number

SECOND = 1_000_000  # microseconds, in which moments since 1970 are counted
DAY_SECONDS = 86_400
DAY = DAY_SECONDS * SECOND
FIRST, LAST = -62_135_596_800 * SECOND, 253_402_300_800 * SECOND  # the years 1 to 9999
EXACT = 1 << 53
N_WEEKDAYS = 7
HOUR, WEEKDAY, WEEKEND, DAY_OF_MONTH, MONTH, YEAR = range(6)  # the order of `featurizers.dates.PARTS`
OF_DAY, OF_WEEK, OF_YEAR = range(3)  # the order of `featurizers.dates.CYCLES`
LETTERS = np.frombuffer(b"YymdHMSfz", np.uint8)  # of the directives
LONG_YEAR, SHORT_YEAR, OF_MONTH, OF_DATE, OF_HOUR, OF_MINUTE, OF_SECOND, FRACTION, ZONE = range(len(LETTERS))


# ---- the calendar --------------------------------------------------------------------------------------------------------
@inlined
def days_of(year, month, day):
    """Return the days from 1970-01-01 to a date (Hinnant, "chrono-compatible low-level date algorithms", days_from_civil)."""
    year -= month <= 2
    era = year // 400
    of_era = year - 400 * era
    of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@compiled
def date_of(days):
    """Return the year, month and day of a number of days since 1970-01-01 (Hinnant, civil_from_days)."""
    days += 719_468
    era = days // 146_097
    of_era = days - era * 146_097
    year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    of_year = of_era - (365 * year + year // 4 - year // 100)
    shifted = (5 * of_year + 2) // 153
    month = shifted + 3 if shifted < 10 else shifted - 9
    return era * 400 + year + (month <= 2), month, of_year - (153 * shifted + 2) // 5 + 1


@inlined
def is_leap(year):
    """Tell whether a year has 366 days."""
    return year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)


@inlined
def days_in(month, year):
    """Return the days of a month."""
    return 28 + is_leap(year) if month == 2 else 30 + ((month + (month > 7)) & 1)


# ---- reading -------------------------------------------------------------------------------------------------------------
@compiled
def read_digits(buffer, start, n, end):
    """Return n digits as a number, -1 if they aren't there."""
    value = np.int64(0)
    if start + n > end:
        return np.int64(-1)
    for i in range(start, start + n):
        if not 48 <= buffer[i] <= 57:
            return np.int64(-1)
        value = value * 10 + np.int64(buffer[i] - 48)
    return value


@compiled
def read_fraction(buffer, start, end):
    """Return three or six digits after the point as microseconds, and their number, -1 if they aren't there."""
    n = np.int64(0)
    while n < 6 and start + n < end and 48 <= buffer[start + n] <= 57:
        n += 1
    if n != 3 and n != 6:
        return np.int64(0), np.int64(-1)
    return read_digits(buffer, start, n, end) * (1000 if n == 3 else 1), n


@compiled
def read_zone(buffer, start, end):
    """Return an offset from UTC in minutes, and its number of bytes, -1 if it isn't there."""
    if start < end and buffer[start] == 90:  # Z
        return np.int64(0), np.int64(1)
    hours, minutes = read_digits(buffer, start + 1, 2, end), read_digits(buffer, start + 4, 2, end)
    is_right = 0 <= hours < 24 and 0 <= minutes < 60 and buffer[start + 3] == COLON
    if not is_right or (buffer[start] != DASH and buffer[start] != PLUS):
        return np.int64(0), np.int64(-1)
    offset = 60 * hours + minutes
    return -offset if buffer[start] == DASH else offset, np.int64(6)


@compiled
def read_directive(buffer, start, end, directive):
    """Return the value of a directive, and its number of bytes, -1 if it isn't there."""
    if directive == ZONE:
        return read_zone(buffer, start, end)
    if directive == FRACTION:
        return read_fraction(buffer, start, end)
    n = np.int64(4 if directive == LONG_YEAR else 2)
    value = read_digits(buffer, start, n, end)
    return value, n if value >= 0 else np.int64(-1)


@inlined
def directive_of(letter):
    """Return the directive of a letter, -1 if there is none."""
    for i in range(len(LETTERS)):
        if LETTERS[i] == letter:
            return i
    return -1


@inlined
def moment_of(values, marks):
    """Return whether the values of directives are a moment, and this moment."""
    year, short, month, day = (
        marks[values],
        marks[values + SHORT_YEAR],
        marks[values + OF_MONTH],
        marks[values + OF_DATE],
    )
    hour, minute, second = marks[values + OF_HOUR], marks[values + OF_MINUTE], marks[values + OF_SECOND]
    if short >= 0:
        year = short + (2000 if short <= 68 else 1900)
    is_time = hour < 24 and minute < 60 and second < 60
    if not (1 <= year <= 9999 and 1 <= month <= 12 and 1 <= day <= days_in(month, year) and is_time):
        return no(), np.int64(0)
    seconds = days_of(year, month, day) * DAY_SECONDS + hour * 3600 + (minute - marks[values + ZONE]) * 60 + second
    moment = seconds * SECOND + marks[values + FRACTION]
    return FIRST <= moment < LAST, moment


@compiled
def read_form(buffer, start, end, text, program, marks):
    """Return whether a text has exactly a form, with the full number of digits, and its moment."""
    at, form, form_end = start, program.spans[text], program.spans[text + 1]
    for i in range(len(LETTERS)):
        marks[SLICES + i] = 0
    marks[SLICES], marks[SLICES + SHORT_YEAR] = 1900, -1
    marks[SLICES + OF_MONTH] = marks[SLICES + OF_DATE] = 1
    while form < form_end:
        c, directive = program.texts[form], -1
        form += 1
        if c == PERCENT:  # a second one stands for itself
            c = program.texts[form]
            form += 1
            directive = directive_of(c)
        value, n = np.int64(0), np.int64(1 if at < end and buffer[at] == c else -1)
        if directive >= 0:
            value, n = read_directive(buffer, at, end, directive)
        if n < 0:
            return no(), np.int64(0)
        if directive >= 0:
            marks[SLICES + directive] = value
        at += n
    is_there, moment = moment_of(np.int64(SLICES), marks)
    return is_there and at == end, moment


@compiled
def read_moment(buffer, start, end, text, n, program, marks):
    """Return whether a text has one of n forms, and its moment."""
    for form in range(text, text + n):
        is_there, moment = read_form(buffer, start, end, np.int64(form), program, marks)
        if is_there:
            return yes(), moment
    return no(), np.int64(0)


@compiled
def moment_of_number(x):
    """Return whether a number of seconds since 1970 is within the calendar, and its moment: see `datetime.timedelta`."""
    if not abs(x) < 1e12:
        return no(), np.int64(0)
    whole = np.trunc(x)
    moment = np.int64(whole) * SECOND + np.int64(np.rint((x - whole) * 1e6))
    return FIRST <= moment < LAST, moment


@compiled
def moment_at(buffer, position, op, text, n, program, marks):
    """Return whether there is a moment at a place, a number or a text of one of n forms, and this moment."""
    if op.length >= 0:
        return read_moment(buffer, op.start, op.start + op.length, text, n, program, marks)
    kind, x, _ = read_number(buffer, position)
    if kind != 1 or 0xC2 <= buffer[position] <= 0xC3:
        return no(), np.int64(0)
    return moment_of_number(x)


# ---- features ------------------------------------------------------------------------------------------------------------
@compiled
def add_part(part, text, weekdays, moment, program, work):
    """Add a part of a moment: a name that is a text and a number, or a weekday, or nothing more."""
    days = moment // DAY
    weekday = (days + 3) % 7
    year, month, day = date_of(days)
    if part == WEEKEND:
        if weekday >= 5:
            add_text(text, 1.0, program, work)
        return
    if part == WEEKDAY:
        start = program.spans[weekdays + weekday]
        length = program.spans[weekdays + weekday + 1] - start
        at = begin_name(text, length, program, work)
        if at >= 0:
            add(copy(program.texts, start, length, work.out, at), 1.0, no(), program, work)
        return
    number = (moment - days * DAY) // (3600 * SECOND) if part == HOUR else day if part == DAY_OF_MONTH else month
    number = year if part == YEAR else number
    at = begin_name(text, np.int64(length_of_whole(number)), program, work)
    if at >= 0:
        add(write_whole(number, at, work.out), 1.0, no(), program, work)


@compiled
def add_time_parts(moment, op, program, work):
    """Do `time_parts`."""
    for i in range(op.n_numbers):
        part = np.int64(program.numbers[op.number + i])
        add_part(part, op.text + i, op.text + op.n_numbers, moment, program, work)


@compiled
def share_of(cycle, moment):
    """Return the fraction of a day, week or year that is over."""
    days = moment // DAY
    rest = moment - days * DAY
    of_day = (float(rest // SECOND) + float(rest % SECOND) * 1e-6) / float(DAY_SECONDS)
    if cycle == OF_DAY:
        return of_day
    if cycle == OF_WEEK:
        return (float((days + 3) % 7) + of_day) / 7.0
    year, _, _ = date_of(days)
    return (float(days - days_of(year, np.int64(1), np.int64(1))) + of_day) / (366.0 if is_leap(year) else 365.0)


@compiled
def add_time_cycles(moment, op, program, work):
    """Do `time_cycles`."""
    for i in range(op.n_numbers // 2):
        place = op.number + 2 * i
        angle = program.numbers[place + 1] * share_of(np.int64(program.numbers[place]), moment)
        add_waves(angle, op.text + 2 * i, program, work)


@compiled
def days_since_1970(moment):
    """Return whether a moment in days takes the roundings of Python's, and this number."""
    is_whole = moment % SECOND == 0
    seconds = float(moment // SECOND) if is_whole else float(moment) / 1e6
    return is_whole or abs(moment) < EXACT, seconds / float(DAY_SECONDS)
