"""The pinball loss of a quantile: ``level (y - s)`` for a target above the score, ``(1 - level) (s - y)`` for one below."""


def value(s: float, y: float, level: float = 0.5) -> float:
    """Return the pinball loss ``max(level (y - s), (level - 1) (y - s))``, whose mean is smallest at that quantile of y.

    Koenker and Bassett, 1978, "Regression quantiles".
    """
    return max(level * (y - s), (level - 1.0) * (y - s))


def derivative(s: float, y: float, level: float = 0.5) -> float:
    """Return ``-level`` below the target, ``1 - level`` above it, 0 at it."""
    if s == y:
        return 0.0
    return -level if y > s else 1.0 - level


def step(s: float, y: float, q: float, importance: float, level: float = 0.5) -> float:
    """Return the importance-aware step: the negative slope times the importance, at most up to the target (2011, table 1)."""
    if y > s:
        return min(level * importance, (y - s) / q)
    return -min((1.0 - level) * importance, (s - y) / q)


def quadratic(s: float, y: float, precision: float, level: float = 0.5) -> tuple[float, float, float]:
    """Return the curvature, the negative slope, and the residual, which is the pinball loss.

    The loss is treated as the negative log likelihood of an asymmetric Laplace distribution (Yu, Moyeed, 2001, "Bayesian
    quantile regression") whose scale is the mean residual. The curvature is its Fisher information.
    """
    slope = 0.0
    if s != y:
        slope = -level if y > s else 1.0 - level
    residual = max(level * (y - s), (level - 1.0) * (y - s))
    return precision * precision * level * (1.0 - level), -precision * slope, residual
