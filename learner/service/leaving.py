"""Leaving: while answerers live, the owner leaves questions to them; when none does, it answers again.

The field ``answered_by`` of the hash ``owner`` says so. Answerers answer only while it is there, or while nobody that lives
owns the model, and the script that sends replies looks at it once more (see `learner.service.store.requests`): so the owner and
they never answer at the same time. The note outlives its owner: the next one finds it, and decides anew.
"""

import math
import time

from learner.service import log
from learner.service.answering import Answering
from learner.service.committing import Committing
from learner.service.counting import Counts
from learner.service.store import Store

__all__ = ["Leaving"]

LOOK_SECONDS = 1.0  # between two looks whether answerers live


class Leaving:
    """Has the owner's requests left to answerers, or not; until the first look nothing is answered.

    Parameters
    ----------
    store : Store
        The model's place in Redis.
    answering : Answering
        The owner's.
    committing : Committing
        Finishes its commit before the note, which would end that transaction.
    counts : Counts
        Knows how many answerers live.
    """

    def __init__(self, store: Store, answering: Answering, committing: Committing, counts: Counts) -> None:
        self.store = store
        self.answering = answering
        self.committing = committing
        self.counts = counts
        self._noted: bool | None = None  # whether the note is there; None: unknown
        self._looked_at = -LOOK_SECONDS
        answering.is_left = True

    def due_seconds(self) -> float:
        """Return in how many seconds the next look is due, of an owner that nothing wakes, as it leaves its requests."""
        return self._looked_at + LOOK_SECONDS - time.monotonic() if self.answering.is_left else math.inf

    def look_if_due(self) -> None:
        """Look now and then whether answerers live, and leave requests to them, or take them up again.

        Raises
        ------
        FencedError
            When another worker has taken over.
        """
        if time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        n = self.counts.n_answerers = self.store.answerers.n_living(self.answering.clock.now_ms() / 1e3)
        self.counts.n_requests = self.store.requests.n_waiting()
        if self._noted is None:
            self._noted = self.store.ownership.leaves_questions()
        if self._noted != bool(n):
            self.answering.drop()
            self.answering.is_left, noted, self._noted = True, bool(n), None  # until the server has answered
            self.committing.settle()
            self.store.ownership.note_leaving(noted)
            self._noted = noted
            text = f"leaves questions to answerers ({n} live)" if n else "answers questions, as no answerer lives"
            log.event(self.store.keys.model, "answerers", text, answerers=n)
        self.answering.is_left = self._noted
