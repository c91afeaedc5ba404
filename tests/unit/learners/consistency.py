"""A model's dict of weights held against itself."""

import numpy as np

from learner import kernels, layout


def check_dict(model):
    """Hold a model's dict against itself: every name leads to its row, every derived feature to its parts."""
    store = model.learner.weight_dict
    names, words = list(store), store.matrix.view(np.uint32)
    assert len(set(names)) == len(names)
    for slot in np.flatnonzero(~store.derived).tolist():
        assert store.slot(names[slot]) == slot
    for slot in np.flatnonzero(store.derived).tolist():
        first, second = words[slot, [layout.NAME, layout.MEAN]].tolist()
        assert max(first, second) < slot
        assert not store.derived[[first, second]].any()
        h = store.matrix.view(np.uint64)[slot, layout.HASH]
        assert int(kernels.find(store.arrays, h, np.uint64(store.width))) == slot * store.width
    n_dense = int(model.learner.totals[layout.N_DENSE])
    places = model.learner.totals[layout.DENSE_SLOTS + 1 :][:n_dense].astype(int)
    assert words[places, layout.DENSE].tolist() == list(range(1, n_dense + 1))
    assert np.count_nonzero(store.table) == len(store)
    assert not store.rows[len(store) * store.width :].any()
    assert int(store.name_lengths().sum()) == store.sizes[1]
