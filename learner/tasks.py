"""Tasks: what can be predicted. One table, one row a task: everything that depends on the task but its compiled half.

The compiled half is a file in `learner.kernels.tasks`: it accepts targets and counts the evaluation, example by example. This
module imports neither numpy nor the compiler: commands read it before a model is made.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from learner import metrics

__all__ = ["TASKS", "Task"]


@dataclass(frozen=True, slots=True)
class Task:
    """A task.

    Attributes
    ----------
    loss : str
        What it learns by unless told otherwise: a name in `learner.losses.LOSSES`.
    learned_as : str
        The task whose targets and evaluation a single learner has.
    predicts_numbers : bool
        Whether predictions are numbers; else they are classes, which have probabilities.
    targets : str
        What a target must be, in words that follow "target must be".
    measure : (str, str)
        What two models are compared by: the words, and the figure of `learner.metrics`. A mean of squares is compared, not its
        root.
    n_sums : int
        How many sums its evaluation counts: see `learner.metrics`.
    figures : callable
        Makes the figures of some rows of those sums.
    columns : mapping of str to str
        The figures that a comparison prints, and their titles.
    rates : tuple of float
        The learning rates of the default mixture.
    """

    loss: str
    learned_as: str
    predicts_numbers: bool
    targets: str
    measure: tuple[str, str]
    n_sums: int
    figures: Callable[[Any], dict[str, float]]
    columns: Mapping[str, str] = field(default_factory=dict)
    rates: tuple[float, ...] = (2.0, 16.0)


ANY_NUMBER = "finite, at most 1e+30 in size"
LABEL = "a label: a string of 1 to 256 bytes, or a whole number"
SMALL_RATES = (0.5, 4.0)  # for losses whose curvature is not that of a square

TASKS: dict[str, Task] = {
    "binary": Task(
        "logistic",
        "binary",
        False,
        "-1, 0, 1, true, false or one of the model's labels",
        ("log loss", "log_loss"),
        metrics.N_BINARY,
        metrics.of_classes,
        {"accuracy": "accuracy", "auc": "AUC", "calibration_error": "calibration"},
    ),
    "multiclass": Task(
        "logistic",
        "binary",
        False,
        LABEL,
        ("log loss", "log_loss"),
        metrics.N_MULTICLASS,
        metrics.of_classes,
        {"accuracy": "accuracy", "calibration_error": "calibration"},
    ),
    "regression": Task(
        "squared",
        "regression",
        True,
        ANY_NUMBER,
        ("squared error", "rmse"),
        metrics.N_REGRESSION,
        metrics.of_regression,
        {"rmse": "RMSE", "mae": "MAE", "r2": "R2"},
    ),
    "quantile": Task(
        "quantile",
        "quantile",
        True,
        ANY_NUMBER,
        ("pinball loss", "pinball"),
        metrics.N_REGRESSION,
        metrics.of_quantile,
        {"covered": "covered"},
        SMALL_RATES,
    ),
    "poisson": Task(
        "poisson",
        "poisson",
        True,
        "a number within [0, 1e+30]",
        ("deviance", "deviance"),
        metrics.N_REGRESSION,
        metrics.of_counts,
        {"mae": "MAE", "rmse": "RMSE"},
        SMALL_RATES,
    ),
}
