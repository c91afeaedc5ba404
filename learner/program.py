"""A featurizer's program: featurizes many records in msgpack in one call, without a Python object for each feature."""

import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from featurizers import Featurizer
from featurizers.operations import OPERATIONS, Operation, operations
from featurizers.strings import CLASSES
from learner import kernels
from learner.kernels.program.layout import (
    CANNOT,
    LOWER_SHIFT,
    MAX_COLUMNS,
    MAX_PATHS,
    NO_LOWER,
    OPERATION_COLUMNS,
    work_arrays,
)
from learner.packing import pack_plain

__all__ = ["CHUNK", "Program", "Run"]

CHUNK = 1024  # the most records of a call
N_CHARACTERS = 0x1FB00  # with emoji
NO_CHARACTERS: NDArray[np.uint32] = np.zeros(1, np.uint32)
OF_CHARACTERS = {"fraction", "words", "email_parts", "columns"}  # the operations that ask for a character's classes
SLOW = ("words", "character_ngrams", "email_parts", "column_text")  # a call costs less than one of these in Python


class Run(NamedTuple):
    """Records that were featurized, one after another.

    Parameters
    ----------
    start : int
        Where the first one starts in the data.
    packed : bytes
        The features of all of them, or examples with these.
    ends : list of int
        Where each ends in `packed`.
    record_ends : list of int
        Where each record or example ended in the data.
    """

    start: int
    packed: bytes
    ends: list[int]
    record_ends: list[int]


class Program:
    """A featurizer's templates as arrays for the compiled interpreter `learner.kernels.featurize`.

    Parameters
    ----------
    found : sequence of Operation
        What the templates do.
    keys : uint64 array
        The secret of the names' hash.
    """

    def __init__(self, found: Sequence[Operation], keys: NDArray[np.uint64]) -> None:
        rows: list[tuple[Operation, int]] = []
        for operation in found:
            rows.append((operation, len(operation.parts)))
            rows += ((part, 0) for part in operation.parts)
        paths = list(dict.fromkeys(path for operation, _ in rows for path in operation.fields))
        parts = [path.split(".") if path else [] for path in paths]
        texts = list(itertools.chain(*parts, *(operation.texts for operation, _ in rows)))
        starts = list(itertools.accumulate((len(part) for part in parts), initial=0))
        table = np.zeros((len(rows), OPERATION_COLUMNS), np.int64)
        text, number = starts[-1], 0
        for row, (operation, n_parts) in zip(table, rows, strict=True):
            places = [paths.index(path) for path in operation.fields]
            n_texts, n_numbers = len(operation.texts), len(operation.numbers)
            code = OPERATIONS.index(operation.name)
            row[:] = (
                code, places[0], operation.optional, text, n_texts, number, n_numbers, places[-1], n_parts, operation.parses,
            )  # fmt: skip
            text, number = text + n_texts, number + n_numbers
        encoded = [each.encode() for each in texts]
        self.fits = len(paths) <= MAX_PATHS and all(len(operation.parts) <= MAX_COLUMNS for operation in found)
        self.pays_for_one = any(operation.name in SLOW for operation, _ in rows)
        self._arrays = (
            table.ravel(),
            np.array([*zip(starts, map(len, parts), strict=False)], np.int64).ravel(),
            np.array([0, *itertools.accumulate(map(len, encoded))], np.int64),
            np.frombuffer(b"".join(encoded) + bytes(8), np.uint8),  # they are read by words
            np.array(
                [*itertools.chain(*(operation.numbers for operation, _ in rows)), 0.0]
            ),  # so that they are float64
            _characters() if {operation.name for operation, _ in rows} & OF_CHARACTERS else NO_CHARACTERS,
            keys,
        )

    @classmethod
    def of(cls, featurizer: Featurizer | None, keys: NDArray[np.uint64]) -> "Program | None":
        """Return the program of a featurizer, None if it can't be one."""
        found = None if featurizer is None else operations(featurizer)
        program = cls(found, keys) if found else None
        return program if program and program.fits else None

    def run(self, data: bytes, position: int = 0, most: int = CHUNK, are_examples: bool = True) -> Run:
        """Featurize the records that follow one another from a position on, as far as the interpreter can do them.

        Parameters
        ----------
        data : bytes
            Records in msgpack; or examples of records, ``[target, record]`` or ``[target, record, importance]``.
        position : int
            Where the first one starts.
        most : int
            The largest number of records to do.
        are_examples : bool
            Which of both the data has.
        """
        buffer = np.frombuffer(data, np.uint8)
        packed: list[bytes] = []
        ends: list[int] = []
        record_ends: list[int] = []
        start = position
        n_bytes = code = 0
        work = work_arrays()
        while position < len(data) and len(ends) < most and code != CANNOT:
            room = np.empty((2, min(CHUNK, most - len(ends))), np.int64)
            n, position, size, code = kernels.featurize(buffer, position, are_examples, self._arrays, work, room)
            packed.append(work[0][:size].tobytes())
            record_ends += room[0, :n].tolist()
            ends += (room[1, :n] + n_bytes).tolist()
            n_bytes += size
        return Run(start, packed[0] if len(packed) == 1 else b"".join(packed), ends, record_ends)

    def run_each(self, packed: Sequence[bytes], are_examples: bool = True) -> list[bytes]:
        """Return the features of records, or examples with these; empty bytes for what the interpreter can't do.

        Parameters
        ----------
        packed : sequence of bytes
            Each a record, or an example of one, or empty.
        are_examples : bool
            Which of both they are.
        """
        data, places = b"".join(packed), [place for place, each in enumerate(packed) if each]
        found = [b""] * len(packed)
        position = n = 0
        while n < len(places):
            run = self.run(data, position, len(places) - n, are_examples)
            for start, end in itertools.pairwise((0, *run.ends)):
                found[places[n]] = run.packed[start:end]
                n += 1
            position = run.record_ends[-1] if run.ends else position
            if n < len(places):
                position += len(packed[places[n]])
                n += 1
        return found

    def pack(self, record: Any) -> bytes:
        """Return the features of one record in msgpack; empty bytes if the interpreter can't do it."""
        return self.run(pack_plain((record,))[0], most=1, are_examples=False).packed

    def warm(self) -> None:
        """Compile the interpreter, or load it from disk."""
        self.run(b"\xc1")


@functools.cache
def _characters() -> NDArray[np.uint32]:
    """Return for each of the first characters the bits of its classes and, above them, the character that is its lower case.

    There is none for the few characters whose lower case is longer, or depends on others.
    """
    characters = [chr(code) for code in range(N_CHARACTERS)]
    words = np.zeros(N_CHARACTERS, np.uint32)
    for place, (_, belongs) in enumerate(CLASSES.values()):
        words |= np.fromiter(map(belongs, characters), np.uint32, N_CHARACTERS) << np.uint32(place)
    lower = (ord(each) if len(each) == 1 else NO_LOWER for each in map(str.lower, characters))
    lowered = np.fromiter(lower, np.uint32, N_CHARACTERS)
    lowered[ord("\N{GREEK CAPITAL LETTER SIGMA}")] = NO_LOWER
    return words | lowered << np.uint32(LOWER_SHIFT)
