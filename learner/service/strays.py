"""Streams that belong to no model: a producer writes to a misspelt key, which XADD creates, and nobody reads it."""

import re
import time

from learner.errors import show
from learner.service import log
from learner.service.store import Store

__all__ = ["Strays"]

LOOK_SECONDS = 1.0  # between two looks, each of which scans so many keys:
KEYS_A_LOOK = 1000
MAX_NOTED = 100  # stray streams that a worker names


class Strays:
    """Looks through the server's keys, some each second, and names each stream that no model reads, once.

    Parameters
    ----------
    store : Store
        The store of the worker's model. Without the right to SCAN, as with the worker's access rules, nothing is looked at.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self._cursor = 0
        self._due = time.monotonic()
        self._noted: set[bytes] = set()

    def look_if_due(self) -> None:
        """Look at some more keys, unless the last look was just now."""
        if time.monotonic() < self._due or len(self._noted) >= MAX_NOTED:
            return
        self._due = time.monotonic() + LOOK_SECONDS
        found = self.store.streams(self._cursor, KEYS_A_LOOK)
        if found is None:
            self._due = float("inf")
            return
        self._cursor, streams = found
        for key in streams:
            if key not in self._noted and (why := self._stray(key)):
                self._noted.add(key)
                name = show(key.decode(errors="replace"))
                log.event(self.store.keys.model, "stray", f"stream {name} {why}", "warning")

    def _stray(self, key: bytes) -> str | None:
        """Return what is wrong with a stream's name; None: a model reads it.

        >>> Strays(None)._stray(b"learner:spam:examples")
        'belongs to no model, so nobody reads it: keys are named learner:{MODEL}:examples, with the braces'
        """
        match = re.fullmatch(rb"learner:\{([A-Za-z0-9_.-]{1,64})\}:.+", key)
        if not match:
            return "belongs to no model, so nobody reads it: keys are named learner:{MODEL}:examples, with the braces"
        if not self.store.exists(name := match[1].decode()):
            return f"belongs to no model, so nobody reads it: model {name!r} does not exist"
        return None
