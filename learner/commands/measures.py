"""What models are compared by: their task's own loss, or the absolute error, which all tasks of numbers share."""

import math
from collections.abc import Iterable

import msgpack
import numpy as np
from numpy.typing import NDArray

from learner.learners.protocol import Learned
from learner.model import Model
from learner.spec import Spec
from learner.tasks import TASKS

__all__ = ["AbsoluteErrors", "common_measure"]

ABSOLUTE_ERROR = "absolute error"


def common_measure(specs: Iterable[Spec]) -> str | None:
    """Return the measure that all models share; None where there is none.

    >>> common_measure([Spec("quantile", level=0.9), Spec("quantile", level=0.5)]), common_measure([Spec(), Spec("poisson")])
    ('absolute error', None)
    """
    specs = list(specs)
    if len({spec.labels for spec in specs if spec.task == "binary"}) > 1:
        return None
    measures = {TASKS[spec.task].measure[0] for spec in specs}
    if len(measures) == 1 and len({spec.level for spec in specs}) == 1:
        return measures.pop()
    return ABSOLUTE_ERROR if all(TASKS[spec.task].predicts_numbers for spec in specs) else None


class AbsoluteErrors:
    """The absolute errors of a model's predictions before it learns each example, and their mean, weighted by importance."""

    def __init__(self, model: Model) -> None:
        self.task, self.level = model.task, model.spec.level
        self.most = math.inf  # the largest target so far: no predicted rate is above it
        self.total = self.weight = 0.0

    @property
    def mean(self) -> float:
        """The mean absolute error; NaN before the first example."""
        return self.total / self.weight if self.weight else math.nan

    def add(self, learned: Learned, data: bytes) -> NDArray[np.float64]:
        """Take in the examples of msgpack that were just learned; return their absolute errors, NaN where one was rejected."""
        errors = self._errors(learned, np.where(np.isnan(learned.losses), np.nan, _targets(data)))
        accepted = ~np.isnan(errors)
        self.total += float(errors[accepted] @ learned.importances[accepted])
        self.weight += float(learned.importances[accepted].sum())
        return errors

    def _errors(self, learned: Learned, y: NDArray[np.float64]) -> NDArray[np.float64]:
        if self.task == "regression":
            return np.sqrt(learned.losses)
        if self.task == "poisson":
            return np.abs(np.minimum(np.exp(learned.scores), self._largest_before(y)) - y)
        # A pinball loss comes of two predictions, below and above the target: the model's is the one nearer to its score.
        below, above = learned.losses / self.level, learned.losses / (1.0 - self.level)
        is_below = np.abs(y - below - learned.scores) <= np.abs(y + above - learned.scores)
        return np.where(is_below, below, above)

    def _largest_before(self, y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the largest target before each example; infinity before the first."""
        before = np.fmax.accumulate(np.append(-math.inf if self.most == math.inf else self.most, y))
        if before[-1] > -math.inf:
            self.most = float(before[-1])
        return np.where(before[:-1] == -math.inf, math.inf, before[:-1])


def _targets(data: bytes) -> NDArray[np.float64]:
    """Return the targets of packed examples; NaN where one is no number."""
    unpacker = msgpack.Unpacker(strict_map_key=False, max_buffer_size=len(data) or 1)
    unpacker.feed(data)
    targets = [example[0] if isinstance(example, list) and example else None for example in unpacker]
    return np.array([y if isinstance(y, int | float) else math.nan for y in targets], np.float64)
