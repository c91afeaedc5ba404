"""Committing: what is uncommitted, when it is copied, and how the copy is written beside learning."""

import contextlib
import math
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import redis

from learner.answered import AnsweredLoss
from learner.errors import LearnerError, RejectedError
from learner.late import LateLoss
from learner.service import log
from learner.service.counting import Counts
from learner.service.learning import Learning
from learner.service.store import Store, connection
from learner.service.store.commits import CommitsLost
from learner.service.store.position import stream_id
from learner.service.store.snapshot import Learned, Snapshot
from learner.service.writing import Writing, writer_of

if TYPE_CHECKING:
    from learner.model import Model

__all__ = ["Committing", "figures_of"]

LEAST_SECONDS = 0.1  # between two looks at a commit that is being written
MAX_REJECTED_BYTES = 16 << 20  # kept in memory until they are committed


def figures_of(
    model: "Model", late: LateLoss, answered: AnsweredLoss, n_repeated: int = 0, rate: float = 0.0
) -> dict[str, Any]:
    """Return the figures of a commit, which `learner top` and plots read.

    Parameters
    ----------
    model : Model
        As it is committed.
    late : LateLoss
        Its late loss so far.
    answered : AnsweredLoss
        Its answered loss so far.
    n_repeated : int
        Entries left out since the worker's start, as their ids were learned before.
    rate : float
        Examples a second since the last commit.
    """
    return {
        "time": f"{time.time():.3f}",
        "examples": model.n_examples,
        "held": model.n_held,
        "rejected": model.n_rejected,
        "repeated": n_repeated,
        "loss": model.progressive_loss,
        "constant_loss": model.constant_loss,
        **late.summary(),
        "late_loss_sum": late.loss_sum,
        "late_importance": late.importance,
        **answered.summary(),
        "features": model.n_features,
        "bytes": model.nbytes,
        "rate": f"{rate:.1f}",
        **model.memory(),
        **model.figures(),
        **{f"norm_{name}": norm for name, norm in model.gradient_norms().items()},
    }


