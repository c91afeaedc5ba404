"""The ids of the last entries learned: an entry pushed again under its id, because nobody answered, is not learned again.

They are a ring of 64-bit keyed hashes, committed with the state, so a crash forgets none of them.
"""

import functools
import hashlib
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

__all__ = ["CAPACITY", "RecentIds"]

CAPACITY = 1 << 17  # ids that are remembered: 1 MiB in the server, about 10 MB in the worker
MAX_CACHED = 1 << 11  # hashes of ids that were just looked up, and are to be added once their entries are learned


class RecentIds:
    """The last ids, oldest forgotten first.

    Parameters
    ----------
    key : bytes
        The model's secret, so that nobody can make two ids look the same; its first 64 bytes count.
    capacity : int
        How many ids are remembered.

    Examples
    --------
    >>> recent = RecentIds(b"secret", capacity=2)
    >>> [recent.add(name) for name in (b"a", b"b", b"a", b"c", b"a")]
    [True, True, False, True, True]
    """

    def __init__(self, key: bytes, capacity: int = CAPACITY) -> None:
        self._keyed = hashlib.blake2b(digest_size=8, key=key[:64])  # a copy costs less than a new one
        self._digest = functools.lru_cache(MAX_CACHED)(self._hash)
        self.ring = np.zeros(capacity, np.uint64)
        self.count = 0  # ids ever added: the place of the next one is count % capacity
        self._seen: set[int] = set()

    def add(self, identity: bytes) -> bool:
        """Remember an id; return False if it is among the last ones already."""
        digest = self._digest(identity)
        if digest in self._seen:
            return False
        place = self.count % len(self.ring)
        if self.count >= len(self.ring):
            self._seen.discard(int(self.ring[place]))
        self.ring[place] = digest
        self._seen.add(digest)
        self.count += 1
        return True

    def __contains__(self, identity: bytes) -> bool:
        """Tell whether an id is among the last ones."""
        return self._digest(identity) in self._seen

    def has_any(self, identities: Iterable[bytes]) -> bool:
        """Tell whether one of several ids is among the last ones."""
        return not self._seen.isdisjoint(map(self._digest, identities))

    def _hash(self, identity: bytes) -> int:
        keyed = self._keyed.copy()
        keyed.update(identity)
        return int.from_bytes(keyed.digest(), "little")

    def load(self, ring: NDArray[np.uint64], count: int) -> None:
        """Go on from what `ring` and `count` were at a commit."""
        self.ring[:] = 0
        self.ring[: len(ring)] = ring
        self.count = count
        self._seen = set(self.ring[: min(count, len(self.ring))].tolist())
