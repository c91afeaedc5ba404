"""L1 and L2: the penalties are the reference's, and weights become truly zero."""

import msgpack
import numpy as np
import pytest

from learner import kernels
from learner.model import Model
from tests.conftest import state_bytes
from tests.unit.learners.consistency import check_dict
from tests.unit.streams import SEED, long_tail, packed, reference_of


@pytest.mark.parametrize("loss", ["logistic", "squared", "hinge"])
@pytest.mark.parametrize(("l1", "l2"), [(0.1, 0.0), (0.0, 0.02), (0.05, 0.01)])
@pytest.mark.parametrize("options", [{}, {"rates": [0.5], "outcomes": "at_once"}], ids=["mixture", "one rate at once"])
def test_the_penalties_are_those_of_the_reference(loss, l1, l2, options):
    model = Model(seed=SEED, task="regression" if loss == "squared" else "binary", loss=loss, l1=l1, l2=l2, **options)
    reference = reference_of(model)
    for i, (target, features) in enumerate(long_tail(150 if kernels.JIT else 40)):
        y, importance = (target if loss == "squared" else 2 * target - 1), 2.0 if i % 7 == 0 else 1.0
        expected = reference.learn(features, y, importance)
        score = model.learn_packed(msgpack.packb([target, features, importance])).scores[0]
        assert score == pytest.approx(expected, rel=1e-3, abs=1e-3)
    ours, theirs = dict(model.weights), reference.weights()
    assert ours.keys() == theirs.keys()
    np.testing.assert_allclose(list(ours.values()), list(theirs.values()), rtol=1e-2, atol=1e-3)
    if l1:
        zeros = {name for name, weight in theirs.items() if weight == 0.0}
        assert zeros
        assert len(zeros ^ {name for name, weight in ours.items() if weight == 0.0}) <= 0.05 * len(ours)


def test_l2_of_zero_and_l1_of_zero_change_no_bit():
    plain, with_zeros = Model(seed=SEED), Model(seed=SEED, l1=0, l2=0)
    for model in (plain, with_zeros):
        model.learn_packed(b"".join(packed(long_tail(200))))
    assert state_bytes(plain) == state_bytes(with_zeros)


@pytest.mark.parametrize("options", [{}, {"neural": [5, 4]}, {"task": "multiclass"}], ids=str)
def test_with_l1_what_says_nothing_weighs_exactly_zero_and_is_forgotten(options):
    """Of names that come once and say nothing the most go when the rows have doubled; what says something stays."""
    model, n = Model(seed=SEED, l1=0.1, **options), 3000 if kernels.JIT else 800
    examples = [
        (i % 10 > 0, {f"noise {i}": 1, f"more noise {i}": 1} | ({} if i % 10 else {"bad": 1})) for i in range(n)
    ]
    model.learn_packed(b"".join(packed(examples)))
    weights = dict(model.weights["true"] if model.task == "multiclass" else model.weights)
    assert model.summary()["evicted"] > n
    assert weights["bad"] < -0.5
    assert sum(weight != 0.0 for weight in weights.values()) < 0.4 * n
    contributions = {c.name: c.contribution for c in model.explain_one(examples[-1][1])}
    assert sum(contributions.values()) == pytest.approx(model.score_one(examples[-1][1]), abs=1e-9)
    check_dict(model)


@pytest.mark.parametrize("alone", [False, True])
def test_a_feature_that_l1_forgets_weighed_nothing_in_the_head_either(alone):
    """Its column is zero, too: what is left scores as before the sweep."""
    model = Model(seed=SEED, l1=0.1, neural={"hidden": [5, 4], "alone": alone})
    model.learn_packed(b"".join(packed(long_tail(300 if kernels.JIT else 60))))
    model.learn_held()
    records = [x for _, x in long_tail(300 if kernels.JIT else 60)][-20:]
    before, n = [model.score_one(x) for x in records], model.n_features
    model.learner.sweep()
    assert 0 < model.n_features < n
    known = {*model.weights}
    same = [
        (score, model.score_one(x))
        for score, x in zip(before, records, strict=True)
        if any(name in known for name in x)
    ]
    assert same
    assert [b for _, b in same] == pytest.approx([a for a, _ in same], rel=1e-6, abs=1e-6)
    assert np.any(model.learner.head.columns_of(model.learner.weight_dict.matrix) != 0.0)
