"""The figures of a process's workers for Prometheus, served over HTTP from a thread of their own.

The thread reads what the worker has counted anyway (see `learner.service.counting`), without locks and without a command to the
server. Figures of the model are those of the last commit.
"""

import itertools
import math
import os
import socket
import sys
import threading
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any, cast
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from learner import __version__
from learner.errors import LearnerError
from learner.service import log
from learner.service.address import host_and_port
from learner.service.counting import BOUNDS, Counts, Histogram
from learner.service.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from prometheus_client import Metric

__all__ = ["Exported", "serve_metrics"]

Exported = tuple[Store, Counts]  # what a worker knows of its model, and what it counts

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


def serve_metrics(
    address: str,
    name: str,
    workers: "Callable[[], Iterable[Exported]]",
    answers_only: bool = False,
    probes: "Mapping[str, Callable[[], str]] | None" = None,
) -> str:
    """Serve the metrics of a process's workers at ``http://ADDRESS/metrics`` until the process ends; return that URL.

    At the path of a probe the status is 200, or 503 with the reason.

    Parameters
    ----------
    address : str
        ``HOST:PORT``, or ``PORT`` on 127.0.0.1; port 0 is any that is free, which the log names.
    name : str
        The process's, for the log, and in place of a model for what concerns the whole process.
    workers : callable
        Returns what each worker knows of its model, and what it counts.
    answers_only : bool
        Whether it is an answerer rather than a worker.
    probes : mapping of str to callable, optional
        What is asked at each path, such as ``/health``: returns what is wrong, in words; empty: nothing.

    Raises
    ------
    LearnerError
        When the address is wrong or taken, or ``prometheus-client`` is not installed.
    """
    host, port = host_and_port("--metrics", address)
    try:
        from prometheus_client import CollectorRegistry, core, make_wsgi_app
    except ImportError as error:
        rule = "must have prometheus-client: pip install 'streaming-learner[metrics]'"
        raise LearnerError(f"--metrics {rule} (got {error})") from error
    registry = CollectorRegistry()
    registry.register((_OfAnswerer if answers_only else _Collector)(core, name, workers))
    try:
        server = _server(host, port, _probed(make_wsgi_app(registry), probes or {}))
    except (OSError, OverflowError) as error:
        words = getattr(error, "strerror", None) or error
        raise LearnerError(
            f"--metrics must be an address of this machine that is free (got {address}: {words})"
        ) from error
    where = f"http://{f'[{host}]' if ':' in host else host}:{server.server_port}/metrics"
    log.event(name, "metrics", f"metrics are served at {where}", url=where)
    return where


