"""The lecture's ideas and numbers, a test each; the first sentence of each says which idea it holds."""

import inspect
import math
import random
from itertools import pairwise

import numpy as np
import pytest

from featurizers import (
    READY,
    Bins,
    Cells,
    Contains,
    Cross,
    EndsWith,
    Featurizer,
    Fraction,
    LengthGreater,
    Number,
    Periodic,
    Pixels,
    Powers,
    SumOfSquares,
)
from learner import Model, graph, layout, losses
from learner.graph import (
    SGD,
    AdaGrad,
    Adam,
    Constant,
    Parameter,
    backward,
    dot,
    forward,
    hinge_loss,
    logistic,
    logistic_loss,
    loss_of,
    matmul,
    maximum,
    mean,
    order,
    parameters,
    relu,
    square,
    squared_loss,
    tanh,
    threshold,
)
from learner.kernels.experts import row_width
from learner.layout import CONSTANT_NAME

SEED = b"sixteen bytes it"
REGRESSION = np.array([[1.0, 1.0], [2.0, 3.0], [4.0, 3.0]])


def weighted(weights, *templates):
    """A model with these weights and no constant: loaded, for features whose values are at most 128 in size."""
    model = Model(featurizer=Featurizer(templates) if templates else None, rates=[1.0], seed=SEED)
    seen = Model(rates=[1.0], seed=SEED)
    seen.learn_one(dict.fromkeys(weights, 128.0), 1)
    state = {name: array.copy() for name, array in seen.state().items()}
    state["rows"][:, layout.HEADER] = [0.0, *(128.0 * weight for weight in weights.values())]
    model.load_state(state)
    return model


def learned(task, examples, *templates, **options):
    """A model that has learned (record, target) one after another, of the given features alone."""
    options = {"rates": [0.5, 4.0, 32.0]} | options
    model = Model(task, featurizer=Featurizer(templates) if templates else None, seed=SEED, **options)
    for x, y in examples:
        model.learn_one(x, y)
    return model


def close(value):
    """As near as the weights' float32 allows."""
    return pytest.approx(value, rel=1e-6, abs=1e-6)


# ---- non-linear features ---------------------------------------------------------------------------------------------------
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


# ---- feature templates -----------------------------------------------------------------------------------------------------
ADDRESS = "abc@gmail.com"
EMAIL = (LengthGreater(than=10), Fraction(of="alphanumeric"), Contains(text="@"), EndsWith(n=4))
EMAIL_WEIGHTS = {"length>10": -1.2, "fracOfAlpha": 0.6, "contains_@": 3.0, "endsWith_.com": 2.2, "endsWith_.org": 1.4}


def test_features_with_names():
    """A feature extractor gives (name, value) pairs: those of abc@gmail.com, by the lecture's names."""
    model = Model(featurizer="email", seed=SEED)
    features = model.features({"address": ADDRESS})
    assert {name: features[name] for name in ("length>10", "fracOfAlpha", "contains_@", "endsWith_com", "endsWith_.com")} == {
        "length>10": 1.0,
        "fracOfAlpha": 11 / 13,
        "contains_@": 1.0,
        "endsWith_com": 1.0,
        "endsWith_.com": 1.0,
    }  # fmt: skip
    assert features["fracOfAlpha"] == pytest.approx(0.85, abs=0.005)
    assert "endsWith_.org" not in features


def test_the_score_of_the_address():
    """Prediction with feature names: -1.2 (1) + 0.6 (0.85) + 3 (1) + 2.2 (1) + 1.4 (0) = 4.51."""
    model = weighted(EMAIL_WEIGHTS, *EMAIL)
    assert {name: model.weights[name] for name in EMAIL_WEIGHTS} == close(EMAIL_WEIGHTS)
    assert round(model.score_one(ADDRESS), 2) == 4.51
    rounded = model.features(ADDRESS) | {"fracOfAlpha": 0.85}
    assert sum(EMAIL_WEIGHTS[name] * value for name, value in rounded.items()) == pytest.approx(4.51)
    assert weighted(EMAIL_WEIGHTS).score_one(rounded) == close(4.51)


