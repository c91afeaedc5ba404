"""Learning beside another model: a candidate learns that model's stream, and both are compared on the same examples.

Learning is deterministic. So the candidate's process keeps a copy of the other model, made from its last commit, and has it
learn the same entries from where the two cursors meet: the copy stays what the other model's worker has, bit for bit, and
nobody has to wait for anybody. Both are scored as for the late loss: before any outcome of their block is learned.
"""

import itertools
import math
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from learner.confidence import ALPHA, Differences
from learner.errors import BehindError, LearnerError
from learner.late import LateLoss
from learner.service import log
from learner.service.acceptance import Acceptance
from learner.service.featurizing import Entry, Group, examples_of, featurized
from learner.service.learning import Fields, Learning
from learner.service.measuring import Measuring
from learner.service.store import Store, candidates
from learner.service.store.position import stream_id
from learner.service.store.reading import Entries
from learner.service.store.snapshot import Committed
from learner.service.store.stream import SharedStream
from learner.service.wire import Example, RejectedEntry, decode_entry, is_outcome

if TYPE_CHECKING:
    from learner.model import Model

__all__ = ["COMPARED", "Beside", "Comparing", "Comparison"]

COMPARED = 4  # one block in so many is compared
LOOK_SECONDS = 1.0  # between two looks whether the other model is still the one that was copied
BEGIN_TIMES = 20  # at most, to begin where the other model is, as it may trim the stream just then
PREFIX = "beside_"  # of the figures of a commit that say how the two compare


class Comparison:
    """Two models' losses on the same examples.

    Attributes
    ----------
    old, new : LateLoss
        Those of the other model, and of the candidate.
    differences : Differences
        The candidate's losses minus the other's.
    """

    def __init__(self) -> None:
        self.old, self.new, self.differences = LateLoss(), LateLoss(), Differences()

    def add(self, old: NDArray[np.float64], new: NDArray[np.float64], importances: NDArray[np.float64]) -> None:
        """Add the losses of examples; NaN where a model would reject one."""
        both = (old == old) & (new == new)
        old, new, importances = old[both], new[both], importances[both]
        self.old.add(old, importances)
        self.new.add(new, importances)
        self.differences.add(new - old, importances)

    def figures(self) -> dict[str, float]:
        """Return all that it knows, as figures of a commit, and its interval."""
        different, interval = self.differences, self.differences.interval(ALPHA)
        return {
            "examples": self.new.examples,
            "late_loss": self.new.mean,
            "old_late_loss": self.old.mean,
            "difference": interval.mean,
            "low": interval.low,
            "high": interval.high,
            "loss_sum": self.new.loss_sum,
            "old_loss_sum": self.old.loss_sum,
            "importance": self.new.importance,
            "mean": different.mean,
            "squares": different.squares,
            "least": different.least,
            "most": different.most,
        }

    @classmethod
    def of_figures(cls, figures: Mapping[str, float]) -> "Comparison":
        """Return the comparison that has these figures."""
        made, n, importance = cls(), int(figures["examples"]), figures["importance"]
        made.new, made.old = (LateLoss(figures[name], importance, n) for name in ("loss_sum", "old_loss_sum"))
        different = made.differences
        different.n, different.weight = n, importance
        different.mean, different.squares = figures["mean"], figures["squares"]
        different.least, different.most = figures["least"], figures["most"]
        return made


