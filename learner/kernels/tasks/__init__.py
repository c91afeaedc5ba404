"""The compiled halves of tasks: accepting targets, evaluating scores, and scaling targets for learning. Each task has a file.

A task's module has these functions; ``loss`` and ``state`` are a `Loss` and a `State` of `learner.kernels.records`.

``accept(y)``
    Return (whether a number is a valid target, the target).
``unit_and_offset(totals)``
    Return the factor and the summand that convert a mixed score into the targets' units.
``within_targets(totals, s)``
    Return a score, in the targets' units, limited by the targets seen.
``loss_at(loss, totals, s, y)``
    Return the loss of a score that `evaluate` would add to the progressive loss, without counting anything.
``evaluate(loss, state, s, y, importance, relative)``
    Count the errors of a score and of the best constant so far, with the importance; then update the statistics of the targets,
    with the relative importance (for a named algorithm the same number). Return the loss to report, and the target in the
    learner's own units; of numbers a target that is probably wrong is moved towards the score.
``trend(totals, y)``
    Return the number that the recent means follow, for a target in the learner's own units.
``has_scale(totals)``
    Tell whether the targets seen define a scale for learning.

`learner.tasks` has the tasks' other half, in Python.
"""

import functools
from typing import Any

from learner.kernels.jit import compiled, inlined, switch
from learner.kernels.tasks import binary, poisson, quantile, regression

__all__ = ["CODES", "TASKS", "accept", "evaluate", "has_scale", "loss_at", "trend", "unit_and_offset", "within_targets"]

TASKS = (binary, regression, quantile, poisson)
CODES = {task.__name__.rpartition(".")[2]: code for code, task in enumerate(TASKS)}


_inlined = functools.cache(inlined)  # tasks share functions


def _chosen(name: str, decorate: Any = _inlined) -> Any:
    """Return one compiled function for all tasks: it takes a task's code and the function's own arguments."""
    return switch([decorate(getattr(task, name)) for task in TASKS])


accept = _chosen("accept")
unit_and_offset = _chosen("unit_and_offset")
within_targets = _chosen("within_targets")
loss_at = _chosen("loss_at", compiled)
evaluate = _chosen("evaluate", compiled)
trend = _chosen("trend")
has_scale = _chosen("has_scale")
