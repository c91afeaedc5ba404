"""Scans examples in another thread while the learner learns those before them: see `learner.kernels.ahead`."""

import functools
import os
from concurrent.futures import Future, ThreadPoolExecutor, wait
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
N_FIRST = 256  # examples that the learner reads itself, while the thread wakes and scans so many more; later `CHUNK`
MIN_BYTES = 1 << 20  # with fewer it saves nothing
_spare: list[Block] = []  # blocks that nobody uses: new ones would cost half a millisecond


@functools.cache
def _thread() -> ThreadPoolExecutor:
    """Return the thread that scans, for all learners of the process."""
    return ThreadPoolExecutor(1, "read-ahead")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_thread.cache_clear)  # the child hasn't the thread


def pays(n_bytes: int) -> bool:
    """Tell whether reading so many bytes ahead saves time: there are enough of them, and there is a second processor."""
    return n_bytes >= MIN_BYTES and n_processors() > 1


def n_processors() -> int:
    """Return the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def scan(buffer: NDArray[np.uint8], position: int, n: int, task: int, weight_dict: WeightDict, block: Block) -> int:
    """Scan at most so many examples from a position on into a block; return the position after them."""
    examples, *features = block
    some, work, keys, width = (examples[: 1 + n], *features), records.plain_work(), weight_dict.keys, weight_dict.width
    end: int = kernels.scan_block(buffer, position, task, keys, weight_dict.arrays, width, work, some)
    return end


class ReadAhead:
    """The examples of a buffer, scanned a block ahead of the learner that learns them.

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
        self._blocks = [_spare.pop() if _spare else new_block() for _ in range(2)]
        self._block, self._next, self._n = NO_BLOCK, self._blocks[0], N_FIRST
        self._scan: Future[int] | None = None
        ends = np.zeros(N_FIRST, np.int64)
        self._end = int(ends[-1]) if kernels.boundaries(buffer, ends) == N_FIRST else len(buffer)
        self._go_on()

    def at(self, position: int) -> tuple[NDArray[np.uint8], Block]:
        """Return the bytes up to the end of the block that a position lies in, and the block."""
        while self._end <= position < len(self._buffer):
            self._take()
        return self._buffer[: self._end], self._block

    def close(self) -> None:
        """Wait until the thread writes no more."""
        if self._scan:
            wait([self._scan])
        _spare.extend(self._blocks)

    def _take(self) -> None:
        """Make the next block the current one, and have the one after it scanned; without one the learner reads the rest."""
        block, self._block, self._end = self._next, NO_BLOCK, len(self._buffer)
        end = self._scan.result() if self._scan and not self._scan.exception() else None
        if end is not None and block[0][0, N_SCANNED]:  # of arrays none is scanned
            self._block, self._end, self._n = block, end, min(2 * self._n, records.CHUNK)
            self._next = next(each for each in self._blocks if each is not block)
        self._go_on()

    def _go_on(self) -> None:
        """Have the thread scan what follows the current block, if anything does."""
        self._scan = None
        if self._end < len(self._buffer):
            self._scan = _thread().submit(
                scan, self._buffer, self._end, self._n, self._task, self._weight_dict, self._next
            )
