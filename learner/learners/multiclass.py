"""Many classes, known beforehand or not: for each class one mixture, its label against the rest, over one dict of weights.

A class is added at its label's first example; its mixture learns all examples from then on. An example is scanned, and its
names are hashed, once. Each class has its own rows, whose hashes combine the feature's hash with the class's number, so each
feature is looked up once for every class. A class has rows for the features that it has met, in examples of its label; up to
`learner.layout.FEW_CLASSES` classes also have rows for those of the others. A class's probability is its mixture's, divided by
the sum over all classes (one against the rest: Rifkin and Klautau, 2004, "In defense of one-vs-all classification"; Zadrozny
and Elkan, 2002, "Transforming classifier scores into accurate multiclass probability estimates", section 4, for the
normalisation).

A label is a string or a whole number; the number 5 and the string "5" are one label. In the evaluation, the first example of a
label counts with the log loss of a uniform guess among all labels so far, its own included.
"""

import copy
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from learner import kernels, layout
from learner.errors import ExampleError, show
from learner.kernels import records
from learner.kernels.classes import PROBABILITIES, SCORES
from learner.kernels.learning import SWEEP
from learner.learners import reasons
from learner.learners.ahead import NO_BLOCK, Block
from learner.learners.held import Held
from learner.learners.linear import Weights, names_of, ordered
from learner.learners.mixture import Mixture
from learner.learners.protocol import NO_EXAMPLES, Contribution, Learner, NamedWeights, StateChanges
from learner.learners.weights import hash_of
from learner.tasks import TASKS, label_of

if TYPE_CHECKING:
    from learner.spec import Spec

__all__ = ["MultiClass"]

NOT_SCANNED = -1
MAX_SCORED = 100_000  # examples times classes that one call of the loop scores: between two calls signals are seen
MAX_LOOKUPS = 1000  # of names, to tell which features of a record are unknown


