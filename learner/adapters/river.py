"""The model as a River estimator, for River's pipelines, metrics and evaluation.

>>> from river import evaluate, metrics
>>> from learner.adapters.river import LearnerClassifier
>>> examples = [({"w": "good"}, True), ({"w": "bad"}, False)] * 50
>>> evaluate.progressive_val_score(examples, LearnerClassifier(), metrics.Accuracy())
Accuracy: 98.00%
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any

from river import base

from learner.adapters.tasks import task_of
from learner.errors import ExampleError, show
from learner.model import Model

__all__ = ["LearnerClassifier", "LearnerMultiClassifier", "LearnerRegressor"]


class _Learner(base.Estimator):
    """The common base. River clones an estimator by its constructor's arguments, so each is an attribute of the same name."""

    task: str

    def __init__(
        self,
        loss: str | None = None,
        featurizer: str | None = "fields",
        rates: Sequence[float] | None = None,
        neural: Sequence[int] | None = None,
        optimizer: str | Mapping[str, Any] | None = None,
        seed: int | None = None,
        **options: Any,
    ) -> None:
        self.loss, self.featurizer, self.rates, self.neural, self.seed = loss, featurizer, rates, neural, seed
        self.optimizer = optimizer
        self._model = Model(
            self.task,
            loss=loss,
            featurizer=featurizer,
            rates=rates,
            neural=neural,
            optimizer=optimizer,
            **options,
            seed=None if seed is None else random.Random(seed).randbytes(16),  # noqa: S311  (asked to be known)
        )

    @property
    def model(self) -> Model:
        """The `learner.Model` itself, with explanations and weights by name."""
        return self._model


def _record(x: Mapping[Any, Any]) -> Mapping[str, Any]:
    """Return a River example as a record: River's names may be any values, a record's names are strings."""
    return x if all(type(name) is str for name in x) else {str(name): value for name, value in x.items()}


def _require_label(y: Any) -> None:
    """Make sure that a label isn't missing: None or NaN would otherwise become a class."""
    if y is None or y != y:
        raise ExampleError(f"label must not be missing (got {show(y)})")