class Beside(Learning):
    """A candidate that learns entries, and the copy of the other model, which learns the same.

    Parameters
    ----------
    store : Store
        The candidate's place in Redis.
    model, acceptance, stopping : Model, Acceptance, callable
        See `Learning`.

    Attributes
    ----------
    passed : int
        How many entries were ever added to the stream up to the cursor.
    n_left_out : int
        Outcomes so far that were left out: the answers that they name are kept for the other model alone.
    comparison : Comparison
        Of the two, so far.
    """

    def __init__(self, store: Store, model: "Model", acceptance: Acceptance, stopping: Callable[[], bool]) -> None:
        super().__init__(model, acceptance, stopping)
        self.store = store
        self.passed = self.n_left_out = 0
        self.comparison = Comparison()
        self.copy: Learning | None = None
        self._compared_with = 0  # a digest of what the other model was
        self._epoch: Any = None
        self._looked_at = -math.inf

    def load(self, committed: Committed | None) -> None:
        """Go on from the last commit, and from the comparison in its figures; None: there is none yet."""
        super().load(committed)
        self.passed = self.store.commits.n_entries
        latest = self.store.latest_progress()
        self.n_left_out = int(latest.get(f"{PREFIX}left_out", 0))
        if f"{PREFIX}mean" in latest:
            figures = {name.removeprefix(PREFIX): value for name, value in latest.items() if name.startswith(PREFIX)}
            self.comparison, self._compared_with = Comparison.of_figures(figures), int(figures["old"])

    def figures(self) -> dict[str, float]:
        """Return the figures of the comparison, for a commit."""
        figures = self.comparison.figures() | {"old": self._compared_with, "left_out": self.n_left_out}
        return {PREFIX + name: value for name, value in figures.items()}

    def warm(self, compares: bool) -> None:
        """Compile the loops of the other model now, as later the stream would not wait."""
        from learner.model import Model

        model = Model.from_spec(self.old.spec())
        model.warm()
        if compares:
            model.losses_packed(b"")

    # ---- reading ----
    @property
    def old(self) -> Store:
        """The other model's place in Redis."""
        assert self.store.keys.old is not None  # noqa: S101  (a candidate's)
        return Store(self.store.client, self.store.keys.old.model)

    def begin(self, read: Callable[[], Entries]) -> Entries:
        """Find the place in the stream to begin at; return the first entries there.

        Parameters
        ----------
        read : callable
            Reads entries after the cursor.

        Raises
        ------
        BehindError
            When entries after the last commit are gone.
        """
        stream = self.store.stream
        assert isinstance(stream, SharedStream)  # noqa: S101  (a candidate's)
        is_fresh = not (self.store.commits.number or self.n_entries)
        for i in range(BEGIN_TIMES):
            if is_fresh:
                stream.begin(candidates.begins_with_history(self.store), self.old.stream.committed_position())
                self.cursor, self.passed = self.store.commits.cursor, self.store.commits.n_entries
            try:
                stream.check(self.cursor, self.n_entries)
                stream.require_no_gap([], self.passed)
                entries = read()
                stream.require_no_gap(entries, self.passed)
            except BehindError:
                if not is_fresh or i == BEGIN_TIMES - 1:
                    raise
            else:
                return entries
        raise AssertionError  # the last time returns or raises

    def require_no_gap(self, entries: Entries, n_collected: int) -> None:
        """Make sure that nothing is missing between the entries that were read before, and those that were just read.

        Parameters
        ----------
        entries : entries
            Those that were just read.
        n_collected : int
            How many were read before that are not learned yet.
        """
        if entries:
            stream = self.store.stream
            assert isinstance(stream, SharedStream)  # noqa: S101  (a candidate's)
            stream.require_no_gap(entries, self.passed + n_collected)

    # ---- learning ----
    def learn(self, entries: Entries) -> None:
        """Learn entries in order, and have the copy learn those of them that it has not learned yet."""
        for outcomes, some in _runs(entries):
            n_before = self.n_entries
            if outcomes:
                self.cursor, self.n_entries = some[-1][0], self.n_entries + len(some)
                self.n_left_out += len(some)
            else:
                super().learn(some)
            self.passed += self.n_entries - n_before
            if self.copy:
                self._follow(self.copy, some, outcomes)
            if self.n_entries - n_before < len(some):
                break

    def _follow(self, copy: Learning, entries: Entries, outcomes: bool = False) -> None:
        first, last = stream_id(copy.cursor), stream_id(self.cursor)
        if entries := [entry for entry in entries if first < stream_id(entry[0]) <= last]:
            if outcomes:
                copy.cursor, copy.n_entries = entries[-1][0], copy.n_entries + len(entries)
            else:
                copy.learn(entries)

    def skip(self, entry_id: bytes, fields: Fields, rejected: RejectedEntry) -> None:
        """Reject an entry that kills the process; whether the other model's worker did so is known at its next commit."""
        super().skip(entry_id, fields, rejected)
        self.passed += 1
        self.drop_copy()

    def forget_uncommitted(self) -> None:
        """Count anew: a snapshot has all that was learned and rejected so far."""
        super().forget_uncommitted()
        if self.copy:
            self.copy.forget_uncommitted()

    # ---- the copy ----
    @property
    def is_met(self) -> bool:
        """Whether the copy has learned the same entries."""
        return self.copy is not None and self.copy.cursor == self.cursor

    def drop_copy(self) -> None:
        """Have the other model copied anew at the next look."""
        self.copy, self._epoch = None, None

    def look_if_due(self, may_learn: bool) -> None:
        """Copy the other model if there is no copy, or if somebody else owns it since: it may be another one then.

        Parameters
        ----------
        may_learn : bool
            Whether the copy may learn entries to reach the cursor; else it waits for a commit that is there.
        """
        if time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        owner = self.old.ownership.read().fields
        epoch = owner.get("epoch"), owner.get("worker")  # who borrows it changes it before giving it back
        if epoch == self._epoch:
            return
        try:
            copy = self._copied(may_learn)
        except LearnerError as error:
            log.event(self.store.keys.model, "beside", f"nothing is compared: {error}", "warning")
            self.copy, self._epoch = None, epoch
            return
        self.copy = copy
        self._epoch = epoch if copy else None

    def _copied(self, may_learn: bool) -> Learning | None:
        """Return the other model as last committed, at this one's cursor at least; None if entries in between are gone."""
        from learner.model import Model

        old = self.old
        model = Model.from_spec(old.spec())
        committed = old.commits.load(model.fingerprint, model.row_width, must_fit=False)
        copy = Learning(model, Acceptance(1.0), lambda: False)
        copy.load(committed)
        copy.cursor, passed = old.commits.cursor, old.commits.n_entries
        while stream_id(copy.cursor) < stream_id(self.cursor):
            entries = self.store.stream.peek(copy.cursor) if may_learn else []
            passed += sum(stream_id(entry_id) <= stream_id(self.cursor) for entry_id, _ in entries)
            for outcomes, some in _runs(entries):
                self._follow(copy, some, outcomes)
            if not entries or self.stopping():
                return None
        if passed < self.passed:
            return None
        digest = zlib.crc32(model.fingerprint.encode())
        if digest != self._compared_with:  # it is another one
            self.comparison, self._compared_with = Comparison(), digest
        return copy


