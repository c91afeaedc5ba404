"""Where a cursor stands in its stream, and whether the stream still fits what was learned from it.

Redis counts how many entries were ever added to a stream, and how many it holds. So the number of entries at or before a
cursor, trimmed entries included, is ``entries-added - length + (entries held up to the cursor)``. It must equal the number
learned. If it is less, the stream was deleted, or the server went back to older data. If it is more, some entries were removed
before they were learned, or were added with an id before the cursor. In both cases a worker learns no more rather than skip an
entry, until an administrator chooses how to go on (see `learner.service.store.repair`).

Learned entries may stay in the stream for a while, as its history. Not to count them at each look, a commit says how many
entries the stream had lost by then: if it has lost no more, it still holds all others.

Whoever may add entries may choose their ids, also the last possible one: then nothing can be added any more. That is an end,
not an error: see `Stream.renew`.
"""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

import redis

from learner.errors import StreamError
from learner.service.wire import GROUP

if TYPE_CHECKING:
    from learner.service.wire import Keys

__all__ = [
    "LAST",
    "NEVER",
    "Position",
    "count_between",
    "create_group",
    "locate",
    "queue_renewal",
    "stream_id",
]

NEVER = b"0-0"  # the cursor before the first entry
LAST = b"18446744073709551615-18446744073709551615"  # the last possible id
PAGE_ENTRIES = 1000
NO_STREAM = "must hold a stream (it holds something else): rename or delete it"


@dataclass(frozen=True)
class Position:
    """A cursor's position in its stream.

    Parameters
    ----------
    key : str
        The stream's key.
    cursor : str
        The id of the last entry learned.
    learned : int
        How many entries were learned up to the cursor.
    passed : int
        How many entries at or before the cursor were ever added to the stream; the same number, if the stream fits.
    first, last : str
        The ids of the first entry that the stream holds ("0-0": none), and of the last entry that was ever added.
    length, added : int
        How many entries the stream holds, and how many were ever added.
    is_stream : bool
        False: the key holds something else.
    """

    key: str
    cursor: str
    learned: int
    passed: int
    first: str
    last: str
    length: int
    added: int
    is_stream: bool = True

    @property
    def end(self) -> str | None:
        """What to know, in words, if the last possible id was used; else None."""
        if self.last != LAST.decode():
            return None
        return (
            f"stream {self.key} has used the last possible id, so nothing can be added: a worker begins it anew when it has "
            "learned all of it"
        )

    @property
    def history(self) -> int:
        """How many entries the stream holds up to the cursor."""
        return self.passed - (self.added - self.length)

    @property
    def reaches(self) -> bool:
        """Whether the stream ever had an entry at or after the cursor."""
        return stream_id(self.last) >= stream_id(self.cursor)

    @property
    def trouble(self) -> str | None:
        """What doesn't fit, in words; None if the stream fits."""
        if not self.is_stream:
            return f"key {self.key} {NO_STREAM}"
        if not self.reaches:
            return (
                f"stream {self.key} ends at {self.last} after {self.added} entries, before the last entry learned "
                f"({self.cursor}, of {self.learned}): it was deleted, or the server went back to older data"
            )
        if self.passed < self.learned:
            return (
                f"stream {self.key} had {self.passed} entries up to {self.cursor}, where {self.learned} were learned: entries "
                "before the last entry learned were deleted with the stream, or the server went back to older data"
            )
        if self.passed > self.learned:
            return (
                f"{self.passed - self.learned} entries of stream {self.key} were deleted before they were learned (as XADD "
                "with MAXLEN or MINID, XTRIM and XDEL do), or came with an id before that of the last entry learned, "
                f"{self.cursor}, because the server's clock went back: {self.passed} were up to it or removed, "
                f"of which {self.learned} were learned"
            )
        return None

    def require(self, model: str) -> None:
        """Make sure that no entry would be skipped.

        Raises
        ------
        StreamError
            When the stream doesn't fit the cursor.
        """
        if self.trouble:
            raise StreamError(f"{self.trouble}; nothing is learned until that is settled with 'learner repair {model}'")

    def to_dict(self) -> dict[str, Any]:
        """Return the position as data."""
        return asdict(self) | {"trouble": self.trouble, "end": self.end}


