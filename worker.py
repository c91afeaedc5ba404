"""The worker: reads the stream, learns entry by entry in order, answers requests between batches, commits every few seconds.

One worker owns a model. It may be killed at any moment: the next one goes on from the last commit and ends with the same
weights, bit for bit, as if nothing had happened.
"""

import contextlib
import functools
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import click
import redis

from learner import server
from learner.cli import durability_option, errors_as_lines, replicas_option
from learner.durability import Durability
from learner.errors import LearnerError
from learner.lease import LEASE_SECONDS, Heartbeat, Silence, process_ended
from learner.recent import RecentIds
from learner.store import NEVER, Behind, Entries, Snapshot, Store, stream_id
from learner.wire import REPLIES, REPLY_SECONDS, Bad, decode_entry, decode_request, encode_reply, to_json

BLOCK_MS = 1000  # how long to wait for entries at most: also how late a signal may be noticed
READ_BYTES = 2 << 20  # read about so much at a time, so that requests don't wait long behind examples
READ_ENTRIES = 10_000
MAX_REJECTED_AN_ENTRY = 100
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.1, 2.0  # between attempts to connect again
WAIT_POLL_SECONDS = 0.1  # how often one that waits for its place looks
REMIND_SECONDS = 60.0  # how often it says again what it waits for
UNCONFIRMED_SECONDS = 10.0  # until it says that commits are not confirmed
STOP_SECONDS = 3.5  # after a signal, for the last commit


