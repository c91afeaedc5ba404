"""Learning: entries are decoded, featurized and learned in order; what can't be is kept for the rejected stream."""

import bisect
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING

from learner.late import LateLoss
from learner.service.acceptance import Acceptance
from learner.service.featurizing import Entry, Group, examples_of, featurized
from learner.service.hanging import or_die
from learner.service.recent import RecentIds
from learner.service.store.position import NEVER
from learner.service.store.reading import Entries
from learner.service.store.snapshot import Committed
from learner.service.wire import MAX_BATCH, MAX_SHORT_BYTES, Example, RejectedEntry, decode_entry, is_learn_held

if TYPE_CHECKING:
    from learner.model import Model

__all__ = ["Fields", "Learning"]

MAX_SINGLES = 500  # learned in one call
MAX_REJECTED_AN_ENTRY = 1000  # kept of one entry's examples

Fields = dict[bytes, bytes]


class Learning:
    """A model that learns entries, and what it has learned since the last commit.

    Parameters
    ----------
    model : Model
        Learns.
    acceptance : Acceptance
        Sees how many examples are rejected.
    stopping : callable
        Whether to stop, before the next entry or in the middle of one of which nothing is learned yet.
    between : callable
        Called in the middle of entries, when the model may answer, but not learn.

    Attributes
    ----------
    cursor : bytes
        The last entry learned.
    n_entries : int
        Entries learned since the last commit.
    rejected : list of (entry id, RejectedEntry)
        What could not be learned since the last commit; `rejected_bytes` is about their size in memory.
    n_repeated : int
        Entries left out since the start, as an entry with the same id was learned before.
    late : LateLoss
        The late loss of the blocks that were measured (see `learner.service.measuring`); it is committed with the state.
    """

    def __init__(
        self,
        model: "Model",
        acceptance: Acceptance,
        stopping: Callable[[], bool],
        between: Callable[[], None] = lambda: None,
    ) -> None:
        self.model = model
        self.pack = or_die(model.pack)
        self.acceptance = acceptance
        self.stopping = stopping
        self.between = between
        self.recent = RecentIds(model.spec.seed)
        self.late = LateLoss()
        self.cursor = NEVER
        self.n_entries = 0
        self.rejected: list[tuple[bytes, RejectedEntry]] = []
        self.rejected_bytes = 0
        self.n_repeated = 0
        self._pending: set[bytes] = set()  # the ids of entries whose examples are to be learned next
        self._n_rejected_here = 0  # of the entry at the end of `rejected`
        self._n_observed = self._n_observed_rejected = 0

    def load(self, committed: Committed | None) -> None:
        """Go on from the last commit; None: there is none yet."""
        if committed:
            if committed.state:
                self.model.load_state(committed.state)
            self.recent.load(committed.ids, committed.n_ids)
            self.cursor = committed.cursor
            self.late = committed.late
        self._n_observed, self._n_observed_rejected = self._counts()

    # ---- learning ----
    def learn(self, entries: Entries) -> None:
        """Learn entries in order; what can't be learned is rejected, and the line goes on."""
        waiting: list[Entry | Group] = []
        n_waiting = 0
        for entry_id, fields in entries:
            if self._is_repeated(fields, waiting):
                self.n_repeated += 1
            elif is_learn_held(fields):
                self._learn(waiting)
                self.model.learn_held()
                self._remember(fields)
            elif b"batch" in fields:
                self._learn(waiting)
                self._learn_batch(entry_id, fields)
            elif (n := self._collect(entry_id, fields, waiting)) is None:
                break
            else:
                n_waiting += n
            if n_waiting >= min(MAX_SINGLES, self.acceptance.window):
                self._learn(waiting)
                self._observe()
            n_waiting = n_waiting if waiting else 0
            self.cursor = entry_id
            self.n_entries += 1
            if self.stopping():  # the entries after this one are the next worker's
                break
        self._learn(waiting)
        self._observe()

    def _is_repeated(self, fields: Fields, waiting: list[Entry | Group]) -> bool:
        """Tell whether something was learned before under an entry's id, once all that came before it is learned."""
        identity = fields.get(b"id")
        if identity is None or len(identity) > MAX_SHORT_BYTES:
            return False
        if identity in self._pending or identity in self.recent:
            self._learn(waiting)
        return identity in self.recent

    def _remember(self, fields: Fields) -> None:
        """Remember an entry's id, as something of the entry was learned."""
        if identity := fields.get(b"id"):
            self.recent.add(identity)

    def _learn_batch(self, entry_id: bytes, fields: Fields) -> None:
        """Learn an entry's batch by itself: a producer framed it, and a broken one must not reach into the next entry."""
        for part in decode_entry(fields):
            if isinstance(part, RejectedEntry):
                self._reject_and_count(entry_id, part)
            elif isinstance(part, Example):
                learned = self.model.learn_packed(part.packed, MAX_BATCH, self.between)
                for rejection in learned.rejections:
                    self.reject(entry_id, RejectedEntry("learn", rejection.reason, rejection.data, "batch"))
                if len(learned.rejections) < len(learned.scores):
                    self._remember(fields)
                self._observe()

    def _collect(self, entry_id: bytes, fields: Fields, waiting: list[Entry | Group]) -> int | None:
        """Add an entry's examples to those that are learned together; return their number, None if stopped before that."""
        parts: list[Entry | Group | RejectedEntry] = []
        for part in examples_of(entry_id, fields, self.model, self.pack):
            if self.stopping():
                return None
            parts.append(part)
            self.between()
        n = 0
        for part in parts:
            if isinstance(part, RejectedEntry):
                self._reject_and_count(entry_id, part)
                continue
            waiting.append(part)
            n += part.n
            if identity := fields.get(b"id"):
                self._pending.add(identity)
        return n

    def _learn(self, waiting: list[Entry | Group]) -> None:
        """Learn examples together, in one call, and empty the list."""
        groups: list[Group] = []
        for part in featurized(waiting, self.model, self.pack):
            if isinstance(part, Group):
                groups.append(part)
            else:
                self._reject_and_count(*part)
        waiting.clear()
        self._pending.clear()
        if not groups:
            return
        ends = list(itertools.accumulate(group.n for group in groups))
        n_rejected = [0] * len(groups)
        packed = b"".join(group.packed for group in groups)
        for rejection in self.model.learn_packed(packed, None, self.between).rejections:
            at = bisect.bisect_right(ends, rejection.index)
            group = groups[at]
            n_rejected[at] += 1
            self.reject(group.entry_id, group.rejected(rejection.index - ends[at] + group.n, rejection.reason))
        for group, n in zip(groups, n_rejected, strict=True):
            if n < group.n:
                self._remember(group.fields)

    def _observe(self) -> None:
        """Show the acceptance what was learned and rejected since the last look."""
        n, n_rejected = self._counts()
        self.acceptance.observe(n - self._n_observed, n_rejected - self._n_observed_rejected)
        self._n_observed, self._n_observed_rejected = n, n_rejected

    def _counts(self) -> tuple[int, int]:
        """Return how many examples the model has seen, and how many of these it rejected."""
        return self.model.n_examples + self.model.n_rejected, self.model.n_rejected

    # ---- rejecting ----
    def _reject_and_count(self, entry_id: bytes, rejected: RejectedEntry) -> None:
        """Reject what did not reach the learner."""
        self.reject(entry_id, rejected)
        self.model.count_rejected(1)

    def reject(self, entry_id: bytes, rejected: RejectedEntry) -> None:
        """Keep what can't be learned for the rejected stream; of one entry's examples only the first thousand."""
        if not self.rejected or self.rejected[-1][0] != entry_id:
            self._n_rejected_here = 0
        self._n_rejected_here += 1
        if self._n_rejected_here > MAX_REJECTED_AN_ENTRY:
            return
        if self._n_rejected_here == MAX_REJECTED_AN_ENTRY:
            rejected = rejected._replace(reason=f"{rejected.reason}; more of this entry are not kept")
        kept = rejected.cut()
        self.rejected.append((entry_id, kept))
        self.rejected_bytes += len(kept.data) + len(kept.reason)

    def skip(self, entry_id: bytes, rejected: RejectedEntry) -> None:
        """Reject an entry without learning anything of it."""
        self._reject_and_count(entry_id, rejected)
        self.cursor = entry_id
        self.n_entries += 1

    # ---- committing ----
    def figures(self) -> dict[str, float]:
        """Return what a commit's figures have beside the model's."""
        return {}

    def forget_uncommitted(self) -> None:
        """Count anew: a snapshot has all that was learned and rejected so far."""
        self.n_entries = self.rejected_bytes = 0
        self.rejected = []

    def restore_uncommitted(self, n_entries: int, rejected: list[tuple[bytes, RejectedEntry]]) -> None:
        """Take back what a snapshot had, as it was not written."""
        self.n_entries += n_entries
        self.rejected = rejected + self.rejected
