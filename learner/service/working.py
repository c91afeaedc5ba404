"""Working: what the one owner of a model does, in turns: it reads, answers requests, learns entry by entry, commits.

A process works one model (`Worker.run`), or many, among which it shares out the turns (see `learner.service.fleet`).
"""

import contextlib
import math
from collections.abc import Generator
from typing import TYPE_CHECKING, Protocol

import redis

from learner.errors import FencedError, LearnerError, RejectedError, StreamError
from learner.service import log
from learner.service.answering import Answering
from learner.service.beside import Beside, Comparing
from learner.service.checking import Checking
from learner.service.committing import Committing
from learner.service.counting import Counts, Minutes
from learner.service.flushing import HELD_SECONDS, Flushing
from learner.service.following import Following
from learner.service.keeping import Expiring, Keeping
from learner.service.learning import Learning
from learner.service.lease import LEASE_SECONDS, Heart
from learner.service.leaving import Leaving
from learner.service.measuring import COLLECT_SECONDS, MEASURED, Measuring
from learner.service.only_answering import OnlyAnswering
from learner.service.owning import Owning
from learner.service.reading import Batch, Reading
from learner.service.recovery import Recovery
from learner.service.stopping import note_stop
from learner.service.store import Store, connection
from learner.service.store.line import Command
from learner.service.store.ownership import Owner
from learner.service.store.position import NEVER, NO_STREAM
from learner.service.store.reading import Entries
from learner.service.strays import Strays

if TYPE_CHECKING:
    from learner.service.acceptance import Acceptance

__all__ = ["CandidateWorker", "FleetPart", "Turns", "Worker"]

Turns = Generator[float, None, None]  # yields after each turn for how many seconds there is nothing to do


class FleetPart(Protocol):
    """What a worker shares with the others of its process."""

    @property
    def heart(self) -> Heart:
        """What beats for all of them."""

    def answer_others(self, worker: "Worker") -> None:
        """Answer the requests of other models, in the middle of this worker's learning."""


