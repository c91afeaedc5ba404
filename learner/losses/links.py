"""Links: from a score to a prediction."""

import math

__all__ = ["exponential", "identity", "logistic"]


def logistic(score: float) -> float:
    """Return the logistic function ``1 / (1 + e^-score)``, a probability in [0, 1].

    >>> logistic(0.0)
    0.5
    """
    if score >= 0.0:
        return 1.0 / (1.0 + math.exp(-score))
    e = math.exp(score)
    return e / (1.0 + e)


def exponential(score: float) -> float:
    """Return ``e^score``, the rate whose logarithm is the score; finite for every score.

    >>> exponential(0.0)
    1.0
    """
    return math.exp(min(score, 700.0))


def identity(score: float) -> float:
    """Return the score itself: the prediction of a regression."""
    return score
