"""Numbers in texts: decimals, also with separators of thousands, percentages, money; see `featurizers.columns`."""

import numpy as np

from learner.kernels.jit import compiled, inlined, no, yes
from learner.kernels.program.layout import (
    APOSTROPHE,
    COMMA,
    DASH,
    DOT,
    MAX_EXACT_DIGITS,
    MAX_EXACT_POWER,
    MONEY,
    PERCENT,
    PERCENTAGE,
    PLUS,
    SPACE,
    UNDERSCORE,
)

OPEN, CLOSE = ord("("), ord(")")
MAX_CURRENCY = 3  # bytes


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


@inlined
def is_blank(c):
    """Tell whether a byte is one of ASCII's blanks, as Python has them."""
    return c == SPACE or 9 <= c <= 13 or 28 <= c <= 31


@compiled
def strip(buffer, start, end):
    """Return the start and the end of a text without the blanks of ASCII around it."""
    while start < end and is_blank(buffer[start]):
        start += 1
    while start < end and is_blank(buffer[end - 1]):
        end -= 1
    return start, end


@compiled
def has_digit(buffer, start, length):
    """Tell whether a text has a digit of ASCII; without one it is no number and no date."""
    for i in range(start, start + length):
        if 48 <= buffer[i] <= 57:
            return yes()
    return no()


@compiled
def parse_exponent(buffer, start, end):
    """Return whether a text is an exponent of at most three digits, and its value."""
    is_negative = start < end and buffer[start] == DASH
    if start < end and (buffer[start] == DASH or buffer[start] == PLUS):
        start += 1
    exponent = np.int64(0)
    if start == end or end - start > 3:
        return no(), exponent
    for i in range(start, end):
        if not 48 <= buffer[i] <= 57:
            return no(), exponent
        exponent = exponent * 10 + np.int64(buffer[i] - 48)
    return yes(), -exponent if is_negative else exponent


@compiled
def parse_decimal(buffer, start, end, has_groups, has_comma):
    """Return whether a text is a decimal whose value takes one rounding, and this value.

    Parameters
    ----------
    has_groups : bool
        Whether the digits before the point may be in groups of three, all separated by the same character.
    has_comma : bool
        Whether a comma is the decimal point, and a point a separator.
    """
    i = start
    is_negative = start < end and buffer[start] == DASH
    if start < end and (buffer[start] == DASH or buffer[start] == PLUS):
        i += 1
    point, comma = (COMMA, DOT) if has_comma else (DOT, COMMA)
    digits, n_significant, n_read, power = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
    n_group, separator = np.int64(0), np.int64(0)
    after_point = no()
    while i < end:
        c = np.int64(buffer[i])
        if 48 <= c <= 57:
            digits = digits * 10 + c - 48
            n_read += 1
            n_significant += digits > 0
            n_group += not after_point
            power -= after_point
            if n_significant > MAX_EXACT_DIGITS:
                return no(), 0.0
        elif c == point and not after_point:
            after_point = yes()
        elif has_groups and not after_point and (c in (comma, APOSTROPHE, UNDERSCORE) or is_blank(c)):
            if n_group == 0 or n_group > 3 or (separator != 0 and (c != separator or n_group != 3)):
                return no(), 0.0
            separator, n_group = c, np.int64(0)
        else:
            break
        i += 1
    if n_read == 0 or (separator != 0 and (n_group != 3 or i < end)):
        return no(), 0.0
    if i < end:
        is_exponent, exponent = parse_exponent(buffer, i + 1, end)
        if (buffer[i] != 69 and buffer[i] != 101) or not is_exponent:
            return no(), 0.0
        power += exponent
    if abs(power) > MAX_EXACT_POWER:
        return no(), 0.0
    scale = 1.0
    for _ in range(abs(power)):
        scale *= 10.0
    x = float(digits) / scale if power < 0 else float(digits) * scale
    return yes(), -x if is_negative else x


@compiled
def currency_at(buffer, start, end, at_end, first, n, program):
    """Return the bytes of the currency at the start or end of a text, 0 if there is none; letters need a blank beside them."""
    for length in range(1, min(MAX_CURRENCY, end - start) + 1):
        at = end - length if at_end else start
        if is_word(buffer, at, np.int64(length), first, n, program):
            beside = at - 1 if at_end else at + length
            is_apart = start <= beside < end and is_blank(buffer[beside])
            if is_apart or not 65 <= buffer[at] <= 122:
                return np.int64(length)
    return np.int64(0)


@compiled
def parse_money(buffer, start, end, has_comma, first, n, program):
    """Return whether a text is an amount, and this amount; there are n names of currencies from the first one on."""
    is_negative = end - start > 1 and buffer[start] == OPEN and buffer[end - 1] == CLOSE
    if is_negative:
        start, end = strip(buffer, start + 1, end - 1)
    has_sign = start < end and (buffer[start] == DASH or buffer[start] == PLUS)
    begin = start + 1 if has_sign else start
    length = currency_at(buffer, begin, end, no(), first, n, program)
    if has_sign and length > 0:
        has_sign = buffer[start] == DASH
        is_negative = is_negative != has_sign
        start = begin + length
        if start == end or not (48 <= buffer[start] <= 57 or buffer[start] == DOT or buffer[start] == COMMA):
            return no(), 0.0
    elif length > 0:
        start += length
    length = currency_at(buffer, start, end, yes(), first, n, program)
    start, end = strip(buffer, start, end - length)
    is_amount, x = parse_decimal(buffer, start, end, yes(), has_comma)
    return is_amount, -x if is_negative else x


@compiled
def parse_amount(buffer, start, length, kind, has_comma, first, n, program):
    """Return whether a text is a number of a kind of column, and this number; see `parse_money` for the currencies."""
    start, end = strip(buffer, start, start + length)
    if kind == MONEY:
        return parse_money(buffer, start, end, has_comma, first, n, program)
    if kind == PERCENTAGE and start < end and buffer[end - 1] == PERCENT:
        start, end = strip(buffer, start, end - 1)
    return parse_decimal(buffer, start, end, yes(), has_comma)
