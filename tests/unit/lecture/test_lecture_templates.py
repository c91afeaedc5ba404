"""The lecture's feature templates, a test an idea."""

import random

import numpy as np
import pytest

from featurizers import (
    READY,
    Cells,
    Contains,
    EndsWith,
    Featurizer,
    Fraction,
    LengthGreater,
    Pixels,
)
from learner import Model
from learner.layout import CONSTANT_NAME
from tests.unit.lecture.models import SEED, close, learned, weighted

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
