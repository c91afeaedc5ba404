"""Losses: how wrong a score is, and which way is less wrong. One file a loss, one line a loss in the table below.

A loss is a handful of scalar functions of the score ``s = w . phi(x)`` and the target ``y``. One number, the derivative
``d loss / d score``, joins every loss to every model: a linear model multiplies it by ``phi(x)``, a network passes it back.

``value(s, y)`` and ``derivative(s, y)``
    The loss and its derivative by the score.
``step(s, y, q, importance)``
    The *importance-aware step* (Karampatziakis and Langford, 2011, "Online importance weight aware updates", sections 3 and
    4): the change of the score, divided by ``q``, that following the gradient **continuously** over a distance
    ``q = learning rate * u . r`` would give. It never oversteps the target, whatever the rate, which is why rates of 0.5 and
    of 32 can live side by side.
``quadratic(s, y, precision)``
    The loss as a Kalman filter takes it, at a score: its curvature, its slope downwards, and the residual. The precision is
    the inverse of the mean residual so far.

The functions are plain Python on floats and call no other function of ours: the kernels compile these very functions. Those
of a loss with a level take it last.
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
    """A loss and what a learner needs of it; all functions are scalar.

    Attributes
    ----------
    name : str
        What users call it.
    code : int
        What the kernels choose it by: its place in the table.
    task : str
        The task that learns by it: a name in `learner.tasks.TASKS`.
    value, derivative, step, quadratic : callable
        See the module. Those of the quantile loss take its level last, by default 0.5.
    link : callable
        ``score -> prediction``.
    measure, unit, score_unit : str
        What its mean is called, what that is measured in, and what a score is measured in.
    has_level : bool
        Whether the functions take a level.
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
