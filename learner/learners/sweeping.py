"""Bounded memory: which features a full weight dict drops."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from learner import layout

if TYPE_CHECKING:
    from learner.learners.linear import LinearLearner

__all__ = ["sweep"]


def sweep(learner: "LinearLearner") -> None:
    """Drop the least useful features, a tenth of `max_features`, and with L1 those whose weights are all zero.

    A feature's usefulness is the size of its weight (`LinearLearner.effects`) times its recent count. Counts fade with every
    sweep, so a feature that no longer occurs is dropped in the end. The constant, the dense numbers, and the parents of derived
    features that are kept are never dropped. The compiled loop asks for a sweep (see `learner.kernels.room.wants_sweep`) at a
    moment that depends on the learned state alone.
    """
    weight_dict, totals, n = learner.weight_dict, learner.totals, len(learner.weight_dict)
    words, derived = weight_dict.matrix.view(np.uint32), weight_dict.derived
    protected: NDArray[np.bool_] = (words[:, layout.DENSE] & layout.PLACE_MASK > 0) & ~derived
    protected[0] = True  # the constant
    keep = np.ones(n, np.bool_)
    if learner.spec.l1:
        keep = protected | learner.has_weight(weight_dict.matrix)
        keep[words[derived & keep][:, [layout.NAME, layout.MEAN]]] = True  # the parents of kept derived features
    if learner.spec.max_features:
        _drop_least_useful(learner, keep, protected)
    slots = weight_dict.compact(keep)
    learner.held.move(slots)
    if learner.spec.max_features:
        aged = weight_dict.aged[:n][slots >= 0]
        weight_dict.aged[:n] = 0
        weight_dict.aged[: len(aged)] = aged
    places = slice(layout.DENSE_SLOTS + 1, layout.DENSE_SLOTS + 1 + int(totals[layout.N_DENSE]))
    totals[places] = slots[totals[places].astype(np.int64)]
    totals[layout.SWEEPS] += 1
    totals[layout.EVICTED] += n - len(weight_dict)
    totals[layout.SWEPT_ROWS] = len(weight_dict)


def _drop_least_useful(learner: "LinearLearner", keep: NDArray[np.bool_], protected: NDArray[np.bool_]) -> None:
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
