"""Measuring the late loss: some blocks of entries are scored before any of them is learned.

Most entries are learned as soon as they are read. Once in a while the entries of a block (see `learner.late`) are
collected until the block is complete. Each is scored when it comes, and all of them are learned when the block ends, as ever.
So measuring changes when entries are learned, never what is learned: the cursor stays before the block meanwhile, and a worker
that stops or dies leaves the block to the next one.
"""

import itertools
import time
from collections.abc import Callable

from learner.late import BLOCK_EXAMPLES, LateLoss
from learner.service.featurizing import Entry, Group, Several, examples_of, featurized, together
from learner.service.learning import Fields, Learning
from learner.service.reading import READ_ENTRIES
from learner.service.store.position import stream_id
from learner.service.store.reading import READ_BYTES, Entries
from learner.service.wire import MAX_BATCH, Example, OutcomeFields, RejectedEntry, decode_entry, size_of

__all__ = ["MEASURED", "Measuring"]

MEASURED = 16  # one block in so many is measured
BLOCK_MS = 10_000  # of stream time, the longest block: entry ids say when entries came
UNKNOWN = float("inf")  # a time that no entry has told yet
COLLECT_SECONDS = 9.0  # the longest time that a block is collected; a read can wait another second


class Measuring:
    """Chooses blocks, collects their entries, and scores them.

    Parameters
    ----------
    learning : Learning
        Its model scores; its late loss gets what is measured.
    one_in : int
        One block in so many is measured, the first one after `BLOCK_EXAMPLES` examples; 0: none.
    came_ms : callable
        Tells when an entry came that was just read, by its id: in production `learner.service.clock.ServerClock.came_ms`.

    Attributes
    ----------
    collected : list of entries
        The entries of the block so far, read but not learned.
    """

    def __init__(
        self,
        learning: Learning,
        one_in: int = MEASURED,
        came_ms: Callable[[bytes], float] = lambda entry_id: stream_id(entry_id)[0],
    ) -> None:
        self.learning = learning
        self.came_ms = came_ms
        self.one_in = one_in
        self.collected: Entries = []
        self._block = LateLoss()  # what was measured of the block that is collected, or just being learned
        self._n_examples = self._n_bytes = 0  # of the block's examples, rejected ones too, and of its entries
        self._ids: set[bytes] = set()  # of the block's entries
        self._started = 0.0
        self._first_ms = self._last_ms = 0.0  # when the block's first and last entries came
        self._last = b""  # the block's last entry; empty: nothing waits for `learned`
        self._next_examples, self._next_ms = (
            float(BLOCK_EXAMPLES),
            0.0,
        )  # when the next block is due, whichever comes first

    def begin(self) -> None:
        """Drop a block that was begun: its entries are read again. A model that has learned already is not measured at once."""
        self._end_block()
        if self.learning.model.n_examples >= BLOCK_EXAMPLES:
            self._pause(UNKNOWN)

    def take(self, entries: Entries, no_more: bool) -> Entries:
        """Return the entries to learn now: those that were read, none while a block is collected, or both together.

        Parameters
        ----------
        entries : entries
            Those that were just read; they follow the ones collected.
        no_more : bool
            Whether the block ends here anyway.
        """
        if not self.collected:
            if not entries or not self._is_due(came_ms := self.came_ms(entries[0][0])):
                return entries
            self._started, self._first_ms = time.monotonic(), came_ms
        n = self._score(entries)
        block = self.collected + entries[:n]
        if not (no_more or n < len(entries) or self._is_full(block)):
            self.collected = block
            return []
        self.collected, self._last, self._last_ms = [], block[-1][0], self.came_ms(block[-1][0])
        return block + entries[n:]

    def learned(self) -> None:
        """Count a block, once the whole of it is learned."""
        if self._last and stream_id(self.learning.cursor) >= stream_id(self._last):
            self.learning.late.add_sums(self._block)
            self._pause(self._last_ms)
            self._end_block()

    # ---- when ----
    def _is_due(self, ms: float) -> bool:
        """Tell whether a block begins with an entry of this time."""
        if self._next_ms == UNKNOWN:  # this is the first entry since the start
            self._pause(ms)
        n = self.learning.model.n_examples
        return bool(self.one_in) and n >= BLOCK_EXAMPLES and (n >= self._next_examples or ms >= self._next_ms)

    def _pause(self, ms: float) -> None:
        """Leave the blocks that follow alone, all but the last of `one_in`; `ms` is the time of the last entry before them."""
        n_left = max(self.one_in - 1, 0)
        self._next_examples = self.learning.model.n_examples + n_left * BLOCK_EXAMPLES
        self._next_ms = ms + n_left * BLOCK_MS

    def _is_full(self, block: Entries) -> bool:
        return (
            self._n_examples >= BLOCK_EXAMPLES
            or len(block) >= READ_ENTRIES
            or self._n_bytes >= READ_BYTES
            or time.monotonic() - self._started >= COLLECT_SECONDS
        )

    def _end_block(self) -> None:
        self.collected, self._last = [], b""
        self._block = LateLoss()
        self._n_examples = self._n_bytes = 0
        self._ids.clear()

    # ---- scoring ----
    def _score(self, entries: Entries) -> int:
        """Score the entries that belong to the block; return their number."""
        singles: list[Entry | Several | Group] = []
        n = n_singles = 0
        pieces = together(entries, self.learning.model)
        while several := next(pieces, None):
            n_more, (last, fields) = len(several.entries), several.entries[-1]
            is_too_many = self._n_examples + n_singles + n_more > BLOCK_EXAMPLES
            is_too_late = self.came_ms(last) >= self._first_ms + BLOCK_MS
            if n_more > 1 and (is_too_many or is_too_late or several.ids):
                pieces = itertools.chain(several.each(), pieces)
                continue
            if is_too_many or is_too_late:
                break
            n += n_more
            for _, each in several.entries:
                self._count_bytes(each)
            self.learning.between()
            if self.is_repeated(fields, self._ids):
                continue
            if several.packed:
                _append(several, singles)
                n_singles += several.n
            elif b"batch" in fields:
                self._score_batch(fields)
            else:
                for part in examples_of(last, fields, self.learning.model, self.learning.pack):
                    self.learning.between()
                    if not isinstance(part, RejectedEntry):
                        singles.append(part)
                        n_singles += part.n
        groups = featurized(singles, self.learning.model, self.learning.pack)
        self._add(b"".join(group.packed for group in groups if isinstance(group, Group)))
        return n

    def _count_bytes(self, fields: Fields) -> None:
        self._n_bytes += size_of(fields)
        if isinstance(fields, OutcomeFields) and fields.kept:
            self._n_bytes += len(fields.kept.features)

    def _score_batch(self, fields: Fields) -> None:
        """Score an entry's batch, which is learned by itself."""
        for batch in decode_entry(fields):
            if isinstance(batch, Example):
                self._add(batch.packed)
                self.learning.between()

    def is_repeated(self, fields: Fields, ids: set[bytes]) -> bool:
        """Tell whether learning will leave an entry out, as one with its id came before, maybe in `ids`, which gets it."""
        identity = fields.get(b"id")
        if identity is None:
            return False
        is_repeated = identity in ids or identity in self.learning.recent
        ids.add(identity)
        return is_repeated

    def _add(self, packed: bytes) -> None:
        losses, importances = self.learning.model.losses_packed(packed)
        self._block.add(losses[:MAX_BATCH], importances[:MAX_BATCH])
        self._n_examples += len(losses)


def _append(several: Several, singles: list[Entry | Several | Group]) -> None:
    """Add entries to those at the end that are of the same kind."""
    last = singles[-1] if singles else None
    if isinstance(last, Several) and last.has_features == several.has_features:
        last.entries.extend(several.entries)
        last.packed.extend(several.packed)
    else:
        singles.append(several)
