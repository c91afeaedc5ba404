"""The program's records, and the layout of its arrays."""

import threading
from typing import Any, NamedTuple

import numpy as np

from learner.kernels.bits import pointer
from learner.kernels.jit import inlined


class Program(NamedTuple):
    """A featurizer's operations. A text is a number: its place in ``spans``. Arrays are pointers: see `pointed`."""

    operations: Any  # int64, (n, OPERATION_COLUMNS), flattened: see CODE
    paths: Any  # int64, (n, 2), flattened: the text of the first part, and the number of parts
    spans: Any  # int64: where each text starts in ``texts``; and the end
    texts: Any  # uint8, read-only
    numbers: Any  # float64
    characters: (
        Any  # uint32, by character: bits of its classes in `featurizers.strings.CLASSES`; above them its lower case
    )
    keys: Any  # uint64: the secret of `learner.kernels.hashing.hash_name`
    n_operations: Any
    n_characters: Any


class ProgramWork(NamedTuple):
    """The work arrays of one thread, as pointers."""

    out: Any  # uint8: the output; then features that a cross combines; then a text that slices are taken from
    marks: Any  # int64: see below
    values: Any  # float64: of the features, by sink
    words: Any  # uint64: the same memory as ``values``


class Operation(NamedTuple):
    """An operation, with the place of the value that it reads."""

    text: Any
    n_texts: Any
    number: Any
    n_numbers: Any
    start: Any  # of the value; of a string that of its first byte
    length: Any  # of a string


# ---- codes ---------------------------------------------------------------------------------------------------------------
DONE, CANNOT, FULL = range(3)
(
    LENGTH, LENGTH_GREATER, CONTAINS, STARTS_WITH, ENDS_WITH, FRACTION, SHAPE, CHARACTER_NGRAMS, WORDS, EMAIL_PARTS,
    NUMBER, SIGNED_LOG, POWERS, PERIODIC, BINS, CELLS, SUM_OF_SQUARES, TIME_PARTS, TIME_CYCLES, PIXELS, CATEGORY, FIELDS, CROSS,
    COLUMNS, COLUMN_NUMBER, COLUMN_CATEGORY, COLUMN_YES_NO, COLUMN_DATE, COLUMN_TEXT, COLUMN_CELLS, COLUMN_SILENT,
) = range(31)  # fmt: skip
COLUMN_HEAD, COLUMN_FALSE, COLUMN_TRUE, COLUMN_FEATURE, COLUMN_MISSING = range(5)  # the texts of a column
COLUMN_DATE_HEADS = 5  # of a date: the heads of year, month, weekday and hour, then the weekdays, then the forms
PLAIN_NUMBER, MONEY, PERCENTAGE = range(3)  # the kinds of columns of numbers
MAX_COLUMNS = 512
MAX_MISSING = 7  # characters of a word for a missing value, with blanks
MAX_EXACT_DIGITS, MAX_EXACT_POWER = 15, 22  # of decimals: both are exact as float64
OPERATION_COLUMNS = 10
CODE, PATH, OPTIONAL, TEXT, N_TEXTS, FIRST_NUMBER, N_NUMBERS, PATH_2, N_PARTS, PARSES = range(OPERATION_COLUMNS)
LAST_OF_STRINGS, LAST_OF_NUMBERS = EMAIL_PARTS, CELLS

# ---- the output ----------------------------------------------------------------------------------------------------------
OUT_BYTES = 1 << 18  # of a call
PART_BYTES = 1 << 15  # of the features that a cross combines
MAX_TEXT = 8000  # bytes of a text of which words or n-grams are taken
PARTS_START = OUT_BYTES
TEXT_START = OUT_BYTES + PART_BYTES
ALL_BYTES = TEXT_START + 2 * MAX_TEXT + 16  # in lower case a text may be longer; a copy may write 7 bytes more
MAX_LENGTH = 255  # bytes of a name
ROOM = 16  # bytes for a name's header and a value

