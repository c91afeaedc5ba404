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

import hashlib
import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

import featurizers
from learner import layout, metrics, packing
from learner.errors import ExampleError, SpecError, StoreError, show
from learner.learners import multiclass
from learner.learners.mixture import DECAYS, PARTS, Contribution, Learned, Linear, Weights
from learner.learners.neural import NeuralHead
from learner.learners.optimizer import Named
from learner.losses import LOSSES
from learner.tasks import TASKS

__all__ = ["Model"]

SPEC_VERSION = 1


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
        What there is in the mixture beside the rates, names in `learner.learners.mixture.PARTS`: by default all, with `rates` none.
    labels : (negative, positive), optional
        What the application calls the targets -1 and +1.
    neural : sequence of int or mapping, optional
        A neural head with so many units a hidden layer, mixed with the linear experts; or a mapping of ``hidden`` (those
        numbers), ``activation`` (one of `learner.learners.neural.ACTIVATIONS`, by default tanh) and ``alone`` (True for no linear
        experts beside it).
    optimizer : str or mapping, optional
        A named algorithm in place of the mixture, on plain values: one of `learner.optimizers.OPTIMIZERS`, or a mapping of its
        ``name`` and some of its options, as ``{"name": "ftrl", "alpha": 0.1, "l1": 1.0}``.
    max_features : int, optional
        The most features kept, at least 100, derived ones among them, with at most 64 bytes of names for each on average. When
        it is full, the least useful are dropped (see `learner.learners.mixture.Linear.sweep`), and new ones are kept from the second
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
        if not isinstance(task, str) or task not in TASKS:
            raise SpecError(f"task must be one of {', '.join(TASKS)} (got {show(task)})")
        if task == "multiclass":
            multiclass.check(loss, labels, neural, optimizer, max_features, l1, l2)
        loss = TASKS[task].loss if loss is None else loss
        fitting = [name for name, entry in LOSSES.items() if entry.task == TASKS[task].learned_as]
        if loss not in fitting:
            raise SpecError(f"loss of a {task} task must be one of {', '.join(fitting)} (got {show(loss)})")
        level = _level(task, level)
        mixture = {
            "rates": rates,
            "decays": decays,
            "parts": parts,
            "neural": neural,
            "l1": l1 or None,
            "l2": l2 or None,
        }
        if optimizer is not None and (given := [name for name, value in mixture.items() if value is not None]):
            raise SpecError(f"optimizer must stand alone, without {', '.join(mixture)} (got {', '.join(given)})")
        if parts is None:
            parts = PARTS if rates is None else ()
        if not isinstance(parts, Collection) or isinstance(parts, str) or not all(part in PARTS for part in parts):
            raise SpecError(f"parts must be of {', '.join(PARTS)} (got {show(parts)})")
        usual = TASKS[task].rates
        if rates is None and decays is None:
            rates, decays = usual, DECAYS
        rates = _numbers("rates", usual if rates is None else rates, 1e6)
        decays = _numbers("decays", [1.0] * len(rates) if decays is None else decays, 1.0)
        if len(decays) != len(rates):
            raise SpecError(f"decays must be as many as the rates, {len(rates)} (got {len(decays)})")
        if labels is not None and not (
            task == "binary" and isinstance(labels, list | tuple) and len(labels) == 2 and labels[0] != labels[1]
            and all(map(_is_label, labels))
        ):  # fmt: skip
            size = layout.MAX_NAME_BYTES
            raise SpecError(
                f"labels must be two different strings of 1 to {size} bytes, of a binary task (got {show(labels)})"
            )
        l1, l2 = (_penalty(name, value) for name, value in (("l1", l1), ("l2", l2)))
        if l1 and neural is not None:
            raise SpecError("l1 must come without neural: the columns of the head would be forgotten, too (got both)")
        if max_features is not None and (
            type(max_features) is not int or not layout.MIN_MAX_FEATURES <= max_features <= layout.MAX_ROWS
        ):
            bounds = f"{layout.MIN_MAX_FEATURES} to {layout.MAX_ROWS}"
            raise SpecError(f"max_features must be a whole number of {bounds} (got {show(max_features)})")
        self.seed = secrets.token_bytes(16) if seed is None else seed
        if not isinstance(self.seed, bytes) or len(self.seed) < 16:
            raise SpecError("seed must be at least 16 bytes (it is a secret, so not shown)")
        try:
            self.featurizer = None if featurizer is None else featurizers.get(featurizer)
        except ValueError as error:
            raise SpecError(str(error)) from error
        self._takes_arrays = self.featurizer in (None, featurizers.READY["fields"])
        self.task = task
        self.labels = None if labels is None else (str(labels[0]), str(labels[1]))
        if task == "multiclass":
            self.linear: Linear = multiclass.MultiClass(self.seed, rates, decays, parts)
        elif optimizer is not None:
            self.linear = Named(loss, optimizer, self.seed, self.labels, level, max_features)
        else:
            head = None if neural is None else _head(neural, len(rates), self.seed)
            self.linear = Linear(
                loss, self.seed, rates, decays, self.labels, head, parts,
                level=level, max_features=max_features, l1=l1, l2=l2,
            )  # fmt: skip

    # ---- the model as data ----
    def to_spec(self) -> dict[str, Any]:
        """Return what the model is, as data that `from_spec` takes; not what it has learned."""
        head = self.linear.head
        neural = head and {"hidden": list(head.hidden), "activation": head.activation, "alone": head.alone}
        named = self.linear if isinstance(self.linear, Named) else None
        level = {"level": self.linear.level} if self.task == "quantile" else {}
        return {
            "version": SPEC_VERSION,
            "task": self.task,
            "loss": self.linear.loss.name,
            **level,
            "featurizer": None if self.featurizer is None else self.featurizer.to_spec(),
            "rates": None if named else list(self.linear.rates),
            "decays": None if named else [float(str(decay)) for decay in self.linear.decays],
            "parts": None if named else list(self.linear.parts),
            "labels": None if self.labels is None else list(self.labels),
            "neural": neural,
            "optimizer": named and {"name": named.optimizer.name, **named.options},
            "max_features": self.linear.max_features,
            "l1": self.linear.penalties[0],
            "l2": self.linear.penalties[1],
            "seed": self.seed.hex(),
        }

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Self:
        """Make the model, knowing nothing yet, that a spec describes.

        Raises
        ------
        SpecError
            When the spec has another version, an unknown key or a wrong value.
        """
        if not isinstance(spec, Mapping) or not all(isinstance(key, str) for key in spec):
            raise SpecError(f"spec must be a map of names to values (got {show(spec)})")
        given = dict(spec)
        version = given.pop("version", SPEC_VERSION)
        if version != SPEC_VERSION:
            raise SpecError(f"spec version must be {SPEC_VERSION} (got {show(version)})")
        known = {
            "task", "loss", "level", "featurizer", "rates", "decays", "parts", "labels", "neural", "optimizer", "max_features",
            "l1", "l2", "seed",
        }  # fmt: skip
        if unknown := sorted(given.keys() - known):
            raise SpecError(f"spec must have no other keys than {', '.join(sorted(known))} (got {', '.join(unknown)})")
        if given.get("seed") is not None:
            try:
                given["seed"] = bytes.fromhex(given["seed"])
            except (TypeError, ValueError) as error:
                raise SpecError("seed must be hexadecimal (it is not)") from error
        return cls(given.pop("task", "binary"), **given)

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
        return hashlib.sha256(json.dumps(self.to_spec(), sort_keys=True).encode()).hexdigest()[:32]

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
        """Return phi(x) as the msgpack map, or array (see `learner.service.wire`), that the compiled loops scan.

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
        if rejections := self.linear.learn_packed(packing.pack_example(y, self.pack(x), importance)).rejections:
            raise ExampleError(rejections[0].reason)

    def learn_packed(self, data: bytes, most: int | None = None) -> Learned:
        """Learn many examples at once, ``[target, {name: value}]`` in msgpack, one after another; at most so many.

        Returns
        -------
        Learned
            The scores before learning, and the examples that could not be learned with their reasons.
        """
        return self.linear.learn_packed(data, most)

    def score_one(self, x: Any) -> float:
        """Return the score ``w . phi(x)``, in the target's units, of ``poisson`` the logarithm of the rate; nothing changes."""
        return self.linear.score_packed(self.pack(x))

    def predict_one(self, x: Any) -> Any:
        """Return the prediction: -1 or +1 (or its label) by the score's sign, or a number within the range of targets seen.

        Of many classes the likeliest label, None before the first example.
        """
        if isinstance(self.linear, multiclass.MultiClass):
            return self.linear.answer(self.pack(x))["label"]
        score = self.score_one(x)
        if TASKS[self.task].predicts_numbers:
            return self.linear.prediction(score)
        return self.classes[score > 0.0]

    def predict_proba_one(self, x: Any) -> dict[Any, float]:
        """Return the probability of each of the two targets or labels, or of every label seen.

        Raises
        ------
        ExampleError
            Where numbers are predicted, too.
        """
        if TASKS[self.task].predicts_numbers:
            raise ExampleError(f"probabilities are for classes (got a {self.task})")
        if isinstance(self.linear, multiclass.MultiClass):
            return self.linear.probabilities_packed(self.pack(x))
        p = self.linear.prediction(self.score_one(x))
        return {self.classes[0]: 1.0 - p, self.classes[1]: p}

    def explain_one(self, x: Any, label: Any = None) -> list[Contribution]:
        """Return what each feature adds to the score, the largest first; the contributions add up to `score_one`.

        Of many classes the score is that of a label, by default the likeliest one's.
        """
        if label is not None and isinstance(self.linear, multiclass.MultiClass):
            return self.linear.learner(label).explain_packed(self.pack(x))
        return self.linear.explain_packed(self.pack(x))

    @property
    def classes(self) -> tuple[Any, ...]:
        """The two targets of a binary task: -1 and +1, or the labels; or all labels seen."""
        if isinstance(self.linear, multiclass.MultiClass):
            return tuple(self.linear.labels_seen)
        return self.labels or (-1, 1)

    # ---- what it has learned ----
    @property
    def weights(self) -> Weights:
        """The effective weights by feature name, in the user's units: a live mapping."""
        return self.linear.weights

    @property
    def feature_names(self) -> list[str]:
        """The names of the features that came, in order of their first update, without those made of them."""
        store = self.linear.store
        return [store.name(slot) for slot in np.flatnonzero(~store.derived).tolist()]

    @property
    def n_examples(self) -> int:
        """Examples learned."""
        return int(self.linear.totals[layout.EXAMPLES])

    @property
    def n_rejected(self) -> int:
        """Examples that could not be learned."""
        return int(self.linear.totals[layout.REJECTED])

    @property
    def n_features(self) -> int:
        """Names in the weight dict, the constant among them."""
        return len(self.linear.store)

    @property
    def nbytes(self) -> int:
        """Bytes of memory of the weight dict."""
        return self.linear.store.nbytes

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
        return metrics.figures(self.linear.metrics, self.task)

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
        refused, evicted = (int(self.linear.totals[place]) for place in (layout.REFUSED, layout.EVICTED))
        if not self.linear.max_features and not self.linear.penalties[0]:
            return {}
        return {"admitted": self.n_features + evicted, "refused": refused, "evicted": evicted}

    def _mean(self, place: int) -> float:
        total = float(self.linear.totals[layout.IMPORTANCE_SUM])
        return float(self.linear.totals[place]) / total if total else float("nan")

    def count_rejected(self, n: int) -> None:
        """Count examples that were rejected before they reached the learner."""
        self.linear.totals[layout.REJECTED] += n

    # ---- for a worker ----
    def warm(self) -> None:
        """Compile the loops, or load them from disk: half a second that a first example should not wait for."""
        self.linear.warm()

    def answer(self, packed: bytes, explain: bool = False) -> dict[str, Any]:
        """Return what a request with these packed features is answered with."""
        return self.linear.answer(packed, explain)

    @property
    def dirty(self) -> NDArray[np.uint8]:
        """For each row, whether it changed since this was last cleared."""
        return self.linear.store.dirty

    @property
    def row_width(self) -> int:
        """The float32s in a row of the state."""
        return self.linear.store.width

    def gradient_norms(self) -> dict[str, float]:
        """Return the neural head's gradient norms by layer; nothing without a head."""
        return {} if self.linear.head is None else self.linear.head.layer_norms()

    def gradient_warning(self) -> str:
        """Return in words what is wrong with the neural head's gradients, if anything is; "" is nothing."""
        return "" if self.linear.head is None else self.linear.head.warning()

    # ---- state in and out ----
    def state(self) -> dict[str, NDArray[Any]]:
        """Return all that was learned, as arrays: equal bytes are equal models. Views, not copies."""
        store = self.linear.store
        rows: dict[str, NDArray[Any]] = {"rows": store.matrix, "names": store.names[: store.sizes[1]]}
        return rows | self.linear.arrays()

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take over what a model of the same spec gave as its `state`; one from before there were `metrics` has counted none.

        Raises
        ------
        StoreError
            When the arrays don't have this model's shapes.
        """
        self.linear.fit(state)
        arrays = self.linear.arrays()
        state = {"metrics": metrics.new(self.task)} | dict(state)
        for name, mine in arrays.items():
            if name not in state or state[name].shape != mine.shape:
                came = state[name].shape if name in state else "none"
                raise StoreError(f"state {name!r} must have the shape {mine.shape} (got {came})")
        width = self.linear.store.width
        if not {"rows", "names"} <= state.keys() or state["rows"].ndim != 2 or state["rows"].shape[1] != width:
            raise StoreError(f"state must have names, and rows of {width} numbers")
        for name, mine in arrays.items():
            mine[:] = state[name]
        self.linear.store.load(state["rows"], state["names"])


def _level(task: str, level: float | None) -> float:
    if level is None:
        return 0.5
    if task != "quantile":
        raise SpecError(f"level must be of a quantile task (got a {task} one)")
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0.0 < level < 1.0:
        raise SpecError(f"level must be within (0, 1) (got {show(level)})")
    return float(level)


def _is_label(label: Any) -> bool:
    try:
        return isinstance(label, str) and 0 < len(label.encode()) <= layout.MAX_NAME_BYTES
    except UnicodeEncodeError:  # a lone surrogate
        return False


def _head(neural: Sequence[int] | Mapping[str, Any], n_rates: int, seed: bytes) -> NeuralHead:
    given = dict(neural) if isinstance(neural, Mapping) else {"hidden": neural}
    if unknown := sorted(given.keys() - {"hidden", "activation", "alone"}):
        raise SpecError(f"neural must have no other keys than hidden, activation, alone (got {', '.join(unknown)})")
    hidden = given.get("hidden")
    if not isinstance(hidden, list | tuple):
        raise SpecError(f"neural must be a list of units a layer (got {show(hidden)})")
    activation: Any = given.get("activation", "tanh")
    return NeuralHead(hidden, activation, n_rates, bool(given.get("alone", False)), seed)


def _penalty(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 1e6:
        raise SpecError(f"{what} must be a number within [0, 1e+06] (got {show(value)})")
    return float(value)


def _numbers(what: str, values: Any, most: float) -> list[float]:
    try:
        numbers = [float(value) for value in values]
    except (TypeError, ValueError, OverflowError) as error:
        raise SpecError(f"{what} must be a list of numbers (got {show(values)})") from error
    if not 1 <= len(numbers) <= layout.MAX_RATES or not all(0.0 < number <= most for number in numbers):
        raise SpecError(
            f"{what} must be 1 to {layout.MAX_RATES} numbers above 0, at most {most:g} (got {show(values)})"
        )
    return numbers
