"""Commits: state, cursor and owner in one transaction, so that nothing is lost and nothing is learned twice.

A commit writes what changed since the last one (pages of rows, new names, the small arrays), the cursor (the last entry
learned), what was rejected, the consumer group's position and a progress entry, and trims the stream below the cursor; all in
one ``WATCH owner`` / ``MULTI`` / ``EXEC``. Learning is deterministic, so entries after the last commit are simply learned
again after a crash, to the same bits.

Only one worker may commit: taking over raises the owner's epoch, and a commit of an older epoch fails (it is *fenced*). The
owner says that it lives by changing the key ``lease`` (see `learner.service.lease`).
"""

import contextlib
import functools
import itertools
import json
import os
import secrets
import socket
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import redis
from numpy.typing import NDArray

from learner import layout
from learner.errors import FencedError, StoreError
from learner.service.lease import LEASE_SECONDS, process_ended, process_name
from learner.service.recent import RecentIds
from learner.service.store.durability import Durability
from learner.service.store.journal import Change, Journal
from learner.service.store.stream import NEVER, Position, create_group, position, stream_id
from learner.service.wire import GROUP, MAX_ENTRY_BYTES, REJECTED_BYTES, SIZE, Keys
from learner.service.wire import RejectedEntry as Bad

__all__ = ["NEVER", "Behind", "Committed", "Entries", "Owner", "Snapshot", "Store", "stream_id"]

FORMAT = 2  # 1 had no journal, no checksums and no ids
SEGMENT_BYTES = 1 << 26  # a string of Redis holds at most 512 MiB
MAX_REJECTED = 20_000  # entries kept, about
MAX_PROGRESS = 10_000
NOTE_SECONDS = 86_400  # that a process's note of what it does outlives it
OWNED = ("worker", "epoch")  # what says whose a model is
UNMEASURED_ENTRIES = 16  # read at once before a look at their sizes
READ_BYTES = 2 << 20  # read about so much at a time, so that requests don't wait long behind examples

Entries = list[tuple[bytes, dict[bytes, bytes]]]

# For each stream, the entries after an id until there are `count` of them or so many bytes; of one too large only its size and
# the start of its first field. Four at a time, so that the server never holds many that are large.
READ_BOUNDED = """
local most, largest, kept, name = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local streams = {}
for k = 1, #KEYS do
  local count, after, room, found = tonumber(ARGV[3 + 2 * k]), ARGV[4 + 2 * k], most, {}
  while room > 0 and #found < count do
    local some = redis.call('XRANGE', KEYS[k], '(' .. after, '+', 'COUNT', math.min(4, count - #found))
    if #some == 0 then break end
    for i = 1, #some do
      local entry, size = some[i], 0
      for j = 1, #entry[2] do size = size + #entry[2][j] end
      if size > largest then
        entry = {entry[1], {string.sub(entry[2][1], 1, kept), string.sub(entry[2][2], 1, kept), name, tostring(size)}}
        size = kept
      end
      found[#found + 1] = entry
      room = room - size
      after = entry[1]
      if room <= 0 then break end
    end
  end
  streams[k] = found
end
return streams
"""


@dataclass
class Committed:
    """What a model's last commit says: where it stands, its arrays, and the last ids learned (see `learner.service.recent`)."""

    cursor: bytes
    n_commits: int
    state: dict[str, NDArray[Any]]
    ids: NDArray[np.uint64]
    n_ids: int


@dataclass
class Owner:
    """Who owns a model (no ``worker`` among the fields: nobody), and the sign of life that must change."""

    fields: dict[str, str]
    sign: bytes | None

    @property
    def lease_seconds(self) -> float:
        """For how long its sign may stay the same."""
        return float(self.fields.get("lease", LEASE_SECONDS))

    def __str__(self) -> str:
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(self.fields["since"])))
        return f"process {self.fields['pid']} on {self.fields['host']} since {since}, epoch {self.fields['epoch']}"


class Behind(Exception):  # noqa: N818  (nobody outside sees it)
    """The server lost the last commits, so the next one must write everything."""


