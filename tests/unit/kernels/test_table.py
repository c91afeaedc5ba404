"""The table of hashes: numbered names crowd it no more than random ones."""

import numpy as np
import pytest

from learner import kernels
from learner.model import Model


@pytest.mark.skipif(not kernels.JIT, reason="too many names for plain Python")
@pytest.mark.parametrize("pattern", ["feature_%d", "w%d", "%06d", "user=%d|item"])
def test_numbered_names_are_spread_over_the_table_for_every_seed(pattern):
    """To miss, a search goes through 5.7 cells on average in a table 69 % full of random hashes (Knuth, 1973, section 6.4)."""
    names = [pattern % i for i in range(45_000)]
    probes = []
    for seed in range(16):
        model = Model(seed=b"sixteen bytes %02d" % seed)
        for start in range(0, len(names), 1000):
            model.learn_one(dict.fromkeys(names[start : start + 1000], 1), 1 if start % 2000 else -1)
        table = model.learner.weight_dict.table
        free = np.flatnonzero(table == 0)
        runs = np.diff(np.append(free, free[0] + len(table)))
        assert 0.68 < 1 - len(free) / len(table) < 0.7
        probes.append(float((runs * (runs + 1) / 2).sum()) / len(table))
    assert max(probes) < 8