class Committing:
    """Snapshots of what was learned, each written while learning goes on.

    Parameters
    ----------
    store : Store
        The model's place in Redis.
    learning : Learning
        What is committed.
    commit_seconds : float
        The shortest time between commits while examples come.
    counts : Counts
        Counts commits, and gets their figures.

    Raises
    ------
    LearnerError
        When `commit_seconds` is no number.
    """

    def __init__(self, store: Store, learning: Learning, commit_seconds: float, counts: Counts | None = None) -> None:
        if not commit_seconds < float("inf"):
            raise LearnerError(f"seconds between commits must be a number (got {commit_seconds})")
        self.store = store
        self.learning = learning
        self.commit_seconds = commit_seconds
        self.counts = counts or Counts()
        self.writer = writer_of(connection.address(store.client))
        self.writing: Writing | None = None
        self._snapshot: Snapshot | None = None  # that `writing` writes
        self._committed_at = time.monotonic()
        self._committed_examples = 0
        self._has_warned = False

    def load(self) -> None:
        """Go on from the last commit, whether or not the stream fits it."""
        model = self.learning.model
        committed = self.store.commits.load(model.fingerprint, model.row_width, must_fit=False)
        self.learning.load(committed)
        self._committed_examples = model.n_examples
        if committed and committed.state:
            self.counts.figures = figures_of(model, self.learning.late, self.learning.answered) | {
                "time": committed.time
            }

    @property
    def n_uncommitted(self) -> int:
        """Entries learned that are in no commit yet, as far as is known."""
        return self.learning.n_entries + (self._snapshot.n_entries if self._snapshot else 0)

    # ---- when ----
    def commit_if_due(self) -> None:
        """Begin a commit when it is time for one and none is being written.

        Too much that was rejected is committed at once, as memory has to hold it until then.
        """
        full = self.learning.rejected_bytes > MAX_REJECTED_BYTES
        if self.writing and self.writing.is_running and not full:
            return
        self.settle()  # also when nothing comes: a commit that failed must be seen
        is_time = time.monotonic() - self._committed_at >= self.commit_seconds
        if self.learning.n_entries and (full or is_time):
            self._begin()

    def due_seconds(self) -> float:
        """Return in how many seconds a commit is due, or a look at one on its way; infinity: neither."""
        if self.writing is None and not self.learning.n_entries:
            return math.inf
        least = max(LEAST_SECONDS, self.commit_seconds / 4) if self.writing else 0.0
        return max(self._committed_at + self.commit_seconds - time.monotonic(), least)

    def commit(self) -> None:
        """Commit what was learned since the last commit, if anything was, and wait for it."""
        self.settle()
        if self.learning.n_entries:
            self._begin()
            self.settle()

    def settle(self) -> None:
        """Wait for the commit that is being written, if one is; write it again if its answer was lost."""
        if self.writing is None or self._snapshot is None:
            return
        try:
            self.writing.finish()
        except CommitsLost:  # more has changed since the commit that the server has: the next one writes everything
            self.learning.model.dirty[:] = 1
            self.learning.restore_uncommitted(self._snapshot.n_entries, self._snapshot.rejected, self._snapshot.settled)
        self.writing = self._snapshot = None

    # ---- what ----
    def _begin(self) -> None:
        """Copy what changed, and have the copy written while learning goes on."""
        self.require_acceptance()
        now = time.monotonic()
        learning, model = self.learning, self.learning.model
        snapshot = self.store.commits.snapshot(
            Learned(model.state(), model.dirty, model.fingerprint, learning.late, learning.answered),
            learning.cursor,
            learning.n_entries,
            sorted(learning.rejected, key=lambda rejected: stream_id(rejected[0])),
            self._progress(now),
            learning.recent,
            learning.settled,
            learning.watching.points,
        )
        learning.watching.points = []
        learning.forget_uncommitted()
        self._committed_at = now
        self._committed_examples = model.n_examples
        self._snapshot = snapshot
        self.writing = Writing(lambda: self._write(snapshot), self.writer)

    def _write(self, snapshot: Snapshot) -> None:
        """Write a copy, and count the commit."""
        started = time.monotonic()
        self.store.commits.write(snapshot)
        self.counts.commit_seconds.observe(time.monotonic() - started)
        self.counts.figures = snapshot.progress

    def _progress(self, now: float) -> dict[str, Any]:
        """Return the figures of the commit that begins now."""
        learning, model = self.learning, self.learning.model
        self._warn_of_gradients()
        if warning := learning.watching.warning():
            log.event(self.store.keys.model, "drift", warning, "warning", **learning.watching.drift)
        rate = (model.n_examples - self._committed_examples) / (now - self._committed_at + 1e-9)
        figures = figures_of(model, learning.late, learning.answered, learning.n_repeated, rate)
        return figures | learning.watching.drift | learning.figures()

    def _warn_of_gradients(self) -> None:
        """Warn once when the gradients of the neural head vanish or explode."""
        if not self._has_warned and (warning := self.learning.model.gradient_warning()):
            self._has_warned = True
            log.event(self.store.keys.model, "gradients", warning, "warning")

    def require_acceptance(self) -> None:
        """Make sure that not too many of the last examples were rejected: nothing is committed then.

        Raises
        ------
        RejectedError
            When too many were: a stream whose form has changed must not be used up.
        """
        acceptance = self.learning.acceptance
        if acceptance.excess is None:
            return
        with contextlib.suppress(redis.RedisError):
            self.settle()
        n_rejected, n = acceptance.excess
        kept = self.learning.rejected
        reasons = Counter(rejected.reason.partition(" (got ")[0] for _, rejected in kept).most_common(3)
        raise RejectedError(
            f"examples rejected must be at most a share of {acceptance.share:g} (got {n_rejected} of the last {n}): the "
            f"{self.learning.n_entries} entries since the last commit stay in the stream, to be learned when what pushes them "
            f"or the model is mended, or with 'learner set {self.store.keys.model} max_rejected=1'. The most frequent reasons: "
            + "; ".join(f"{reason} ({times} times)" for reason, times in reasons)
        )
