"""A model that a fleet's process works: its worker, its turns, what they cost, and how it is woken."""

import math
import time
from typing import TYPE_CHECKING

from learner.errors import FencedError
from learner.service.fleet.balancing import IDLE_COST
from learner.service.store import connection
from learner.service.store.cluster import primary
from learner.service.store.waking import Waking
from learner.service.working import Turns, Worker

if TYPE_CHECKING:
    from learner.service.store.topology import Address

__all__ = ["FIRST_PAUSE_SECONDS", "LAST_PAUSE_SECONDS", "Member"]

TURN_SECONDS = 0.02  # that a turn takes while many examples wait, about
MEMORY_SECONDS = 10.0  # over which a cost is a mean, about
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.1, 2.0  # after a trouble that passes


class Member:
    """One model of a fleet's process.

    Parameters
    ----------
    worker : Worker
        The model's owner.

    Attributes
    ----------
    cost : float
        The share of a processor that its turns took lately, with `IDLE_COST`.
    due : float
        By `time.monotonic`: when its next turn comes even if nothing comes for it.
    only_answers : bool
        Whether it learns no more, because of an error of the stream.
    place : Address or None
        Of a cluster the primary at which it had its last turn.
    is_queued : bool
        Whether its next turn comes soon.
    examples, requests : Waking
        What wakes it.
    """

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        client, keys = worker.store.client, worker.store.keys
        self.examples, self.requests = Waking(client, keys.examples), Waking(client, keys.requests)
        self.cost = IDLE_COST
        self.due = math.inf
        self.place: Address | None = None
        self.is_queued = False
        self._turns: Turns | None = None
        self.only_answers = False
        self._busy_seconds = 0.0
        self._pause_seconds = 0.0

    @property
    def model(self) -> str:
        """The model's name."""
        return self.worker.store.keys.model

    @property
    def server(self) -> str:
        """Where the model is."""
        return connection.address(self.worker.store.client)

    # ---- turns ----
    def turn(self) -> float:
        """Take a turn; return for how many seconds there is nothing to do unless something comes.

        Raises
        ------
        Exception
            Whatever ends a worker.
        """
        started = time.perf_counter()
        if self._turns is None:
            if self.worker.store.commits.has_moved():
                raise FencedError(f"model {self.model!r} is at another primary than what was learned")
            self._turns = self.worker.turns()
        seconds = next(self._turns, None)
        if seconds is None:  # after only answering, learning goes on
            self._turns, self.only_answers = None, False
        took = time.perf_counter() - started
        self.worker.reading.took(took, TURN_SECONDS)
        self._busy_seconds += took
        self._pause_seconds = 0.0
        self.place = primary(self.worker.store.client)
        return 0.0 if seconds is None else seconds

    def answer_only(self, error: Exception) -> None:
        """Learn no more, because of an error of the stream, and answer from the last commit."""
        self._turns = self.worker.turns_only_answering(error)
        self.only_answers = True

    def pause(self) -> float:
        """Begin its turns anew after a trouble that passes; return in how many seconds."""
        if not self.only_answers:
            self._turns = None
        self._pause_seconds = min(max(2 * self._pause_seconds, FIRST_PAUSE_SECONDS), LAST_PAUSE_SECONDS)
        return self._pause_seconds

    def wait_for_requests(self) -> Waking | None:
        """Have it be woken when a request comes; None: requests are left to answerers."""
        if self.worker.answering.is_left:
            return None
        if not self.requests.is_waiting:
            self.requests.begin(self.worker.answering.last_request)
        return self.requests

    def wait_for_examples(self) -> Waking | None:
        """Have it be woken when an example comes; None: it learns none."""
        if self.only_answers:
            return None
        if not self.examples.is_waiting:
            self.examples.begin(self.worker.read_up_to)
        return self.examples

    def close(self) -> None:
        """Be woken no more; if its server is another one by now, it is the one to wait for then."""
        client, keys = self.worker.store.client, self.worker.store.keys
        self.examples.close()
        self.requests.close()
        self.examples, self.requests = Waking(client, keys.examples), Waking(client, keys.requests)

    def measure(self, seconds: float) -> None:
        """Bring the cost up to date, `seconds` after the last time."""
        share, self._busy_seconds = self._busy_seconds / seconds, 0.0
        self.cost += (share + IDLE_COST - self.cost) * -math.expm1(-seconds / MEMORY_SECONDS)

    # ---- the end ----
    def finish(self) -> None:
        """Commit what is learned, and give the model up.

        Raises
        ------
        Exception
            Whatever ends a worker.
        """
        worker = self.worker
        worker.stop()
        if self._turns is None and worker.committing.n_uncommitted:
            self._turns = worker.turns()
        for _ in self._turns or ():
            pass
        worker.owning.release()
