"""An explanation agrees with the weights and the score."""

import random

import pytest

from learner import layout
from tests.unit.records import OTHER_TASKS, new, records, trained


@pytest.mark.parametrize("options", [{}, {"rates": [0.5]}, *OTHER_TASKS])
def test_an_explanation_agrees_with_the_weights(options):
    """``contribution = weight * (value - mean)``, with the weights of ``model.weights``, where nothing is clipped."""
    model = trained(**options)
    centred = set()
    for x, _ in records(40, seed=1):  # seen before, so that no value is beyond what the features know
        explained = {c.name: c for c in model.explain_one(x)}
        derived = {
            name for name in explained if model.learner.weight_dict.derived[model.learner.weight_dict.slot(name)]
        }
        assert explained.keys() == x.keys() | {layout.CONSTANT_NAME} | derived
        for name, c in explained.items():
            assert c.weight == pytest.approx(model.weights[name], rel=1e-12)
            assert c.value == x.get(name, 1.0)
            assert c.contribution == pytest.approx(c.weight * (c.value - c.mean), rel=2e-4, abs=1e-6)
            centred |= {name} if c.mean else set()
    assert centred == {"age", "income"}


def test_an_unseen_feature_adds_nothing_and_zeros_are_left_out():
    explained = {c.name: c for c in trained().explain_one({"unseen": 2, "w1": 0, "w2": False})}
    assert explained["unseen"][1:] == (2.0, 0.0, 0.0, 0.0)
    assert explained.keys() >= {"unseen", layout.CONSTANT_NAME, "age", "income"}  # dense ones left out are there with 0
    assert explained["age"].value == explained["income"].value == 0.0


def test_a_dense_number_that_is_zero_is_zero():
    """Left out or given as 0, and whichever values it has: the line is learned, through zero as well."""
    model, draw = new("regression"), random.Random(1)
    for _ in range(5000):
        x = draw.choice(range(5))
        model.learn_one({"x": x}, x)
    for x in range(5):
        assert model.score_one({"x": x}) == pytest.approx(x, abs=0.05)
    assert model.score_one({}) == model.score_one({"x": 0}) == pytest.approx(model.score_one({"x": 1e-29}), abs=1e-6)
