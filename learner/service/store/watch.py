"""Looks for new entries of a stream without a round trip: the server was asked before, and has answered once there are some."""

import time
from typing import TYPE_CHECKING

from learner.service.store.line import Line
from learner.service.store.position import NEVER, stream_id
from learner.service.store.reading import UNMEASURED_ENTRIES, Entries, blocking, entries_of

if TYPE_CHECKING:
    import redis

__all__ = ["Watch"]

WATCH_MS = 100  # the server answers after so long, even if no entry came
LOST_SECONDS = 2.0  # it does not any more


class Watch:
    """A connection on which the server is asked for the next entries of one stream at a time.

    Parameters
    ----------
    client : redis.Redis
        The connection is made as its are.
    """

    def __init__(self, client: "redis.Redis") -> None:
        self._line = Line(client)
        self._stream, self._after, self._asked_at = "", NEVER, 0.0

    def look(self, stream: str, after: bytes) -> Entries | None:
        """Return the entries after one that the server has told of, a few at most; None where it wasn't asked about these.

        It has then been asked, unless it is still asked about another stream: streams that share a watch take turns.

        Raises
        ------
        redis.RedisError
            When the connection is lost, or the key holds no stream.
        """
        is_asked = self._line.is_open and time.monotonic() - self._asked_at < LOST_SECONDS
        is_ours = is_asked and stream == self._stream and stream_id(self._after) <= stream_id(after)
        found: Entries | None = [] if is_ours else None
        if is_asked:
            if not self._line.is_ready():
                return found
            entries = entries_of(self._line.replies()[0], {self._stream: self._after})[0]
            if is_ours:
                found = [entry for entry in entries if stream_id(entry[0]) > stream_id(after)]
        self._stream, self._after, self._asked_at = stream, found[-1][0] if found else after, time.monotonic()
        self._line.send([blocking({stream: self._after}, UNMEASURED_ENTRIES, WATCH_MS)])
        return found

    def close(self) -> None:
        """Close the connection; the next look makes it anew."""
        self._line.close()
