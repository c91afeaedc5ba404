"""Progressive evaluation: figures of the predictions that a model makes before it learns each example.

Every example first tests the model and then trains it (Blum, Kalai, Langford, 1999, "Beating the hold-out: bounds for k-fold
and progressive cross-validation"). The sums are in one float64 array, `metrics`, with three rows: for the examples older than
the window, for the window's older half, and for its younger half. Only the last row is written to; after `HALF_WINDOW` examples
the rows move up. The sum of the three rows covers all examples; the sum of the last two covers the window, which is the last
5,001 to 10,000 examples. Both are exact. Sums are weighted by importance; the window's length counts examples.

The late loss is no figure of this module: it needs predictions of examples whose outcomes are not learned yet, which a caller
makes block by block (see `learner.late`).

The array is part of a model's state, and `learner.kernels` counts into it example by example, so neither restarts nor batch
sizes change a bit of it. This module says where each sum lies, and computes figures from the sums. It works on numpy arrays but
doesn't import numpy: `learner.tasks` names these functions, and commands read that table when they start.

The area under the ROC curve is computed from histograms of the scores by class; ties within a bin count as half (the statistic
of Mann and Whitney, 1947). The exact area differs by at most ``auc_error``, which is half the share of pairs of a positive and
a negative that lie in one bin; usually the difference is far smaller.
"""

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["HALF_WINDOW", "figures"]

HALF_WINDOW = 5000  # examples: half of the window's largest length

# ---- rows ----
OLDER, PREVIOUS, CURRENT = range(3)

# ---- sums, each weighted by importance ----
N, WEIGHT = 0, 1  # examples; the sum of their importances
# of a regression
ABSOLUTE, SQUARED = 2, 3  # errors
CONSTANT_ABSOLUTE, CONSTANT_SQUARED = 4, 5  # the errors of the mean of the previous targets
MEAN, SQUARES = 6, 7  # the mean of the row's targets, and their sum of squared deviations from it
N_REGRESSION = 8
# of counts (poisson): the same four errors, and
DEVIANCE, CONSTANT_DEVIANCE = 6, 7
# of a quantile
PINBALL, COVERED = 2, 3  # the loss; targets that are at most the prediction
CONSTANT_PINBALL, CONSTANT_COVERED = 4, 5  # the same for a running estimate of the quantile
# of a binary task
LOG_LOSS, CORRECT = 2, 3
CONSTANT_LOG_LOSS, CONSTANT_CORRECT = 4, 5  # the same for the previous share of positives, (positives + 1) / (all + 2)
CALIBRATION = 6  # probability minus outcome (0 or 1), by bins of the probability
N_CALIBRATION = 10
N_MULTICLASS = CALIBRATION + N_CALIBRATION  # of many classes: the same; calibration of the most probable class
NEGATIVES = CALIBRATION + N_CALIBRATION  # importance by bins of the score
N_SCORES, MAX_SCORE = 512, 16.0  # bins of width 1/16 within +-16; scores beyond fall into the first or last bin
POSITIVES = NEGATIVES + N_SCORES
N_BINARY = POSITIVES + N_SCORES


def figures(metrics: "NDArray[np.float64]", of: "Callable[[Any], dict[str, float]]") -> dict[str, float]:
    """Return the figures of all examples, and those of the window as ``window_...``; NaN where a denominator is 0.

    Parameters
    ----------
    metrics : float64 array, (3, sums)
        The sums.
    of : callable
        Computes figures from rows of the sums: `learner.tasks.Task.figures`.

    Notes
    -----
    Figures named ``constant_...`` are those of a constant prediction from the previous examples: their share of positives,
    their mean, or a running estimate of their quantile.

    - binary: ``log_loss`` (nats), ``accuracy``, ``auc``, ``auc_error`` (a bound on the error of ``auc``),
      ``calibration_error`` (expected calibration error over 10 bins of equal width: Naeini, Cooper, Hauskrecht, 2015,
      "Obtaining well calibrated probabilities using Bayesian binning"), ``constant_log_loss``, ``constant_accuracy``
    - multiclass: the same without ``auc`` and ``auc_error``; the calibration is that of the most probable class
    - regression: ``mae``, ``rmse``, ``r2``, ``constant_mae``, ``constant_rmse``
    - poisson: ``deviance``, ``mae``, ``rmse``, and the same of the constant
    - quantile: ``pinball`` (the loss), ``covered`` (the share of targets that are at most the prediction, ideally the level),
      and the same of the constant

    Examples
    --------
    >>> import numpy as np
    >>> sums = np.zeros((3, N_REGRESSION))
    >>> sums[CURRENT, :6] = 2, 2, 1.0, 2.0, 3.0, 8.0
    >>> errors = figures(sums, of_regression)
    >>> errors["mae"], errors["rmse"], errors["window_constant_rmse"], errors["window_examples"]
    (0.5, 1.0, 2.0, 2)
    """
    window = {f"window_{name}": figure for name, figure in of(metrics[PREVIOUS:]).items()}
    return of(metrics) | {"window_examples": int(metrics[PREVIOUS:, N].sum())} | window


def of_regression(rows: "NDArray[np.float64]") -> dict[str, float]:
    """Return the figures of a regression from rows of its sums."""
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
    """Return the figures of two classes or of many; with many there are fewer sums, and no area."""
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
