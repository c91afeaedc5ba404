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

__all__ = ["NO_BLOCK", "ReadAhead", "pays"]

Block = tuple[NDArray[Any], ...]  # a `learner.kernels.ahead.Block` as a plain tuple, as the loops take it
NO_BLOCK: Block = no_block()
FIRST = 128  # examples in the first block, for which the learner waits; each one after it has twice as many, up to `CHUNK`
MIN_BYTES = 1 << 17  # with fewer the thread costs more than it saves


def pays(n_bytes: int) -> bool:
    """Tell whether reading so many bytes ahead saves time: there are enough of them, and there is a second processor."""
    n_processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return n_bytes >= MIN_BYTES and n_processors > 1


class ReadAhead:
    """A thread that scans the examples of a buffer block by block, until it ends or is closed.

    Parameters
    ----------
    buffer : uint8 array
        Examples that follow one another.
    task, keys
        Of the learner: the task's code, and the keys of its hash.
    """

    def __init__(self, buffer: NDArray[np.uint8], task: int, keys: NDArray[np.uint64]) -> None:
        self._buffer, self._task, self._keys = buffer, task, keys
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
                position = kernels.scan_block(
                    self._buffer, position, n, self._task, self._keys, records.plain_work(), block
                )
                if not block[0][0, N_SCANNED]:
                    break  # as it is with arrays
                self._scanned.put((position, block))
                n = min(2 * n, records.CHUNK)
        finally:  # whatever isn't scanned, the learner reads
            self._scanned.put((len(self._buffer), NO_BLOCK))
