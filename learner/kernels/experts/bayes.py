"""Naive Bayes over the features (Maron, 1961, "Automatic indexing"; Good, 1965, for the prior).

A row has two sums, n+ and n-: the importances of the positive and of the negative examples with the feature, times its scaled
values where these are above 0. The feature's weight is its log odds ratio, ``log((n+ + p) / (n- + 1 - p)) - log(P / N)``; P and
N are the importances of all positive and negative examples plus 1, and p = P / (P + N). The weight is 0 for dense numbers and,
with L1, for silent features (see `learner.kernels.experts.mark_silent`). The score grows with the number of features, so it is
divided by the root mean square of the previous scores.
"""

import math

import numpy as np

from learner.kernels.bits import MISSING, ONE
from learner.kernels.jit import door, inlined
from learner.kernels.table import DENSE, PLACE_MASK
from learner.kernels.targets import positives
from learner.layout import BAYES, BAYES_SQUARES, RELATIVE_SUM, SPARSE, TARGET_SUM

PART = BAYES
N_COLUMNS = 2
HAS_GRADIENT = False
LEARNS_DERIVED = False
MIXING_VARIANCE = 5.0  # the initial variance of the expert's mixing weight
SMALLEST, LARGEST = 1e-200, 1e200  # of a product of ratios, each of which is a float32


@inlined
def start(column, is_constant, base, rows):
    """Do nothing: in a new row both sums are zero."""


@inlined
def priors(totals):
    """Return the shares of positives and of negatives, and the odds against a positive, after adding 1 to both counts."""
    positive = positives(totals) + 1.0
    negative = totals[TARGET_SUM] + 2.0 - positive
    prior = np.float32(positive / (positive + negative))
    return prior, np.float32(1.0) - prior, np.float32(negative / positive)


@inlined
def scale(totals):
    """Return the factor of the scores."""
    return 1.0 / math.sqrt(1.0 + totals[BAYES_SQUARES] / max(totals[RELATIVE_SUM], 1.0))


@inlined
def score(column, place, inputs, panel):
    """Write the score; a feature without a row, or whose two sums are zero, has weight 0."""
    parts, rows, words32, totals, silent = panel.settings.parts, panel.rows, panel.words32, panel.totals, panel.silent
    panel.scores[place] = 0.0
    if parts & PART == 0:
        return
    prior, other, odds = priors(totals)
    s, product = 0.0, 1.0  # of the ratios of features with the value 1: one logarithm for all of them
    for i in range(inputs.n):
        base = inputs.bases[i]
        if base == MISSING or words32[base + DENSE] & PLACE_MASK != 0 or (parts & SPARSE != 0 and silent[i] != 0):
            continue
        positive, negative = rows[base + column], rows[base + column + ONE]
        if positive + negative > np.float32(0.0):
            ratio = np.float64((positive + prior) / (negative + other) * odds)
            if inputs.scaled[i] == np.float32(1.0):
                product *= ratio
                if not SMALLEST < product < LARGEST:
                    s, product = s + math.log(product), 1.0
            else:
                s += math.log(ratio) * inputs.scaled[i]
    s += math.log(product)
    panel.scores[place] = s * scale(totals)


@inlined
def learn(column, place, inputs, update, panel):
    """Add an example's importance, times the scaled value, to the sum of its class, for each feature with a positive value."""
    rows, totals = panel.rows, panel.totals
    if panel.settings.parts & PART == 0:
        return
    side = column if update.y > 0.0 else column + ONE
    for i in range(inputs.n - inputs.n_constants):
        if inputs.scaled[i] > 0.0:
            rows[inputs.bases[i] + side] += update.importance * inputs.scaled[i]
    raw = panel.scores[place] / scale(totals)
    if totals[BAYES_SQUARES] == 0.0:  # nothing is known yet: once learned, a feature's log odds ratio is about 1
        raw = np.float64(inputs.n)
    totals[BAYES_SQUARES] += update.importance * raw * raw


@inlined
def penalize(column, inputs, update, settings, rows):
    """Do nothing: counts are no weights."""


@door
def write_weights(totals, matrix, column, weights):
    """Write the log odds ratios of rows."""
    prior, other, odds = priors(totals)
    for i in range(len(matrix)):
        positive, negative = matrix[i, column], matrix[i, column + 1]
        if positive + negative > np.float32(0.0):
            weights[i] = np.log((positive + prior) / (negative + other) * odds)


def weights(matrix, column, totals, silent):
    """Return the weights of rows, on the features' own scales."""
    weights = np.zeros(len(matrix))
    write_weights(totals, matrix, column, weights)
    is_sparse = matrix.view(np.uint32)[:, int(DENSE)] & PLACE_MASK == 0
    return np.where(is_sparse & ~silent, weights, 0.0)
