"""The squared loss ``(s - y)^2`` of a regression."""

import math


def value(s: float, y: float) -> float:
    """Return ``(s - y)^2``."""
    return (s - y) * (s - y)


def derivative(s: float, y: float) -> float:
    """Return ``2 (s - y)``."""
    return 2.0 * (s - y)


def step(s: float, y: float, q: float, importance: float) -> float:
    """Return the importance-aware step ``(y - s) (1 - e^(-2 q importance)) / q`` (2011, table 1), for ``q > 0``."""
    return (s - y) * math.expm1(-2.0 * q * importance) / q


def quadratic(s: float, y: float, precision: float) -> tuple[float, float, float]:
    """Return the curvature, the negative slope, and the residual, which is the squared error.

    For a Kalman filter the loss is half the squared error over the noise's variance, so the curvature is the precision.
    """
    return precision, precision * (y - s), (y - s) * (y - s)