def locate(
    client: Any,
    keys: "Keys",
    cursor: bytes,
    learned: int,
    held: int,
    committed: bytes,
    removed: int | None = None,
    info: Any = None,
) -> Position:
    """Return where a cursor stands in a model's stream.

    Parameters
    ----------
    client : redis.Redis or pipeline that watches
        The connection.
    keys : Keys
        The model's keys.
    cursor : bytes
        The id of the last entry learned.
    learned : int
        How many entries were learned up to the cursor.
    held : int
        How many of them were learned after `committed`. If the stream holds exactly these, they need not be counted one by one.
    committed : bytes
        The cursor of the last commit. The stream is trimmed before this entry, but keeps the entry itself.
    removed : int, optional
        Of a stream with a history: how many entries it had lost at the last commit. If it has lost no more, those up to
        `committed` need not be counted one by one.
    info : dict or Exception, optional
        The server's reply to XINFO STREAM, if it was asked already.
    """
    is_stream = True
    try:
        info = info or client.xinfo_stream(keys.examples)
        if isinstance(info, Exception):
            raise info
    except redis.ResponseError as error:
        if "no such key" not in str(error) and "WRONGTYPE" not in str(error):
            raise
        is_stream = "WRONGTYPE" not in str(error)
        info = {"length": 0, "entries-added": 0, "last-generated-id": NEVER, "first-entry": None}
    first = info["first-entry"][0] if info["first-entry"] else NEVER
    lost = int(info["entries-added"]) - int(info["length"])
    if removed is None:
        kept = int(first == committed != NEVER)
    else:
        kept = learned - held - removed if stream_id(first) <= stream_id(committed) else 0
    passed = lost + held + kept
    if passed != learned and is_stream:
        passed = lost + count_between(client, keys.examples, b"", cursor)
    return Position(
        keys.examples, cursor.decode(), learned, passed, first.decode(), info["last-generated-id"].decode(),
        int(info["length"]), int(info["entries-added"]), is_stream,
    )  # fmt: skip


def count_between(client: Any, key: str, after: bytes, cursor: bytes) -> int:
    """Return how many entries a stream holds after an id, or (empty) from its beginning, up to a cursor."""
    if after == LAST:
        return 0
    n, start = 0, f"({after.decode()}" if after else "-"
    while True:
        page = cast("list[tuple[bytes, Any]]", client.xrange(key, start, cursor, count=PAGE_ENTRIES))
        n += len(page)
        if len(page) < PAGE_ENTRIES or page[-1][0] == LAST:
            return n
        start = "(" + page[-1][0].decode()


def create_group(client: "redis.Redis", stream: str) -> None:
    """Create a stream and its consumer group, whose position monitors read, unless they exist."""
    try:
        client.xgroup_create(stream, GROUP, "0", mkstream=True)
    except redis.ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise


def queue_renewal(pipe: Any, keys: "Keys", renewed: str | None = None) -> None:
    """Queue the commands that replace a model's stream by a renewed one, whose entries are all to be learned.

    Parameters
    ----------
    pipe : redis pipeline
        A transaction, after MULTI.
    keys : Keys
        The model's.
    renewed : str, optional
        The key of the stream that takes its place; by default it is empty.
    """
    if renewed:
        pipe.rename(renewed, keys.examples)
    else:
        pipe.delete(keys.examples)
    pipe.xgroup_create(keys.examples, GROUP, "0", mkstream=True)
    pipe.hset(keys.head, mapping={"cursor": NEVER, "entries": 0, "removed": ""})
    pipe.delete(keys.attempt)  # its notes are about ids


def stream_id(entry_id: bytes | str) -> tuple[int, int]:
    """Return an entry id as (milliseconds, sequence), which sorts in the order of the stream.

    >>> stream_id(b"10-2") > stream_id(b"9-3")
    True
    """
    text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    milliseconds, _, sequence = text.partition("-")
    return int(milliseconds), int(sequence or 0)
