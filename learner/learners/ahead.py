"""Scans examples in a thread of their own while the learner learns those before them: see `learner.kernels.ahead`."""

import os
import threading
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learner import kernels
from learner.kernels import records
from learner.kernels.ahead import N_SCANNED, new_block, no_block
from learner.learners.weights import WeightDict

__all__ = ["NO_BLOCK", "Block", "ReadAhead", "pays", "scan"]

Block = tuple[NDArray[Any], ...]  # a `learner.kernels.ahead.Block` as a plain tuple, as the loops take it
NO_BLOCK: Block = no_block()
FIRST = 128  # examples in the first block, for which the learner waits; the next ones have twice as many, up to `CHUNK`
MIN_BYTES = 1 << 17  # with fewer the thread costs more than it saves


def pays(n_bytes: int) -> bool:
    """Tell whether reading so many bytes ahead saves time: there are enough of them, and there is a second processor."""
    return n_bytes >= MIN_BYTES and n_processors() > 1


def n_processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def scan(buffer: NDArray[np.uint8], position: int, n: int, task: int, weight_dict: WeightDict, block: Block) -> int:
    """Scan at most so many examples from a position on into a block; return the position after them."""
    keys, table, width = weight_dict.keys, weight_dict.arrays, weight_dict.width
    end: int = kernels.scan_block(buffer, position, n, task, keys, table, width, records.plain_work(), block)
    return end


class ReadAhead:
    """A thread that scans the examples of a buffer block by block, until it ends or is closed.

    Parameters
    ----------
    buffer : uint8 array
        Examples that follow one another.
    task : int
        The code of the learner's task.
    weight_dict : WeightDict
        The learner's, in which rows are looked for while it changes.
    """

    def __init__(self, buffer: NDArray[np.uint8], task: int, weight_dict: WeightDict) -> None:
        self._buffer, self._task, self._weight_dict = buffer, task, weight_dict
        self._end, self._block = 0, NO_BLOCK
        self._scanned: SimpleQueue[tuple[int, Block]] = SimpleQueue()
        self._free: SimpleQueue[Block | None] = SimpleQueue()
        for _ in range(2):
            self._free.put(new_block())
        self._thread = threading.Thread(target=self._scan, name="read-ahead", daemon=True)
        self._thread.start()

    def at(self, position: int) -> tuple[NDArray[np.uint8], Block]:
        """Return the bytes up to the end of the block that begins at a position, or has it, and the block."""
        while self._end <= position < len(self._buffer):
            if self._block is not NO_BLOCK:
                self._free.put(self._block)
            self._end, self._block = self._scanned.get()
        return self._buffer[: self._end], self._block

    def close(self) -> None:
        """End the thread."""
        self._free.put(None)
        self._thread.join()

    def _scan(self) -> None:
        position, n = 0, FIRST
        try:
            while position < len(self._buffer) and (block := self._free.get()):
                position = scan(self._buffer, position, n, self._task, self._weight_dict, block)
                if not block[0][0, N_SCANNED]:
                    break  # as it is with arrays
                self._scanned.put((position, block))
                n = min(2 * n, records.CHUNK)
        finally:  # whatever isn't scanned, the learner reads
            self._scanned.put((len(self._buffer), NO_BLOCK))
