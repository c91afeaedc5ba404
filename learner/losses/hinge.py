"""The hinge loss ``max(0, 1 - y s)`` of two classes, y in {-1, +1}."""


def value(s: float, y: float) -> float:
    """Return ``max(0, 1 - y s)``, for a target of -1 or +1."""
    return max(0.0, 1.0 - y * s)


def derivative(s: float, y: float) -> float:
    """Return ``-y`` where the margin ``y s`` is below 1, else 0."""
    return -y if y * s < 1.0 else 0.0


def step(s: float, y: float, q: float, importance: float) -> float:
    """Return the importance-aware step ``y min(importance, (1 - y s) / q)`` (2011, table 1), 0 beyond the margin."""
    m = 1.0 - y * s
    if m <= 0.0:
        return 0.0
    return y * min(importance, m / q)


def quadratic(s: float, y: float, precision: float) -> tuple[float, float, float]:
    """Return the curvature, the negative slope, and the residual of the squared hinge loss; 0 beyond the margin."""
    if y * s >= 1.0:
        return 0.0, 0.0, 0.0
    return precision, precision * (y - s), (y - s) * (y - s)
