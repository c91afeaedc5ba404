"""Flushing: when few examples come or none, those that the model holds back are learned all the same.

The owner adds an entry to the stream of examples that says so (see `learner.service.wire.entries`), and learns what is held
when it reads that entry. So the moment is a place in the stream: after a crash, the entries since the last commit are learned
again to the same bits.
"""

import math
import time

from learner.service.learning import Learning
from learner.service.store.position import NEVER, stream_id
from learner.service.store.stream import Stream
from learner.service.wire import LEARN_HELD

__all__ = ["HELD_SECONDS", "Flushing"]

HELD_SECONDS = 60.0  # for which examples are held, at most, while few come
IDLE_SHARE = 1 / 12  # of this time without any example: then what is held is learned


class Flushing:
    """Adds the entry that has the held examples learned, when it is time for one.

    That is when the model holds examples, and no example came for `IDLE_SHARE` of `held_seconds`; or when it has held some for
    `held_seconds`, or for so long since the last such entry.

    Parameters
    ----------
    stream : Stream
        The model's.
    learning : Learning
        Its cursor tells whether the last such entry is still to come.
    held_seconds : float
        For how long examples are held; with infinity no entry is ever added.
    """

    def __init__(self, stream: Stream, learning: Learning, held_seconds: float = HELD_SECONDS) -> None:
        self.stream = stream
        self.learning = learning
        self.held_seconds = held_seconds
        self._came_at = self._flushed_at = time.monotonic()
        self._last = NEVER

    def flush_if_due(self, examples_came: bool) -> None:
        """Add the entry if it is due.

        Parameters
        ----------
        examples_came : bool
            Whether the last read brought entries. If it didn't, the stream was at its end, with no such entry to come.
        """
        now = time.monotonic()
        if examples_came:
            self._came_at = now
        if not self.learning.model.n_held:
            self._flushed_at = now
            return
        is_idle = now - self._came_at >= IDLE_SHARE * self.held_seconds
        is_late = now - self._flushed_at >= self.held_seconds and not self._is_outstanding
        if is_idle or is_late:
            self.flush()

    def due_seconds(self) -> float:
        """Return in how many seconds the entry is due if no example comes; infinity: never."""
        if not self.learning.model.n_held:
            return math.inf
        return self._came_at + IDLE_SHARE * self.held_seconds - time.monotonic()

    def flush(self) -> bool:
        """Add the entry if the model holds examples, unless they may be held for ever; return whether it was added."""
        if not self.learning.model.n_held or self.held_seconds == math.inf:
            return False
        self._came_at = self._flushed_at = time.monotonic()  # before adding: an entry whose answer is lost counts, too
        self._last = self.stream.add([LEARN_HELD]) or NEVER
        return self._last != NEVER

    @property
    def _is_outstanding(self) -> bool:
        """Whether the last entry added is not learned yet."""
        return stream_id(self.learning.cursor) < stream_id(self._last)
