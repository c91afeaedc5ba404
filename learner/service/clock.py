"""The server's clock, so that times in entry ids are compared with no other one."""

import time

from learner.service.store import Store
from learner.service.store.position import stream_id

__all__ = ["ServerClock"]

LOOK_SECONDS = 10.0  # between two looks at the server's clock


class ServerClock:
    """The time by the server's clock, as it goes on since the last look at it.

    Parameters
    ----------
    store : Store
        The model's place in Redis.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._look = (0.0, -LOOK_SECONDS)  # the server's time in ms, and our own in s, of the same moment

    def now_ms(self) -> float:
        """Return the Unix time in milliseconds."""
        now = time.monotonic()
        if now - self._look[1] >= LOOK_SECONDS:
            self._look = (self.store.requests.now_ms(), now)
        return self._look[0] + 1e3 * (now - self._look[1])

    def came_ms(self, entry_id: bytes) -> float:
        """Return when an entry came that was just read: the time in its id, but not a time that is still to come.

        Whoever adds an entry may choose its id, and all ids after it are at least as large.
        """
        return min(stream_id(entry_id)[0], self.now_ms())
