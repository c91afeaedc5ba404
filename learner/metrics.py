"""Progressive evaluation: how good the predictions are, each made before its example is learned.

Every example tests the model first and trains it then (Blum, Kalai, Langford, 1999, "Beating the hold-out: bounds for k-fold
and progressive cross-validation"). The sums live in one float64 array, `metrics`, of three rows: the examples older than the
window, the window's older half, and its younger half, which alone is written to. After `HALF_WINDOW` examples the rows move
up. So "all" is the sum of three rows; the window, of the last 5,001 to 10,000 examples, is the sum of two. Both are exact, and
cost one row. Everything is weighted by importance; the window counts examples.

The array is part of a model's state and `learner.kernels` counts into it example by example, so neither a restart nor the
batches that examples come in change a bit of it. This module says where each sum lies, and makes figures of the sums. It
needs numpy's arrays but does not import it: `learner.tasks` names these functions, and commands read that table at their start.

The area under the ROC curve is that of a histogram of the scores by class, with ties within a bin counted as half (the
statistic of Mann and Whitney, 1947). The true area is at most ``auc_error`` away, which is half the share of the pairs of a
positive and a negative that lie in one bin; mostly it is far nearer.
"""

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["HALF_WINDOW", "figures"]

HALF_WINDOW = 5000  # examples: half of what the window holds at most

# ---- rows ----
OLDER, PREVIOUS, CURRENT = range(3)

# ---- sums, each weighted by importance ----
N, WEIGHT = 0, 1  # examples; the sum of their importances
# of a regression
ABSOLUTE, SQUARED = 2, 3  # errors
CONSTANT_ABSOLUTE, CONSTANT_SQUARED = 4, 5  # those of the mean of the targets before
MEAN, SQUARES = 6, 7  # of the row's targets: the mean, and the sum of squared deviations from it
N_REGRESSION = 8
# of counts (poisson): those four errors too, and
DEVIANCE, CONSTANT_DEVIANCE = 6, 7
# of a quantile
PINBALL, COVERED = 2, 3  # the loss; targets at most the prediction
CONSTANT_PINBALL, CONSTANT_COVERED = 4, 5  # those of the running estimate of the quantile, by stochastic approximation
# of a binary task
LOG_LOSS, CORRECT = 2, 3
CONSTANT_LOG_LOSS, CONSTANT_CORRECT = 4, 5  # those of the share of positives before, (positives + 1) / (all + 2)
CALIBRATION = 6  # probability less outcome (0 or 1), by bins of the probability
N_CALIBRATION = 10
N_MULTICLASS = CALIBRATION + N_CALIBRATION  # of many classes: the same, calibration that of the likeliest class
NEGATIVES = CALIBRATION + N_CALIBRATION  # importance by bins of the score
N_SCORES, MAX_SCORE = 512, 16.0  # bins of 1/16 within +-16; what lies beyond is in the first or last one
POSITIVES = NEGATIVES + N_SCORES
N_BINARY = POSITIVES + N_SCORES


def figures(metrics: "NDArray[np.float64]", of: "Callable[[Any], dict[str, float]]") -> dict[str, float]:
    """Return the figures of all examples and, named ``window_...``, of the window; NaN where there is nothing to divide by.

    Parameters
    ----------
    metrics : float64 array, (3, sums)
        The sums.
    of : callable
        What makes figures of some rows of them: `learner.tasks.Task.figures`.

    Of a binary task: ``log_loss`` (nats), ``accuracy``, ``auc`` and the bound ``auc_error`` on what is wrong with it,
    ``calibration_error`` (expected calibration error over 10 bins of equal width: Naeini, Cooper, Hauskrecht, 2015,
    "Obtaining well calibrated probabilities using Bayesian binning"), ``constant_log_loss``, ``constant_accuracy``. Of a
    regression: ``mae``, ``rmse``, ``r2``, ``constant_mae``, ``constant_rmse``. Of counts: ``deviance``, ``mae``, ``rmse``
    and a constant's. Of a quantile: ``pinball`` (the loss), ``covered`` (the share of targets at most the prediction, at best
    the level) and a constant's. Of many classes: those of two but for the area, with the calibration that of the likeliest
    class's probability. A constant's are those of predicting the share of positives, the mean, or a running estimate of the
    quantile, of the examples before.

    >>> import numpy as np
    >>> sums = np.zeros((3, N_REGRESSION))
    >>> sums[CURRENT, :6] = 2, 2, 1.0, 2.0, 3.0, 8.0
    >>> found = figures(sums, of_regression)
    >>> found["mae"], found["rmse"], found["window_constant_rmse"], found["window_examples"]
    (0.5, 1.0, 2.0, 2)
    """
    window = {f"window_{name}": figure for name, figure in of(metrics[PREVIOUS:]).items()}
    return of(metrics) | {"window_examples": int(metrics[PREVIOUS:, N].sum())} | window


