"""What is compiled: no counting of references, few parameters, and work arrays that fit."""

import numpy as np
import pytest

from learner import kernels, layout
from learner.drift import Drift
from learner.kernels import experts, hashing, jit, losses, mixer, records, tasks
from learner.kernels.records import Loss
from learner.learners.weights import hash_keys
from learner.model import Model

SEED = b"sixteen bytes it"
pytestmark = pytest.mark.skipif(not kernels.JIT, reason="needs the JIT")


def test_the_machine_code_of_no_door_counts_references():
    """Nothing on the hot path allocates; numba's runtime, which counts references, would be most of the time."""
    kinds = ({}, {"task": "multiclass"}, {"optimizer": "ftrl"}, {"neural": [5, 4]}, {"max_features": 100})
    for kind in kinds:
        model = Model(seed=SEED, **kind)
        model.warm()
        model.learn_one({"a": 1.0}, 1)
        model.learn_one(np.ones(3), 1)
        model.learn_packed(b"\xc1")
        model.explain_one({"a": 1.0})
        model.losses_packed(b"\xc1")
        assert model.weights["1"]["a"] if "task" in kind else model.weights["a"]
    Drift()
    kernels.boundaries(np.zeros(1, np.uint8), np.zeros(1, np.int64))
    Model(featurizer="text", seed=SEED).learn_one({"text": "a"}, 1)
    machine_code = {path: path.read_bytes() for path in jit.machine_code_folder().rglob("*.nbc")}
    doors = [name for name, value in vars(kernels).items() if isinstance(value, jit.Door)]
    for name in [*doors, "write_weights", "pull_back"]:
        assert any(path.name.startswith(f"{name}-") or f".{name}-" in path.name for path in machine_code), name
    assert not [path.name for path, code in machine_code.items() if b"NRT_" in code]


def test_what_only_compiled_code_calls_runs_as_plain_python_when_python_calls_it():
    totals = Model("poisson", seed=SEED).learner.totals
    assert tasks.unit_and_offset(tasks.CODES["poisson"], totals) == (1.0, 0.0)
    assert losses.derivative(Loss(1, 0.5), 0.0, 1.0) == -0.5
    with pytest.raises(NotImplementedError, match="not usable in pure-python"):  # an intrinsic has no Python
        hashing.hash_name(np.zeros(9, np.uint8), 0, 9, hash_keys(SEED))


def test_no_compiled_function_takes_more_than_eight_parameters():
    """And no record has more than ten fields: what a function reads stands in its records."""
    import ast

    for path in jit.sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert len(node.args.args) <= 8, f"{path.name}: {node.name}"
            if isinstance(node, ast.ClassDef) and any(ast.unparse(base) == "NamedTuple" for base in node.bases):
                assert sum(isinstance(line, ast.AnnAssign) for line in node.body) <= 10, node.name


def test_a_row_is_as_long_as_its_experts_columns_say():
    n_rates = 2
    starts = [experts.column_of(expert, n_rates) for expert in experts.EXPERTS]
    ends = [column + expert.N_COLUMNS for column, expert in zip(starts, experts.EXPERTS, strict=True)]
    assert starts[1:] == ends[:-1]
    assert ends[-1] - starts[0] + 2 * n_rates == experts.n_columns(n_rates)


def test_the_work_arrays_hold_the_inputs_of_the_largest_mixture():
    assert mixer.places(layout.MAX_RATES, 1).end <= layout.MAX_INPUTS == len(records.work().inputs)


def test_work_arrays_are_apart_from_the_state_so_that_models_share_them():
    first, second = Model(seed=SEED), Model("regression", seed=SEED)
    alone = Model(seed=SEED)
    for i in range(200):
        x, y = {f"w{i % 7}": 1.0, "x": i % 11}, 1 if i % 3 else -1
        first.learn_one(x, y)
        second.learn_one(x, 10.0 * i)
        second.score_one(x)
    for i in range(200):
        alone.learn_one({f"w{i % 7}": 1.0, "x": i % 11}, 1 if i % 3 else -1)
    assert all(first.state()[name].tobytes() == array.tobytes() for name, array in alone.state().items())