def _probed(metrics: Any, probes: "Mapping[str, Callable[[], str]]") -> Any:
    """Return an application that answers probes, and has the other one answer everything else."""

    def application(environment: dict[str, Any], start: Any) -> Any:
        probe = probes.get(environment.get("PATH_INFO", ""))
        if probe is None:
            return metrics(environment, start)
        wrong = probe()
        start("503 Service Unavailable" if wrong else "200 OK", [("content-type", "text/plain; charset=utf-8")])
        return [f"{wrong or 'well'}\n".encode()]

    return application


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Write nothing for each request."""


def _server(host: str, port: int, application: Any) -> WSGIServer:
    """Return a server that serves from a thread of its own."""
    family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    kind: Any = type("_ServerThere", (_Server,), {"address_family": family})
    server: WSGIServer = make_server(str(address[0]), port, application, kind, _Quiet)
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return server


class _Collector:
    """Makes the metrics at each scrape; the label ``model`` is on all of them."""

    def __init__(self, core: Any, name: str, workers: "Callable[[], Iterable[Exported]]") -> None:
        self._core = core  # of prometheus_client
        self._name = name
        self._workers = workers

    def collect(self) -> "Iterable[Metric]":
        """Yield the metrics."""
        workers = list(self._workers())
        yield self._states("worker_state", "1 for the worker's state.", STATES, workers)
        for name, text in COUNTERS.items():
            yield self._each("Counter", name, text, [(store, counts.figures.get(name, 0)) for store, counts in workers])
        for figure, (name, text) in GAUGES.items():
            yield self._each("Gauge", name, text, _known(figure, workers))
        waiting = [(store, store.stream.n_waiting) for store, _ in workers]
        yield self._each("Gauge", "lag_entries", "Entries that wait to be learned.", waiting)
        kept = [(store, store.kept.n) for store, _ in workers]
        yield self._each("Gauge", "kept_answers", "Answers that wait for their outcomes.", kept)
        commits = [(store, counts.commit_seconds) for store, counts in workers]
        yield self._histograms("commit_seconds", "How long commits took.", commits)
        yield from self._of_both(workers)

    def _of_both(self, workers: list[Exported]) -> "Iterable[Metric]":
        """Yield the metrics that workers and answerers have."""
        info = self._family("Gauge", "build_info", "The version.", "version")
        info.add_metric([self._name, __version__], 1.0)
        yield info
        errors = [(store, counts.n_errors) for store, counts in workers]
        yield self._each("Counter", "request_errors", "Replies that were an error.", errors)
        answerers = [(store, counts.n_answerers) for store, counts in workers]
        yield self._each("Gauge", "answerers", "Answerers that live.", answerers)
        waiting = [(store, counts.n_requests or 0) for store, counts in workers]
        yield self._each("Gauge", "waiting_requests", "Requests that wait, for whoever answers.", waiting)
        if (resident := _resident_bytes()) is not None:
            memory = self._family("Gauge", "resident_bytes", "Memory of the process.")
            memory.add_metric([self._name], float(resident))
            yield memory
        text = "How long requests took, from when they came until their replies were sent."
        yield self._histograms("request_seconds", text, [(store, counts.request_seconds) for store, counts in workers])

    def _states(self, name: str, text: str, states: tuple[str, ...], workers: list[Exported]) -> "Metric":
        """Return a family with 1 for the state of each process, and 0 for the others."""
        family = self._family("Gauge", name, text, "state")
        for store, _ in workers:
            for state in states:
                family.add_metric([store.keys.model, state], float(state == store.processes.state))
        return cast("Metric", family)

    def _family(self, kind: str, name: str, text: str, *labels: str) -> Any:
        return getattr(self._core, f"{kind}MetricFamily")(f"learner_{name}", text, labels=["model", *labels])

    def _each(self, kind: str, name: str, text: str, values: list[tuple[Store, Any]]) -> "Metric":
        """Return a family with one value a model."""
        family = self._family(kind, name, text)
        for store, value in values:
            family.add_metric([store.keys.model], float(value))
        return cast("Metric", family)

    def _histograms(self, name: str, text: str, values: list[tuple[Store, Histogram]]) -> "Metric":
        family = self._family("Histogram", name, text)
        for store, histogram in values:
            buckets = zip([*map(str, BOUNDS), "+Inf"], itertools.accumulate(histogram.counts), strict=True)
            family.add_metric([store.keys.model], list(buckets), histogram.sum)
        return cast("Metric", family)


class _OfAnswerer(_Collector):
    """Makes the metrics of an answerer: none that a worker has, but for those of requests, so that none counts twice."""

    def collect(self) -> "Iterable[Metric]":
        """Yield the metrics."""
        answerers = list(self._workers())
        yield self._states(
            "answerer_state", "1 for the answerer's state.", ("starting", "running", "stopped"), answerers
        )
        commits = _known("commits", answerers)
        yield self._each("Gauge", "answering_commit", "Number of the commit that it answers from.", commits)
        text = "When that commit was made, by the worker's clock."
        yield self._each("Gauge", "answering_commit_timestamp_seconds", text, _known("time", answerers))
        yield from self._of_both(answerers)


def _known(figure: str, workers: list[Exported]) -> list[tuple[Store, float]]:
    """Return a figure of each process that knows it."""
    found = [(store, float(counts.figures.get(figure, math.nan))) for store, counts in workers]
    return [(store, value) for store, value in found if not math.isnan(value)]


def _resident_bytes() -> int | None:
    """Return the memory of this process that is in RAM; None where Linux isn't."""
    if sys.platform != "linux":
        return None
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
