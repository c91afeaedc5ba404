"""The commands that write a commit, queued for one transaction."""

import time
from collections.abc import Mapping
from typing import Any

from learner.service.store import segments
from learner.service.store.kept import queue_forget
from learner.service.store.snapshot import Snapshot, Written, checksums
from learner.service.wire import GROUP, Keys, RejectedEntry

__all__ = ["MAX_PROGRESS", "MAX_REJECTED", "queue", "queue_rejected", "queue_state"]

MAX_REJECTED = 20_000  # entries kept in the rejected stream, about
MAX_PROGRESS = 10_000  # entries kept in the progress stream, about


def queue(
    pipe: Any,
    keys: Keys,
    snapshot: Snapshot,
    before: Written,
    number: int,
    n_entries: int,
    removed: int | None = None,
) -> Written:
    """Queue the commands of a commit, the last of which moves the consumer group; return what the server has after it.

    A candidate's commit neither moves the group nor trims the stream: both are the business of the model beside it.

    Parameters
    ----------
    pipe : redis pipeline
        A transaction, after MULTI.
    keys : Keys
        The model's.
    snapshot : Snapshot
        What to write.
    before : Written
        What the server has before this commit.
    number : int
        The number of this commit.
    n_entries : int
        How many entries were learned up to its cursor.
    removed : int, optional
        How many entries the stream has lost, if it keeps learned ones; by default it is trimmed up to the cursor.
    """
    about = {
        "commits": number,
        "entries": n_entries,
        "removed": "" if removed is None else removed,
        "time": f"{time.time():.3f}",
    }
    after = queue_state(pipe, keys, snapshot, before, number, about)
    for entry_id, bad in snapshot.rejected:
        queue_rejected(pipe, keys, entry_id, bad)
    queue_forget(pipe, keys, snapshot.settled)
    if removed is None and not keys.old:
        pipe.xtrim(keys.examples, minid=snapshot.cursor, approximate=False)
    for figures in (*snapshot.points, snapshot.progress):
        pipe.xadd(keys.progress, figures, maxlen=MAX_PROGRESS, approximate=True)
    if not keys.old:
        pipe.execute_command("XGROUP", "SETID", keys.examples, GROUP, snapshot.cursor, "ENTRIESREAD", n_entries)
    return after


def queue_state(
    pipe: Any, keys: Keys, snapshot: Snapshot, before: Written, number: int, about: Mapping[Any, Any]
) -> Written:
    """Queue the commands that write a state alone, with these fields of the head beside its own; the rest is as for `queue`."""
    after = before.after(snapshot, number)
    _queue_rows(pipe, keys, snapshot, before, after, number)
    segments.set_range(pipe, keys.names, snapshot.names, before.n_name_bytes)
    if after.n_ids > before.n_ids:
        _queue_ids(pipe, keys.ids, snapshot.ids, before.n_ids, after.n_ids)
    head = {
        "cursor": snapshot.cursor,
        "n_ids": after.n_ids,
        "journal": after.journal.to_json(),
        "checksums": checksums(after.names_crc, snapshot.arrays.values(), snapshot.ids),
    }
    pipe.hset(keys.head, mapping=snapshot.head | head | snapshot.arrays | dict(about))
    return after


def _queue_rows(pipe: Any, keys: Keys, snapshot: Snapshot, before: Written, after: Written, number: int) -> None:
    """Queue one more delta and a part of the base, and the removal of deltas that the base replaces."""
    change = snapshot.change
    if change.n_base:
        segments.set_range(pipe, keys.rows, change.base, change.first * (len(change.base) // change.n_base))
    if change.n_rows:
        pipe.set(keys.delta(number), change.delta)
    left = {delta.number for delta in after.journal.deltas}
    if replaced := [keys.delta(delta.number) for delta in before.journal.deltas if delta.number not in left]:
        pipe.unlink(*replaced)


def _queue_ids(pipe: Any, key: str, ring: bytes, start: int, stop: int) -> None:
    """Queue the part of the ring that changed while its count of ids went from `start` to `stop`."""
    n = len(ring) // 8
    if start == 0 or stop - start >= n:  # the first time too, so that the key has its full length
        pipe.set(key, ring)
        return
    a, b = start % n, stop % n
    for low, high in ((a, b),) if a < b else ((a, n), (0, b)):
        if low < high:
            pipe.setrange(key, 8 * low, ring[8 * low : 8 * high])


def queue_rejected(pipe: Any, keys: Keys, entry_id: bytes, bad: RejectedEntry) -> None:
    """Queue the command that adds to the rejected stream."""
    kept = bad.cut()
    fields: dict[Any, Any] = {
        "entry": entry_id,
        "stage": kept.stage,
        "reason": kept.reason,
        "field": kept.field,
        "data": kept.data,
        "bytes": kept.size,
    }
    pipe.xadd(keys.rejected, fields, maxlen=MAX_REJECTED, approximate=True)