def test_the_score_is_the_sum_of_the_features_contributions():
    """The score aggregates the contribution of each feature, weighted: the explanation of 4.51 adds up."""
    model = weighted(EMAIL_WEIGHTS)
    phi = {"length>10": 1, "fracOfAlpha": 0.85, "contains_@": 1, "endsWith_.com": 1, "endsWith_.org": 0}
    explained = model.explain_one(phi)
    assert {c.name: c.contribution for c in explained} == close(
        {"contains_@": 3.0, "endsWith_.com": 2.2, "length>10": -1.2, "fracOfAlpha": 0.6 * 0.85, CONSTANT_NAME: 0.0}
    )
    assert all(c.contribution == close(c.weight * c.value) for c in explained)
    assert sum(c.contribution for c in explained) == close(model.score_one(phi)) == close(4.51)
    trained = Model(featurizer="email", seed=SEED)
    for _ in range(20):
        trained.learn_one({"address": ADDRESS}, 1)
        trained.learn_one({"address": "abc.gmail.com"}, -1)
    x = {"address": "cs221@stanford.edu"}
    assert sum(c.contribution for c in trained.explain_one(x)) == close(trained.score_one(x))


@pytest.mark.parametrize(("name", "weight"), EMAIL_WEIGHTS.items())
def test_a_weights_sign_and_size_are_what_presence_adds(name, weight):
    """A positive weight favours the positive classification, a negative one the negative; its size is how strongly."""
    model = weighted(EMAIL_WEIGHTS)
    others = {other: 1.0 for other in EMAIL_WEIGHTS if other != name}
    assert model.score_one({**others, name: 1.0}) - model.score_one(others) == close(weight)
    more_likely = model.predict_proba_one({**others, name: 1.0})[1] > model.predict_proba_one(others)[1]
    assert more_likely == (weight > 0)


def test_a_positive_weight_need_not_be_a_positive_correlation():
    """Simpson's paradox: surgery does better on small and on large kidney stones, worse on all, and its weight is positive."""
    cured = {("surgery", "small"): (81, 87), ("surgery", "large"): (192, 263)}
    cured |= {("puncture", "small"): (234, 270), ("puncture", "large"): (55, 80)}  # Charig et al., 1986
    patients = [(names, 1 if i < n else -1) for names, (n, of) in cured.items() for i in range(of)]
    assert np.corrcoef(["surgery" in names for names, _ in patients], [y for _, y in patients])[0, 1] < 0
    seen = random.Random(0).choices(patients, k=20_000)

    def weights(*features):
        model = learned("binary", (({name: 1 for name in names if name in features}, y) for names, y in seen))
        return [model.weights[name] for name in features]

    (alone,) = weights("surgery")
    surgery, large = weights("surgery", "large")
    assert alone < 0 < surgery
    assert large < 0


def test_erasing_feature_names_changes_nothing():
    """Names are comments: under a bijective renaming both predictions and learning are the same, to the bit."""
    r = random.Random(0)
    users, hosts = ["ann", "bob", "cs221", "d..e"], ["@gmail.com", "@x.org", "gmail.com", "@@y"]
    data = [({"address": r.choice(users) + r.choice(hosts)}, r.choice([-1, 1])) for _ in range(200)]
    phi, number = READY["email"], {}
    named, erased = Model(seed=SEED), Model(seed=SEED)
    for x, y in data:
        features = phi(x)
        anonymous = {str(number.setdefault(name, len(number))): value for name, value in features.items()}
        assert named.score_one(features) == erased.score_one(anonymous)
        named.learn_one(features, y)
        erased.learn_one(anonymous, y)
    assert len(number) > 50
    assert {name: erased.weights[str(i)] for name, i in number.items()} == {
        name: named.weights[name] for name in number
    }
    assert named.progressive_loss == erased.progressive_loss


