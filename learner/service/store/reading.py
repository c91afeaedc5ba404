"""Reads entries from streams, a bounded number of bytes at a time."""

import functools
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any, cast

from learner.service.wire import MAX_ENTRY_BYTES, REJECTED_BYTES, CutFields

__all__ = ["READ_BYTES", "UNMEASURED_ENTRIES", "Entries", "read_blocking", "read_bounded"]

READ_BYTES = 2 << 20  # read from a stream at a time, about, so that requests don't wait long behind examples
UNMEASURED_ENTRIES = 16  # the most entries that are read without a look at their sizes first

Entries = list[tuple[bytes, dict[bytes, bytes]]]


def read_bounded(client: Any, after: Mapping[str, bytes], counts: Sequence[int]) -> list[Entries]:
    """Return the next entries of each stream, about `READ_BYTES` of them at most: EVAL.

    Only the start and the size of an entry are read if it is too large to be learned.

    Parameters
    ----------
    client : redis.Redis
        The connection.
    after : mapping of stream to entry id
        The streams, and the id of the last entry read from each.
    counts : sequence of int
        How many entries of each stream to read at most.
    """
    bounds = (READ_BYTES, MAX_ENTRY_BYTES, REJECTED_BYTES)
    limits = [limit for pair in zip(counts, after.values(), strict=True) for limit in pair]
    reply = client.eval(_script(), len(after), *after, *bounds, *limits)
    return [[(entry_id, _fields(*rest)) for entry_id, *rest in entries] for entries in reply]


def _fields(flat: Sequence[bytes], size: int | None = None) -> dict[bytes, bytes]:
    """Return an entry's fields from names and values in turn; `size` is given where they were cut."""
    fields = dict(zip(flat[::2], flat[1::2], strict=True))
    return fields if size is None else CutFields(fields, size)


def read_blocking(pipe: Any, after: Mapping[str, bytes], count: int, block_ms: int | None) -> list[Entries]:
    """Return the next entries of each stream, whole: XREAD, after the commands that the pipeline has queued.

    Parameters
    ----------
    pipe : redis pipeline
        Not a transaction.
    after : mapping of stream to entry id
        The streams, and the id of the last entry read from each.
    count : int
        How many entries of each stream to read at most.
    block_ms : int or None
        How long to wait for the first entry; None: don't wait.
    """
    pipe.xread(after, count=count, block=block_ms)
    reply = pipe.execute(raise_on_error=False)[-1]
    if isinstance(reply, Exception):
        raise reply
    entries = cast("dict[bytes, Entries]", dict(reply or []))
    return [entries.get(stream.encode(), []) for stream in after]


@functools.cache
def _script() -> str:
    """Return the script of `read_bounded`; the comment at its top describes it."""
    return resources.files(__package__).joinpath("read_bounded.lua").read_text(encoding="utf-8")