# ---- marks: registers, the record, and two sinks for features ------------------------------------------------------------
SINK, STAMP, LAST_STAMP, OWNER, FAULT, NAME, N_ENTRIES, ROOT, N_FAULTS = range(9)
BOUNDS, CHOSEN, MAX_PARTS = 9, 18, 8  # of the features of a cross's parts
MAX_DEPTH = 8
STACK = CHOSEN + MAX_PARTS  # of maps and lists, three marks each
MAX_ENTRIES = 512  # fields of a record
ENTRIES = STACK + 3 * (MAX_DEPTH + 2)  # start and length of the name, place of the value
MAX_PATHS = 256
HINTS = ENTRIES + 3 * MAX_ENTRIES  # for each path, where it was among the last record's fields
PRESENT = HINTS + MAX_PATHS  # whether the record has each column
MAX_WORDS = 4096
SLICES = PRESENT + MAX_COLUMNS  # start and length of words; or the places of characters
N_KEY_SLOTS = 2048
KEY_TABLE = SLICES + 2 * MAX_WORDS  # of names of fields: hash, stamp
MAX_KEYS = N_KEY_SLOTS // 2
MAIN = KEY_TABLE + 2 * N_KEY_SLOTS
# a sink: its registers, its features, and a hash table of them
POSITION, END, N, FIRST_VALUE = range(4)
FEATURES = 4
MAX_EMITTED = 4096  # features of a record
F_START, F_LENGTH, F_HASH, F_OWNER = range(4)
N_SLOTS = 2 * MAX_EMITTED
TABLE = FEATURES + 4 * MAX_EMITTED  # stamp << 16, and the feature
PARTS = MAIN + TABLE + N_SLOTS
N_MARKS = PARTS + TABLE + N_SLOTS

HIGH_BITS = np.uint64(0x8080808080808080)
KEY_MASK, SLOT_MASK = np.uint64(N_KEY_SLOTS - 1), np.uint64(N_SLOTS - 1)
NIL, FALSE, TRUE = 0xC0, 0xC2, 0xC3
FLOAT32, FLOAT64 = 0xCA, 0xCB
ABSENT, MISTAKEN = -1, -2  # a value that is not there; a path through something else than a map
SPACE, QUOTE, APOSTROPHE, DASH, DOT, AT, BRACKET, BACKSLASH, UNDERSCORE = 32, 34, 39, 45, 46, 64, 91, 92, 95
CURLY_APOSTROPHE = ord("\u2019")
ALPHANUMERIC, DIGIT, BLANK, CLASS_BITS = 1, 4, 32, 255
LOWER_SHIFT, NO_LOWER = 8, 0x1FFFFF  # no character alone is its lower case
EVERY_BYTE, FULL_BYTES, SEVEN = np.uint64(0x0101010101010101), np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(7)
A_BIT_A_BYTE = np.uint64(0x8040201008040201)  # in each byte another bit
COMMA, EQUALS, AMPERSAND, END_BRACKET, PLUS, COLON, PERCENT = 44, 61, 38, 93, 43, 58, 37


@inlined
def pointed(program, work):
    """Return the records of a program and of work arrays from a door's plain tuples.

    Their arrays become pointers: most functions take all of them, and passing so many arrays would cost as much as their work.
    """
    operations, paths, spans, texts, numbers, characters, keys = program
    out, marks, values, words = work
    record = Program(
        pointer(operations), pointer(paths), pointer(spans), pointer(texts), pointer(numbers), pointer(characters),
        pointer(keys), len(operations) // OPERATION_COLUMNS, len(characters),
    )  # fmt: skip
    return record, ProgramWork(pointer(out), pointer(marks), pointer(values), pointer(words))


# ---- from Python ---------------------------------------------------------------------------------------------------------
_thread = threading.local()


def work_arrays() -> tuple[Any, ...]:
    """Return this thread's work arrays, as a plain tuple."""
    if not hasattr(_thread, "work"):
        values = np.zeros(2 * MAX_EMITTED)
        _thread.work = (np.zeros(ALL_BYTES, np.uint8), np.zeros(N_MARKS, np.int64), values, values.view(np.uint64))
    arrays: tuple[Any, ...] = _thread.work
    return arrays
