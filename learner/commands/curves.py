"""The curve for ``learner plot progress``: a model's loss, commit by commit."""

import itertools
import math
from collections.abc import Iterable, Mapping

import numpy as np

from learner.commands.pictures import Progress

__all__ = ["curve"]

MOST_POINTS = 200  # on a curve: if there are more commits, several become one point


def curve(entries: Iterable[Mapping[bytes, bytes]], most: int = MOST_POINTS) -> Progress | None:
    """Return the loss curve from the figures that commits recorded; None if there is no example.

    A commit recorded the mean loss of all examples so far, and those at each doubling of their number. The mean loss since the
    entry before follows from the difference of the two sums; it is exact if every example's importance is 1.

    >>> loss = curve({b"time": b"0", b"examples": n, b"loss": loss, b"constant_loss": b"1"} for n, loss in
    ...              [(b"10", b"0.9"), (b"20", b"0.8"), (b"20", b"0.8"), (b"40", b"0.5")])
    >>> loss.examples, loss.loss, loss.recent.round(3)
    (array([10., 20., 40.]), array([0.9, 0.8, 0.5]), array([0.9, 0.7, 0.2]))
    """
    fields = (b"examples", b"time", b"loss", b"constant_loss")
    rows: list[list[float]] = []
    drifts: set[float] = set()
    for entry in entries:
        row = [float(entry[field]) for field in fields]
        drifts |= {float(entry[b"drift_examples"])} if b"drift_examples" in entry else set()
        while (
            rows and rows[-1][0] >= row[0]
        ):  # no example came since; or the server went back to older data, and examples were learned again
            rows.pop()
        if row[0]:
            rows.append(row)
    if not rows:
        return None
    n_commits = -(-len(rows) // most)
    kept = set(range(len(rows) - 1, -1, -n_commits))  # the last one always remains
    kept |= {i + 1 for i, (a, b) in enumerate(itertools.pairwise(rows)) if math.frexp(b[0])[1] > math.frexp(a[0])[1]}
    examples, times, loss, constant = np.array([rows[i] for i in sorted(kept)]).T
    recent = np.diff(loss * examples, prepend=0.0) / np.diff(examples, prepend=0.0)
    return Progress(examples, times, loss, recent, constant, n_commits, sorted(drifts))
