"""A model's stream of examples: the cursor's position, whether the stream fits it, and the next entries."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NoReturn, cast

from learner.errors import BehindError
from learner.service.store.attempts import Attempts
from learner.service.store.line import Command
from learner.service.store.link import LastCommit, Link
from learner.service.store.ownership import Ownership
from learner.service.store.position import NEVER, Position, locate, queue_renewal, stream_id
from learner.service.store.reading import UNMEASURED_ENTRIES, Entries, blocking, bounded, entries_bounded, entries_of

__all__ = ["HEAD", "SharedStream", "Stream", "cursor_of"]

PEEKED = 1000  # entries at a time
HEAD = ("cursor", "entries", "removed")  # the fields of a commit's head that `cursor_of` takes
Committed = tuple[bytes, int, int | None]


def cursor_of(fields: Any) -> Committed:
    """Return a commit's cursor, how many entries were learned up to it, and how many were removed, of the `HEAD` fields."""
    cursor, entries, removed = fields
    return cursor or NEVER, int(entries or 0), int(removed) if removed else None


class Stream:
    """The streams ``examples`` and ``requests``: XINFO STREAM, XRANGE, XREAD, EVAL; HMGET of the commit's head.

    The owner alone adds to ``examples``, too, and begins it anew at its end: WATCH, MULTI, XADD; DEL, XGROUP CREATE, HSET.

    Parameters
    ----------
    link : Link
        The model's.
    last : LastCommit
        The last commit of this process.
    ownership : Ownership
        Tells whether another owner's commits are the reason why the stream doesn't fit.
    attempts : Attempts
        Takes a note of the cursor before each read.

    Attributes
    ----------
    n_waiting : int
        How many entries were still to be learned when a position was last looked at.
    """

    def __init__(self, link: Link, last: LastCommit, ownership: Ownership, attempts: Attempts) -> None:
        self._link = link
        self._last = last
        self._ownership = ownership
        self._attempts = attempts
        self._ahead: tuple[Mapping[str, bytes], int, int] | None = None  # what the server was asked to read
        self.n_waiting = 0

    def position(self, cursor: bytes, n_uncommitted: int = 0) -> Position:
        """Return the position of a cursor that is `n_uncommitted` entries after the last commit."""
        learned = self._last.n_entries + n_uncommitted
        last = self._last
        position = locate(self._link.client, self._link.keys, cursor, learned, n_uncommitted, last.cursor, last.removed)
        self.n_waiting = position.added - position.passed
        return position

    def committed_position(self) -> Position:
        """Return the position of the cursor of the server's last commit."""
        while True:
            committed = self.committed_cursor()
            position = self.position_of(committed)
            if self.committed_cursor() == committed:  # no commit came between
                return position

    def position_of(self, committed: Committed, info: Any = None) -> Position:
        """Return the position of a commit's cursor; `info` is the reply to XINFO STREAM, if the server was asked already."""
        cursor, learned, removed = committed
        return locate(self._link.client, self._link.keys, cursor, learned, 0, cursor, removed, info)

    def committed_cursor(self) -> Committed:
        """Return the server's cursor, how many entries were learned up to it, and how many were removed, if that was noted."""
        return cursor_of(self._link.client.hmget(self._link.keys.head, HEAD))

    def check(self, cursor: bytes, n_uncommitted: int = 0) -> Position:
        """Make sure that the stream fits a cursor that is `n_uncommitted` entries after the last commit; return its position.

        Raises
        ------
        FencedError
            When another worker has taken over.
        StreamError
            When the stream was deleted, the server went back to older data, or entries were removed unlearned.
        """
        position = self.position(cursor, n_uncommitted)
        self._ownership.require_fit(position)
        return position

    def trim_history(self, seconds: float) -> None:
        """Delete the entries that were committed and came more than `seconds` ago.

        Whoever adds entries may choose ids, also such as are times to come: entries that came later than in `seconds` from
        now, by their ids, are deleted as soon as they are committed, as it would never be time for them.

        Raises
        ------
        FencedError
            When another worker has taken over.
        StreamError
            When the stream doesn't fit the last commit.
        """
        keys, last = self._link.keys, self._last
        with self._ownership.transaction("while trimming the stream") as pipe:
            position = locate(pipe, keys, last.cursor, last.n_entries, 0, last.cursor, last.removed)
            self._ownership.require_fit(position)
            now, cursor = 1000 * pipe.time()[0], stream_id(last.cursor)
            oldest = max(now - int(1000 * seconds), 0), 0
            until = cursor if cursor[0] > now + 1000 * seconds else min(cursor, oldest)
            pipe.multi()
            pipe.xtrim(keys.examples, minid=f"{until[0]}-{until[1]}", approximate=False)
            last.removed = position.added - position.length + pipe.execute()[0]

    def read(
        self,
        cursor: bytes | None,
        requests_after: bytes | None,
        n_examples: int,
        n_requests: int,
        block_ms: int | None,
        measured: bool = False,
        learned: bytes | None = None,
    ) -> tuple[Entries, Entries]:
        """Return the next examples and requests; wait up to `block_ms` while there is neither.

        Memory is bounded: a read of more than `UNMEASURED_ENTRIES` is done by a script that looks at the sizes first.

        Parameters
        ----------
        cursor, requests_after : bytes
            The ids of the last example and of the last request read; None: read no examples, or no requests.
        n_examples, n_requests : int
            How many to read at most.
        block_ms : int or None
            How long to wait; None: don't wait.
        measured : bool
            Whether to look at the sizes even of a few entries.
        learned : bytes, optional
            The last example learned, if that is not the last one read: the note tells this one.
        """
        line, keys = self._link.line, self._link.keys
        noting = self._attempts.reading(learned or cursor or NEVER)
        wanted = [(keys.examples, cursor, n_examples), (keys.requests, requests_after, n_requests)]
        after = {key: last for key, last, _ in wanted if last is not None}
        counts = [n for _, last, n in wanted if last is not None]
        count, found = min(n_examples, n_requests), dict[str, Entries]()
        if measured or max(counts) > UNMEASURED_ENTRIES:
            reply = line.exchange([*noting, bounded(after, counts)])[-1]
            found, noting = dict(zip(after, entries_bounded(reply), strict=True)), []
            count = 1 if measured else min(count, UNMEASURED_ENTRIES)
        if not any(found.values()) and (block_ms is not None or not found):
            is_ahead = line.is_open and not noting and self._ahead == (after, count, block_ms)
            reply = (line.replies() if is_ahead else line.exchange([*noting, blocking(after, count, block_ms)]))[-1]
            found = dict(zip(after, entries_of(reply, after), strict=True))
        return found.get(keys.examples, []), found.get(keys.requests, [])

    def ahead(self, cursor: bytes, requests_after: bytes, count: int, block_ms: int, learned: bytes) -> list[Command]:
        """Return the commands of a read, to be sent along with others by `Line.exchange`; the next `read` takes its reply.

        It does so if it is the same read. Otherwise the reply is dropped with the connection, and nothing is lost by that.
        """
        after = {self._link.keys.examples: cursor, self._link.keys.requests: requests_after}
        self._ahead = after, count, block_ms
        return [*self._attempts.reading(learned), blocking(after, count, block_ms)]

    def forget_ahead(self) -> None:
        """Forget what the server was asked to read ahead: it is read again."""
        self._ahead = None

    def latest(self, n: int) -> Entries:
        """Return the last examples of the stream, learned or not, the latest first: XREVRANGE."""
        return cast("Entries", self._link.client.xrevrange(self._link.keys.examples, count=n))

    def peek(self, after: bytes) -> Entries:
        """Return the next examples, without waiting for any, and without a note."""
        return entries_bounded(self._link.line.exchange([bounded({self._link.keys.examples: after}, [PEEKED])])[0])[0]

    def read_requests(self, after: bytes) -> Entries:
        """Return the next requests, without waiting for any."""
        wanted = {self._link.keys.requests: after}
        return entries_of(self._link.line.exchange([blocking(wanted, UNMEASURED_ENTRIES, None)])[0], wanted)[0]

    def watch_requests(self, after: bytes) -> Entries | None:
        """Return the next requests that the server has told of, without a round trip; None: it hasn't been asked for these."""
        return self._link.watch.look(self._link.keys.requests, after)

    def read_ahead(self, cursor: bytes, n_examples: int) -> Callable[[], Entries]:
        """Have the server read the next examples, about `READ_BYTES` at most, meanwhile; return what collects them.

        No note is taken: `note` does that before any of them is learned.
        """
        line = self._link.other_line
        line.send([bounded({self._link.keys.examples: cursor}, [n_examples])])
        return lambda: entries_bounded(line.replies()[0])[0]

    def note(self, learned: bytes) -> None:
        """Note that all up to an entry was learned without a crash, before entries are learned that were read ahead."""
        if noting := self._attempts.reading(learned):
            self._link.line.exchange(noting)

    def add(self, entries: Sequence[Mapping[bytes, bytes]]) -> bytes | None:
        """Add the owner's own entries in one transaction; return the last one's id, None if the stream is gone or has ended.

        Raises
        ------
        FencedError
            When another worker has taken over.
        """
        keys = self._link.keys
        with self._ownership.transaction("while adding an entry") as pipe:
            pipe.multi()
            for fields in entries:
                pipe.xadd(keys.examples, cast("dict[Any, Any]", fields), nomkstream=True)
            *_, entry_id = pipe.execute(raise_on_error=False)
        if isinstance(entry_id, Exception) and "last possible ID" not in str(entry_id):
            raise entry_id
        return None if isinstance(entry_id, Exception) else cast("bytes | None", entry_id)

    # ---- the end of the ids ----
    def renew(self) -> bool:
        """Begin the stream anew if its last possible id was used and everything is learned and committed; tell whether.

        Nothing can be added to such a stream any more. What was learned stays; the new stream is empty.

        Raises
        ------
        FencedError
            When another worker has taken over.
        """
        keys, cursor = self._link.keys, self._last.cursor
        with self._ownership.transaction("while renewing the stream", keys.head, keys.examples) as pipe:
            position = locate(pipe, keys, cursor, self._last.n_entries, 0, cursor, self._last.removed)
            if not position.end or position.trouble or position.passed < position.added:
                return False
            pipe.multi()
            queue_renewal(pipe, keys)
            pipe.execute()
        self._last.cursor, self._last.n_entries, self._last.removed = NEVER, 0, None
        return True

    def settle_renewal(self) -> bool:
        """Tell whether a renewal got through whose answer was lost: the head of the last commit has the first cursor again."""
        fields = cast("list[Any]", self._link.client.hmget(self._link.keys.head, ["cursor", "entries", "commits"]))
        if not self._last.n_entries or fields[:2] != [NEVER, b"0"] or int(fields[2] or 0) != self._last.number:
            return False
        self._last.cursor, self._last.n_entries, self._last.removed = NEVER, 0, None
        return True