class Worker:
    """The one owner of a model: its concerns, and the turns that they share.

    Parameters
    ----------
    store : Store
        The model's place in Redis.
    commit_seconds : float
        The shortest time between commits while examples come.
    lease_seconds : float
        For how long it may give no sign of life before a worker that waits takes over.
    late_every : int
        The late loss is measured on one block in so many; 0: never.
    held_seconds : float
        For how long the model holds examples back, at most, while few come; with infinity a pause has none learned.
    stop_on_trouble : bool
        Whether a stream gone bad ends answering, too.
    max_rejected, rejected_window, durability, replicas : float, int, str, int, optional
        In place of the model's settings of these names (see `learner.settings`).
    counts : Counts, optional
        What it counts about itself.
    fleet : FleetPart, optional
        What it shares with the other workers of its process: then it never waits, and takes up again nothing that it lost.
    """

    def __init__(
        self,
        store: Store,
        commit_seconds: float,
        lease_seconds: float = LEASE_SECONDS,
        late_every: int = MEASURED,
        held_seconds: float = HELD_SECONDS,
        stop_on_trouble: bool = False,
        max_rejected: float | None = None,
        rejected_window: int | None = None,
        durability: str | None = None,
        replicas: int | None = None,
        counts: Counts | None = None,
        fleet: FleetPart | None = None,
    ) -> None:
        self.store = store
        self.fleet = fleet
        store.ownership.is_of_fleet = fleet is not None
        self.commit_seconds = commit_seconds
        self.late_every = late_every
        self.held_seconds = held_seconds
        self.stop_on_trouble = stop_on_trouble
        self.counts = counts or Counts()
        self.minutes = Minutes(store.keys.model, self.counts)
        self.stopping = False
        self.owning = Owning(store, self.is_stopping, lease_seconds, fleet.heart if fleet else None)
        self.strays = Strays(store)
        self._has_said_no_stream = False
        self._takes_up = False  # whether what is committed must be loaded again before anything is learned
        self.spec = store.spec()
        options = {"max_rejected": max_rejected, "rejected_window": rejected_window}
        self.following = Following(store, options | {"durability": durability, "replicas": replicas})
        self.shortcomings = self.following.begin()
        if not fleet:  # which takes a model over in a moment
            store.processes.note("starting")
        self._make()

    def _make(self) -> None:
        """Make a model of the spec that knows nothing yet, and what learns, answers and commits with it."""
        from learner.model import Model  # numba: only now, so that commands which don't learn start at once

        store = self.store
        self.model = Model.from_spec(self.spec)
        self.model.warm()
        self.model.losses_packed(b"")  # compiles the loop that scores many, too
        acceptance = self.following.acceptance()
        self.learning = self._new_learning(acceptance)
        self.committing = Committing(store, self.learning, self.commit_seconds, self.counts)
        self.recovery = Recovery(store, self.learning, self.committing)
        self.answering = Answering(store, self.model, self.recovery, self.counts)
        self.answering.pack = self.learning.pack
        self.answering.keeping = self.keeping = Keeping(store, self.learning)
        self.leaving = Leaving(store, self.answering, self.committing, self.counts)
        self.measuring = self._new_measuring()
        self.reading = Reading(store.stream, reads_ahead=not self.fleet)
        self.flushing = Flushing(store.stream, self.learning, self.held_seconds)
        parts = self.learning, self.committing, self.recovery, self.answering
        self.checking = Checking(store, self.owning, *parts)

    def _new_learning(self, acceptance: "Acceptance") -> Learning:
        return Learning(self.model, acceptance, self.is_stopping, self._answer_meanwhile)

    def _new_measuring(self) -> Measuring:
        return Measuring(self.learning, self.late_every, self.answering.clock.came_ms)

    def stop(self) -> None:
        """Have it stop after a last commit."""
        self.stopping = True

    def is_stopping(self) -> bool:
        """Tell whether it is to stop."""
        return self.stopping

    def _answer_meanwhile(self) -> None:
        """Answer in the middle of an entry, for the other models of the process, too."""
        self.answer_meanwhile()
        if self.fleet and not self.recovery.is_going_on:
            self.fleet.answer_others(self)

    def answer_meanwhile(self) -> None:
        """Answer if it is time; after a crash not, so that it is known what may have killed the worker."""
        if self.answering.is_due and not self.recovery.is_going_on:
            with contextlib.suppress(redis.RedisError):  # the loop has the same trouble, and reports it
                self.answering.meanwhile()

    def wait_to_own(self, patient: bool = True) -> bool:
        """Become the owner, as `Owning.wait` does, and load the last commit; return False when stopped meanwhile.

        The model may have been made anew while this worker waited: then it becomes what the spec says now.
        """
        if not self.owning.wait(patient):
            return False
        try:
            self._load()
        except LearnerError:  # this worker will never go on: nobody has to wait for its silence
            self.owning.close()
            if not self.store.ownership.is_lent():
                raise
            self.spec = {}  # an administrator changed the model between the two reads
            return self.wait_to_own(patient)
        self.store.processes.note("running")
        return True

    def take_from(self, owner: Owner) -> bool:
        """Become the owner in place of one that lives no more, and load the last commit; False: another one was faster."""
        if not self.owning.take(owner):
            return False
        try:
            self._load()
        except BaseException:
            self.owning.release()
            raise
        self.store.processes.note("running")
        return True

    def _load(self) -> None:
        """Load the last commit of the model as its spec is now."""
        if (spec := self.store.spec()) != self.spec:
            self.spec = spec
            self._make()
        self.committing.load()

    def run(self, burst: bool = False) -> None:
        """Read, answer, learn and commit until `stopping`, or (burst) until nothing is left or held; then give up the model.

        A stream gone bad ends learning, not answering, unless in a burst or with `stop_on_trouble`. After an administrator had
        the model for a moment, as for a rollback, or another primary of a cluster has it, it goes on from what is committed.
        """
        is_done = False
        while not is_done:
            try:
                if self._takes_up or self.store.commits.has_moved():
                    is_done = not self._take_up_again()
                else:
                    _go_on(self.turns(burst))
                    is_done = True
            except FencedError:
                if not self.store.ownership.is_lent():
                    raise
                is_done = not self._take_up_again()
            except (StreamError, RejectedError, redis.ResponseError) as error:
                if isinstance(error, redis.RedisError) and connection.passing_trouble(error):
                    raise
                if burst or self.stop_on_trouble or self.stopping:
                    with contextlib.suppress(redis.RedisError):
                        self.owning.release()
                    raise
                is_done = self._only_answer(error)
        self.owning.release()
        reason = "asked to stop" if self.stopping else "nothing was left to learn or answer"
        note_stop(self.store, 0, f"{reason}; {self.learned}")

    @property
    def learned(self) -> str:
        """How much is learned, in words."""
        return f"{self.model.n_examples} examples learned up to {self.learning.cursor.decode()}"

    def turns(self, burst: bool = False) -> Turns:
        """Read, answer, learn and commit, a little at each turn, until `stopping`, or (burst) until nothing is left or held.

        Everything is committed at the end. A worker of a fleet yields, after each turn, for how many seconds it has nothing to
        do unless something comes; another one waits itself.
        """
        while (yield from self._learn_and_answer(burst)):
            pass

    def _learn_and_answer(self, burst: bool) -> Generator[float, None, bool]:
        """Return whether the stream has begun anew; otherwise everything is committed."""
        if self.store.stream.settle_renewal():
            self.learning.cursor = NEVER
        self.committing.settle()  # a commit whose answer was lost: first find out whether it got through
        self.recovery.begin()
        position = self.store.stream.check(self.learning.cursor, self.learning.n_entries)
        self.measuring.begin()
        self.reading.begin()
        if not (burst or self.fleet):
            self.answering.next_read = self._next_read
        expiring = Expiring(self.keeping, self.answering.clock, position.last.encode())
        while not self.stopping:
            self.leaving.look_if_due()
            was_idle = self.answering.is_idle
            batch = self._read(wait=was_idle and not burst and not self.fleet)
            batch = batch._replace(examples=self.keeping.found(batch.examples))
            self.owning.require()
            examples = self._collect(batch.examples, no_more=burst and not batch.examples)
            self.answering.take(batch.requests, batch.more_requests, examples_wait=bool(examples))
            self._learn(examples)
            is_check_due = self.checking.is_due()
            if not batch.examples and self.checking.begins_anew(is_check_due):
                return True
            self.flushing.flush_if_due(examples_came=bool(batch.examples))
            if not burst:
                expiring.expire_if_due()
            self.committing.commit_if_due()
            self.following.follow(self.learning.acceptance)
            if not self.fleet:
                self.strays.look_if_due()
                self.minutes.tell_if_due()
            is_done = was_idle and not batch.examples and not batch.requests and self.answering.is_idle
            if is_done and burst and not expiring.expire(self.committing.commit) and not self.flushing.flush():
                break
            yield self._idle_seconds() if is_done else 0.0
        self.owning.require()
        self.committing.commit()
        return False

    def _idle_seconds(self) -> float:
        """Return in how many seconds something is due even if nothing comes."""
        collecting = COLLECT_SECONDS / 10 if self.measuring.collected else math.inf
        due = self.committing.due_seconds(), self.flushing.due_seconds(), self.leaving.due_seconds(), collecting
        return max(min(due), 0.0)

    def _read(self, wait: bool) -> Batch:
        """Read the next examples, and requests unless some wait to be answered."""
        requests_after = None if self.answering.waiting or self.answering.is_left else self.answering.last_request
        cursor, collected, measured = self.learning.cursor, self.measuring.collected, self.recovery.is_going_on
        try:
            return self.reading.read(cursor, collected, requests_after, wait, measured)
        except redis.ResponseError:
            if requests_after is None or self.store.requests.is_stream():
                raise
        if not self._has_said_no_stream:
            self._has_said_no_stream = True
            text = f"key {self.store.keys.requests} {NO_STREAM}; nothing is answered"
            log.event(self.store.keys.model, "no_requests", text, "error")
        return self.reading.read(cursor, collected, None, wait, measured)

    def _next_read(self) -> list[Command]:
        """Return the commands that read what comes next; none if that must be measured, or the worker is to stop."""
        if self.recovery.is_going_on or self.stopping:
            return []
        return self.reading.next_read(self.learning.cursor, self.measuring.collected, self.answering.last_request)

    def _collect(self, examples: Entries, no_more: bool) -> Entries:
        """Return the examples to learn now; while the late loss is measured, they may have to wait for the rest of a block."""
        return examples if self.recovery.is_going_on else self.measuring.take(examples, no_more)

    def _learn(self, examples: Entries) -> None:
        """Learn examples, which earns answers their time, and make sure that not too many were rejected."""
        if examples:
            self.recovery.learn(examples)
            self.measuring.learned()
            self.answering.earn()
            self.committing.require_acceptance()

    @property
    def read_up_to(self) -> bytes:
        """The last entry that was read."""
        collected = self.measuring.collected
        return collected[-1][0] if collected else self.learning.cursor

    # ---- a stream gone bad ----
    def _only_answer(self, error: Exception) -> bool:
        """Answer, and learn nothing, as long as need be; return True when stopped, False when learning may go on."""
        try:
            _go_on(self.turns_only_answering(error))
        except FencedError:
            return not self._take_up_again()
        return self.stopping

    def turns_only_answering(self, error: Exception) -> Turns:
        """Answer from the last commit, and learn nothing, until stopped, or until learning may go on.

        It may when the stream fits again, or after a repair, which takes the model over.

        Raises
        ------
        FencedError
            When it was taken over.
        """
        with contextlib.suppress(LearnerError, redis.RedisError):
            self.committing.settle()
        self._make()
        self.committing.load()
        self.recovery.begin()
        parts = self.owning, self.recovery, self.answering, self.leaving, self.checking
        only = OnlyAnswering(self.store, self.learning.cursor, *parts, self.minutes, waits=not self.fleet)
        return only.turns(error, self.is_stopping, lambda: self.following.follow(self.learning.acceptance))

    def _take_up_again(self) -> bool:
        """Wait to own the model again, and go on from its last commit; return False when stopped meanwhile."""
        has_moved = self.store.commits.has_moved()
        self._takes_up = True
        with contextlib.suppress(LearnerError, redis.RedisError):
            self.committing.settle()  # what is still on its way must not come after the next takeover
        self.owning.close()
        self.spec = {}  # what is there then is made anew
        if not self.wait_to_own():
            return False
        self._takes_up = False
        self.store.attempts.forget()
        where = (
            f"at {connection.address(self.store.client)}, where it is now"
            if has_moved
            else "as an administrator left it"
        )
        text = f"goes on from commit {self.store.commits.number}, {where}"
        log.event(self.store.keys.model, "takeover", text, commit=self.store.commits.number)
        return True


