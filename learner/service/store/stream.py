"""Whether the stream still fits what was learned from it, and how to go on when it doesn't.

A stream counts all entries it was ever given, and how many it holds. So the entries at or before a cursor, those that were
trimmed among them, are ``entries-added - length + (those still held up to the cursor)``: as many as were learned. Fewer: the
stream was deleted, or the server went back to older data. More: entries were removed, or came with an id before the cursor,
without ever being learned. In both cases a worker stops rather than skip anything, until `repair` is told how to go on.
"""

import itertools
from dataclasses import asdict, dataclass
from typing import Any, cast

import redis

from learner.errors import StoreError
from learner.service.store.journal import Journal
from learner.service.wire import GROUP, Keys

__all__ = ["CHOICES", "NEVER", "Position", "create_group", "position", "repair", "stream_id"]

NEVER = b"0-0"  # the cursor before the first entry
CHOICES = {
    "from-start": "learn what the stream has now, from its beginning",
    "skip": "skip what the stream has now; learn what comes after",
    "continue": "learn what comes after the last entry learned; what was lost before it stays lost",
    "forget": "forget all that was learned, and learn what the stream has now from its beginning",
}
PAGE_ENTRIES = 1000


@dataclass(frozen=True)
class Position:
    """A cursor beside its stream.

    Parameters
    ----------
    key : str
        The stream's.
    cursor : str
        The last entry learned.
    learned : int
        Entries learned up to it.
    passed : int
        Entries at or before it that the stream has ever had.
    first, last : str
        The first entry that the stream holds ("0-0": none), and the last it ever had.
    length, added : int
        How many it holds, and ever had.
    """

    key: str
    cursor: str
    learned: int
    passed: int
    first: str
    last: str
    length: int
    added: int

    @property
    def reaches(self) -> bool:
        """Whether the stream ever had the cursor's entry."""
        return stream_id(self.last) >= stream_id(self.cursor)

    @property
    def trouble(self) -> str | None:
        """What doesn't fit, None if all does."""
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
                f"stream {self.key} had {self.passed} entries up to {self.cursor} or removed, of which {self.learned} were "
                f"learned: {self.passed - self.learned} were deleted or trimmed unlearned, or came with an id before the "
                "cursor's because the server's clock went back"
            )
        return None

    def require(self, model: str) -> None:
        """Make sure that nothing is skipped.

        Raises
        ------
        StoreError
            When the stream doesn't fit the cursor.
        """
        if self.trouble:
            raise StoreError(f"{self.trouble}; nothing is learned until that is settled with 'learner repair {model}'")

    def to_dict(self) -> dict[str, Any]:
        """Return it as data."""
        return asdict(self) | {"trouble": self.trouble}


def position(client: Any, keys: Keys, cursor: bytes, learned: int, held: int, committed: bytes) -> Position:
    """Return where a cursor stands in a model's stream.

    Parameters
    ----------
    client : redis.Redis
        Or a pipeline that watches.
    keys : Keys
        The model's.
    cursor : bytes
        The last entry learned.
    learned : int
        Entries learned up to it.
    held : int
        How many of them the stream should still hold, beside the one at `committed`: they are counted only if not.
    committed : bytes
        The last cursor committed, up to which the stream is trimmed.
    """
    try:
        info = client.xinfo_stream(keys.examples)
    except redis.ResponseError as error:
        if "no such key" not in str(error):
            raise
        info = {"length": 0, "entries-added": 0, "last-generated-id": NEVER, "first-entry": None}
    first = info["first-entry"][0] if info["first-entry"] else NEVER
    removed = int(info["entries-added"]) - int(info["length"])
    passed = removed + held + (first == committed != NEVER)
    if passed != learned:
        passed = removed + _count_up_to(client, keys.examples, cursor)
    return Position(
        keys.examples, cursor.decode(), learned, passed, first.decode(), info["last-generated-id"].decode(),
        int(info["length"]), int(info["entries-added"]),
    )  # fmt: skip


def _count_up_to(client: Any, key: str, cursor: bytes) -> int:
    """Count the entries that a stream holds up to a cursor."""
    n, start = 0, "-"
    while True:
        found = cast("list[tuple[bytes, Any]]", client.xrange(key, start, cursor, count=PAGE_ENTRIES))
        n += len(found)
        if len(found) < PAGE_ENTRIES:
            return n
        start = "(" + found[-1][0].decode()


def repair(client: "redis.Redis", keys: Keys, choice: str) -> Position:
    """Make cursor and stream fit in the way chosen, one of `CHOICES`, in one transaction; return how they stand then.

    The state stays as it is, but for the choice "forget". A worker must not be running: see `learner.service.store.Store.take_over`.

    Raises
    ------
    StoreError
        When the choice can't be had.
    """
    create_group(client, keys.examples)
    pipe: Any
    while True:
        with client.pipeline() as pipe:
            pipe.watch(keys.head, keys.examples)
            cursor, learned = pipe.hmget(keys.head, "cursor", "entries")
            old = position(pipe, keys, cursor or NEVER, int(learned or 0), 0, cursor or NEVER)
            if choice == "continue" and not old.reaches:
                raise StoreError(
                    f"choice {choice!r} must have a stream that reaches {old.cursor} (it ends at {old.last})"
                )
            new, entries = {
                "from-start": ("0-0", old.added - old.length),
                "forget": ("0-0", old.added - old.length),
                "skip": (old.last, old.added),
                "continue": (old.cursor, old.passed),
            }[choice]
            changed = Journal.from_json(pipe.hget(keys.head, "journal") or "[0,0,[]]").deltas
            doomed = [keys.head, keys.ids, *(keys.delta(delta.number) for delta in changed)]
            doomed += [*itertools.takewhile(client.exists, map(keys.rows, itertools.count()))]
            doomed += itertools.takewhile(client.exists, map(keys.names, itertools.count()))
            pipe.multi()
            if choice == "forget":
                pipe.delete(*doomed)
            pipe.hset(keys.head, mapping={"cursor": new, "entries": entries})
            pipe.execute_command("XGROUP", "SETID", keys.examples, GROUP, new, "ENTRIESREAD", entries)
            try:
                pipe.execute()
            except redis.WatchError:
                continue
        return position(client, keys, new.encode(), entries, 0, new.encode())


def create_group(client: "redis.Redis", stream: str) -> None:
    """Make the consumer group whose position monitors read, and its stream, if they aren't there."""
    try:
        client.xgroup_create(stream, GROUP, "0", mkstream=True)
    except redis.ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise


def stream_id(entry_id: bytes | str) -> tuple[int, int]:
    """Return an entry id as (milliseconds, sequence), which compares as the stream does.

    >>> stream_id(b"10-2") > stream_id(b"9-3")
    True
    """
    text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
    milliseconds, _, sequence = text.partition("-")
    return int(milliseconds), int(sequence or 0)
