"""The worker: reads the stream, answers requests, learns entry by entry in order, commits every few seconds.

One worker owns a model. It may be killed at any moment: the next one goes on from the last commit and ends with the same
weights, bit for bit, as if nothing had happened. Each of its concerns has a module of its own in `learner.service`.
"""

import contextlib
import functools
import gc
import signal
import sys

import click
import redis

from learner import compiling
from learner.commands import settable
from learner.commands.exits import errors_as_lines
from learner.commands.options import log_format_option, redis_option
from learner.errors import FencedError, LearnerError, RejectedError, StreamError
from learner.service import log
from learner.service.acceptance import Acceptance
from learner.service.answering import Answering
from learner.service.beside import COMPARED, Beside, Comparing
from learner.service.checking import Checking
from learner.service.committing import Committing
from learner.service.counting import Counts, Minutes
from learner.service.exporting import serve_metrics
from learner.service.flushing import HELD_SECONDS, Flushing
from learner.service.following import Following
from learner.service.keeping import Expiring, Keeping
from learner.service.learning import Learning
from learner.service.lease import LEASE_SECONDS
from learner.service.leaving import Leaving
from learner.service.measuring import MEASURED, Measuring
from learner.service.only_answering import OnlyAnswering
from learner.service.owning import Owning
from learner.service.reading import BLOCK_MS, Batch, Reading
from learner.service.reconnecting import Reconnecting
from learner.service.recovery import Recovery
from learner.service.stopping import note_stop, noting_errors, stop_on_signals
from learner.service.store import Store, connection, embedded
from learner.service.store.position import NEVER, NO_STREAM
from learner.service.store.reading import Entries
from learner.service.strays import Strays
from learner.service.wire import to_json
from learner.settings import LEVELS

GARBAGE_OBJECTS = 50_000  # new ones until garbage is looked for: a thousand entries are four thousand, and no garbage


