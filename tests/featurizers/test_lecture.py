"""The lecture's own numbers (CS221, nonlinear features and feature templates)."""

import pytest

from featurizers import (
    Bins,
    Cells,
    Contains,
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

ADDRESS = "abc@gmail.com"


def dot(weights, features):
    return sum(weights.get(name, 0.0) * value for name, value in features.items())


def test_email_features():
    """The e-mail address has the lecture's features, and the fraction of alphanumerics is 11/13."""
    phi = Featurizer([LengthGreater(than=10), Fraction(of="alphanumeric"), Contains(text="@"), EndsWith(n=[3, 4])])
    assert phi(ADDRESS) == {
        "length>10": 1.0,
        "fracOfAlpha": 11 / 13,
        "contains_@": 1.0,
        "endsWith_com": 1.0,
        "endsWith_.com": 1.0,
    }


def test_email_score():
    """The lecture's weights give its score of 4.51, with its fraction rounded to 0.85."""
    phi = Featurizer([LengthGreater(than=10), Fraction(of="alphanumeric"), Contains(text="@"), EndsWith(n=4)])
    features = phi(ADDRESS)
    assert features["fracOfAlpha"] == pytest.approx(0.85, abs=0.005)
    weights = {"length>10": -1.2, "fracOfAlpha": 0.6, "contains_@": 3, "endsWith_.com": 2.2, "endsWith_.org": 1.4}
    assert dot(weights, features | {"fracOfAlpha": 0.85}) == pytest.approx(4.51)


def test_last_characters_are_one_feature_of_many():
    """Of all the features of "last character equals ___" one is there, and the others are left out."""
    assert Featurizer([EndsWith(n=1)])(ADDRESS) == {"endsWith_m": 1.0}


def test_quadratic_features():
    """phi(3) = [1, 3, 9]."""
    assert list(Featurizer([Powers("x", degrees=[0, 1, 2])])({"x": 3}).values()) == [1.0, 3.0, 9.0]


def test_piecewise_constant_features():
    """phi(2.3) = [0, 0, 1, 0, 0]."""
    features = Featurizer([Bins("x", edges=range(6))])({"x": 2.3})
    assert [features.get(f"{low}<x<={low + 1}", 0.0) for low in range(5)] == [0, 0, 1, 0, 0]


def test_periodic_features():
    """phi(2) = [1, 2, 4, cos(6) = 0.96]."""
    features = Featurizer([Powers("x", degrees=[0, 1, 2]), Periodic("x", frequency=3)])({"x": 2})
    assert [features["x^0"], features["x"], features["x^2"]] == [1.0, 2.0, 4.0]
    assert features["cos(3x)"] == pytest.approx(0.96, abs=0.005)


@pytest.mark.parametrize("x1", [-1.0, -0.3, 0.0, 0.9, 1.0, 2.2, 2.6])
@pytest.mark.parametrize("x2", [-0.5, 0.1, 1.0, 2.3, 3.0])
def test_circle_classifier(x1, x2):
    """The weights [2, 2, -1] decide as the circle around (1, 1) with radius sqrt(2) does."""
    phi = Featurizer([Number("x1"), Number("x2"), SumOfSquares(of=["x1", "x2"])])
    score = dot({"x1": 2, "x2": 2, "x1^2+x2^2": -1}, phi({"x1": x1, "x2": x2}))
    assert score == pytest.approx(2 - (x1 - 1) ** 2 - (x2 - 1) ** 2)


def test_circle_boundary():
    """[0, 0] has no features, so its score is 0: it is on the boundary."""
    phi = Featurizer([Number("x1"), Number("x2"), SumOfSquares(of=["x1", "x2"])])
    assert phi({"x1": 0, "x2": 0}) == {}


def test_place_and_pixel():
    """The aerial image's place and its red pixel at row 10, column 93 have their features."""
    image = [[[0, 0, 0]] * 100 for _ in range(11)]
    image[10] = [[0, 0, 0]] * 93 + [[0.8, 0, 0]] + [[0, 0, 0]] * 6
    phi = Featurizer([Pixels("image"), Cells(size=0.1)])
    assert phi({"image": image, "lat": 37.4068176, "lon": -122.1715122}) == {
        "pixel(10,93,red)": 0.8,
        "lat in [37.4,37.5] lon in [-122.2,-122.1]": 1.0,
    }
