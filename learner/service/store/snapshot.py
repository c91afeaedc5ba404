"""What a commit is made of, as data."""

import functools
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learner.service.store.journal import Change, Journal
from learner.service.wire import RejectedEntry

__all__ = ["FORMAT", "Committed", "Learned", "Snapshot", "Written", "checksums"]

FORMAT = 2  # of the state


@dataclass(frozen=True)
class Learned:
    """What a model gives to a commit.

    Parameters
    ----------
    state : mapping
        `Model.state`.
    dirty : array of uint8
        For each row, whether it changed since the last snapshot; a snapshot clears it.
    fingerprint : str
        The model's.
    """

    state: Mapping[str, NDArray[Any]]
    dirty: NDArray[np.uint8]
    fingerprint: str


@dataclass
class Snapshot:
    """A copy of everything that one commit writes.

    Parameters
    ----------
    cursor : bytes
        The last entry learned.
    n_entries : int
        Entries learned since the last commit.
    slots : array of int64
        Of the rows that changed.
    change : Change
        Those rows, or all rows.
    names : bytes
        The names since the last commit.
    arrays : dict
        The small arrays of the state, which are always written whole.
    ids, n_ids : bytes, int
        The ring of `learner.service.recent`, and how many ids it ever took.
    head : dict
        What the head of the commit says of the model.
    rejected : list of (entry id, RejectedEntry)
        What could not be learned since the last commit.
    progress : dict
        What `top` and plots read.
    """

    cursor: bytes
    n_entries: int
    slots: NDArray[np.int64]
    change: Change
    names: bytes
    arrays: dict[str, bytes]
    ids: bytes
    n_ids: int
    head: dict[str, Any]
    rejected: list[tuple[bytes, RejectedEntry]]
    progress: dict[str, Any]


@dataclass(frozen=True)
class Written:
    """How much of the parts that grow the server has after a commit: the next one goes on from there.

    Parameters
    ----------
    journal : Journal
        What it has of the rows.
    n_name_bytes, names_crc : int
        How many bytes of names, and their CRC.
    n_ids : int
        Up to which id it has the ring.
    """

    journal: Journal = field(default_factory=Journal)
    n_name_bytes: int = 0
    names_crc: int = 0
    n_ids: int = 0

    def after(self, snapshot: Snapshot, number: int) -> "Written":
        """Return what the server has after a commit of this number writes a snapshot."""
        return Written(
            self.journal.after(snapshot.change, number),
            self.n_name_bytes + len(snapshot.names),
            zlib.crc32(snapshot.names, self.names_crc),
            snapshot.n_ids,
        )


@dataclass
class Committed:
    """What a model's last commit holds.

    Parameters
    ----------
    cursor : bytes
        The last entry learned.
    n_commits : int
        The number of the commit.
    state : dict
        The model's; empty when nothing was committed but a position, by a repair.
    ids, n_ids : array of uint64, int
        The ring of `learner.service.recent`, and how many ids it ever took.
    """

    cursor: bytes
    n_commits: int
    state: dict[str, NDArray[Any]]
    ids: NDArray[np.uint64]
    n_ids: int


def checksums(names_crc: int, arrays: Iterable[bytes], ids: bytes) -> str:
    """Return the CRCs of names, small arrays and ids as a text; the journal has those of the rows."""
    crc = functools.reduce(lambda crc, data: zlib.crc32(data, crc), arrays, 0)
    return f"{names_crc:08x} {crc:08x} {zlib.crc32(ids):08x}"
