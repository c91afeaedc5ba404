"""A model's dict of weights held against itself, and its weights by name."""

import numpy as np

from learner import kernels, layout


def check_dict(model):
    """Hold a model's dict against itself: every name leads to its row, every derived feature to its parts of its own class."""
    learner, store = model.learner, model.learner.weight_dict
    names, classes, words = list(store), store.classes, store.matrix.view(np.uint32)
    assert len(set(zip(names, classes.tolist(), strict=True))) == len(names)
    for slot in np.flatnonzero(~store.derived).tolist():
        assert store.slot(names[slot], int(classes[slot])) == slot
    for slot in np.flatnonzero(store.derived).tolist():
        first, second = words[slot, [layout.NAME, layout.MEAN]].tolist()
        assert max(first, second) < slot
        assert not store.derived[[first, second]].any()
        assert (classes[[first, second]] == classes[slot]).all()
        h = store.matrix.view(np.uint64)[slot, layout.HASH]
        assert int(kernels.find(store.arrays, h, np.uint64(store.width))) == slot * store.width
    for k, totals in enumerate(learner.slot_totals, model.task == "multiclass"):
        n_dense = int(totals[layout.N_DENSE])
        places = totals[layout.DENSE_SLOTS + 1 :][:n_dense].astype(int)
        assert (words[places, layout.DENSE] & layout.PLACE_MASK).tolist() == list(range(1, n_dense + 1))
        constant = int(totals[layout.CONSTANT_ROW]) - 1
        assert {*classes[places].tolist(), *classes[[constant][: constant + 1]].tolist()} <= {k}
        assert constant < 0 or names[constant] == layout.CONSTANT_NAME
    assert np.count_nonzero(store.table) == len(store)
    assert not store.rows[len(store) * store.width :].any()
    assert int(store.name_lengths().sum()) == store.sizes[1]


def every_weight(model):
    """The effective weights by label, None but for many classes, and name."""
    by_label = model.weights if model.task == "multiclass" else {None: model.weights}
    return {
        (label, name): w
        for label, weights in by_label.items()
        for name, w in zip(weights, weights.array(), strict=True)
    }
