"""Whatever comes, a model stays finite, and nothing in it grows for ever."""

import math
import random

import numpy as np
import pytest

from learner import kernels, layout
from learner.layout import PARTS
from learner.losses import LOSSES
from learner.model import Model
from tests.unit.streams import SEED, new, pack


@pytest.mark.parametrize("loss", LOSSES)
def test_a_model_is_finite_within_what_float32_holds(loss):
    """Values from 1e-15 to 1e15 beside each other, importances from 1e-6 to 1e6, one target first."""
    values = [1.0, 1e-15, -1e15, 1e6, -1e-6, 0.0, 3.0]
    ys = (1, 0) if loss == "poisson" else (1, -1)
    assert_finite_after([({"a": x}, y, 10.0**k) for y in ys for k in (0, 6, -6) for x in values * 2], loss)


@pytest.mark.parametrize("x", [1e-300, 1e-46, -1e-60, 1e-30, -1.1e-30, 1e-22])
def test_a_tiny_value_leaves_a_finite_model(x):
    assert_finite_after([({"a": value}, y) for value in (x, 2 * x, x) for y in (1, -1)] * 8)
    assert_finite_after([({"a": x}, 1)] * 12)


@pytest.mark.parametrize("x", [1e300, 1e39, 1e30, -1e30, -1e25, 1e19])
def test_a_huge_value_leaves_a_finite_model(x):
    assert_finite_after([({"a": value}, 1) for value in (1.0, x, 1.0, x, 2.0)] * 3)
    assert_finite_after([({"a": value}, 1) for value in (x, -x)] * 30 + [({"a": 1e-30}, -1)] * 30)


@pytest.mark.parametrize("y", [1e200, 1e30, 1e-30, 1e-300])
def test_a_huge_or_tiny_target_leaves_a_finite_model(y):
    for loss in ("squared", "quantile", "poisson"):  # of which the last refuses those below 0
        assert_finite_after([({"a": 1}, target) for target in (y, -y, 1.0, 2.0, y)] * 5, loss)
        assert_finite_after([({"a": 1}, target) for target in (y, -y, 3 * y)] * 5, loss)


@pytest.mark.parametrize("seed", range(6))
def test_counts_of_any_size_after_zeros_alone_leave_a_finite_model(seed):
    r, examples = random.Random(seed), []
    for i in range(300 if kernels.JIT else 60):
        y = 0 if i < 40 else r.choice([0, 0, 1, 3, 10.0 ** r.uniform(-30, 30) if seed % 2 else 1e9])
        importance = r.choice([1, 1, 1e-300, 1e-6, 1e6, 0]) if seed > 2 else 1
        examples.append(({"a": r.gauss(0, 1), f"w{r.randint(0, 9)}": 10.0 ** r.uniform(-20, 20)}, y, importance))
    assert_finite_after(examples, "poisson")


@pytest.mark.parametrize("importance", [1e100, 1e300, 1e6, 1e-300])
def test_a_huge_or_tiny_importance_leaves_a_finite_model(importance):
    for loss in LOSSES:
        assert_finite_after([({"a": 1}, y, k) for k in (1.0, importance, 1.0) for y in (-1, 1, 1)], loss)


def assert_finite_after(examples, loss="logistic"):
    """Learn examples (each may be refused), and expect every number of the state to be finite."""
    model = new(loss)
    for x, y, *importance in examples:
        model.learn_packed(pack([y, x, *importance]))
    assert math.isfinite(model.score_one({"a": 1, "b": 1}))
    assert all(np.isfinite(array).all() for array in (model.learner.totals, model.learner.mixer, model.weights.array()))
    floats = np.delete(
        model.learner.weight_dict.matrix, [layout.COUNT, 2 * layout.HASH, 2 * layout.HASH + 1, 6, 7], axis=1
    )
    assert np.isfinite(floats).all()


@pytest.mark.skipif(not kernels.JIT, reason="too many examples for plain Python")
@pytest.mark.parametrize(
    "options", [{}, {"outcomes": "at_once"}, {"rates": (16.0, 16.0), "parts": PARTS, "outcomes": "at_once"}]
)
def test_nothing_grows_for_ever(options):
    """Inputs of the filters that are always 0, or the same as another, have no variance that grows: a stream has no end."""
    model, r = Model(**options, seed=SEED), random.Random(5)
    examples = pack(*((r.choice([-1, 1, 1]), {f"w{r.randrange(50)}": 1}) for _ in range(20_000)))
    model.learn_packed(examples)
    first = model.progressive_loss
    for _ in range(14):
        model.learn_packed(examples)
    assert model.progressive_loss == pytest.approx(first, rel=0.02)
    for matrix in (model.learner.mixer, model.learner.dense_filter):
        assert np.abs(matrix[:, 1:]).max() <= 5.0
        assert np.linalg.eigvalsh(matrix[:, 1:]).min() > -1e-9
