"""The same source as plain Python: with the JIT off, its tests pass and it learns the same."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from learner import kernels
from learner.learners.weights import hash_keys, hash_of
from learner.losses import LOSSES
from tests.test_kernels import SEED, mixed, new, pack, stream

ROOT = Path(__file__).parent.parent
TESTS = ["test_kernels.py", "test_weights.py", "test_model.py", "test_arrays.py", "test_optimizers.py"]
LEARN = "from tests.test_jit_off import learn; import json; print(json.dumps(learn()))"

pytestmark = pytest.mark.skipif(not kernels.JIT, reason="the JIT is off already")


def learn():
    """Return the scores and weights of 200 mixed examples and the hashes of some names."""
    found = {}
    for loss in LOSSES:
        model = new(loss)
        found[f"scores of {loss}"] = model.learn_packed(pack(*stream(mixed, loss, 200))).scores.tolist()
        found[f"weights of {loss}"] = model.weights.array().tolist()
    keys = hash_keys(SEED, ("ham", "spam"))
    found["hashes"] = [hash_of(name * n, keys) for name in (b"a", b"\xff\0", b"abcdefg") for n in (1, 2, 5, 30)]
    return found


def run(*command):
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90
    )


def test_the_tests_pass_with_the_jit_off():
    tests = [f"tests/{name}" for name in TESTS]
    done = run("-W", "error::RuntimeWarning", "-m", "pytest", *tests, "-p", "no:cacheprovider", "--no-header", "-x")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert int(done.stdout.rpartition(" passed")[0].split()[-1]) > 300


def test_the_jit_changes_no_score():
    done = run("-c", LEARN)
    assert done.returncode == 0, done.stderr
    slow, quick = json.loads(done.stdout), learn()
    assert slow.keys() == quick.keys()
    assert slow["hashes"] == quick["hashes"]
    for name, numbers in quick.items():
        size = np.abs(numbers).max()
        np.testing.assert_allclose(slow[name], numbers, rtol=1e-5, atol=1e-5 * size, err_msg=name)
