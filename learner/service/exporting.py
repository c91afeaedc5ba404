"""A worker's figures for Prometheus, served over HTTP from a thread of their own.

The thread reads what the worker has counted anyway (see `learner.service.counting`), without locks and without a command to the
server. Figures of the model are those of the last commit.
"""

import itertools
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from learner import __version__
from learner.errors import LearnerError
from learner.service import log
from learner.service.address import host_and_port
from learner.service.counting import BOUNDS, Counts, Histogram
from learner.service.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client import Metric

__all__ = ["serve_metrics"]

STATES = ("starting", "waiting", "running", "answering_only", "stopped")
COUNTERS = {  # figure of a commit -> what it counts, over all of the model's workers
    "examples": "Examples learned.",
    "rejected": "Examples and entries that could not be learned.",
    "expired": "Answers whose outcomes didn't come in time.",
}
GAUGES = {  # figure of a commit -> the metric's name, and what it is
    "loss": ("progressive_loss", "Mean loss of the predictions made before each example was learned."),
    "late_loss": ("late_loss", "Mean loss of predictions made before the outcomes around them were learned."),
    "answered_loss": ("answered_loss", "Mean loss of the answers as they were given."),
    "held": ("held_examples", "Examples that wait in the model to be learned."),
    "features": ("features", "Features with weights."),
    "bytes": ("state_bytes", "Memory of the learned state."),
    "time": ("last_commit_timestamp_seconds", "When the last commit was made, by the worker's clock."),
}


def serve_metrics(address: str, store: Store, counts: Counts, answers_only: bool = False) -> str:
    """Serve a process's metrics at ``http://ADDRESS/metrics`` until the process ends; return that URL.

    Parameters
    ----------
    address : str
        ``HOST:PORT``, or ``PORT`` on 127.0.0.1; port 0 is any that is free, which the log names.
    store : Store
        The model's place in Redis, which knows the worker's state.
    counts : Counts
        What the process counts.
    answers_only : bool
        Whether it is an answerer rather than a worker.

    Raises
    ------
    LearnerError
        When the address is wrong or taken, or ``prometheus-client`` is not installed.
    """
    host, port = host_and_port("--metrics", address)
    try:
        from prometheus_client import CollectorRegistry, core, start_http_server
    except ImportError as error:
        rule = "must have prometheus-client: pip install 'streaming-learner[metrics]'"
        raise LearnerError(f"--metrics {rule} (got {error})") from error
    registry = CollectorRegistry()
    registry.register((_OfAnswerer if answers_only else _Collector)(core, store, counts))
    try:
        server, _ = start_http_server(port, host, registry)
    except (OSError, OverflowError) as error:
        words = getattr(error, "strerror", None) or error
        raise LearnerError(
            f"--metrics must be an address of this machine that is free (got {address}: {words})"
        ) from error
    where = f"http://{f'[{host}]' if ':' in host else host}:{server.server_port}/metrics"
    log.event(store.keys.model, "metrics", f"metrics are served at {where}", url=where)
    return where


class _Collector:
    """Makes the metrics at each scrape; the label ``model`` is on all of them."""

    def __init__(self, core: Any, store: Store, counts: Counts) -> None:
        self._core = core  # of prometheus_client
        self._store = store
        self._counts = counts
        self._model = store.keys.model

    def collect(self) -> "Iterable[Metric]":
        """Yield the metrics."""
        counts, figures = self._counts, self._counts.figures
        now = self._store.processes.state
        yield self._labelled("worker_state", "1 for the worker's state.", "state", {s: float(s == now) for s in STATES})
        for name, text in COUNTERS.items():
            yield self._counter(name, text, figures.get(name, 0))
        for figure, (name, text) in GAUGES.items():
            if not math.isnan(float(figures.get(figure, math.nan))):
                yield self._gauge(name, text, figures[figure])
        yield self._gauge("lag_entries", "Entries that wait to be learned.", self._store.stream.n_waiting)
        yield self._gauge("kept_answers", "Answers that wait for their outcomes.", self._store.kept.n)
        yield self._histogram("commit_seconds", "How long commits took.", counts.commit_seconds)
        yield from self._of_both()

    def _of_both(self) -> "Iterable[Metric]":
        """Yield the metrics that workers and answerers have."""
        counts = self._counts
        yield self._labelled("build_info", "The version.", "version", {__version__: 1.0})
        yield self._counter("request_errors", "Replies that were an error.", counts.n_errors)
        yield self._gauge("answerers", "Answerers that live.", counts.n_answerers)
        yield self._gauge("waiting_requests", "Requests that wait, for whoever answers.", counts.n_requests or 0)
        if (resident := _resident_bytes()) is not None:
            yield self._gauge("resident_bytes", "Memory of the process.", resident)
        text = "How long requests took, from when they came until their replies were sent."
        yield self._histogram("request_seconds", text, counts.request_seconds)

    def _labelled(self, name: str, text: str, label: str, values: dict[str, float]) -> "Metric":
        """Return a gauge with one more label."""
        family = self._core.GaugeMetricFamily(f"learner_{name}", text, labels=["model", label])
        for value, number in values.items():
            family.add_metric([self._model, value], number)
        return cast("Metric", family)

    def _counter(self, name: str, text: str, value: Any) -> "Metric":
        return self._metric(self._core.CounterMetricFamily, name, text, float(value))

    def _gauge(self, name: str, text: str, value: Any) -> "Metric":
        return self._metric(self._core.GaugeMetricFamily, name, text, float(value))

    def _histogram(self, name: str, text: str, histogram: Histogram) -> "Metric":
        buckets = zip([*map(str, BOUNDS), "+Inf"], itertools.accumulate(histogram.counts), strict=True)
        return self._metric(self._core.HistogramMetricFamily, name, text, list(buckets), histogram.sum)

    def _metric(self, kind: Any, name: str, text: str, *values: Any) -> "Metric":
        family = kind(f"learner_{name}", text, labels=["model"])
        family.add_metric([self._model], *values)
        return cast("Metric", family)


class _OfAnswerer(_Collector):
    """Makes the metrics of an answerer: none that a worker has, but for those of requests, so that none counts twice."""

    def collect(self) -> "Iterable[Metric]":
        """Yield the metrics."""
        figures, now = self._counts.figures, self._store.processes.state
        states = {state: float(state == now) for state in ("starting", "running", "stopped")}
        yield self._labelled("answerer_state", "1 for the answerer's state.", "state", states)
        yield self._gauge("answering_commit", "Number of the commit that it answers from.", figures.get("commits", 0))
        text = "When that commit was made, by the worker's clock."
        yield self._gauge("answering_commit_timestamp_seconds", text, figures.get("time", 0.0))
        yield from self._of_both()


def _resident_bytes() -> int | None:
    """Return the memory of this process that is in RAM; None where Linux isn't."""
    if sys.platform != "linux":
        return None
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
