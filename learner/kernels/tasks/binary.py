"""Two classes: targets -1 and +1, a score that is the log odds."""

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
    """Take 1 for +1, 0 and -1 for -1."""
    if y == 1.0:
        return True, 1.0
    if y == 0.0 or y == -1.0:
        return True, -1.0
    return False, y


def unit_and_offset(totals):
    """Scores are log odds as they are."""
    return 1.0, 0.0


def within_targets(totals, s):
    """No score is beyond two classes."""
    return s


def evaluate(loss, state, s, y, importance):
    """Count the log loss, right answers, calibration and the histogram of scores; the target is learned as it is.

    The best constant is the share of positives, with one more of each; of a hinge loss the likelier class.
    """
    totals = state.totals
    share = (positives(totals) + 1.0) / (totals[TARGET_SUM] + 2.0)
    constant = -math.log(share if y > 0.0 else 1.0 - share)
    log_loss = count_answer(state.metrics, s, y, importance, share, constant)
    totals[LOSS_SUM] += importance * value(loss, s, y)
    if loss.code == LOGISTIC:
        totals[CONSTANT_LOSS_SUM] += importance * constant
    elif (share >= 0.5) != (y > 0.0):
        totals[CONSTANT_LOSS_SUM] += 2.0 * importance
    observe_target(totals, y, importance)
    return log_loss, y


@inlined
def count_answer(metrics, s, y, importance, share, constant):
    """Count an answer, and that of the constant; return its log loss."""
    count_example(metrics, importance)
    sums = metrics[CURRENT]
    if s != s:  # whatever it comes from, no NaN may choose a place in memory
        s = 0.0
    p = probability(s)
    log_loss = log_loss_of(s, y)
    sums[LOG_LOSS] += importance * log_loss
    if (s > 0.0) == (y > 0.0):
        sums[CORRECT] += importance
    sums[CONSTANT_LOG_LOSS] += importance * constant
    if (share > 0.5) == (y > 0.0):
        sums[CONSTANT_CORRECT] += importance
    place = min(np.int64(p * N_CALIBRATION), N_CALIBRATION - 1)
    sums[CALIBRATION + place] += importance * (p if y < 0.0 else p - 1.0)
    place = np.int64((min(max(s, -MAX_SCORE), MAX_SCORE) + MAX_SCORE) * (0.5 * N_SCORES / MAX_SCORE))
    sums[(POSITIVES if y > 0.0 else NEGATIVES) + min(place, N_SCORES - 1)] += importance
    return log_loss


def trend(totals, y):
    """Follow the target less the mean of all."""
    return y - totals[TARGET_MEAN]


def has_scale(totals):
    """Two classes need none."""
    return True
