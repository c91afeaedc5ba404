"""The lecture's non-linear features, a test an idea; the first sentence of each says which idea it holds."""

import math
import random
from itertools import pairwise

import numpy as np
import pytest

from featurizers import (
    Bins,
    Contains,
    Cross,
    Featurizer,
    LengthGreater,
    Number,
    Periodic,
    Powers,
    SumOfSquares,
)
from learner import Model
from learner.layout import CONSTANT_NAME
from tests.unit.lecture.models import SEED, close, learned, weighted

X = np.linspace(0.1, 4.9, 9)
QUADRATIC, LINEAR = Powers("x", degrees=[0, 1, 2]), Powers("x", degrees=[0, 1])
REGIONS = Bins("x", edges=range(6))
CIRCLE = (Number("x1"), Number("x2"), SumOfSquares(of=["x1", "x2"]))
PLANE = tuple({"x1": x1, "x2": x2} for x1 in np.linspace(-1.1, 3.1, 15) for x2 in np.linspace(-0.9, 3.3, 15))


def in_disc(x):
    return (x["x1"] - 1) ** 2 + (x["x2"] - 1) ** 2 <= 2


def points(n, seed=0):
    """Draw points of the plane around the disc, and on which side of its edge each is."""
    r = random.Random(seed)
    for _ in range(n):
        x = {"x1": r.uniform(-1, 3), "x2": r.uniform(-1, 3)}
        yield x, 1 if in_disc(x) else -1


def accuracy(model, examples):
    return np.mean([model.predict_one(x) == y for x, y in examples])


def squared_error(model, xs, f):
    return np.mean([(model.score_one({"x": x}) - f(x)) ** 2 for x in xs])


def test_a_hypothesis_class_is_what_the_weights_can_make_of_the_features():
    """Linear regression: with phi(x) = [1, x] every choice of weights is a line, of some intercept and some slope."""
    for intercept, slope in ((1.0, 0.57), (2.0, 0.2)):
        model = weighted({"x^0": intercept, "x": slope}, LINEAR)
        assert model.features({"x": 4}) == {"x^0": 1.0, "x": 4.0}
        assert [model.score_one({"x": x}) for x in X] == close([intercept + slope * x for x in X])


def test_the_model_learns_the_line_through_the_regression_data():
    """Learning picks from the hypothesis class by the data: of (1, 1), (2, 3), (4, 3) the least squares line [1, 0.57]."""
    x, y = REGRESSION.T
    phi = np.column_stack([np.ones(3), x])
    best = np.linalg.solve(phi.T @ phi, phi.T @ y)  # the closed form
    assert best == pytest.approx([1.0, 4 / 7])
    assert best == pytest.approx([1.0, 0.57], abs=0.005)
    r = random.Random(0)
    model = learned("regression", (({"x": a}, b) for a, b in r.choices(REGRESSION.tolist(), k=10_000)), Number("x"))
    at = np.array([1.0, 2.0, 4.0])
    slope, intercept = np.polyfit(at, [model.score_one({"x": a}) for a in at], 1)
    assert [intercept, slope] == pytest.approx([1.0, 0.57], abs=0.1)
    assert model.weights["x"] == close(slope)


def test_quadratic_features():
    """Quadratic predictors: phi(3) = [1, 3, 9], and every choice of weights is a parabola."""
    for a, b, c in ((2.0, 1.0, -0.2), (4.0, -1.0, 0.1), (1.0, 1.0, 0.0)):
        model = weighted({"x^0": a, "x": b, "x^2": c}, QUADRATIC)
        assert list(model.features({"x": 3}).values()) == [1.0, 3.0, 9.0]
        assert [model.score_one({"x": x}) for x in X] == close([a + b * x + c * x**2 for x in X])


def test_without_the_square_a_quadratic_predictor_is_linear():
    """The quadratic hypothesis class is a superset of the linear one: a weight of 0 for x^2 gives back the linear predictor."""
    for intercept, slope in np.random.default_rng(0).normal(size=(5, 2)):
        linear = weighted({"x^0": intercept, "x": slope}, LINEAR)
        quadratic = weighted({"x^0": intercept, "x": slope, "x^2": 0.0}, QUADRATIC)
        assert [quadratic.score_one({"x": x}) for x in X] == [linear.score_one({"x": x}) for x in X]


def test_a_non_linear_predictor_just_by_changing_the_features():
    """The same learner fits 2 + x - 0.2 x^2 with the feature x^2, and without it stays at the best line."""

    def f(x):
        return 2 + x - 0.2 * x**2

    r = random.Random(0)
    data = [({"x": x}, f(x)) for x in (r.uniform(0, 5) for _ in range(5000))]
    best_line = np.mean((np.polyval(np.polyfit(X, f(X), 1), X) - f(X)) ** 2)
    assert squared_error(learned("regression", data, QUADRATIC), X, f) < best_line / 50
    assert squared_error(learned("regression", data, LINEAR), X, f) > 0.9 * best_line