def test_a_template_is_a_family_of_features():
    """Define types of pattern to look for, not particular patterns: one template, as many features as there are endings."""
    phi = Featurizer([EndsWith(n=3)])
    addresses = [f"abc@gmail.{a}{b}{c}" for a in "cno" for b in "oer" for c in "mtg"]
    assert {name for address in addresses for name in phi(address)} == {f"endsWith_{a[-3:]}" for a in addresses}
    assert all(len(phi(address)) == 1 for address in addresses)
    model = learned("binary", [(a, 1 if a.endswith("com") else -1) for a in addresses * 5], EndsWith(n=3))
    assert [name for name, w in model.weights.items() if w > 0 and name != CONSTANT_NAME] == ["endsWith_com"]


def test_a_template_without_blanks():
    """An isolated feature, the fraction of alphanumeric characters, is a trivial template; its value is a real number."""
    phi = Featurizer([Fraction(of="alphanumeric")])
    assert [phi(text) for text in (ADDRESS, "abc", "@")] == [{"fracOfAlpha": 11 / 13}, {"fracOfAlpha": 1.0}, {}]


def test_the_templates_of_an_address():
    """Feature templates, example 1: last three characters equal com, length greater than 10, fraction of alphanumerics."""
    phi = Featurizer([EndsWith(n=3), LengthGreater(than=[5, 10, 20]), Fraction(of="alphanumeric")])
    assert phi(ADDRESS) == {"endsWith_com": 1.0, "length>5": 1.0, "length>10": 1.0, "fracOfAlpha": 11 / 13}


def test_the_templates_of_an_aerial_image():
    """Feature templates, example 2: pixel intensity at row 10 and column 93, red: 0.8; latitude and longitude in a box: 1."""
    image = np.zeros((11, 100, 3))
    image[10, 93, 0] = 0.8
    phi = Featurizer([Pixels("image"), Cells(size=0.1)])
    assert phi({"image": image, "lat": 37.4068176, "lon": -122.1715122}) == {
        "pixel(10,93,red)": 0.8,
        "lat in [37.4,37.5] lon in [-122.2,-122.1]": 1.0,
    }


def test_only_what_is_not_zero_exists():
    """Sparsity in feature vectors: of all the last characters the one there is kept, {"endsWith_m": 1}."""
    phi = Featurizer([EndsWith(n=1)])
    assert phi(ADDRESS) == {"endsWith_m": 1.0}
    others = {f"endsWith_{c}": 0.0 for c in "0123456789abcdefghijklnopqrstuvwxyz"}
    model = weighted({"endsWith_m": 2.0, "endsWith_n": -1.0})
    assert model.score_one({**others, "endsWith_m": 1.0}) == model.score_one({"endsWith_m": 1.0}) == 2.0


def test_arrays_and_dictionaries_are_one_vector():
    """Two feature vector implementations: a 3 x 3 image has one score as array and as dictionary."""
    image = np.array([[0.8, 0.6, 0.5], [0.5, 0.8, 0.7], [0.2, 0.0, 0.1]])
    phi = Featurizer([Pixels()])(image)
    assert phi["pixel(0,0)"] == 0.8
    assert len(phi) == 8
    assert "pixel(2,1)" not in phi
    w = np.random.default_rng(0).normal(size=(3, 3))
    model = weighted({f"pixel({row},{column})": w[row, column] for row in range(3) for column in range(3)}, Pixels())
    assert model.score_one(image) == close(np.sum(w * image))
    by_position = weighted({str(i): w.flat[i] for i in range(9)})
    array, dictionary = image.ravel(), {str(i): value for i, value in enumerate(image.flat)}
    assert by_position.score_one(array) == by_position.score_one(dictionary) == close(np.sum(w * image))


