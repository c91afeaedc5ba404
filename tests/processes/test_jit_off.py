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
from learner.model import Model
from tests.unit.streams import SEED, mixed, new, pack, products, stream

ROOT = Path(__file__).parent.parent.parent
UNIT = "tests/unit"
NEURAL = "learners/test_neural.py::test_one_example_is_learned_as_the_graph_and_adagrad_say"
LEARNERS = [f"learners/test_{name}.py" for name in ("mixture", "finite", "reasons", "weights", "optimizer")]
TESTS = ["kernels", *LEARNERS, NEURAL, "test_model.py", "test_explaining.py", "test_saving.py"]
LEARN = "from tests.processes.test_jit_off import learn; import json; print(json.dumps(learn()))"

pytestmark = pytest.mark.skipif(not kernels.JIT, reason="the JIT is off already")


def learn():
    """Return the scores and weights of 200 mixed examples, the scores of a neural head, and the hashes of some names."""
    numbers = {}
    for loss in LOSSES:
        model = new(loss)
        numbers[f"scores of {loss}"] = model.learn_packed(pack(*stream(mixed, loss, 200))).scores.tolist()
        numbers[f"weights of {loss}"] = model.weights.array().tolist()
    head = Model(neural=[5, 4], seed=SEED)
    numbers["scores of a head"] = head.learn_packed(b"".join(products(60))).scores.tolist()
    keys = hash_keys(SEED, ("ham", "spam"))
    hashes = [hash_of(name * n, keys) for name in (b"a", b"\xff\0", b"abcdefg") for n in (1, 2, 5, 30)]
    return {"numbers": numbers, "hashes": hashes}


def run(*command):
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
def test_the_tests_pass_with_the_jit_off():
    """Those of the kernels and of what calls them; every kind of head is as the graph says."""
    tests = [f"{UNIT}/{name}" for name in TESTS]
    done = run("-W", "error::RuntimeWarning", "-m", "pytest", *tests, "-p", "no:cacheprovider", "--no-header", "-x")
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert int(done.stdout.rpartition(" passed")[0].split()[-1]) > 300


def test_the_jit_changes_no_score():
    done = run("-W", "ignore", "-c", LEARN)
    assert done.returncode == 0, done.stderr
    slow, quick = json.loads(done.stdout), learn()
    assert slow["hashes"] == quick["hashes"]
    assert slow["numbers"].keys() == quick["numbers"].keys()
    for name, numbers in quick["numbers"].items():
        assert np.isfinite(numbers).all()
        tolerance = 1e-4 if name == "scores of a head" else 1e-5 * np.abs(numbers).max()
        np.testing.assert_allclose(slow["numbers"][name], numbers, rtol=1e-5, atol=tolerance, err_msg=name)
