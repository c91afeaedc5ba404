"""Each loss: its value, its derivative, its link and its place in the table."""

import inspect
import math
import pkgutil
from importlib import import_module

import pytest
from hypothesis import given
from hypothesis import strategies as st

from learner import losses
from learner.losses import LOSSES, Loss
from learner.losses.links import logistic
from learner.tasks import TASKS
from tests.unit.losses.cases import PARTS, any_target, distances, every_loss, importances, scores, targets

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


def test_every_function_of_every_file_belongs_to_a_loss():
    """A loss that is written but not listed would be tested by nobody."""
    files = [import_module(module.name) for module in pkgutil.walk_packages(losses.__path__, f"{losses.__name__}.")]
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


@every_loss
@given(s=scores, q=distances, importance=importances, data=st.data())
def test_nothing_is_ever_nan_or_infinite(loss, s, q, importance, data):
    y = data.draw(any_target(loss))
    numbers = (loss.value(s, y), loss.derivative(s, y), loss.step(s, y, q, importance), loss.link(s))
    assert all(map(math.isfinite, numbers)), numbers
    assert loss.value(s, y) >= 0.0
