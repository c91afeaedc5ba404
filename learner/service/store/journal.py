"""How the rows of a model are stored on the server: a base, and a delta for each commit since.

A commit writes the rows that changed as one value, a delta: their slots, then the rows. When the deltas have more rows than
the base, a *round* begins: each commit also rewrites a part of the base, about as many rows as its delta has, from the first to
the last row. At the end of the round the base is newer than the deltas up to the round's first commit, which are deleted. So no
commit copies a large model at once, over many commits about twice the changed rows are written, and a start reads at most about
three times the model.

During a round parts of the base are newer than some deltas. That does no harm: all deltas since the oldest part of the base are
there, and the last of them that has a row has what the row is now. Each delta has a CRC, and each stripe of the base's rows.
"""

import itertools
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learner.errors import StoreError, show
from learner.layout import MAX_ROWS

__all__ = ["Change", "Delta", "Journal"]

MAX_DELTAS = 256  # each delays a start a little, even a small one: with so many a round begins, and goes twice as fast
MAX_DELTA_BYTES = 1 << 28  # a string of Redis holds at most 512 MiB
STRIPE_ROWS = 1 << 12


class Delta(NamedTuple):
    """A commit's delta: the number of the commit, how many rows changed, and the CRC of the delta's bytes."""

    number: int
    n_rows: int
    crc: int

    def rows(self, data: bytes, n_rows: int, width: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Return the slots and the rows, float32 (n, width), in its bytes, for a model of `n_rows` rows.

        Raises
        ------
        StoreError
            When something is missing or damaged.
        """
        n_bytes = self.n_rows * (4 + 4 * width)
        if len(data) != n_bytes:
            raise StoreError(f"rows of delta {self.number} must have {n_bytes} bytes (got {len(data)})")
        _require_crc(f"delta {self.number}", data, self.crc)
        slots = np.frombuffer(data, np.uint32, self.n_rows)
        if len(slots) and slots.max() >= n_rows:
            raise StoreError(f"rows of delta {self.number} must be among {n_rows} (got {slots.max()})")
        return slots, np.frombuffer(data, np.float32, offset=4 * self.n_rows).reshape(-1, width)


class Change(NamedTuple):
    """What a commit must write of the rows: a delta, a part of the base, or both.

    The delta is the slots of `n_rows` changed rows, then these rows. The part of the base begins with the row `first` and has
    `n_base` rows; with `ends` a round ends with it.
    """

    n_rows: int
    delta: memoryview
    first: int
    n_base: int
    base: memoryview
    ends: bool


@dataclass(frozen=True)
class Journal:
    """What the server has of the rows. A journal never changes: `after` returns a new one.

    Parameters
    ----------
    base_rows : int
        How many rows the base has.
    crcs : sequence of int
        The CRC of each stripe of the base.
    deltas : sequence of Delta
        In the order of their commits.
    stripe_rows : int
        How many rows a stripe has; the last one may have fewer.
    position, start : int
        In a round, how many rows of the base are written anew, and the number of its first commit; else 0.
    """

    base_rows: int = 0
    crcs: Sequence[int] = ()
    deltas: Sequence[Delta] = ()
    stripe_rows: int = STRIPE_ROWS
    position: int = 0
    start: int = 0

    def change(
        self, rows: NDArray[np.float32], slots: NDArray[np.int64], memory: Callable[[int], NDArray[np.uint8]]
    ) -> Change:
        """Return what the next commit must write, copied.

        Parameters
        ----------
        rows : array of float32 (n, width)
            All rows of the model.
        slots : array of int64
            The slots of the rows that changed.
        memory : callable
            Returns at least as many bytes of memory as it is given, for the copy.
        """
        n, size = len(slots), rows.shape[1] * 4
        first, last = self.position, self._end(n, len(rows))
        is_whole = (
            (4 + size) * n > MAX_DELTA_BYTES
            or n == len(rows) > 0  # all rows changed, as after a sweep, which may leave fewer rows than the base has
            or self.stripe_rows > STRIPE_ROWS  # written before there were stripes
        )
        if is_whole:
            first, last = 0, len(rows)
        if (first, last) == (0, len(rows)):
            n = 0
        copy = memory((4 + size) * n + size * (last - first))
        delta, base = copy[: (4 + size) * n], copy[(4 + size) * n :][: size * (last - first)]
        if n:
            delta[: 4 * n].view(np.uint32)[:] = slots
            out = delta[4 * n :].view(np.float32).reshape(n, rows.shape[1])
            np.take(rows, slots, axis=0, out=out, mode="clip")  # mode "raise" would copy twice
        base[:] = rows[first:last].reshape(-1).view(np.uint8)
        return Change(n, delta.data, first, last - first, base.data, first < last == len(rows))

    def _end(self, n: int, n_rows: int) -> int:
        """Return up to which row the next commit must have written the base anew, if its delta has n rows."""
        is_long = len(self.deltas) >= MAX_DELTAS
        if not self.position and sum(delta.n_rows for delta in self.deltas) + n <= self.base_rows and not is_long:
            return 0
        end = self.position + max(n * (2 if is_long else 1), 1)
        return min(-(-end // self.stripe_rows) * self.stripe_rows, n_rows)

    def after(self, change: Change, number: int) -> "Journal":
        """Return what the server has after the commit with this number writes a change."""
        deltas = tuple(self.deltas)
        if change.n_rows:
            deltas += (Delta(number, change.n_rows, zlib.crc32(change.delta)),)
        if not change.n_base:
            return replace(self, deltas=deltas) if change.n_rows else self
        stripe_rows = min(self.stripe_rows, STRIPE_ROWS)
        stripe, place = len(change.base) // change.n_base * stripe_rows, change.first // stripe_rows
        new = [zlib.crc32(change.base[i : i + stripe]) for i in range(0, len(change.base), stripe)]
        last, start = change.first + change.n_base, self.start if change.first else number
        if change.ends:
            left = tuple(delta for delta in deltas if delta.number > start)
            return Journal(last, (*self.crcs[:place], *new), left, stripe_rows)
        crcs = (*self.crcs[:place], *new, *self.crcs[place + len(new) :])
        return Journal(max(self.base_rows, last), crcs, deltas, stripe_rows, last, start)

    def to_json(self) -> str:
        """Return the journal as a text, for the head of a commit."""
        numbers = self.base_rows, self.crcs, self.deltas, self.stripe_rows, self.position, self.start
        return json.dumps(numbers, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: bytes | str) -> "Journal":
        """Return the journal that `to_json` wrote, or that was written before there were stripes.

        Raises
        ------
        ValueError or TypeError
            When it is damaged.
        """
        base_rows, crcs, deltas, *others = json.loads(text)
        if not others:  # of the whole base
            crcs, others = [crcs] if base_rows else [], [max(base_rows, STRIPE_ROWS)]
        journal = cls(base_rows, tuple(crcs), tuple(Delta(*delta) for delta in deltas), *others)
        numbers = [base_rows, *crcs, *itertools.chain(*journal.deltas), *others]
        if not all(type(number) is int and number >= 0 for number in numbers) or base_rows > MAX_ROWS:
            raise ValueError(f"journal must be of whole numbers, for at most {MAX_ROWS} rows (got {show(numbers)})")
        stripe_rows, position = journal.stripe_rows, journal.position
        if stripe_rows == 0 or position % stripe_rows or position > base_rows:
            raise ValueError(f"journal must be in a round up to a stripe of {stripe_rows} rows (got row {position})")
        if len(crcs) != -(-base_rows // stripe_rows):
            raise ValueError(f"journal must have a CRC for every {stripe_rows} of {base_rows} rows (got {len(crcs)})")
        return journal

    def rows(self, n_rows: int, width: int, base: bytes, deltas: Sequence[bytes]) -> NDArray[np.float32]:
        """Return the rows, float32 (n_rows, width), of the base with the deltas applied.

        Raises
        ------
        StoreError
            When something is missing or damaged.
        """
        size = width * 4
        if len(base) != self.base_rows * size:
            raise StoreError(f"rows of the base must have {self.base_rows * size} bytes (got {len(base)})")
        stripe = self.stripe_rows * size
        for i, crc in enumerate(self.crcs):
            _require_crc("the base", memoryview(base)[i * stripe : (i + 1) * stripe], crc)
        changed = [delta.rows(data, n_rows, width) for delta, data in zip(self.deltas, deltas, strict=True)]
        rows = np.zeros((n_rows, width), np.float32)
        rows[: self.base_rows] = np.frombuffer(base, np.float32).reshape(-1, width)[:n_rows]
        for slots, of_delta in changed:
            rows[slots] = of_delta
        return rows


def _require_crc(what: str, data: bytes | memoryview, crc: int) -> None:
    if zlib.crc32(data) != crc:
        raise StoreError(f"rows of {what} must have the CRC {crc:08x} (got {zlib.crc32(data):08x})")
