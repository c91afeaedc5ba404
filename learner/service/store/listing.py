"""The rows of ``learner list`` and ``learner top``: what each model of a server is, and how it is doing."""

import itertools
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import redis

from learner.errors import LearnerError
from learner.service.lease import process_ended
from learner.service.store import Store, candidates, registry
from learner.service.store.cluster import grouped
from learner.service.store.connection import passing_trouble
from learner.service.store.processes import listed, living, server_time
from learner.service.store.status import latest_of, trouble_of
from learner.service.store.stream import HEAD, cursor_of
from learner.stored import require_readable

__all__ = ["N_RECENT", "Board", "rows"]

FIGURES = (  # of the last commit, by the same names
    "rate",
    "examples",
    "rejected",
    "late_loss",
    "answered_loss",
    "constant_loss",
    "drift_examples",
)
N_RECENT = 33  # entries of the progress stream that are kept for the recent losses
SUMS = ("loss", "examples", "late_loss", "late_importance")  # mean losses, and what each is a mean over
LOOK_SECONDS = 10.0  # between two looks at the names and the sizes of all keys

Point = dict[str, float]  # those of `SUMS` that an entry of progress has


def rows(client: redis.Redis) -> list[dict[str, Any]]:
    """Return a row for each model, by name: ``model``, ``task``, ``state``, figures, ``bytes``, ``owner``, ``error``.

    What is not known is None. A model that is damaged has the state ``damaged`` and an ``error`` that says how.
    """
    board = Board(client, n_recent=1)
    return [{name: value for name, value in row.items() if not name.startswith("recent_")} for row in board.read()]


class Replies(NamedTuple):
    """What the server says of a model, each in place an error."""

    spec: Any
    head: Any
    info: Any
    head_after: Any
    owner: Any
    lease: Any
    workers: Any
    answerers: Any
    requests: Any
    rejected: Any
    progress: Any