def of_regression(rows: "NDArray[np.float64]") -> dict[str, float]:
    """Return the figures of a regression, given some rows of its sums."""
    sums = rows.sum(axis=0)
    mean = _ratio(float((rows[:, WEIGHT] * rows[:, MEAN]).sum()), sums[WEIGHT])
    squares = sums[SQUARES] + (rows[:, WEIGHT] * (rows[:, MEAN] - mean) ** 2).sum()
    return {
        "mae": _ratio(sums[ABSOLUTE], sums[WEIGHT]),
        "rmse": math.sqrt(_ratio(sums[SQUARED], sums[WEIGHT])),
        "r2": 1.0 - _ratio(sums[SQUARED], squares),
        "constant_mae": _ratio(sums[CONSTANT_ABSOLUTE], sums[WEIGHT]),
        "constant_rmse": math.sqrt(_ratio(sums[CONSTANT_SQUARED], sums[WEIGHT])),
    }


def of_quantile(rows: "NDArray[np.float64]") -> dict[str, float]:
    """Return the figures of a quantile."""
    sums = rows.sum(axis=0)
    return {
        "pinball": _ratio(sums[PINBALL], sums[WEIGHT]),
        "covered": _ratio(sums[COVERED], sums[WEIGHT]),
        "constant_pinball": _ratio(sums[CONSTANT_PINBALL], sums[WEIGHT]),
        "constant_covered": _ratio(sums[CONSTANT_COVERED], sums[WEIGHT]),
    }


def of_counts(rows: "NDArray[np.float64]") -> dict[str, float]:
    """Return the figures of counts."""
    sums = rows.sum(axis=0)
    return {
        "deviance": _ratio(sums[DEVIANCE], sums[WEIGHT]),
        "mae": _ratio(sums[ABSOLUTE], sums[WEIGHT]),
        "rmse": math.sqrt(_ratio(sums[SQUARED], sums[WEIGHT])),
        "constant_deviance": _ratio(sums[CONSTANT_DEVIANCE], sums[WEIGHT]),
        "constant_mae": _ratio(sums[CONSTANT_ABSOLUTE], sums[WEIGHT]),
        "constant_rmse": math.sqrt(_ratio(sums[CONSTANT_SQUARED], sums[WEIGHT])),
    }


def of_classes(rows: "NDArray[np.float64]") -> dict[str, float]:
    """Return the figures of two classes, or of many, whose sums are the shorter ones."""
    sums = rows.sum(axis=0)
    negatives, positives = sums[NEGATIVES:POSITIVES], sums[POSITIVES:N_BINARY]
    area = {}
    if len(sums) == N_BINARY:
        pairs = negatives.sum() * positives.sum()
        tied = 0.5 * float(positives @ negatives)
        area = {
            "auc": _ratio(float(positives @ (negatives.cumsum() - negatives)) + tied, pairs),
            "auc_error": _ratio(tied, pairs),
        }
    return {
        "log_loss": _ratio(sums[LOG_LOSS], sums[WEIGHT]),
        "accuracy": _ratio(sums[CORRECT], sums[WEIGHT]),
        **area,
        "calibration_error": _ratio(abs(sums[CALIBRATION:NEGATIVES]).sum(), sums[WEIGHT]),
        "constant_log_loss": _ratio(sums[CONSTANT_LOG_LOSS], sums[WEIGHT]),
        "constant_accuracy": _ratio(sums[CONSTANT_CORRECT], sums[WEIGHT]),
    }


def _ratio(a: Any, b: Any) -> float:
    return float(a) / float(b) if b else math.nan