# ---- linear prediction and learning ----------------------------------------------------------------------------------------
def test_the_weights_start_empty_and_grow():
    """The weight vector is {} at first; names come as data does, and none is ever declared."""
    model = Model(seed=SEED)
    assert dict(model.weights) == {}
    assert model.score_one({"a": 1, "b": 1}) == 0.0
    assert dict(model.weights) == {}
    for x, names in (({"a": 1}, {"a"}), ({"a": 1, "b": 2, "never": 0}, {"a", "b"}), ({"c": 1}, {"a", "b", "c"})):
        model.learn_one(x, 1)
        assert set(model.weights) == names | {CONSTANT_NAME}
        assert all(model.weights.values())


def test_a_weight_is_stored_when_it_becomes_non_zero():
    """Only when a feature's weight becomes non-zero is it stored: not by predicting, nor by an example that teaches nothing."""
    model = learned("binary", [({"a": 1}, 1)] * 20, loss="hinge", rates=[2.0])
    assert model.score_one({"a": 1}) >= 1.0
    before = dict(model.weights)
    model.score_one({"a": 1, "b": 1})
    model.learn_one({"a": 1, "b": 1}, 1)  # beyond the margin: the hinge's gradient is 0
    assert dict(model.weights) == before
    model.learn_one({"a": 1, "b": 1}, -1)
    assert set(model.weights) == {*before, "b"}


def test_an_unseen_feature_contributes_nothing():
    """A feature without a weight has weight zero: it changes no score."""
    model = learned("binary", [({"a": 1}, 1), ({"b": 1}, -1)] * 5)
    assert model.score_one({"a": 1, "unseen": 5.0}) == model.score_one({"a": 1}) > 0
    (unseen,) = (c for c in model.explain_one({"a": 1, "unseen": 5.0}) if c.name == "unseen")
    assert (unseen.weight, unseen.contribution) == (0.0, 0.0)


def test_every_loss_is_a_graph_too():
    """Any hypothesis with any loss: what `learner.losses` has, the graph has, with the same values and derivatives."""
    written = {f for name, f in inspect.getmembers(graph, inspect.isfunction) if name.endswith("_loss")}
    assert {loss_of(name) for name in losses.LOSSES} == written
    assert {function.__name__ for function in written} == {f"{name}_loss" for name in losses.LOSSES}
    for name, loss in losses.LOSSES.items():
        for y in (0.0, 1.0) if name == "poisson" else (-1.0, 1.0):
            for at in (-30.0, -1.5, -0.3, 0.0, 0.7, 2.0, 30.0):
                score = Parameter(at, "score")
                root = loss_of(name)(score, y)
                backward(root)
                assert (root.f, score.g) == close((loss.value(at, y), loss.derivative(at, y)))


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
@pytest.mark.parametrize("widths", [(), (8,), (8, 8)], ids=["linear", "two layers", "three layers"])
def test_any_hypothesis_with_any_loss(name, widths):
    """Linear predictors, two-layer and deeper networks each follow the gradient of each loss, and it falls."""
    r = np.random.default_rng(0)
    x = r.normal(size=(40, 2))
    y = np.where(x[:, 0] - 0.5 * x[:, 1] > 0.2, 1.0, 0.0 if name == "poisson" else -1.0)
    h = Constant(np.column_stack([np.ones(40), x]), "phi")
    for width in widths:
        h = tanh(h @ Parameter(r.normal(scale=0.5, size=(h.f.shape[1], width)), "V"))
    loss = mean(loss_of(name)(matmul(h, Parameter(r.normal(scale=0.1, size=h.f.shape[1]), "w")), y))
    before = float(loss.f)
    assert len(parameters(loss)) == len(widths) + 1
    assert train(loss, AdaGrad(0.1), 100) < 0.5 * before


def experts(model, names):
    """Return the weights w and the sums of squared gradients G of some names, 0 of those without a row."""
    slots = {name: slot for slot, name in enumerate(model.weights)}
    rows = np.array(
        [model.state()["rows"][slots[name]] if name in slots else np.zeros(row_width(1)) for name in names],
        np.float64,
    )
    return rows[:, layout.HEADER], rows[:, layout.HEADER + 1]


