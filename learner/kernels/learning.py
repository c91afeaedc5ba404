"""The outer loop: for each example, read it, check that there is room for its features, and learn it; or reject it."""

import math
from typing import Any

import numpy as np

from learner.kernels.jit import inlined
from learner.kernels.records import Example
from learner.kernels.room import missing_room, total, wants_sweep
from learner.kernels.scanner import skip
from learner.layout import NEW_CLASS, OK, REJECTED

__all__ = ["stream"]


def stream(read: Any, rows_of: Any, learn_example: Any) -> Any:
    """Return the outer loop, built from three compiled functions.

    Parameters
    ----------
    read : (buffer, position, learner, work)
        Returns (code, where, number of features, target, importance); ``where`` is the example's end, or its fault's position.
    rows_of : (number of features, learner)
        Returns the largest (number of rows, number of copies of each name) that an example may need.
    learn_example : (example, learner, work)
        Learns a scanned example; returns its score and its loss before learning.

    Returns
    -------
    compiled function of (buffer, position, learner, work, results)
        Learns until the buffer ends or there is no room for more results or new features. Returns (examples done, next
        position, rows needed, bytes of names needed, code). Rows and bytes are 0 unless the next example needs more room; the
        number of rows is -1 if a sweep should drop some first. The code is NEW_CLASS if the next example has a new label.
    """

    @inlined
    def learn(buffer, position, learner, work, results):
        totals, table = learner.state.totals, learner.table
        done, none_needed = 0, np.int64(0)
        while position < len(buffer) and done < len(results.scores):
            code, end, n, y, importance = read(buffer, position, learner, work)
            if code == NEW_CLASS:
                return done, position, none_needed, none_needed, code
            score, loss = math.nan, math.nan
            results.codes[done], results.ends[done] = code, end
            if code == OK:
                if wants_sweep(learner.settings.parts, table, totals):
                    return done, position, np.int64(-1), none_needed, OK
                n_rows, n_copies = rows_of(n, learner)
                n_bytes = n_copies * (total(n, work.features.lengths) + 2 * (n + 1))
                n_rows, n_bytes = missing_room(n_rows, n_bytes, learner.settings, table)
                if n_rows > 0 or n_bytes > 0:
                    return done, position, n_rows, n_bytes, OK
                score, loss = learn_example(Example(buffer, n, y, importance), learner, work)
            else:
                importance = math.nan
                totals[REJECTED] += 1.0
                end = skip(buffer, position)
                if end < 0:  # the next example's start can't be told
                    end = len(buffer)
            results.scores[done], results.losses[done], results.importances[done] = score, loss, importance
            position = end
            done += 1
        return done, position, none_needed, none_needed, OK

    return learn
