"""Learning: entries are decoded, featurized and learned in order; what can't be is kept for the rejected stream."""

import bisect
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from learner.answered import AnsweredLoss, loss_of
from learner.late import LateLoss
from learner.service.acceptance import Acceptance
from learner.service.featurizing import Entry, Group, Several, examples_of, featurized, together
from learner.service.hanging import or_die
from learner.service.recent import RecentIds
from learner.service.store.position import NEVER
from learner.service.store.reading import Entries
from learner.service.store.snapshot import Committed
from learner.service.watching import Watching
from learner.service.wire import (
    MAX_BATCH,
    MAX_SHORT_BYTES,
    Example,
    OutcomeFields,
    RejectedEntry,
    decode_entry,
    decode_target,
    is_learn_held,
)

if TYPE_CHECKING:
    from learner.model import Model

__all__ = ["Fields", "Learning"]

MAX_SINGLES = 500  # learned in one call
MAX_REJECTED_AN_ENTRY = 1000  # kept of one entry's examples
OUTCOME = (
    bytes(MAX_SHORT_BYTES) + b"outcome "
)  # before an outcome's name among the recent ids: no entry's id is so long

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
        Entries left out since the start, as an entry with the same id, or an outcome of the same answer, was learned before.
    settled : dict of bytes
        The names of the answers that need not be kept any more after the next commit: their outcomes were learned, or came too
        late.
    late : LateLoss
        The late loss of the blocks that were measured (see `learner.service.measuring`); it is committed with the state.
    answered : AnsweredLoss
        The answered loss of the outcomes that were learned; it is committed, too.
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
        self.watching = Watching(model)
        self._between = between
        self.recent = RecentIds(model.spec.seed)
        self.late = LateLoss()
        self.answered = AnsweredLoss()
        self.settled: dict[bytes, None] = {}
        self._settling: dict[bytes, None] = {}  # those of the last snapshot, which may not be written yet
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
            self.late, self.answered = committed.late, committed.answered
        self.watching.begin()
        self._n_observed, self._n_observed_rejected = self._counts()

    # ---- learning ----
    def between(self) -> None:
        """Do what may be done in the middle of entries."""
        self.watching.look()
        self._between()

    def learn(self, entries: Entries) -> None:
        """Learn entries in order; what can't be learned is rejected, and the line goes on."""
        waiting: list[Entry | Several | Group] = []
        n_waiting = 0
        for several in self._together(entries):
            n = self._take(several, waiting)
            if n is None:
                break
            n_waiting += n
            if n_waiting >= min(MAX_SINGLES, self.acceptance.window):
                self._learn(waiting)
                self._observe()
            n_waiting = n_waiting if waiting else 0
            self.cursor = several.entries[-1][0]
            self.n_entries += len(several.entries)
            self.between()
            if self.stopping():  # the entries after these are the next worker's
                break
        self._learn(waiting)
        self._observe()

    def _together(self, entries: Entries) -> Iterator[Several]:
        """Yield entries as `together` does; but alone where ids may repeat, once all before them were taken."""
        for several in together(entries, self.model, self.acceptance.window):
            ids = several.ids
            if len(set(ids)) < len(ids) or not self._pending.isdisjoint(ids) or self.recent.has_any(ids):
                yield from (Several([entry], []) for entry in several.entries)
            else:
                yield several

    def _take(self, several: Several, waiting: list[Entry | Several | Group]) -> int | None:
        """Learn entries, or add their examples to those that are learned together; return their number, None if stopped."""
        if several.packed:
            if self.stopping():
                return None
            waiting.append(several)
            self._pending.update(several.ids)
            return several.n
        entry_id, fields = several.entries[0]
        if self._is_repeated(fields, waiting):
            self.n_repeated += 1
        elif b"learn" in fields and is_learn_held(fields):
            self._learn(waiting)
            self.model.learn_held()
            self._remember(fields)
        elif b"batch" in fields:
            self._learn(waiting)
            self._learn_batch(entry_id, fields)
        elif not (isinstance(fields, OutcomeFields) and self._settle(entry_id, fields, waiting)):
            return self._collect(entry_id, fields, waiting)
        return 0

    def _is_repeated(self, fields: Fields, waiting: list[Entry | Several | Group]) -> bool:
        """Tell whether something was learned before under an entry's id, once all that came before it is learned."""
        identity = fields.get(b"id")
        if identity is None or len(identity) > MAX_SHORT_BYTES:
            return False
        if identity in self._pending or identity in self.recent:
            self._learn(waiting)
        return identity in self.recent

    def _settle(self, entry_id: bytes, fields: OutcomeFields, waiting: list[Entry | Several | Group]) -> bool:
        """Tell whether there is nothing to learn of an outcome's entry, once all that came before it is learned; count why."""
        name = fields.name
        if OUTCOME + name in self._pending:
            self._learn(waiting)
        is_learned, is_gone = self.has_outcome(name), fields.kept is None or self._is_settled(name)
        if fields.expires:
            self.settled[name] = (
                None  # also if the default outcome can't be learned, or nothing is kept: it never comes again
            )
            self.answered.expired += not (is_learned or is_gone)
            return is_learned or is_gone or b"target" not in fields
        if is_learned:
            self.n_repeated += 1
        elif is_gone:
            self._reject_gone(entry_id, OutcomeFields(fields, None))
        return is_learned or is_gone

    def _reject_gone(self, entry_id: bytes, fields: OutcomeFields) -> None:
        """Reject an outcome whose answer isn't kept; the acceptance doesn't see it, as no pause would bring the answer back."""
        for part in decode_entry(fields):
            if isinstance(part, RejectedEntry):
                self._reject_and_count(entry_id, part)
                self._n_observed += 1
                self._n_observed_rejected += 1

    def has_outcome(self, name: bytes) -> bool:
        """Tell whether an outcome of an answer was learned; of the last ids, that is."""
        return OUTCOME + name in self.recent

    def _is_settled(self, name: bytes) -> bool:
        return name in self.settled or name in self._settling

    def _remember(self, fields: Fields) -> None:
        """Remember an entry's id, as something of the entry was learned, and how good the answer was whose outcome it is."""
        if identity := fields.get(b"id"):
            self.recent.add(identity)
        if isinstance(fields, OutcomeFields) and fields.kept:
            target, importance = (decode_target(fields.get(name, b"1")) for name in (b"target", b"importance"))
            self.answered.add_one(loss_of(self.model.spec, fields.kept.answer, target), float(importance))
            self.settled[fields.name] = None
            if not fields.expires:
                self.recent.add(OUTCOME + fields.name)

    def _learn_batch(self, entry_id: bytes, fields: Fields) -> None:
        """Learn an entry's batch by itself: a producer framed it, and a broken one must not reach into the next entry."""
        for part in decode_entry(fields):
            if isinstance(part, RejectedEntry):
                self._reject_and_count(entry_id, part)
            elif isinstance(part, Example):
                learned = self.model.learn_packed(part.packed, MAX_BATCH, self.between)
                self.watching.observe(learned.losses)
                for rejection in learned.rejections:
                    self.reject(entry_id, RejectedEntry("learn", rejection.reason, rejection.data, "batch"))
                if len(learned.rejections) < len(learned.scores):
                    self._remember(fields)
                self._observe()

    def _collect(self, entry_id: bytes, fields: Fields, waiting: list[Entry | Several | Group]) -> int | None:
        """Add an entry's examples to those that are learned together; return their number, None if stopped before that."""
        parts: list[Entry | Group | RejectedEntry] = []
        for part in examples_of(entry_id, fields, self.model, self.pack):
            if parts:  # after the first of many
                self.between()
            if self.stopping():
                return None
            parts.append(part)
        n = 0
        for part in parts:
            if isinstance(part, RejectedEntry):
                self._reject_and_count(entry_id, part)
                continue
            waiting.append(part)
            n += part.n
            if identity := fields.get(b"id"):
                self._pending.add(identity)
            if isinstance(fields, OutcomeFields):
                self._pending.add(OUTCOME + fields.name)
        return n

    def _learn(self, waiting: list[Entry | Several | Group]) -> None:
        """Learn examples together, in one call, and empty the list."""
        groups: list[Group] = []
        for part in featurized(waiting, self.model, self.pack):
            if isinstance(part, Group):
                groups.append(part)
            else:
                self._reject_and_count(*part)
        waiting.clear()
        has_names = bool(self._pending)
        self._pending.clear()
        if not groups:
            return
        ends = list(itertools.accumulate(group.n for group in groups))
        rejected: list[set[int]] = [set() for _ in groups]
        packed = b"".join(group.packed for group in groups)
        learned = self.model.learn_packed(packed, None, self.between)
        self.watching.observe(learned.losses)
        for rejection in learned.rejections:
            at = bisect.bisect_right(ends, rejection.index)
            group = groups[at]
            i = rejection.index - ends[at] + group.n
            rejected[at].add(i)
            self.reject(group.entry(i)[0], group.rejected(i, rejection.reason))
        if has_names:
            for group, places in zip(groups, rejected, strict=True):
                self._remember_learned(group, places)

    def _remember_learned(self, group: Group, rejected: set[int]) -> None:
        """Remember the entries of which something was learned: all but the examples at some places of a group."""
        if len(group.entries) == 1:
            if len(rejected) < group.n:
                self._remember(group.entries[0][1])
            return
        for i, (_, fields) in enumerate(group.entries):  # none is an outcome
            if (identity := fields.get(b"id")) and i not in rejected:
                self.recent.add(identity)

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

    def skip(self, entry_id: bytes, fields: Fields, rejected: RejectedEntry) -> None:
        """Reject an entry without learning anything of it."""
        self._reject_and_count(entry_id, rejected)
        if isinstance(fields, OutcomeFields) and fields.expires:
            self.settled[fields.name] = None
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
        self._settling, self.settled = self.settled, {}

    def restore_uncommitted(
        self, n_entries: int, rejected: list[tuple[bytes, RejectedEntry]], settled: Iterable[bytes]
    ) -> None:
        """Take back what a snapshot had, as it was not written."""
        self.n_entries += n_entries
        self.rejected = rejected + self.rejected
        self.settled |= dict.fromkeys(settled)