@pytest.mark.parametrize("rate", [0.5, 8.0])
@pytest.mark.parametrize("y", [1.0, -1.0])
@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_the_compiled_linear_update_is_that_of_the_graph(name, y, rate):
    """The fused update uses the graph's gradient: G grows by its square, and w follows it, continuously, over the rate.

    One AdaGrad rate without mixing; u is x on the feature's own scale, and a regression's target is standardised.
    """
    loss = losses.LOSSES[name]
    model = Model(loss.task, loss=name, rates=[rate], seed=SEED)
    y = max(y, 0.0) if name == "poisson" else y
    targets = [1.0, 0.0 if name == "poisson" else -1.0, y]
    for target in targets[:2]:
        model.learn_one({"a": 1, "b": 4}, target)
    names, x = ["a", "b", "new", CONSTANT_NAME], {"a": 1, "b": 1, "new": -3}
    u = np.array([1.0, 0.25, -1.0, 1.0])  # b had 4 twice, so that 1 is a quarter; what is new has size 1
    w_before, G_before = experts(model, names)
    model.learn_one(x, y)
    w_after, G_after = experts(model, names)

    w = Parameter(w_before, "w")
    if name in ("squared", "quantile"):
        y = (y - np.mean(targets)) / np.std(targets)
    if name == "poisson":
        y /= np.mean([*targets, 1.0])
    root = loss_of(name)(dot(w, u), y)
    backward(root)
    assert w.g == close(loss.derivative(float(w_before @ u), y) * u)
    np.testing.assert_allclose(G_after, G_before + w.g**2, rtol=1e-6, atol=1e-12)

    c = math.sqrt(3 / (3 + 3 + u @ u))  # examples over the sum of their squared u
    rates = rate * c / (0.1 + np.sqrt(G_after)) * [1, 1, 1, 2]  # the constant's is doubled
    step = rates / 1000 * w.g  # of a thousand small ones, each along the gradient where the last one led
    for _ in range(1000):
        forward(root)
        backward(root)
        w.f = w.f - rates / 1000 * w.g
    assert (np.abs(w_after - w.f) <= 1.01 * np.abs(step) + 1e-6).all()
    assert (np.abs(w_after - w_before) > 5 * np.abs(step)).all()


# ---- neural networks and backpropagation -----------------------------------------------------------------------------------
CARS = np.array([[0.0, 2.0], [2.0, 0.0], [0.0, 0.0], [2.0, 2.0]])  # where two cars are, from one side of the road
SAFE = np.array([1.0, 1.0, -1.0, -1.0])
CARS_PHI = np.column_stack([np.ones(4), CARS])  # phi(x) = [1, x1, x2]


def train(loss, optimiser, steps):
    learned = parameters(loss)
    for _ in range(steps):
        forward(loss)
        backward(loss)
        optimiser.update(learned)
    return float(forward(loss))


def two_layer(phi, k, random, activation=tanh):
    """score = w . s(V phi), over a batch of phi: small random V and w."""
    V = Parameter(random.normal(scale=0.5, size=(k, phi.shape[1])), "V")
    w = Parameter(random.normal(scale=0.5, size=k), "w")
    return V, w, dot(activation(Constant(phi, "phi") @ V.T), w)


def test_the_gradient_of_a_sum_is_one_and_of_a_product_the_other_factor():
    """Functions are boxes: (a + e) + b = c + 1e, and (a + e) b = c + b e."""
    a, b = Parameter(3.0, "a"), Parameter(5.0, "b")
    backward(a + b)
    assert (a.g, b.g) == (1.0, 1.0)
    backward(a * b)
    assert (a.g, b.g) == (5.0, 3.0)


def test_only_the_larger_operand_moves_a_maximum():
    """A basic building block: changing a has an effect on max(a, b) if a > b, and b if it is the larger one."""
    a, b = Parameter(3.0, "a"), Parameter(5.0, "b")
    backward(maximum(a, b))
    assert (a.g, b.g) == (0.0, 1.0)


