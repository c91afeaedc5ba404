"""Learners with one score an example: linear models with named weights, ``score = w . phi(x)``."""

import itertools
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from learner import kernels, layout
from learner.kernels import records, tasks
from learner.kernels.derived import PRODUCT_SCALE
from learner.learners.ahead import ReadAhead
from learner.learners.held import Held
from learner.learners.protocol import Contribution, Learner, NamedWeights
from learner.learners.weights import WeightDict
from learner.packing import by_name, pack
from learner.spec import Spec
from learner.tasks import TASKS

__all__ = ["LinearLearner", "Weights", "names_of", "ordered"]


class LinearLearner(Learner):
    """A learner with one score an example and one weight a feature.

    Parameters
    ----------
    spec, width, held, weight_dict
        See `Learner`.
    of_class : int
        The class it learns in a multi-class model, counted from 1; else 0.
    """

    def __init__(
        self, spec: Spec, width: int, held: Held, weight_dict: WeightDict | None = None, of_class: int = 0
    ) -> None:
        super().__init__(spec, width, held, weight_dict)
        self.of_class = of_class
        self.task_code = tasks.CODES[self.loss.task]
        self._task = tasks.TASKS[self.task_code]  # its functions as plain Python

    def _read_ahead(self, buffer: NDArray[np.uint8]) -> ReadAhead | None:
        return ReadAhead(buffer, self.task_code, self.weight_dict)

    # ---- scores ----
    @abstractmethod
    def _score(self, packed: bytes) -> tuple[int, int, float]:
        """Score a msgpack map; return (number of features, of derived features, score in the target's units).

        What the score is made of stays in this thread's work arrays.
        """

    @property
    def unit_and_offset(self) -> tuple[float, float]:
        """The factor and the summand that turn a score in the learner's own units into the target's units."""
        unit, offset = self._task.unit_and_offset(self.totals)
        return float(unit), float(offset)

    def score_packed(self, packed: bytes) -> float:
        """Return the score of a msgpack map of features, in the target's units, without changing the learner."""
        _, _, score = self._score(packed)
        return score

    def prediction(self, score: float) -> float:
        """Return the prediction for a score: a probability, or a number limited by the targets seen."""
        return float(self.loss.link(self._task.within_targets(self.totals, score)))

    def predict_packed(self, packed: bytes) -> Any:
        """Return the target or label by the score's sign, or the predicted number."""
        score = self.score_packed(packed)
        return self.prediction(score) if TASKS[self.spec.task].predicts_numbers else self.classes[score > 0.0]

    def probabilities_packed(self, packed: bytes) -> dict[Any, float]:
        """Return the probability of each of the two classes."""
        p = self.prediction(self.score_packed(packed))
        return {self.classes[0]: 1.0 - p, self.classes[1]: p}

    def explain_packed(self, packed: bytes, label: Any = None) -> list[Contribution]:
        """Return what each feature of a msgpack map adds to the score, the largest first; the sum is the score."""
        n, n_derived, _ = self._score(packed)
        return ordered(self._contributions(packed, n, n_derived))

    @abstractmethod
    def _contributions(self, packed: bytes, n: int, n_derived: int) -> list[Contribution]:
        """Return what each feature of the last scored map adds to its score, unsorted; `_score` returned the counts."""

    def answer(self, packed: bytes, explain: bool = False) -> dict[str, Any]:
        """Return the reply to a request; the map is scored once."""
        n, n_derived, score = self._score(packed)
        answer: dict[str, Any] = {"score": score, "prediction": self.prediction(score)}
        if not TASKS[self.spec.task].predicts_numbers:
            answer["label"] = self.classes[score > 0.0]
        if explain:
            answer["contributions"] = ordered(self._contributions(packed, n, n_derived))
        return answer

    def answer_each(self, maps: Sequence[bytes]) -> Iterable[dict[str, Any] | None]:
        """Return the answer to each of many maps, None for one that breaks a rule; all are scored in few calls."""
        start = b"\x92" + pack(
            (self.spec.target_range or (1,))[0]
        )  # of an example, as the loop that scores many takes them
        scores = self._scores(start + start.join(maps) if maps else b"")
        if len(scores) != len(maps):  # one was no whole value
            return super().answer_each(maps)
        link = self.loss.link if self.spec.task == "binary" else self.prediction
        if TASKS[self.spec.task].predicts_numbers:
            return [{"score": score, "prediction": link(score)} if score == score else None for score in scores]
        classes = self.classes
        return [
            {"score": score, "prediction": link(score), "label": classes[score > 0.0]} if score == score else None
            for score in scores
        ]

    def unknown_names(self, packed: bytes) -> set[str]:
        """Return the names in the map that this thread scored last of features without a row."""
        if not (records.work().features.bases[: map_size(packed)] == kernels.MISSING).any():
            return set()  # as it mostly is: no name is made then
        names = names_of(packed)
        unknown = records.work().features.bases[: len(names)] == kernels.MISSING
        return {name for name, is_unknown in zip(names, unknown.tolist(), strict=True) if is_unknown}

    @property
    def classes(self) -> tuple[Any, ...]:
        """The two targets, -1 and +1, or their labels."""
        return self.spec.labels or (-1, 1)

    # ---- weights ----
    @property
    def constant_slot(self) -> int | None:
        """The slot of the constant; None before the first example."""
        return int(self.totals[layout.CONSTANT_ROW]) - 1 if self.totals[layout.CONSTANT_ROW] else None

    @property
    def slot_totals(self) -> NDArray[np.float64]:
        """The totals in which slots stand, as (classes or 1, N_TOTALS): a view."""
        return self.totals[None]

    @abstractmethod
    def constant(self) -> float:
        """Return the constant's weight, which is added to every score."""

    @abstractmethod
    def effective_weights(self, slots: Any) -> NDArray[np.float64]:
        """Return the weights of some slots in the user's units: the change of the score when the value grows by 1."""

    def spreads(self, slots: Any) -> NDArray[np.float64]:
        """Return the standard deviations of some features' values over all examples; the value is 0 where an example has none.

        A product of two numbers, whose values aren't kept, counts as one of independent numbers.
        """
        rows = self.weight_dict.matrix[slots]
        kinds, counts = rows.view(np.uint32)[:, layout.DENSE], rows.view(np.uint32)[:, layout.COUNT]
        share = np.minimum(counts / max(self.totals[layout.EXAMPLES], 1.0), 1.0)
        derived = kinds & np.uint32(layout.DERIVED) != 0
        product = derived & (kinds & np.uint32(layout.PRODUCT) == layout.PRODUCT)
        mean = np.where(derived, np.where(product, 0.0, 1.0), rows[:, layout.MEAN].astype(np.float64))
        deviation = np.where(derived, np.where(product, 1.0 / PRODUCT_SCALE, 0.0), rows[:, layout.DEVIATION])
        spreads: NDArray[np.float64] = np.sqrt(share * (deviation**2 + (1.0 - share) * mean**2))
        return spreads

    @property
    def weights(self) -> "Weights":
        """The effective weights, as a mapping from feature name to weight."""
        return Weights(self)


