"""Operations on strings: lengths, slices, classes of characters, words, shapes, n-grams."""

import numpy as np

from learner.kernels.bits import NOTHING
from learner.kernels.jit import compiled, inlined, no, yes
from learner.kernels.program.layout import (
    A_BIT_A_BYTE,
    ALPHANUMERIC,
    APOSTROPHE,
    CANNOT,
    CLASS_BITS,
    CURLY_APOSTROPHE,
    ENDS_WITH,
    EVERY_BYTE,
    F_OWNER,
    FAULT,
    FEATURES,
    FIRST_VALUE,
    FULL_BYTES,
    LENGTH,
    LOWER_SHIFT,
    MAX_TEXT,
    NO_LOWER,
    OWNER,
    SEVEN,
    SINK,
    SLICES,
    SPACE,
    STARTS_WITH,
    TEXT_START,
    N,
)
from learner.kernels.program.reading import is_text
from learner.kernels.program.writing import add, add_slice, add_text, begin_name, copy


@compiled
def n_characters(buffer, start, length):
    """Return the number of characters of a text in UTF-8."""
    n = np.int64(0)
    for i in range(start, start + length):
        n += buffer[i] & 0xC0 != 0x80
    return n


@compiled
def size_of_ends(buffer, start, length, n, backwards):
    """Return the bytes of a text's first or last n characters, -1 if it has fewer."""
    if n > length:
        return np.int64(-1)
    if backwards:
        for i in range(length - 1, -1, -1):
            n -= buffer[start + i] & 0xC0 != 0x80
            if n == 0:
                return np.int64(length - i)
        return np.int64(-1)
    for i in range(length):
        if buffer[start + i] & 0xC0 != 0x80:
            if n == 0:
                return np.int64(i)
            n -= 1
    return np.int64(length) if n == 0 else np.int64(-1)


@compiled
def add_lengths(code, buffer, op, program, work):
    """Do `length` or `length_greater`."""
    n = n_characters(buffer, op.start, op.length)
    if code == LENGTH and n > 0:
        add_text(op.text, float(n), program, work)
    for i in range(op.n_numbers):
        if program.numbers[op.number + i] < n:
            add_text(op.text + i, 1.0, program, work)


