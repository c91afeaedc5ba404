"""Two classes: targets of -1 and +1; the score is the log odds of +1."""

import math

import numpy as np

from learner.kernels.evaluation import count_example
from learner.kernels.jit import inlined
from learner.kernels.losses import value
from learner.kernels.targets import observe_target, positives
from learner.layout import CONSTANT_LOSS_SUM, LOSS_SUM, TARGET_MEAN, TARGET_SUM
from learner.losses import LOSSES, links
from learner.losses.logistic import value as log_loss_of_score
from learner.metrics import (
    CALIBRATION,
    CONSTANT_CORRECT,
    CONSTANT_LOG_LOSS,
    CORRECT,
    CURRENT,
    LOG_LOSS,
    MAX_SCORE,
    N_CALIBRATION,
    N_SCORES,
    NEGATIVES,
    POSITIVES,
)

LOGISTIC = LOSSES["logistic"].code
probability = inlined(links.logistic)
log_loss_of = inlined(log_loss_of_score)


def accept(y):
    """Accept 1 as +1, and 0 and -1 as -1."""
    if y == 1.0:
        return True, 1.0
    if y == 0.0 or y == -1.0:
        return True, -1.0
    return False, y


def unit_and_offset(totals):
    """Return 1 and 0: scores are log odds already."""
    return 1.0, 0.0


def within_targets(totals, s):
    """Return the score: log odds have no limit."""
    return s


def loss_at(loss, totals, s, y):
    """Return the model's loss, log loss or hinge."""
    return value(loss, s, y)


def evaluate(loss, state, s, y, importance, relative):
    """Count the log loss, correct predictions, calibration and the histograms of scores; the target is not rescaled.

    The best constant is the share of positives, after adding 1 to both counts; for the hinge loss it is the more frequent
    class. The returned loss is the log loss for both losses.
    """
    totals = state.totals
    share = (positives(totals) + 1.0) / (totals[TARGET_SUM] + 2.0)
    constant = -math.log(share if y > 0.0 else 1.0 - share)
    log_loss = count_answer(state.metrics, s, y, importance, share, constant)
    loss_sum, constant_sum = log_loss, constant
    if loss.code != LOGISTIC:
        loss_sum, constant_sum = value(loss, s, y), 2.0 if (share >= 0.5) != (y > 0.0) else 0.0
    totals[LOSS_SUM] += importance * loss_sum
    totals[CONSTANT_LOSS_SUM] += importance * constant_sum
    observe_target(totals, y, relative)
    return log_loss, y


@inlined
def count_answer(metrics, s, y, importance, share, constant):
    """Count a prediction and the constant's; return the log loss of the prediction."""
    count_example(metrics, importance)
    sums = metrics[CURRENT]
    if s != s:  # a NaN must not become an index
        s = 0.0
    p = probability(s)
    log_loss = log_loss_of(s, y)
    sums[LOG_LOSS] += importance * log_loss
    if (s > 0.0) == (y > 0.0):
        sums[CORRECT] += importance
    sums[CONSTANT_LOG_LOSS] += importance * constant
    if (share > 0.5) == (y > 0.0):
        sums[CONSTANT_CORRECT] += importance
    bin_number = min(np.int64(p * N_CALIBRATION), N_CALIBRATION - 1)
    sums[CALIBRATION + bin_number] += importance * (p if y < 0.0 else p - 1.0)
    bin_number = np.int64((min(max(s, -MAX_SCORE), MAX_SCORE) + MAX_SCORE) * (0.5 * N_SCORES / MAX_SCORE))
    sums[(POSITIVES if y > 0.0 else NEGATIVES) + min(bin_number, N_SCORES - 1)] += importance
    return log_loss


def trend(totals, y):
    """Return the target minus the mean of all targets."""
    return y - totals[TARGET_MEAN]


def has_scale(totals):
    """Return True: two classes need no scale."""
    return True