def ordered(contributions: list[Contribution]) -> list[Contribution]:
    """Return contributions sorted by size, the largest first."""
    return sorted(contributions, key=lambda contribution: -abs(contribution.contribution))


def map_size(packed: bytes) -> int:
    r"""Return the number of entries of a msgpack map; of another value what is at least the number of its features.

    >>> map_size(b"\x81\xa1a\x01"), map_size(b"\xde\x01\x00...")
    (1, 256)
    """
    kind = packed[0]
    return kind & 0x0F if kind & 0xF0 == 0x80 else int.from_bytes(packed[1:3], "big") if kind == 0xDE else len(packed)


def names_of(packed: bytes) -> list[str]:
    """Return the names in a msgpack map whose values aren't zero, in the order in which the compiled loops read them."""
    features: dict[str, float] = by_name(msgpack.unpackb(packed, strict_map_key=False))
    return [name for name, value in features.items() if abs(value) >= layout.MIN_NUMBER]


class Weights(NamedWeights):
    """The effective weights ``w``, by feature name, in the user's units; a live view."""

    def __init__(self, learner: LinearLearner) -> None:
        self._learner = learner

    @property
    def _slots(self) -> NDArray[np.int64]:
        weight_dict = self._learner.weight_dict
        if not self._learner.of_class:
            return np.arange(len(weight_dict))
        return np.flatnonzero(weight_dict.classes == self._learner.of_class)

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[str]:
        return map(self._learner.weight_dict.name, self._slots.tolist())

    def __getitem__(self, name: str) -> float:
        learner = self._learner
        if name == layout.CONSTANT_NAME:
            slot = learner.constant_slot
        else:
            slot = learner.weight_dict.slot(name, learner.of_class) if isinstance(name, str) else None
        if slot is None:
            raise KeyError(name)
        if slot == learner.constant_slot:
            return learner.constant()
        return float(learner.effective_weights(slice(slot, slot + 1))[0])

    def array(self) -> NDArray[np.float64]:
        """Return all weights in order of the names."""
        learner, slots = self._learner, self._slots
        weights = learner.effective_weights(slots if learner.of_class else slice(None))
        weights[slots == (-1 if learner.constant_slot is None else learner.constant_slot)] = learner.constant()
        return weights

    def top(self, n: int | None = None, prefix: str = "") -> list[tuple[str, float]]:
        """Return the names that start with a prefix and their weights, the largest in size first."""
        weights, slots, weight_dict = self.array(), self._slots, self._learner.weight_dict
        if not prefix:
            order = np.argsort(-np.abs(weights), kind="stable")[:n]
            return [(weight_dict.name(int(slots[i])), float(weights[i])) for i in order]
        matching = [(name, float(w)) for name, w in zip(self, weights, strict=True) if name.startswith(prefix)]
        return sorted(matching, key=lambda item: -abs(item[1]))[:n]

    def strongest(self, n: int | None = None, prefix: str = "") -> list[tuple[str, float, float]]:
        """Return the names that start with a prefix, their weights and effects, the largest effect first.

        The effect is the standard deviation of what the feature adds to the score, over all examples, with the weight's sign.
        """
        weights, slots, name = self.array(), self._slots, self._learner.weight_dict.name
        effects = weights * self._learner.spreads(slots)
        order = np.argsort(-np.abs(effects), kind="stable")
        named = ((name(int(slots[i])), float(weights[i]), float(effects[i])) for i in order)
        return list(itertools.islice((item for item in named if item[0].startswith(prefix)), n))

    def __repr__(self) -> str:
        return f"<{len(self)} weights>"