class LearnerClassifier(_Learner, base.Classifier):
    """A `learner.Model` of a binary task.

    The two labels may be any values. As long as only booleans were seen, the labels are assumed to be False and True.

    Parameters
    ----------
    loss
        ``logistic`` (the default) or ``hinge``.
    featurizer
        Turns an example into features, see `learner.Model`. By default every field becomes a feature: a number as it is, a
        string as a category, ``name=string``, so no encoder is needed. None takes only maps of name to number, and is faster.
    rates
        One or more learning rates in place of the default.
    neural
        The hidden units of a neural head, one number for each layer.
    optimizer
        A named algorithm in place of the mixture, such as ``ftrl`` or ``{"name": "ftrl", "l1": 1.0}``.
    seed
        The seed of the hash of names and of a neural head's initial weights; by default random.

    Examples
    --------
    >>> model = LearnerClassifier()
    >>> for _ in range(10):
    ...     model.learn_one({"country": "no", "price": 2.5}, "spam")
    ...     model.learn_one({"country": "se", "price": 2.5}, "ham")
    >>> model.predict_one({"country": "se"}), model.model.weights["country=se"] > 0
    ('ham', True)
    """

    task = "binary"

    def __init__(
        self,
        loss: str | None = None,
        featurizer: str | None = "fields",
        rates: Sequence[float] | None = None,
        neural: Sequence[int] | None = None,
        optimizer: str | Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> None:
        super().__init__(loss, featurizer, rates, neural, optimizer, seed)
        self._targets: dict[Any, int] = {}  # label -> -1 or +1

    def learn_one(self, x: Mapping[Any, Any], y: Any, w: float = 1.0) -> None:
        """Learn one example, of weight w.

        Raises
        ------
        ExampleError
            When it can't be learned, or its label is missing or a third one.
        """
        _require_label(y)
        targets = self._targets
        if y not in targets:
            if len(targets) == 2:
                raise ExampleError(f"label must be one of two, {' or '.join(map(show, targets))} (got {show(y)})")
            targets = targets | {y: -next(iter(targets.values())) if targets else 1 if y in (True,) else -1}
        self._model.learn_one(_record(x), targets[y], w)
        self._targets = targets

    def predict_proba_one(self, x: Mapping[Any, Any], **kwargs: Any) -> dict[Any, float]:
        """Return the probability of each label."""
        targets = self._targets
        if len(targets) < 2 and all(label in (False, True) for label in targets):
            targets = {False: -1, True: 1} | targets
        if len(targets) == 1:
            return dict.fromkeys(targets, 1.0)
        p = self._model.predict_proba_one(_record(x))
        return {label: p[target] for label, target in targets.items()}


class LearnerMultiClassifier(_Learner, base.Classifier):
    """A `learner.Model` of many classes, which need not be known beforehand.

    Parameters
    ----------
    featurizer, rates, seed
        As in `LearnerClassifier`.

    Examples
    --------
    >>> model = LearnerMultiClassifier()
    >>> for _ in range(20):
    ...     for country in ("no", "se", "dk"):
    ...         model.learn_one({"country": country, "price": 2.5}, country.upper())
    >>> model.predict_one({"country": "se", "price": 2.5})
    'SE'
    """

    task = "multiclass"

    def __init__(
        self, featurizer: str | None = "fields", rates: Sequence[float] | None = None, seed: int | None = None
    ) -> None:
        super().__init__(None, featurizer, rates, None, None, seed)
        self._labels: list[Any] = []

    @property
    def _multiclass(self) -> bool:
        return True

    def learn_one(self, x: Mapping[Any, Any], y: Any, w: float = 1.0) -> None:
        """Learn one example, of weight w.

        Raises
        ------
        ExampleError
            When it can't be learned.
        """
        _require_label(y)
        labels = self._labels if y in self._labels else [*self._labels, y]
        self._model.learn_one(_record(x), labels.index(y), w)
        self._labels = labels

    def predict_proba_one(self, x: Mapping[Any, Any], **kwargs: Any) -> dict[Any, float]:
        """Return the probability of each label seen."""
        probabilities = self._model.predict_proba_one(_record(x))
        return {self._labels[int(place)]: p for place, p in probabilities.items()}


class LearnerRegressor(_Learner, base.Regressor):
    """A `learner.Model` that predicts numbers: a mean, a quantile, or the rate of counts.

    Parameters
    ----------
    loss
        ``squared`` (the default) for the mean, ``quantile`` for a quantile, ``poisson`` for the rate of counts.
    level
        With ``quantile`` the share of targets to be below the prediction, within (0, 1); by default 0.5, the median.
    featurizer, rates, neural, optimizer, seed
        As in `LearnerClassifier`.

    Examples
    --------
    >>> model = LearnerRegressor()
    >>> for i in range(200):
    ...     model.learn_one({"a": float(i % 7)}, 10.0 + 2.0 * (i % 7))
    >>> round(model.predict_one({"a": 3.0}), 1)
    16.0
    """

    def __init__(
        self,
        loss: str | None = None,
        level: float | None = None,
        featurizer: str | None = "fields",
        rates: Sequence[float] | None = None,
        neural: Sequence[int] | None = None,
        optimizer: str | Mapping[str, Any] | None = None,
        seed: int | None = None,
    ) -> None:
        self.task, self.level = task_of(loss), level
        super().__init__(loss, featurizer, rates, neural, optimizer, seed, level=level)

    def learn_one(self, x: Mapping[Any, Any], y: float, w: float = 1.0) -> None:
        """Learn one example, of weight w.

        Raises
        ------
        ExampleError
            When it can't be learned.
        """
        self._model.learn_one(_record(x), y, w)

    def predict_one(self, x: Mapping[Any, Any]) -> float:
        """Return the prediction; a mean and a quantile are within the range of the targets seen."""
        prediction: float = self._model.predict_one(_record(x))
        return prediction
