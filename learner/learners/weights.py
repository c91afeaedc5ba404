"""The growing dict of weights: feature name -> slot -> row of numbers, in plain arrays that compiled loops can use.

A hash table with open addressing over a keyed 64-bit hash of the UTF-8 name. Slots are numbered in order of first update; each
slot has a row in one array, and its name in an arena of bytes. The dict starts empty: a feature gets a row at its first update.
`learner.layout` says where each number lies.
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learner import kernels, layout
from learner.errors import LearnerError
from learner.kernels.table import COPIED, COPIED_A_ROW
from learner.spec import label_numbers

__all__ = ["WeightDict"]

MIN_RESERVED = 1 << 22  # bytes: a larger array has addresses reserved, so that it need not move when it grows
HUGE_PAGE = 1 << 21  # bytes; numpy asks the system for huge pages for arrays of at least twice as many
MIN_GRADUAL = 1 << 16  # buckets: a table as large is replaced little by little


class WeightDict:
    """Names, slots and rows; the learner gives the numbers in a row their meaning.

    Parameters
    ----------
    width : int
        The number of float32s in a row, a multiple of 16.
    keys : array of uint64
        The hash's secret keys (see `hash_keys`).
    max_features : int, optional
        The largest number of rows; names may have `layout.NAME_BYTES` for each.
    """

    def __init__(self, width: int, keys: NDArray[np.uint64], max_features: int | None = None) -> None:
        self.samples = np.zeros((1, layout.MAX_BINNED, 2 + layout.N_SAMPLES), np.float32)
        self.width = width
        self.keys = keys
        bounds = (max_features, max_features * layout.NAME_BYTES) if max_features else (1 << 62, 1 << 62)
        self.sizes = np.array([0, 0, *bounds, 0], np.int64)
        n_bytes = layout.SKETCH_BYTES * (max_features or 0)
        n_bytes = min(max(1 << (n_bytes - 1).bit_length(), layout.MIN_SKETCH), layout.MAX_SKETCH) if n_bytes else 0
        self.sketch = np.zeros(n_bytes, np.uint8)
        self.aged = np.zeros(max_features or 0, np.float32)
        self._clear()

    def _clear(self) -> None:
        self.sizes[[0, 1, COPIED]] = 0
        self.table, self.former = np.zeros(1 << 11, np.uint64), np.zeros(0, np.uint64)
        self.names = np.zeros(1 << 14, np.uint8)
        self.rows = _aligned(self.width << 10)
        self.dirty = np.zeros(1 << 10, np.uint8)

    def __len__(self) -> int:
        return int(self.sizes[0])

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.slot(name) is not None

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names in order of slots."""
        return map(self.name, range(len(self)))

    @property
    def arrays(self) -> tuple[NDArray[Any], ...]:
        """The argument of the loops: a `learner.kernels.records.Table` as a plain tuple."""
        words64, words32 = self.rows.view(np.uint64), self.rows.view(np.uint32)
        return self.table, self.former, self.rows, words64, words32, self.names, self.sizes, self.dirty, self.sketch

    @property
    def matrix(self) -> NDArray[np.float32]:
        """The rows in use, as (features, width)."""
        return self.rows[: len(self) * self.width].reshape(-1, self.width)

    @property
    def of_cap(self) -> dict[str, NDArray[Any]]:
        """What the state of a model with ``max_features`` has, too, by name."""
        return {"sketch": self.sketch, "aged": self.aged} if len(self.sketch) else {}

    @property
    def derived(self) -> NDArray[np.bool_]:
        """For each slot, whether its feature was derived from others."""
        derived: NDArray[np.bool_] = self.matrix.view(np.uint32)[:, layout.DENSE] >= layout.DERIVED
        return derived

    @property
    def classes(self) -> NDArray[np.int64]:
        """For each slot, the class of its row in a multi-class model, counted from 1; else 0."""
        words = self.matrix.view(np.uint32)[:, layout.DENSE]
        return (words >> layout.CLASS_SHIFT & layout.CLASS_MASK).astype(np.int64)

    @property
    def nbytes(self) -> int:
        """The bytes of memory of the hash table, and of what is in use of the arrays: the rest has addresses, but no memory."""
        arrays = self.table, self.former, self.matrix, self.sketch, self.aged
        return sum(array.nbytes for array in arrays) + int(
            self.sizes[:2].sum()
        )  # a byte of `dirty` a row, and the names

    def slot(self, name: str, of_class: int = 0) -> int | None:
        """Return the slot of a name, or None; in a multi-class model, its slot for a class, counted from 1."""
        try:
            h = hash_of(name.encode(), self.keys)
        except UnicodeEncodeError:  # a lone surrogate: no name has one
            return None
        if of_class:
            h = int(kernels.blend_hashes(np.uint64(h), np.uint64(of_class)))
        base = int(kernels.find(self.arrays, np.uint64(h), np.uint64(self.width)))
        if base != int(kernels.MISSING):
            return base // self.width
        if not any(word in name for word in (" and ", " times ", " in [", " < ", " >= ")):
            return None
        return next(
            (
                slot
                for slot in np.flatnonzero(self.derived & (self.classes == of_class)).tolist()
                if self.name(slot) == name
            ),
            None,
        )

    def name(self, slot: int) -> str:
        """Return the name of a slot; a derived feature's name is made of its parents' names."""
        header = self.rows.view(np.uint32)[slot * self.width : slot * self.width + layout.HEADER]
        if header[layout.DENSE] & layout.DERIVED:
            bins = int(header[layout.DENSE])
            if bins & layout.PRODUCT == layout.PRODUCT:
                return f"{self.name(int(header[layout.NAME]))} times {self.name(int(header[layout.MEAN]))}"
            first = self._binned(int(header[layout.NAME]), bins & 255, header[layout.NAME] == header[layout.MEAN])
            if header[layout.NAME] == header[layout.MEAN]:
                return first
            return f"{first} and {self._binned(int(header[layout.MEAN]), bins >> 8 & 255)}"
        start = int(header[layout.NAME])
        length = int(self.names[start]) | int(self.names[start + 1]) << 8
        return self.names[start + 2 : start + 2 + length].tobytes().decode() or layout.CONSTANT_NAME

    def name_lengths(self) -> NDArray[np.int64]:
        """Return the bytes of `names` that each row's name takes, with the two of its length; 0 for derived features."""
        derived = self.derived
        starts = np.where(derived, 0, self.matrix.view(np.uint32)[:, layout.NAME])
        lengths = 2 + self.names[starts].astype(np.int64) + (self.names[starts + 1].astype(np.int64) << 8)
        return np.where(derived, 0, lengths)

    def _binned(self, slot: int, bin_number: int, alone: bool = False) -> str:
        """Return the name of a feature (bin 0), or of one of its bins; bins are narrower when not combined in cells."""
        name = self.name(slot)
        if not bin_number:
            return name
        n_bins = layout.N_BINS if alone else layout.N_CELL_BINS
        word = int(self.rows.view(np.uint32)[slot * self.width + layout.DENSE])
        of_class = word >> layout.CLASS_SHIFT & layout.CLASS_MASK
        place = word & layout.PLACE_MASK
        sample = self.samples[max(of_class - 1, 0), min(place, layout.MAX_BINNED) - 1]
        if not 0 < place <= layout.MAX_BINNED or sample[0] < layout.N_SAMPLES:  # see `learner.kernels.places`
            return f"{name} in [former bin {bin_number} of {n_bins}]"
        bounds = sample[2 + np.arange(1, n_bins) * layout.N_SAMPLES // n_bins]
        if bin_number == 1:
            return f"{name} < {bounds[0]:g}"
        low = bounds[bin_number - 2]
        return f"{name} in [{low:g}, {bounds[bin_number - 1]:g})" if bin_number <= len(bounds) else f"{name} >= {low:g}"

    def warm(self) -> None:
        """Compile the functions that the dict itself calls, or load them from disk."""
        kernels.rebuild(np.zeros(1, np.uint64), self.rows.view(np.uint64), 0, 0, self.width)
        kernels.copy_buckets(0, self.arrays, self.width)
        self.slot("")
        if len(self.sketch):
            kernels.compact(np.zeros(0, np.bool_), np.zeros(0, np.int64), self.arrays, self.width)

    def reserve(self, n_rows: int, n_bytes: int) -> None:
        """Make room for `n_rows` more rows, and `n_bytes` more bytes of names and their lengths.

        Raises
        ------
        LearnerError
            When a model would exceed 2^31 features or 2^32 bytes of names.
        """
        need_rows, need_names = len(self) + n_rows, int(self.sizes[1]) + n_bytes
        if need_rows > layout.MAX_ROWS or need_names > layout.MAX_ARENA:
            raise LearnerError(
                f"a model holds at most {layout.MAX_ROWS} features and {layout.MAX_ARENA} bytes of names (got {need_rows})"
            )
        if need_rows > len(self.dirty):
            most = min(int(self.sizes[2]), layout.MAX_ROWS)
            self.rows = _larger(self.rows, len(self) * self.width, need_rows * self.width, most * self.width)
            dirty = np.zeros(len(self.rows) // self.width, np.uint8)
            dirty[: len(self)] = self.dirty[: len(self)]
            self.dirty = dirty
        if need_names > len(self.names):
            most = min(int(self.sizes[3]), layout.MAX_ARENA)
            self.names = _larger(self.names, int(self.sizes[1]), need_names, most)
        size = len(self.table)
        while 10 * need_rows > 7 * size:
            size *= 2
        if size > len(self.table):
            self.copy_buckets(len(self.former))
            self.former, self.table = self.table, _aligned(size, np.uint64)
            self.sizes[COPIED] = 0
            if len(self.former) < MIN_GRADUAL:
                self.copy_buckets(len(self.former))

    def copy_buckets(self, n: int) -> None:
        """Copy n more buckets of a table that is being replaced, if one is; each new row copies some, too."""
        if not len(self.former):
            return
        kernels.copy_buckets(n, self.arrays, self.width)
        if self.sizes[COPIED] == len(self.former):
            self.former = np.zeros(0, np.uint64)

    def load(self, rows: NDArray[np.float32], names: NDArray[np.uint8]) -> None:
        """Replace all rows and names by saved contents of `matrix` and `names`."""
        self._clear()
        self.reserve(len(rows), len(names))
        self.rows[: rows.size] = rows.ravel()
        self.names[: len(names)] = names
        self.sizes[:2] = len(rows), len(names)
        kernels.rebuild(self.table, self.rows.view(np.uint64), 0, len(self), self.width)

    def update(
        self, n_rows: int, changes: Iterable[tuple[NDArray[Any], NDArray[np.float32]]], names: NDArray[np.uint8]
    ) -> None:
        """Replace rows by those of a later `matrix`, in which no row has moved, and add what it has more.

        Parameters
        ----------
        n_rows : int
            How many rows there are then.
        changes : (slots, rows) pairs
            Rows, one after another: all that changed, and all that are new.
        names : array of uint8
            What `names` has more.
        """
        first, n_bytes = len(self), int(self.sizes[1])
        self.reserve(n_rows - first, len(names))
        self.names[n_bytes : n_bytes + len(names)] = names
        self.sizes[:2] = n_rows, n_bytes + len(names)
        for slots, rows in changes:
            self.matrix[slots] = rows
        kernels.rebuild(self.table, self.rows.view(np.uint64), first, n_rows, self.width)
        self.copy_buckets(COPIED_A_ROW * (n_rows - first))

    def compact(self, keep: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Drop rows, and the features derived from them; move the remaining rows together, in order.

        Weights don't change; every row is dirty afterwards.

        Parameters
        ----------
        keep : array of bool
            Whether to keep each row.

        Returns
        -------
        array of int64
            The new slot of each row; -1 for a dropped row.
        """
        slots = np.empty(len(self), np.int64)
        kernels.compact(keep, slots, self.arrays, self.width)
        self.table[:] = 0
        self.former, self.sizes[COPIED] = np.zeros(0, np.uint64), 0
        kernels.rebuild(self.table, self.rows.view(np.uint64), 0, len(self), self.width)
        self.dirty[: len(self)] = 1
        return slots


def hash_of(name: bytes, keys: NDArray[np.uint64]) -> int:
    """Return the keyed hash of a name (see `learner.kernels.hashing`)."""
    return int(kernels.hash_name(np.frombuffer(name, np.uint8), keys))


def hash_keys(
    seed: bytes, labels: tuple[str, str] | None = None, target_range: tuple[float, float] | None = None
) -> NDArray[np.uint64]:
    """Return the hash's keys for a model's secret seed, and what its targets must be: two labels or a range, if it has any.

    Parameters
    ----------
    seed : bytes
        At least 16 secret bytes.
    labels : (negative, positive), optional
        The application's names for the targets -1 and +1.
    target_range : (low, high), optional
        The range of targets that are numbers.
    """
    keys: NDArray[np.uint64] = np.zeros(layout.N_KEYS, np.uint64)
    digest = hashlib.blake2b(seed, digest_size=8, person=b"learner").digest()
    keys[layout.KEY_BLOCK] = (1 << 32) + int.from_bytes(digest, "little") % (kernels.PRIME - (1 << 32))
    keys[layout.CONSTANT_HASH] = hash_of(layout.CONSTANT_NAME.encode(), keys)
    for place, label in zip((layout.LABEL_NEGATIVE, layout.LABEL_POSITIVE), labels or (), strict=False):
        keys[place] = hash_of(label.encode(), keys)
    numbers = label_numbers(*labels) if labels else target_range
    if numbers:
        keys[layout.NEGATIVE_NUMBER :] = np.array(numbers, np.float64).view(np.uint64)
    return keys


def _larger(array: NDArray[Any], used: int, needed: int, most: int) -> NDArray[Any]:
    """Return a copy of the first numbers of an array, with zeros after them, for at least the numbers needed.

    A large one has room for three quarters of the machine's memory, unless the system refuses: an address takes no memory until
    something is written there.
    """
    n = wanted = min(_in_lines(max(needed, len(array) * 3 // 2)), most)
    if n * array.itemsize >= MIN_RESERVED:
        machine = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        wanted = max(n, min(_in_lines(machine // 4 * 3 // array.itemsize), most))
    try:
        larger = _aligned(wanted, array.dtype)
    except MemoryError:
        larger = _aligned(n, array.dtype)
    larger[:used] = array[:used]
    return larger


def _in_lines(n: int) -> int:
    """Return a number of numbers rounded up to a multiple of 16, the numbers of a cache line of float32s."""
    return -(-n // 16) * 16


def _aligned(n: int, dtype: Any = np.float32) -> NDArray[Any]:
    """Return n zeros, the first of which starts a cache line; of half a huge page or more, a huge page.

    The features of an example lie all over the array. With small pages the processor would look for many of their addresses.
    """
    size = np.dtype(dtype).itemsize
    line, room = (HUGE_PAGE, 2 * HUGE_PAGE) if 2 * n * size >= HUGE_PAGE else (64, 64)
    raw = np.zeros(n + room // size, dtype)
    start = -raw.ctypes.data % line // size
    return raw[start : start + n]
