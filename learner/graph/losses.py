"""The losses of `learner.losses`, built from operations: each takes a score and a target and returns a node.

Score and target may be batches; then the node holds the loss of each example. At its kink a loss has the slope 0.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from learner.graph.engine import Node, Operand
from learner.graph.operations import exp, maximum, minimum, softplus, square
from learner.losses import LOSSES

__all__ = ["hinge_loss", "logistic_loss", "loss_of", "poisson_loss", "quantile_loss", "squared_loss"]


def loss_of(name: str) -> Callable[[Node, Operand], Node]:
    """Return the function here that has a name of `learner.losses.LOSSES`: `squared_loss` for ``"squared"``.

    >>> from learner.graph import Constant
    >>> loss_of("squared")(Constant(5.0), 2.0).f
    array(9.)
    """
    if name not in LOSSES:
        raise ValueError(f"loss: must be one of {', '.join(LOSSES)} (got {name!r})")
    function: Callable[[Node, Operand], Node] = globals()[f"{name}_loss"]
    return function


def squared_loss(score: Node, y: Operand) -> Node:
    """Return ``(score - y)^2``."""
    return square(score - y)


def logistic_loss(score: Node, y: Operand) -> Node:
    """Return ``log(1 + e^(-score y))``, for targets of -1 and +1."""
    return softplus(-(score * y))


def hinge_loss(score: Node, y: Operand) -> Node:
    """Return ``max(0, 1 - score y)``, for targets of -1 and +1."""
    return maximum(0.0, 1.0 - score * y)


def quantile_loss(score: Node, y: Operand, level: float = 0.5) -> Node:
    """Return ``level (y - score)`` for a score below the target and ``(1 - level) (score - y)`` for one above it."""
    return level * maximum(0.0, y - score) + (1.0 - level) * maximum(0.0, score - y)


def poisson_loss(score: Node, y: ArrayLike | Node) -> Node:
    """Return the deviance ``2 (e^score - y - y (score - log y))``, for targets of at least 0.

    Above a score of 32 the exponential goes on as its tangent there, so that it never overflows.
    """
    targets = np.asarray(y.f if isinstance(y, Node) else y, np.float64)
    log_y = np.log(np.where(targets > 0.0, targets, 1.0))
    c = minimum(score, 32.0)
    return 2.0 * (exp(c) * (1.0 + (score - c)) - (targets + targets * (score - log_y)))
