"""How the rows of a model are stored on the server: a base, and a delta for each commit since.

A commit writes the rows that changed as one value, a delta: their slots, then the rows. If the deltas would then have more rows
than the base, the commit writes all rows as the new base instead and deletes the deltas. So over many commits at most about
twice the changed rows are written, and a start reads at most twice the model. The base and each delta have a CRC.
"""

import itertools
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learner.errors import StoreError, show
from learner.layout import MAX_ROWS

__all__ = ["Change", "Delta", "Journal"]

MAX_DELTAS = 256  # each delays a start a little, even a small one
MAX_DELTA_BYTES = 1 << 28  # a string of Redis holds at most 512 MiB


class Delta(NamedTuple):
    """A commit's delta: the number of the commit, how many rows changed, and the CRC of the delta's bytes."""

    number: int
    n_rows: int
    crc: int


class Change(NamedTuple):
    """What a commit must write of the rows: all rows if `whole`, else the slots of the changed rows, then these rows."""

    whole: bool
    n_rows: int
    data: memoryview


@dataclass(frozen=True)
class Journal:
    """What the server has of the rows. A journal never changes: `after` returns a new one.

    Parameters
    ----------
    base_rows, base_crc : int
        How many rows the base has, and the CRC of its bytes.
    deltas : sequence of Delta
        In the order of their commits.
    """

    base_rows: int = 0
    base_crc: int = 0
    deltas: Sequence[Delta] = ()

    def change(self, rows: NDArray[np.float32], slots: NDArray[np.int64], copy: NDArray[np.uint8]) -> Change:
        """Return what the next commit must write.

        Parameters
        ----------
        rows : array of float32 (n, width)
            All rows of the model.
        slots : array of int64
            The slots of the rows that changed.
        copy : array of uint8
            Memory for the result: at least the size of all rows, and four bytes more for each row.
        """
        n = len(slots)
        size = rows.shape[1] * 4
        whole = (
            sum(delta.n_rows for delta in self.deltas) + n > self.base_rows
            or len(self.deltas) >= MAX_DELTAS
            or (4 + size) * n > MAX_DELTA_BYTES
            or n == len(rows) > 0  # all rows changed, as after a sweep, which may leave fewer rows than the base has
        )
        if whole:
            copy[: rows.nbytes] = rows.reshape(-1).view(np.uint8)
            return Change(True, len(rows), copy[: rows.nbytes].data)
        copy[: 4 * n].view(np.uint32)[:] = slots
        part = copy[4 * n : (4 + size) * n]
        out = part.view(np.float32).reshape(n, rows.shape[1])
        np.take(rows, slots, axis=0, out=out, mode="clip")  # mode "raise" would copy twice
        return Change(False, n, copy[: (4 + size) * n].data)

    def after(self, change: Change, number: int) -> "Journal":
        """Return what the server has after the commit with this number writes a change."""
        crc = zlib.crc32(change.data)
        if change.whole:
            return Journal(change.n_rows, crc)
        if not change.n_rows:
            return self
        return Journal(self.base_rows, self.base_crc, (*self.deltas, Delta(number, change.n_rows, crc)))

    def to_json(self) -> str:
        """Return the journal as a text, for the head of a commit."""
        return json.dumps([self.base_rows, self.base_crc, self.deltas], separators=(",", ":"))

    @classmethod
    def from_json(cls, text: bytes | str) -> "Journal":
        """Return the journal that `to_json` wrote.

        Raises
        ------
        ValueError or TypeError
            When it is damaged.
        """
        base_rows, base_crc, deltas = json.loads(text)
        journal = cls(base_rows, base_crc, tuple(Delta(*delta) for delta in deltas))
        numbers = [base_rows, base_crc, *itertools.chain(*journal.deltas)]
        if not all(type(number) is int and number >= 0 for number in numbers) or base_rows > MAX_ROWS:
            raise ValueError(f"journal must be of whole numbers, for at most {MAX_ROWS} rows (got {show(numbers)})")
        return journal

    def rows(self, n_rows: int, width: int, base: bytes, deltas: Sequence[bytes]) -> NDArray[np.float32]:
        """Return the rows, float32 (n_rows, width), of the base with the deltas applied.

        Raises
        ------
        StoreError
            When something is missing or damaged.
        """
        size = width * 4
        for what, data, n_bytes, crc in [
            ("the base", base, self.base_rows * size, self.base_crc),
            *(
                (f"delta {d.number}", data, d.n_rows * (4 + size), d.crc)
                for d, data in zip(self.deltas, deltas, strict=True)
            ),
        ]:
            if len(data) != n_bytes:
                raise StoreError(f"rows of {what} must have {n_bytes} bytes (got {len(data)})")
            if zlib.crc32(data) != crc:
                raise StoreError(f"rows of {what} must have the CRC {crc:08x} (got {zlib.crc32(data):08x})")
        rows = np.zeros((n_rows, width), np.float32)
        rows[: self.base_rows] = np.frombuffer(base, np.float32).reshape(-1, width)[:n_rows]
        for delta, data in zip(self.deltas, deltas, strict=True):
            slots = np.frombuffer(data, np.uint32, delta.n_rows)
            if len(slots) and slots.max() >= n_rows:
                raise StoreError(f"rows of delta {delta.number} must be among {n_rows} (got {slots.max()})")
            rows[slots] = np.frombuffer(data, np.float32, offset=4 * delta.n_rows).reshape(-1, width)
        return rows