class Worker:
    """The one owner of a model: its concerns, and the loop that they share.

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
    ) -> None:
        self.store = store
        self.commit_seconds = commit_seconds
        self.late_every = late_every
        self.held_seconds = held_seconds
        self.stop_on_trouble = stop_on_trouble
        self.counts = counts or Counts()
        self.minutes = Minutes(store.keys.model, self.counts)
        self.stopping = False
        self.owning = Owning(store, self.is_stopping, lease_seconds)
        self.strays = Strays(store)
        self._has_said_no_stream = False
        self._takes_up = False  # whether what is committed must be loaded again before anything is learned
        self.spec = store.spec()
        options = {"max_rejected": max_rejected, "rejected_window": rejected_window}
        self.following = Following(store, options | {"durability": durability, "replicas": replicas})
        self.shortcomings = self.following.begin()
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
        parts = self.learning, self.committing, self.recovery, self.answering
        self.checking = Checking(store, self.owning, *parts)

    def _new_learning(self, acceptance: Acceptance) -> Learning:
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
        """Answer in the middle of an entry; after a crash not, so that it is known what may have killed the worker."""
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
            if (spec := self.store.spec()) != self.spec:
                self.spec = spec
                self._make()
            self.committing.load()
        except LearnerError:  # this worker will never go on: nobody has to wait for its silence
            self.owning.close()
            if not self.store.ownership.is_lent():
                raise
            self.spec = {}  # an administrator changed the model between the two reads
            return self.wait_to_own(patient)
        self.store.processes.note("running")
        return True

    def run(self, burst: bool = False) -> None:
        """Read, answer, learn and commit until `stopping`, or (burst) until nothing is left or held; then give up the model.

        A stream gone bad ends learning, not answering, unless in a burst or with `stop_on_trouble`. After an administrator had
        the model for a moment, as for a rollback, or another primary of a cluster has it, it goes on from what is committed.
        """
        is_done = False
        while not is_done:
            try:
                has_moved = self._takes_up or self.store.commits.has_moved()
                is_done = not self._take_up_again() if has_moved else self._learn_and_answer(burst)
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

    def _learn_and_answer(self, burst: bool) -> bool:
        """Return True at the end, with everything committed; False when the stream has begun anew."""
        if self.store.stream.settle_renewal():
            self.learning.cursor = NEVER
        self.committing.settle()  # a commit whose answer was lost: first find out whether it got through
        self.recovery.begin()
        position = self.store.stream.check(self.learning.cursor, self.learning.n_entries)
        self.measuring.begin()
        reading = Reading(self.store.stream, reads_ahead=True)
        flushing = Flushing(self.store.stream, self.learning, self.held_seconds)
        expiring = Expiring(self.keeping, self.answering.clock, position.last.encode())
        while not self.stopping:
            self.leaving.look_if_due()
            was_idle = self.answering.is_idle
            batch = self._read(reading, wait=was_idle and not burst)
            batch = batch._replace(examples=self.keeping.found(batch.examples))
            self.owning.require()
            examples = self._collect(batch.examples, no_more=burst and not batch.examples)
            self.answering.take(batch.requests, batch.more_requests, examples_wait=bool(examples))
            self._learn(examples)
            is_check_due = self.checking.is_due()
            if not batch.examples and self.checking.begins_anew(is_check_due):
                return False
            flushing.flush_if_due(examples_came=bool(batch.examples))
            if not burst:
                expiring.expire_if_due()
            self.committing.commit_if_due()
            self.following.follow(self.learning.acceptance)
            self.strays.look_if_due()
            self.minutes.tell_if_due()
            is_done = was_idle and not batch.examples and not batch.requests and self.answering.is_idle
            if is_done and burst and not expiring.expire(self.committing.commit) and not flushing.flush():
                break
        self.owning.require()
        self.committing.commit()
        return True

    def _read(self, reading: Reading, wait: bool) -> Batch:
        """Read the next examples, and requests unless some wait to be answered."""
        requests_after = None if self.answering.waiting or self.answering.is_left else self.answering.last_request
        cursor, collected, measured = self.learning.cursor, self.measuring.collected, self.recovery.is_going_on
        try:
            return reading.read(cursor, collected, requests_after, wait, measured)
        except redis.ResponseError:
            if requests_after is None or self.store.requests.is_stream():
                raise
        if not self._has_said_no_stream:
            self._has_said_no_stream = True
            text = f"key {self.store.keys.requests} {NO_STREAM}; nothing is answered"
            log.event(self.store.keys.model, "no_requests", text, "error")
        return reading.read(cursor, collected, None, wait, measured)

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

    # ---- a stream gone bad ----
    def _only_answer(self, error: Exception) -> bool:
        """Answer from the last commit, and learn nothing; return True when stopped, False when learning may go on.

        It may when the stream fits again, or after a repair, which takes the model over.
        """
        try:
            with contextlib.suppress(LearnerError, redis.RedisError):
                self.committing.settle()
            self._make()
            self.committing.load()
            self.recovery.begin()
            parts = self.owning, self.recovery, self.answering, self.leaving, self.checking
            only = OnlyAnswering(self.store, self.learning.cursor, *parts, self.minutes)
            return only.run(error, self.is_stopping, lambda: self.following.follow(self.learning.acceptance))
        except FencedError:
            return not self._take_up_again()

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

    def _new_learning(self, acceptance: Acceptance) -> Learning:
        return Beside(self.store, self.model, acceptance, self.is_stopping)

    def _new_measuring(self) -> Measuring:
        return Comparing(self.learning, self.late_every, self.answering.clock.came_ms)

    def _learn_and_answer(self, burst: bool) -> bool:
        """Return True at the end, with everything committed."""
        self.committing.settle()
        self.recovery.begin()
        self.measuring.begin()
        reading = Reading(self.store.stream)

        def read() -> Entries:
            cursor, collected, measured = self.learning.cursor, self.measuring.collected, self.recovery.is_going_on
            return reading.read(cursor, collected, None, not burst, measured).examples

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
            entries = read()
            self.learning.require_no_gap(entries, len(self.measuring.collected))
        self.owning.require()
        self.committing.commit()
        return True


def _run(owner: Worker, redis_url: str | None, wait: bool, burst: bool) -> bool:
    """Run a worker to its end, on signals, too; return False if it was stopped before it owned the model."""
    store = owner.store
    model = store.keys.model
    stop_on_signals(model, owner.stop, lambda: owner.committing.n_uncommitted)
    reconnecting = Reconnecting(store, redis_url, owner.is_stopping, lambda: owner.committing.n_uncommitted)
    try:
        if not reconnecting.run(functools.partial(owner.wait_to_own, wait)):
            note_stop(store, 0, "asked to stop while it waited")
            return False
        replaced = owner.owning.replaced
        text = f"epoch {store.ownership.epoch}, {owner.learned}" + (f", in place of {replaced}" if replaced else "")
        log.event(model, "takeover" if replaced else "start", text, epoch=store.ownership.epoch)
        for shortcoming in owner.shortcomings:
            log.event(model, "durability", f"warning, what is learned may be lost: {shortcoming}", "warning")
        reconnecting.run(functools.partial(owner.run, burst))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        owner.owning.close(wait=False)
    return True


@click.command()
@click.argument("model")
@redis_option
@click.option("--burst", is_flag=True, help="Learn and answer what is there, hold nothing back, commit, and exit.")
@click.option("--commit-seconds", default=2.0, show_default=True, type=click.FloatRange(min=0), help="Between commits.")
@click.option(
    "--lease-seconds",
    default=LEASE_SECONDS,
    show_default=True,
    type=click.FloatRange(min=0.1, max=3600),
    help="How long it may give no sign of life before one that waits takes over.",
)
@click.option(
    "--held-seconds",
    default=HELD_SECONDS,
    show_default=True,
    type=click.FloatRange(min=0.1),
    help="How long examples are held back at most while few come; a twelfth of it when none comes; inf: for ever.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait while MODEL has another worker, or exit.")
@click.option(
    "--durability", type=click.Choice(LEVELS), help="In place of the model's setting: what a commit must outlive."
)
@click.option(
    "--replicas",
    type=click.IntRange(min=1),
    help="In place of the model's setting: how many must have it, with failover.",
)
@click.option(
    "--max-rejected",
    type=click.FloatRange(0, 1),
    help="In place of the model's setting: learn no more when more than this share of the last examples was rejected.",
)
@click.option(
    "--rejected-window",
    type=click.IntRange(min=1),
    help="In place of the model's setting: how many examples those are.",
)
@click.option(
    "--late-every",
    type=click.IntRange(min=0),
    metavar="N",
    help=f"Measure the late loss on one block of examples in N (by default {MEASURED}, of a candidate {COMPARED}), which are "
    "learned up to 10 s later then; 0: never.",
)
@click.option(
    "--stop-on-trouble", is_flag=True, help="Exit when the stream goes bad; by default answer from the last commit."
)
@click.option("--metrics", metavar="[HOST:]PORT", help="Serve Prometheus metrics there; without HOST on 127.0.0.1.")
@log_format_option
@click.option("--json", "as_json", is_flag=True, help="Print the final figures as one JSON object.")
@errors_as_lines
def worker(
    model: str,
    redis_url: str | None,
    burst: bool,
    commit_seconds: float,
    lease_seconds: float,
    held_seconds: float,
    wait: bool,
    durability: str | None,
    replicas: int | None,
    max_rejected: float | None,
    rejected_window: int | None,
    late_every: int | None,
    stop_on_trouble: bool,
    metrics: str | None,
    log_format: str,
    as_json: bool,
) -> None:
    """Run the worker of MODEL: learn its stream, answer requests, commit.

    MODEL may be a candidate, OLD/NEW (see 'learner create --beside'): its worker learns OLD's stream and answers nobody, and
    exits with 3 when entries were deleted before it had read them.

    A model has one worker at a time: a second one waits, and takes over when the first one stops, ends or is silent for
    its lease. When the stream no longer fits, or too many examples are rejected, it commits no more, and answers from the last
    commit until 'learner repair'. Exits with 0 after SIGTERM, SIGINT or --burst, with everything committed; with 4 when another
    worker took over; with --burst or --stop-on-trouble with 5 when too many examples were rejected.
    """
    log.choose_format(log_format)
    compiling.announcer = compiling.Announcer(functools.partial(log.event, model, "compile"))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # until there is something to commit
    client = connection.client(embedded.find_or_start(redis_url), block_ms=BLOCK_MS)
    store, counts = Store(client, model), Counts()
    connection.require_version(store.client)
    gc.set_threshold(GARBAGE_OBJECTS)
    if metrics:
        serve_metrics(metrics, store, counts)
    settings = max_rejected, rejected_window, durability, replicas
    is_candidate = store.keys.old is not None
    kind, one_in = (CandidateWorker, COMPARED) if is_candidate else (Worker, MEASURED)
    one_in = one_in if late_every is None else late_every
    with noting_errors(store):
        owner = kind(
            store, commit_seconds, lease_seconds, one_in, held_seconds, stop_on_trouble, *settings, counts=counts
        )
        if not _run(owner, redis_url, wait, burst):
            return
    if as_json:
        figures = owner.model.summary() | owner.learning.late.summary()
        click.echo(to_json({"model": model, **figures, "cursor": owner.learning.cursor.decode()}))


if __name__ == "__main__":
    compiling.prepare()
    settable(worker)()