@pytest.mark.parametrize("z", [-3.0, 0.0, 0.5, 4.0])
def test_the_slope_of_the_logistic_function(z):
    """A basic building block: the gradient of s(z) is s(z) (1 - s(z))."""
    a = Parameter(z, "a")
    h = logistic(a)
    backward(h)
    assert a.g == pytest.approx(h.f * (1 - h.f))


@pytest.mark.parametrize("at", [-2.0, 0.5, 3.0])
def test_the_chain_rule_multiplies_the_slopes_along_the_path(at):
    """Function composition: for b = a^2 and c = b^2, dc/da = (2b)(2a) = 4a^3."""
    a = Parameter(at, "a")
    b = square(a)
    backward(square(b))
    assert b.g == 2 * at**2
    assert a.g == 4 * at**3


@pytest.mark.parametrize(("y", "expected"), [(1.0, [-1.0, -2.0]), (-1.0, [0.0, 0.0])])
def test_the_graph_of_the_hinge_loss(y, expected):
    """Linear classification with the hinge loss: the gradient is -phi y where the margin is below 1, else 0."""
    w, phi = Parameter([1.0, -1.0], "w"), Constant([1.0, 2.0], "phi")
    margin = (dot(w, phi) * y).named("margin")
    loss = maximum(0.0, 1.0 - margin).named("loss")
    backward(loss)
    assert (margin.f, loss.f) == (-y, max(0.0, 1.0 + y))
    assert w.g.tolist() == expected == (-phi.f * y * (margin.f < 1.0)).tolist()
    assert hinge_loss(dot(w, phi), y).f == loss.f


def test_the_gradients_of_a_two_layer_network_in_closed_form():
    """Two-layer networks: for w, 2 (score - y) h; for V, 2 (score - y) w o h o (1 - h) phi^T."""
    r = np.random.default_rng(0)
    V, w, phi, y = Parameter(r.normal(size=(4, 3)), "V"), Parameter(r.normal(size=4), "w"), r.normal(size=3), 0.7
    h = logistic(V @ phi).named("h")
    score = dot(w, h)
    backward(squared_loss(score, y))
    residual = 2 * (score.f - y)
    np.testing.assert_allclose(w.g, residual * h.f, rtol=1e-14)
    np.testing.assert_allclose(V.g, np.outer(residual * w.f * h.f * (1 - h.f), phi), rtol=1e-14)


def test_the_worked_least_squares_example():
    """Backpropagation: forward values from the leaves to the root, backward values from the root to the leaves."""
    w, phi, y = Parameter([3.0, 1.0], "w"), Constant([1.0, 2.0], "phi"), Constant(2.0, "y")
    score = dot(w, phi)
    residual = score - y
    loss = square(residual)
    backward(loss)
    assert [node.f.item() for node in (score, residual, loss)] == [5.0, 3.0, 9.0]
    assert [node.g.item() for node in (loss, residual, score)] == [1.0, 6.0, 6.0]
    assert w.g.tolist() == [6.0, 12.0]
    assert w.g.shape == w.f.shape


def test_the_line_through_the_regression_data():
    """Linear regression: of (1, 1), (2, 3), (4, 3) gradient descent finds the least squares line, f(x) = [1, 0.57] . [1, x]."""
    x, y = REGRESSION.T
    w = Parameter([0.0, 0.0], "w")
    loss = mean(square(matmul(np.column_stack([np.ones(3), x]), w) - y))
    train(loss, SGD(0.1), 500)
    np.testing.assert_allclose(w.f, [1.0, 4 / 7], atol=1e-6)
    np.testing.assert_allclose(w.f, [1.0, 0.57], atol=0.005)
    np.testing.assert_allclose(w.g, 0.0, atol=1e-6)


