"""The tasks' compiled halves: which targets there are, how a score is evaluated, and which target is learned. A file a task.

The module of a task has these functions. ``loss`` is a `learner.kernels.records.Loss`, ``state`` a `State` of there.

``accept(y)``
    (whether a number can be a target, the target that it is).
``unit_and_offset(totals)``
    What a mixed score is multiplied by, and what is then added, to make it a score in the targets' units.
``within_targets(totals, s)``
    A score in the targets' units, within the range of the targets seen.
``evaluate(loss, state, s, y, importance)``
    Count how good a score and the best constant are, before the target is known; then take the target in. Returns the loss
    that learning reports, and the target as it is learned.
``trend(totals, y)``
    What of a learned target the recent means follow.
``has_scale(totals)``
    Whether the targets seen tell a scale to learn on.

`learner.tasks` has what Python needs of a task.
"""

import functools
from typing import Any

from learner.kernels.jit import compiled, inlined, switch
from learner.kernels.tasks import binary, poisson, quantile, regression

__all__ = ["CODES", "accept", "evaluate", "has_scale", "trend", "unit_and_offset", "within_targets"]

TASKS = (binary, regression, quantile, poisson)
CODES = {task.__name__.rpartition(".")[2]: code for code, task in enumerate(TASKS)}


_inlined = functools.cache(inlined)  # tasks share functions


def _chosen(name: str, decorate: Any = _inlined) -> Any:
    """Return one compiled function of all tasks, which takes the task's code and the function's own arguments."""
    return switch([decorate(getattr(task, name)) for task in TASKS])


accept = _chosen("accept")
unit_and_offset = _chosen("unit_and_offset")
within_targets = _chosen("within_targets")
evaluate = _chosen("evaluate", compiled)
trend = _chosen("trend")
has_scale = _chosen("has_scale")
