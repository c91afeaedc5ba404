"""What a worker counts about itself, for its log and for Prometheus.

The worker writes; whoever reads may see a count a moment old. Nobody waits for a lock.
"""

import time
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from learner.service import log

__all__ = ["BOUNDS", "Counts", "Histogram", "Minutes"]

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds
MINUTE_SECONDS = 60.0


class Histogram:
    """Durations, counted by their upper bounds.

    Attributes
    ----------
    counts : list of int
        How many were at most each of `BOUNDS` and above the bound before it; the last count is of those above all.
    sum : float
        Of all durations, in seconds.

    >>> histogram = Histogram()
    >>> for seconds in (0.001, 0.002, 99.0):
    ...     histogram.observe(seconds)
    >>> histogram.counts[:3], histogram.counts[-1], histogram.n
    ([1, 1, 0], 1, 3)
    """

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.sum = 0.0

    def observe(self, seconds: float) -> None:
        """Count a duration."""
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.sum += seconds

    @property
    def n(self) -> int:
        """How many durations were counted."""
        return sum(self.counts)


@dataclass
class Counts:
    """What a worker counts.

    Attributes
    ----------
    commit_seconds : Histogram
        How long commits took.
    request_seconds : Histogram
        How long requests took, from when they came until their replies were sent, errors too.
    n_errors : int
        Replies that were an error.
    n_answerers : int
        Answerers that live.
    n_requests : int or None
        Requests that wait, as of the last second; None: the key holds no stream.
    figures : mapping
        Those of the last commit: see `learner.service.committing.figures_of`; empty before the first.
    """

    commit_seconds: Histogram = field(default_factory=Histogram)
    request_seconds: Histogram = field(default_factory=Histogram)
    n_errors: int = 0
    n_answerers: int = 0
    n_requests: int | None = 0
    figures: Mapping[str, Any] = field(default_factory=dict)


class Minutes:
    """Sums up, once a minute, what was committed, rejected and answered, in one line of the log.

    Parameters
    ----------
    model : str
        The model's name.
    counts : Counts
        What is summed up.
    """

    def __init__(self, model: str, counts: Counts) -> None:
        self._model = model
        self._counts = counts
        self._told_at = time.monotonic()
        self._before = self._totals()

    def tell_if_due(self) -> None:
        """Write the line if it is time, and anything happened."""
        if (seconds := time.monotonic() - self._told_at) < MINUTE_SECONDS:
            return
        now = self._totals()
        since: dict[str, Any] = {name: max(n - self._before[name], 0) for name, n in now.items()}
        self._told_at, self._before = time.monotonic(), now
        if any(since.values()):
            text = f"in {seconds:.0f} s "
            if since["commits"]:
                text += f"{since['commits']} commits of {since['examples']} examples and {since['rejected']} rejected; "
            text += f"{since['requests']} requests, {since['errors']} with an error"
            log.event(self._model, "minute", text, **since)

    def _totals(self) -> dict[str, int]:
        counts = self._counts
        return {
            "commits": counts.commit_seconds.n,
            "examples": int(counts.figures.get("examples", 0)),
            "rejected": int(counts.figures.get("rejected", 0)),
            "requests": counts.request_seconds.n,
            "errors": counts.n_errors,
        }
