"""The mixture of experts learns the same numbers as the slow reference."""

import itertools
import math
import random

import numpy as np
import pytest

from learner import kernels, layout
from learner.losses import LOSSES
from tests.unit.streams import STREAMS, indicators, mixed, new, pack, reference_of, stream, wide

N_EXAMPLES = 400 if kernels.JIT else 40
KINDS = [(1, "late"), (2, "at_once"), ("two alone", "at_once"), ("two with cells", "late"), (3, "late")]
EACH = list(itertools.product(range(len(STREAMS)), range(len(LOSSES))))
# The default with every stream and loss; of the other kinds every two of kind, stream and loss. Three rates would be compiled
# anew: they are learned with the JIT off, in processes/test_jit_off.py.
CASES = [(STREAMS[i], (2, "late"), [*LOSSES][j]) for i, j in EACH]
CASES += [(STREAMS[i], kind, [*LOSSES][j]) for i, j in EACH if (kind := KINDS[(i + j) % 5])[0] != 3 or not kernels.JIT]


@pytest.mark.parametrize(("make", "kind", "loss"), CASES)
def test_the_compiled_learner_is_the_reference(make, kind, loss):
    n_rates, outcomes = kind
    model = new(loss, n_rates, outcomes=outcomes)
    n = N_EXAMPLES // 2 if make is wide or not model.spec.parts else N_EXAMPLES
    reference = reference_of(model)
    examples = list(stream(make, loss, n))

    expected = [reference.learn(x, y, importance) for y, x, importance in examples]
    learned = model.learn_packed(pack(*examples))

    assert not learned.rejections
    np.testing.assert_allclose(learned.scores, expected, rtol=1e-4, atol=1e-4 * reference.unit)
    weights = reference.weights()
    assert list(model.weights) == list(weights)
    np.testing.assert_allclose(model.weights.array(), list(weights.values()), rtol=2e-3, atol=1e-6 * reference.unit)
    for _, x, _ in stream(make, loss, 20, seed=2):
        assert model.score_one(x) == pytest.approx(reference.predict(x), rel=1e-4, abs=1e-4 * reference.unit)
    model.learner.learn_held()
    reference.learn_held()
    for _, x, _ in stream(make, loss, 20, seed=2):
        assert model.score_one(x) == pytest.approx(reference.predict(x), rel=1e-4, abs=1e-4 * reference.unit)


@pytest.mark.skipif(not kernels.JIT, reason="too slow in plain Python")
@pytest.mark.parametrize("n_rates", [1, 2])
def test_a_settled_model_learns_held_examples_as_they_were_at_their_arrival(n_rates):
    """Names come and repeat, and the counts by which pairs are chosen change: the reference must choose them as early."""
    model = new(n_rates=n_rates)
    reference, r = reference_of(model), random.Random(1)
    examples = []
    for _ in range(layout.SETTLED + 800):
        x = dict.fromkeys([f"w{int(r.paretovariate(0.7))}" for _ in range(3)], 1.0) | {
            "rare": r.choice([0.0, 0.0, 0.0, 2.0, 3.5])
        }
        examples.append((1 if r.random() < (0.8 if "w1" in x else 0.4) else -1, x, 1.0))
    expected = [reference.learn(x, y) for y, x, _ in examples]
    learned = model.learn_packed(pack(*examples))
    np.testing.assert_allclose(learned.scores, expected, rtol=1e-4, atol=1e-4)
    model.learn_held()
    reference.learn_held()
    weights = reference.weights()
    assert list(model.weights) == list(weights)
    np.testing.assert_allclose(model.weights.array(), list(weights.values()), rtol=2e-3, atol=1e-6)


