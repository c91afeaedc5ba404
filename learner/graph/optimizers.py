"""Optimizers: `SGD`, `AdaGrad` and `Adam` each move parameters against their gradients, which `backward` has set."""

from collections.abc import Iterable

import numpy as np

from learner.graph.engine import Array, Parameter

__all__ = ["SGD", "AdaGrad", "Adam"]


class SGD:
    """Stochastic gradient descent: ``w <- w - rate g``.

    Robbins and Monro, 1951, "A stochastic approximation method", equation 8. Differs: the rate is constant.
    """

    def __init__(self, rate: float):
        self.rate = rate

    def update(self, nodes: Iterable[Parameter]) -> None:
        """Move each parameter one step against its gradient."""
        for node in nodes:
            node.f = node.f - self.rate * node.g


class AdaGrad:
    """A rate for each weight, from its past gradients: ``G <- G + g^2``, ``w <- w - rate g / (sqrt(G) + delta)``.

    Duchi, Hazan and Singer, 2011, "Adaptive subgradient methods for online learning and stochastic optimization", figure 1 with
    diagonal matrices. Differs: no regulariser.
    """

    def __init__(self, rate: float, delta: float = 1e-8):
        self.rate, self.delta = rate, delta
        self._squares: dict[Parameter, Array] = {}

    def update(self, nodes: Iterable[Parameter]) -> None:
        """Move each parameter one step against its gradient."""
        for node in nodes:
            squares = self._squares[node] = self._squares.get(node, 0.0) + node.g**2
            node.f = node.f - self.rate * node.g / (np.sqrt(squares) + self.delta)


class Adam:
    """Running means of the gradients and of their squares, corrected for their start at 0.

    ``m <- beta1 m + (1 - beta1) g``, ``v <- beta2 v + (1 - beta2) g^2``,
    ``w <- w - rate (m / (1 - beta1^t)) / (sqrt(v / (1 - beta2^t)) + epsilon)``.

    Kingma and Ba, 2015, "Adam: a method for stochastic optimization", algorithm 1.
    """

    def __init__(self, rate: float = 0.001, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8):
        self.rate, self.beta1, self.beta2, self.epsilon = rate, beta1, beta2, epsilon
        self._state: dict[Parameter, tuple[int, Array, Array]] = {}

    def update(self, nodes: Iterable[Parameter]) -> None:
        """Move each parameter one step against its gradient."""
        for node in nodes:
            t, m, v = self._state.get(node, (0, np.zeros_like(node.f), np.zeros_like(node.f)))
            t += 1
            m = self.beta1 * m + (1.0 - self.beta1) * node.g
            v = self.beta2 * v + (1.0 - self.beta2) * node.g**2
            self._state[node] = t, m, v
            m_hat, v_hat = m / (1.0 - self.beta1**t), v / (1.0 - self.beta2**t)
            node.f = node.f - self.rate * m_hat / (np.sqrt(v_hat) + self.epsilon)
