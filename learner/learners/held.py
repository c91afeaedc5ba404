"""The examples that a learner holds back until it learns them: see `learner.kernels.held`."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learner import layout
from learner.errors import StoreError
from learner.kernels import held

__all__ = ["Held"]

FIRST_ROOM = 1 << 8  # features
N_NUMBERS = 3


class Held:
    """Held examples, and the room for more.

    Parameters
    ----------
    n_inputs : int
        The number of the mixer's inputs.
    n_classes : int
        The number of classes of a multi-class model, which may grow; else 1.
    """

    def __init__(self, n_inputs: int, n_classes: int = 1) -> None:
        self._n_classes = n_classes
        self._sizes = np.zeros(held.N_SIZES, np.int64)
        self._starts, self._lengths = np.zeros((2, held.N_SLOTS), np.int64)
        self._numbers = np.zeros((held.N_SLOTS, N_NUMBERS))
        self._inputs = np.zeros((held.FIRST_LONG, n_classes, n_inputs), np.float32)
        self._hashes = np.zeros((2, FIRST_ROOM), np.uint64)
        self._values = np.zeros((2, FIRST_ROOM))

    def __len__(self) -> int:
        return int(self._sizes[held.N_SHORT] + self._sizes[held.N_LONG])

    @property
    def plain(self) -> tuple[NDArray[Any], ...]:
        """The argument of the loops: a `learner.kernels.records.Held` as a plain tuple."""
        return self._sizes, self._starts, self._lengths, self._numbers, self._inputs, self._hashes, self._values

    def grow(self, room: int = 0) -> None:
        """Double the room for features, or make it at least so large."""
        n = max(2 * self._hashes.shape[1], room)
        self._hashes = _widened(self._hashes, n)
        self._values = _widened(self._values, n)

    def add_classes(self, n: int) -> None:
        """Make room for the inputs of more classes; the room grows by half, so that many classes may come one by one."""
        self._n_classes += n
        n_slots, room, n_inputs = self._inputs.shape
        if self._n_classes > room:
            inputs = np.zeros((n_slots, max(self._n_classes, room + room // 2), n_inputs), np.float32)
            inputs[:, :room] = self._inputs
            self._inputs = inputs

    # ---- state in and out ----
    def _slots(self) -> NDArray[np.int64]:
        n_short, n_long = self._sizes[[held.N_SHORT, held.N_LONG]]
        return np.concatenate([np.arange(n_short), held.FIRST_LONG + np.arange(n_long)])

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the held examples as arrays: see `learner.layout`."""
        slots = self._slots()
        lengths = self._lengths[slots]
        ends = np.cumsum(lengths)
        at = np.arange(lengths.sum()) + np.repeat(self._starts[slots] - (ends - lengths), lengths)
        side = self._sizes[held.SIDE]
        features = np.stack([self._hashes[side, at], self._values[side, at].view(np.uint64)], axis=1)
        n_short = int(self._sizes[held.N_SHORT])
        return {
            "held": np.column_stack([self._numbers[slots], lengths]),
            "held_features": features,
            "held_inputs": self._inputs[:n_short, : self._n_classes].copy(),
        }

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Replace the held examples by those of a state.

        Raises
        ------
        StoreError
            When the arrays don't fit each other or the learner.
        """
        examples, features, inputs = state["held"], state["held_features"], state["held_inputs"]
        n_short, n_long = len(inputs), len(examples) - len(inputs)
        fits = examples.shape[1:] == (N_NUMBERS + 1,) and inputs.shape[1:] == (self._n_classes, self._inputs.shape[2])
        if not fits or not 0 <= n_short <= layout.MAX_SHORT or not 0 <= n_long <= layout.MAX_LONG:
            raise StoreError(f"state 'held' must fit the learner (got {examples.shape} and {inputs.shape})")
        lengths = examples[:, N_NUMBERS].astype(np.int64)
        n = int(lengths.sum())
        if features.shape != (n, 2):
            raise StoreError(f"state 'held_features' must have the shape {(n, 2)} (got {features.shape})")
        self._sizes[:] = 0
        self._sizes[[held.N_SHORT, held.N_LONG, held.N_FEATURES, held.END]] = n_short, n_long, n, n
        slots = self._slots()
        self._numbers[slots], self._lengths[slots] = examples[:, :N_NUMBERS], lengths
        self._starts[slots] = np.cumsum(lengths) - lengths
        self._inputs[:n_short, : self._n_classes] = inputs
        if n > self._hashes.shape[1]:
            self.grow(n)
        self._hashes[0, :n], self._values[0, :n] = features[:, 0], features[:, 1].view(np.float64)


def _widened(array: NDArray[Any], n: int) -> NDArray[Any]:
    widened = np.zeros((2, n), array.dtype)
    widened[:, : array.shape[1]] = array
    return widened