@pytest.mark.parametrize(("value", "n_rates"), [(1.0, 2), (0.5, 2), (3.0, 2), (-3.0, "two alone")])
def test_an_indicator_costs_the_same_whatever_its_value(value, n_rates):
    """Scaling a feature that has one value scales nothing but its weight; naive Bayes knows positive ones only."""
    plain, scaled = new(n_rates=n_rates), new(n_rates=n_rates)
    for y, x, _ in stream(indicators, "logistic", N_EXAMPLES // 2):
        plain.learn_one(x, y)
        scaled.learn_one(dict.fromkeys(x, value), y)
    for name, weight in plain.weights.items():
        unit = 1 if name == layout.CONSTANT_NAME or " and " in name else value
        assert scaled.weights[name] * unit == pytest.approx(weight, rel=1e-5, abs=1e-7)


@pytest.mark.parametrize("unit", [1e-6, 1e6])
def test_the_scale_of_the_features_changes_nothing_to_four_digits(unit):
    plain, scaled = new(), new()
    for y, x, _ in stream(mixed, "logistic", N_EXAMPLES):
        assert scaled.score_one({name: value * unit for name, value in x.items()}) == pytest.approx(
            plain.score_one(x), rel=1e-4, abs=1e-4
        )
        plain.learn_one(x, y)
        scaled.learn_one({name: value * unit for name, value in x.items()}, y)


@pytest.mark.parametrize("value", [0.1, -0.3, 1 / 3, 1e-7, 1e-29, 16_777_217, 1e23])
def test_a_feature_of_one_value_is_an_indicator_even_when_float32_cannot_hold_it(value):
    assert float(np.float32(value)) != value
    model = new()
    reference = reference_of(model)
    for i in range(100):
        x, y = ({"member": value}, 1) if i % 5 < 3 else ({}, -1)
        assert model.learn_packed(pack([y, x])).scores[0] == pytest.approx(reference.learn(x, y), rel=1e-4, abs=1e-4)
    assert statistics_of(model, "member") == (float(np.float32(value)), 0.0)


def test_a_row_holds_the_mean_and_the_standard_deviation_of_a_features_values():
    """Of all its values, repeated values too; a feature that some examples lack has the statistics of the others."""
    model, r = new(), random.Random(11)
    seen = {"far": [], "small": [], "rare": []}
    for i in range(N_EXAMPLES):
        x = {"far": r.uniform(900, 1100), "small": r.choice([1e-6, 2e-6, 5e-6])}
        x |= {"rare": r.uniform(-1, 1)} if i % 7 == 0 else {}
        model.learn_one(x, r.choice([-1, 1]))
        for name, value in x.items():
            seen[name].append(value)
        for name, values in seen.items():
            expected = (np.mean(values), np.std(values))
            assert statistics_of(model, name) == pytest.approx(expected, rel=1e-3, abs=1e-12), (i, name)


def statistics_of(model, name):
    """What a row says of its feature's values: their mean and standard deviation."""
    store = model.learner.weight_dict
    row = store.matrix[store.slot(name)]
    return float(row[layout.MEAN]), float(row[layout.DEVIATION])


def test_before_the_first_count_above_zero_nothing_but_the_mean_is_learned():
    model = new("poisson")
    for _ in range(50):
        model.learn_one({"a": 1}, 0)
    assert list(model.weights) == [layout.CONSTANT_NAME]
    assert model.predict_one({"a": 1}) == pytest.approx(1 / 51)
    model.learn_one({"a": 1}, 2)
    assert model.predict_one({"a": 1}) > 1 / 51


def test_a_number_that_most_examples_say_is_missing_is_learned_as_if_it_were_0_on_average():
    """Whether a column is 60% empty says nothing about its scale: the same numbers, centred beforehand, lose nothing."""
    losses = []
    for mean in (0.0, 1000.0):
        model, r = new(), random.Random(1)
        for _ in range(3000):
            x, z = r.gauss(0.0, 3.0), r.gauss(0.0, 1.0)
            y = int(r.random() < 1.0 / (1.0 + math.exp(-x - z)))
            model.learn_one({"z": z, **({"x": mean + x} if r.random() < 0.4 else {"x_missing": 1.0})}, y)
        losses.append(model.progressive_loss)
    assert losses[1] == pytest.approx(losses[0], rel=0.01)


def test_a_number_that_is_missing_counts_as_its_mean():
    """Otherwise a record without a number far from 0, which never lacked in learning, would get an absurd answer."""
    model, r = new(), random.Random(1)
    for _ in range(500):
        tall = r.random() < 0.5
        model.learn_one({"year": r.gauss(2000 + 2 * tall, 3), "height": r.gauss(170 + 20 * tall, 10)}, int(tall))
    assert 0.2 < model.predict_proba_one({"year_missing": 1, "height_missing": 1})[1] < 0.8
    assert (
        model.score_one({"year": 2002.0, "height": 150.0}) < model.score_one({"year": 2002.0, "height_missing": 1}) - 1
    )
    shown = {c.name: c for c in model.explain_one({"year": 2002.0, "height_missing": 1})}
    assert shown["height"].value == shown["height"].mean == pytest.approx(180.0, abs=3.0)
    assert shown["height"].contribution == 0.0
    total = sum(c.contribution for c in shown.values())
    assert total == pytest.approx(model.score_one({"year": 2002.0, "height_missing": 1}), abs=1e-5)