class Board:
    """Reads the rows again and again, with twelve commands a model in two round trips: GET, HGETALL, HKEYS, HMGET, XINFO, ...

    Every ten seconds it looks at the names and the sizes of all keys, too: SCAN, MEMORY USAGE.

    Parameters
    ----------
    client : redis.Redis
        A connection made by `learner.service.store.connection.client`.
    n_recent : int
        How many entries of each progress stream are kept for the recent losses.

    Attributes
    ----------
    rows : list of dict
        As read last; see `rows`. ``recent_loss`` and ``recent_late_loss``: lists of the mean losses between commits.
    trouble : str or None
        Why the server can't be read now, if reading again may help.
    """

    def __init__(self, client: redis.Redis, n_recent: int = N_RECENT) -> None:
        self.rows: list[dict[str, Any]] = []
        self.trouble: str | None = None
        self._client, self._n_recent = client, n_recent
        self._names: list[str] = []
        self._sizes: dict[str, int] = {}
        self._looked_at = float("-inf")
        self._points: dict[str, deque[tuple[bytes, Point]]] = defaultdict(lambda: deque(maxlen=n_recent))

    def look(self) -> None:
        """Read the rows; while the server is away, keep the last ones and say so in `trouble`.

        Raises
        ------
        redis.RedisError
            When reading again would not help.
        """
        try:
            self.read()
            self.trouble = None
        except redis.RedisError as error:
            self.trouble = passing_trouble(error)
            if self.trouble is None:
                raise

    def details(self, model: str, n_rejected: int) -> dict[str, Any]:
        """Return what is to be seen of one model: ``status``, ``rejected``, the latest last; or an ``error`` in words."""
        from learner.service.store.rejected import listed as rejected_of

        store = Store(self._client, model)
        try:
            return {"status": store.described(), "rejected": rejected_of(store, n_rejected)}
        except (LearnerError, redis.RedisError) as error:
            return {"error": str(error)}

    def read(self) -> list[dict[str, Any]]:
        """Read the rows and return them."""
        if time.monotonic() - self._looked_at > LOOK_SECONDS:
            self._names, self._sizes = registry.models(self._client), registry.memory(self._client) or {}
            self._looked_at = time.monotonic()
        names = sorted({*self._names, *registry.registered(self._client)})
        stores = list(self._with_candidates([Store(self._client, name) for name in names]))
        now = server_time(self._client)
        self.rows = [row for store, replies in self._replies(stores) if (row := self._row(store, replies, now))]
        for name in self._points.keys() - {row["model"] for row in self.rows}:
            del self._points[name]
        return self.rows

    def _with_candidates(self, stores: Sequence[Store]) -> Iterator[Store]:
        """Yield each model, and after it its candidates."""
        found = self._asked(stores, lambda pipe, store: pipe.hkeys(store.keys.candidates))
        for store, (names,) in zip(stores, found, strict=True):
            yield store
            if not isinstance(names, Exception):
                yield from (Store(self._client, f"{store.keys.model}/{name}") for name in candidates.names_in(names))

    def _replies(self, stores: Sequence[Store]) -> Iterator[tuple[Store, "Replies"]]:
        """Yield each model with what the server says of it."""

        def queue(pipe: Any, store: Store) -> None:
            keys = store.keys
            pipe.get(keys.spec)
            pipe.hmget(keys.head, HEAD)
            pipe.xinfo_stream(keys.examples)
            pipe.hmget(keys.head, HEAD)
            pipe.hgetall(keys.owner)
            pipe.get(keys.lease)
            pipe.hgetall(keys.workers)
            pipe.hgetall(keys.answerers)
            pipe.xlen(keys.requests)
            pipe.xlen(keys.rejected)
            pipe.xrevrange(keys.progress, count=2 if keys.model in self._points else self._n_recent)

        for store, replies in zip(stores, self._asked(stores, queue), strict=True):
            yield store, Replies(*replies)

    def _asked(self, stores: Sequence[Store], queue: Callable[[Any, Store], Any]) -> list[list[Any]]:
        """Return the replies to what is queued about each model: sent together, or of a cluster to each primary together."""
        found: dict[str, list[Any]] = {}
        for client, some in grouped(self._client, stores, lambda store: store.keys.spec):
            with client.pipeline(transaction=False) as pipe:
                for store in some:
                    queue(pipe, store)
                replies = pipe.execute(raise_on_error=False)
            n = len(replies) // len(some)
            found |= {store.keys.model: replies[n * i : n * (i + 1)] for i, store in enumerate(some)}
        return [found[store.keys.model] for store in stores]

    def _row(self, store: Store, replies: "Replies", now: float) -> dict[str, Any] | None:
        """Return a model's row; None if there is no such model any more."""
        name = store.keys.model
        if replies.spec is None:
            return None
        row: dict[str, Any] = {"model": name, "task": None, "state": "damaged", "lag_entries": None}
        row |= dict.fromkeys(("requests_waiting", "answerers", *FIGURES, "progressive_loss", "owner", "error"))
        row |= {"bytes": self._sizes.get(name), "recent_loss": [], "recent_late_loss": []}
        try:
            with require_readable(f"state of {name!r}", f"see 'learner repair {name}'"):
                return row | self._figures(store, replies, now)
        except (LearnerError, redis.ResponseError) as error:
            return row | {"error": str(error)}

    def _figures(self, store: Store, replies: "Replies", now: float) -> dict[str, Any]:
        for reply in (replies.spec, replies.head, replies.head_after, replies.owner, replies.lease, replies.workers):
            if isinstance(reply, Exception):
                raise reply
        task, owner, entries = store.spec_of(replies.spec)["task"], replies.owner, replies.progress
        if replies.head == replies.head_after:
            position = store.stream.position_of(cursor_of(replies.head), replies.info)
        else:  # a commit came between
            position = store.stream.committed_position()
        progress = latest_of(None if isinstance(entries, Exception) else entries)
        row = {name: progress.get(name) for name in FIGURES}
        for loss, of in (("late_loss", "late_examples"), ("answered_loss", "answered_examples")):
            if not progress.get(of):
                row[loss] = None
        state = {
            "owner": owner,
            "workers": listed(replies.workers, now),
            "trouble": trouble_of(store.keys, position, owner, (replies.requests, replies.rejected, entries)),
        }
        owned = (
            {name: owner[name.encode()].decode() for name in ("host", "pid", "epoch")} if b"worker" in owner else None
        )
        recent = self._recent(store, entries)
        return row | {
            "task": task,
            "state": _state(state),
            "lag_entries": position.added - position.passed,
            "requests_waiting": None if isinstance(replies.requests, Exception) else replies.requests,
            "answerers": _n_answerers(replies.answerers, now),
            "progressive_loss": progress.get("loss"),
            "owner": owned,
            "recent_loss": _between(recent, "loss", "examples"),
            "recent_late_loss": _between(recent, "late_loss", "late_importance"),
        }

    def _recent(self, store: Store, entries: Any) -> list[Point]:
        """Take in the latest entries of progress, the latest first; return the points that are known, the latest last."""
        points = self._points[store.keys.model]
        if isinstance(entries, Exception) or not entries:
            points.clear()
        elif not points or points[-1][0] != entries[0][0]:
            if points and points[-1][0] not in [entry_id for entry_id, _ in entries]:  # some came that were not read
                entries = store.client.xrevrange(store.keys.progress, count=self._n_recent)
                points.clear()
            known = {entry_id for entry_id, _ in points}
            for entry_id, fields in reversed(entries):
                if entry_id not in known:
                    names = (name for name in SUMS if name.encode() in fields)
                    points.append((entry_id, {name: float(fields[name.encode()]) for name in names}))
        return [point for _, point in points]


def _between(points: Sequence[Point], mean: str, total: str) -> list[float]:
    """Return the mean losses between points, by the mean loss so far and what it is a mean over.

    >>> points = [{"loss": loss, "examples": n} for loss, n in [(float("nan"), 0.0), (0.9, 10.0), (0.9, 10.0), (0.8, 20.0)]]
    >>> _between(points, "loss", "examples")
    [0.9, 0.7]
    """
    known = [
        (point[mean] if point[total] else 0.0, point[total]) for point in points if mean in point and total in point
    ]
    pairs = [(a, b) for a, b in itertools.pairwise(known) if b[1] > a[1]]
    return [round((b[0] * b[1] - a[0] * a[1]) / (b[1] - a[1]), 12) for a, b in pairs]


def _n_answerers(notes: Any, now: float) -> int | None:
    """Return how many answerers live; None: the access rules, of an older release, don't show it."""
    return None if isinstance(notes, Exception) else len(living(listed(notes, now)))


def _state(status: Mapping[str, Any]) -> str:
    """Return in one word what the model's worker does; ``none`` if it has none.

    >>> _state({"owner": {}, "workers": [{"state": "starting"}], "trouble": None})
    'starting'
    """
    owner = status["owner"]
    if b"worker" in owner:
        if process_ended(owner.get(b"process", b"").decode()):
            return "dead"
        return "answering_only" if b"trouble" in owner or status["trouble"] else "running"
    states = [worker["state"] for worker in status["workers"]]
    return next((state for state in ("starting", "stopped", "dead") if state in states), "none")
