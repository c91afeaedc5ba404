"""The interface of all learners, as `learner.model.Model` and the service use it, and the code that all learners share.

A learner takes features packed in msgpack (see `learner.packing`) and knows nothing of records, files or Redis. Its state is
a weight dict, counters (``totals``), evaluation sums (``metrics``), and arrays of its own; `Learner.state` has all of it.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from learner import kernels, layout, metrics
from learner.errors import ExampleError, StoreError
from learner.kernels import records
from learner.kernels.learning import MORE_HELD, SWEEP
from learner.learners import places, reasons, sweeping
from learner.learners.ahead import NO_BLOCK, Block, ReadAhead, pays
from learner.learners.held import Held
from learner.learners.weights import WeightDict, hash_keys
from learner.losses import LOSSES
from learner.spec import Spec
from learner.tasks import TASKS

__all__ = ["Contribution", "Learned", "Learner", "NamedWeights", "Rejection", "StateChanges"]


COPIED_AN_EXAMPLE = 16  # buckets of a hash table that is being replaced: without new features this ends, too
NO_EXAMPLES = np.frombuffer(b"", np.uint8)  # read-only, as all examples are: the loops are compiled for that


@dataclass(frozen=True, slots=True)
class Rejection:
    """An example that could not be learned: its index among the examples of the call, the reason, and its bytes."""

    index: int
    reason: str
    data: bytes


class Learned(NamedTuple):
    """The result of `Learner.learn_packed`: the rejections, and arrays with one number an example, NaN where it was rejected.

    ``scores`` and ``losses`` (log loss, squared error, pinball loss or deviance) were computed before learning the example.
    """

    scores: NDArray[np.float64]
    rejections: list[Rejection]
    losses: NDArray[np.float64]
    importances: NDArray[np.float64]


def _rows_of(results: records.Results, done: int) -> NDArray[np.float64]:
    """Return copies of the first scores, losses and importances, as three rows."""
    return np.array([numbers[:done] for numbers in (results.scores, results.losses, results.importances)])


class Contribution(NamedTuple):
    """The amount that one feature adds to a score: ``contribution = weight * (value - mean)``.

    The mean is 0 for most features. Dense numbers (present in more than half of the examples, with varying values) are
    centred: their mean is the mean of their values, and the contribution is the effect of differing from it. A dense number
    that an example leaves out appears with the value 0.
    """

    name: str
    value: float
    mean: float
    weight: float
    contribution: float


class NamedWeights(Mapping[str, Any]):
    """A live view of the effective weights by feature name; with many classes by label, then by feature name."""

    @abstractmethod
    def top(self, n: int | None = None, prefix: str = "") -> list[tuple[str, float]]:
        """Return the names that start with a prefix and their weights, the largest in size first."""

    @abstractmethod
    def strongest(self, n: int | None = None, prefix: str = "") -> list[tuple[str, float, float]]:
        """Return the names that start with a prefix, their weights and effects, the largest effect first."""


class StateChanges(NamedTuple):
    """What a state has that an earlier one of the same learner had not; no row has moved since.

    Parameters
    ----------
    arrays : mapping
        Its arrays by name, without ``rows`` and ``names``.
    n_rows : int
        How many rows it has.
    rows : sequence of (slots, rows)
        What changed, the oldest first.
    names : array of uint8
        What was added to ``names``.
    """

    arrays: Mapping[str, NDArray[Any]]
    n_rows: int
    rows: Sequence[tuple[NDArray[Any], NDArray[np.float32]]]
    names: NDArray[np.uint8]


class Learner(ABC):
    """A sparse learner over one growing dict of weights.

    Parameters
    ----------
    spec : Spec
        The model's description.
    width : int
        The number of float32s in a row of the weight dict.
    weight_dict : WeightDict, optional
        Another learner's dict, to be shared.

    Attributes
    ----------
    weight_dict : WeightDict
        Names and rows.
    held : Held
        The examples that are held back.
    totals, metrics : float64 arrays
        Counters and sums (see `learner.layout`), and the sums of the evaluation (see `learner.metrics`).
    """

    def __init__(self, spec: Spec, width: int, held: Held, weight_dict: WeightDict | None = None) -> None:
        self.spec, self.held = spec, held
        self.loss = LOSSES[spec.loss]
        if weight_dict is None:
            weight_dict = WeightDict(width, hash_keys(spec.seed, spec.labels, spec.target_range), spec.max_features)
        self.weight_dict, self.keys = weight_dict, weight_dict.keys
        self.totals = np.zeros(layout.N_TOTALS)
        self.metrics = np.zeros((3, TASKS[spec.task].n_sums))
        self.other_targets = reasons.OtherTargets(spec.labels)

    # ---- learning ----
    def learn_packed(self, data: bytes, most: int | None = None, between: Callable[[], None] | None = None) -> Learned:
        """Learn msgpack examples that follow one another, each predicted before it is learned.

        If outcomes come late, some of the examples are held back, and learned at later calls: see `learner.kernels.held`.

        Parameters
        ----------
        data : bytes
            Any number of ``[target, features]`` or ``[target, features, importance]``.
        most : int, optional
            The largest number of examples to learn; bytes that follow them become one rejection.
        between : callable, optional
            Called between two calls of the compiled loop: the learner may answer then, but not learn.
        """
        buffer = np.frombuffer(data, np.uint8)
        ahead = self._read_ahead(buffer) if pays(len(buffer)) else None
        try:
            return self._learn_each(data, buffer, ahead, most, between)
        finally:
            if ahead:
                ahead.close()

    def _learn_each(
        self,
        data: bytes,
        buffer: NDArray[np.uint8],
        ahead: ReadAhead | None,
        most: int | None,
        between: Callable[[], None] | None,
    ) -> Learned:
        """Do the work of `learn_packed`; what was read ahead is not read again."""
        rounds: list[NDArray[np.float64]] = []  # scores, losses, importances of each call of the loop, as rows
        rejections: list[Rejection] = []
        position = n_done = 0
        while True:
            results = records.results()
            if most is not None:  # the loop stops where there is no room for results
                results = records.Results(*(array[: most - n_done] for array in results))
            if n_done == most and position < len(buffer):
                self.totals[layout.REJECTED] += 1.0
                rounds.append(np.full((3, 1), np.nan))
                reason = f"examples must be at most {most} at once (got more)"
                rejections.append(Rejection(n_done, reason, data[position:]))
                break
            start = position
            some, block = ahead.at(position) if ahead else (buffer, NO_BLOCK)
            done, position, n_rows, n_bytes = self._learn(some, position, True, block, results)
            rounds.append(_rows_of(results, done))
            codes = results.codes[:done]
            if np.count_nonzero(codes):  # for few of them four times as fast as `any`
                rejections += self._rejections(data, start, position, codes, results.ends[:done], n_done)
            n_done += done
            self._make_room(n_rows, n_bytes)
            self.weight_dict.copy_buckets(COPIED_AN_EXAMPLE * done)
            if position >= len(buffer) and not n_rows and not n_bytes:
                break
            if between:
                between()
        scores, losses, importances = np.hstack(rounds)
        return Learned(scores, rejections, losses, importances)

    def learn_held(self) -> None:
        """Learn all examples that are held back."""
        n_rows = n_bytes = -1
        while n_rows or n_bytes:
            _, _, n_rows, n_bytes = self._learn(NO_EXAMPLES, 0, False, NO_BLOCK, records.results())
            self._make_room(n_rows, n_bytes)

    def _make_room(self, n_rows: int, n_bytes: int) -> None:
        """Do what the compiled loop asks for: see `learner.kernels.learning.stream`."""
        if n_rows == SWEEP:
            self.sweep()
        elif n_rows == MORE_HELD:
            self.held.grow()
        elif n_rows or n_bytes:
            self.weight_dict.reserve(n_rows, n_bytes)

    def _read_ahead(self, buffer: NDArray[np.uint8]) -> ReadAhead | None:
        """Start a thread that scans examples ahead of the loop; None where that would save little."""
        return None

    @abstractmethod
    def _learn(
        self, buffer: NDArray[np.uint8], position: int, holds_back: bool, block: Block, results: records.Results
    ) -> tuple[int, int, int, int]:
        """Call the compiled loop; return (examples done, next position, rows needed, bytes of names needed)."""

    def _rejections(
        self, data: bytes, start: int, stop: int, codes: NDArray[np.int64], ends: NDArray[np.int64], first: int
    ) -> Iterator[Rejection]:
        buffer = np.frombuffer(data, np.uint8)
        for i, (code, end) in enumerate(zip(codes.tolist(), ends.tolist(), strict=True)):
            if code == layout.OK:
                start = end
                continue
            after = int(kernels.skip(buffer, start))
            after = stop if after < 0 else after
            yield Rejection(first + i, self._rejection(code, data, end), data[start:after])
            start = after

    def _rejection(self, code: int, data: bytes, where: int) -> str:
        """Return the reason of a rejection; of a binary target with what the targets so far suggest."""
        reason = self._reason(code, data, where)
        if code != layout.BAD_TARGET or self.spec.task != "binary":
            return reason
        self.other_targets.add(data, where)
        hint = self.target_hint()
        return f"{reason}; {hint}" if hint else reason

    def target_hint(self) -> str:
        """Return what to do about the binary targets that were rejected so far; "" if there is nothing to say."""
        mean = self.totals[layout.TARGET_MEAN]  # of -1 and +1
        learned = [number for number, is_one in ((0, -1.0), (1, 1.0)) if mean != -is_one]
        return self.other_targets.hint(learned if self.totals[layout.TARGET_SUM] > 0.0 else [])

    def _fault(self, code: int, packed: bytes, where: int) -> ExampleError:
        """Return the error of a map that breaks a rule, or, with the code OK, ends before the end of the bytes."""
        if code == layout.OK:
            return ExampleError(f"features must be one msgpack value (got {len(packed) - where} more bytes)")
        return ExampleError(self._reason(code, packed, where))

    def _reason(self, code: int, data: bytes, where: int) -> str:
        return reasons.reason(code, data, where, self.spec)

    def sweep(self) -> None:
        """Drop the least useful features: see `learner.learners.sweeping`."""
        sweeping.sweep(self)

    @property
    @abstractmethod
    def slot_totals(self) -> NDArray[np.float64]:
        """The totals in which slots stand, as (classes or 1, N_TOTALS): a view."""

    @abstractmethod
    def effects(self, slots: Any) -> NDArray[np.float64]:
        """Return the sizes of the weights of some slots for values on the features' own scales, at least 0."""

    @abstractmethod
    def has_weight(self, rows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return, for each of some rows, whether L1 has left it a non-zero weight; without L1 all are True."""

    @abstractmethod
    def warm(self) -> None:
        """Compile the loops, or load them from disk, which takes half a second; the first example then doesn't wait for it."""

    # ---- measuring ----
    def losses_packed(self, data: bytes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the losses of msgpack examples and their importances, without learning and without changing the learner.

        Each has one number an example, NaN where learning would reject it. A loss is the example's part of the progressive
        loss if it were learned next: the model meets all examples as it is now. The first call compiles the loop, also a call
        with no examples.
        """
        _, losses, importances = self._measured(data)
        return losses, importances

    def _scores(self, data: bytes) -> list[float]:
        """Return the scores of msgpack examples in the target's units, likewise; NaN where learning would reject one."""
        scores: list[float] = (self._measured(data)[0] + 0.0).tolist()  # no -0.0
        return scores

    def _measured(self, data: bytes) -> NDArray[np.float64]:
        """Return the scores, losses and importances of msgpack examples, as three rows."""
        buffer, results = np.frombuffer(data, np.uint8), records.results()
        parts: list[NDArray[np.float64]] = []
        position = 0
        while True:
            done, position = self._measure(buffer, position, results)
            parts.append(_rows_of(results, done))
            if position >= len(buffer):
                return np.hstack(parts)

    @abstractmethod
    def _measure(self, buffer: NDArray[np.uint8], position: int, results: records.Results) -> tuple[int, int]:
        """Call the compiled loop that only scores; return (examples done, next position)."""

    # ---- answering ----
    @abstractmethod
    def score_packed(self, packed: bytes) -> float:
        """Return the score of a msgpack map of features, in the target's units, without changing the learner.

        Raises
        ------
        ExampleError
            When the map breaks a rule.
        """

    @abstractmethod
    def prediction(self, score: float) -> float:
        """Return the prediction for a score: a probability, or a number limited by the targets seen."""

    @abstractmethod
    def predict_packed(self, packed: bytes) -> Any:
        """Return the prediction as `learner.Model.predict_one` does: a target or label, or a number."""

    @abstractmethod
    def probabilities_packed(self, packed: bytes) -> dict[Any, float]:
        """Return the probability of each class."""

    @abstractmethod
    def explain_packed(self, packed: bytes, label: Any = None) -> list[Contribution]:
        """Return what each feature of a msgpack map adds to the score, the largest first; the sum is the score.

        The constant is among them. Features that were never learned have the weight 0.
        """

    @abstractmethod
    def answer(self, packed: bytes, explain: bool = False) -> dict[str, Any]:
        """Return the reply to a request: ``score``, ``prediction``, of classes ``label``, and on demand ``contributions``."""

    def answer_each(self, maps: Sequence[bytes]) -> Iterable[dict[str, Any] | None]:
        """Yield the answer to each of many msgpack maps; None for one that breaks a rule, whose error `answer` raises."""
        return map(self._answer_or_none, maps)

    def _answer_or_none(self, packed: bytes) -> dict[str, Any] | None:
        try:
            return self.answer(packed)
        except ExampleError:
            return None

    @abstractmethod
    def unknown_names(self, packed: bytes) -> set[str]:
        """Return the names in the map that this thread scored last of features that were never learned (or were dropped)."""

    @property
    @abstractmethod
    def classes(self) -> tuple[Any, ...]:
        """The targets or labels of the classes."""

    @property
    @abstractmethod
    def weights(self) -> NamedWeights:
        """The effective weights."""

    def gradient_norms(self) -> dict[str, float]:
        """Return the root mean square norms of a neural head's recent gradients, by layer; {} without a head."""
        return {}

    def gradient_warning(self) -> str:
        """Return a warning about vanishing or exploding gradients, or ""."""
        return ""

    # ---- state in and out ----
    @abstractmethod
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the learned state by name, without the rows and the names of features."""

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the learned state as arrays: learners of one spec are equal if these bytes are. Views, not copies."""
        weight_dict = self.weight_dict
        rows: dict[str, NDArray[Any]] = {"rows": weight_dict.matrix, "names": weight_dict.names[: weight_dict.sizes[1]]}
        return rows | self.arrays() | (self.held.state() if self.spec.outcomes == "late" else {})

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Replace the learned state by the `state` of a learner of the same spec.

        Raises
        ------
        StoreError
            When the arrays don't have this learner's shapes, or places beyond them: see `learner.learners.places`.
        """
        self._require_shapes(state)
        width = self.weight_dict.width
        if not {"rows", "names"} <= state.keys() or state["rows"].ndim != 2 or state["rows"].shape[1] != width:
            raise StoreError(f"state must have names, and rows of {width} numbers")
        places.require_places(state)
        places.require_rows(state["rows"], state["names"])
        self._load_arrays(state)
        if self.spec.outcomes == "late":
            self.held.load(state)
        self.weight_dict.load(state["rows"], state["names"])

    def load_changes(self, changes: StateChanges) -> None:
        """Make the learned state that of a later moment of the same learner: as `load_state`, at the cost of what changed.

        Raises
        ------
        StoreError
            When the arrays don't have this learner's shapes.
        """
        self._require_shapes(changes.arrays)
        self.weight_dict.update(changes.n_rows, changes.rows, changes.names)
        self._load_arrays(changes.arrays)
        if self.spec.outcomes == "late":
            self.held.load({**changes.arrays, "rows": self.weight_dict.matrix})

    def _require_shapes(self, state: Mapping[str, NDArray[Any]]) -> None:
        for name, own in self.arrays().items():
            self._require_shape(name, state, own.shape)

    def _require_shape(self, name: str, state: Mapping[str, NDArray[Any]], shape: tuple[int, ...]) -> None:
        if name not in state or state[name].shape != shape:
            found = state[name].shape if name in state else "none"
            raise StoreError(f"state {name!r} must have the shape {shape} (got {found})")

    def _load_arrays(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Replace what `arrays` returns."""
        for name, own in self.arrays().items():
            own[:] = state[name]

    def figures(self) -> dict[str, float]:
        """Return how good the predictions were before learning: see `learner.metrics.figures`."""
        return metrics.figures(self.metrics, TASKS[self.spec.task].figures)
