"""The logistic loss ``log(1 + e^(-y s))`` of two classes, y in {-1, +1}."""

import math


def value(s: float, y: float) -> float:
    """Return ``log(1 + e^(-y s))`` in nats, for a target of -1 or +1."""
    m = y * s
    if m >= 0.0:
        return math.log1p(math.exp(-m))
    return math.log1p(math.exp(m)) - m


def derivative(s: float, y: float) -> float:
    """Return ``-y / (1 + e^(y s))``."""
    m = y * s
    if m >= 0.0:
        e = math.exp(-m)
        return -y * e / (1.0 + e)
    return -y / (1.0 + math.exp(m))


def step(s: float, y: float, q: float, importance: float) -> float:
    """Return the importance-aware step ``y (v1 - v0) / q``, for ``q > 0``.

    ``v1`` is the root of ``v + e^v = v0 + e^v0 + q importance`` with ``v0 = y s`` (2011, equation 9), computed by two steps of
    Halley's method from above.
    """
    v0 = y * s
    d = q * importance
    if v0 > 15.0:  # e^v dwarfs v, so that v1 = log(e^v0 + d)
        return y * math.log1p(d * math.exp(-v0)) / q
    if d < 1e-6:  # v1 - v0 would be mostly rounding error: take the plain gradient step
        return y * importance / (1.0 + math.exp(v0))
    e0 = math.exp(v0)
    c = v0 + e0 + d
    v = v0 + d / (1.0 + e0)  # at or above the root; so is the bound
    if v > v0 + 0.5:
        bound = math.log(c) if c > 1.0 else min(c, 0.0)
        v = min(v, bound)
    for _ in range(2):
        e = math.exp(v)
        f, slope = v + e - c, 1.0 + e
        v -= 2.0 * f * slope / (2.0 * slope * slope - f * e)
    return y * (v - v0) / q


def quadratic(s: float, y: float, precision: float) -> tuple[float, float, float]:
    """Return the curvature ``p (1 - p)``, at least 0.001, the negative slope, and 0: this loss has no scale to estimate."""
    if s >= 0.0:
        p = 1.0 / (1.0 + math.exp(-s))
    else:
        e = math.exp(s)
        p = e / (1.0 + e)
    return max(p * (1.0 - p), 1e-3), (1.0 if y > 0.0 else 0.0) - p, 0.0
