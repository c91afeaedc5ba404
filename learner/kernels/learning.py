"""The outer loop: examples one after another, each read, given room, and learned; or rejected."""

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
    """Return the loop made of three compiled functions.

    Parameters
    ----------
    read : (buffer, position, learner, work)
        Returns (code, where, number of features, target, importance): where the example ends, or what is wrong with it lies.
    rows_of : (number of features, learner)
        Returns (rows, how often the bytes of its names) that an example may need at most.
    learn_example : (example, learner, work)
        Learns a scanned example; returns its score before, and its loss then.

    Returns
    -------
    compiled function of (buffer, position, learner, work, results)
        Learns until the buffer or the room for results or for new features ends. It returns (examples done, next position, rows
        needed, bytes of names needed, code): rows and bytes are 0 unless the next example needs more room than there is, and
        the rows -1 when some should be dropped first; the code is NEW_CLASS where the next example has a label never seen.
    """

    @inlined
    def learn(buffer, position, learner, work, results):
        totals, table = learner.state.totals, learner.table
        done, enough = 0, np.int64(0)
        while position < len(buffer) and done < len(results.scores):
            code, end, n, y, importance = read(buffer, position, learner, work)
            if code == NEW_CLASS:
                return done, position, enough, enough, code
            score, loss = math.nan, math.nan
            results.codes[done], results.ends[done] = code, end
            if code == OK:
                if wants_sweep(learner.settings.parts, table, totals):
                    return done, position, np.int64(-1), enough, OK
                n_rows, n_names = rows_of(n, learner)
                n_bytes = n_names * (total(n, work.features.lengths) + 2 * (n + 1))
                n_rows, n_bytes = missing_room(n_rows, n_bytes, learner.settings, table)
                if n_rows > 0 or n_bytes > 0:
                    return done, position, n_rows, n_bytes, OK
                score, loss = learn_example(Example(buffer, n, y, importance), learner, work)
            else:
                importance = math.nan
                totals[REJECTED] += 1.0
                end = skip(buffer, position)
                if end < 0:  # nothing after this can be told apart
                    end = len(buffer)
            results.scores[done], results.losses[done], results.importances[done] = score, loss, importance
            position = end
            done += 1
        return done, position, enough, enough, OK

    return learn
