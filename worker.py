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
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any, cast

import click
import redis

from learner import compiling
from learner.commands.options import durability_option, errors_as_lines, redis_option, replicas_option
from learner.errors import LearnerError, RejectedError
from learner.service.acceptance import Acceptance
from learner.service.lease import LEASE_SECONDS, Heartbeat, Silence, process_ended
from learner.service.recent import RecentIds
from learner.service.store import Store, connection, embedded
from learner.service.store.attempts import Attempt
from learner.service.store.commits import CommitsLost
from learner.service.store.durability import Durability
from learner.service.store.position import NEVER, stream_id
from learner.service.store.processes import NOTE_SECONDS
from learner.service.store.reading import READ_BYTES, UNMEASURED_ENTRIES, Entries
from learner.service.store.snapshot import Learned, Snapshot
from learner.service.trial import how_it_ends
from learner.service.wire import (
    MAX_BATCH,
    MAX_SHORT_BYTES,
    REPLIES,
    REPLY_SECONDS,
    Bad,
    Example,
    bad_entry,
    deadline_ms,
    decode_entry,
    decode_request,
    encode_reply,
    size_of,
    to_json,
)

BLOCK_MS = 1000  # how long to wait for entries at most: also how late a signal may be noticed
READ_ENTRIES = 1000  # at most, at a time
MAX_SINGLES = 500  # learned in one call
MAX_REJECTED_AN_ENTRY = 1000
MAX_REJECTED_BYTES = 16 << 20  # kept in memory before they are committed
MAX_REJECTED_SHARE, REJECTED_WINDOW = 0.5, 1000  # more than the share of so many examples stops the worker
MAX_WAITING = 10_000  # requests; when more wait, the oldest are refused
MAX_KEPT_WAITING = 100_000  # requests; the oldest of more are not even refused
MAX_REPLIES = 10_000  # that nobody has fetched, kept a key
MAX_EXPLAINED = 20_000  # contributions in one reply
ANSWER_SECONDS = 0.1  # at most so long for answers at a time
ANSWER_SHARE = 0.8  # of the time that learning takes, for answers while examples wait: so learning has over half of it
CLOCK_SECONDS = 10.0  # how often the server's clock is asked for
TRIAL_SECONDS = 30.0  # for learning an entry that may have killed the worker before
MAX_TRIALS = 12  # deaths at one entry: on a starved machine, kills from outside can hit the same trial several times
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
    max_rejected : float
        Stop when more than this share of the last examples was rejected.
    rejected_window : int
        How many examples those are.
    """

    def __init__(
        self,
        store: Store,
        commit_seconds: float,
        lease_seconds: float = LEASE_SECONDS,
        own: bool = True,
        max_rejected: float = MAX_REJECTED_SHARE,
        rejected_window: int = REJECTED_WINDOW,
    ) -> None:
        self.store = store
        self.commit_seconds = commit_seconds
        self.lease_seconds = lease_seconds
        spec = store.spec()
        store.processes.note("starting")
        from learner.model import Model  # numba: only now, so that commands which don't learn start at once

        self.model = Model.from_spec(spec)
        self.model.warm()
        if not commit_seconds < float("inf"):
            raise LearnerError(f"seconds between commits must be a number (got {commit_seconds})")
        self.cursor = NEVER
        self.asked = NEVER  # the last request answered; answered ones are trimmed
        self.n_entries = 0  # since the last commit, as the rest here
        self.rejected: list[tuple[bytes, Bad]] = []
        self.rejected_bytes = 0
        self.n_rejected = 0
        self.acceptance = Acceptance(max_rejected, rejected_window)
        self.n_seen = self.n_seen_rejected = 0
        self.waiting: deque[tuple[bytes, dict[bytes, bytes]]] = deque()  # requests read, not yet answered
        self.to_refuse = 0  # of them, because too many wait
        self.credit = 0.0  # seconds for answers, earned by learning, while examples wait
        self.clock = (0.0, -CLOCK_SECONDS)  # the server's milliseconds, our seconds: the same moment
        self.begun = False
        self.last = Attempt()  # what the worker before noted, if it died
        self.n_suspects = self.n_suspect_requests = 0  # still to be taken one by one, as one of them may have killed it
        self.committed_at = time.monotonic()
        self.committed_examples = 0
        self.pending: Writing | None = None
        self.stopping = False
        self.warned = False
        self.recent = RecentIds(self.model.spec.seed)
        self.n_repeated = 0  # entries that were pushed again, since the start
        self.heart: Heartbeat | None = None
        self._confirmed_at = self._noted_at = time.monotonic()
        if own:
            store.ownership.take_over(lease_seconds)
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
            owner = self.store.ownership.read()
            now = time.monotonic()
            vacant = "worker" not in owner.fields or process_ended(owner.fields.get("process", ""))
            mine = self.store.ownership.owned_already(owner)  # its answer was lost, or the connection while loading
            if mine or vacant or silence.seconds((owner.fields, owner.sign), now) >= owner.lease_seconds:
                if mine or self.store.ownership.succeed(owner, self.lease_seconds):
                    self._start_heart()  # before loading, which may take longer than the lease
                    self.load()
                    self.store.processes.note("running")
                    return True
                continue
            if not wait:
                raise LearnerError(f"model {self.store.keys.model!r} has a worker already: {owner}")
            if told != owner.fields["worker"]:
                told = owner.fields["worker"]
                self.store.processes.note("waiting")
                click.echo(f"worker of {self.store.keys.model}: waiting, in place of {owner}", err=True)
            time.sleep(WAIT_POLL_SECONDS)
        return False

    @property
    def epoch(self) -> int:
        """How many times the model was taken over, this one's time included."""
        return self.store.ownership.epoch

    def load(self) -> None:
        """Go on from the last commit."""
        committed = self.store.commits.load(self.model.fingerprint, self.model.row_width)
        if committed:
            if committed.state:
                self.model.load_state(committed.state)
            self.recent.load(committed.ids, committed.n_ids)
            self.cursor = committed.cursor
        self.committed_examples = self.model.n_examples
        self.n_seen, self.n_seen_rejected = self.model.n_examples + self.model.n_rejected, self.model.n_rejected

    def _start_heart(self) -> None:
        if self.heart is None:
            self.heart = Heartbeat(self._beat, self.lease_seconds)
            self.heart.start()

    def _beat(self) -> None:
        with contextlib.suppress(redis.RedisError):  # the loop sees the same, and says so
            self.store.ownership.beat(int(self.lease_seconds * 500))
        now = time.monotonic()
        if now - self._noted_at > NOTE_SECONDS / 4:  # long before the note fades
            self._noted_at = now
            with contextlib.suppress(redis.RedisError):
                self.store.processes.note("running")
        if self.store.ownership.confirmed >= self.store.commits.number - 1:
            self._confirmed_at = now
        elif now - self._confirmed_at > UNCONFIRMED_SECONDS:
            self._confirmed_at = now + REMIND_SECONDS
            click.echo(
                f"worker of {self.store.keys.model}: commits after {self.store.ownership.confirmed} are not confirmed as "
                f"durability {self.store.ownership.durability} asks",
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
        n_examples = n_requests = UNMEASURED_ENTRIES
        self._start_heart()
        self._settle()  # a commit whose answer was lost: first find out whether it got through
        self.store.stream.check(self.cursor, self.n_entries)
        self.begin()
        while not self.stopping:
            block_ms = None if burst or self.waiting else BLOCK_MS
            asked = None if self.waiting else self.asked
            measured = self.n_suspects + self.n_suspect_requests > 0
            examples, requests = self.store.stream.read(self.cursor, asked, n_examples, n_requests, block_ms, measured)
            self._require_ownership()
            self.waiting.extend(requests)
            self.answer(examples_wait=bool(examples))
            self.take(examples)
            if len(requests) >= min(n_examples, n_requests):
                self.bound_requests()
                n_requests = READ_ENTRIES
            elif asked is not None:
                n_requests = UNMEASURED_ENTRIES
            n_bytes = sum(size_of(fields) for _, fields in examples)
            if len(examples) == n_examples or n_bytes >= READ_BYTES:  # more wait
                n_examples = min(max(READ_BYTES * len(examples) // (n_bytes + 1), 1), READ_ENTRIES)
            else:
                n_examples = UNMEASURED_ENTRIES
            full = self.rejected_bytes > MAX_REJECTED_BYTES
            if full or not self._writing():
                self._settle()  # also when nothing comes: a commit that failed must be seen
                if self.n_entries and (full or time.monotonic() - self.committed_at >= self.commit_seconds):
                    self._begin_commit()
            if burst and asked is not None and not examples and not requests and not self.waiting:
                break
        self._require_ownership()
        self.commit()
        self.close()
        self.store.ownership.release()
        self.store.processes.note(None)

    # ---- learning ----
    def take(self, entries: Entries) -> None:
        """Learn entries, those that may have killed the worker before with care, and see how many were rejected."""
        if not entries:
            return
        started = time.monotonic()
        if self.n_suspects:
            self.learn_with_care(entries)
        else:
            self.learn(entries)
        self.credit = min(self.credit + ANSWER_SHARE * (time.monotonic() - started), ANSWER_SECONDS)
        self.require_acceptance()

    def _observe(self) -> None:
        """Look at how many of the examples since the last look were rejected."""
        n_seen = self.model.n_examples + self.model.n_rejected
        n, n_rejected = n_seen - self.n_seen, self.model.n_rejected - self.n_seen_rejected
        self.n_seen, self.n_seen_rejected = n_seen, self.model.n_rejected
        self.acceptance.observe(n, n_rejected)

    def require_acceptance(self) -> None:
        """Make sure that not too many of the last examples were rejected: nothing is committed then.

        Raises
        ------
        RejectedError
            When there were: a stream whose form has changed must not be used up.
        """
        if self.acceptance.excess is None:
            return
        n_rejected, n = self.acceptance.excess
        with contextlib.suppress(redis.RedisError):
            self._settle()
            self.close()
            self.store.ownership.release()
        reasons = Counter(bad.reason for _, bad in self.rejected).most_common(3)
        raise RejectedError(
            f"examples rejected must be at most a share of {self.acceptance.share:g} (got {n_rejected} of the last {n}): the "
            f"{self.n_entries} entries since the last commit stay in the stream, to be learned when what pushes them or the "
            "model is mended, or with --max-rejected 1. The most frequent reasons: "
            + "; ".join(f"{reason} ({times} times)" for reason, times in reasons)
        )

    def learn(self, entries: Entries) -> None:
        """Learn entries in order; what can't be learned is kept for the rejected stream, and the line goes on."""
        singles: list[tuple[bytes, dict[bytes, bytes], Example]] = []  # learned together, in one call
        for entry_id, fields in entries:
            whole = b"batch" not in fields
            repeated = b"id" in fields and not self.recent.add(fields[b"id"])
            self.n_repeated += repeated
            for part in () if repeated else decode_entry(fields, self.model.features):
                if isinstance(part, Bad):
                    self.reject(entry_id, part)
                    self.model.count_rejected(1)
                elif whole:
                    singles.append((entry_id, fields, part))
                else:  # its framing is the client's: a broken one must not reach into the next entry
                    self._learn_singles(singles)
                    for found in self.model.learn_packed(part.packed, MAX_BATCH).rejections:
                        self.reject(entry_id, Bad("learn", found.reason, found.data, "batch"))
                    self._observe()
            if len(singles) >= min(MAX_SINGLES, self.acceptance.window):
                self._learn_singles(singles)
                self._observe()
            self.cursor = entry_id
            self.n_entries += 1
            if self.stopping:  # the entries after this one are the next worker's
                break
        self._learn_singles(singles)
        self._observe()

    def _learn_singles(self, singles: list[tuple[bytes, dict[bytes, bytes], Example]]) -> None:
        if not singles:
            return
        for found in self.model.learn_packed(b"".join(example.packed for _, _, example in singles)).rejections:
            entry_id, fields, example = singles[found.index]
            if example.raw is None:
                self.reject(entry_id, bad_entry("learn", found.reason, fields))
            else:
                self.reject(entry_id, Bad("learn", found.reason, example.raw, "records"))
        singles.clear()

    def reject(self, entry_id: bytes, bad: Bad) -> None:
        """Keep what can't be learned for the rejected stream; of one entry's examples only the first thousand."""
        if not self.rejected or self.rejected[-1][0] != entry_id:
            self.n_rejected = 0  # of this entry
        self.n_rejected += 1
        if self.n_rejected == MAX_REJECTED_AN_ENTRY:
            bad = bad._replace(reason=f"{bad.reason}; more of this entry are not kept")
        if self.n_rejected <= MAX_REJECTED_AN_ENTRY:
            bad = bad.cut()
            self.rejected.append((entry_id, bad))
            self.rejected_bytes += len(bad.data) + len(bad.reason)

    # ---- after a crash ----
    def begin(self) -> None:
        """Find out whether the worker before died, and so what may have killed it: what it had just read."""
        if not self.begun and (last := self.store.attempts.begin()):
            self.last = last
            self.n_suspects = self.n_suspect_requests = READ_ENTRIES
        self.begun = True

    def learn_with_care(self, entries: Entries) -> None:
        """Learn entries one by one after a note of which; one that was noted before is first tried in a child process.

        What the worker before had learned when it read on (see `Stream.read`) did not kill it, and is learned as ever.
        """
        n_safe = sum(stream_id(entry_id) <= stream_id(self.last.reading) for entry_id, _ in entries)
        if n_safe:
            self.learn(entries[:n_safe])
        for entry in entries[n_safe:]:
            if self.stopping:
                break
            entry_id, fields = entry
            times = self.last.times + 1 if self.last.entry == entry_id else 1
            self.store.attempts.mark(entry_id, times)
            end = None
            if times > MAX_TRIALS:  # the trials ended with the worker, as when a container's memory is full
                end = "and the trials with it"
            elif times > 1:
                end = how_it_ends(functools.partial(self.learn, [entry]), TRIAL_SECONDS)
            if end is None:
                self.learn([entry])
            else:
                self.quarantine(entry_id, fields, end)
            self.n_suspects = max(self.n_suspects - 1, 0)

    def quarantine(self, entry_id: bytes, fields: dict[bytes, bytes], end: str) -> None:
        """Reject an entry that kills the process, and commit that at once."""
        reason = f"entry must not kill the worker (it did, and then a trial: {end})"
        click.echo(f"worker of {self.store.keys.model}: entry {entry_id.decode()} is rejected: {reason}", err=True)
        self.reject(entry_id, bad_entry("killed", reason, fields))
        self.model.count_rejected(1)
        self.cursor = entry_id
        self.n_entries += 1
        self.commit()

    # ---- answering ----
    def answer(self, examples_wait: bool) -> None:
        """Answer requests for a while; the answers and their being done with are one transaction.

        While examples wait, no longer than learning took: so learning has at least half of the time.
        """
        room = self.credit if examples_wait else ANSWER_SECONDS
        if not self.waiting or room <= 0.0:
            return
        started, now, n_bytes = time.monotonic(), self.now_ms(), 0
        replies: list[bytes] = []
        with self.store.client.pipeline() as pipe:
            while self.waiting and n_bytes < READ_BYTES and time.monotonic() - started < room:
                self.asked, fields = self.waiting.popleft()
                refusal = self._refusal(self.asked, fields, now)
                to = fields.get(b"reply", b"")
                if (
                    to.startswith(REPLIES.encode()) and len(to) <= MAX_SHORT_BYTES
                ):  # nobody makes us write to another key
                    reply = encode_reply(_identity(fields) | (refusal or self.reply(fields)))
                    n_bytes += len(reply)
                    replies.append(to)
                    pipe.rpush(to, reply)
                    pipe.expire(to, REPLY_SECONDS)
                if self.n_suspect_requests:
                    self.n_suspect_requests -= 1
                    break  # done with before the next one can kill
            milliseconds, sequence = stream_id(self.asked)
            pipe.xtrim(self.store.keys.requests, minid=f"{milliseconds}-{sequence + 1}", approximate=False)
            results = pipe.execute(raise_on_error=False)  # a reply key of another type is its client's trouble
        for to, length in zip(replies, results[::2], strict=False):
            if isinstance(length, int) and length > MAX_REPLIES:
                self.store.client.ltrim(cast("str", to), -MAX_REPLIES, -1)
        if examples_wait:
            self.credit -= time.monotonic() - started

    def _refusal(self, entry_id: bytes, fields: Mapping[bytes, bytes], now: float) -> dict[str, Any] | None:
        """Return the reply to a request that is not to be answered: too late, among too many, or deadly."""
        self.to_refuse -= 1
        if self.n_suspect_requests:
            if entry_id == self.last.request:
                return {"error": "request must not kill the worker (it did)"}
            self.store.attempts.mark_request(entry_id)
        deadline = deadline_ms(entry_id, fields)
        if deadline is not None and now > deadline:
            return {
                "error": f"request must be answered within its deadline_ms (it is {now - deadline:.0f} ms too late)"
            }
        if self.to_refuse >= 0:
            return {"error": f"requests that wait must be at most {MAX_WAITING} (more do; this was among the oldest)"}
        return None

    def bound_requests(self) -> None:
        """Have the oldest requests refused when too many wait."""
        n = int(self.store.client.xlen(self.store.keys.requests))
        self.to_refuse = max(n - MAX_WAITING, 0)
        if n > MAX_KEPT_WAITING:
            self.store.client.xtrim(self.store.keys.requests, maxlen=MAX_KEPT_WAITING, approximate=True)

    def now_ms(self) -> float:
        """Return the time by the server's clock, which was asked for a few seconds ago."""
        now = time.monotonic()
        if now - self.clock[1] >= CLOCK_SECONDS:
            self.clock = (self.store.requests.now_ms(), now)
        return self.clock[0] + 1e3 * (now - self.clock[1])

    def reply(self, fields: Mapping[bytes, bytes]) -> dict[str, Any]:
        """Return the reply to one request."""
        packed, one = decode_request(fields, self.model.features)
        room, answers = MAX_EXPLAINED, []
        for part in packed:
            answers.append(self._predict(part, room if b"explain" in fields else None))
            room -= len(answers[-1].get("contributions", ()))
        if one:
            return answers[0]
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
        return together

    def _predict(self, packed: bytes | Bad, room: int | None) -> dict[str, Any]:
        """Return an answer, explained with as many contributions as there is room for (None: not explained)."""
        try:
            if isinstance(packed, Bad):
                raise LearnerError(packed.reason)
            answer: dict[str, Any] = self.model.answer(packed, room is not None and room > 0)
            if room is not None and (room <= 0 or len(answer["contributions"]) > room):
                raise LearnerError(f"contributions must be at most {MAX_EXPLAINED} in a reply (more were asked for)")
            return answer
        except LearnerError as error:
            return {"error": str(error)}

    def _norms(self) -> dict[str, float]:
        """Return the neural head's gradient norms by layer; say it, once, when they vanish or explode."""
        if not self.warned and (warning := self.model.gradient_warning()):
            self.warned = True
            click.echo(f"worker of {self.store.keys.model}: {warning}", err=True)
        return {f"norm_{name}": norm for name, norm in self.model.gradient_norms().items()}

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
        self.require_acceptance()
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
        snapshot = self.store.commits.snapshot(
            Learned(self.model.state(), self.model.dirty, self.model.fingerprint),
            self.cursor,
            self.n_entries,
            sorted(self.rejected, key=lambda rejection: stream_id(rejection[0])),
            progress | self.model.memory() | self.model.figures() | self._norms(),
            self.recent,
        )
        self.pending = Writing(self.store, snapshot)
        self.n_entries = 0
        self.rejected = []
        self.rejected_bytes = 0
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
        except CommitsLost:  # more has changed since the commit that the server has: all goes into the next one
            self.model.dirty[:] = 1
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
            self.store.commits.write(self.snapshot)
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


def _identity(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {"id": fields[b"id"][:MAX_SHORT_BYTES].decode(errors="replace")} if b"id" in fields else {}


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
@redis_option
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
    max_rejected: float,
    rejected_window: int,
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
    asked = Durability(durability or "crash", replicas)
    shortcomings = [] if durability else asked.shortcomings(client)
    store.ownership.durability = asked.on(client) if durability else asked
    owner = Worker(store, commit_seconds, lease_seconds, False, max_rejected, rejected_window)
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
        started, n_commits = time.monotonic(), owner.store.commits.number
        try:
            return do()
        except redis.RedisError as error:
            trouble = connection.passing_trouble(error)
            if trouble is None:
                raise
            if owner.stopping and not owner.n_uncommitted:
                return None
            now = time.monotonic()
            if now - started > LAST_PAUSE_SECONDS or owner.store.commits.number > n_commits:  # it went well for a while
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
            if url := embedded.find(redis_url):  # an embedded server that was started again has another address
                owner.store.client = connection.client(url, block_ms=BLOCK_MS)


if __name__ == "__main__":
    compiling.prepare()
    worker()
