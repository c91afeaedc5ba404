"""A model: a featurizer, a linear learner over a growing dict of weights, and the way of the data between them.

The page to read first::

    record --featurizer--> {feature name: value} --msgpack--> packed --linear--> score --link--> prediction
                                                                      |
                                             target --> loss --> gradient --> weights

A model starts from an empty dict and learns one example at a time, predicting each before learning it. The score is linear in
the features, ``score = w . phi(x)``: all the power is in phi, and every weight has a readable name.

>>> model = Model("binary", featurizer="email", seed=b"sixteen bytes it")
>>> model.predict_proba_one({"address": "abc@gmail.com"})
{-1: 0.5, 1: 0.5}
>>> for _ in range(20):
...     model.learn_one({"address": "abc@gmail.com"}, 1)
...     model.learn_one({"address": "abc.gmail.com"}, -1)
>>> model.predict_one({"address": "xyz@gmail.com"}), model.predict_one({"address": "xyz.gmail.com"})
(1, -1)
>>> model.weights["contains_@"] > 0
True
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

import featurizers
from learner import layout, learners, packing
from learner.errors import ExampleError, show
from learner.spec import Spec
from learner.tasks import TASKS

if TYPE_CHECKING:
    from learner.learners import Contribution, Learned, NamedWeights

__all__ = ["Model"]


class Model:
    """A streaming sparse linear model.

    Parameters
    ----------
    task : {"binary", "multiclass", "regression", "quantile", "poisson"}
        Binary targets are -1 and +1 (0 and 1, booleans and the two `labels` are accepted), those of many classes strings or
        whole numbers, which need not be known beforehand, others any finite number, those of ``poisson``, counts or rates, at
        least 0. A regression predicts the mean, ``quantile`` the quantile at `level`, ``poisson`` the rate, whose logarithm is
        linear in the features.
    featurizer : Featurizer, str or mapping, optional
        Makes features of a raw record: a ready featurizer's name, a path to its TOML or JSON, its spec as data, or itself.
        Without one, a record is its features: a map of name to number, or a numpy array of one dimension, whose names are its
        positions, "0", "1", ... (as with ``fields``): the same numbers come out either way, and no name is hashed twice.
    loss : {"logistic", "hinge", "squared", "quantile", "poisson"}, optional
        By default the task's: logistic, squared, quantile or poisson.
    level : float, optional
        Of the task ``quantile``, within (0, 1): the share of targets to be below the prediction; by default 0.5, the median.
    rates : sequence of float, optional
        Fixes one or more learning rates in place of the default mixture; one alone is not mixed.
    decays : sequence of float, optional
        What each rate's sums of squared gradients are multiplied by at each update of a feature.
    parts : sequence of str, optional
        What there is in the mixture beside the rates, names in `learner.layout.PARTS`: by default all, with `rates` none.
    labels : (negative, positive), optional
        What the application calls the targets -1 and +1.
    neural : sequence of int or mapping, optional
        A neural head with so many units a hidden layer, mixed with the linear experts; or a mapping of ``hidden`` (those
        numbers), ``activation`` (one of `learner.spec.ACTIVATIONS`, by default tanh) and ``alone`` (True for no linear
        experts beside it).
    optimizer : str or mapping, optional
        A named algorithm in place of the mixture, on plain values: one of `learner.optimizers.OPTIMIZERS`, or a mapping of its
        ``name`` and some of its options, as ``{"name": "ftrl", "alpha": 0.1, "l1": 1.0}``.
    max_features : int, optional
        The most features kept, at least 100, derived ones among them, with at most 64 bytes of names for each on average. When
        it is full, the least useful are dropped (see `learner.learners.sweeping`), and new ones are kept from the second
        time on that they come lately.
    l1, l2 : float
        Penalties ``l1 |w| + l2 w^2 / 2`` on the weights of an example's features. With ``l1`` weights become exactly zero, and
        a feature whose weights all are is forgotten (see `learner.kernels.experts.penalties`).
    seed : bytes, optional
        The secret of the names' hash, at least 16 bytes; by default drawn at random.

    Raises
    ------
    SpecError
        When one of them breaks a rule.
    """

    def __init__(
        self,
        task: str = "binary",
        *,
        featurizer: "featurizers.Featurizer | str | Mapping[str, Any] | None" = None,
        loss: str | None = None,
        level: float | None = None,
        rates: Sequence[float] | None = None,
        decays: Sequence[float] | None = None,
        parts: Collection[str] | None = None,
        labels: Sequence[str] | None = None,
        neural: Sequence[int] | Mapping[str, Any] | None = None,
        optimizer: str | Mapping[str, Any] | None = None,
        max_features: int | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        seed: bytes | None = None,
    ) -> None:
        spec = Spec(
            task, featurizer=featurizer, loss=loss, level=level, rates=rates, decays=decays, parts=parts, labels=labels,
            neural=neural, optimizer=optimizer, max_features=max_features, l1=l1, l2=l2, seed=seed,
        )  # fmt: skip
        self._of(spec)

    def _of(self, spec: Spec) -> None:
        self.spec, self.task, self.featurizer = spec, spec.task, spec.featurizer
        self.learner = learners.make(spec)
        self._takes_arrays = self.featurizer in (None, featurizers.READY["fields"])

    # ---- the model as data ----
    def to_spec(self) -> dict[str, Any]:
        """Return what the model is, as data that `from_spec` takes; not what it has learned."""
        return self.spec.to_data()

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any] | Spec) -> Self:
        """Make the model, knowing nothing yet, that a spec, or its data, describes.

        Raises
        ------
        SpecError
            When the data has another version, an unknown key or a wrong value.
        """
        model = cls.__new__(cls)
        model._of(spec if isinstance(spec, Spec) else Spec.from_data(spec))
        return model

    def __reduce__(self) -> tuple[Any, ...]:
        """Let it be copied, and sent to another process: the spec, with its seed, and the state."""
        return self._restored, (self.to_spec(), {name: array.copy() for name, array in self.state().items()})

    @classmethod
    def _restored(cls, spec: Mapping[str, Any], state: Mapping[str, NDArray[Any]]) -> Self:
        model = cls.from_spec(spec)
        model.load_state(state)
        return model

    @property
    def fingerprint(self) -> str:
        """32 hex digits that change whenever the model's features, or what it would learn from them, would."""
        return self.spec.fingerprint

    # ---- one example ----
    def features(self, x: Any) -> Any:
        """Return phi(x), the feature vector of a record: a map of name to number; of an array, where that will do, itself.

        Raises
        ------
        ExampleError
            When the record can't be featurized.
        """
        if self._takes_arrays and packing.is_array(x):
            return x
        if self.featurizer is None:
            if not isinstance(x, Mapping):
                raise ExampleError(f"features must be a map of name to number, or an array (got {show(x)})")
            return x
        try:
            return self.featurizer(x)
        except Exception as error:  # whatever a template stumbles over, it is this record that is refused
            raise ExampleError(str(error) or type(error).__name__) from error

    def pack(self, x: Any) -> bytes:
        """Return phi(x) as the msgpack map, or array (see `learner.packing`), that the compiled loops scan.

        Raises
        ------
        ExampleError
            When the record can't be featurized, or a value is nothing msgpack knows.
        """
        features = self.features(x)
        return packing.pack(features if isinstance(features, dict) or packing.is_array(features) else dict(features))

    def learn_one(self, x: Any, y: Any, importance: float = 1.0) -> None:
        """Learn one example.

        Parameters
        ----------
        x : record
            What the featurizer takes, or without one a map of feature name to number, or a numpy array of one dimension.
        y : target
            -1 or +1 (or 0 and 1, a boolean, a label), or a number.
        importance : float
            The example's weight, at least 0; k counts like k repeats.

        Raises
        ------
        ExampleError
            When it can't be learned; nothing has changed then.
        """
        if rejections := self.learner.learn_packed(packing.pack_example(y, self.pack(x), importance)).rejections:
            raise ExampleError(rejections[0].reason)

    def learn_packed(self, data: bytes, most: int | None = None) -> "Learned":
        """Learn many examples at once, ``[target, features]`` in msgpack, one after another; at most so many.

        Returns
        -------
        Learned
            The scores before learning, and the examples that could not be learned with their reasons.
        """
        return self.learner.learn_packed(data, most)

    def score_one(self, x: Any) -> float:
        """Return the score ``w . phi(x)``, in the target's units, of ``poisson`` the logarithm of the rate; nothing changes."""
        return self.learner.score_packed(self.pack(x))

    def predict_one(self, x: Any) -> Any:
        """Return the prediction: -1 or +1 (or its label) by the score's sign, or a number within the range of targets seen.

        Of many classes the likeliest label, None before the first example.
        """
        return self.learner.predict_packed(self.pack(x))

    def predict_proba_one(self, x: Any) -> dict[Any, float]:
        """Return the probability of each of the two targets or labels, or of every label seen.

        Raises
        ------
        ExampleError
            Where numbers are predicted, too.
        """
        if TASKS[self.task].predicts_numbers:
            raise ExampleError(f"probabilities are for classes (got a {self.task})")
        return self.learner.probabilities_packed(self.pack(x))

    def explain_one(self, x: Any, label: Any = None) -> "list[Contribution]":
        """Return what each feature adds to the score, the largest first; the contributions add up to `score_one`.

        Of many classes the score is that of a label, by default of the likeliest one.
        """
        return self.learner.explain_packed(self.pack(x), label)

    def answer(self, packed: bytes, explain: bool = False) -> dict[str, Any]:
        """Return the answer to a request for packed features: see `learner.learners.protocol.Learner.answer`."""
        return self.learner.answer(packed, explain)

    @property
    def labels(self) -> tuple[str, str] | None:
        """What the application calls the targets -1 and +1."""
        return self.spec.labels

    @property
    def classes(self) -> tuple[Any, ...]:
        """The two targets of a binary task: -1 and +1, or the labels; or all labels seen."""
        return self.learner.classes

    def warm(self) -> None:
        """Compile the loops, or load them from disk, so that the first example need not wait."""
        self.learner.warm()

    # ---- what it has learned ----
    @property
    def weights(self) -> "NamedWeights":
        """The effective weights by feature name, in the user's units: a live mapping; of many classes by label, then name."""
        return self.learner.weights

    @property
    def feature_names(self) -> list[str]:
        """The names of the features that came, in order of their first update, without those derived from them."""
        weight_dict = self.learner.weight_dict
        return [weight_dict.name(slot) for slot in np.flatnonzero(~weight_dict.derived).tolist()]

    @property
    def n_examples(self) -> int:
        """Examples learned."""
        return int(self.learner.totals[layout.EXAMPLES])

    @property
    def n_rejected(self) -> int:
        """Examples that could not be learned."""
        return int(self.learner.totals[layout.REJECTED])

    @property
    def n_features(self) -> int:
        """Names in the weight dict, the constant among them."""
        return len(self.learner.weight_dict)

    @property
    def nbytes(self) -> int:
        """Bytes of memory of the weight dict."""
        return self.learner.weight_dict.nbytes

    @property
    def progressive_loss(self) -> float:
        """The mean loss of every example's prediction before it was learned: log loss, squared error, ...; NaN at first."""
        return self._mean(layout.LOSS_SUM)

    @property
    def constant_loss(self) -> float:
        """The progressive loss of the best constant so far (of a quantile, an estimate of it), beside `progressive_loss`."""
        return self._mean(layout.CONSTANT_LOSS_SUM)

    def figures(self) -> dict[str, float]:
        """Return how good the predictions were before learning: see `learner.metrics.figures`."""
        return self.learner.figures()

    def summary(self) -> dict[str, float]:
        """Return the figures above by name, for a program."""
        return {
            "progressive_loss": self.progressive_loss,
            "constant_loss": self.constant_loss,
            "examples": self.n_examples,
            "rejected": self.n_rejected,
            "features": self.n_features,
            "bytes": self.nbytes,
            **self.memory(),
            **self.figures(),
        }

    def memory(self) -> dict[str, float]:
        """Return how many features were stored, not stored, and dropped again: nothing where none is ever dropped."""
        refused, evicted = (int(self.learner.totals[place]) for place in (layout.REFUSED, layout.EVICTED))
        if not self.spec.max_features and not self.spec.l1:
            return {}
        return {"admitted": self.n_features + evicted, "refused": refused, "evicted": evicted}

    def gradient_norms(self) -> dict[str, float]:
        """Return the root mean square norms of a neural head's recent gradients, by layer; nothing without a head."""
        return self.learner.gradient_norms()

    def gradient_warning(self) -> str:
        """Return in words what is wrong with those norms; "" when nothing is."""
        return self.learner.gradient_warning()

    def _mean(self, place: int) -> float:
        total = float(self.learner.totals[layout.IMPORTANCE_SUM])
        return float(self.learner.totals[place]) / total if total else float("nan")

    def count_rejected(self, n: int) -> None:
        """Count examples that were rejected before they reached the learner."""
        self.learner.totals[layout.REJECTED] += n

    # ---- state in and out ----
    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that was learned, as arrays: equal bytes are equal models. Views, not copies."""
        return self.learner.state()

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what a model of the same spec gave as its `state`.

        Raises
        ------
        StoreError
            When the arrays don't have this model's shapes.
        """
        self.learner.load_state(state)

    @property
    def dirty(self) -> NDArray[np.uint8]:
        """For each row of the state, whether it changed since a commit cleared the mark; a view, with room for more rows."""
        return self.learner.weight_dict.dirty

    @property
    def row_width(self) -> int:
        """How many float32s a row of the state has."""
        return self.learner.weight_dict.width
