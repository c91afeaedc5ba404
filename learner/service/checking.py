"""Checking in pauses, when no commit does so, whether the streams still fit; streams at their end begin anew."""

import time

from learner.service import log
from learner.service.answering import Answering
from learner.service.committing import Committing
from learner.service.learning import Learning
from learner.service.owning import Owning
from learner.service.recovery import Recovery
from learner.service.store import Store
from learner.service.store.position import LAST, NEVER

__all__ = ["Checking"]

CHECK_SECONDS = 1.0  # between two looks


class Checking:
    """The owner's looks at its streams; the other parameters are its other parts.

    Parameters
    ----------
    store : Store
        The model's place in Redis.
    """

    def __init__(
        self,
        store: Store,
        owning: Owning,
        learning: Learning,
        committing: Committing,
        recovery: Recovery,
        answering: Answering,
    ) -> None:
        self.store = store
        self.owning = owning
        self.learning = learning
        self.committing = committing
        self.recovery = recovery
        self.answering = answering
        self._checked_at = time.monotonic()

    def is_due(self) -> bool:
        """Tell whether it is time to look at the streams; the requests begin anew here if they are at their end."""
        if time.monotonic() - self._checked_at < CHECK_SECONDS:
            return False
        self._checked_at = time.monotonic()
        if self.answering.is_idle and self.store.requests.renew():
            self.answering.last_request = NEVER
        return True

    def begins_anew(self, is_due: bool) -> bool:
        """Look in a pause whether the stream of examples still fits; tell whether it begins anew, as it was at its end.

        Raises
        ------
        StreamError
            When it doesn't fit.
        """
        writing = self.committing.writing
        if (writing and writing.is_running) or not (is_due or self.learning.cursor == LAST):
            return False
        self.committing.settle()  # from here on it is known how many entries are committed
        position = self.store.stream.check(self.learning.cursor, self.learning.n_entries)
        if not position.end or position.passed < position.added:
            return False
        self.owning.require()
        self.committing.commit()
        if not self.store.stream.renew():
            return False
        text = "the stream had used the last possible id: it begins anew, everything in it was learned"
        log.event(self.store.keys.model, "renewed", text, "warning")
        self.learning.cursor = NEVER
        self.recovery.n_suspects = 0  # they were in the old stream
        return True