def test_piecewise_constant_features():
    """Piecewise constant predictors: phi(2.3) = [0, 0, 1, 0, 0], one region of the five."""
    features = Featurizer([REGIONS])({"x": 2.3})
    assert [features.get(f"{low}<x<={low + 1}", 0.0) for low in range(5)] == [0, 0, 1, 0, 0]
    assert features == {"2<x<=3": 1.0}


@pytest.mark.parametrize("values", [[1, 2, 4, 4, 3], [4, 3, 3, 2, 1.5]])
def test_a_regions_weight_is_its_predicted_value(values):
    """The regions are disjoint, so the weight of each is exactly the value predicted there; learned, with the constant."""
    model = weighted({f"{low}<x<={low + 1}": value for low, value in enumerate(values)}, REGIONS)
    middles = [low + 0.5 for low in range(5)]
    assert [model.score_one({"x": x}) for x in middles] == close(values)
    assert model.score_one({"x": 2.001}) == model.score_one({"x": 3.0}) == model.weights["2<x<=3"]
    r = random.Random(0)
    model = learned("regression", (({"x": x}, values[int(x)]) for x in (r.uniform(0, 5) for _ in range(1000))), REGIONS)
    predicted = [model.score_one({"x": x}) for x in middles]
    assert predicted == pytest.approx(values, abs=0.05)
    assert predicted == close([model.weights[CONSTANT_NAME] + model.weights[f"{low}<x<={low + 1}"] for low in range(5)])


def test_more_regions_express_more():
    """As the regions get smaller the hypothesis class grows, and any predictor is captured, here the sine."""
    r = random.Random(0)
    data = [({"x": x}, math.sin(3 * x)) for x in (r.uniform(0, 5) for _ in range(3000))]
    errors = []
    for n in (2, 10, 50):
        model = learned("regression", data, Bins("x", edges=np.linspace(0, 5, n + 1).tolist()))
        errors.append(squared_error(model, np.linspace(0.01, 4.99, 200), lambda x: math.sin(3 * x)))
    assert all(before > 3 * after for before, after in pairwise(errors))


def test_more_regions_need_more_data():
    """The drawback of small regions: the examples needed go up with their number, exponentially in the dimension."""

    def needed(d, seed):
        """Return after how many examples four regions a dimension have the right sign nearly everywhere."""
        bins = [Bins(f"x{i}", edges=range(5)) for i in range(d)]
        r = random.Random(seed)
        cells = [{f"x{i}": at + 0.5 for i, at in enumerate(cell)} for cell in np.ndindex((4,) * d)]
        everywhere = [(x, r.choice([-1, 1])) for x in cells]
        model = Model(featurizer=Featurizer([Cross(bins)] if d > 1 else bins), seed=SEED)
        while accuracy(model, everywhere) < 0.95:
            model.learn_one(*r.choice(everywhere))
        return model.n_examples

    counts = [sum(needed(d, seed) for seed in range(5)) for d in (1, 2, 3)]
    assert all(after > 2 * before for before, after in pairwise(counts))


def test_periodic_features():
    """Predictors with periodicity structure: phi(2) = [1, 2, 4, cos 6 = 0.96]."""
    for a, b, c, d in ((1.0, 1.0, -0.1, 1.0), (3.0, -1.0, 0.1, 0.5)):
        model = weighted({"x^0": a, "x": b, "x^2": c, "cos(3x)": d}, QUADRATIC, Periodic("x", frequency=3))
        features = model.features({"x": 2})
        assert [features["x^0"], features["x"], features["x^2"]] == [1.0, 2.0, 4.0]
        assert features["cos(3x)"] == pytest.approx(0.96, abs=0.005)
        expected = [a + b * x + c * x**2 + d * math.cos(3 * x) for x in X]
        assert [model.score_one({"x": x}) for x in X] == close(expected)


def test_structure_is_thrown_in_as_features():
    """If the output repeats, periodic features capture it; several structures are just put into one feature vector."""

    def f(x):
        return 1 + 0.3 * x + math.cos(3 * x)

    r = random.Random(0)
    data = [({"x": x}, f(x)) for x in (r.uniform(0, 20) for _ in range(5000))]
    xs = np.linspace(0.1, 19.9, 200)
    without = squared_error(learned("regression", data, Number("x")), xs, f)
    assert squared_error(learned("regression", data, Number("x"), Periodic("x", frequency=3)), xs, f) < without / 50
    assert without > 0.4  # the cosine's own variance is a half


