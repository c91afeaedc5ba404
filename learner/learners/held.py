"""The examples that a learner holds back until it learns them: see `learner.kernels.held`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learner import layout
from learner.errors import StoreError
from learner.kernels import held

__all__ = ["Held"]

FIRST_ROOM = 1 << 9  # features
N_NUMBERS = 3


class Held:
    """Held examples, and the room for more.

    Parameters
    ----------
    n_inputs : int
        The number of the mixer's inputs.
    n_classes : int, optional
        The number of classes of a multi-class model, which may grow. Then the hashes of features are held, else their rows.
    """

    def __init__(self, n_inputs: int, n_classes: int | None = None) -> None:
        self._by_rows, self._n_classes = n_classes is None, 1 if n_classes is None else n_classes
        self._sizes = np.zeros(held.N_SIZES, np.int64)
        self._slots = np.arange(held.N_SLOTS)
        self._spans = np.zeros((held.N_SLOTS, held.N_SPANS), np.int64)
        self._numbers = np.zeros((held.N_SLOTS, N_NUMBERS))
        self._inputs = np.zeros((held.FIRST_LONG, self._n_classes, n_inputs), np.float32)
        self._features = np.zeros((2, FIRST_ROOM), np.uint64)
        self._values = np.zeros((2, FIRST_ROOM))

    def __len__(self) -> int:
        return int(self._sizes[held.N_SHORT] + self._sizes[held.N_LONG])

    @property
    def plain(self) -> tuple[NDArray[Any], ...]:
        """The argument of the loops: a `learner.kernels.records.Held` as a plain tuple."""
        return self._sizes, self._slots, self._spans, self._numbers, self._inputs, self._features, self._values

    def grow(self, room: int = 0) -> None:
        """Double the room for features, or make it at least so large."""
        n = max(2 * self._features.shape[1], room)
        self._features = _widened(self._features, n)
        self._values = _widened(self._values, n)

    def add_classes(self, n: int) -> None:
        """Make room for the inputs of more classes; the room grows by half, so that many classes may come one by one."""
        self._n_classes += n
        n_slots, room, n_inputs = self._inputs.shape
        if self._n_classes > room:
            inputs = np.zeros((n_slots, max(self._n_classes, room + room // 2), n_inputs), np.float32)
            inputs[:, :room] = self._inputs
            self._inputs = inputs

    # ---- features ----
    def _occupied(self) -> NDArray[np.int64]:
        """Return the slots of the held examples, in their order in the pools."""
        n_short, n_long = self._sizes[[held.N_SHORT, held.N_LONG]]
        return np.concatenate([self._slots[:n_short], self._slots[held.FIRST_LONG :][:n_long]])

    def _gather(self) -> tuple[NDArray[np.int64], NDArray[Any], NDArray[Any]]:
        """Return the numbers of the examples' features, (n, 2), all and the derived ones or -1; and all features and values."""
        spans = self._spans[self._occupied()]
        lengths, side = spans[:, held.N], self._sizes[held.SIDE]
        at = np.arange(lengths.sum()) + np.repeat(spans[:, held.START] - (np.cumsum(lengths) - lengths), lengths)
        return spans[:, [held.N, held.N_DERIVED]], self._features[side, at], self._values[side, at]

    def _spread(self, lengths: NDArray[np.int64], features: NDArray[Any], values: NDArray[Any]) -> None:
        """Replace the features of the held examples by what `_gather` returns."""
        n, slots = len(features), self._occupied()
        ends = np.cumsum(lengths[:, 0])
        self._spans[:] = 0
        self._spans[slots] = np.column_stack([ends - lengths[:, 0], lengths[:, 0], lengths])
        self._sizes[[held.N_FEATURES, held.SIDE, held.END]] = n, 0, n
        if n > self._features.shape[1]:
            self.grow(n)
        self._features[0, :n], self._values[0, :n] = features, values

    def drop(self, slots: NDArray[np.int64], hashes: Sequence[int] = ()) -> None:
        """Follow rows that were moved and dropped.

        An example that holds rows has lost the features dropped, also if their names get rows again before it is learned. One
        that holds hashes keeps them: when it is learned, each class leaves out the features without a row then.

        Parameters
        ----------
        slots : array of int64
            For each former slot the new one, or -1.
        hashes : sequence of int
            Those of features to forget, for a multi-class model, which holds hashes.
        """
        lengths, features, values = self._gather()
        example = np.repeat(np.arange(len(lengths)), lengths[:, 0])
        if self._by_rows:
            features = slots[features.astype(np.int64)]
            kept = features >= 0
        else:
            kept = ~np.isin(features, np.array(hashes, np.uint64))
        is_derived = np.arange(len(kept)) >= np.repeat(np.cumsum(lengths[:, 0]) - lengths[:, 1], lengths[:, 0])
        n_all, n_derived = (np.bincount(example[kept & which], minlength=len(lengths)) for which in (True, is_derived))
        n_derived[lengths[:, 1] < 0] = -1
        self._spread(np.column_stack([n_all, n_derived]), features[kept], values[kept])

    # ---- state in and out ----
    def state(self) -> dict[str, NDArray[Any]]:
        """Return the held examples as arrays: see `learner.layout`."""
        slots, n_short = self._occupied(), int(self._sizes[held.N_SHORT])
        lengths, features, values = self._gather()
        return {
            "held": np.column_stack([self._numbers[slots], lengths]),
            "held_features": np.stack([features, values.view(np.uint64)], axis=1),
            "held_inputs": self._inputs[slots[:n_short], : self._n_classes],
        }

    def load(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Replace the held examples by those of a state, which has their rows.

        Raises
        ------
        StoreError
            When the arrays don't fit each other or the learner.
        """
        if not {"held", "held_features", "held_inputs"} <= state.keys():
            raise StoreError("state must have the examples that are held back (got none)")
        examples, features, inputs = state["held"], state["held_features"], state["held_inputs"]
        n_short, n_long = len(inputs), len(examples) - len(inputs)
        fits = examples.shape[1:] == (N_NUMBERS + 2,) and inputs.shape[1:] == (self._n_classes, self._inputs.shape[2])
        if not fits or not 0 <= n_short <= layout.MAX_SHORT or not 0 <= n_long <= layout.MAX_LONG:
            raise StoreError(f"state 'held' must fit the learner (got {examples.shape} and {inputs.shape})")
        lengths = examples[:, N_NUMBERS:].astype(np.int64)
        n = int(lengths[:, 0].sum())
        if features.shape != (n, 2):
            raise StoreError(f"state 'held_features' must have the shape {(n, 2)} (got {features.shape})")
        if (lengths[:, 1] < held.UNSCALED).any() or (lengths[:, 0] < lengths.clip(0)[:, 1]).any():
            raise StoreError("state 'held' must have no more derived features than features")
        if (examples[:, N_NUMBERS - 1] > self._n_classes).any():
            raise StoreError(f"state 'held' must be of {self._n_classes} classes at most")
        if self._by_rows and features[:, 0].max(initial=0) >= max(len(state["rows"]), 1):
            raise StoreError(f"state 'held_features' must have rows below {len(state['rows'])}")
        self._sizes[[held.N_SHORT, held.N_LONG]] = n_short, n_long
        slots = self._occupied()
        self._numbers[slots] = examples[:, :N_NUMBERS]
        self._inputs[slots[:n_short], : self._n_classes] = inputs
        self._spread(lengths, features[:, 0], np.ascontiguousarray(features[:, 1]).view(np.float64))


def _widened(array: NDArray[Any], n: int) -> NDArray[Any]:
    widened = np.zeros((2, n), array.dtype)
    widened[:, : array.shape[1]] = array
    return widened
