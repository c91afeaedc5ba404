"""A model's stream of examples: the cursor's position, whether the stream fits it, and the next entries."""

from typing import Any, cast

import redis

from learner.service.store.attempts import Attempts
from learner.service.store.link import LastCommit, Link
from learner.service.store.ownership import Ownership
from learner.service.store.position import NEVER, Position, locate
from learner.service.store.reading import UNMEASURED_ENTRIES, Entries, read_blocking, read_bounded
from learner.service.wire import LEARN_HELD

__all__ = ["Stream"]


class Stream:
    """The streams ``examples`` and ``requests``: XINFO STREAM, XRANGE, XREAD, EVAL; HMGET of the commit's head.

    The owner alone adds to ``examples``, too: WATCH owner, MULTI, XADD.

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
    """

    def __init__(self, link: Link, last: LastCommit, ownership: Ownership, attempts: Attempts) -> None:
        self._link = link
        self._last = last
        self._ownership = ownership
        self._attempts = attempts

    def position(self, cursor: bytes, n_uncommitted: int = 0) -> Position:
        """Return the position of a cursor that is `n_uncommitted` entries after the last commit."""
        learned = self._last.n_entries + n_uncommitted
        return locate(self._link.client, self._link.keys, cursor, learned, n_uncommitted, self._last.cursor)

    def committed_position(self) -> Position:
        """Return the position of the cursor of the server's last commit."""
        while True:
            cursor, learned = self._committed_cursor()
            position = locate(self._link.client, self._link.keys, cursor, learned, 0, cursor)
            if self._committed_cursor() == (cursor, learned):  # no commit came between
                return position

    def _committed_cursor(self) -> tuple[bytes, int]:
        cursor, entries = cast("list[Any]", self._link.client.hmget(self._link.keys.head, ["cursor", "entries"]))
        return cursor or NEVER, int(entries or 0)

    def check(self, cursor: bytes, n_uncommitted: int = 0) -> None:
        """Make sure that the stream fits a cursor that is `n_uncommitted` entries after the last commit.

        Raises
        ------
        FencedError
            When another worker has taken over.
        StoreError
            When the stream was deleted, the server went back to older data, or entries were removed unlearned.
        """
        self._ownership.require_fit(self.position(cursor, n_uncommitted))

    def read(
        self,
        cursor: bytes,
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
            The ids of the last example and of the last request read; None: read no requests.
        n_examples, n_requests : int
            How many to read at most.
        block_ms : int or None
            How long to wait; None: don't wait.
        measured : bool
            Whether to look at the sizes even of a few entries.
        learned : bytes, optional
            The last example learned, if that is not the last one read: the note tells this one.
        """
        client, keys = self._link.client, self._link.keys
        learned = learned or cursor
        after, counts = {keys.examples: cursor}, [n_examples]
        if requests_after is not None:
            after[keys.requests] = requests_after
            counts.append(n_requests)
        count = min(n_examples, n_requests)
        if measured or max(n_examples, n_requests) > UNMEASURED_ENTRIES:
            self._attempts.mark_reading(client, learned)
            examples, *requests = read_bounded(client, after, counts)
            if examples or any(requests) or block_ms is None:
                return examples, requests[0] if requests else []
            count = 1 if measured else min(count, UNMEASURED_ENTRIES)
        with client.pipeline(transaction=False) as pipe:
            self._attempts.mark_reading(pipe, learned)
            examples, *requests = read_blocking(pipe, after, count, block_ms)
        return examples, requests[0] if requests else []

    def read_requests(self, after: bytes) -> Entries:
        """Return the next requests, without waiting for any."""
        return read_bounded(self._link.client, {self._link.keys.requests: after}, [UNMEASURED_ENTRIES])[0]

    def add_learn_held(self) -> bytes | None:
        """Add the entry that has the held examples learned; return its id, None if the stream is gone.

        Raises
        ------
        FencedError
            When another worker has taken over.
        """
        keys = self._link.keys
        pipe: Any
        with self._link.client.pipeline() as pipe:
            try:
                pipe.watch(keys.owner)
                self._ownership.require(pipe)
                pipe.multi()
                pipe.xadd(keys.examples, LEARN_HELD, nomkstream=True)
                return cast("bytes | None", pipe.execute()[0])
            except redis.WatchError as error:  # redis-py raises it for a changed owner and for a lost connection
                self._ownership.require()
                raise redis.ConnectionError(f"lost while adding an entry ({error})") from error
