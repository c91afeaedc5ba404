"""The outer loop: for each example, read it, check that there is room for its features, and learn it; or reject it.

When examples are held, an example that arrives is scored and held, and those that must leave a pool are learned.
"""

import math
from typing import Any

import numpy as np

from learner.kernels.held import NONE, choose_pool, lacks_room
from learner.kernels.jit import inlined
from learner.kernels.records import Example
from learner.kernels.room import missing_room, total, wants_sweep
from learner.kernels.scanner import skip
from learner.layout import MAX_DERIVED, N_DENSE, NEW_CLASS, OK, REJECTED

__all__ = ["MORE_HELD", "SWEEP", "stream"]

SWEEP, MORE_HELD = np.int64(-1), np.int64(-2)  # in place of a number of rows


def stream(read: Any, rows_of: Any, learn_example: Any) -> Any:
    """Return the outer loop, built from three compiled functions.

    Parameters
    ----------
    read : (buffer, position, learner, work, block)
        Returns (code, where, number of features, target, importance); ``where`` is the example's end, or its fault's position.
        The example may have been read ahead into the block: see `learner.kernels.ahead`.
    rows_of : (number of features, learner)
        Returns the largest (number of rows, number of copies of each name) that an example may need.
    learn_example : (pool, example, learner, work)
        With the pool NONE, predicts a scanned example, and learns or holds it; returns its score and its loss before learning.
        With another pool, learns an example of this pool.

    Returns
    -------
    compiled function of (buffer, position, holds_back, learner, work, block, results)
        Learns until the buffer ends or there is no room for more results or new features; unless `holds_back` is true, it then
        holds nothing back. Returns (examples done, next position, rows needed, bytes of names needed, code). Rows and bytes are
        0 unless the next example needs more room. In place of the number of rows, SWEEP says that some should be dropped first,
        and MORE_HELD that held features need more room. The code is NEW_CLASS if the next example has a new label.
    """

    @inlined
    def learn(buffer, position, holds_back, learner, work, block, results):
        totals, table, held = learner.state.totals, learner.table, learner.state.held
        done, none_needed = 0, np.int64(0)
        while True:
            pool = choose_pool(holds_back, totals, held)
            code, end, n, y, importance = OK, position, np.int64(0), 0.0, 0.0
            if pool == NONE:
                if position >= len(buffer) or done >= len(results.scores):
                    return done, position, none_needed, none_needed, OK
                code, end, n, y, importance = read(buffer, position, learner, work, block)
                if code == NEW_CLASS:
                    return done, position, none_needed, none_needed, code
            if code == OK:
                if pool == NONE and wants_sweep(learner.settings.parts, table, totals):
                    return done, position, SWEEP, none_needed, OK
                if pool == NONE and lacks_room(n + np.int64(totals[N_DENSE]) + MAX_DERIVED, held):
                    return done, position, MORE_HELD, none_needed, OK
                n_rows, n_copies = rows_of(n, learner)
                n_bytes = n_copies * (total(n, work.features.lengths) + 2 * (n + 1))
                n_rows, n_bytes = missing_room(n_rows, n_bytes, learner.settings, table)
                if n_rows > 0 or n_bytes > 0:
                    return done, position, n_rows, n_bytes, OK
            score, loss = math.nan, math.nan
            if code == OK:
                score, loss = learn_example(pool, Example(buffer, n, y, importance), learner, work)
            if pool != NONE:
                continue
            results.codes[done], results.ends[done] = code, end
            if code != OK:
                importance = math.nan
                totals[REJECTED] += 1.0
                end = skip(buffer, position)
                if end < 0:  # the next example's start can't be told
                    end = len(buffer)
            results.scores[done], results.losses[done], results.importances[done] = score, loss, importance
            position = end
            done += 1

    return learn
