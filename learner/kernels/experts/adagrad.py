"""AdaGrad with importance-aware steps: one expert for each learning rate; each uses the gradient at its own score.

A row has the weights ``w_1 .. w_R``, then the decayed sums of squared gradients ``G_1 .. G_R``.
"""

import math

import numpy as np

from learner.kernels.bits import MISSING, NOTHING, ONE
from learner.kernels.experts.penalties import penalized
from learner.kernels.jit import compiled, inlined
from learner.kernels.losses import derivative, step
from learner.layout import HEADER

WEIGHTS = np.uint64(HEADER)
EPSILON, ONE32, TWO32 = np.float32(0.1), np.float32(1.0), np.float32(2.0)


@inlined
def score(first, inputs, panel):
    """Write the scores ``w_k . u`` of all rates; features without a row have weight 0."""
    rows, scores = panel.rows, panel.scores
    n_rates = np.uint64(len(panel.settings.rates))
    for k in range(n_rates):
        scores[first + k] = 0.0
    for i in range(inputs.n):
        base = inputs.bases[i]
        if base != MISSING:
            u = inputs.scaled[i]
            for k in range(n_rates):
                scores[first + k] += rows[base + WEIGHTS + k] * u


@inlined
def moves(first, y, settings, scores):
    """Tell whether the gradient of any rate is not zero."""
    has_gradient = False
    for k in range(np.uint64(len(settings.rates))):
        has_gradient = has_gradient or derivative(settings.loss, scores[first + k], y) != 0.0
    return has_gradient


@inlined
def learn(first, inputs, update, panel):
    """Make one step with every rate.

    ``G <- decay G + (g u)^2``, ``r = u / (0.1 + sqrt G)``; r is doubled for the constant, which comes last. Then
    ``w += h rate c r``, where ``h`` is the loss's importance-aware step over the distance ``q = rate c sum r u``, and c is the
    update's pace (Duchi, Hazan, Singer, 2011, "Adaptive subgradient methods"; Ross, Mineiro, Langford, 2013, "Normalized
    online learning", for c).
    """
    settings, rows, scores = panel.settings, panel.rows, panel.scores
    slopes, paths, steps = panel.slopes, panel.paths, panel.steps
    n_rates = np.uint64(len(settings.rates))
    squares = WEIGHTS + n_rates
    for k in range(n_rates):
        slopes[k] = derivative(settings.loss, update.offset + scores[first + k], update.y) * math.sqrt(
            update.importance
        )
    for i in range(inputs.n):
        base, u = inputs.bases[i] + squares, inputs.scaled[i]
        for k in range(n_rates):
            gu = slopes[k] * u
            rows[base + k] = steps[i * n_rates + k] = settings.decays[k] * rows[base + k] + gu * gu
    for at in range(inputs.n * n_rates):  # a loop of its own, so that the processor takes several roots at once
        steps[at] = ONE32 / (EPSILON + np.sqrt(steps[at]))
    if inputs.n_constants > NOTHING:
        for k in range(n_rates):
            steps[(inputs.n - ONE) * n_rates + k] *= TWO32
    for k in range(n_rates):
        paths[k] = path_of(k, inputs, n_rates, steps)
    for k in range(n_rates):
        rate = settings.rates[np.int64(k)] * update.pace
        q = rate * paths[k]
        slopes[k] = 0.0
        if q > 0.0:
            slopes[k] = step(settings.loss, update.offset + scores[first + k], update.y, q, update.importance) * rate
    for i in range(inputs.n):
        base = inputs.bases[i] + WEIGHTS
        at = i * n_rates
        for k in range(n_rates):
            rows[base + k] += slopes[k] * steps[at + k]


@inlined
def path_of(k, inputs, n_rates, steps):
    """Make the inverse roots of one rate in ``steps`` the steps r; return ``sum r u``."""
    path = 0.0
    for i in range(inputs.n):
        r = inputs.scaled[i] * steps[i * n_rates + k]
        steps[i * n_rates + k] = r
        path += r * inputs.scaled[i]
    return path


@compiled
def penalize(inputs, update, settings, rows):
    """Shrink the weights of an example's features, in AdaGrad's metric ``r = importance rate c / (0.1 + sqrt G)``."""
    n_rates = np.uint64(len(settings.rates))
    for i in range(inputs.n - inputs.n_constants):
        base = inputs.bases[i] + WEIGHTS
        for k in range(n_rates):
            root = math.sqrt(np.float64(rows[base + n_rates + k]))
            r = update.importance * settings.rates[np.int64(k)] * update.pace / (0.1 + root)
            rows[base + k] = penalized(np.float64(rows[base + k]), r, settings)
