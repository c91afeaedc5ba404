"""Each loss as a filter takes it: curvature, slope and residual."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.losses.cases import any_target, every_loss, scores, targets

PRECISIONS = (1e-3, 0.5, 1.0, 40.0)
SCORES = (-30.0, -7.3, -1.01, -0.99, -0.3, 0.0, 0.2, 0.99, 1.01, 5.1, 30.0)


def points(loss):
    """Scores, targets and precisions."""
    return itertools.product(SCORES, targets(loss), PRECISIONS)


@every_loss
def test_the_slope_downwards_is_the_derivatives_up_to_the_scaling(loss):
    """Half of the squares over the variance; the pinball loss over its mean; log odds as they are; hinge's value squared."""
    for s, y, precision in points(loss):
        scaling = {
            "squared": 0.5 * precision,
            "logistic": 1.0,
            "hinge": precision * loss.value(s, y),
            "quantile": precision,
            "poisson": 0.5 * precision,
        }[loss.name]
        _, slope, _ = loss.quadratic(s, y, precision)
        assert slope == pytest.approx(-scaling * loss.derivative(s, y), rel=1e-12, abs=1e-12), (s, y, precision)


@every_loss
def test_the_residual_is_the_loss_itself_where_it_has_a_scale(loss):
    """The hinge's residual is squared, as the filter squares the loss; log odds have no residual."""
    for s, y, precision in points(loss):
        value = loss.value(s, y)
        expected = {"logistic": 0.0, "hinge": value * value}.get(loss.name, value)
        assert loss.quadratic(s, y, precision)[2] == pytest.approx(expected, rel=1e-12, abs=1e-15), (s, y)


@every_loss
def test_the_curvature_is_that_of_the_slope(loss):
    """Its finite difference; but the Fisher information of a pinball loss, and at least a little where it is steep nowhere."""
    h = 1e-5
    for s, y, precision in points(loss):
        curvature, slope, _ = loss.quadratic(s, y, precision)
        if loss.name == "quantile":
            level = -loss.derivative(-1e9, 0.0)
            assert curvature == pytest.approx(precision * precision * level * (1.0 - level), rel=1e-12)
            continue
        if loss.name == "poisson" and y > math.exp(s) * 1.000001:
            expected = slope / (math.log(y) - s)  # the chord: a step goes to the target, and no further
        else:
            expected = (loss.quadratic(s - h, y, precision)[1] - loss.quadratic(s + h, y, precision)[1]) / (2 * h)
        least = {"logistic": 1e-3, "poisson": 1e-3 * precision}.get(loss.name, 0.0)
        assert curvature == pytest.approx(max(expected, least), rel=1e-6, abs=1e-9), (s, y, precision)


@every_loss
@given(s=scores, precision=st.floats(-12, 12).map(lambda e: 10.0**e), data=st.data())
def test_a_filter_gets_finite_numbers_and_a_curvature_that_is_none_or_above(loss, s, precision, data):
    """Whatever the score; without a curvature there is no slope either, so that a step is always finite."""
    y = data.draw(any_target(loss))
    curvature, slope, residual = loss.quadratic(s, y, precision)
    assert all(map(math.isfinite, (curvature, slope, residual)))
    assert curvature >= 0.0
    assert residual >= 0.0
    assert curvature > 0.0 or slope == 0.0
    assert slope * -loss.derivative(s, y) >= 0.0 or abs(slope) < 1e-9 * precision