class MultiClass(Learner):
    """One mixture a class over one weight dict.

    Attributes
    ----------
    labels_seen : list of str
        The labels in order of their first examples; class k, counted from 1, is ``labels_seen[k - 1]``.
    """

    def __init__(self, spec: "Spec") -> None:
        self._blank = Mixture(spec)  # the initial state of a new class
        held = Held(self._blank.places.end, n_classes=0)
        super().__init__(spec, self._blank.weight_dict.width, held, self._blank.weight_dict)
        self.labels_seen: list[str] = []
        self._hashes = np.zeros(0, np.uint64)  # of the labels
        self._answers = np.zeros((3, 0))  # work array: an example's scores, probabilities and shares
        self._class_metrics = np.zeros((3, TASKS["binary"].n_sums))  # the mixtures' own evaluation, never read
        blank = self._blank
        self._stacked: dict[str, NDArray[Any]] = {  # the classes' arrays, with room for more classes
            name: np.zeros((0, *array.shape), array.dtype)
            for name, array in {
                "class_totals": blank.totals,
                "class_mixers": blank.mixer,
                "class_newtons": blank.dense_filter,
                "class_interactions": blank.interactions,
                "samples": blank.samples,
            }.items()
        }
        self._n_dense = self._n_switches = 0
        self.weight_dict.samples = self._stacked["samples"]

    # ---- classes ----
    def _add(self, labels: Sequence[str]) -> None:
        """Add classes for new labels, each with an untrained mixture."""
        first = len(self.labels_seen)
        self.labels_seen += labels
        self._reserve(len(self.labels_seen))
        stacked = self._stacked
        for k in range(first, len(self.labels_seen)):
            stacked["class_totals"][k, layout.CLASS] = k + 1
            stacked["class_mixers"][k] = self._blank.mixer
            stacked["class_newtons"][k, 0, 1] = (
                1.0  # the variance of the constant; a dense feature's is set with its place
            )
        hashes = [hash_of(label.encode(), self.keys) for label in labels]
        self._hashes = np.append(self._hashes, np.array(hashes, np.uint64))
        self.held.add_classes(len(labels))
        self._answers = np.zeros((3, len(self.labels_seen)))

    def _reserve(self, n: int) -> None:
        """Make room for n classes: it grows by half. What no dense feature uses is never written, so it takes no memory."""
        room = len(self._stacked["class_totals"])
        if n <= room:
            return
        room = min(max(n, room + room // 2), self.spec.max_labels)
        used, larger = self._in_use(), {}
        for name, array in self._stacked.items():
            larger[name] = np.zeros((room, *array.shape[1:]), array.dtype)
            part = (slice(0, len(array)), *used.get(name, ()))
            larger[name][part] = array[part]
        self._stacked = larger
        self.weight_dict.samples = larger["samples"]

    def _in_use(self) -> dict[str, tuple[slice, ...]]:
        """Return the part of a class's arrays that any class has used, which depends on the dense features and switches."""
        totals = self._stacked["class_totals"]
        n_dense = min(int(totals[:, layout.N_DENSE].max(initial=0)), layout.MAX_BINNED)
        n_switches = int(totals[:, layout.N_SWITCHES].max(initial=0))
        n_rows = 1 + layout.MAX_BINNED + n_switches if n_switches else max(1 + n_dense, 3) if n_dense else 0
        n_columns = 1 + max(n_dense, 2 * layout.N_PAIRS)
        return {
            "class_newtons": (slice(0, 1 + n_dense), slice(0, 2 + n_dense)),
            "class_interactions": (slice(0, n_rows), slice(0, n_columns)),
            "samples": (slice(0, n_dense),),
        }

    def _reason(self, code: int, data: bytes, where: int) -> str:
        if code == layout.NEW_CLASS and len(self.labels_seen) < self.spec.max_labels:
            label, _ = reasons.msgpack_at(data, where)
            return (
                f"labels must find room in max_features, {self.spec.max_features} (got {show(label)} after "
                f"{len(self.labels_seen)} others, whose constants and numbers take all of it)"
            )
        return super()._reason(code, data, where)

    def class_of(self, label: Any) -> int:
        """Return the index of a label in `labels_seen`.

        Raises
        ------
        ExampleError
            When the label was never seen.
        """
        if str(label) not in self.labels_seen:
            raise ExampleError(f"label must be one of those seen, {show(self.labels_seen)} (got {show(label)})")
        return self.labels_seen.index(str(label))

    def mixture(self, label: Any) -> Mixture:
        """Return the mixture of a label, on views of the shared arrays."""
        return self._mixture(self.class_of(label))

    def _mixture(self, k: int) -> Mixture:
        """Return the mixture of the class of an index in `labels_seen`."""
        mixture = copy.copy(self._blank)  # which is cheap: a sweep asks for those of all classes
        mixture.of_class = k + 1
        mixture.totals, mixture.mixer, mixture.dense_filter, mixture.interactions, mixture.samples = (
            array[k] for array in self._stacked.values()
        )
        return mixture

    @property
    def classes(self) -> tuple[Any, ...]:
        """All labels seen."""
        return tuple(self.labels_seen)

    # ---- learning ----
    @property
    def plain(self) -> tuple[Any, ...]:
        """The argument of the loops: a `learner.kernels.classes.Classes` as plain tuples."""
        *stacked, samples = self._stacked.values()
        classes = *stacked, self._class_metrics, samples, self.held.plain
        learner = self._blank.settings, self.keys, self.weight_dict.arrays, classes, ()
        return learner, (self.totals, self.metrics), self._hashes, self._most_labels, self._answers

    def _learn(
        self, buffer: NDArray[np.uint8], position: int, holds_back: bool, block: Block, results: records.Results
    ) -> tuple[int, int, int, int]:
        done, position, n_rows, n_bytes, code = kernels.learn_classes(
            buffer, position, holds_back, self.plain, records.plain_work(), block, self._bounded(results)
        )
        if code == layout.NEW_CLASS:
            if self._is_full and not self._was_swept:
                n_rows = int(SWEEP)
            elif len(self.labels_seen) >= self._most_labels:
                done, position = self._refuse(buffer, done, position, results)
            else:
                unpacker = msgpack.Unpacker(max_buffer_size=layout.MAX_NAME_BYTES + 16)
                unpacker.feed(buffer[position : position + layout.MAX_NAME_BYTES + 8].tobytes())
                unpacker.read_array_header()
                self._add([label_of(unpacker.unpack())])
        return done, position, n_rows, n_bytes

    def _measure(self, buffer: NDArray[np.uint8], position: int, results: records.Results) -> tuple[int, int]:
        done, position = kernels.measure_classes(
            buffer, position, self.plain, records.plain_work(), self._bounded(results)
        )
        return done, position

    def _bounded(self, results: records.Results) -> tuple[NDArray[Any], ...]:
        """Return room for the results of so many examples that one call of a loop is short, however many classes there are."""
        most = max(MAX_SCORED // max(len(self.labels_seen), 1), 1)
        return tuple(array[:most] for array in results)

    def _refuse(self, buffer: NDArray[np.uint8], done: int, position: int, results: records.Results) -> tuple[int, int]:
        """Reject an example whose label would exceed the largest number of classes."""
        if done == len(results.scores):
            return done, position
        results.scores[done] = results.losses[done] = results.importances[done] = np.nan
        results.codes[done], results.ends[done] = layout.NEW_CLASS, position + 1
        self.totals[layout.REJECTED] += 1
        return done + 1, int(kernels.skip(buffer, position))

    @property
    def _is_full(self) -> bool:
        """Whether there is no room for another class's constant."""
        n_rows, n_bytes, most_rows, most_bytes = self.weight_dict.sizes[:4].tolist()
        return bool(n_rows >= most_rows or n_bytes + 2 > most_bytes)

    @property
    def _was_swept(self) -> bool:
        """Whether no row was added since the last sweep."""
        return bool(len(self.weight_dict) <= self.totals[layout.SWEPT_ROWS])

    @property
    def _most_labels(self) -> int:
        """The number of labels at which another one is refused: of its constant, too, ``max_features`` may leave no room."""
        return len(self.labels_seen) if self._is_full and self._was_swept else self.spec.max_labels

    def effects(self, slots: Any) -> NDArray[np.float64]:
        """Return the sizes of the weights of some slots, each in the scores of its own class."""
        slots = np.arange(len(self.weight_dict))[slots]
        classes = self.weight_dict.classes[slots]
        order = np.argsort(classes, kind="stable")
        ends = np.searchsorted(classes[order], np.arange(1, len(self.labels_seen) + 1), side="right")
        effects, start = np.zeros(len(slots)), 0
        for k, end in enumerate(ends.tolist()):
            if start < end:
                effects[order[start:end]] = self._mixture(k).effects(slots[order[start:end]])
            start = end
        return effects

    def has_weight(self, rows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return, for each of some rows, whether any expert that learns by gradients has a weight other than exactly zero."""
        return self._blank.has_weight(rows)

    @property
    def slot_totals(self) -> NDArray[np.float64]:
        """The totals in which slots stand, a row for each class: a view."""
        totals: NDArray[np.float64] = self._stacked["class_totals"][: len(self.labels_seen)]
        return totals

    def warm(self) -> None:
        """Compile the loops, or load them from disk."""
        self._learn(NO_EXAMPLES, 0, True, NO_BLOCK, records.results())
        self._score(b"\x80")
        self.weight_dict.warm()

    # ---- answering ----
    def _score(self, packed: bytes) -> int:
        """Score a map for every class, into `_answers`; return the number of its features."""
        code, where, n, _, _ = kernels.predict_classes(
            np.frombuffer(packed, np.uint8), NOT_SCANNED, 0, len(self.labels_seen), self.plain, records.plain_work()
        )
        if code != layout.OK or where != len(packed):
            raise self._fault(code, packed, where)
        return int(n)

    def _by_label(self, row: int) -> dict[str, float]:
        return dict(zip(self.labels_seen, self._answers[row].tolist(), strict=True))

    def _likeliest(self) -> int | None:
        """Return the index of the most probable label of the last scores; None before the first example."""
        return int(self._answers[PROBABILITIES].argmax()) if self.labels_seen else None

    def scores_packed(self, packed: bytes) -> dict[str, float]:
        """Return every label's score by its own mixture, without changing the learner."""
        self._score(packed)
        return self._by_label(SCORES)

    def probabilities_packed(self, packed: bytes) -> dict[Any, float]:
        """Return the probability of every label seen."""
        self._score(packed)
        return self._by_label(PROBABILITIES)

    def score_packed(self, packed: bytes) -> float:
        """Return the largest score of any label; NaN before the first example."""
        return max(self.scores_packed(packed).values(), default=float("nan"))

    def prediction(self, score: float) -> float:
        """Return the score unchanged: here the score of a learned example is its label's probability."""
        return score

    def predict_packed(self, packed: bytes) -> str | None:
        """Return the most probable label; None before the first example."""
        self._score(packed)
        k = self._likeliest()
        return None if k is None else self.labels_seen[k]

    def explain_packed(self, packed: bytes, label: Any = None) -> list[Contribution]:
        """Return what each feature adds to the score of a label, by default the most probable one."""
        chosen = None if label is None else self.class_of(label)
        n, best = self._score(packed), self._likeliest()
        if best is None:
            return []
        return self._explain(packed, n, best if chosen is None else chosen)

    def _explain(self, packed: bytes, n: int, k: int) -> list[Contribution]:
        """Return the contributions to a class's score, after scoring the last scanned features for this class alone."""
        _, _, _, n_features, n_derived = kernels.predict_classes(
            np.frombuffer(packed, np.uint8), n, k, k + 1, self.plain, records.plain_work()
        )
        return ordered(self._mixture(k)._contributions(packed, n_features, n_derived))

    def answer(self, packed: bytes, explain: bool = False) -> dict[str, Any]:
        """Return the reply to a request: the most probable label, its score and probability, and every label's probability."""
        n, k = self._score(packed), self._likeliest()
        answer: dict[str, Any] = {
            "score": None if k is None else float(self._answers[SCORES, k]),
            "prediction": None if k is None else float(self._answers[PROBABILITIES, k]),
            "label": None if k is None else self.labels_seen[k],
            "probabilities": self._by_label(PROBABILITIES),
        }
        if explain:
            answer["contributions"] = [] if k is None else self._explain(packed, n, k)
        return answer

    def unknown_names(self, packed: bytes) -> set[str]:
        """Return the names in a map of features without a row in any class.

        Rows are looked up only of features that the class scored last doesn't have. Beyond `MAX_LOOKUPS` none are, and the rest
        counts as known.
        """
        names = names_of(packed)
        if not self.labels_seen:
            return set(names)
        absent = (records.work().features.bases[: len(names)] == kernels.MISSING).tolist()
        n_classes = len(self.labels_seen)
        unknown = itertools.islice(itertools.compress(names, absent), MAX_LOOKUPS // n_classes)
        slot = self.weight_dict.slot
        return {name for name in unknown if all(slot(name, k) is None for k in range(1, n_classes + 1))}

    @property
    def weights(self) -> "ClassWeights":
        """The effective weights: a mapping from label to a mapping from feature name to weight."""
        return ClassWeights(self)

    # ---- state in and out ----
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the learned state by name, without the rows and the names of features."""
        n, used = len(self.labels_seen), self._in_use()
        stacked = {name: array[(slice(0, n), *used.get(name, ()))] for name, array in self._stacked.items()}
        labels = np.frombuffer(json.dumps(self.labels_seen).encode(), np.uint8).copy()
        arrays = {"totals": self.totals, **stacked, "metrics": self.metrics, "labels": labels}
        return arrays | self.weight_dict.of_cap

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Replace the learned state, with classes for its labels."""
        self.__init__(self.spec)  # type: ignore[misc]
        super().load_state(self._fitted(state))

    def load_changes(self, changes: StateChanges) -> None:
        """Make the learned state that of a later moment, with classes for its new labels."""
        super().load_changes(changes._replace(arrays=self._fitted(changes.arrays)))

    def _fitted(self, state: Mapping[str, NDArray[Any]]) -> Mapping[str, NDArray[Any]]:
        """Make room for a state's classes, and return the state with the parts of its arrays that are in use."""
        labels = json.loads(state["labels"].tobytes()) if "labels" in state else []
        self._add(labels[len(self.labels_seen) :])
        totals = self._stacked["class_totals"]
        self._require_shape("class_totals", state, totals[: len(labels)].shape)
        totals[: len(labels)] = state["class_totals"]  # they say how large the others are
        in_use = self.arrays()
        whole = {name: state[name] for name, own in in_use.items() if name in state and state[name].ndim == own.ndim}
        whole = {name: array[tuple(map(slice, in_use[name].shape))] for name, array in whole.items()}
        return {**state, **whole}


class ClassWeights(NamedWeights):
    """The effective weights by label, then by feature name; a live view."""

    def __init__(self, learner: MultiClass) -> None:
        self._learner = learner

    def __len__(self) -> int:
        return len(self._learner.labels_seen)

    def __iter__(self) -> Iterator[str]:
        return iter(self._learner.labels_seen)

    def __getitem__(self, label: str) -> Weights:
        if label not in self._learner.labels_seen:
            raise KeyError(label)
        return self._learner.mixture(label).weights

    def top(self, n: int | None = None, prefix: str = "") -> list[tuple[str, float]]:
        """Return pairs of ``label: name`` and weight, the largest in size first; `prefix` filters these combined names."""
        weights = [(f"{label}: {name}", w) for label, of_label in self.items() for name, w in of_label.top()]
        return sorted((item for item in weights if item[0].startswith(prefix)), key=lambda item: -abs(item[1]))[:n]

    def strongest(self, n: int | None = None, prefix: str = "") -> list[tuple[str, float, float]]:
        """Return ``label: name``, weight and effect, the largest effect first; `prefix` filters these combined names."""
        every = [(f"{label}: {name}", *rest) for label, own in self.items() for name, *rest in own.strongest()]
        return sorted((item for item in every if item[0].startswith(prefix)), key=lambda item: -abs(item[2]))[:n]
