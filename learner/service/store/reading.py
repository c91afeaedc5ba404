"""Reads entries from streams, a bounded number of bytes at a time."""

from collections.abc import Mapping, Sequence
from typing import Any

from learner.service.store.line import Command
from learner.service.store.scripts import script
from learner.service.wire import MAX_ENTRY_BYTES, REJECTED_BYTES, CutFields

__all__ = ["READ_BYTES", "UNMEASURED_ENTRIES", "Entries", "blocking", "bounded", "entries_bounded", "entries_of"]

READ_BYTES = 2 << 20  # read from a stream at a time, about, so that requests don't wait long behind examples
UNMEASURED_ENTRIES = 16  # the most entries that are read without a look at their sizes first

Entries = list[tuple[bytes, dict[bytes, bytes]]]


def bounded(after: Mapping[str, bytes], counts: Sequence[int]) -> Command:
    """Return the command that reads the next entries of each stream, about `READ_BYTES` of them at most: EVAL.

    Only the start and the size of an entry are read if it is too large to be learned.

    Parameters
    ----------
    after : mapping of stream to entry id
        The streams, and the id of the last entry read from each.
    counts : sequence of int
        How many entries of each stream to read at most.
    """
    bounds = (READ_BYTES, MAX_ENTRY_BYTES, REJECTED_BYTES)
    limits = [limit for pair in zip(counts, after.values(), strict=True) for limit in pair]
    return ("EVAL", script("read_bounded.lua"), len(after), *after, *bounds, *limits)


def entries_bounded(reply: Any) -> list[Entries]:
    """Return the entries of each stream, from the reply to a `bounded` command."""
    return [_entries(entries) for entries in _sound(reply)]


def _entries(entries: Sequence[Any]) -> Entries:
    """Return entries' ids and fields."""
    n = len(entries[0][1]) if entries else 0
    try:  # nearly always the same few fields, which this takes in a third of the time
        if n == 2:
            return [(entry_id, {a: b}) for entry_id, (a, b) in entries]
        if n == 4:
            return [(entry_id, {a: b, c: d}) for entry_id, (a, b, c, d) in entries]
        if n == 6:
            return [(entry_id, {a: b, c: d, e: f}) for entry_id, (a, b, c, d, e, f) in entries]
    except ValueError:
        pass
    return list(map(_entry, entries))


def _entry(entry: Sequence[Any]) -> tuple[bytes, dict[bytes, bytes]]:
    """Return an entry's id and its fields, which come as names and values in turn; where they were cut, their size follows."""
    flat = iter(entry[1])
    fields = dict(zip(flat, flat, strict=True))
    return entry[0], fields if len(entry) == 2 else CutFields(fields, entry[2])


def blocking(after: Mapping[str, bytes], count: int, block_ms: int | None) -> Command:
    """Return the command that reads the next entries of each stream, whole: XREAD.

    Parameters
    ----------
    after : mapping of stream to entry id
        The streams, and the id of the last entry read from each.
    count : int
        How many entries of each stream to read at most.
    block_ms : int or None
        How long to wait for the first entry; None: don't wait.
    """
    block = () if block_ms is None else ("BLOCK", block_ms)
    return ("XREAD", "COUNT", count, *block, "STREAMS", *after, *after.values())


def entries_of(reply: Any, after: Mapping[str, bytes]) -> list[Entries]:
    """Return the entries of each stream, from the reply to a `blocking` command."""
    read = dict(_sound(reply) or [])
    return [_entries(read.get(stream.encode(), ())) for stream in after]


def _sound(reply: Any) -> Any:
    if isinstance(reply, Exception):
        raise reply
    return reply
