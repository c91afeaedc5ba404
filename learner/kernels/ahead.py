"""Reading ahead: one thread scans the examples that come next, while another one learns those before them.

Vowpal Wabbit has a thread that parses, too (Langford, Li and Strehl, 2007, "Vowpal Wabbit open source project"). This one reads
msgpack, checks it, hashes the names, and looks for their rows. The learner may add rows meanwhile, or drop some: so a row that
was found is only a guess, which the learner confirms by the hash that stands in the row. Nothing else of the learner's state is
needed, so the learner learns the same bits as without the thread. An example is left out, and read in its turn, if it breaks
a rule, is an array, or has a name that may say that a number is missing: see `learner.kernels.example.add_missing`.
"""

from typing import Any, NamedTuple

import numpy as np

from learner.kernels import example
from learner.kernels.bits import NOTHING, prefetch
from learner.kernels.example import read_header, read_importance, read_target, scan_map
from learner.kernels.jit import inlined
from learner.kernels.records import CHUNK
from learner.kernels.scanner import read_size, skip
from learner.kernels.table import look_up, probable, width_of
from learner.layout import MAX_FEATURES, OK

__all__ = ["Block", "new_block", "no_block", "read", "scan_block"]

START, END, FIRST, N, TARGET, IMPORTANCE = range(6)  # columns of ``examples``: in the buffer, in ``features``
N_SCANNED, NEXT = START, END  # of its first row: how many examples are scanned, and which of them is next
HASH, NAME, LENGTH, BASE = range(4)  # rows of ``features``: where the name begins, and where its probable row does
ROOM = 4 * MAX_FEATURES  # features in a block


class Block(NamedTuple):
    """Scanned examples that follow one another."""

    examples: Any  # float64, (1 + examples, 6)
    features: Any  # uint64, (4, features)
    values: Any  # float64, of the features


def new_block() -> tuple[Any, ...]:
    """Return a block with room for `CHUNK` examples, as a plain tuple."""
    return np.zeros((1 + CHUNK, 6)), np.zeros((4, ROOM), np.uint64), np.zeros(ROOM)


def no_block() -> tuple[Any, ...]:
    """Return a block without examples, as a plain tuple."""
    examples = np.zeros((1, 6))
    examples[0, NEXT] = 1
    return examples, np.zeros((4, 0), np.uint64), np.zeros(0)


@inlined
def scan_block(buffer, position, task, keys, table, width, features, block):
    """Scan examples from a position on into a block, as many as it has room for.

    ``features`` is a work array. Returns the position of the next example.
    """
    examples, words, values = block
    n_scanned, n_features, n_done = 0, np.int64(0), 1
    while position < len(buffer) and n_done < len(examples) and n_features + MAX_FEATURES <= ROOM:
        start, where, y, n, importance, mask, size = position, position, 0.0, np.int64(0), 1.0, NOTHING, np.int64(-1)
        code, after, with_importance = read_header(buffer, position)
        if code == OK:
            code, y, where = read_target(buffer, after, task, keys)
        if code == OK:
            size, where = read_size(buffer, where, 0x80, 0xDE)
        is_scanned = 0 <= size <= MAX_FEATURES
        if is_scanned:
            code, where, n, mask = scan_map(buffer, where, size, keys, table.buckets, features)
            if code == OK and with_importance:
                code, where, importance = read_importance(buffer, where)
            is_scanned = code == OK and mask == NOTHING
        if is_scanned:
            n_scanned += 1
            examples[n_scanned, START], examples[n_scanned, END] = start, where
            examples[n_scanned, FIRST], examples[n_scanned, N] = n_features, n
            examples[n_scanned, TARGET], examples[n_scanned, IMPORTANCE] = y, importance
            for i in range(np.uint64(n)):
                at = np.uint64(n_features) + i
                words[HASH, at], values[at] = features.hashes[i], features.values[i]
                words[NAME, at], words[LENGTH, at] = np.uint64(features.starts[i]), np.uint64(features.lengths[i])
                words[BASE, at] = probable(features.hashes[i], table, width)  # whose row this processor does not touch
            n_features += n
            position = where
        else:
            position = skip(buffer, start)
            if position < 0:
                position = np.int64(len(buffer))
        n_done += 1
    examples[0, N_SCANNED], examples[0, NEXT] = n_scanned, 1
    return position


@inlined
def read(buffer, position, learner, work, block):
    """Take an example from a block, or read it as `learner.kernels.example.read` does; then ``bases`` has probable rows."""
    table, width, features = learner.table, width_of(learner.settings), work.features
    end, n, y, importance = take(position, block, table, width, features)
    if end >= 0:
        return OK, end, n, y, importance
    code, where, n, y, importance = example.read(buffer, position, learner, work)
    if code == OK:
        look_up(np.uint64(n), features.hashes, features.bases, table, width)
    return code, where, n, y, importance


@inlined
def take(position, block, table, width, features):
    """Move the example at a position from a block to the work arrays.

    Returns (end, number of features, target, importance); the end is -1 if the block hasn't the example.
    """
    examples, words, values = block
    i, n_scanned = np.int64(examples[0, NEXT]), np.int64(examples[0, N_SCANNED])
    while i <= n_scanned and examples[i, START] < position:
        i += 1
    examples[0, NEXT] = i
    if i > n_scanned or examples[i, START] > position:
        return np.int64(-1), np.int64(0), 0.0, 0.0
    first, n = np.uint64(examples[i, FIRST]), np.int64(examples[i, N])
    rows_end = np.uint64(table.sizes[0]) * width
    if i < n_scanned:  # the rows of the example after it are on their way while this one is learned
        last = np.uint64(examples[i + 1, FIRST] + examples[i + 1, N])
        for j in range(first + np.uint64(n), last):
            prefetch(table.rows, words[BASE, j])
    for j in range(np.uint64(n)):
        h, base = words[HASH, first + j], words[BASE, first + j]
        if base >= rows_end:  # it had no row then
            base = probable(h, table, width)
        features.hashes[j], features.bases[j] = h, base
        features.starts[j], features.lengths[j] = np.int64(words[NAME, first + j]), np.int64(words[LENGTH, first + j])
        features.values[j] = values[first + j]
    return np.int64(examples[i, END]), n, examples[i, TARGET], examples[i, IMPORTANCE]
