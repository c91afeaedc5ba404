"""The figures of ``learner status``, read from the last commit, the owner and the streams."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from learner.service.store.link import Link
    from learner.service.store.processes import Processes
    from learner.service.store.stream import Stream

__all__ = ["progress", "status"]


def status(link: "Link", stream: "Stream", processes: "Processes") -> dict[str, Any]:
    """Return the last commit's figures, the owner, the processes and the lag, without the state.

    It sends HMGET, HGETALL, GET, XLEN and XREVRANGE in one transaction, after those of `Stream.committed_position`.
    """
    keys = link.keys
    position = stream.committed_position()
    with link.client.pipeline() as pipe:
        pipe.hmget(keys.head, "commits", "features", "time")
        pipe.hgetall(keys.owner)
        pipe.get(keys.lease)
        pipe.xlen(keys.requests)
        pipe.xlen(keys.rejected)
        pipe.xrevrange(keys.progress, count=1)
        head, owner, sign, requests, rejected, latest = pipe.execute()
    return {
        "model": keys.model,
        "owner": {name.decode(): value.decode() for name, value in owner.items()},
        "workers": processes.list(),
        "cursor": position.cursor,
        "commits": int(head[0] or 0),
        "features": int(head[1] or 0),
        "committed": float(head[2]) if head[2] else None,
        "lag_entries": position.added - position.passed,
        "trouble": position.trouble,
        "confirmed": int(sign.split()[2]) if sign else None,
        "requests_waiting": requests,
        "rejected_kept": rejected,
        "progress": {name.decode(): float(value) for name, value in latest[0][1].items()} if latest else {},
    }


def progress(link: "Link") -> Sequence[dict[bytes, bytes]]:
    """Return the figures that the last commits recorded, the latest last: XRANGE."""
    entries: Any = link.client.xrange(link.keys.progress)
    return [fields for _, fields in entries]
