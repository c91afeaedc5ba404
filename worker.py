"""The worker: reads the stream, answers requests, learns entry by entry in order, commits every few seconds.

One worker owns a model. It may be killed at any moment: the next one goes on from the last commit and ends with the same
weights, bit for bit, as if nothing had happened. Each of its concerns has a module of its own in `learner.service`.
"""

import contextlib
import functools
import os
import signal
import sys
import time
from typing import Any

import click
import redis

from learner import compiling
from learner.commands.exits import errors_as_lines
from learner.commands.options import durability_option, redis_option, replicas_option
from learner.errors import LearnerError, RejectedError
from learner.messages import tell
from learner.service.acceptance import MAX_REJECTED_SHARE, REJECTED_WINDOW, Acceptance
from learner.service.answering import Answering
from learner.service.committing import Committing
from learner.service.flushing import HELD_SECONDS, Flushing
from learner.service.learning import Learning
from learner.service.lease import LEASE_SECONDS
from learner.service.measuring import MEASURED, Measuring
from learner.service.owning import Owning
from learner.service.reading import BLOCK_MS, Batch, Reading
from learner.service.reconnecting import Reconnecting
from learner.service.recovery import Recovery
from learner.service.store import Store, connection, embedded
from learner.service.store.durability import Durability
from learner.service.store.reading import Entries
from learner.service.strays import Strays
from learner.service.wire import to_json

