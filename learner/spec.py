"""A model's description as data: its task, featurizer, loss and learners. Every parameter is checked here, once.

``learner create`` writes a spec to Redis, a worker reads it there, a TOML or JSON file can hold one, and `Model` is built from
one. A spec holds no learned state. Creating one imports neither the compiler nor a learner.

>>> spec = Spec("binary", featurizer="email", labels=["ham", "spam"], seed=b"sixteen bytes it")
>>> spec.loss, spec.rates, spec.outcomes, spec.labels
('logistic', (0.25, 2.0), 'late', ('ham', 'spam'))
>>> Spec.from_data(spec.to_data()) == spec
True
>>> Spec("regression", labels=["low", "high"])
Traceback (most recent call last):
    ...
learner.errors.SpecError: labels must be two different strings of 1 to 256 bytes, of a binary task (got ['low', 'high'])
"""

import hashlib
import json
import math
import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Self

from learner import layout, optimizers
from learner.errors import SpecError, show
from learner.losses import LOSSES
from learner.tasks import TASKS

if TYPE_CHECKING:
    import featurizers

__all__ = ["ACTIVATIONS", "OUTCOMES", "Network", "Spec"]

VERSION = 1
ONE_RATE = (1.0,)
OUTCOMES = ("late", "at_once")
ACTIVATIONS = ("relu", "logistic", "tanh")
MAX_LAYERS, MAX_UNITS = 4, 256
MAX_RATE, MAX_DECAY, MAX_PENALTY = 1e6, 1.0, 1e6
MIN_SEED_BYTES = 16


@dataclass(frozen=True, slots=True)
class Network:
    """A neural head: the units of each hidden layer, bottom layer first; their activation; whether it is the whole model."""

    hidden: tuple[int, ...]
    activation: str = "tanh"
    alone: bool = False


