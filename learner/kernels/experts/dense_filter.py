"""An extended Kalman filter with its full covariance. One runs over the first dense numbers, one over the mixer's inputs."""

import numpy as np

from learner.kernels.jit import inlined
from learner.kernels.losses import quadratic
from learner.layout import DENSE_FILTER, MAX_BINNED, N_DENSE

DRIFT = 1e-4  # a variance below 1 grows by this share an example


@inlined
def update_filter(n, inputs, curvature, error, matrix, products):
    """One step over weights a and their covariance P, columns 0 and 1.. of a matrix.

    With curvature H and error e of the loss at ``a . v``: ``a += P v e / (1 + H v'Pv)``, ``P -= H (Pv)(Pv)' / (1 + H v'Pv)``,
    then P's diagonal, where it is below 1, grows by 1 in 10,000, so that the weights can follow a drift (Haykin, 2001, "Kalman
    filtering and neural networks", section 2.3). The bound is for inputs that are always 0 or the same as another: nothing is
    ever learned of those directions, whose variance would grow for ever.
    """
    vpv = 0.0
    for i in range(n):
        pv = 0.0
        for j in range(n):
            pv += matrix[i, 1 + j] * inputs[j]
        products[i] = pv
        vpv += pv * inputs[i]
    gain = 1.0 / (1.0 + curvature * max(vpv, 0.0))
    for i in range(n):
        matrix[i, 0] += products[i] * error * gain
        f = curvature * gain * products[i]
        for j in range(n):
            matrix[i, 1 + j] -= f * products[j]
        if matrix[i, 1 + i] < 1.0:
            matrix[i, 1 + i] += DRIFT * matrix[i, 1 + i]


@inlined
def n_inputs(totals):
    """Return how many inputs the filter over the numbers has: the constant, and the first dense features."""
    return 1 + min(np.int64(totals[N_DENSE]), MAX_BINNED)


@inlined
def score(parts, state, standardized):
    """Return the score of the filter over the numbers."""
    s = 0.0
    if parts & DENSE_FILTER:
        for i in range(n_inputs(state.totals)):
            s += state.dense_filter[i, 0] * standardized[i]
    return s


@inlined
def learn(s, update, settings, state, standardized, products):
    """One step of the filter over the numbers, whose score was s."""
    if settings.parts & DENSE_FILTER and state.totals[N_DENSE] > 0.0:
        curvature, error, _ = quadratic(settings.loss, s, update.y, update.precision)
        curvature, error = curvature * update.importance, error * update.importance
        update_filter(n_inputs(state.totals), standardized, curvature, error, state.dense_filter, products)
