"""Progressive evaluation: the counting that all tasks share; `learner.metrics` says where each sum lies."""

from learner.kernels.jit import compiled, inlined
from learner.metrics import CURRENT, HALF_WINDOW, OLDER, PREVIOUS, WEIGHT, N


@inlined
def is_full(metrics):
    """Tell whether the younger half of the window is full."""
    return metrics[CURRENT, N] == HALF_WINDOW


@compiled
def move_up(metrics):
    """Begin a new half of the window: the older half's sums are added to those of the examples before the window."""
    older, previous = metrics[OLDER], metrics[PREVIOUS]
    for i in range(metrics.shape[1]):
        older[i] += previous[i]
        previous[i] = metrics[CURRENT, i]
        metrics[CURRENT, i] = 0.0


@inlined
def count_example(metrics, importance):
    """Count an example; the caller then adds its errors to the sums of the row CURRENT."""
    if is_full(metrics):
        move_up(metrics)
    metrics[CURRENT, N] += 1.0
    metrics[CURRENT, WEIGHT] += importance