@compiled
def add_contained(buffer, op, program, work):
    """Do `contains`."""
    for i in range(op.n_texts // 2):
        text = op.text + 2 * i
        n = program.spans[text + 2] - program.spans[text + 1]
        for at in range(op.start, op.start + op.length - n + 1):
            if is_text(buffer, at, n, text + 1, program):
                add_text(text, 1.0, program, work)
                break


@compiled
def add_ends(code, buffer, op, program, work):
    """Do `starts_with` or `ends_with`."""
    for i in range(op.n_numbers):
        n = np.int64(program.numbers[op.number + i])
        size = size_of_ends(buffer, op.start, op.length, n, code == ENDS_WITH)
        if size >= 0:
            at = op.start if code == STARTS_WITH else op.start + op.length - size
            add_slice(op.text, buffer, at, size, program, work)


@inlined
def read_character(buffer, i):
    """Return the character at a place of a text in UTF-8, and the place of the next one."""
    c = np.int64(buffer[i])
    if c < 0x80:
        return c, i + 1
    n = 1 if c < 0xE0 else 2 if c < 0xF0 else 3
    c &= 0x3F >> n
    for k in range(1, n + 1):
        c = c << 6 | np.int64(buffer[i + k]) & 0x3F
    return c, i + n + 1


@inlined
def write_character(c, out, at):
    """Write a character in UTF-8; return the place after it."""
    if c < 0x80:
        out[at] = c
        return at + 1
    n = 1 if c < 0x800 else 2 if c < 0x10000 else 3
    out[at] = 0xF0 << 3 - n & 0xFF | c >> 6 * n
    for k in range(1, n + 1):
        out[at + k] = 0x80 | c >> 6 * (n - k) & 0x3F
    return at + n + 1


@compiled
def is_of(c, kind, program):
    """Tell whether a character belongs to a class."""
    return c < program.n_characters and program.characters[c] & kind != 0


@compiled
def add_fractions(buffer, op, program, work):
    """Do `fraction`: eight classes are counted at once, each in a byte of a word."""
    marks, characters, end = work.marks, program.characters, op.start + op.length
    for k in range(8):
        marks[SLICES + k] = 0
    n, i = 0, op.start
    while i < end:
        counts = NOTHING
        for _ in range(255):
            if i == end:
                break
            c, i = read_character(buffer, i)
            if c >= program.n_characters:
                marks[FAULT] = CANNOT
                return
            bits = np.uint64(characters[c] & CLASS_BITS) * EVERY_BYTE & A_BIT_A_BYTE
            counts += bits + FULL_BYTES >> SEVEN & EVERY_BYTE
            n += 1
        for k in range(8):
            marks[SLICES + k] += np.int64(counts >> np.uint64(8 * k) & np.uint64(255))
    for i in range(op.n_numbers):
        count = marks[SLICES + np.int64(program.numbers[op.number + i])]
        if count > 0:
            add_text(op.text + i, float(count) / float(n), program, work)


@inlined
def find_words(buffer, op, lower, program, work):
    """Copy a text, on demand in lower case; list its words; return their number, or -1 and note the fault."""
    out, marks, end = work.out, work.marks, op.start + op.length
    n_words, i, at, start = np.int64(0), op.start, np.int64(TEXT_START), np.int64(-1)
    is_open = no()  # an apostrophe ends a word, unless another letter or digit follows
    if op.length > MAX_TEXT:
        marks[FAULT] = CANNOT
        return np.int64(-1)
    while i <= end:
        begin, c = at, np.int64(SPACE)
        if i < end:
            c, i = read_character(buffer, i)
        else:
            i += 1
        if c >= program.n_characters:
            marks[FAULT] = CANNOT
            return np.int64(-1)
        if lower:
            c = np.int64(program.characters[c] >> LOWER_SHIFT)
            if c == NO_LOWER:
                marks[FAULT] = CANNOT
                return np.int64(-1)
        at = write_character(c, out, at)
        if is_of(c, ALPHANUMERIC, program):
            start = begin if start < 0 else start
            is_open = no()
        elif start >= 0 and not is_open and c in (APOSTROPHE, CURLY_APOSTROPHE):
            is_open = yes()
            marks[SLICES + 2 * n_words + 1] = begin - start
        elif start >= 0:
            if not is_open:
                marks[SLICES + 2 * n_words + 1] = begin - start
            marks[SLICES + 2 * n_words] = start
            n_words += 1
            start, is_open = np.int64(-1), no()
    return n_words


@compiled
def add_words(buffer, op, program, work):
    """Do `words`."""
    marks, numbers, out = work.marks, program.numbers, work.out
    n_words = find_words(buffer, op, numbers[op.number + 1] != 0.0, program, work)
    for size in range(1, np.int64(numbers[op.number]) + 1):
        for first in range(n_words - size + 1):
            extra = np.int64(size - 1)
            for k in range(first, first + size):
                extra += marks[SLICES + 2 * k + 1]
            at = begin_name(op.text, extra, program, work)
            if at < 0:
                return
            for k in range(first, first + size):
                if k > first:
                    out[at] = SPACE
                    at += 1
                at = copy(out, marks[SLICES + 2 * k], marks[SLICES + 2 * k + 1], out, at)
            add(at, 1.0, yes(), program, work)
    value_counts(op, program, work)


@inlined
def value_counts(op, program, work):
    """Replace the counts of this operation's features by their values."""
    marks, values, sink = work.marks, work.values, work.marks[SINK]
    for i in range(marks[sink + N]):
        if marks[sink + FEATURES + 4 * i + F_OWNER] == marks[OWNER]:
            n = np.int64(values[marks[sink + FIRST_VALUE] + i])
            if n > op.n_numbers - 2:
                marks[FAULT] = CANNOT
                return
            values[marks[sink + FIRST_VALUE] + i] = program.numbers[op.number + 1 + n]


@compiled
def write_shape(buffer, op, at, out):
    """Write the shape of a text; return its end."""
    last = 0
    for i in range(op.start, op.start + op.length):
        c = buffer[i]
        kind = 97 if 97 <= c <= 122 else 65 if 65 <= c <= 90 else 57 if 48 <= c <= 57 else 0
        if kind == 0 or kind != last:
            out[at] = kind if kind != 0 else c
            at += 1
        last = kind
    return at


@compiled
def add_shape(buffer, op, program, work):
    """Do `shape`."""
    if op.length > MAX_TEXT:
        work.marks[FAULT] = CANNOT
        return
    length = write_shape(buffer, op, np.int64(TEXT_START), work.out) - TEXT_START
    at = begin_name(op.text, np.int64(length), program, work)
    if at >= 0:
        add(copy(work.out, np.int64(TEXT_START), length, work.out, at), 1.0, no(), program, work)


@compiled
def add_ngrams(buffer, op, program, work):
    """Do `character_ngrams`."""
    out, marks, numbers, spans = work.out, work.marks, program.numbers, program.spans
    low, high = np.int64(numbers[op.number]), np.int64(numbers[op.number + 1])
    if op.length > MAX_TEXT:
        marks[FAULT] = CANNOT
        return
    end = copy(program.texts, spans[op.text + 1], spans[op.text + 2] - spans[op.text + 1], out, np.int64(TEXT_START))
    are_shapes = numbers[op.number + 2] != 0.0
    end = write_shape(buffer, op, end, out) if are_shapes else copy(buffer, op.start, op.length, out, end)
    end = copy(program.texts, spans[op.text + 2], spans[op.text + 3] - spans[op.text + 2], out, end)
    n = 0
    for i in range(TEXT_START, end):
        if out[i] & 0xC0 != 0x80:
            marks[SLICES + n] = i
            n += 1
    marks[SLICES + n] = end
    for size in range(low, high + 1):
        for i in range(n - size + 1):
            start, length = marks[SLICES + i], marks[SLICES + i + size] - marks[SLICES + i]
            at = begin_name(op.text, length, program, work)
            if at < 0:
                return
            add(copy(out, start, length, out, at), 1.0, numbers[op.number + 3] != 0.0, program, work)
