"""The task of an adapter that predicts numbers, by its loss."""

from learner.errors import SpecError, show
from learner.losses import LOSSES

__all__ = ["task_of"]

NUMBERS = [name for name, loss in LOSSES.items() if loss.task != "binary"]


def task_of(loss: str | None) -> str:
    """Return the task that a loss of numbers is for; None stands for the squared loss.

    Raises
    ------
    SpecError
        When it is no such loss.

    >>> task_of(None), task_of("quantile")
    ('regression', 'quantile')
    """
    if loss is None:
        return "regression"
    if loss not in NUMBERS:
        raise SpecError(f"loss must be one of {', '.join(NUMBERS)} (got {show(loss)})")
    return LOSSES[loss].task
