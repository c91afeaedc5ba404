"""The curve of a model's loss, commit by commit: for pictures, and for whoever draws one elsewhere."""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["Curve", "Drift", "curve", "points"]

MOST_POINTS = 200  # on a curve: if there are more commits, several become one point
FIELDS = (b"examples", b"time", b"loss", b"constant_loss")


class Drift(NamedTuple):
    """A rise of the loss.

    Attributes
    ----------
    examples, time : float
        How many examples had been learned when it was found; the time of the commit that says so first, in seconds since 1970.
    before, after : float
        The mean losses.
    """

    examples: float
    time: float
    before: float
    after: float


@dataclass
class Curve:
    """A model's loss over time: lists with an element for each commit, or for every few commits.

    Attributes
    ----------
    examples, times : list of float
        How many examples had been learned, and when, in seconds since 1970.
    loss, recent, constant : list of float
        The progressive loss of all examples so far, the loss of those since the element before, and the best constant's loss.
    late, answered : list of float or None
        The late and the answered loss so far; None: it was not measured yet.
    n_commits : int
        How many commits each element stands for.
    drifts : sequence of Drift
        The rises of the loss that were found.
    """

    examples: list[float]
    times: list[float]
    loss: list[float]
    recent: list[float]
    constant: list[float]
    late: list[float | None]
    answered: list[float | None]
    n_commits: int
    drifts: Sequence[Drift] = ()


def curve(entries: Iterable[Mapping[bytes, bytes]], most: int = MOST_POINTS) -> Curve | None:
    """Return the loss curve from the figures that commits recorded; None if there is no example.

    A commit recorded the mean loss of all examples so far, and those at each doubling of their number. The mean loss since the
    entry before follows from the difference of the two sums; it is exact if every example's importance is 1.

    >>> loss = curve({b"time": b"0", b"examples": n, b"loss": loss, b"constant_loss": b"1"} for n, loss in
    ...              [(b"10", b"0.9"), (b"20", b"0.8"), (b"20", b"0.8"), (b"40", b"0.5")])
    >>> loss.examples, loss.loss, [round(recent, 3) for recent in loss.recent]
    ([10.0, 20.0, 40.0], [0.9, 0.8, 0.5], [0.9, 0.7, 0.2])
    """
    rows: list[list[Any]] = []
    drifts: dict[float, Drift] = {}
    for entry in entries:
        row: list[Any] = [float(entry[field]) for field in FIELDS]
        row += [
            float(entry[name + b"_loss"]) if float(entry.get(name + b"_examples", 0)) else None
            for name in (b"late", b"answered")
        ]
        if b"drift_examples" in entry:
            at, before, after = (float(entry[b"drift_" + name]) for name in (b"examples", b"before", b"after"))
            drifts.setdefault(at, Drift(at, row[1], before, after))
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
    examples, times, loss, constant, late, answered = map(list, zip(*(rows[i] for i in sorted(kept)), strict=True))
    sums = [0.0, *(mean * n for mean, n in zip(loss, examples, strict=True))]
    since = zip(itertools.pairwise(sums), itertools.pairwise([0.0, *examples]), strict=True)
    recent = [(after - before) / (n - m) for (before, after), (m, n) in since]
    return Curve(
        examples, times, loss, recent, constant, late, answered, n_commits, [drifts[at] for at in sorted(drifts)]
    )


def points(losses: Curve | None) -> dict[str, Any]:
    """Return a curve as data: ``points``, each with its figures, and ``drifts``."""
    if losses is None:
        return {"points": [], "drifts": []}
    names = ("examples", "time", "progressive_loss", "recent_loss", "constant_loss", "late_loss", "answered_loss")
    columns = (losses.examples, losses.times, losses.loss, losses.recent, losses.constant, losses.late, losses.answered)
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    return {"points": rows, "drifts": [drift._asdict() for drift in losses.drifts]}
