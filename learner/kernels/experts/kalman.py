"""An extended Kalman filter over the weights; it keeps a variance for each weight and no covariances.

A row has a weight ``w`` and its variance ``v``.
"""

import numpy as np

from learner.kernels.bits import MISSING, ONE
from learner.kernels.experts.penalties import penalized
from learner.kernels.jit import compiled, inlined
from learner.kernels.losses import quadratic
from learner.layout import KALMAN

PART = KALMAN
N_COLUMNS = 2
HAS_GRADIENT = True  # the weights change by gradient steps alone, so L1 can set them to zero
LEARNS_DERIVED = True
MIXING_VARIANCE = 0.1  # the initial variance of the expert's mixing weight
VARIANCE, CONSTANT_VARIANCE = 0.15, 1.0  # of the weights before their first example


@inlined
def start(column, is_constant, base, rows):
    """Set the variance of a new row."""
    rows[base + column + ONE] = CONSTANT_VARIANCE if is_constant else VARIANCE


@inlined
def score(column, place, inputs, panel):
    """Write the score ``w . u``; features without a row have weight 0."""
    rows = panel.rows
    s = 0.0
    for i in range(inputs.n):
        base = inputs.bases[i]
        if base != MISSING:
            s += rows[base + column] * inputs.scaled[i]
    panel.scores[place] = s


@inlined
def learn(column, place, inputs, update, panel):
    """Make one step of the filter.

    ``w += v u e / (1 + H sum v u^2)``, ``v -= H (v u)^2 / (1 + H sum v u^2)`` with the loss's curvature H and negative slope e
    (Haykin, 2001, "Kalman filtering and neural networks", section 2.5, decoupled; Dredze, Crammer, Pereira, 2008,
    "Confidence-weighted linear classification", for keeping variances only).
    """
    settings, rows = panel.settings, panel.rows
    if settings.parts & PART == 0:
        return
    s = update.offset + panel.scores[place]
    curvature, error, _ = quadratic(settings.loss, s, update.y, update.precision)
    curvature, error = curvature * update.importance, error * update.importance
    variance = 0.0  # of the score
    for i in range(inputs.n):
        u = np.float64(inputs.scaled[i])
        variance += rows[inputs.bases[i] + column + ONE] * u * u
    gain = 1.0 / (1.0 + curvature * variance)
    loss_of_variance = curvature * gain
    gain *= error
    for i in range(inputs.n):
        base = inputs.bases[i] + column
        v = np.float64(rows[base + ONE])
        vu = v * inputs.scaled[i]
        rows[base] += vu * gain
        rows[base + ONE] = v - loss_of_variance * vu * vu


@compiled
def penalize(column, inputs, update, settings, rows):
    """Shrink the weights of an example's features, in the metric of their variances.

    In that metric L2 is an observation that the weight is 0, with precision l2; so ``v`` also becomes ``v / (1 + v l2)``.
    """
    for i in range(inputs.n - inputs.n_constants):
        base = inputs.bases[i] + column
        v = np.float64(rows[base + ONE])
        r = update.importance * v
        rows[base] = penalized(np.float64(rows[base]), r, settings)
        rows[base + ONE] = v / (1.0 + r * settings.l2)


def scale(totals):
    """Return the factor of the scores."""
    return 1.0


def weights(matrix, column, totals, silent):
    """Return the weights of rows, on the features' own scales."""
    return matrix[:, column].astype(np.float64)