STOP_SECONDS = 3.5  # after a signal, for the last commit


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
    max_rejected : float
        It stops when more than this share of the last examples was rejected.
    rejected_window : int
        The number of examples that it is a share of.
    late_every : int
        The late loss is measured on one block in so many; 0: never.
    held_seconds : float
        For how long the model holds examples back, at most, while few come; with infinity a pause has none learned.
    """

    def __init__(
        self,
        store: Store,
        commit_seconds: float,
        lease_seconds: float = LEASE_SECONDS,
        max_rejected: float = MAX_REJECTED_SHARE,
        rejected_window: int = REJECTED_WINDOW,
        late_every: int = MEASURED,
        held_seconds: float = HELD_SECONDS,
    ) -> None:
        spec = store.spec()
        store.processes.note("starting")
        from learner.model import Model  # numba: only now, so that commands which don't learn start at once

        self.store = store
        self.model = Model.from_spec(spec)
        self.model.warm()
        if late_every:
            self.model.losses_packed(b"")  # compiles that loop, too
        self.held_seconds = held_seconds
        self.stopping = False
        acceptance = Acceptance(max_rejected, rejected_window)
        self.owning = Owning(store, self._is_stopping, lease_seconds)
        self.learning = Learning(self.model, acceptance, self._is_stopping, self._answer_meanwhile)
        self.measuring = Measuring(self.learning, late_every)
        self.committing = Committing(store, self.learning, commit_seconds)
        self.recovery = Recovery(store, self.learning, self.committing)
        self.answering = Answering(store, self.model, self.recovery)
        self.answering.pack = self.learning.pack

    def _is_stopping(self) -> bool:
        return self.stopping

    def _answer_meanwhile(self) -> None:
        """Answer in the middle of an entry; after a crash not, so that it is known what may have killed the worker."""
        if not self.recovery.is_going_on:
            with contextlib.suppress(redis.RedisError):  # the loop has the same trouble, and reports it
                self.answering.meanwhile()

    def wait_to_own(self, patient: bool = True) -> bool:
        """Become the owner, as `Owning.wait` does, and load the last commit; return False when stopped meanwhile."""
        if not self.owning.wait(patient):
            return False
        try:
            self.committing.load()
        except LearnerError:  # this worker will never go on: nobody has to wait for its silence
            self.owning.close()
            raise
        self.store.processes.note("running")
        return True

    def run(self, burst: bool = False) -> None:
        """Read, answer, learn and commit until `stopping`, or (burst) until nothing is left or held; then give up the model."""
        self.committing.settle()  # a commit whose answer was lost: first find out whether it got through
        self.store.stream.check(self.learning.cursor, self.learning.n_entries)
        self.recovery.begin()
        self.measuring.begin()
        reading = Reading(self.store.stream)
        flushing = Flushing(self.store.stream, self.learning, self.held_seconds)
        strays = Strays(self.store)
        try:
            while not self.stopping:
                was_idle = self.answering.is_idle
                batch = self._read(reading, wait=was_idle and not burst)
                self.owning.require()
                examples = self._collect(batch.examples, no_more=burst and not batch.examples)
                self.answering.take(batch.requests, batch.more_requests, examples_wait=bool(examples))
                self._learn(examples)
                flushing.flush_if_due(examples_came=bool(batch.examples))
                self.committing.commit_if_due()
                strays.look_if_due()
                is_done = was_idle and not batch.examples and not batch.requests and self.answering.is_idle
                if burst and is_done and not flushing.flush():
                    break
            self.owning.require()
            self.committing.commit()
        except RejectedError:
            with contextlib.suppress(redis.RedisError):
                self.owning.release()
            raise
        self.owning.release()
        self.store.processes.note(None)

    def _read(self, reading: Reading, wait: bool) -> Batch:
        """Read the next examples, and requests unless some wait to be answered."""
        requests_after = None if self.answering.waiting else self.answering.last_request
        measured = self.recovery.is_going_on
        return reading.read(self.learning.cursor, self.measuring.collected, requests_after, wait, measured)

    def _collect(self, examples: Entries, no_more: bool) -> Entries:
        """Return the examples to learn now; while the late loss is measured, they may have to wait for the rest of a block."""
        return examples if self.recovery.is_going_on else self.measuring.take(examples, no_more)

    def _learn(self, examples: Entries) -> None:
        """Learn examples, which earns answers their time, and make sure that not too many were rejected."""
        if examples:
            started = time.monotonic()
            self.recovery.learn(examples)
            self.measuring.learned()
            self.answering.earn(time.monotonic() - started)
            self.committing.require_acceptance()


def _stop_on_signals(worker: Worker) -> None:
    """Have the first signal stop the worker after a last commit, within `STOP_SECONDS`; a second one ends it at once."""

    def stop(number: int, frame: Any) -> None:
        worker.stopping = True
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, STOP_SECONDS)

    def too_late(number: int, frame: Any) -> None:
        n, code = worker.committing.n_uncommitted, 0
        if n:
            code = LearnerError.exit_code
            rule = f"they could not be committed within {STOP_SECONDS:g} s of the signal"
            tell(f"Error: {n} entries learned must be learned again: {rule}")
        os._exit(code)  # whatever runs now could catch what is raised here, as a `__del__` does

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGALRM, too_late)


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
@durability_option
@replicas_option
@click.option(
    "--max-rejected",
    default=MAX_REJECTED_SHARE,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="Stop when more than this share of the last examples was rejected.",
)
@click.option(
    "--rejected-window",
    default=REJECTED_WINDOW,
    show_default=True,
    type=click.IntRange(min=1),
    help="How many examples those are.",
)
@click.option(
    "--late-every",
    default=MEASURED,
    show_default=True,
    type=click.IntRange(min=0),
    metavar="N",
    help="Measure the late loss on one block of examples in N, which are learned up to 10 s later then; 0: never.",
)
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
    replicas: int,
    max_rejected: float,
    rejected_window: int,
    late_every: int,
    as_json: bool,
) -> None:
    """Run the worker of MODEL: learn its stream, answer requests, commit.

    A model has one worker at a time: a second one waits, and takes over when the first one stops, ends or is silent for
    its lease. Exits with 0 after SIGTERM, SIGINT or --burst, with everything committed; with 4 when another worker took over;
    with 5 when too many examples were rejected, before that is committed.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # until there is something to commit
    client = connection.client(embedded.find_or_start(redis_url), block_ms=BLOCK_MS)
    connection.require_version(client)
    store = Store(client, model)
    wanted = Durability(durability or "crash", replicas)
    shortcomings = [] if durability else wanted.shortcomings(client)
    store.ownership.durability = wanted.on(client) if durability else wanted
    owner = Worker(store, commit_seconds, lease_seconds, max_rejected, rejected_window, late_every, held_seconds)
    _stop_on_signals(owner)
    reconnecting = Reconnecting(store, redis_url, lambda: owner.stopping, lambda: owner.committing.n_uncommitted)
    try:
        if not reconnecting.run(functools.partial(owner.wait_to_own, wait)):
            return
        learned = f"{owner.model.n_examples} examples learned up to {owner.learning.cursor.decode()}"
        tell(f"worker of {model}: epoch {store.ownership.epoch}, {learned}")
        for shortcoming in shortcomings:
            tell(f"worker of {model}: warning, what is learned may be lost: {shortcoming}")
        reconnecting.run(functools.partial(owner.run, burst))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        owner.owning.close(wait=False)
    if as_json:
        figures = owner.model.summary() | owner.learning.late.summary()
        click.echo(to_json({"model": model, **figures, "cursor": owner.learning.cursor.decode()}))


if __name__ == "__main__":
    compiling.prepare()
    worker()