class Worker:
    """The one owner of a model: its loop, and what is not committed yet.

    Parameters
    ----------
    store : Store
        The model's place in Redis.
    commit_seconds : float
        At least so long between commits while examples come.
    lease_seconds : float
        How long it may give no sign of life before one that waits takes over.
    own : bool
        Whether to take over at once, whoever owns the model; else `wait_to_own` is to be called.
    """

    def __init__(
        self, store: Store, commit_seconds: float, lease_seconds: float = LEASE_SECONDS, own: bool = True
    ) -> None:
        from learner.model import Model  # numba: only now, so that commands which don't learn start at once

        self.store = store
        self.commit_seconds = commit_seconds
        self.lease_seconds = lease_seconds
        self.model = Model.from_spec(store.spec())
        self.model.linear.warm()
        if not commit_seconds < float("inf"):
            raise LearnerError(f"seconds between commits must be a number (got {commit_seconds})")
        self.cursor = NEVER
        self.asked = NEVER  # the last request answered; answered ones are trimmed
        self.n_entries = 0  # since the last commit, as the rest here
        self.rejected: list[tuple[bytes, Bad]] = []
        self.n_rejected = 0
        self.committed_at = time.monotonic()
        self.committed_examples = 0
        self.pending: Writing | None = None
        self.stopping = False
        self.warned = False
        self.recent = RecentIds(self.model.seed)
        self.n_repeated = 0  # entries that were pushed again, since the start
        self.heart: Heartbeat | None = None
        self._confirmed_at = time.monotonic()
        if own:
            store.take_over(lease_seconds)
            self.load()

    # ---- owning ----
    def wait_to_own(self, wait: bool = True) -> bool:
        """Become the owner as soon as there is none, or none that lives, and load the last commit.

        Returns
        -------
        bool
            False when stopped meanwhile.

        Raises
        ------
        LearnerError
            When there is one and `wait` is false.
        """
        silence, told = Silence(), ""
        while not self.stopping:
            owner = self.store.owner()
            now = time.monotonic()
            vacant = "worker" not in owner.fields or process_ended(owner.fields.get("process", ""))
            mine = self.store.owned_already(owner)  # its answer was lost, or the connection while loading
            if mine or vacant or silence.seconds((owner.fields, owner.sign), now) >= owner.lease_seconds:
                if mine or self.store.succeed(owner, self.lease_seconds):
                    self._start_heart()  # before loading, which may take longer than the lease
                    self.load()
                    return True
                continue
            if not wait:
                raise LearnerError(f"model {self.store.keys.model!r} has a worker already: {owner}")
            if told != owner.fields["worker"]:
                told = owner.fields["worker"]
                click.echo(f"worker of {self.store.keys.model}: waiting, in place of {owner}", err=True)
            time.sleep(WAIT_POLL_SECONDS)
        return False

    @property
    def epoch(self) -> int:
        """How many times the model was taken over, this one's time included."""
        return self.store.epoch

    def load(self) -> None:
        """Go on from the last commit."""
        committed = self.store.load(self.model.fingerprint, self.model.linear.store.width)
        if committed:
            if committed.state:
                self.model.load_state(committed.state)
            self.recent.load(committed.ids, committed.n_ids)
            self.cursor = committed.cursor
        self.committed_examples = self.model.n_examples

    def _start_heart(self) -> None:
        if self.heart is None:
            self.heart = Heartbeat(self._beat, self.lease_seconds)
            self.heart.start()

    def _beat(self) -> None:
        with contextlib.suppress(redis.RedisError):  # the loop sees the same, and says so
            self.store.beat(int(self.lease_seconds * 500))
        now = time.monotonic()
        if self.store.confirmed >= self.store.n_commits - 1:
            self._confirmed_at = now
        elif now - self._confirmed_at > UNCONFIRMED_SECONDS:
            self._confirmed_at = now + REMIND_SECONDS
            click.echo(
                f"worker of {self.store.keys.model}: commits after {self.store.confirmed} are not confirmed as durability "
                f"{self.store.durability} asks",
                err=True,
            )

    def close(self, wait: bool = True) -> None:
        """Give no more signs of life."""
        if self.heart is not None:
            self.heart.close(wait)
            self.heart = None

    def _require_ownership(self) -> None:
        if self.heart is not None and self.heart.problem is not None:
            raise self.heart.problem

    # ---- the loop ----
    def run(self, burst: bool = False) -> None:
        """Learn and answer until `stopping`, or (burst) until nothing is left; then commit and stop being the owner."""
        count = 100
        self._start_heart()
        self._settle()  # a commit whose answer was lost: first find out whether it got through
        self.store.check_stream(self.cursor, self.n_entries)
        while not self.stopping:
            block_ms = None if burst else BLOCK_MS
            examples, requests = self.store.read(self.cursor, self.asked, count, block_ms)
            self._require_ownership()
            self.answer(requests)
            self.learn(examples)
            if examples:
                n_bytes = sum(len(value) for _, fields in examples for value in fields.values())
                count = min(max(READ_BYTES * len(examples) // (n_bytes + 1), 1), READ_ENTRIES)
            if not self._writing():
                self._settle()  # also when nothing comes: a commit that failed must be seen
                if self.n_entries and time.monotonic() - self.committed_at >= self.commit_seconds:
                    self._begin_commit()
            if burst and not examples and not requests:
                break
        self.commit()
        self.close()
        self.store.release()

    # ---- learning ----
    def learn(self, entries: Entries) -> None:
        """Learn entries in order; what can't be learned is kept for the rejected stream, and the line goes on."""
        singles: list[tuple[bytes, bytes]] = []  # (entry id, example): learned together, in one call
        for entry_id, fields in entries:
            whole = b"batch" not in fields
            repeated = b"id" in fields and not self.recent.add(fields[b"id"])
            self.n_repeated += repeated
            for part in () if repeated else decode_entry(fields, self.model.features):
                if isinstance(part, Bad):
                    self.reject(entry_id, part)
                    self.model.count_rejected(1)
                elif whole:
                    singles.append((entry_id, part))
                else:  # its framing is the client's: a broken one must not reach into the next entry
                    self._learn_singles(singles)
                    self._learn_packed(part, lambda _, entry_id=entry_id: entry_id)
            self.cursor = entry_id
            self.n_entries += 1
            if self.stopping:  # the entries after this one are the next worker's
                break
        self._learn_singles(singles)

    def _learn_singles(self, singles: list[tuple[bytes, bytes]]) -> None:
        if singles:
            self._learn_packed(b"".join(example for _, example in singles), lambda i: singles[i][0])
            singles.clear()

    def _learn_packed(self, data: bytes, entry_of: Any) -> None:
        for rejection in self.model.learn_packed(data).rejections:
            self.reject(entry_of(rejection.index), Bad("learn", rejection.reason, rejection.data))

    def reject(self, entry_id: bytes, bad: Bad) -> None:
        """Keep what can't be learned for the rejected stream; of one entry's examples only the first hundred."""
        if not self.rejected or self.rejected[-1][0] != entry_id:
            self.n_rejected = 0  # of this entry
        self.n_rejected += 1
        if self.n_rejected < MAX_REJECTED_AN_ENTRY:
            self.rejected.append((entry_id, bad))
        elif self.n_rejected == MAX_REJECTED_AN_ENTRY:
            self.rejected.append((entry_id, bad._replace(reason=f"{bad.reason}; more of this entry are not kept")))

    # ---- answering ----
    def answer(self, requests: Entries) -> None:
        """Answer requests; the answers and their being done with are one transaction."""
        if not requests:
            return
        with self.store.client.pipeline() as pipe:
            for _, fields in requests:
                to = fields.get(b"reply", b"")
                if to.startswith(REPLIES.encode()):  # nobody makes us write to another key
                    pipe.rpush(to, encode_reply(self.reply(fields)))
                    pipe.expire(to, REPLY_SECONDS)
            milliseconds, sequence = stream_id(requests[-1][0])
            pipe.xtrim(self.store.keys.requests, minid=f"{milliseconds}-{sequence + 1}", approximate=False)
            pipe.execute(raise_on_error=False)  # a reply key of another type is its client's trouble
        self.asked = requests[-1][0]

    def reply(self, fields: Mapping[bytes, bytes]) -> dict[str, Any]:
        """Return the reply to one request."""
        packed, one = decode_request(fields, self.model.features)
        answers = [self._predict(part, explain=b"explain" in fields) for part in packed]
        identity = {"id": fields[b"id"].decode(errors="replace")} if b"id" in fields else {}
        if one:
            return identity | answers[0]
        together: dict[str, Any] = {
            "predictions": [answer.get("prediction") for answer in answers],
            "scores": [answer.get("score") for answer in answers],
        }
        if any("label" in answer for answer in answers):
            together["labels"] = [answer.get("label") for answer in answers]
        if b"explain" in fields:
            together["contributions"] = [answer.get("contributions") for answer in answers]
        if errors := {str(i): answer["error"] for i, answer in enumerate(answers) if "error" in answer}:
            together["errors"] = errors
        return identity | together

    def _predict(self, packed: bytes | Bad, explain: bool) -> dict[str, Any]:
        try:
            if isinstance(packed, Bad):
                raise LearnerError(packed.reason)
            return self.model.linear.answer(packed, explain)
        except LearnerError as error:
            return {"error": str(error)}

    def _norms(self) -> dict[str, float]:
        """Return the neural head's gradient norms by layer; say it, once, when they vanish or explode."""
        head = self.model.linear.head
        if head is None:
            return {}
        if not self.warned and (warning := head.warning()):
            self.warned = True
            click.echo(f"worker of {self.store.keys.model}: {warning}", err=True)
        return {f"norm_{name}": norm for name, norm in head.layer_norms().items()}

    # ---- committing ----
    @property
    def n_uncommitted(self) -> int:
        """Entries learned that are in no commit yet, as far as is known."""
        return self.n_entries + (self.pending.snapshot.n_entries if self.pending else 0)

    def commit(self) -> None:
        """Commit what was learned since the last commit, if anything was, and wait for it."""
        self._settle()
        if self.n_entries:
            self._begin_commit()
            self._settle()

    def _begin_commit(self) -> None:
        """Copy what changed; it is written while learning goes on."""
        now = time.monotonic()
        examples = self.model.n_examples
        progress = {
            "time": f"{time.time():.3f}",
            "examples": examples,
            "rejected": self.model.n_rejected,
            "repeated": self.n_repeated,
            "loss": self.model.progressive_loss,
            "constant_loss": self.model.constant_loss,
            "features": self.model.n_features,
            "bytes": self.model.nbytes,
            "rate": f"{(examples - self.committed_examples) / (now - self.committed_at + 1e-9):.1f}",
        }
        snapshot = self.store.snapshot(
            self.cursor,
            self.n_entries,
            self.model.state(),
            self.model.linear.store.dirty,
            self.model.fingerprint,
            self.rejected,
            progress | self.model.figures() | self._norms(),
            self.recent,
        )
        self.pending = Writing(self.store, snapshot)
        self.n_entries = 0
        self.rejected = []
        self.committed_at = now
        self.committed_examples = examples
        self.pending.start()

    def _writing(self) -> bool:
        return self.pending is not None and self.pending.is_alive()

    def _settle(self) -> None:
        """Wait for the commit that is being written, if one is; write it again if its answer was lost."""
        if self.pending is None:
            return
        snapshot = self.pending.snapshot
        try:
            self.pending.finish()
        except Behind:  # more has changed since the commit that the server has: all goes into the next one
            self.model.linear.store.dirty[:] = 1
            self.n_entries += snapshot.n_entries
            self.rejected = snapshot.rejected + self.rejected
        self.pending = None


class Writing(threading.Thread):
    """A commit on its way to the server, in a thread of its own."""

    def __init__(self, store: Store, snapshot: Snapshot) -> None:
        super().__init__(name="commit", daemon=True)
        self.store, self.snapshot = store, snapshot
        self._error: BaseException | None = None
        self._tried = False  # and failed: seen by `finish`

    def run(self) -> None:
        """Write it once; the error is kept for `finish`."""
        try:
            self.store.write(self.snapshot)
        except BaseException as error:  # noqa: BLE001  (raised in the thread that learns)
            self._error = error

    def finish(self) -> None:
        """Wait for it, and raise what it raised; from then on, try again each time."""
        if self.is_alive():
            self.join()
        elif self._tried:
            self._error = None
            self.run()
        self._tried = True
        if self._error is not None:
            raise self._error


def _stop_on_signals(worker: Worker) -> None:
    """Have the first signal stop the worker after a last commit, for which it has its time; a second one ends it at once."""

    def stop(number: int, frame: Any) -> None:
        worker.stopping = True
        for each in (signal.SIGTERM, signal.SIGINT):
            signal.signal(each, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, STOP_SECONDS)

    def too_late(number: int, frame: Any) -> None:
        if not worker.n_uncommitted:
            sys.exit(0)
        raise LearnerError(
            f"{worker.n_uncommitted} entries learned must be learned again: they could not be committed within "
            f"{STOP_SECONDS:g} s of the signal"
        )

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGALRM, too_late)


@click.command()
@click.argument("model")
@click.option("--redis-url", help="The server; by default REDIS_URL, else the embedded one.")
@click.option("--burst", is_flag=True, help="Learn and answer what is there, commit, and exit.")
@click.option("--commit-seconds", default=2.0, show_default=True, type=click.FloatRange(min=0), help="Between commits.")
@click.option(
    "--lease-seconds",
    default=LEASE_SECONDS,
    show_default=True,
    type=click.FloatRange(min=0.1, max=3600),
    help="How long it may give no sign of life before one that waits takes over.",
)
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait while MODEL has another worker, or exit.")
@durability_option
@replicas_option
@click.option("--json", "as_json", is_flag=True, help="Print the final figures as one JSON object.")
@errors_as_lines
def worker(
    model: str,
    redis_url: str | None,
    burst: bool,
    commit_seconds: float,
    lease_seconds: float,
    wait: bool,
    durability: str | None,
    replicas: int,
    as_json: bool,
) -> None:
    """Run the worker of MODEL: learn its stream, answer requests, commit.

    A model has one worker at a time: a second one waits, and takes over when the first one stops, ends or is silent for
    its lease. Exits with 0 after SIGTERM, SIGINT or --burst, with everything committed; with 4 when another worker took over.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(0))  # until there is something to commit
    client = server.client(server.find_or_start(redis_url), block_ms=BLOCK_MS)
    server.require_version(client)
    store = Store(client, model)
    asked = Durability(durability or "crash", replicas)
    shortcomings = [] if durability else asked.shortcomings(client)
    store.durability = asked.on(client) if durability else asked
    owner = Worker(store, commit_seconds, lease_seconds, own=False)
    _stop_on_signals(owner)
    try:
        if not _again_and_again(owner, redis_url, functools.partial(owner.wait_to_own, wait)):
            return
        learned = f"{owner.model.n_examples} examples learned up to {owner.cursor.decode()}"
        click.echo(f"worker of {model}: epoch {owner.epoch}, {learned}", err=True)
        for shortcoming in shortcomings:
            click.echo(f"worker of {model}: warning, what is learned may be lost: {shortcoming}", err=True)
        _again_and_again(owner, redis_url, functools.partial(owner.run, burst))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        owner.close(wait=False)
    if as_json:
        click.echo(to_json({"model": model, **owner.model.summary(), "cursor": owner.cursor.decode()}))


def _again_and_again(owner: Worker, redis_url: str | None, do: Callable[[], Any]) -> Any:
    """Do something, again for as long as the server can't be reached or can't serve; what is learned stays in memory."""
    pause, told = FIRST_PAUSE_SECONDS, ("", 0.0)
    while True:
        started, n_commits = time.monotonic(), owner.store.n_commits
        try:
            return do()
        except redis.RedisError as error:
            trouble = server.passing_trouble(error)
            if trouble is None:
                raise
            if owner.stopping and not owner.n_uncommitted:
                return None
            now = time.monotonic()
            if now - started > LAST_PAUSE_SECONDS or owner.store.n_commits > n_commits:  # it went well for a while
                pause = FIRST_PAUSE_SECONDS
            if trouble != told[0] or now - told[1] > REMIND_SECONDS:
                told = trouble, now
                n = owner.n_uncommitted
                kept = f"; {n} entries learned are not committed yet" if n else ""
                detail = str(error).rpartition("caused error: ")[2][-200:]
                click.echo(f"worker of {owner.store.keys.model}: {trouble}, trying again{kept} ({detail})", err=True)
            while not owner.stopping and time.monotonic() < now + pause:
                time.sleep(FIRST_PAUSE_SECONDS)
            pause = min(2 * pause, LAST_PAUSE_SECONDS)
            if url := server.find(redis_url):  # an embedded server that was started again has another address
                owner.store.client = server.client(url, block_ms=BLOCK_MS)


if __name__ == "__main__":
    worker()
