"""A model's stream of examples: where it stands, whether it fits what was learned, and the entries that come next."""

import functools
from importlib import resources
from typing import Any, cast

from learner.service.store.attempts import Attempts
from learner.service.store.link import LastCommit, Link
from learner.service.store.ownership import Ownership
from learner.service.store.position import NEVER, Position, locate
from learner.service.wire import MAX_ENTRY_BYTES, REJECTED_BYTES, SIZE

__all__ = ["READ_BYTES", "UNMEASURED_ENTRIES", "Entries", "Stream"]

UNMEASURED_ENTRIES = 16  # at most so many are read without looking at their sizes first
READ_BYTES = 2 << 20  # read at a time, about: so that requests don't wait long behind examples

Entries = list[tuple[bytes, dict[bytes, bytes]]]


class Stream:
    """The streams ``examples`` and ``requests``: XINFO STREAM, XRANGE, XREAD, EVAL; HMGET of the commit's head.

    Parameters
    ----------
    link : Link
        The model's.
    last : LastCommit
        Where this process's last commit stands.
    ownership : Ownership
        To tell a loss from what another owner did.
    attempts : Attempts
        Which notes how far was read.
    """

    def __init__(self, link: Link, last: LastCommit, ownership: Ownership, attempts: Attempts) -> None:
        self._link = link
        self._last = last
        self._ownership = ownership
        self._attempts = attempts

    def position(self, cursor: bytes, n_uncommitted: int = 0) -> Position:
        """Return where a cursor stands in the stream, so many entries after the last commit."""
        learned = self._last.n_entries + n_uncommitted
        return locate(self._link.client, self._link.keys, cursor, learned, n_uncommitted, self._last.cursor)

    def committed_position(self) -> Position:
        """Return where the server's last commit stands in the stream."""
        while True:
            cursor, learned = self._committed_cursor()
            position = locate(self._link.client, self._link.keys, cursor, learned, 0, cursor)
            if self._committed_cursor() == (cursor, learned):  # no commit came between
                return position

    def _committed_cursor(self) -> tuple[bytes, int]:
        cursor, entries = cast("list[Any]", self._link.client.hmget(self._link.keys.head, ["cursor", "entries"]))
        return cursor or NEVER, int(entries or 0)

    def check(self, cursor: bytes, n_uncommitted: int = 0) -> None:
        """Make sure that the stream still fits what was learned, so many entries after the last commit.

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
    ) -> tuple[Entries, Entries]:
        """Return the next examples and requests; wait up to `block_ms` while there is neither (None: don't wait).

        Memory is bounded: a script that looks at the sizes first reads more than a few entries, or any if `measured`.

        Parameters
        ----------
        cursor, requests_after : bytes
            The last ones read; None for no requests.
        n_examples, n_requests : int
            At most so many of them.
        block_ms : int or None
            For how long to wait.
        measured : bool
            Whether even a few could be too large.
        """
        after: dict[str, bytes] = {self._link.keys.examples: cursor}
        if requests_after is not None:
            after[self._link.keys.requests] = requests_after
        count = min(n_examples, n_requests)
        if measured or max(n_examples, n_requests) > UNMEASURED_ENTRIES:
            examples, requests = self._read_bounded(after, (n_examples, n_requests))
            if examples or requests or block_ms is None:
                return examples, requests
            count = 1 if measured else min(count, UNMEASURED_ENTRIES)
        return self._read_blocking(after, count, block_ms)

    def _read_bounded(self, after: dict[str, bytes], counts: tuple[int, int]) -> tuple[Entries, Entries]:
        """Read at most so many entries and `READ_BYTES` of each stream; of an entry that is too large, its start and size."""
        self._attempts.mark_reading(self._link.client, after[self._link.keys.examples])
        bounds = (READ_BYTES, MAX_ENTRY_BYTES, REJECTED_BYTES, SIZE)
        limits = (part for pair in zip(counts, after.values(), strict=False) for part in pair)
        reply: Any = self._link.client.eval(_script(), len(after), *after, *bounds, *limits)
        lists: list[Entries] = [
            [(entry_id, dict(zip(flat[::2], flat[1::2], strict=True))) for entry_id, flat in entries]
            for entries in reply
        ]
        return lists[0], lists[1] if len(lists) > 1 else []

    def _read_blocking(self, after: dict[str, bytes], count: int, block_ms: int | None) -> tuple[Entries, Entries]:
        """Read at most so many entries of each stream, whole; wait for the first one."""
        keys = self._link.keys
        with self._link.client.pipeline(transaction=False) as pipe:
            self._attempts.mark_reading(pipe, after[keys.examples])
            pipe.xread(cast("Any", after), count=count, block=block_ms)
            reply = pipe.execute(raise_on_error=False)[-1]
        if isinstance(reply, Exception):
            raise reply
        lists: dict[bytes, Entries] = dict(reply or [])
        return lists.get(keys.examples.encode(), []), lists.get(keys.requests.encode(), [])


@functools.cache
def _script() -> str:
    """Return the script that reads until there are so many entries or bytes; see its own comment."""
    return resources.files(__package__).joinpath("read_bounded.lua").read_text(encoding="utf-8")
