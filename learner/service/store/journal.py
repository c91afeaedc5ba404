"""How the rows of a model lie in the server: a base, and what changed since then, commit by commit.

A commit writes the rows that changed, however they are scattered, as one value: their slots, then the rows. When those since
the base are as many as the base has, a commit writes all rows as the new base, and the others go. So what is written grows with
what changed (twice as much in the long run), and what is read at a start is at most twice the model. Each has its CRC.
"""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from learner.errors import StoreError

__all__ = ["Change", "Delta", "Journal"]

MAX_DELTAS = 256  # each costs a start a little, whatever its size
MAX_DELTA_BYTES = 1 << 28  # a string of Redis holds at most 512 MiB


class Delta(NamedTuple):
    """What one commit changed: its number, how many rows, and the CRC of its bytes."""

    number: int
    n_rows: int
    crc: int


class Change(NamedTuple):
    """What a commit is to write: all rows, or (`whole` false) the slots of those that changed, then the rows."""

    whole: bool
    n_rows: int
    data: memoryview


@dataclass(frozen=True)
class Journal:
    """What the server has of the rows.

    Parameters
    ----------
    base_rows, base_crc : int
        How many rows the base has, and the CRC of their bytes.
    deltas : sequence of Delta
        What changed since, in order.
    """

    base_rows: int = 0
    base_crc: int = 0
    deltas: Sequence[Delta] = ()

    def change(self, rows: NDArray[np.float32], slots: NDArray[np.int64], copy: NDArray[np.uint8]) -> Change:
        """Return what the next commit must write, copied into `copy`, which has room for all rows and four bytes for each."""
        n = len(slots)
        size = rows.shape[1] * 4
        whole = sum(delta.n_rows for delta in self.deltas) + n > self.base_rows or len(self.deltas) >= MAX_DELTAS
        whole = (
            whole or (4 + size) * n > MAX_DELTA_BYTES or n == len(rows) > 0
        )  # all, as after a sweep: there may be fewer
        if whole:
            copy[: rows.nbytes] = rows.reshape(-1).view(np.uint8)
            return Change(True, len(rows), copy[: rows.nbytes].data)
        copy[: 4 * n].view(np.uint32)[:] = slots
        part = copy[4 * n : (4 + size) * n]
        np.take(
            rows, slots, axis=0, out=part.view(np.float32).reshape(n, rows.shape[1]), mode="clip"
        )  # not "raise": it would copy twice
        return Change(False, n, copy[: (4 + size) * n].data)

    def after(self, change: Change, number: int) -> "Journal":
        """Return what the server has after a commit of this number that writes a change."""
        crc = zlib.crc32(change.data)
        if change.whole:
            return Journal(change.n_rows, crc)
        if not change.n_rows:
            return self
        return Journal(self.base_rows, self.base_crc, (*self.deltas, Delta(number, change.n_rows, crc)))

    def to_json(self) -> str:
        """Return it as the head of a commit has it."""
        return json.dumps([self.base_rows, self.base_crc, self.deltas], separators=(",", ":"))

    @classmethod
    def from_json(cls, text: bytes | str) -> "Journal":
        """Return what `to_json` wrote."""
        base_rows, base_crc, deltas = json.loads(text)
        return cls(base_rows, base_crc, tuple(Delta(*delta) for delta in deltas))

    def rows(self, n_rows: int, width: int, base: bytes, deltas: Sequence[bytes]) -> NDArray[np.float32]:
        """Return the rows, float32 (n_rows, width), put together from the base and what changed since.

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
        found = np.zeros((n_rows, width), np.float32)
        found[: self.base_rows] = np.frombuffer(base, np.float32).reshape(-1, width)[:n_rows]
        for delta, data in zip(self.deltas, deltas, strict=True):
            slots = np.frombuffer(data, np.uint32, delta.n_rows)
            if len(slots) and slots.max() >= n_rows:
                raise StoreError(f"rows of delta {delta.number} must be among {n_rows} (got {slots.max()})")
            found[slots] = np.frombuffer(data, np.float32, offset=4 * delta.n_rows).reshape(-1, width)
        return found
