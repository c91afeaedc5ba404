"""The answered loss: of the answers as they were given, once their outcomes are known.

The progressive loss and the late loss are of predictions that the learner makes for itself. The answered loss is of the replies
to requests with an ``outcome_id``: what was predicted when it was asked, by the model of that moment, for records that somebody
asked about. So no figure is nearer to what the model is used for.
"""

import math
from dataclasses import dataclass
from typing import Any

from learner.late import LateLoss
from learner.losses import LOSSES
from learner.spec import Spec, label_numbers
from learner.tasks import label_of

__all__ = ["AnsweredLoss", "answer_of", "loss_of"]

POSITIVE_WORDS = ("true", "t", "yes", "y")  # targets of a model without labels, as `learner.kernels.example` reads them


@dataclass
class AnsweredLoss(LateLoss):
    """The sums of the answered loss.

    Parameters
    ----------
    expired : int
        Answers whose outcomes never came: of these only the ones with a default outcome are among the examples.
    """

    expired: int = 0

    def add_one(self, loss: float, importance: float) -> None:
        """Add an answer whose outcome came."""
        if math.isfinite(loss):
            self.loss_sum += importance * loss
            self.importance += importance
            self.examples += 1

    def summary(self) -> dict[str, float]:
        """Return the figures by name, for a program."""
        return {"answered_loss": self.mean, "answered_examples": self.examples, "expired": self.expired}


def answer_of(reply: dict[str, Any]) -> Any:
    """Return the part of a reply by which it is judged: a score, a number, or with many classes their probabilities.

    >>> answer_of({"task": "binary", "score": 1.1, "prediction": 0.75}), answer_of({"task": "poisson", "prediction": 3.0})
    (1.1, 3.0)
    """
    return reply[{"binary": "score", "multiclass": "probabilities"}.get(reply["task"], "prediction")]


def loss_of(spec: Spec, answer: Any, target: Any) -> float:
    """Return the loss of an answer, as the progressive loss counts it.

    Parameters
    ----------
    spec : Spec
        The model's.
    answer : float or dict
        As `answer_of` returns it.
    target : str, int, float or bool
        One that the model has accepted.

    Returns
    -------
    float
        At least 0: log loss, squared error, pinball loss or deviance.

    >>> loss_of(Spec("regression"), 3.0, 5), loss_of(Spec("multiclass"), {"kiwi": 0.25, "2": 0.75}, 2)
    (4.0, 0.287...)
    """
    if spec.task == "multiclass":
        return -math.log(max(answer.get(label_of(target), 1.0 / (len(answer) + 1.0)), 1e-300))
    loss = LOSSES[spec.loss]
    level = (spec.level,) if loss.has_level else ()
    if spec.task == "poisson":
        answer = math.log(max(answer, 1e-300))
    return float(loss.value(answer, _binary(spec, target) if spec.task == "binary" else float(target), *level))


def _binary(spec: Spec, target: Any) -> float:
    """Return a target of two classes as -1 or +1."""
    if isinstance(target, str):
        is_positive = target == spec.labels[1] if spec.labels else target.lower() in POSITIVE_WORDS
    else:
        numbers = label_numbers(*spec.labels) if spec.labels else (math.nan, math.nan)
        is_positive = target == (1 if all(map(math.isnan, numbers)) else numbers[1])
    return 1.0 if is_positive else -1.0
