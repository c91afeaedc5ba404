"""The figures of ``learner status``, read from the last commit, the owner and the streams."""

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import redis
from redis.exceptions import NoPermissionError

from learner.errors import LearnerError
from learner.service.store.kept import n_kept
from learner.service.store.position import LAST, NO_STREAM, stream_id
from learner.service.store.processes import living, server_time
from learner.service.store.settings import read_settings

if TYPE_CHECKING:
    from learner.service.store.link import Link
    from learner.service.store.position import Position
    from learner.service.store.processes import Answerers, Processes
    from learner.service.store.stream import Stream
    from learner.service.wire import Keys

__all__ = ["latest_of", "progress", "status", "trouble_of"]


def status(link: "Link", stream: "Stream", processes: "Processes", answerers: "Answerers") -> dict[str, Any]:
    """Return the last commit's figures, the owner, the processes and the lag, without the state.

    It sends HMGET, HGETALL, GET, XLEN and XREVRANGE in one transaction, after those of `Stream.committed_position`. What one of
    the model's keys holds instead of a stream is a trouble, and its figures are missing. ``now`` is the server's time.
    """
    keys, now = link.keys, server_time(link.client)
    position = stream.committed_position()
    with link.client.pipeline() as pipe:
        pipe.hmget(keys.head, "commits", "features", "time")
        pipe.hgetall(keys.owner)
        pipe.get(keys.lease)
        pipe.xlen(keys.requests)
        pipe.xlen(keys.rejected)
        pipe.xrevrange(keys.progress, count=1)
        results = pipe.execute(raise_on_error=False)
    head, owner, sign, *streams = results
    for result in results:
        if isinstance(result, Exception) and "WRONGTYPE" not in str(result):
            raise result
    requests, rejected, latest = (None if isinstance(stream, Exception) else stream for stream in streams)
    last_id, oldest = _requests(link)
    return {
        "model": keys.model,
        "now": now,
        "history": _history(link, position),
        "owner": {name.decode(): value.decode() for name, value in owner.items()},
        "workers": processes.list(now),
        "answerers": _answerers(answerers, now),
        "cursor": position.cursor,
        "commits": int(head[0] or 0),
        "features": int(head[1] or 0),
        "committed": float(head[2]) if head[2] else None,
        "lag_entries": position.added - position.passed,
        "trouble": trouble_of(keys, position, owner, streams),
        "ends": _ends(keys.requests, position, last_id),
        "confirmed": int(sign.split()[2]) if sign else None,
        "requests_waiting": requests,
        "request_age": max(now - stream_id(oldest)[0] / 1e3, 0.0) if oldest else None,
        "rejected_kept": rejected,
        "kept": n_kept(link),
        "progress": latest_of(latest),
    }


def _answerers(answerers: "Answerers", now: float) -> Sequence[dict[str, Any]]:
    """Return the notes of the answerers, each with whether it lives, and the age of the commit that it answers from."""
    try:
        notes = answerers.list(now)
    except NoPermissionError:  # the user's access rules are an older release's
        return []
    alive = living(notes)
    return [
        note
        | {
            "lives": note in alive,
            "age": max(round(now - note["committed"], 3), 0.0) if note.get("committed") else None,
        }
        for note in notes
    ]


def trouble_of(keys: "Keys", position: "Position", owner: Mapping[bytes, bytes], streams: Sequence[Any]) -> str | None:
    """Return in words what doesn't fit; None if all does.

    Parameters
    ----------
    keys, position, owner : Keys, Position, mapping
        The model's.
    streams : sequence
        What the server said of ``requests``, ``rejected`` and ``progress``; an error where the key holds no stream.
    """
    if keys.old and position.passed > position.learned:
        # while a worker owns it, it may have read what is gone, and says so itself if it has not
        gone = f"{position.passed - position.learned} entries of {keys.examples} were deleted before it had read them"
        return None if b"worker" in owner else gone
    troubles = [position.trouble] if position.trouble else []
    for key, stream in zip((keys.requests, keys.rejected, keys.progress), streams, strict=True):
        if isinstance(stream, Exception):
            troubles.append(f"key {key} {NO_STREAM}")
    return "; ".join(troubles) or None


def latest_of(entries: Sequence[tuple[bytes, dict[bytes, bytes]]] | None) -> dict[str, float]:
    """Return the figures of the last commit, of the latest entry of the progress stream; none if there is none."""
    return {name.decode(): float(value) for name, value in entries[0][1].items()} if entries else {}


def _history(link: "Link", position: "Position") -> dict[str, Any]:
    """Return for how many seconds learned entries stay in the stream, how many are there, and the time of the oldest one.

    The seconds are None where the settings are damaged, the time where no learned entry is there.
    """
    if link.keys.old:
        return {"seconds": None, "entries": position.history, "since": None}
    seconds = None
    with contextlib.suppress(LearnerError):
        seconds = read_settings(link)["history"]
    since = stream_id(position.first)[0] / 1e3 if position.history else None
    return {"seconds": seconds, "entries": position.history, "since": since}


def _requests(link: "Link") -> tuple[bytes | None, bytes | None]:
    """Return the last id that the stream of requests ever had, and the id of the oldest one that waits: XINFO STREAM."""
    with contextlib.suppress(redis.ResponseError):  # it is gone, or an older version's access rules don't show it
        info = link.client.xinfo_stream(link.keys.requests)
        first = info["first-entry"]
        return info["last-generated-id"], first[0] if first else None
    return None, None


def _ends(requests: str, position: "Position", last_id: bytes | None) -> Sequence[str]:
    """Return in words which streams have used the last possible id."""
    ends = [position.end] if position.end else []
    if last_id == LAST:
        ends.append(
            f"stream {requests} has used the last possible id, so nothing can be asked: a worker begins it anew"
        )
    return ends


def progress(link: "Link") -> Sequence[dict[bytes, bytes]]:
    """Return the figures that the last commits recorded, the latest last: XRANGE."""
    entries: Any = link.client.xrange(link.keys.progress)
    return [fields for _, fields in entries]
