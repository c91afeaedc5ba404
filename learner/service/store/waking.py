"""Waking: connections that the server writes to when something comes for a model, so that one thread can wait for many."""

from typing import TYPE_CHECKING

from learner.service.store.line import Line
from learner.service.store.reading import blocking, entries_of

if TYPE_CHECKING:
    from learner.service.store import Store

__all__ = ["Waking"]


class Waking:
    """A model's connection of this kind: XREAD with BLOCK of ``examples`` and ``requests``; what it reads is read again later.

    Parameters
    ----------
    store : Store
        The model's place in Redis.
    """

    def __init__(self, store: "Store") -> None:
        self._keys = store.keys
        self._line = Line(store.client)

    @property
    def is_waiting(self) -> bool:
        """Whether the server has still to write."""
        return self._line.is_open

    def begin(self, cursor: bytes, last_request: bytes) -> None:
        """Have the server write once there is an example after `cursor`, or a request after the last one.

        Raises
        ------
        redis.RedisError
            When it can't be asked.
        """
        self._line.send([blocking({self._keys.examples: cursor, self._keys.requests: last_request}, 1, 0)])

    def fileno(self) -> int:
        """Return the file descriptor that becomes readable when the server writes, or is lost."""
        return self._line.fileno()

    def end(self) -> None:
        """Take note that the server has written.

        Raises
        ------
        redis.RedisError
            When it was lost instead, or one of the keys holds no stream.
        """
        (reply,) = self._line.replies()
        entries_of(reply, {})

    def close(self) -> None:
        """Wait no more."""
        self._line.close()
