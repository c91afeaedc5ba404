"""Commits: one transaction writes state and cursor and checks the owner, so that no entry is lost or learned twice.

A commit writes what changed since the last one (rows, new names, the small arrays), the cursor (the id of the last entry
learned), the rejected examples, the consumer group's position and a progress entry. It also trims the stream before the cursor,
and deletes the answers whose outcomes were learned.
All of this is one ``WATCH owner`` / ``MULTI`` / ``EXEC``. Learning is deterministic: after a crash the entries since the last
commit are learned again, to the same bits.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import astuple, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import redis
from numpy.typing import NDArray

from learner import layout
from learner.errors import LearnerError, StoreError, show
from learner.service.store import loading, tail, writing
from learner.service.store.cluster import primary
from learner.service.store.journal import Journal
from learner.service.store.ownership import Owner
from learner.service.store.position import NEVER, create_group, stream_id
from learner.service.store.registry import register
from learner.service.store.snapshot import FORMAT, Committed, Learned, Snapshot, Written
from learner.service.store.tail import Broken, Changes, Look
from learner.service.wire import GROUP

if TYPE_CHECKING:
    from learner.service.recent import RecentIds
    from learner.service.store.link import LastCommit, Link
    from learner.service.store.ownership import Ownership
    from learner.service.store.stream import Stream
    from learner.service.store.topology import Address
    from learner.service.wire import RejectedEntry

__all__ = ["Commits", "CommitsLost"]


class CommitsLost(Exception):  # noqa: N818  (the worker catches it and goes on)
    """The server lost the last commits, so the next one must write everything."""


class Commits:
    """A model's commits, in the keys ``state:*``, ``rejected`` and ``progress``; they trim ``examples``.

    It sends HGETALL, HGET, GET; WATCH, MULTI, HSET, SET, SETRANGE, UNLINK, XADD, EVAL, XTRIM, XGROUP SETID.

    Parameters
    ----------
    link : Link
        The model's.
    last : LastCommit
        The last commit of this process; loading and writing move it on.
    ownership : Ownership
        Writing requires that this process is the owner.
    stream : Stream
        Loading and writing require that it fits the cursor.

    Attributes
    ----------
    history : float
        For how many seconds entries stay in the stream after they were learned.
    """

    def __init__(self, link: "Link", last: "LastCommit", ownership: "Ownership", stream: "Stream") -> None:
        self._link = link
        self._last = last
        self._ownership = ownership
        self._stream = stream
        self.history = 0.0
        self._written = Written()
        self._sweeps = 0.0  # of the model at the last snapshot: a sweep moves names
        self._copy = np.empty(0, np.uint8)  # memory for the rows of a snapshot
        self._primary: Address | None = None  # of a cluster: where the last load was from

    @property
    def number(self) -> int:
        """The number of the last commit that this process loaded or wrote, 0 before the first."""
        return self._last.number

    @property
    def n_entries(self) -> int:
        """How many entries were learned up to that commit."""
        return self._last.n_entries

    @property
    def cursor(self) -> bytes:
        """The id of the last of these entries."""
        return self._last.cursor

    # ---- loading ----
    def load(self, fingerprint: str, width: int, must_fit: bool = True) -> Committed | None:
        """Return the last commit, None before the first.

        Parameters
        ----------
        fingerprint : str
            The model's; a commit of another model is refused.
        width : int
            float32s in a row.
        must_fit : bool
            Whether the stream must fit the commit.

        Raises
        ------
        StoreError
            When the commit doesn't fit the model, or the stream doesn't fit the commit.
        """
        with loading.require_readable(self._link.keys):
            return self._load(fingerprint, width, must_fit)

    def _load(self, fingerprint: str, width: int, must_fit: bool) -> Committed | None:
        self._primary = primary(self._link.client)
        parts = loading.read(self._link, width)
        head = parts.head
        self._written, self._sweeps = Written(), 0.0
        self._last.number = 0
        self._last.cursor = head.get(b"cursor", NEVER)
        self._last.n_entries = int(head.get(b"entries", 0))
        self._last.removed = int(head[b"removed"]) if head.get(b"removed") else None
        if not head:
            return None
        if not re.fullmatch(rb"\d+-\d+", head[b"cursor"]) or max(stream_id(head[b"cursor"])) >= 1 << 64:
            raise ValueError(f"cursor must be a stream id (got {show(head[b'cursor'])})")
        if must_fit:
            self._stream.check(self._last.cursor)
        no_ids = np.zeros(0, np.uint64)
        if b"format" not in head:  # a repair wrote a cursor without a state
            return Committed(self._last.cursor, 0, {}, no_ids, 0)
        loading.require_model(self._link.keys, head, fingerprint)
        self._last.number = int(head[b"commits"])
        state, self._written = loading.decode(parts, self._link.keys, width)
        self._sweeps = float(state["totals"][layout.SWEEPS])
        n_ids = self._written.n_ids
        ids = np.frombuffer(parts.ids, np.uint64) if n_ids else no_ids
        losses = loading.losses_of(head)
        time = float(head.get(b"time", 0.0))
        return Committed(self._last.cursor, self._last.number, state, ids, n_ids, *losses, time)

    # ---- following ----
    def look(self) -> tuple[Look, Owner]:
        """Look at the last commit and the owner, at one moment: see `learner.service.store.tail.look`."""
        return tail.look(self._link, self._ownership)

    def changes(self, seen: Look, fingerprint: str, width: int) -> Changes:
        """Return what commits changed since the last one that this process has, which is the one it has then.

        Parameters
        ----------
        seen : Look
            What was seen last.
        fingerprint, width : str, int
            As of `load`.

        Raises
        ------
        Broken
            When that is not known, so that only `load` helps.
        """
        since, written = self._last.number, self._written
        try:
            read = tail.read(self._link, since, seen.number, written.n_name_bytes)
            loading.require_model(self._link.keys, read.head, fingerprint)
            state, self._written = read.decode(since, written, self._sweeps, width)
            self._last.number, self._last.cursor = int(read.head[b"commits"]), read.head[b"cursor"]
            return Changes(state, read.look)
        except (LearnerError, LookupError, TypeError, ValueError) as error:
            raise Broken(str(error)) from error

    # ---- writing ----
    def snapshot(
        self,
        learned: Learned,
        cursor: bytes,
        n_entries: int,
        rejected: "Iterable[tuple[bytes, RejectedEntry]]",
        progress: Mapping[str, Any],
        recent: "RecentIds | None" = None,
        settled: "Iterable[bytes]" = (),
        points: Iterable[Mapping[str, Any]] = (),
    ) -> Snapshot:
        """Return a copy of everything that the next commit writes, and clear `learned.dirty`; then learning may go on.

        The next snapshot uses the memory of the copied rows again, so there may be only one snapshot at a time.

        Parameters
        ----------
        learned : Learned
            The model's state.
        cursor : bytes
            The last entry learned.
        n_entries : int
            Entries learned since the last commit.
        rejected : (entry id, RejectedEntry) pairs
            The entries and examples that could not be learned since the last commit.
        progress : mapping
            The figures that `learner status` and plots show.
        recent : RecentIds, optional
            The last ids learned.
        settled : iterable of bytes
            The names of answers that need not be kept any more.
        points : iterable of mappings
            Figures of moments since the last commit, for plots.
        """
        rows, names = learned.state["rows"], learned.state["names"]
        slots = np.flatnonzero(learned.dirty[: len(rows)].view(np.bool_))  # as bool it is several times faster
        change = self._written.journal.change(rows, slots, self._memory)
        sweeps = float(learned.state["totals"][layout.SWEEPS])
        if sweeps != self._sweeps:  # a sweep may have moved every name: write all of them
            self._written = replace(self._written, n_name_bytes=0, names_crc=0)
            self._sweeps = sweeps
        learned.dirty[: len(rows)] = 0
        small = {name: array for name, array in learned.state.items() if name not in ("rows", "names")}
        return Snapshot(
            cursor=cursor,
            n_entries=n_entries,
            slots=slots,
            change=change,
            names=names[self._written.n_name_bytes :].tobytes(),
            arrays={name: array.tobytes() for name, array in small.items()},
            ids=recent.ring.tobytes() if recent and recent.count else b"",
            n_ids=recent.count if recent else 0,
            head={
                "format": FORMAT,
                "layout": layout.digest(),
                "fingerprint": learned.fingerprint,
                "features": len(rows),
                "name_bytes": len(names),
                "late": json.dumps(astuple(learned.late)),
                "answered": json.dumps(astuple(learned.answered)),
                "arrays": json.dumps({name: (array.dtype.str, array.shape) for name, array in small.items()}),
            },
            rejected=list(rejected),
            progress=dict(progress),
            points=[dict(point) for point in points],
            settled=list(settled),
        )

    def _memory(self, n_bytes: int) -> NDArray[np.uint8]:
        """Return memory for a copy of rows, the same again if it is large enough."""
        if len(self._copy) < n_bytes:
            self._copy = np.empty(n_bytes * 5 // 4, np.uint8)
        return self._copy

    def has_moved(self) -> bool:
        """Tell whether the model is at another primary of a cluster than when it was loaded.

        That one may lack entries that were learned, and may by now have as many others in their place: so nothing that was
        learned since the last commit may be committed there.
        """
        return self._primary is not None and self._primary != primary(self._link.client)

    def is_last(self) -> bool:
        """Tell whether the commit that this process loaded or wrote last is still the server's last one."""
        return int(self._link.client.hget(self._link.keys.head, "commits") or 0) == self._last.number

    def whole(self, learned: Learned, cursor: bytes, progress: Mapping[str, Any], recent: "RecentIds") -> Snapshot:
        """Return a snapshot with everything, for keys that have nothing of the state: see `learner.service.store.erasing`."""
        self._written = Written()
        learned.dirty[:] = 1
        return self.snapshot(learned, cursor, 0, (), progress, recent)

    def create(
        self,
        spec: Mapping[str, Any],
        snapshot: Snapshot,
        settings: Mapping[str, str] | None = None,
        arriving: bytes | None = None,
    ) -> bool:
        """Write a new model's spec, settings and first commit in one transaction; return False if the name is taken.

        Its streams are empty, unless somebody who writes a model piece by piece has begun them.

        Parameters
        ----------
        spec : mapping
            The model's description.
        snapshot : Snapshot
            What it knows.
        settings : mapping of str to str, optional
            By default all settings are at their defaults.
        arriving : bytes, optional
            What the key ``arriving`` must still hold, which goes.

        Raises
        ------
        StoreError
            When keys of that name are there without a model, or somebody else writes this model, too.
        """
        keys = self._link.keys
        pipe: Any
        with self._link.client.pipeline() as pipe:
            try:
                pipe.watch(keys.spec, keys.head, keys.examples, keys.requests, keys.arriving)
                if pipe.exists(keys.spec):
                    return False
                fresh = [keys.head] if arriving else [keys.head, keys.examples, keys.requests]
                if pipe.get(keys.arriving) != arriving:
                    fresh = [keys.arriving]
                if left := [key for key in fresh if pipe.exists(key)]:
                    raise StoreError(
                        f"model {keys.model!r} must be new, as what was learned goes with it (got {', '.join(left)}): "
                        "choose another name, or delete these keys"
                    )
                pipe.multi()
                pipe.set(keys.spec, json.dumps(spec))
                pipe.unlink(keys.settings, keys.arriving, keys.moved)
                if settings:
                    pipe.hset(keys.settings, mapping=cast("dict[Any, Any]", settings))
                for stream in (keys.examples, keys.requests):
                    pipe.xgroup_create(stream, GROUP, "0", mkstream=True)
                writing.queue(pipe, keys, snapshot, self._written, 1, 0)
                pipe.execute()
            except redis.WatchError as error:  # redis-py raises it for a changed key and for a lost connection
                raise StoreError(
                    f"model {keys.model!r} must be created by one at a time (got {error}): try again"
                ) from error
        register(self._link.client, keys.model)
        return True

    def write(self, snapshot: Snapshot) -> None:
        """Write a snapshot in one transaction.

        After a lost connection it may be called again with the same snapshot: if the commit had succeeded, its number shows it.

        Raises
        ------
        FencedError
            When another worker has taken over.
        CommitsLost
            When the server lost the last commits: the snapshot lacks changes that these commits had written.
        redis.ConnectionError
            When the model `has_moved`.
        """
        link, number = self._link, self._last.number + 1
        keeps_history = self.history and not link.keys.old
        if keeps_history:
            self._stream.trim_history(self.history)
        removed = self._last.removed if keeps_history else None
        with self._ownership.transaction("during a commit") as pipe:
            if self.has_moved():
                raise redis.ConnectionError("the model is at another primary than what was learned")
            committed = int(pipe.hget(link.keys.head, "commits") or 0)
            if committed == number:  # an earlier attempt succeeded; its answer was lost
                self._done(snapshot, self._written.after(snapshot, number), removed)
                return
            self._stream.check(snapshot.cursor, snapshot.n_entries)
            if committed != number - 1:
                self._forget(committed, loading.journal_of(pipe.hgetall(link.keys.head)))
                raise CommitsLost
            pipe.multi()
            n_entries = self._last.n_entries + snapshot.n_entries
            after = writing.queue(pipe, link.keys, snapshot, self._written, number, n_entries, removed)
            results = pipe.execute(raise_on_error=False)
            grouped = None if link.keys.old else results.pop()
        for result in results:
            if isinstance(result, redis.RedisError):
                raise result
        if isinstance(grouped, redis.ResponseError):  # somebody destroyed the consumer group, which only monitors need
            create_group(link.client, link.keys.examples)
        self._done(snapshot, after, removed)

    def _done(self, snapshot: Snapshot, written: Written, removed: int | None) -> None:
        self._written = written
        self._last.removed = removed
        self._last.cursor = snapshot.cursor
        self._last.n_entries += snapshot.n_entries
        self._last.number += 1

    def _forget(self, number: int, journal: Journal) -> None:
        """Go on from an older commit of the server: the next commit writes everything and deletes the server's deltas."""
        self._written = Written(Journal(deltas=journal.deltas))
        self._last.number = number
