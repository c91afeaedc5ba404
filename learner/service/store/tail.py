"""What commits changed since the one that a process has: read in one transaction, checked, and decoded.

Commits of one owner follow one another, so what changed since an earlier one are the deltas since then (see
`learner.service.store.journal`), the names that were added, and the small arrays. Where this may not hold, everything has to be
read: another owner may have put another state in place; deltas that a base replaced are gone; a sweep moves names.
"""

import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learner import layout
from learner.errors import StoreError
from learner.service.store import loading, segments
from learner.service.store.journal import Delta, Journal
from learner.service.store.link import Link
from learner.service.store.ownership import IDENTITY, Owner, Ownership
from learner.service.store.snapshot import Written

if TYPE_CHECKING:
    from learner.learners import StateChanges

__all__ = ["Broken", "Changes", "Look", "Tail", "look", "read"]

DELTAS_AHEAD = 3  # are read, too, in case the owner commits in between
SEEN = ("commits", "checksums", "fingerprint", "time")  # fields of a head: equal ones are of one state


class Broken(Exception):  # noqa: N818  (whoever follows reads everything then)
    """What changed is not known; the text says why."""


class Look(NamedTuple):
    """The last commit and the owner, as they were at one moment.

    Parameters
    ----------
    head : tuple
        The fields `SEEN` of the commit's head, None where it has none; then whether the model is there.
    owner : tuple of bytes or None
        The owner's token and epoch.
    """

    head: tuple[Any, ...]
    owner: tuple[bytes | None, ...]

    @property
    def number(self) -> int:
        """The commit's number; 0: there is none."""
        return int(self.head[0] or 0)

    @property
    def time(self) -> float:
        """When the commit was made, by the clock of the worker that made it; 0: unknown."""
        return float(self.head[3] or 0.0)


class Changes(NamedTuple):
    """What commits changed, and the last one of them."""

    state: "StateChanges"
    look: Look


@dataclass
class Tail:
    """The changes of the commits since an earlier one.

    Parameters
    ----------
    head : dict
        Of the last one of them.
    look : Look
        That one, and the owner at the same moment.
    journal : Journal
        What the server has of the rows.
    deltas : dict
        The bytes of the deltas since the earlier commit, by number; None: there is none.
    names : bytes
        What was added to the names, or more: the head says how much of it counts.
    """

    head: dict[bytes, bytes]
    look: Look
    journal: Journal
    deltas: dict[int, bytes | None]
    names: bytes

    def decode(self, since: int, written: Written, sweeps: float, width: int) -> "tuple[StateChanges, Written]":
        """Return the changes since commit number `since`, and what the server has now.

        Parameters
        ----------
        since : int
            The number of the earlier commit.
        written : Written
            What the server had then.
        sweeps : float
            How many sweeps the model had had.
        width : int
            float32s in a row.

        Raises
        ------
        Broken
            When they are not known, or damaged.
        """
        from learner.learners import StateChanges  # numba: not for commands that only read

        arrays, names = self._arrays(), self._names(written)
        n_rows = int(self.head[b"features"])
        if arrays["totals"][layout.SWEEPS] != sweeps:
            raise Broken("a sweep has moved features")
        rows = [_rows(delta, self.deltas.get(delta.number), n_rows, width) for delta in self._deltas(since, written)]
        names_crc = zlib.crc32(names, written.names_crc)
        self._require_checksums(names_crc)
        after = Written(self.journal, written.n_name_bytes + len(names), names_crc, int(self.head[b"n_ids"]))
        return StateChanges(arrays, n_rows, rows, np.frombuffer(names, np.uint8)), after

    def _arrays(self) -> dict[str, NDArray[Any]]:
        small = json.loads(self.head[b"arrays"])
        return {
            name: np.frombuffer(self.head[name.encode()], dtype).reshape(shape)
            for name, (dtype, shape) in small.items()
        }

    def _names(self, written: Written) -> bytes:
        n = int(self.head[b"name_bytes"]) - written.n_name_bytes
        if not 0 <= n <= len(self.names):
            raise Broken(f"{n} bytes of names were added, of which {len(self.names)} were read")
        return self.names[:n]

    def _deltas(self, since: int, written: Written) -> Sequence[Delta]:
        """Return the deltas since a commit; all of them are needed, unless no row has changed."""
        number = int(self.head[b"commits"])
        deltas = [delta for delta in self.journal.deltas if delta.number > since]
        if self.journal != written.journal and [delta.number for delta in deltas] != [*range(since + 1, number + 1)]:
            raise Broken("deltas since the commit that it had are gone")
        return deltas

    def _require_checksums(self, names_crc: int) -> None:
        """Make sure that names and small arrays are undamaged."""
        small = json.loads(self.head[b"arrays"])
        crc = 0
        for name in small:
            crc = zlib.crc32(self.head[name.encode()], crc)
        wanted = self.head[b"checksums"].decode().split()[:2]
        if wanted != [f"{names_crc:08x}", f"{crc:08x}"]:
            raise Broken(f"names and arrays must have the checksums {wanted} (got {names_crc:08x} {crc:08x})")


def _rows(delta: Delta, data: bytes | None, n_rows: int, width: int) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return the slots and the rows of a delta."""
    try:
        return delta.rows(data or b"", n_rows, width)
    except StoreError as error:
        raise Broken(str(error)) from error


def look(link: Link, ownership: Ownership) -> tuple[Look, Owner]:
    """Look at the last commit and the owner: HMGET, EXISTS, HGETALL, GET, in one transaction."""
    with link.client.pipeline() as pipe:
        pipe.hmget(link.keys.head, *SEEN)
        pipe.exists(link.keys.spec)
        ownership.queue_read(pipe)
        head, is_there, fields, sign = pipe.execute()
    return Look((*head, is_there), tuple(fields.get(name.encode()) for name in IDENTITY)), ownership.parsed(
        fields, sign
    )


def read(link: Link, since: int, until: int, n_name_bytes: int) -> Tail:
    """Read what changed since a commit: HGETALL, HMGET, GET, GETRANGE, in one transaction.

    Parameters
    ----------
    link : Link
        The model's.
    since, until : int
        The number of that commit, and of the last one, as far as is known.
    n_name_bytes : int
        How many bytes of names there were at that commit.
    """
    keys = link.keys
    numbers = range(since + 1, until + DELTAS_AHEAD + 1)
    segment, offset = divmod(n_name_bytes, segments.SEGMENT_BYTES)
    with link.client.pipeline() as pipe:
        pipe.hgetall(keys.head)
        pipe.hmget(keys.owner, *IDENTITY)
        pipe.getrange(keys.names(segment), offset, -1)
        pipe.get(keys.names(segment + 1))
        for number in numbers:
            pipe.get(keys.delta(number))
        head, owner, names, more, *deltas = pipe.execute()
    names += (more or b"") if offset + len(names) == segments.SEGMENT_BYTES else b""
    seen = Look((*(head.get(name.encode()) for name in SEEN), 1), tuple(owner))
    return Tail(head, seen, loading.journal_of(head), dict(zip(numbers, deltas, strict=True)), names)
