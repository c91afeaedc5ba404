"""The data that a commit consists of."""

import functools
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learner import layout
from learner.answered import AnsweredLoss
from learner.late import LateLoss
from learner.service.store.journal import Change, Journal
from learner.service.wire import RejectedEntry

__all__ = ["FORMAT", "Committed", "Learned", "Snapshot", "Written", "checksums"]

FORMAT = layout.STATE_FORMAT


@dataclass(frozen=True)
class Learned:
    """A model's state, for a commit.

    Parameters
    ----------
    state : mapping
        The arrays of `Model.state`.
    dirty : array of uint8
        For each row, whether it changed since the last snapshot; a snapshot clears it.
    fingerprint : str
        The fingerprint of the model's spec.
    late : LateLoss
        The late loss so far: not in the state, whose bytes must not depend on how entries were read.
    answered : AnsweredLoss
        The answered loss so far.
    """

    state: Mapping[str, NDArray[Any]]
    dirty: NDArray[np.uint8]
    fingerprint: str
    late: LateLoss = field(default_factory=LateLoss)
    answered: AnsweredLoss = field(default_factory=AnsweredLoss)


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
        The slots of the rows that changed.
    change : Change
        These rows, and rows of the base.
    names : bytes
        The names that were added since the last commit.
    arrays : dict
        The small arrays of the state, which are always written whole.
    ids, n_ids : bytes, int
        The ring of `learner.service.recent`, and how many ids were ever added to it.
    head : dict
        The fields of the commit's head that describe the state.
    rejected : list of (entry id, RejectedEntry)
        The entries and examples that could not be learned since the last commit.
    progress : dict
        The figures that `learner status` and plots show.
    points : list of dict
        Figures of moments since the last commit, for plots.
    settled : list of bytes
        The names of the answers whose outcomes were learned, or didn't come in time, since the last commit: they are deleted.
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
    points: list[dict[str, Any]]
    settled: list[bytes] = field(default_factory=list)


@dataclass(frozen=True)
class Written:
    """What the server has after a commit of the parts that are written piece by piece; the next commit adds to them.

    Parameters
    ----------
    journal : Journal
        The rows.
    n_name_bytes, names_crc : int
        How many bytes of names, and their CRC.
    n_ids : int
        How many ids had been added to the ring.
    """

    journal: Journal = field(default_factory=Journal)
    n_name_bytes: int = 0
    names_crc: int = 0
    n_ids: int = 0

    def after(self, snapshot: Snapshot, number: int) -> "Written":
        """Return what the server has after the commit with this number writes a snapshot."""
        return Written(
            self.journal.after(snapshot.change, number),
            self.n_name_bytes + len(snapshot.names),
            zlib.crc32(snapshot.names, self.names_crc),
            snapshot.n_ids,
        )


@dataclass
class Committed:
    """A model's last commit, as loaded.

    Parameters
    ----------
    cursor : bytes
        The last entry learned.
    n_commits : int
        The number of the commit.
    state : dict
        The model's state; empty if a repair wrote a cursor without one.
    ids, n_ids : array of uint64, int
        The ring of `learner.service.recent`, and how many ids were ever added to it.
    late : LateLoss
        The late loss so far.
    answered : AnsweredLoss
        The answered loss so far.
    time : float
        When it was made, by the clock of the worker that made it; 0: unknown.
    """

    cursor: bytes
    n_commits: int
    state: dict[str, NDArray[Any]]
    ids: NDArray[np.uint64]
    n_ids: int
    late: LateLoss = field(default_factory=LateLoss)
    answered: AnsweredLoss = field(default_factory=AnsweredLoss)
    time: float = 0.0


def checksums(names_crc: int, arrays: Iterable[bytes], ids: bytes) -> str:
    """Return the CRCs of names, small arrays and ids as a text; the CRCs of the rows are in the journal."""
    crc = functools.reduce(lambda crc, data: zlib.crc32(data, crc), arrays, 0)
    return f"{names_crc:08x} {crc:08x} {zlib.crc32(ids):08x}"
