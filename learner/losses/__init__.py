"""Losses: how wrong a score is, and in which direction it is less wrong. Each loss has a file, and a line in the table below.

A loss is four scalar functions of the score ``s = w . phi(x)`` and the target ``y``. One number, the derivative
``d loss / d score``, connects any loss to any model: a linear model multiplies it by ``phi(x)``, a network propagates it back.

``value(s, y)`` and ``derivative(s, y)``
    The loss and its derivative by the score.
``step(s, y, q, importance)``
    The *importance-aware step* (Karampatziakis and Langford, 2011, "Online importance weight aware updates", sections 3 and
    4): the change of the score, divided by ``q``, if the gradient is followed **continuously** over the distance
    ``q = learning rate * u . r``. It never oversteps the target at any rate, so rates as different as 0.5 and 32 work side by
    side.
``quadratic(s, y, precision)``
    The loss near a score, for a Kalman filter: its curvature, its negative slope, and the residual. ``precision`` is the
    inverse of the mean residual so far.

The functions are plain Python on floats and call no other function of this package: the kernels compile these very functions.
The functions of the quantile loss take its level as their last argument.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from learner.losses import hinge, logistic, poisson, quantile, squared
from learner.losses.links import exponential, identity
from learner.losses.links import logistic as probability

__all__ = ["LOSSES", "Loss"]


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss, as learners use it; all functions are scalar.

    Attributes
    ----------
    name : str
        The name in specs and commands.
    code : int
        The place in the table, by which the kernels choose it.
    task : str
        The task that it belongs to: a name in `learner.tasks.TASKS`.
    value, derivative, step, quadratic : callable
        See the module.
    link : callable
        ``score -> prediction``.
    measure, unit, score_unit : str
        The name of its mean, the unit of that mean, and the unit of a score.
    has_level : bool
        Whether the functions take a level, by default 0.5.
    """

    name: str
    code: int
    task: str
    value: Callable[[float, float], float]
    derivative: Callable[[float, float], float]
    step: Callable[[float, float, float, float], float]
    quadratic: Callable[[float, float, float], tuple[float, float, float]]
    link: Callable[[float], float]
    measure: str
    unit: str
    score_unit: str
    has_level: bool = False


def _table(*lines: tuple[str, str, ModuleType, Callable[[float], float], tuple[str, str, str]]) -> dict[str, Loss]:
    table = {}
    for code, (name, task, module, link, words) in enumerate(lines):
        functions = module.value, module.derivative, module.step, module.quadratic
        table[name] = Loss(name, code, task, *functions, link, *words, "level" in module.value.__annotations__)
    return table


UNITS = "the target's units"

LOSSES = _table(
    ("squared", "regression", squared, identity, ("squared error", f"{UNITS}, squared", UNITS)),
    ("logistic", "binary", logistic, probability, ("log loss", "nats an example", "log-odds")),
    ("hinge", "binary", hinge, probability, ("hinge loss", "an example", "score")),
    ("quantile", "quantile", quantile, identity, ("pinball loss", UNITS, UNITS)),
    ("poisson", "poisson", poisson, exponential, ("deviance", "an example", "log rate")),
)
