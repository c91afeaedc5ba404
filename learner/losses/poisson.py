"""The Poisson deviance ``2 (y log(y / e^s) - (y - e^s))`` of counts and rates, y at least 0."""

import math

MAX_LOG_RATE = 32.0  # float32 holds the squares of rates up to here


def value(s: float, y: float) -> float:
    """Return the Poisson deviance ``2 (e^s - y - y (s - log y))`` of a rate ``e^s``, for a target of at least 0.

    It is twice the negative log likelihood of the rate, less twice that of the rate y (McCullagh and Nelder, 1989, "Generalized
    linear models", section 2.3). Beyond `MAX_LOG_RATE` the exponential continues as its tangent.
    """
    c = min(s, MAX_LOG_RATE)
    v = math.exp(c) * (1.0 + (s - c))
    if y > 0.0:
        v -= y + y * (s - math.log(y))
    return 2.0 * max(v, 0.0)


def derivative(s: float, y: float) -> float:
    """Return ``2 (e^s - y)``."""
    return 2.0 * (math.exp(min(s, MAX_LOG_RATE)) - y)


def step(s: float, y: float, q: float, importance: float) -> float:
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


def quadratic(s: float, y: float, precision: float) -> tuple[float, float, float]:
    """Return the curvature, the negative slope, and the residual, which is the deviance.

    The loss is divided by the dispersion, the mean deviance (Wedderburn, 1974, "Quasi-likelihood functions"; McCullagh,
    Nelder, 1989, "Generalized linear models", section 2.3). For a target above the rate, the curvature is the mean curvature
    between the score and the target, so that no step oversteps the target.
    """
    rate = math.exp(min(max(s, -MAX_LOG_RATE), MAX_LOG_RATE))
    curvature = (y - rate) / math.log(y / rate) if y > rate * 1.000001 else rate
    c = min(s, MAX_LOG_RATE)
    v = math.exp(c) * (1.0 + (s - c))
    if y > 0.0:
        v -= y + y * (s - math.log(y))
    return precision * max(curvature, 1e-3), precision * (y - rate), 2.0 * max(v, 0.0)