class Spec:
    """A model's description. The parameters are explained at `learner.Model`.

    Attributes
    ----------
    task, loss : str
        Names in `learner.tasks.TASKS` and `learner.losses.LOSSES`.
    level : float
        The level of the quantile loss; 0.5 for other losses.
    featurizer : Featurizer or None
        None for records that are features already.
    columns : dict or None
        The kinds of the records' fields, which the featurizer `fields` has (see `featurizers.columns`).
    target : str or None
        The field that holds the outcome, in files. It changes nothing that is learned, so the fingerprint leaves it out.
    rates, decays : tuple of float
        The learning rates of the AdaGrad experts, and the decays of their sums of squared gradients.
    parts : tuple of str
        Names in `learner.layout.PARTS`: the other parts of the mixture. Empty with a single rate.
    outcomes : str
        One of `OUTCOMES`: ``at_once`` for a named algorithm.
    labels : (str, str) or None
        The application's names for the targets -1 and +1.
    target_range : (float, float) or None
        The least and the largest target of a task that predicts numbers.
    network : Network or None
        The neural head.
    optimizer : (Optimizer, dict) or None
        A named algorithm with its options, in place of the mixture.
    max_features : int or None
        The largest number of features.
    max_labels : int
        The largest number of labels of a multi-class task.
    l1, l2 : float
        Penalties on the weights.
    seed : bytes
        The secret key of the hash of names.

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
        if not isinstance(task, str) or task not in TASKS:
            raise SpecError(f"task must be one of {', '.join(TASKS)} (got {show(task)})")
        if task == "multiclass":
            loss_chosen = None if loss == "logistic" else loss
            _require_plain({"loss": loss_chosen, "labels": labels, "neural": neural, "optimizer": optimizer})
        self.task = task
        self.loss = _loss(task, loss)
        self.level = _level(task, level)
        mixture = {"rates": rates, "decays": decays, "parts": parts}
        if optimizer is not None:
            _require_alone(mixture | {"neural": neural, "l1": l1 or None, "l2": l2 or None})
        self.outcomes = _outcomes(outcomes, optimizer is not None)
        self.rates, self.decays = _rates(task, self.outcomes, rates, decays)
        self.parts = _parts(parts, rates is None, len(self.rates), self.outcomes)
        if optimizer is not None:  # its rows are laid out as those of one rate
            self.rates, self.decays, self.parts = ONE_RATE, ONE_RATE, ()
        self.labels = _labels(task, labels)
        self.target_range = _target_range(task, target_range)
        self.l1, self.l2 = _penalty("l1", l1), _penalty("l2", l2)
        self.max_features = _max_features(max_features)
        self.max_labels = _max_labels(task, max_labels)
        self.seed = secrets.token_bytes(MIN_SEED_BYTES) if seed is None else seed
        if not isinstance(self.seed, bytes) or len(self.seed) < MIN_SEED_BYTES:
            raise SpecError(f"seed must be at least {MIN_SEED_BYTES} bytes (it is a secret, so not shown)")
        import featurizers  # only now: commands read this module for their options

        try:
            self.featurizer = None if featurizer is None else featurizers.get(featurizer)
            if columns is not None:
                self.featurizer = _with_columns(self.featurizer, columns, target)
        except ValueError as error:
            raise SpecError(str(error)) from error
        self.columns = None if columns is None else featurizers.columns.canonical(columns)
        self.target = _target(target)
        self.optimizer = None if optimizer is None else optimizers.parse(optimizer)
        self.network = None if neural is None else _network(neural)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spec) and self.to_data() == other.to_data()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Spec of a {self.task} model>"  # without its secret

    # ---- in and out ----
    def to_data(self) -> dict[str, Any]:
        """Return the spec as data that `from_data` takes; defaults are written out."""
        named = self.optimizer is not None
        return {
            "version": VERSION,
            "task": self.task,
            "loss": self.loss,
            **({"level": self.level} if self.task == "quantile" else {}),
            "featurizer": None if self.featurizer is None else self._featurizer_data(),
            "columns": self.columns,
            "target": self.target,
            "rates": None if named else list(self.rates),
            "decays": None if named else list(self.decays),
            "parts": None if named else list(self.parts),
            "outcomes": self.outcomes,
            "labels": None if self.labels is None else list(self.labels),
            "target_range": None if self.target_range is None else list(self.target_range),
            "neural": self.network and asdict(self.network) | {"hidden": list(self.network.hidden)},
            "optimizer": self.optimizer and self._optimizer_data(self.optimizer),
            "max_features": self.max_features,
            **({"max_labels": self.max_labels} if self.task == "multiclass" else {}),
            "l1": self.l1,
            "l2": self.l2,
            "seed": self.seed.hex(),
        }

    @staticmethod
    def _optimizer_data(optimizer: tuple[optimizers.Optimizer, dict[str, float | bool]]) -> dict[str, Any]:
        """Return a named algorithm as data, without ``clip`` where it is on: specs of before it was an option stay the same."""
        options = {name: value for name, value in optimizer[1].items() if name != "clip" or not value}
        return {"name": optimizer[0].name, **options}

    def _featurizer_data(self) -> dict[str, Any]:
        """Return the featurizer as data, without the columns that stand beside it."""
        data: dict[str, Any] = self.featurizer.to_spec()  # type: ignore[union-attr]
        if self.columns is not None:
            data["templates"][0].pop("columns", None)
        return data

    @classmethod
    def from_data(cls, data: Mapping[str, Any]) -> Self:
        """Return the spec that data describes; missing keys take their defaults.

        Raises
        ------
        SpecError
            When the data has another version, an unknown key or a wrong value.
        """
        if not isinstance(data, Mapping) or not all(isinstance(key, str) for key in data):
            raise SpecError(f"spec must be a map of names to values (got {show(data)})")
        options = dict(data)
        version = options.pop("version", VERSION)
        if version != VERSION:
            raise SpecError(f"spec version must be {VERSION} (got {show(version)})")
        known = {"task", *(cls.__init__.__kwdefaults__ or ())}
        if unknown := sorted(options.keys() - known):
            raise SpecError(f"spec must have no other keys than {', '.join(sorted(known))} (got {', '.join(unknown)})")
        if options.get("seed") is not None:
            try:
                options["seed"] = bytes.fromhex(options["seed"])
            except (TypeError, ValueError) as error:
                raise SpecError("seed must be hexadecimal (it is not)") from error
        return cls(options.pop("task", "binary"), **options)

    @property
    def fingerprint(self) -> str:
        """32 hex digits of a hash of the spec's data. Values that are defaults are left out, so new keys change nothing."""
        usual = Spec(self.task, outcomes=self.outcomes).to_data() | {"task": None, "outcomes": OUTCOMES[0]}
        data = {key: value for key, value in self.to_data().items() if value != usual[key] and key != "target"}
        return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:32]


# ---- rules, one a parameter ----------------------------------------------------------------------------------------------
def _require_plain(options: Mapping[str, Any]) -> None:
    """Refuse options that a multi-class model does not have."""
    if wrong := [name for name, value in options.items() if value is not None]:
        rule = (
            "multiclass task must have the logistic loss, labels of its stream, no neural head and no named algorithm"
        )
        raise SpecError(f"{rule} (got {', '.join(wrong)})")