class SharedStream(Stream):
    """The stream of a candidate: another model's, which trims it; this one only reads.

    What is learned of it may be gone. So what counts is that no entry is gone before it is read: see `require_no_gap`.
    """

    def position(self, cursor: bytes, n_uncommitted: int = 0) -> Position:
        """Return the position of a cursor that is `n_uncommitted` entries after the last commit, if no entry is missing."""
        learned = self._last.n_entries + n_uncommitted
        position = self._position(cursor, learned)
        self.n_waiting = max(position.added - learned, 0)
        return replace(position, passed=learned)

    def committed_position(self) -> Position:
        """Return the position of the cursor of the server's last commit; its trouble says if entries after it are gone."""
        return self.position_of(self.committed_cursor())

    def position_of(self, committed: Committed, info: Any = None) -> Position:
        """Return the position of a commit's cursor, see `Stream.position_of`."""
        return self._position(*committed[:2], info)

    def _position(self, cursor: bytes, learned: int, info: Any = None) -> Position:
        """Return a position that has passed the entries that were deleted, and those that were learned."""
        position = locate(self._link.client, self._link.keys, NEVER, 0, 0, NEVER, 0, info)
        lost = position.added - position.length
        return replace(position, cursor=cursor.decode(), learned=learned, passed=max(learned, lost))

    def check(self, cursor: bytes, n_uncommitted: int = 0) -> Position:
        """Make sure that the stream reaches a cursor that is `n_uncommitted` entries after the last commit.

        Raises
        ------
        FencedError
            When another worker has taken over.
        BehindError
            When it doesn't.
        """
        position = self.position(cursor, n_uncommitted)
        if position.trouble:
            self._raise_behind(position.trouble)
        return position

    def begin(self, from_history: bool, committed: Position) -> None:
        """Begin where nothing is learned yet.

        Parameters
        ----------
        from_history : bool
            Whether with the oldest entry that the stream holds.
        committed : Position
            That of the model beside this one: else this one begins there.
        """
        lost = committed.added - committed.length
        self._last.cursor, self._last.n_entries = (
            (NEVER, lost) if from_history else (committed.cursor.encode(), committed.learned)
        )

    def require_no_gap(self, entries: Entries, n_before: int) -> None:
        """Make sure that nothing was deleted between the last entry read and those that were just read.

        How many entries were ever added up to one stays the same, whatever is deleted.

        Parameters
        ----------
        entries : entries
            Those that were just read; none: nothing may be missing after the last one.
        n_before : int
            How many entries were ever added up to the last one before them.

        Raises
        ------
        FencedError
            When another worker has taken over.
        BehindError
            When something was.
        """
        if (passed := self._position(NEVER, n_before).passed) <= n_before:
            return
        if entries:
            passed = locate(self._link.client, self._link.keys, entries[-1][0], -1, 0, NEVER).passed
        if n_missing := max(passed - n_before - len(entries), 0):
            self._raise_behind(f"{n_missing} entries of {self._link.keys.examples} were deleted before they were read")

    def _raise_behind(self, trouble: str) -> NoReturn:
        """Raise the error, unless another owner's work is the reason."""
        if self._ownership.epoch:
            self._ownership.require()
        model = self._link.keys.model
        raise BehindError(
            f"candidate {model!r} fell behind: {trouble}. It learns no more; delete it ('learner delete {model}'), give "
            f"{model.partition('/')[0]!r} a longer history ('learner set'), and create it again"
        )