@dataclass
class Snapshot:
    """All that one commit writes, copied.

    Parameters
    ----------
    slots : array of int64
        Of the rows that changed.
    change : Change
        Those rows, or all of them.
    names : bytes
        The new ones.
    ids : bytes
        The ring of `learner.service.recent`.
    head : mapping
        What the header says beside the position.
    """

    cursor: bytes
    n_entries: int
    slots: NDArray[np.int64]
    change: Change
    names: bytes
    arrays: dict[str, bytes]
    ids: bytes
    n_ids: int
    head: dict[str, Any]
    rejected: list[tuple[bytes, Bad]]
    progress: dict[str, Any]


@dataclass
class Attempt:
    """What a worker noted before it died: what it had learned when it read on, and the entry it was about to learn.

    Parameters
    ----------
    reading : bytes
        Everything up to this entry had been learned.
    entry : bytes
        An entry that was to be learned by itself.
    times : int
        How many times it was begun.
    request : bytes
        A request that was to be answered by itself.
    """

    reading: bytes = NEVER
    entry: bytes = b""
    times: int = 0
    request: bytes = b""


class Store:
    """A model's place in Redis.

    Parameters
    ----------
    client : redis.Redis
        Made by `learner.service.server.client`, so without retries of its own.
    model : str
        The model's name.
    """

    def __init__(self, client: "redis.Redis", model: str) -> None:
        self.client = client
        self.keys = Keys(model)
        self.epoch = 0
        self._token = b""
        self._process = secrets.token_hex(8)  # under which this process's note lies
        self._n_signs = 0
        self.n_commits = 0
        self.n_entries = 0  # learned up to the last commit
        self._cursor = NEVER  # of the last commit
        self._names_committed = 0
        self._ids_committed = 0
        self._journal = Journal()
        self._names_sum = 0
        self._sweeps = 0.0  # that moved names, up to the last snapshot
        self._copy = np.empty(0, np.uint8)  # of rows, for a snapshot
        self.durability = Durability()
        self.confirmed = 0  # the last commit known to be as durable as that
        self._reading = b""

    # ---- the spec ----
    def create(self, spec: Mapping[str, Any]) -> bool:
        """Write the spec of a new model and make its stream; return False if the name has one already."""
        if not self.client.set(self.keys.spec, json.dumps(spec), nx=True):
            return False
        for stream in (self.keys.examples, self.keys.requests):
            create_group(self.client, stream)
        return True

    def spec(self) -> dict[str, Any]:
        """Return the model's spec.

        Raises
        ------
        StoreError
            When there is no such model.
        """
        data = cast("bytes | None", self.client.get(self.keys.spec))
        if data is None:
            raise StoreError(
                f"model {self.keys.model!r} does not exist: make it with 'learner create {self.keys.model}'"
            )
        return cast("dict[str, Any]", json.loads(data))

    # ---- owning ----
    def owner(self) -> "Owner":
        """Return who owns the model, and its last sign of life."""
        with self.client.pipeline() as pipe:
            pipe.hgetall(self.keys.owner)
            pipe.get(self.keys.lease)
            found, sign = pipe.execute()
        return Owner({key.decode(): value.decode() for key, value in found.items()}, sign)

    def take_over(self, lease_seconds: float = LEASE_SECONDS) -> int:
        """Become the one worker that may commit, whoever was; return the new epoch."""
        with self.client.pipeline() as pipe:
            self._queue_ownership(pipe, lease_seconds)
            self.epoch = int(pipe.execute()[0])
        create_group(self.client, self.keys.examples)
        return self.epoch

    def succeed(self, owner: "Owner", lease_seconds: float = LEASE_SECONDS) -> bool:
        """Become the one worker that may commit after `owner`; return False if another one did already."""
        token, epoch = (owner.fields[name].encode() if name in owner.fields else None for name in OWNED)
        pipe: Any
        with self.client.pipeline() as pipe:
            try:
                pipe.watch(self.keys.owner)
                if self._owned(pipe) != [token, epoch]:
                    return False
                pipe.multi()
                self._queue_ownership(pipe, lease_seconds)
                self.epoch = int(pipe.execute()[0])
            except redis.WatchError:  # another one was quicker, or, says redis-py too, the connection was lost
                return False
        create_group(self.client, self.keys.examples)
        return True

    def owned_already(self, owner: "Owner") -> bool:
        """Tell whether the owner is this one: whose takeover went through though its answer was lost."""
        if owner.fields.get("worker", "").encode() != self._token or not self._token:
            return False
        self.epoch = int(owner.fields["epoch"])
        return True

    def _queue_ownership(self, pipe: Any, lease_seconds: float) -> None:
        self._token = secrets.token_hex(8).encode()
        pipe.hincrby(self.keys.owner, "epoch", 1)
        owner = {
            "worker": self._token,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process": process_name(),
            "since": f"{time.time():.3f}",
            "lease": f"{lease_seconds:g}",
            "durability": str(self.durability),
        }
        pipe.hset(self.keys.owner, mapping=owner)
        pipe.set(self.keys.lease, self._sign())

    # ---- what each process does for the model ----
    def note_state(self, state: str | None) -> None:
        """Say that this process is starting, waiting, or running as the model's worker; None is that it stops.

        A note outlives its process for a day at most, and is not shown once the process is known to have ended. Where the
        server's rules don't let this worker leave a note, it works without.
        """
        note = {
            "state": state,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "process": process_name(),
            "since": round(time.time(), 3),
        }
        with contextlib.suppress(redis.exceptions.NoPermissionError):
            if state is None:
                self.client.hdel(self.keys.workers, self._process)
                return
            ended = [name for name, other in self._notes().items() if process_ended(other["process"])]
            if ended:
                self.client.hdel(self.keys.workers, *ended)
            self.client.hset(self.keys.workers, self._process, json.dumps(note))
            self.client.expire(self.keys.workers, NOTE_SECONDS)

    def _notes(self) -> dict[str, dict[str, Any]]:
        notes = cast("dict[bytes, bytes]", self.client.hgetall(self.keys.workers))
        return {name.decode(): json.loads(note) for name, note in notes.items()}

    def workers(self) -> list[dict[str, Any]]:
        """Return what each process does for the model that isn't known to have ended, the eldest first."""
        notes = [note for note in self._notes().values() if not process_ended(note["process"])]
        return sorted(notes, key=lambda note: float(note["since"]))

    def _sign(self) -> bytes:
        self._n_signs += 1
        return b"%b %d %d" % (self._token, self._n_signs, self.confirmed)

    def beat(self, timeout_ms: int = 1000) -> None:
        """Say that this worker lives, and have the commits before confirmed, for which it waits at most so long.

        Raises
        ------
        FencedError
            When another worker has taken over.
        StoreError
            When the server lost what this worker committed.
        """
        there = self.client.exists(self.keys.examples)
        self._require_ownership(self._owned(self.client))
        if self.n_entries and not there:
            self.check_stream(self._cursor)
        n_commits = self.n_commits
        if not self.durability.waits:
            self.confirmed = n_commits
            self.client.set(self.keys.lease, self._sign(), xx=True)  # taking over made it: a beat makes none anew
            return
        with self.client.pipeline(transaction=False) as pipe:  # one connection: what comes after the sign confirms it,
            pipe.set(self.keys.lease, self._sign(), xx=True)  # and so the commits before it
            self.durability.queue(pipe, timeout_ms)
            if self.durability.confirmed(pipe.execute()[1]):
                self.confirmed = n_commits

    def release(self) -> None:
        """Stop being the owner, if still so."""
        pipe: Any
        with self.client.pipeline() as pipe:
            try:
                pipe.watch(self.keys.owner)
                if self._is_owner(pipe):
                    pipe.multi()
                    pipe.hdel(self.keys.owner, "worker", "host", "pid", "process", "since", "lease", "durability")
                    pipe.delete(self.keys.lease)
                    pipe.delete(self.keys.attempt)
                    pipe.execute()
            except (
                redis.WatchError
            ) as error:  # replaced in this very moment, or, says redis-py too, the connection was lost
                if self._is_owner(self.client):
                    raise redis.ConnectionError(f"lost while releasing ({error})") from error

    def _is_owner(self, client: Any) -> bool:
        """Tell whether the owner is still this one: the epoch may come again when a server goes back, the token doesn't."""
        return self._owned(client) == [self._token, str(self.epoch).encode()]

    def _owned(self, client: Any) -> list[bytes | None]:
        found: list[bytes | None] = client.hmget(self.keys.owner, *OWNED)
        return found

    def _require_ownership(self, owned: list[bytes | None]) -> None:
        """Make sure that the owner found is this one, or say what happened to it."""
        epoch = owned[1]
        if owned == [self._token, str(self.epoch).encode()]:
            return
        if int(epoch or 0) < self.epoch:  # a takeover raises it: only older data has a lower one
            lost = "everything of this model" if epoch is None else f"what came after epoch {epoch.decode()}"
            raise StoreError(
                f"server lost {lost} while this worker, of epoch {self.epoch}, had learned {self.n_entries} entries of "
                f"{self.keys.model!r}: it was emptied, or went back to older data; a worker started now goes on from what "
                "there is, or says what doesn't fit"
            )
        raise FencedError(
            f"another worker owns {self.keys.model!r} now (epoch {int(epoch or 0)}, this one's is {self.epoch}): nothing of "
            "this one is committed any more"
        )

    # ---- loading ----
    def load(self, fingerprint: str, width: int) -> Committed | None:
        """Return the last commit, None before the first.

        Parameters
        ----------
        fingerprint : str
            The model's; a commit of another one is refused.
        width : int
            float32s in a row.

        Raises
        ------
        StoreError
            When the commit doesn't fit the model, or the stream doesn't fit the commit.
        """
        head, journal, (base, names, ids, *deltas) = self._read_state(width)
        if not head:
            return None
        self._cursor = cursor = head[b"cursor"]
        self.n_entries = int(head[b"entries"])
        self.check_stream(cursor)
        none = np.zeros(0, np.uint64)
        if b"format" not in head:  # a repair said where to start
            return Committed(cursor, 0, {}, none, 0)
        version = int(head[b"format"])
        if not 1 <= version <= FORMAT:
            raise StoreError(
                f"state of {self.keys.model!r} must have format 1 to {FORMAT} (got {version}): a newer learner wrote it"
            )
        if head[b"fingerprint"].decode() != fingerprint:
            raise StoreError(
                f"state of {self.keys.model!r} was learned with fingerprint {head[b'fingerprint'].decode()}, "
                f"but the model's is {fingerprint}: its spec was changed; put the old spec back at {self.keys.spec}, or "
                "create a new model under another name"
            )
        self.n_commits = int(head[b"commits"])
        n_bytes = int(head[b"name_bytes"])
        if len(names) < n_bytes:
            raise StoreError(
                f"state of {self.keys.model!r} must have {n_bytes} bytes at {self.keys.names(0)} (got {len(names)})"
            )
        names = names[:n_bytes]
        small = json.loads(head[b"arrays"])
        state: dict[str, NDArray[Any]] = {
            name: np.frombuffer(head[name.encode()], dtype).reshape(shape) for name, (dtype, shape) in small.items()
        }
        base = base[: journal.base_rows * width * 4]
        if version == 1:
            journal = Journal(journal.base_rows, zlib.crc32(base))
        sums = self._checksums(zlib.crc32(names), [head[name.encode()] for name in small], ids)
        try:
            state["rows"] = journal.rows(int(head[b"features"]), width, base, deltas)
            if version > 1:
                _require_checksums(head[b"checksums"].decode(), sums)
        except StoreError as error:
            raise StoreError(
                f"state of {self.keys.model!r} was damaged or written by something else: {error}; restore the server's data, "
                f"or 'learner repair {self.keys.model} --forget'"
            ) from error
        state["names"] = np.frombuffer(names, np.uint8)
        self._journal = journal
        self._names_committed, self._names_sum = len(names), zlib.crc32(names)
        self._sweeps = float(state["totals"][layout.SWEEPS])
        n_ids = self._ids_committed = int(head.get(b"n_ids", 0))
        return Committed(cursor, self.n_commits, state, np.frombuffer(ids, np.uint64) if n_ids else none, n_ids)

    def _checksums(self, names_sum: int, small: Iterable[bytes], ids: bytes) -> str:
        """Return the CRCs of names, small arrays and ids as a text; those of rows are the journal's."""
        crc = functools.reduce(lambda crc, data: zlib.crc32(data, crc), small, 0)
        return f"{names_sum:08x} {crc:08x} {zlib.crc32(ids):08x}"

    def position(self, cursor: bytes, n_uncommitted: int = 0) -> Position:
        """Return where a cursor stands in the stream, so many entries after the last commit."""
        learned = self.n_entries + n_uncommitted
        return position(self.client, self.keys, cursor, learned, n_uncommitted, self._cursor)

    def committed_position(self) -> Position:
        """Return where the last commit's cursor stands in the stream."""
        while True:
            cursor, learned = self._committed_cursor()
            found = position(self.client, self.keys, cursor, learned, 0, cursor)
            if self._committed_cursor() == (cursor, learned):  # no commit came between
                return found

    def _committed_cursor(self) -> tuple[bytes, int]:
        found: list[Any] = cast("list[Any]", self.client.hmget(self.keys.head, ["cursor", "entries"]))
        return found[0] or NEVER, int(found[1] or 0)

    def check_stream(self, cursor: bytes, n_uncommitted: int = 0) -> None:
        """Make sure that the stream still fits what was learned, nothing more and nothing less.

        Raises
        ------
        StoreError
            When it was deleted, the server went back to older data, or entries were removed unlearned.
        """
        found = self.position(cursor, n_uncommitted)
        if found.trouble and self.epoch:  # what another owner did meanwhile must not look like a loss
            self._require_ownership(self._owned(self.client))
        found.require(self.keys.model)

    def _read_state(self, width: int) -> tuple[dict[bytes, bytes], Journal, list[bytes]]:
        """Return the head, and base, names, ids and deltas of one and the same commit."""
        head = cast("dict[bytes, bytes]", self.client.hgetall(self.keys.head))
        while True:
            wanted = self._parts(head, width)
            ahead = [
                self.keys.delta(int(head.get(b"commits", 0)) + i) for i in range(1, 4)
            ]  # should commits come between
            keys = list(dict.fromkeys([*itertools.chain(*wanted), *ahead]))
            with self.client.pipeline() as pipe:  # one transaction: head and parts are of the same commit
                pipe.hgetall(self.keys.head)
                for key in keys:
                    pipe.get(key)
                head, *values = pipe.execute()
            found = dict(zip(keys, values, strict=True))
            parts = self._parts(head, width)
            if all(key in found for part in parts for key in part):
                return head, _journal(head), [b"".join(found[key] or b"" for key in part) for part in parts]

    def _parts(self, head: Mapping[bytes, bytes], width: int) -> list[list[str]]:
        """Return the keys of base, names and ids, and of each delta, of the commit with this head."""
        journal = _journal(head)
        sizes = (journal.base_rows * width * 4, int(head.get(b"name_bytes", 0)))
        base, names = (
            [key(segment) for segment in range(-(-size // SEGMENT_BYTES))]
            for key, size in zip((self.keys.rows, self.keys.names), sizes, strict=True)
        )
        return [base, names, [self.keys.ids], *([self.keys.delta(delta.number)] for delta in journal.deltas)]

    # ---- reading ----
    def read(
        self,
        cursor: bytes,
        requests_after: bytes | None,
        n_examples: int,
        n_requests: int,
        block_ms: int | None,
        measured: bool = False,
    ) -> tuple[Entries, Entries]:
        """Return the next examples and requests; wait up to `block_ms` while there is neither (None: don't wait).

        Memory is bounded: more than a few entries, or any if they must be `measured`, are read by a script that looks at
        their sizes first.

        Parameters
        ----------
        cursor, requests_after : bytes
            The last ones had; None for no requests.
        n_examples, n_requests : int
            At most so many of them.
        block_ms : int or None
            For how long to wait.
        measured : bool
            Whether even a few could be too much.
        """
        streams: Any = {self.keys.examples: cursor}
        if requests_after is not None:
            streams[self.keys.requests] = requests_after
        count = min(n_examples, n_requests)
        if measured or max(n_examples, n_requests) > UNMEASURED_ENTRIES:
            self._note(self.client, cursor)
            bounds = (READ_BYTES, MAX_ENTRY_BYTES, REJECTED_BYTES, SIZE)
            places: Any = (n_examples, cursor, n_requests, requests_after)[: 2 * len(streams)]
            reply: Any = self.client.eval(READ_BOUNDED, len(streams), *streams, *bounds, *places)
            lists = [[(key, dict(zip(f[::2], f[1::2], strict=True))) for key, f in found] for found in reply]
            if any(lists) or block_ms is None:
                return lists[0], lists[1] if len(lists) > 1 else []
            count = 1 if measured else min(count, UNMEASURED_ENTRIES)
        with self.client.pipeline(transaction=False) as pipe:
            self._note(pipe, cursor)
            pipe.xread(streams, count=count, block=block_ms)
            reply = pipe.execute(raise_on_error=False)[-1]
        if isinstance(reply, Exception):
            raise reply
        found: dict[bytes, Entries] = dict(reply or [])
        return found.get(self.keys.examples.encode(), []), found.get(self.keys.requests.encode(), [])

    def now_ms(self) -> float:
        """Return the Unix time in milliseconds by the server's clock, which stream ids are made of."""
        seconds, microseconds = self.client.time()
        return seconds * 1e3 + microseconds / 1e3

    # ---- after a crash ----
    def begin(self) -> "Attempt | None":
        """Note that this worker begins; return what the one before it noted, None if that one ended as it should."""
        with self.client.pipeline() as pipe:
            pipe.hgetall(self.keys.attempt)
            pipe.hset(self.keys.attempt, "worker", self._token)
            found = pipe.execute()[0]
        if not found:
            return None
        return Attempt(
            found.get(b"reading", NEVER),
            found.get(b"entry", b""),
            int(found.get(b"times", 0)),
            found.get(b"request", b""),
        )

    def mark(self, entry_id: bytes, times: int) -> None:
        """Note that an entry is about to be learned for the so many-th time without a commit."""
        self.client.hset(self.keys.attempt, mapping={"entry": entry_id, "times": times})

    def mark_request(self, entry_id: bytes) -> None:
        """Note that a request is about to be answered."""
        self.client.hset(self.keys.attempt, "request", entry_id)

    def _note(self, client: Any, cursor: bytes) -> None:
        """Note, with what is sent anyway, that everything up to the cursor was learned and did not kill."""
        if cursor != self._reading:
            self._reading = cursor
            client.hset(self.keys.attempt, "reading", cursor)

    # ---- committing ----
    def commit(
        self,
        cursor: bytes,
        n_entries: int,
        state: Mapping[str, NDArray[Any]],
        dirty: NDArray[np.uint8],
        fingerprint: str,
        rejected: Iterable[tuple[bytes, Bad]],
        progress: Mapping[str, Any],
        recent: RecentIds | None = None,
    ) -> None:
        """Write all that changed since the last commit, atomically.

        Safe to repeat after a lost connection: a commit that got through is recognised by its number.

        Parameters
        ----------
        cursor : bytes
            The last entry learned.
        n_entries : int
            Entries learned since the last commit.
        state : mapping
            `Model.state`.
        dirty : array of uint8
            For each row, whether it changed; cleared when the commit is through.
        fingerprint : str
            The model's.
        rejected : (entry id, Bad) pairs
            What could not be learned since the last commit.
        progress : mapping
            What `top` and plots read.
        recent : RecentIds, optional
            The last ids learned.

        Raises
        ------
        FencedError
            When another worker has taken over.
        """
        while True:
            snapshot = self.snapshot(cursor, n_entries, state, dirty, fingerprint, rejected, progress, recent)
            try:
                return self.write(snapshot)
            except Behind:
                dirty[:] = 1
            except BaseException:
                dirty[snapshot.slots] = 1
                raise

    def snapshot(
        self,
        cursor: bytes,
        n_entries: int,
        state: Mapping[str, NDArray[Any]],
        dirty: NDArray[np.uint8],
        fingerprint: str,
        rejected: Iterable[tuple[bytes, Bad]],
        progress: Mapping[str, Any],
        recent: RecentIds | None = None,
    ) -> "Snapshot":
        """Return a copy of all that `commit` would write, and clear `dirty`: learning may go on while it is written.

        The copy of the rows is the store's own memory: there may be one snapshot at a time.
        """
        rows, names = state["rows"], state["names"]
        slots = np.flatnonzero(dirty[: len(rows)].view(np.bool_))  # as bool it is several times faster
        if len(self._copy) < rows.nbytes + 4 * len(rows):
            self._copy = np.empty((rows.nbytes + 4 * len(rows)) * 5 // 4, np.uint8)
        change = self._journal.change(rows, slots, self._copy)
        if state["totals"][layout.SWEEPS] != self._sweeps:  # every name may have another place
            self._names_committed = self._names_sum = 0
            self._sweeps = float(state["totals"][layout.SWEEPS])
        dirty[:] = 0
        small = {name: array for name, array in state.items() if name not in ("rows", "names")}
        return Snapshot(
            cursor=cursor,
            n_entries=n_entries,
            slots=slots,
            change=change,
            names=names[self._names_committed :].tobytes(),
            arrays={name: array.tobytes() for name, array in small.items()},
            ids=recent.ring.tobytes() if recent and recent.count else b"",
            n_ids=recent.count if recent else 0,
            head={
                "format": FORMAT,
                "fingerprint": fingerprint,
                "features": len(rows),
                "name_bytes": len(names),
                "arrays": json.dumps({name: (array.dtype.str, array.shape) for name, array in small.items()}),
            },
            rejected=list(rejected),
            progress=dict(progress),
        )

    def write(self, snapshot: "Snapshot") -> None:
        """Write a snapshot in one transaction. Safe to repeat, before another snapshot is made.

        Raises
        ------
        FencedError
            When another worker has taken over.
        Behind
            When the server lost the last commits: what changed since then is more than the snapshot has.
        """
        entries = self.n_entries + snapshot.n_entries
        pipe: Any
        with self.client.pipeline() as pipe:
            try:
                pipe.watch(self.keys.owner)
                self._require_ownership(self._owned(pipe))
                committed = int(pipe.hget(self.keys.head, "commits") or 0)
                if committed == self.n_commits + 1:  # an earlier attempt got through; its answer was lost
                    self._done(snapshot)
                    return
                self.check_stream(snapshot.cursor, snapshot.n_entries)
                if committed != self.n_commits:
                    self._names_committed = self._ids_committed = self._names_sum = 0
                    self._journal = Journal(
                        0, 0, _journal(pipe.hgetall(self.keys.head)).deltas
                    )  # which go with a new base
                    self.n_commits = committed
                    raise Behind
                pipe.multi()
                self._queue(pipe, snapshot, entries)
                *results, grouped = pipe.execute(raise_on_error=False)
            except redis.WatchError as error:  # the owner changed, or, says redis-py too, the connection was lost
                self._require_ownership(self._owned(self.client))
                raise redis.ConnectionError(f"lost during a commit ({error})") from error
        for result in results:
            if isinstance(result, redis.RedisError):
                raise result
        if isinstance(grouped, redis.ResponseError):  # somebody destroyed the group, which only monitors need
            create_group(self.client, self.keys.examples)
        self._done(snapshot)

    def _done(self, snapshot: "Snapshot") -> None:
        self._journal = self._journal.after(snapshot.change, self.n_commits + 1)
        self._names_sum = zlib.crc32(snapshot.names, self._names_sum)
        self._names_committed += len(snapshot.names)
        self._ids_committed = snapshot.n_ids
        self._cursor = snapshot.cursor
        self.n_entries += snapshot.n_entries
        self.n_commits += 1

    def _queue(self, pipe: Any, snapshot: "Snapshot", entries: int) -> None:
        """Queue the commands of a commit."""
        number = self.n_commits + 1
        change = snapshot.change
        if change.whole:
            self._set_range(pipe, self.keys.rows, change.data, 0)
            if self._journal.deltas:
                pipe.unlink(*(self.keys.delta(delta.number) for delta in self._journal.deltas))
        elif change.n_rows:
            pipe.set(self.keys.delta(number), change.data)
        self._set_range(pipe, self.keys.names, snapshot.names, self._names_committed)
        if snapshot.n_ids > self._ids_committed:
            self._write_ids(pipe, snapshot.ids, self._ids_committed, snapshot.n_ids)
        names_sum = zlib.crc32(snapshot.names, self._names_sum)
        position = {
            "cursor": snapshot.cursor,
            "commits": number,
            "entries": entries,
            "n_ids": snapshot.n_ids,
            "journal": self._journal.after(change, number).to_json(),
            "checksums": self._checksums(names_sum, snapshot.arrays.values(), snapshot.ids),
            "time": f"{time.time():.3f}",
        }
        pipe.hset(self.keys.head, mapping=snapshot.head | position | snapshot.arrays)
        for entry_id, bad in snapshot.rejected:
            kept = bad.cut()
            pipe.xadd(
                self.keys.rejected,
                {
                    "entry": entry_id,
                    "stage": kept.stage,
                    "reason": kept.reason,
                    "field": kept.field,
                    "data": kept.data,
                    "bytes": kept.size,
                },
                maxlen=MAX_REJECTED,
                approximate=True,
            )
        pipe.xtrim(self.keys.examples, minid=snapshot.cursor, approximate=False)
        pipe.xadd(self.keys.progress, snapshot.progress, maxlen=MAX_PROGRESS, approximate=True)
        pipe.execute_command("XGROUP", "SETID", self.keys.examples, GROUP, snapshot.cursor, "ENTRIESREAD", entries)

    def _write_ids(self, pipe: Any, ring: bytes, start: int, stop: int) -> None:
        """Queue the places of the ring that changed since it had `start` ids."""
        n = len(ring) // 8
        if start == 0 or stop - start >= n:  # at first the whole, so that there is all of it to read
            pipe.set(self.keys.ids, ring)
            return
        a, b = start % n, stop % n
        for low, high in ((a, b),) if a < b else ((a, n), (0, b)):
            if low < high:
                pipe.setrange(self.keys.ids, 8 * low, ring[8 * low : 8 * high])

    def _set_range(self, pipe: Any, key: Any, data: "bytes | memoryview", start: int) -> None:
        place = 0
        while place < len(data):
            segment, offset = divmod(start + place, SEGMENT_BYTES)
            end = min(len(data), place + SEGMENT_BYTES - offset)
            pipe.setrange(key(segment), offset, data[place:end])
            place = end

    # ---- looking ----
    def status(self) -> dict[str, Any]:
        """Return the last commit's figures, the owner and the lag, without the state."""
        place = self.committed_position()
        with self.client.pipeline() as pipe:
            pipe.hmget(self.keys.head, "commits", "features", "time")
            pipe.hgetall(self.keys.owner)
            pipe.get(self.keys.lease)
            pipe.xlen(self.keys.requests)
            pipe.xlen(self.keys.rejected)
            pipe.xrevrange(self.keys.progress, count=1)
            head, owner, sign, requests, rejected, progress = pipe.execute()
        last = {k.decode(): v.decode() for k, v in progress[0][1].items()} if progress else {}
        return {
            "model": self.keys.model,
            "owner": {k.decode(): v.decode() for k, v in owner.items()},
            "workers": self.workers(),
            "cursor": place.cursor,
            "commits": int(head[0] or 0),
            "features": int(head[1] or 0),
            "committed": float(head[2]) if head[2] else None,
            "lag_entries": place.added - place.passed,
            "trouble": place.trouble,
            "confirmed": int(sign.split()[2]) if sign else None,
            "requests_waiting": requests,
            "rejected_kept": rejected,
            "progress": {key: float(value) for key, value in last.items()},
        }


def _journal(head: Mapping[bytes, bytes]) -> Journal:
    """Return what a commit's head says of the rows; format 1 had a base alone."""
    return Journal.from_json(head[b"journal"]) if b"journal" in head else Journal(int(head.get(b"features", 0)))


def _require_checksums(wanted: str, got: str) -> None:
    pairs = zip(("names", "arrays", "ids"), wanted.split(), got.split(), strict=True)
    if parts := [part for part, a, b in pairs if a != b]:
        raise StoreError(f"{' and '.join(parts)} must have the checksums {wanted} (got {got})")