def test_the_problem_decomposes_into_thresholds():
    """Decomposing the problem: two thresholds, far right of the other car or it of us, tell the safe points from the others."""
    V = np.array([[-1.0, 1.0, -1.0], [-1.0, -1.0, 1.0]])
    h = threshold(Constant(CARS_PHI) @ V.T)
    assert h.f.tolist() == [[0, 1], [1, 0], [0, 0], [0, 0]]
    assert np.where(dot(h, [1.0, 1.0]).f > 0, 1.0, -1.0).tolist() == SAFE.tolist()


def test_a_threshold_has_no_gradient():
    """Avoid zero gradients: below a threshold nothing is learned, though its own loss is not at its least."""
    V, w, score = two_layer(CARS_PHI, 4, np.random.default_rng(0), threshold)
    before = V.f
    loss = mean(logistic_loss(score, SAFE))
    assert train(loss, AdaGrad(0.5), 50) > 0.1
    assert not V.g.any()
    assert np.array_equal(V.f, before)
    assert w.g.any()


def test_the_logistic_function_saturates_and_relu_does_not():
    """Activation functions: the logistic gradient is small for large |z|; ReLU's is 1 on the positive side, 0 on the other."""
    z = Parameter([-20.0, -1.0, 0.0, 1.0, 20.0], "z")
    backward(logistic(z).sum())
    assert z.g.max() == z.g[2] == 0.25
    assert (z.g > 0).all()
    assert (z.g[[0, -1]] < 1e-8).all()
    backward(relu(z).sum())
    assert z.g.tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]


def test_linear_activations_collapse_to_one_layer():
    """With the identity for an activation a network is one linear layer, w^T V: more layers, no more predictors."""
    r = np.random.default_rng(0)
    V, w, score = two_layer(CARS_PHI, 5, r, lambda z: z)
    np.testing.assert_allclose(score.f, CARS_PHI @ (w.f @ V.f), rtol=1e-12)
    loss = mean(squared_loss(score, SAFE))
    assert train(loss, Adam(0.02), 500) == pytest.approx(
        1.0, abs=1e-3
    )  # no better than the constant 0: not one point learned


@pytest.mark.parametrize("name", sorted(losses.LOSSES))
def test_no_line_separates_the_two_cars(name):
    """The motivating example: a linear predictor gets at most three of the four points right, with any loss."""
    for seed in range(5):
        w = Parameter(np.random.default_rng(seed).normal(size=3), "w")
        score = matmul(CARS_PHI, w)
        y = np.maximum(SAFE, 0.0) if name == "poisson" else SAFE
        train(mean(loss_of(name)(score, y)), AdaGrad(0.3), 200)
        assert (np.sign(score.f) == SAFE).sum() <= 3


def learns_all_four(seed, k, activation=tanh):
    _, _, score = two_layer(CARS_PHI - [0.0, 1.0, 1.0], k, np.random.default_rng(seed), activation)
    train(mean(logistic_loss(score, SAFE)), Adam(0.1), 150)
    return bool((score.f * SAFE > 0).all())


@pytest.mark.parametrize("activation", [relu, logistic, tanh])
def test_a_two_layer_network_learns_the_two_cars(activation):
    """Neural networks learn the subproblems and their combination jointly: all four points, from at least 19 of 20 starts."""
    assert sum(learns_all_four(seed, 32, activation) for seed in range(20)) >= 19


def test_more_hidden_units_than_needed_succeed_more_often():
    """Overparameterisation: more units than the two needed are more chances that some pick up the signal."""
    rates = [sum(learns_all_four(seed, k, relu) for seed in range(20)) / 20 for k in (2, 8, 32)]
    assert rates == sorted(rates)
    assert rates[0] <= 0.7
    assert rates[-1] >= 0.95


