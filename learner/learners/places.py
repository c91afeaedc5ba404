"""The numbers of a state that are places in its arrays: compiled code checks no bounds, so they are checked before.

Whatever a learner has learned is within the bounds. A state that was put together otherwise, such as a mean of two, may not be.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learner import layout
from learner.errors import StoreError
from learner.kernels.derived import N_TAKEN

__all__ = ["require_places", "require_rows"]

# rows of ``interactions``; a pair's code is ``i * N_PLACES + j``
N_PLACES = 1 + layout.MAX_BINNED + layout.MAX_SWITCHES


def require_places(state: Mapping[str, NDArray[Any]]) -> None:
    """Make sure that the places in a state's arrays beside the rows are those of something.

    Raises
    ------
    StoreError
        When one isn't.
    """
    totals, n_rows = state["class_totals"] if "class_totals" in state else state["totals"][None], len(state["rows"])
    n_dense, n_switches = totals[:, [layout.N_DENSE]], totals[:, [layout.N_SWITCHES]]
    _require_whole("numbers of dense features", n_dense, layout.MAX_DENSE)
    _require_whole("numbers of switches", n_switches, layout.MAX_SWITCHES)
    _require_whole("rows of constants", totals[:, layout.CONSTANT_ROW], n_rows)
    places = 1 + np.arange(int(n_dense.max(initial=0)))
    slots = np.where(places <= n_dense, totals[:, layout.DENSE_SLOTS + places], 0.0)
    _require_whole("slots of dense features", slots, n_rows - 1)
    if "samples" in state:
        _require_whole("numbers of sampled values", state["samples"][:, :, N_TAKEN], layout.N_SAMPLES)
        interactions = state["class_interactions"] if "class_interactions" in state else state["interactions"][None]
        _require_pairs(interactions[:, :1, 1 : 1 + 2 * layout.N_PAIRS], n_dense[:, None], n_switches[:, None])


def _require_pairs(codes: NDArray[Any], n_dense: NDArray[Any], n_switches: NDArray[Any]) -> None:
    """Make sure that pairs are of a dense feature, and of an earlier one or a switch (see `learner.kernels.interactions`)."""
    _require_whole("codes of pairs", codes, N_PLACES**2 - 1)
    i, j = np.divmod(codes, N_PLACES)
    is_known = (j > 0) & (j <= n_dense) & (j <= layout.MAX_BINNED)
    is_known &= np.where(i > layout.MAX_BINNED, i <= layout.MAX_BINNED + n_switches, (j < i) & (i <= n_dense))
    _require("pairs of dense features and switches", codes, is_known | (codes == 0.0))


def require_rows(rows: NDArray[np.float32], names: NDArray[np.uint8]) -> None:
    """Make sure that the places in rows are those of something: places of dense features, names, and parents before a row.

    Raises
    ------
    StoreError
        When one isn't.
    """
    words = np.ascontiguousarray(rows).view(np.uint32)
    derived = words[:, layout.DENSE] >= layout.DERIVED
    places = words[~derived, layout.DENSE] & layout.PLACE_MASK
    _require(f"places up to {layout.MAX_DENSE}", places, places <= layout.MAX_DENSE)
    parents = words[derived][:, [layout.NAME, layout.MEAN]]
    _require("parents before the rows derived of them", parents, parents < np.flatnonzero(derived)[:, None])
    starts = words[~derived, layout.NAME].astype(np.int64)
    _require(f"names within {len(names)} bytes", starts, starts + 2 <= len(names))
    ends = starts + 2 + names[starts] + (names[starts + 1].astype(np.int64) << 8)
    _require(f"names within {len(names)} bytes", ends, ends <= len(names))


def _require_whole(what: str, numbers: NDArray[Any], most: int) -> None:
    is_within = (numbers >= 0.0) & (numbers <= most) & (numbers == np.floor(numbers))
    _require(f"{what} from 0 to {most}", numbers, is_within)


def _require(what: str, numbers: NDArray[Any], are_right: NDArray[np.bool_]) -> None:
    if not are_right.all():
        raise StoreError(f"state must have {what} (got {numbers[~are_right][0]:.10g})")
