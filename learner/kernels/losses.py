"""The functions of `learner.losses`, compiled; the code of a `learner.kernels.records.Loss` chooses among them."""

from typing import Any

from learner.kernels.jit import compiled, inlined, switch
from learner.losses import LOSSES

__all__ = ["derivative", "quadratic", "step", "value"]


def _with_level(function: Any) -> Any:
    """Return a function that takes a level as its last argument and ignores it."""

    @inlined
    def ignoring_level(*arguments):
        return function(*arguments[:-1])

    return ignoring_level


def _chosen(name: str) -> Any:
    """Return one compiled function for all losses: it takes a loss's code, the function's own arguments, and a level."""
    functions = ((loss, inlined(getattr(loss, name))) for loss in LOSSES.values())
    return switch([function if loss.has_level else _with_level(function) for loss, function in functions])


_value, _derivative, _step, _quadratic = (_chosen(name) for name in ("value", "derivative", "step", "quadratic"))


@compiled
def value(loss, s, y):
    """Return the loss of a score."""
    return _value(loss.code, s, y, loss.level)


@compiled
def derivative(loss, s, y):
    """Return d loss / d score."""
    return _derivative(loss.code, s, y, loss.level)


@compiled
def step(loss, s, y, q, importance):
    """Return the importance-aware step."""
    return _step(loss.code, s, y, q, importance, loss.level)


@inlined
def quadratic(loss, s, y, precision):
    """Return the loss's curvature at a score, its negative slope, and the residual: see `learner.losses`."""
    return _quadratic(loss.code, s, y, precision, loss.level)