def test_rows_that_start_equal_stay_equal():
    """Careful initialisation: started at zero, all rows of V stay the same subproblem; started at random, they don't."""
    r = np.random.default_rng(0)
    y = [
        1.0,
        1.0,
        -1.0,
        1.0,
    ]  # not the two cars': there, the gradient at zero is zero, and not even equal rows are learned
    for scale, equal in ((0.0, True), (0.1, False)):
        V = Parameter(scale * r.normal(size=(4, 3)), "V")
        w = Parameter(np.full(4, 0.5), "w")
        train(mean(logistic_loss(dot(tanh(Constant(CARS_PHI) @ V.T), w), y)), SGD(0.5), 50)
        assert V.f.any()
        assert np.allclose(V.f, V.f[0], atol=1e-12) == equal


def deep(phi, layers, k, scale, activation, seed=0):
    """The score of a network of several layers over a batch, and its matrices, the one next to the input first."""
    r = np.random.default_rng(seed)
    h, V = Constant(phi, "phi"), []
    for layer in range(1, layers):
        V.append(Parameter(scale * r.normal(size=(k, h.f.shape[1])) / np.sqrt(h.f.shape[1]), f"V{layer}"))
        h = activation(h @ V[-1].T)
    return dot(h, Parameter(r.normal(size=k) / np.sqrt(k), "w")), V


def test_a_four_layer_network_learns_by_stochastic_gradient_descent():
    """The motivation of backpropagation: regression with (w . s(V3 s(V2 s(V1 phi))) - y)^2, a step an example, no calculus."""
    x = np.linspace(-1.0, 1.0, 20)
    y = np.sin(3 * x)
    everything, _ = deep(np.column_stack([np.ones(20), x]), 4, 10, 1.5, tanh)
    loss = mean(squared_loss(everything, y))
    learned = parameters(loss)
    before = float(loss.f)
    h, target = Constant([1.0, 0.0], "phi"), Constant(0.0, "y")
    one = h
    for V in learned[:-1]:
        one = tanh(V @ one)  # the same parameters, one example at a time
    one = squared_loss(dot(learned[-1], one), target)
    r = np.random.default_rng(0)
    for i in r.integers(20, size=3000):
        h.f, target.f = np.array([1.0, x[i]]), y[i]
        forward(one)
        backward(one)
        SGD(0.05).update(learned)
    assert len(learned) == 4
    assert forward(loss) < min(0.02, before / 10)


@pytest.mark.parametrize(
    ("activation", "scale", "vanishes"), [(logistic, 1.0, True), (tanh, 0.3, True), (relu, 4.0, False)]
)
def test_gradients_vanish_or_explode_layer_by_layer(activation, scale, vanishes):
    """Don't let gradients vanish or explode: their norms, layer by layer, show it."""
    score, V = deep(np.random.default_rng(1).normal(size=(50, 20)), 8, 20, scale, activation)
    backward(score.mean())
    hidden = [node for node in order(score) if node.op is not None and node.op.name == activation.name]
    norms = [float(np.linalg.norm(node.g)) for node in hidden]  # of the layer next to the input first
    ratios = [below / above for below, above in pairwise(norms)]
    assert len(V) == len(norms) == 7
    assert all(ratio < 0.5 for ratio in ratios) if vanishes else all(ratio > 1.5 for ratio in ratios)
    assert norms[0] / norms[-1] < 1e-3 if vanishes else norms[0] / norms[-1] > 1e2


@pytest.mark.parametrize("optimiser", [AdaGrad(1.0), Adam(0.1)])
def test_adaptive_step_sizes_serve_features_of_different_scales(optimiser):
    """Adaptive step sizes: a rate a weight copes with features on scales that no single rate of SGD serves."""
    r = np.random.default_rng(0)
    scales = np.array([10.0, 0.1])
    X = r.normal(size=(40, 2)) * scales
    y = X @ (np.array([1.0, -1.0]) / scales)

    def after(how):
        w = Parameter([0.0, 0.0], "w")
        return train(mean(square(matmul(X, w) - y)), how, 300)

    assert min(after(SGD(rate)) for rate in (1e-4, 1e-3, 3e-3, 1e-2)) > 0.5
    assert after(optimiser) < 0.05
