"""A model: a featurizer, a linear learner over a growing dict of weights, and the path of the data between them.

::

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

import functools
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

import featurizers
from learner import layout, learners, packing, saving
from learner.errors import ExampleError, FormatError, LearnerError, show
from learner.spec import Spec
from learner.tasks import TASKS

if TYPE_CHECKING:
    from learner.learners import Contribution, Learned, NamedWeights, StateChanges
    from learner.program import Program

__all__ = ["Model"]

if not hasattr(featurizers, "Fields"):
    raise ImportError(f"the package featurizers is hidden by {featurizers.__file__}: rename that file")


class Model:
    """A streaming sparse linear model.

    Parameters
    ----------
    task : {"binary", "multiclass", "regression", "quantile", "poisson"}
        - ``binary``: targets are -1 and +1; 0, booleans and the two `labels` are accepted, too.
        - ``multiclass``: targets are strings, whole numbers or booleans. The labels need not be known beforehand.
        - ``regression``: targets are finite numbers. Predicts the mean.
        - ``quantile``: targets are finite numbers. Predicts the quantile at `level`.
        - ``poisson``: targets are counts or rates, at least 0. Predicts the rate, whose logarithm is linear in the features.
    featurizer : Featurizer, str or mapping, optional
        Turns a raw record into features: a ready featurizer's name, the path of a TOML or JSON file, a spec as data, or a
        `Featurizer`. Without one, a record must hold its features already: a map of name to number, or a numpy array of one
        dimension. An array's features are named by position, "0", "1", ...; the model learns the same numbers from the array
        as from the equivalent map. The featurizer ``fields`` takes such arrays, too.
    columns : mapping, optional
        The kinds of the records' fields, by name, for the featurizer ``fields``: ``{"price": "money"}``, see
        `featurizers.columns`.
    target : str, optional
        The field that holds the outcome, in files.
    loss : {"logistic", "hinge", "squared", "quantile", "poisson"}, optional
        By default the task's: logistic, squared, quantile or poisson.
    level : float, optional
        For ``quantile`` only, within (0, 1): the share of targets that should lie below the prediction. By default 0.5, the
        median.
    rates : sequence of float, optional
        One or more AdaGrad learning rates in place of the default mixture. A single rate is used alone, without a mixer.
    decays : sequence of float, optional
        One factor for each rate: at each update of a feature, its sum of squared gradients is first multiplied by this.
    parts : sequence of str, optional
        The parts of the mixture beside the rates, names in `learner.layout.PARTS`. By default all; none if `rates` is set.
        The trends only go with outcomes that come at once.
    outcomes : {"late", "at_once"}, optional
        Whether a request is answered before the outcomes of the examples just before it are known (``late``, the default), or
        after: then the last outcomes help to forecast the next one. With ``late`` the model holds some hundred examples back
        and learns them in random order (see `learner.kernels.held` and `learn_held`). A named algorithm always learns at once.
    labels : (negative, positive), optional
        The application's names for the targets -1 and +1.
    target_range : (low, high), optional
        For numbers: an example whose target is outside is rejected.
    neural : sequence of int or mapping, optional
        Adds a neural head: the number of units of each hidden layer. Or a mapping of ``hidden`` (those numbers),
        ``activation`` (one of `learner.spec.ACTIVATIONS`, by default tanh) and ``alone`` (True: the head is the whole model;
        otherwise it is mixed with the linear experts).
    optimizer : str or mapping, optional
        A named algorithm in place of the mixture, on unscaled values: a name in `learner.optimizers.OPTIMIZERS`, or a mapping
        of ``name`` and options, such as ``{"name": "ftrl", "alpha": 0.1, "l1": 1.0}``.
    max_features : int, optional
        The largest number of features, at least 100; derived features count, and with many classes each class's features. Their
        names may have about 64 bytes on average.
        When the model is nearly full, it stores a new feature only at its second recent occurrence; when it is full, it drops
        the least useful features (see `learner.learners.sweeping`).
    max_labels : int, optional
        For ``multiclass``: the largest number of labels, by default 1000; an example with one label more is rejected.
    l1, l2 : float
        Penalties ``l1 |w| + l2 w^2 / 2`` on the weights of an example's features (see `learner.kernels.experts.penalties`), and
        on a head's weights. With ``l1`` weights become exactly zero; a feature whose weights are all zero is dropped.
    seed : bytes, optional
        The secret of the names' hash, at least 16 bytes; by default drawn at random.

    Raises
    ------
    SpecError
        When a parameter breaks a rule.
    """

    def __init__(
        self,
        task: str = "binary",
        *,
        featurizer: "featurizers.Featurizer | str | Mapping[str, Any] | None" = None,
        columns: Mapping[str, Any] | None = None,
        target: str | None = None,
        loss: str | None = None,
        level: float | None = None,
        rates: Sequence[float] | None = None,
        decays: Sequence[float] | None = None,
        parts: Collection[str] | None = None,
        outcomes: str | None = None,
        labels: Sequence[str] | None = None,
        target_range: Sequence[float] | None = None,
        neural: Sequence[int] | Mapping[str, Any] | None = None,
        optimizer: str | Mapping[str, Any] | None = None,
        max_features: int | None = None,
        max_labels: int | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        seed: bytes | None = None,
    ) -> None:
        spec = Spec(
            task, featurizer=featurizer, columns=columns, target=target, loss=loss, level=level, rates=rates, decays=decays,
            parts=parts, outcomes=outcomes, labels=labels, target_range=target_range, neural=neural, optimizer=optimizer,
            max_features=max_features, max_labels=max_labels, l1=l1, l2=l2, seed=seed,
        )  # fmt: skip
        self._of(spec)

    def _of(self, spec: Spec) -> None:
        self.spec, self.task, self.featurizer = spec, spec.task, spec.featurizer
        self.learner = learners.make(spec)
        templates = () if self.featurizer is None else self.featurizer.templates
        self._has_fields = len(templates) == 1 and isinstance(templates[0], featurizers.Fields)
        columns = (self.spec.columns or {}).items()
        silent, target = featurizers.columns.SILENT, self.spec.target
        self._declared = [name for name, column in columns if column["kind"] not in silent and name != target]
        self._takes_arrays = self.featurizer in (None, featurizers.READY["fields"])

    # ---- the model as data ----
    def to_spec(self) -> dict[str, Any]:
        """Return the model's description as data that `from_spec` takes, without the learned state."""
        return self.spec.to_data()

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any] | Spec) -> Self:
        """Return a new, untrained model from a spec or from its data.

        Raises
        ------
        SpecError
            When the data has another version, an unknown key or a wrong value.
        """
        model = cls.__new__(cls)
        model._of(spec if isinstance(spec, Spec) else Spec.from_data(spec))
        return model

    def __reduce__(self) -> tuple[Any, ...]:
        """Support copying and pickling: a model is its spec, with the seed, and its state."""
        return self._restored, (self.to_spec(), {name: array.copy() for name, array in self.state().items()})

    @classmethod
    def _restored(cls, spec: Mapping[str, Any], state: Mapping[str, NDArray[Any]]) -> Self:
        model = cls.from_spec(spec)
        model.load_state(state)
        return model

    @property
    def fingerprint(self) -> str:
        """32 hex digits of a hash of the spec: two models with one fingerprint learn the same from the same examples."""
        return self.spec.fingerprint

    @functools.cached_property
    def program(self) -> "Program | None":
        """Featurizes many records in msgpack at once; None where the featurizer's templates can't run compiled."""
        from learner.program import Program

        return Program.of(self.featurizer, self.learner.keys)

    # ---- one example ----
    def features(self, x: Any) -> Any:
        """Return phi(x), the feature vector of a record: a map of name to number, or the record itself if it is an array.

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
        except Exception as error:  # whatever a template raises, only this record is rejected
            raise ExampleError(str(error) or type(error).__name__) from error

    def pack(self, x: Any) -> bytes:
        """Return phi(x) in msgpack, as the compiled loops read it: a map or an array (see `learner.packing`).

        Raises
        ------
        ExampleError
            When the record can't be featurized, or msgpack can't encode a value.
        """
        if self.program and self.program.pays_for_one and (packed := self.program.pack(x)):
            return packed
        features = self.features(x)
        return packing.pack(features if isinstance(features, dict) or packing.is_array(features) else dict(features))

    def pack_each(self, records: Sequence[Any]) -> "list[bytes | ExampleError]":
        """Return phi(x) of each of many records, as `pack` does, or the error of one that can't be featurized."""
        done = (
            self.program.run_each(packing.pack_plain(records), are_examples=False)
            if self.program
            else [b""] * len(records)
        )
        packed: list[bytes | ExampleError] = []
        for x, features in zip(records, done, strict=True):
            try:
                packed.append(features or self.pack(x))
            except ExampleError as error:
                packed.append(error)
        return packed

    def learn_one(self, x: Any, y: Any, importance: float = 1.0) -> None:
        """Learn one example.

        Parameters
        ----------
        x : record
            An input of the featurizer. Without a featurizer: a map of feature name to number, or a numpy array of one
            dimension.
        y : target
            -1 or +1 (or 0 and 1, a boolean, a label), or a number.
        importance : float
            The example's weight, at least 0; an example of importance k counts as k examples.

        Raises
        ------
        ExampleError
            When the example can't be learned; the weights then stay as they were.
        """
        if rejections := self.learner.learn_packed(packing.pack_example(y, self.pack(x), importance)).rejections:
            raise ExampleError(rejections[0].reason)

    def learn_packed(
        self, data: bytes, most: int | None = None, between: Callable[[], None] | None = None
    ) -> "Learned":
        """Learn several examples, ``[target, features]`` in msgpack, one after another; at most `most` of them.

        `between` is called from time to time, when the model may answer, but not learn.

        Returns
        -------
        Learned
            The scores before learning, and the rejected examples with their reasons.
        """
        return self.learner.learn_packed(data, most, between)

    def learn_held(self) -> None:
        """Learn the examples that are held back: at the end of a file, in a pause of the stream, before saving."""
        self.learner.learn_held()

    def losses_packed(self, data: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the losses and importances of several examples in msgpack, without learning them or changing the model.

        A loss is what `learn_packed` would add to `progressive_loss` if the example came next; NaN where it would be rejected.
        See `learner.late`.
        """
        return self.learner.losses_packed(data)

    def score_one(self, x: Any) -> float:
        """Return the score ``w . phi(x)`` in the target's units (``poisson``: the log rate), without changing the model."""
        return self.learner.score_packed(self.pack(x))

    def predict_one(self, x: Any) -> Any:
        """Return the prediction.

        With two classes it is -1 or +1, or its label, by the score's sign. With many classes it is the most probable label,
        None before the first example. Otherwise it is a number; for ``regression`` and ``quantile`` it lies within the range
        of targets seen.
        """
        return self.learner.predict_packed(self.pack(x))

    def predict_proba_one(self, x: Any) -> dict[Any, float]:
        """Return the probability of each of the two targets or labels, or of every label seen.

        Raises
        ------
        ExampleError
            When the record breaks a rule, or the task predicts numbers.
        """
        if TASKS[self.task].predicts_numbers:
            raise ExampleError(f"probabilities are for classes (got a {self.task})")
        return self.learner.probabilities_packed(self.pack(x))

    def explain_one(self, x: Any, label: Any = None) -> "list[Contribution]":
        """Return what each feature adds to the score, the largest first; the contributions add up to `score_one`.

        With many classes it explains the score of `label`, by default of the most probable one.
        """
        return self.learner.explain_packed(self.pack(x), label)

    def answer(self, packed: bytes, explain: bool = False) -> dict[str, Any]:
        """Return the answer to a request for packed features: see `learner.learners.protocol.Learner.answer`."""
        return self.learner.answer(packed, explain)

    def answer_each(self, packed: Sequence[bytes]) -> Iterable[dict[str, Any] | None]:
        """Return the answers to requests for packed features, None in place of an error, which `answer` raises."""
        return self.learner.answer_each(packed)

    def unknown_fields(self, x: Any, packed: bytes) -> list[str]:
        """Return a record's fields that count for nothing in its answer, because the model has learned none of their features.

        A field's name may be new to the model, or the value of a category. Only the featurizer ``fields`` tells which features
        are a field's: with another one the list is empty.

        Parameters
        ----------
        x : record
            The record.
        packed : bytes
            Its features: what this thread scored last, so that nothing is looked up again.
        """
        if not self._has_fields or not isinstance(x, Mapping):
            return []
        unknown = self.learner.unknown_names(packed)
        if not unknown:
            return []
        missing = self.features({}).keys()  # the features of declared fields that a record lacks
        names = {field: self.features({field: value}).keys() - missing for field, value in x.items()}
        return [field for field, own in names.items() if own and own <= unknown]

    def missing_fields(self, x: Any) -> list[str]:
        """Return the fields that the spec declares, as columns, and a record lacks or has no value for."""
        if not isinstance(x, Mapping):
            return []
        return [name for name in self._declared if featurizers.columns.is_missing(x.get(name))]

    @property
    def labels(self) -> tuple[str, str] | None:
        """The application's names for the targets -1 and +1."""
        return self.spec.labels

    @property
    def classes(self) -> tuple[Any, ...]:
        """The two targets of a binary task, -1 and +1 or the labels; with many classes, all labels seen."""
        return self.learner.classes

    def warm(self) -> None:
        """Compile the loops, or load them from disk, so that the first example doesn't wait for it."""
        self.learner.warm()
        if self.program:
            self.program.warm()

    # ---- weights, counts and figures ----
    @property
    def weights(self) -> "NamedWeights":
        """The effective weights by feature name, in the user's units: a live mapping; with many classes by label, then name."""
        return self.learner.weights

    @property
    def feature_names(self) -> list[str]:
        """The names of the stored features, the constant's among them, in order of first update; no derived features."""
        weight_dict = self.learner.weight_dict
        return [weight_dict.name(slot) for slot in np.flatnonzero(~weight_dict.derived).tolist()]

    @property
    def n_examples(self) -> int:
        """Examples learned."""
        return int(self.learner.totals[layout.EXAMPLES])

    @property
    def n_held(self) -> int:
        """Examples that are held back, of those that count as learned; 0 unless outcomes come late."""
        return len(self.learner.held)

    @property
    def n_rejected(self) -> int:
        """Examples that could not be learned."""
        return int(self.learner.totals[layout.REJECTED])

    @property
    def n_features(self) -> int:
        """Features in the weight dict; the constant and derived features count."""
        return len(self.learner.weight_dict)

    @property
    def nbytes(self) -> int:
        """Bytes of memory of the weight dict."""
        return self.learner.weight_dict.nbytes

    @property
    def progressive_loss(self) -> float:
        """The mean loss (log loss, squared error, ...) of predictions made before learning each example; NaN at first."""
        return self._mean(layout.LOSS_SUM)

    @property
    def constant_loss(self) -> float:
        """The progressive loss of the best constant at each moment, such as the running mean, beside `progressive_loss`."""
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
            "held": self.n_held,
            "rejected": self.n_rejected,
            "features": self.n_features,
            "bytes": self.nbytes,
            **self.memory(),
            **self.figures(),
        }

    def memory(self) -> dict[str, float]:
        """Return how many features were stored, not stored, and dropped; {} for a model that never drops features."""
        refused, evicted = (int(self.learner.totals[place]) for place in (layout.REFUSED, layout.EVICTED))
        if not self.spec.max_features and not self.spec.l1:
            return {}
        return {"admitted": self.n_features + evicted, "refused": refused, "evicted": evicted}

    def gradient_norms(self) -> dict[str, float]:
        """Return the root mean square norms of a neural head's recent gradients, by layer; {} without a head."""
        return self.learner.gradient_norms()

    def gradient_warning(self) -> str:
        """Return a warning about vanishing or exploding gradients, or ""."""
        return self.learner.gradient_warning()

    def _mean(self, place: int) -> float:
        total = float(self.learner.totals[layout.IMPORTANCE_SUM])
        return float(self.learner.totals[place]) / total if total else float("nan")

    def count_rejected(self, n: int) -> None:
        """Count examples that were rejected before they reached the learner."""
        self.learner.totals[layout.REJECTED] += n

    # ---- state in and out ----
    def state(self) -> dict[str, NDArray[Any]]:
        """Return the learned state as arrays: models of one spec are equal if these bytes are. Views, not copies."""
        return self.learner.state()

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Replace the learned state by the `state` of a model of the same spec.

        Raises
        ------
        StoreError
            When the arrays don't have this model's shapes, or can't be what a model has learned: a mean of states is no state.
        """
        self.learner.load_state(state)

    def load_changes(self, changes: "StateChanges") -> None:
        """Make the learned state that of a later moment: see `learner.learners.protocol.Learner.load_changes`."""
        self.learner.load_changes(changes)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to one file, called NAME.learner by custom: see `learner.saving`.

        Examples that are held back are learned first, so a saved model holds nothing back. The seed is in the file, and it is
        a secret: keep the file as you keep a password.

        Raises
        ------
        LearnerError
            When the file can't be written.
        """
        saving.require_writable(path)
        self.learn_held()
        saving.save(path, saving.Saved(self.to_spec(), self.state()))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """Return the model that `save` wrote: it has the same state, and learns on to the same bits. Load only what you trust.

        Raises
        ------
        FormatError
            When the file can't be read, is damaged, or has another format.
        """
        saved = saving.load(path)
        try:
            return cls._restored(saved.spec, saved.state)
        except LearnerError as error:
            raise FormatError(f"saved model {os.fspath(path)}: {error}") from error

    @property
    def dirty(self) -> NDArray[np.uint8]:
        """For each row of the state, whether it changed since a commit cleared the mark. A view."""
        return self.learner.weight_dict.dirty[: self.n_features]

    @property
    def row_width(self) -> int:
        """The number of float32s in a row of the state."""
        return self.learner.weight_dict.width
