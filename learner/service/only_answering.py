"""A stream gone bad ends learning, not answering: the worker answers from the last commit until the stream fits again."""

import time
from collections.abc import Callable, Generator

from learner.service import log
from learner.service.answering import Answering
from learner.service.checking import Checking
from learner.service.counting import Minutes
from learner.service.following import ACCEPTANCE
from learner.service.leaving import Leaving
from learner.service.owning import Owning
from learner.service.reading import Batch, Reading
from learner.service.recovery import Recovery
from learner.service.store import Store

__all__ = ["OnlyAnswering", "notice_of"]

LEFT_SECONDS = 0.1  # between two rounds while requests are left to answerers


class OnlyAnswering:
    """Answers and learns nothing; the other parameters are the worker's parts.

    Parameters
    ----------
    store : Store
        The model's place in Redis.
    cursor : bytes
        The last commit's.
    waits : bool
        Whether a turn waits for requests.
    """

    def __init__(
        self,
        store: Store,
        cursor: bytes,
        owning: Owning,
        recovery: Recovery,
        answering: Answering,
        leaving: Leaving,
        checking: Checking,
        minutes: Minutes,
        waits: bool = True,
    ) -> None:
        self.store = store
        self.cursor = cursor
        self.owning = owning
        self.recovery = recovery
        self.answering = answering
        self.leaving = leaving
        self.checking = checking
        self.minutes = minutes
        self.waits = waits

    def turns(
        self, error: Exception, stopping: Callable[[], bool], follow: Callable[[], set[str]]
    ) -> Generator[float, None, None]:
        """Answer from the last commit, a little at each turn, until stopped, or until learning may go on.

        It may when the stream fits again, or when what is accepted was set anew.

        Parameters
        ----------
        error : Exception
            What ended learning.
        stopping : callable
            Whether to stop.
        follow : callable
            Has changed settings take effect, and returns their names.

        Yields
        ------
        float
            For how many seconds there is nothing to do unless requests come.

        Raises
        ------
        FencedError
            When another worker, or a repair, took the model over.
        """
        trouble = self.store.stream.position(self.cursor).trouble
        self._note(f"{trouble}; settle that with 'learner repair {self.store.keys.model}'" if trouble else str(error))
        reading = Reading(self.store.stream)
        while not stopping():
            self._read_and_answer(reading)
            self.minutes.tell_if_due()
            changed = follow()
            if self.checking.is_due() and trouble and not self.store.stream.position(self.cursor).trouble:
                self._note("")
                return
            if not trouble and changed & ACCEPTANCE:
                self._note("")
                return
            yield max(self.leaving.due_seconds(), 0.0) if self.answering.is_idle else 0.0

    def _read_and_answer(self, reading: Reading) -> None:
        """Read requests, and no examples, and answer for a while."""
        batch, answering = Batch([], [], False), self.answering
        self.leaving.look_if_due()
        if answering.is_left and self.waits:
            time.sleep(LEFT_SECONDS)
        if not (answering.is_left or answering.waiting):
            measured = self.recovery.is_going_on
            batch = reading.read_requests(
                self.cursor, answering.last_request, measured, wait=self.waits and answering.is_idle
            )
        self.owning.require()
        answering.take(batch.requests, batch.more_requests, examples_wait=False)

    def _note(self, trouble: str) -> None:
        """Say in the log, in status and in replies that this worker only answers, and why; empty: that it learns on."""
        model = self.store.keys.model
        self.store.ownership.note_trouble(trouble)
        self.store.processes.note("answering_only" if trouble else "running")
        what = notice_of(self.store.commits.number)
        self.answering.notice = what if trouble else ""
        if trouble:
            log.event(model, "answering_only", f"{what}; {trouble}", "error", commit=self.store.commits.number)
        else:
            log.event(model, "running", "learning goes on")


def notice_of(commit: int) -> str:
    """Return what replies say once learning has ended, as of now."""
    since = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    return f"learning has ended ({since}): answers are those of commit {commit}"
