"""An extended Kalman filter with a full covariance: the expert over the first dense numbers; the mixer uses its step, too."""

import numpy as np

from learner.kernels.interactions import observe
from learner.kernels.jit import inlined
from learner.kernels.losses import quadratic
from learner.layout import CELLS, DENSE_FILTER, MAX_BINNED, N_DENSE

DRIFT = 2e-5  # a variance below 1 grows by this share at each example


@inlined
def update_filter(n, inputs, curvature, error, matrix, products):
    """Make one step over weights a and their covariance P, which are column 0 and the other columns of a matrix.

    With curvature H and negative slope e of the loss at ``a . v``: ``a += P v e / (1 + H v'Pv)``,
    ``P -= H (Pv)(Pv)' / (1 + H v'Pv)``. Then each number below 1 on P's diagonal grows by 1 in 50,000, so that the weights can
    follow a drift (Haykin, 2001, "Kalman filtering and neural networks", section 2.3). Without the bound of 1, variance would
    grow for ever along directions of which nothing is learned: inputs that are always 0, or always equal to another input.
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
    """Return the number of inputs of the filter over the numbers: the constant and the first dense features."""
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
def learn(s, update, settings, state, derived, products):
    """Make one step of the filter over the numbers, whose score was s; its error shows which of them interact."""
    if settings.parts & DENSE_FILTER and state.totals[N_DENSE] > 0.0:
        curvature, error, _ = quadratic(settings.loss, s, update.y, update.precision)
        curvature, error = curvature * update.importance, error * update.importance
        update_filter(n_inputs(state.totals), derived.standardized, curvature, error, state.dense_filter, products)
        if settings.parts & CELLS:
            observe(error, state.totals, derived, state.interactions)