def _require_alone(options: Mapping[str, Any]) -> None:
    """Refuse options of the mixture beside a named algorithm."""
    if wrong := [name for name, value in options.items() if value is not None]:
        hint = "; sgd, adagrad and ftrl have options for penalties, as ftrl:l1=1" if {"l1", "l2"} & set(wrong) else ""
        raise SpecError(f"optimizer must stand alone, without {', '.join(options)} (got {', '.join(wrong)}){hint}")


def _with_columns(featurizer: "featurizers.Featurizer | None", columns: Any, target: Any) -> "featurizers.Featurizer":
    """Return the featurizer `fields` with columns, but for the target's; no other has some."""
    import featurizers

    templates = (featurizers.READY["fields"] if featurizer is None else featurizer).templates
    if len(templates) != 1 or not isinstance(templates[0], featurizers.Fields):
        raise SpecError(f"columns must come with the featurizer fields (got {show(featurizer)})")
    columns = {name: column for name, column in featurizers.columns.canonical(columns).items() if name != target}
    return featurizers.Featurizer([replace(templates[0], columns=columns)])


def _target(target: Any) -> str | None:
    if target is not None and (not isinstance(target, str) or not target):
        raise SpecError(f"target must be the name of a field (got {show(target)})")
    return target


def _loss(task: str, loss: str | None) -> str:
    loss = TASKS[task].loss if loss is None else loss
    fitting = [name for name, entry in LOSSES.items() if entry.task == TASKS[task].learned_as]
    if loss not in fitting:
        raise SpecError(f"loss of a {task} task must be one of {', '.join(fitting)} (got {show(loss)})")
    return loss


def _level(task: str, level: float | None) -> float:
    if level is None:
        return 0.5
    if task != "quantile":
        raise SpecError(f"level must be of a quantile task (got a {task} one)")
    if isinstance(level, bool) or not isinstance(level, int | float) or not 0.0 < level < 1.0:
        raise SpecError(f"level must be within (0, 1) (got {show(level)})")
    return float(level)


def _rates(
    task: str, outcomes: str, rates: Sequence[float] | None, decays: Sequence[float] | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    usual, usual_decays = TASKS[task].rates[outcomes]
    if rates is None and decays is None:
        rates, decays = usual, usual_decays
    checked = _numbers("rates", usual if rates is None else rates, MAX_RATE)
    checked_decays = _numbers("decays", [1.0] * len(checked) if decays is None else decays, MAX_DECAY)
    if len(checked_decays) != len(checked):
        raise SpecError(f"decays must be as many as the rates, {len(checked)} (got {len(checked_decays)})")
    return checked, tuple(map(_as_float32, checked_decays))


def _numbers(what: str, values: Any, most: float) -> tuple[float, ...]:
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError, OverflowError) as error:
        raise SpecError(f"{what} must be a list of numbers (got {show(values)})") from error
    if not 1 <= len(numbers) <= layout.MAX_RATES or not all(0.0 < number <= most for number in numbers):
        raise SpecError(
            f"{what} must be 1 to {layout.MAX_RATES} numbers above 0, at most {most:g} (got {show(values)})"
        )
    return numbers


def _as_float32(number: float) -> float:
    """Return the shortest decimal number with the same float32 value: the learner uses decays as float32.

    >>> _as_float32(0.99), _as_float32(0.123456789)
    (0.99, 0.12345679)
    """
    import numpy as np

    return float(str(np.float32(number)))


def _outcomes(outcomes: str | None, is_named: bool) -> str:
    if outcomes is None:
        return OUTCOMES[1] if is_named else OUTCOMES[0]
    if outcomes not in OUTCOMES:
        raise SpecError(f"outcomes must be one of {', '.join(OUTCOMES)} (got {show(outcomes)})")
    if is_named and outcomes == "late":
        raise SpecError(
            "outcomes of a named algorithm must be at_once: it learns each example when it comes (got late)"
        )
    return outcomes


def _parts(parts: Collection[str] | None, is_default: bool, n_rates: int, outcomes: str) -> tuple[str, ...]:
    known = layout.PARTS
    if parts is None:
        parts = [part for part in known if part != "trends" or outcomes == "at_once"] if is_default else ()
    if not isinstance(parts, Collection) or isinstance(parts, str) or not all(part in [*known] for part in parts):
        raise SpecError(f"parts must be of {', '.join(known)} (got {show(parts)})")
    if "trends" in parts and outcomes == "late":
        raise SpecError(
            "parts must have no trends if outcomes come late: they are outcomes of the examples just before"
        )
    return tuple(part for part in known if part in parts and n_rates > 1)


