"""Losses, each of them: found in `LOSSES`, so that a new one is tested from its first day."""

import dataclasses
import inspect
import itertools
import math
import pkgutil
from functools import partial
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner import losses
from learner.losses import LOSSES, Loss
from learner.losses.links import logistic
from learner.tasks import TASKS

EXPECTED = {  # (score, target): value
    "squared": {(3.0, 1.0): 4.0, (1.0, 1.0): 0.0, (-2.0, 0.5): 6.25},
    "logistic": {
        (0.0, 1.0): math.log(2),
        (0.0, -1.0): math.log(2),
        (2.0, -1.0): math.log(1 + math.e**2),
        (800.0, -1.0): 800.0,
    },
    "quantile": {(0.0, 1.0): 0.5, (3.0, 1.0): 1.0, (2.0, 2.0): 0.0, (-2.0, 0.5): 1.25},
    "poisson": {
        (0.0, 1.0): 0.0,
        (0.0, 0.0): 2.0,
        (math.log(3), 3.0): 0.0,
        (1.0, 3.0): 2 * (3 * math.log(3 / math.e) - (3 - math.e)),
        (-800.0, 2.0): 2 * (2 * (math.log(2) + 800) - 2),
        (-800.0, 0.0): 0.0,
    },
    "hinge": {(0.0, 1.0): 1.0, (1.0, 1.0): 0.0, (2.0, -1.0): 3.0, (5.0, 1.0): 0.0},
}

PARTS = ("value", "derivative", "step", "quadratic")  # that take a level
ALL = LOSSES | {
    f"quantile at {level}": dataclasses.replace(
        LOSSES["quantile"],
        **{part: partial(getattr(LOSSES["quantile"], part), level=level) for part in PARTS},
    )
    for level in (0.03, 0.9)
}
every_loss = pytest.mark.parametrize("loss", ALL.values(), ids=ALL)
scores = st.floats(-1e4, 1e4)
distances = st.floats(-12, 12).map(lambda e: 10.0**e)
importances = st.floats(0, 100)


def targets(loss):
    return {"binary": (-1.0, 1.0), "poisson": (0.0, 0.3, 2.5)}.get(loss.task, (-1.7, 0.0, 2.5))


def any_target(loss):
    """Hypothesis's targets."""
    return (
        st.sampled_from(targets(loss))
        if loss.task == "binary"
        else st.floats(0.0 if loss.task == "poisson" else -1e4, 1e4)
    )


def test_every_function_of_every_file_belongs_to_a_loss():
    """A loss that is written but not listed would be tested by nobody."""
    files = [import_module(found.name) for found in pkgutil.walk_packages(losses.__path__, f"{losses.__name__}.")]
    assert {file.__name__.rpartition(".")[2] for file in files} == LOSSES.keys() | {"links"}
    listed = {getattr(loss, part) for loss in LOSSES.values() for part in (*PARTS, "link")}
    written = {
        function
        for file in (losses, *files)
        for _, function in inspect.getmembers(file, inspect.isfunction)
        if function.__module__ == file.__name__
    }
    assert written - {losses._table} == listed


def test_every_loss_has_the_functions_of_its_own_file():
    for name, loss in LOSSES.items():
        file = import_module(f"{losses.__name__}.{name}")
        assert [getattr(loss, part) for part in PARTS] == [getattr(file, part) for part in PARTS]
        takes_level = {"level" in inspect.signature(getattr(loss, part)).parameters for part in PARTS}
        assert takes_level == {loss.has_level}


def test_losses_are_known_by_their_names_and_by_codes_of_their_own():
    assert all(name == loss.name for name, loss in LOSSES.items())
    assert len({loss.code for loss in LOSSES.values()}) == len(LOSSES)
    # a multi-class model is a binary one a class
    single = {task: entry.loss for task, entry in TASKS.items() if task != "multiclass"}
    assert {loss.task for loss in LOSSES.values()} == set(single)
    assert all(LOSSES[name].task == task for task, name in single.items())


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_value_is_the_formula(loss):
    for (s, y), expected in EXPECTED[loss.name].items():
        assert loss.value(s, y) == pytest.approx(expected, rel=1e-12, abs=1e-15)


@every_loss
def test_a_derivative_is_the_finite_difference(loss):
    h = 1e-5
    for y in targets(loss):
        for s in (-30.0, -7.3, -1.01, -0.99, -0.3, 0.0, 0.2, 0.99, 1.01, 5.1, 30.0):
            if loss.task == "quantile" and s == y:  # the kink, where any slope between the two is one
                continue
            difference = (loss.value(s + h, y) - loss.value(s - h, y)) / (2 * h)
            assert loss.derivative(s, y) == pytest.approx(difference, rel=1e-6, abs=1e-8), (s, y)


# ---- the loss as a filter takes it -----------------------------------------------------------------------------------
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
    """That of hinge is squared, as is the loss that is taken in its place; of log odds there is none."""
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


# ---- steps -----------------------------------------------------------------------------------------------------------
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
@given(s=scores, q=distances, importance=importances, data=st.data())
def test_nothing_is_ever_nan_or_infinite(loss, s, q, importance, data):
    y = data.draw(any_target(loss))
    found = (loss.value(s, y), loss.derivative(s, y), loss.step(s, y, q, importance), loss.link(s))
    assert all(map(math.isfinite, found)), found
    assert loss.value(s, y) >= 0.0


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


@pytest.mark.parametrize(
    "loss", [loss for loss in LOSSES.values() if loss.task == "binary"], ids=lambda loss: loss.name
)
@given(s=scores, q=distances)
def test_the_two_targets_mirror_each_other(loss, s, q):
    assert loss.value(s, 1.0) == loss.value(-s, -1.0)
    assert loss.derivative(s, 1.0) == -loss.derivative(-s, -1.0)
    assert loss.step(s, 1.0, q, 1.0) == -loss.step(-s, -1.0, q, 1.0)
    curvature, slope, residual = loss.quadratic(s, 1.0, q)
    mirrored = (curvature, -slope, residual)
    assert loss.quadratic(-s, -1.0, q) == pytest.approx(mirrored, rel=1e-12, abs=1e-15)


@given(st.floats(-1e4, 1e4))
def test_the_logistic_function_is_a_probability_and_its_mirror(s):
    p = logistic(s)
    assert 0.0 <= p <= 1.0
    assert p + logistic(-s) == pytest.approx(1.0)
    if abs(s) < 30:
        assert math.log(p) - math.log(1 - p) == pytest.approx(s, abs=1e-2)


def test_the_link_of_a_task_gives_its_prediction():
    for loss in LOSSES.values():
        assert isinstance(loss, Loss)
        assert loss.link(3.0) == {"binary": logistic(3.0), "poisson": math.exp(3.0)}.get(loss.task, 3.0)


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