class CandidateWorker(Worker):
    """The one owner of a candidate: it learns another model's stream, and answers nobody (see `learner.service.beside`)."""

    learning: Beside

    def _make(self) -> None:
        super()._make()
        self.stop_on_trouble = True  # as there is nobody to answer
        self.learning.warm(bool(self.late_every))

    def _new_learning(self, acceptance: "Acceptance") -> Learning:
        return Beside(self.store, self.model, acceptance, self.is_stopping)

    def _new_measuring(self) -> Measuring:
        return Comparing(self.learning, self.late_every, self.answering.clock.came_ms)

    def _learn_and_answer(self, burst: bool) -> Generator[float, None, bool]:
        """Return False at the end, with everything committed."""
        self.committing.settle()
        self.recovery.begin()
        self.measuring.begin()
        self.reading = Reading(self.store.stream)

        def read() -> Entries:
            cursor, collected, measured = self.learning.cursor, self.measuring.collected, self.recovery.is_going_on
            return self.reading.read(cursor, collected, None, not burst, measured).examples

        entries = self.learning.begin(read)
        while True:
            self.owning.require()
            if not self.measuring.collected:
                self.learning.look_if_due(may_learn=not self.recovery.is_going_on)
            self._learn(self._collect(entries, no_more=burst and not entries))
            self.committing.commit_if_due()
            self.following.follow(self.learning.acceptance)
            self.minutes.tell_if_due()
            if self.stopping or (burst and not entries):
                break
            yield 0.0
            entries = read()
            self.learning.require_no_gap(entries, len(self.measuring.collected))
        self.owning.require()
        self.committing.commit()
        return False


def _go_on(turns: Turns) -> None:
    """Take turns until the last one."""
    for _ in turns:
        pass