def _labels(task: str, labels: Sequence[str] | None) -> tuple[str, str] | None:
    if labels is None:
        return None
    are_two = isinstance(labels, list | tuple) and len(labels) == 2 and labels[0] != labels[1]
    if task != "binary" or not are_two or not all(map(_is_label, labels)):
        raise SpecError(
            f"labels must be two different strings of 1 to {layout.MAX_NAME_BYTES} bytes, of a binary task "
            f"(got {show(labels)})"
        )
    negative, positive = label_numbers(*labels)
    if negative == positive:
        raise SpecError(f"labels must not be the same number twice (got {labels[0]} and {labels[1]})")
    return labels[0], labels[1]


def label_numbers(negative: str, positive: str) -> tuple[float, float]:
    """Return the numbers that match two labels; NaN for a label that no number matches.

    Of two words none is a number, and -1, 0 and 1 are targets. If the negative one means yes, 1 means it and 0 the other.

    >>> label_numbers("1", "2"), label_numbers("01", "many"), label_numbers("no", "yes"), label_numbers("yes", "no")
    ((1.0, 2.0), (1.0, nan), (nan, nan), (1.0, 0.0))
    """
    from featurizers.columns import NO, YES

    if negative.lower() in YES - {"1"} and positive.lower() in NO - {"0"}:
        return 1.0, 0.0
    return _label_number(negative), _label_number(positive)


def _label_number(label: str) -> float:
    try:
        value = float(label)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


def _target_range(task: str, ends: Sequence[float] | None) -> tuple[float, float] | None:
    if ends is None:
        return None
    if not TASKS[task].predicts_numbers:
        raise SpecError(f"target_range must be of a task that predicts numbers (got a {task} one)")
    low = 0.0 if task == "poisson" else -layout.MAX_NUMBER
    are_numbers = isinstance(ends, list | tuple) and all(type(end) in (int, float) for end in ends)
    if not are_numbers or len(ends) != 2 or not low <= ends[0] < ends[1] <= layout.MAX_NUMBER:
        raise SpecError(
            f"target_range must be two numbers within [{low:g}, {layout.MAX_NUMBER:g}], the smaller one first "
            f"(got {show(ends)})"
        )
    return float(ends[0]), float(ends[1])


def _is_label(label: Any) -> bool:
    try:
        return isinstance(label, str) and 0 < len(label.encode()) <= layout.MAX_NAME_BYTES
    except UnicodeEncodeError:  # a lone surrogate
        return False


def _penalty(what: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= MAX_PENALTY:
        raise SpecError(f"{what} must be a number within [0, {MAX_PENALTY:g}] (got {show(value)})")
    return float(value)


def _max_features(n: int | None) -> int | None:
    if n is not None and (type(n) is not int or not layout.MIN_MAX_FEATURES <= n <= layout.MAX_ROWS):
        bounds = f"{layout.MIN_MAX_FEATURES} to {layout.MAX_ROWS}"
        raise SpecError(f"max_features must be a whole number of {bounds} (got {show(n)})")
    return n


def _max_labels(task: str, n: int | None) -> int:
    if n is None:
        return layout.MAX_LABELS
    if task != "multiclass":
        raise SpecError(f"max_labels must be of a multiclass task (got a {task} one)")
    if type(n) is not int or not 2 <= n <= layout.MOST_LABELS:
        raise SpecError(f"max_labels must be a whole number of 2 to {layout.MOST_LABELS} (got {show(n)})")
    return n


def _network(neural: Sequence[int] | Mapping[str, Any]) -> Network:
    keys = [field.name for field in fields(Network)]
    options = dict(neural) if isinstance(neural, Mapping) else {"hidden": neural}
    if unknown := sorted(options.keys() - set(keys)):
        raise SpecError(f"neural must have no other keys than {', '.join(keys)} (got {', '.join(unknown)})")
    hidden: Any = options.get("hidden")
    if not isinstance(hidden, list | tuple):
        raise SpecError(f"neural must be a list of units a layer (got {show(hidden)})")
    if not hidden or len(hidden) > MAX_LAYERS or not all(type(k) is int and 1 <= k <= MAX_UNITS for k in hidden):
        raise SpecError(f"neural must be 1 to {MAX_LAYERS} layers of 1 to {MAX_UNITS} units (got {show(hidden)})")
    activation = options.get("activation", "tanh")
    if activation not in ACTIVATIONS:
        raise SpecError(f"activation must be one of {', '.join(ACTIVATIONS)} (got {show(activation)})")
    return Network(tuple(hidden), activation, bool(options.get("alone", False)))
