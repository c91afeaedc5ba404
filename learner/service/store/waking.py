"""Waking: connections that the server writes to when something comes for a model, so that one thread can wait for many."""

from typing import TYPE_CHECKING

from learner.service.store.line import Line
from learner.service.store.reading import blocking, entries_of

if TYPE_CHECKING:
    import redis

__all__ = ["Waking"]


class Waking:
    """A connection of this kind, for one stream: XREAD with BLOCK. What it reads is dropped, and read again.

    Parameters
    ----------
    client : redis.Redis
        For the stream's server.
    stream : str
        Its key.

    Attributes
    ----------
    descriptor : int
        Where it is waited for; negative: nowhere.
    """

    def __init__(self, client: "redis.Redis", stream: str) -> None:
        self._stream = stream
        self._line = Line(client)
        self.descriptor = -1

    @property
    def is_waiting(self) -> bool:
        """Whether the server has still to write."""
        return self._line.is_open

    def begin(self, after: bytes) -> None:
        """Have the server write once there is an entry after this one.

        Raises
        ------
        redis.RedisError
            When it can't be asked.
        """
        self._line.send([blocking({self._stream: after}, 1, 0)])

    def fileno(self) -> int:
        """Return the file descriptor that becomes readable when the server writes, or is lost."""
        return self._line.fileno()

    def end(self) -> None:
        """Take note that the server has written.

        Raises
        ------
        redis.RedisError
            When it was lost instead, or the key holds no stream.
        """
        (reply,) = self._line.replies()
        entries_of(reply, {})

    def close(self) -> None:
        """Wait no more."""
        self._line.close()