def _runs(entries: Entries) -> Iterator[tuple[bool, Entries]]:
    """Yield entries in runs: of outcomes of answers, and of others."""
    run: Entries = []
    of_outcomes = False
    for entry in entries:
        names_answer = b"outcome" in entry[1] and is_outcome(entry[1])
        if run and names_answer != of_outcomes:
            yield of_outcomes, run
            run = []
        of_outcomes = names_answer
        run.append(entry)
    if run:
        yield of_outcomes, run


class Comparing(Measuring):
    """Measures the late loss of a candidate, and compares it on the same blocks with the copy of the other model.

    Parameters
    ----------
    learning : Beside
        Has both.
    one_in, came_ms : int, callable
        See `Measuring`.
    """

    learning: Beside

    def __init__(self, learning: Beside, one_in: int, came_ms: Callable[[bytes], float]) -> None:
        super().__init__(learning, one_in, came_ms)
        self._losses: tuple[NDArray[np.float64], ...] | None = None  # of the block that is just being learned

    def begin(self) -> None:
        """Drop a block that was begun: its entries are read again."""
        super().begin()
        self._losses = None

    def take(self, entries: Entries, no_more: bool) -> Entries:
        """Return the entries to learn now: see `Measuring.take`; a block that is complete is compared first."""
        taken = super().take(entries, no_more)
        if self._last and self.learning.copy and self.learning.is_met:
            block = [entry for entry in taken if stream_id(entry[0]) <= stream_id(self._last)]
            copy, ids = self.learning.copy, set[bytes]()
            fresh = [entry for entry in block if not self.is_repeated(entry[1], ids)]
            old, _ = losses_of(fresh, copy.model, copy.pack)
            new, importances = losses_of(fresh, self.learning.model, self.learning.pack)
            self._losses = old, new, importances
        return taken

    def learned(self) -> None:
        """Count a block, once the whole of it is learned."""
        is_over = self._last and stream_id(self.learning.cursor) >= stream_id(self._last)
        super().learned()
        if is_over and self._losses:
            self.learning.comparison.add(*self._losses)
            self._losses = None


def losses_of(
    entries: Entries, model: "Model", pack: Callable[[Any], bytes]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the losses and the importances of all examples of entries, in order, NaN where the model would reject one.

    So two models' losses stand at the same places, whatever each of them rejects.
    """
    found = [np.zeros((2, 0))]
    for is_rejected, pieces in itertools.groupby(_packed(entries, model, pack), lambda piece: piece is None):
        if is_rejected:
            found.append(np.full((2, len(list(pieces))), np.nan))
        else:
            found.append(np.array(model.losses_packed(b"".join(piece for piece in pieces if piece))))
    losses, importances = np.concatenate(found, axis=1)
    return losses, importances


def _packed(entries: Entries, model: "Model", pack: Callable[[Any], bytes]) -> Iterator[bytes | None]:
    """Yield the packed examples of entries, in order; None for each that can't be featurized."""
    waiting: list[Entry | Group] = []
    for entry_id, fields in entries:
        is_batch = b"batch" in fields
        for part in decode_entry(fields) if is_batch else examples_of(entry_id, fields, model, pack):
            if isinstance(part, Entry | Group):
                waiting.append(part)
                continue
            yield from _featurized(waiting, model, pack)
            waiting.clear()
            yield part.packed if isinstance(part, Example) else None
    yield from _featurized(waiting, model, pack)


def _featurized(waiting: list[Entry | Group], model: "Model", pack: Callable[[Any], bytes]) -> Iterator[bytes | None]:
    for part in featurized(waiting, model, pack):
        yield part.packed if isinstance(part, Group) else None
