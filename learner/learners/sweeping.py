"""Dropping features: those that a full weight dict has to drop, and those that somebody wants erased."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from learner import layout
from learner.errors import LearnerError, show
from learner.learners.weights import WeightDict, hash_of

if TYPE_CHECKING:
    from learner.learners.protocol import Learner

__all__ = ["erase", "sweep"]


def sweep(learner: "Learner") -> None:
    """Drop the least useful features, a tenth of `max_features`, and with L1 those whose weights are all zero.

    A feature's usefulness is the size of its weight (`Learner.effects`) times its recent count. Counts fade with every
    sweep, so a feature that no longer occurs is dropped in the end. The constants, the dense numbers, and the parents of
    derived features that are kept are never dropped. All classes of a multi-class model share the rows; each has a constant
    and dense numbers of its own. The compiled loop asks for a sweep (see `learner.kernels.room.wants_sweep`) at a
    moment that depends on the learned state alone.
    """
    weight_dict, totals, n = learner.weight_dict, learner.totals, len(learner.weight_dict)
    words, derived = weight_dict.matrix.view(np.uint32), weight_dict.derived
    protected: NDArray[np.bool_] = (words[:, layout.DENSE] & layout.PLACE_MASK > 0) & ~derived
    constants = learner.slot_totals[:, layout.CONSTANT_ROW].astype(np.int64)
    protected[constants[constants > 0] - 1] = True
    keep = np.ones(n, np.bool_)
    if learner.spec.l1:
        keep = protected | learner.has_weight(weight_dict.matrix)
        keep[words[derived & keep][:, [layout.NAME, layout.MEAN]]] = True  # the parents of kept derived features
    if learner.spec.max_features:
        _drop_least_useful(learner, keep, protected)
    learner.held.drop(_drop(learner, keep))
    totals[layout.SWEEPS] += 1
    totals[layout.EVICTED] += n - len(weight_dict)
    totals[layout.SWEPT_ROWS] = len(weight_dict)


def _drop_least_useful(learner: "Learner", keep: NDArray[np.bool_], protected: NDArray[np.bool_]) -> None:
    """Mark in `keep` the features to drop so that a tenth of the rows, and of the bytes of names, becomes free."""
    weight_dict, n = learner.weight_dict, len(keep)
    words, derived = weight_dict.matrix.view(np.uint32), weight_dict.derived
    counts = words[:, layout.COUNT] - weight_dict.aged[:n]
    usefulness = learner.effects(slice(None)) * counts
    for parent in (layout.NAME, layout.MEAN):  # a feature is at least as useful as any feature derived from it
        np.maximum.at(usefulness, words[derived, parent], usefulness[derived])
    usefulness[~keep], usefulness[protected] = 0.0, np.inf
    order = np.argsort(usefulness, kind="stable")[: n - np.count_nonzero(protected)]
    bounds = weight_dict.sizes[2:4]
    rows_left, bytes_left = (bounds - bounds // layout.EVICTED_SHARE).tolist()
    freed = np.cumsum(weight_dict.name_lengths()[order])
    n_dropped = max(n - rows_left, int(np.searchsorted(freed, weight_dict.sizes[1] - bytes_left)) + 1)
    keep[order[:n_dropped]] = False
    weight_dict.aged[:n] += layout.FORGOTTEN_SHARE * counts


def _drop(learner: Any, keep: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Drop rows, and the features derived from them; return the new slot of each row, or -1. Held examples don't know yet."""
    weight_dict, n = learner.weight_dict, len(keep)
    slots: NDArray[np.int64] = weight_dict.compact(keep)
    if len(weight_dict.aged):
        aged = weight_dict.aged[:n][slots >= 0]
        weight_dict.aged[:n] = 0
        weight_dict.aged[: len(aged)] = aged
    for own in learner.slot_totals:
        places = slice(layout.DENSE_SLOTS + 1, layout.DENSE_SLOTS + 1 + int(own[layout.N_DENSE]))
        own[places] = slots[own[places].astype(np.int64)]
        if own[layout.CONSTANT_ROW]:
            own[layout.CONSTANT_ROW] = slots[int(own[layout.CONSTANT_ROW]) - 1] + 1
    return slots


def erase(learner: Any, is_meant: Callable[[str], bool]) -> tuple[set[str], int]:
    """Erase features: their names, rows, derived features, and their part in held examples. No other weight changes.

    Parameters
    ----------
    learner : Learner
        A learner of any kind.
    is_meant : callable
        Takes a feature's name; returns whether to erase it. Derived features go with their parents.

    Returns
    -------
    (set of str, int)
        The names erased, and how many rows that were, with those of derived features.

    Raises
    ------
    LearnerError
        When the feature is the constant or a dense number, on which the weights of others depend.
    """
    weight_dict: WeightDict = learner.weight_dict
    words, derived = weight_dict.matrix.view(np.uint32), weight_dict.derived
    named = [(slot, weight_dict.name(slot)) for slot in np.flatnonzero(~derived).tolist()]
    meant = [(slot, name) for slot, name in named if is_meant(name)]
    for slot, name in meant:
        if name == layout.CONSTANT_NAME or words[slot, layout.DENSE] & layout.PLACE_MASK:
            raise LearnerError(
                f"feature to erase must be no number that most examples have (got {show(name)}): it is nobody's alone, and "
                "other weights depend on it; create a model without it"
            )
    names = {name for _, name in meant}
    keep = np.ones(len(weight_dict), np.bool_)
    keep[[slot for slot, _ in meant]] = False
    n = len(weight_dict)
    if names:
        learner.held.drop(_drop(learner, keep), [hash_of(name.encode(), weight_dict.keys) for name in names])
    return names, n - len(weight_dict)
