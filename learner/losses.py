"""Losses: how wrong a score is, and which way is less wrong.

Every loss is a handful of scalar functions of the score ``s = w . phi(x)`` and the target ``y``. One number, the derivative
``d loss / d score``, joins every loss to every model: a linear model multiplies it by ``phi(x)``, a network passes it back.

Each loss also knows its *importance-aware step* (Karampatziakis and Langford, 2011, "Online importance weight aware
updates", sections 3 and 4): the change of the score, divided by ``q``, that following the gradient **continuously** over a
distance ``q = learning rate * u . r`` would give. It never oversteps the target, whatever the rate, which is why rates of 0.5
and of 32 can live side by side.

The functions are plain Python on floats: `learner.kernels` compiles these very functions.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["LOSSES", "Loss", "logistic"]

MAX_LOG_RATE = 32.0  # of the Poisson loss: float32 holds the squares of rates up to here


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


# ---- squared: (s - y)^2 ----------------------------------------------------------------------------------------------
def squared_value(s: float, y: float) -> float:
    """Return ``(s - y)^2``."""
    return (s - y) * (s - y)


def squared_derivative(s: float, y: float) -> float:
    """Return ``2 (s - y)``."""
    return 2.0 * (s - y)


def squared_step(s: float, y: float, q: float, importance: float) -> float:
    """Return the importance-aware step ``(y - s) (1 - e^(-2 q importance)) / q`` (2011, table 1), for ``q > 0``."""
    return (s - y) * math.expm1(-2.0 * q * importance) / q


# ---- logistic: log(1 + e^(-y s)), y in {-1, +1} ----------------------------------------------------------------------
def logistic_value(s: float, y: float) -> float:
    """Return ``log(1 + e^(-y s))`` in nats, for a target of -1 or +1."""
    m = y * s
    if m >= 0.0:
        return math.log1p(math.exp(-m))
    return math.log1p(math.exp(m)) - m


def logistic_derivative(s: float, y: float) -> float:
    """Return ``-y / (1 + e^(y s))``."""
    m = y * s
    if m >= 0.0:
        e = math.exp(-m)
        return -y * e / (1.0 + e)
    return -y / (1.0 + math.exp(m))


def logistic_step(s: float, y: float, q: float, importance: float) -> float:
    """Return the importance-aware step ``y (v1 - v0) / q``, for ``q > 0``.

    ``v1`` is the root of ``v + e^v = v0 + e^v0 + q importance`` with ``v0 = y s`` (2011, equation 9), by two of Halley's steps
    from above.
    """
    v0 = y * s
    d = q * importance
    if v0 > 15.0:  # e^v dwarfs v, so that v1 = log(e^v0 + d)
        return y * math.log1p(d * math.exp(-v0)) / q
    if d < 1e-6:  # v1 - v0 would be rounding error: the plain gradient step
        return y * importance / (1.0 + math.exp(v0))
    e0 = math.exp(v0)
    c = v0 + e0 + d
    v = v0 + d / (1.0 + e0)  # at or above the root, as is the bound
    if v > v0 + 0.5:
        bound = math.log(c) if c > 1.0 else min(c, 0.0)
        v = min(v, bound)
    for _ in range(2):
        e = math.exp(v)
        f, slope = v + e - c, 1.0 + e
        v -= 2.0 * f * slope / (2.0 * slope * slope - f * e)
    return y * (v - v0) / q


# ---- hinge: max(0, 1 - y s), y in {-1, +1} ---------------------------------------------------------------------------
def hinge_value(s: float, y: float) -> float:
    """Return ``max(0, 1 - y s)``, for a target of -1 or +1."""
    return max(0.0, 1.0 - y * s)


def hinge_derivative(s: float, y: float) -> float:
    """Return ``-y`` where the margin ``y s`` is below 1, else 0."""
    return -y if y * s < 1.0 else 0.0


def hinge_step(s: float, y: float, q: float, importance: float) -> float:
    """Return the importance-aware step ``y min(importance, (1 - y s) / q)`` (2011, table 1), 0 beyond the margin."""
    m = 1.0 - y * s
    if m <= 0.0:
        return 0.0
    return y * min(importance, m / q)


# ---- quantile: level (y - s) above the score, (1 - level) (s - y) below --------------------------------------------------
def quantile_value(s: float, y: float, level: float = 0.5) -> float:
    """Return the pinball loss ``max(level (y - s), (level - 1) (y - s))``, least in the mean at that quantile of y.

    Koenker and Bassett, 1978, "Regression quantiles".
    """
    return max(level * (y - s), (level - 1.0) * (y - s))


def quantile_derivative(s: float, y: float, level: float = 0.5) -> float:
    """Return ``-level`` below the target, ``1 - level`` above it, 0 at it."""
    if s == y:
        return 0.0
    return -level if y > s else 1.0 - level


def quantile_step(s: float, y: float, q: float, importance: float, level: float = 0.5) -> float:
    """Return the importance-aware step: the slope times the importance, or up to the target (2011, table 1)."""
    if y > s:
        return min(level * importance, (y - s) / q)
    return -min((1.0 - level) * importance, (s - y) / q)


# ---- poisson: the deviance 2 (y log(y / e^s) - (y - e^s)), y >= 0 -----------------------------------------------------------
def poisson_value(s: float, y: float) -> float:
    """Return the Poisson deviance ``2 (e^s - y - y (s - log y))`` of a rate ``e^s``, for a target of at least 0.

    It is twice the negative log likelihood, less that of the rate y (McCullagh and Nelder, 1989, "Generalized linear models",
    section 2.3). Beyond `MAX_LOG_RATE` it goes on straight.
    """
    c = min(s, MAX_LOG_RATE)
    v = math.exp(c) * (1.0 + (s - c))
    if y > 0.0:
        v -= y + y * (s - math.log(y))
    return 2.0 * max(v, 0.0)


def poisson_derivative(s: float, y: float) -> float:
    """Return ``2 (e^s - y)``."""
    return 2.0 * (math.exp(min(s, MAX_LOG_RATE)) - y)


def poisson_step(s: float, y: float, q: float, importance: float) -> float:
    """Return the importance-aware step ``m / q``, for ``q > 0``.

    ``z = e^-s`` follows ``dz/dt = 2 (1 - y z)``, so that over a distance ``d = 2 q importance``
    ``e^-m = z / z_0 = 1 + k (e^s - y)`` with ``k = (1 - e^(-y d)) / y``, or d for y = 0 (the equation of 2011, section 4, for
    this loss; it has no entry in table 1).
    """
    rate = math.exp(min(max(s, -MAX_LOG_RATE), MAX_LOG_RATE))
    d = 2.0 * q * importance
    k = -math.expm1(-y * d) / y if y > 0.0 else d
    change = k * (rate - y)
    if change > -0.5:
        return -math.log1p(change) / q
    return -math.log(math.exp(-y * d) + k * rate) / q


@dataclass(frozen=True, slots=True)
class Loss:
    """A loss and what a learner needs of it; all functions are scalar.

    Attributes
    ----------
    name : str
        What users call it.
    code : int
        What the compiled kernels call it.
    task : str
        ``"binary"`` (targets -1 and +1), ``"regression"`` and ``"quantile"`` (any finite number) or ``"poisson"`` (at least 0).
    value, derivative : callable
        ``(score, target) -> float``: the loss, and its derivative by the score. The quantile loss's functions take its level
        last, by default 0.5.
    step : callable
        ``(score, target, q, importance) -> float``: the importance-aware step.
    link : callable
        ``score -> prediction``.
    """

    name: str
    code: int
    task: str
    value: Callable[[float, float], float]
    derivative: Callable[[float, float], float]
    step: Callable[[float, float, float, float], float]
    link: Callable[[float], float]


SQUARED, LOGISTIC, HINGE, QUANTILE, POISSON = range(5)

LOSSES: dict[str, Loss] = {
    loss.name: loss
    for loss in (
        Loss("squared", SQUARED, "regression", squared_value, squared_derivative, squared_step, identity),
        Loss("logistic", LOGISTIC, "binary", logistic_value, logistic_derivative, logistic_step, logistic),
        Loss("hinge", HINGE, "binary", hinge_value, hinge_derivative, hinge_step, logistic),
        Loss("quantile", QUANTILE, "quantile", quantile_value, quantile_derivative, quantile_step, identity),
        Loss("poisson", POISSON, "poisson", poisson_value, poisson_derivative, poisson_step, exponential),
    )
}
