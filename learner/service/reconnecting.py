"""Reconnecting: while the server can't be reached or can't serve, work is tried again, and what is learned stays in memory."""

import time
from collections.abc import Callable
from typing import Any

import redis

from learner.service import log
from learner.service.reading import BLOCK_MS
from learner.service.store import Store, connection, embedded
from learner.service.store.topology import Rerouted

__all__ = ["Reconnecting"]

FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.1, 2.0  # between attempts
REMIND_SECONDS = 60.0  # until a message about the same trouble comes again


class Reconnecting:
    """Does work on a server, and again for as long as the server can't serve.

    Parameters
    ----------
    store : Store
        The model's place in Redis, which gets a new connection.
    redis_url : str or None
        The server; None: the one that is found.
    stopping : callable
        Whether the worker is to stop.
    n_uncommitted : callable
        The number of entries learned that would be lost with the process.
    """

    def __init__(
        self,
        store: Store,
        redis_url: str | None,
        stopping: Callable[[], bool],
        n_uncommitted: Callable[[], int],
    ) -> None:
        self.store = store
        self.redis_url = redis_url
        self.stopping = stopping
        self.n_uncommitted = n_uncommitted
        self._reported: tuple[str, float] | None = None  # the last trouble, and when

    def run(self, work: Callable[[], Any]) -> Any:
        """Do some work, again after each error that will pass; return its result, None if stopped with nothing to commit.

        Raises
        ------
        redis.RedisError
            When trying again would not help.
        """
        pause, self._reported = FIRST_PAUSE_SECONDS, None
        while True:
            started, n_commits = time.monotonic(), self.store.commits.number
            try:
                return work()
            except redis.RedisError as error:
                trouble = connection.passing_trouble(error)
                if trouble is None:
                    raise
                if self.stopping() and not self.n_uncommitted():
                    return None
                went_well = time.monotonic() - started > LAST_PAUSE_SECONDS or self.store.commits.number > n_commits
                if went_well:  # for a while
                    pause = FIRST_PAUSE_SECONDS
                self._report(trouble, error)
            self._pause(pause)
            pause = min(2 * pause, LAST_PAUSE_SECONDS)
            if url := embedded.find(self.redis_url):  # an embedded server that was started again has another address
                self.store.client = connection.client(url, block_ms=BLOCK_MS)

    def _report(self, trouble: str, error: redis.RedisError) -> None:
        """Say what the trouble is, when it is another one or some time has passed."""
        now = time.monotonic()
        if self._reported and self._reported[0] == trouble and now - self._reported[1] <= REMIND_SECONDS:
            return
        self._reported = trouble, now
        n = self.n_uncommitted()
        kept = f"; {n} entries learned are not committed yet" if n else ""
        detail = error.detail if isinstance(error, Rerouted) else str(error).rpartition("caused error: ")[2][-200:]
        text = f"{trouble}, trying again{kept} ({detail})"
        log.event(self.store.keys.model, "retry", text, "warning", uncommitted=n)

    def _pause(self, seconds: float) -> None:
        """Wait, but no longer than until the worker is to stop."""
        end = time.monotonic() + seconds
        while not self.stopping() and time.monotonic() < end:
            time.sleep(FIRST_PAUSE_SECONDS)