def test_irrelevant_features_get_weights_near_zero():
    """If a feature is not useful, the learner gives it a weight close to zero."""
    r = random.Random(0)
    model = Model("regression", seed=SEED)
    for _ in range(5000):
        x = {name: 1 for name in ("a", "b", *(f"irrelevant {i}" for i in range(10))) if r.random() < 0.4}
        model.learn_one(x, 2 * ("a" in x) - 3 * ("b" in x) + r.gauss(0, 0.5))
    assert [model.weights["a"], model.weights["b"]] == pytest.approx([2, -3], abs=0.2)
    assert max(abs(model.weights[f"irrelevant {i}"]) for i in range(10)) < 0.2


def test_linear_in_the_weights_and_the_features_but_not_in_the_input():
    """Linear in what? In w, yes; in phi(x), yes; in x, no."""
    r = np.random.default_rng(0)
    names = ["x^0", "x", "x^2"]
    v, w = r.normal(size=(2, 3))

    def score(weights, phi):
        return weighted(dict(zip(names, weights, strict=True))).score_one(dict(zip(names, phi, strict=True)))

    phi, psi = r.normal(size=(2, 3))
    assert score(2 * v - 3 * w, phi) == close(2 * score(v, phi) - 3 * score(w, phi))
    assert score(w, 2 * phi - 3 * psi) == close(2 * score(w, phi) - 3 * score(w, psi))
    model = weighted({"x": 1.0, "x^2": -0.2}, Powers("x", degrees=[1, 2]))
    assert model.score_one({"x": 2 * 3}) != pytest.approx(2 * model.score_one({"x": 3}), abs=1.0)


def test_the_input_need_not_be_a_vector():
    """Not linear in x, which might make no sense: x may be a piece of text."""
    model = weighted({"length>3": 2.0, "contains_!": -1.0}, LengthGreater(than=3), Contains(text="!"))
    assert [model.score_one(text) for text in ("a", "hello", "hello!", "!")] == [0.0, 2.0, 1.0, -1.0]


def test_the_boundary_of_a_linear_classifier_is_a_line():
    """Linear classification: sign([-0.6, 0.6] . [x1, x2]) tells the two sides of the line x2 = x1."""
    model = weighted({"x1": -0.6, "x2": 0.6}, Number("x1"), Number("x2"))
    assert all(model.predict_one(x) == (1 if x["x2"] > x["x1"] else -1) for x in PLANE)
    assert model.score_one({"x1": 2.5, "x2": 2.5}) == 0.0


def test_the_circle_classifier():
    """Quadratic classifiers: [2, 2, -1] . [x1, x2, x1^2 + x2^2] is the disc around (1, 1) with radius sqrt 2, 0 at [0, 0]."""
    model = weighted({"x1": 2.0, "x2": 2.0, "x1^2+x2^2": -1.0}, *CIRCLE)
    for x in PLANE:
        assert model.score_one(x) == pytest.approx(2 - (x["x1"] - 1) ** 2 - (x["x2"] - 1) ** 2, abs=1e-5)
        assert model.predict_one(x) == (1 if in_disc(x) else -1)
    assert model.score_one({"x1": 0, "x2": 0}) == 0.0
    for angle in np.linspace(0, 2 * math.pi, 12):
        x = {"x1": 1 + math.sqrt(2) * math.cos(angle), "x2": 1 + math.sqrt(2) * math.sin(angle)}
        assert model.score_one(x) == pytest.approx(0.0, abs=1e-5)
    assert all(model.predict_one({"x1": a, "x2": b}) == -1 for a, b in ((9, 0.5), (-9, 0.5), (0.5, 9), (0.5, -9)))


def test_a_circle_is_learned_with_the_third_feature():
    """In feature space a hyperplane separates what in input space a circle does: the weights come out as [2, 2, -1], scaled."""
    model = learned("binary", points(5000), *CIRCLE)
    assert accuracy(model, points(1000, seed=1)) > 0.95
    w = np.array([model.weights[name] for name in ("x1", "x2", "x1^2+x2^2")])
    assert w / -w[2] == pytest.approx([2, 2, -1], abs=0.2)


def test_a_circle_is_not_learned_without_the_third_feature():
    """If the hypothesis class has no good predictor, no amount of learning helps: a line does no better than a constant."""
    outside = np.mean([y == -1 for _, y in points(1000, seed=1)])
    for n in (500, 5000):
        model = learned("binary", points(n), *CIRCLE[:2])
        assert accuracy(model, points(1000, seed=1)) < outside + 0.05


REGRESSION = np.array([[1.0, 1.0], [2.0, 3.0], [4.0, 3.0]])
