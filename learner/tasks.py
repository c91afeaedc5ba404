"""The table of tasks: for each task its losses, targets, figures and learning rates.

Each task also has a compiled half in `learner.kernels.tasks`, which accepts targets and counts the evaluation example by
example. This module imports neither numpy nor the compiler: commands read it before they make a model.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from learner import metrics

__all__ = ["TASKS", "Task"]


Rates = tuple[tuple[float, ...], tuple[float, ...]]
RATES: dict[str, Rates] = {"late": ((0.25, 2.0), (1.0, 1.0)), "at_once": ((1.0, 8.0), (1.0, 0.99))}


@dataclass(frozen=True, slots=True)
class Task:
    """A task.

    Attributes
    ----------
    loss : str
        The default loss: a name in `learner.losses.LOSSES`.
    learned_as : str
        The task of a single linear learner: itself, but ``binary`` for ``multiclass``, which has one learner a class.
    predicts_numbers : bool
        Whether predictions are numbers; otherwise they are classes with probabilities.
    targets : str
        The rule for targets, as it follows "target must be" in messages.
    measure : (str, str)
        How two models are compared: the measure's name in words, and its figure in `learner.metrics`. For ``rmse`` the mean
        squared errors are compared, not their roots.
    n_sums : int
        The number of sums in its evaluation: see `learner.metrics`.
    figures : callable
        Computes the figures from rows of those sums.
    columns : mapping of str to str
        The further figures that a comparison prints, with their titles.
    rates : mapping of str to (rates, decays)
        The learning rates of the default mixture, and the decays of their sums of squared gradients: for outcomes that come
        ``late`` and ``at_once``.
    """

    loss: str
    learned_as: str
    predicts_numbers: bool
    targets: str
    measure: tuple[str, str]
    n_sums: int
    figures: Callable[[Any], dict[str, float]]
    columns: Mapping[str, str] = field(default_factory=dict)
    rates: Mapping[str, Rates] = field(default_factory=lambda: RATES)


ANY_NUMBER = "finite, at most 1e+30 in size"
LABEL = "a label: a string of 1 to 256 bytes, a whole number or a boolean"
SMALL_RATES = dict.fromkeys(RATES, ((0.5, 4.0), (1.0, 0.99)))  # of quantile and poisson

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


def label_of(target: str | float) -> str:
    """Return a target of many classes as its label.

    >>> label_of("kiwi"), label_of(2.0), label_of(True)
    ('kiwi', '2', 'true')
    """
    return target if isinstance(target, str) else str(target).lower() if isinstance(target, bool) else str(int(target))
