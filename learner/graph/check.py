"""Gradients compared with finite differences."""

import numpy as np

from learner.graph.engine import Node, backward, forward, parameters

__all__ = ["check_gradient"]


def check_gradient(root: Node, seed: int = 0, step: float = 1e-6, tolerance: float = 1e-6) -> None:
    """Raise AssertionError unless the gradient by every parameter agrees with central finite differences.

    The root is projected on a random direction, and each parameter is moved along another. So one number is compared for each
    parameter; a wrong element anywhere in the Jacobian changes that number.

    Parameters
    ----------
    root : Node
        The root of the graph; it may hold several numbers.
    seed : int
        The seed of the random directions.
    step : float
        How far a parameter is moved, in each of the two directions.
    tolerance : float
        The largest difference allowed, relative to the gradient or to 1, whichever is larger.

    Examples
    --------
    >>> from learner.graph import Parameter, relu, square
    >>> a = Parameter([0.5, 2.0], "a")
    >>> check_gradient(square(square(a)))
    >>> check_gradient(relu(Parameter(0.0, "z")).named("h"))  # a kink has no gradient
    Traceback (most recent call last):
        ...
    AssertionError: h: the gradient by 'z' must be that of finite differences, -0.008... (got 0.0)
    """
    random = np.random.default_rng(seed)
    projection = random.standard_normal(forward(root).shape)
    backward(root, projection)
    for node in parameters(root):
        direction = random.standard_normal(node.f.shape)
        analytic = float(np.vdot(node.g, direction))
        value = node.f
        node.f = value + step * direction
        above = np.vdot(projection, forward(root))
        node.f = value - step * direction
        below = np.vdot(projection, forward(root))
        node.f = value
        numeric = float(above - below) / (2.0 * step)
        if not abs(analytic - numeric) <= tolerance * max(1.0, abs(analytic), abs(numeric)):
            rule = f"the gradient by '{node.label}' must be that of finite differences, {numeric!r}"
            raise AssertionError(f"{root.label}: {rule} (got {analytic!r})")
    forward(root)
