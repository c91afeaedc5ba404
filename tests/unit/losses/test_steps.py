"""Importance-aware steps follow the gradient continuously."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner.losses import LOSSES
from tests.unit.losses.cases import any_target, distances, every_loss, scores, targets


def integrate(loss, s, y, distance, n=2000):
    """Follow ``ds/dt = -d loss / d score`` over a distance, by n of Runge's and Kutta's steps."""
    h = distance / n
    for _ in range(n):
        k1 = -loss.derivative(s, y)
        k2 = -loss.derivative(s + 0.5 * h * k1, y)
        k3 = -loss.derivative(s + 0.5 * h * k2, y)
        k4 = -loss.derivative(s + h * k3, y)
        s += h * (k1 + 2 * k2 + 2 * k3 + k4) / 6
    return s


@every_loss
@pytest.mark.parametrize("q", [1e-8, 1e-3, 0.3, 2.0, 10.0])
def test_a_step_follows_the_gradient_continuously(loss, q):
    """Karampatziakis and Langford (2011): the limit of many small steps of the importance together."""
    for importance in (0.25, 1.0, 3.0):
        for y in targets(loss):
            for s in (-20.0, -3.0, -0.5, 0.0, 0.9, 4.0, 18.0):
                if loss.task == "poisson" and s > 1.0:  # too steep for Runge and Kutta: see the test of its equation
                    continue
                moved = integrate(loss, s, y, q * importance) - s
                near = 1e-7 + q * importance / 2000  # one step: where a loss has a kink, the integral passes it by less
                assert loss.step(s, y, q, importance) * q == pytest.approx(moved, rel=1e-4, abs=near), (
                    s,
                    y,
                    importance,
                )


@pytest.mark.parametrize("q", [1e-9, 1e-7, 1e-5, 1e-2, 1.0, 37.0, 1e3, 1e6, 1e12])
def test_a_logistic_step_solves_its_equation(q):
    """``v1 + e^v1 = v0 + e^v0 + q`` (2011, equation 9), in the form ``m + e^v0 (e^m - 1) = q`` that loses no digits."""
    for v0 in [x / 4 for x in range(-160, 161)]:
        m = LOSSES["logistic"].step(v0, 1.0, q, 1.0) * q
        assert m + math.exp(v0) * math.expm1(m) == pytest.approx(q, rel=2e-4), v0


@every_loss
@given(s=scores, q=distances, importance=st.floats(1e-3, 100), data=st.data())
def test_a_step_never_makes_the_loss_worse(loss, s, q, importance, data):
    """Whatever the rate: that is why rates of 0.5 and 32 can live side by side."""
    y = data.draw(any_target(loss))
    after = s + loss.step(s, y, q, importance) * q
    assert loss.value(after, y) <= loss.value(s, y) * (1 + 1e-9) + 1e-12


@every_loss
@given(s=st.floats(-50, 50), q=distances, data=st.data())
def test_a_step_grows_with_the_importance_and_is_nothing_without(loss, s, q, data):
    y = data.draw(st.sampled_from(targets(loss)))
    steps = [abs(loss.step(s, y, q, importance)) for importance in (0.0, 0.5, 1.0, 2.0, 50.0)]
    assert steps[0] == 0.0
    assert all(b >= a * (1 - 1e-3) for a, b in itertools.pairwise(steps)), steps


@every_loss
def test_a_small_step_is_the_plain_gradient(loss):
    for y in targets(loss):
        for s in (-5.0, 0.0, 0.5, 3.0):
            assert loss.step(s, y, 1e-9, 2.0) == pytest.approx(-2.0 * loss.derivative(s, y), rel=1e-5, abs=1e-9)


@given(s=st.floats(-30, 30), y=st.just(0.0) | st.floats(1e-30, 1e6), d=st.floats(-12, 6).map(lambda e: 10.0**e))
def test_a_poisson_step_solves_its_equation(s, y, d):
    """``z = e^-s`` follows ``dz/dt = 2 (1 - y z)``: the way that is left to go to ``1 / y`` shrinks by ``e^(-2 y d)``."""
    m = LOSSES["poisson"].step(s, y, d, 1.0) * d
    if y == 0.0:
        assert math.expm1(-m) * math.exp(-s) == pytest.approx(2.0 * d, rel=1e-9)
    else:
        left = (
            math.exp(s) - y if abs(m) < 1e-3 else None
        )  # the same, where little moved, in the form that loses no digits
        if left is None:
            assert math.exp(-m) == pytest.approx(
                -math.expm1(-2 * y * d) * math.exp(s) / y + math.exp(-2 * y * d), rel=1e-6
            )
        else:
            assert math.expm1(-m) == pytest.approx(-math.expm1(-2 * y * d) * left / y, rel=1e-6, abs=1e-300)
