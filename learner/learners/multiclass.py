"""Many classes, known beforehand or not: for each class one mixture, its label against the rest, over one dict of weights.

A class is added at its label's first example; its mixture learns all examples from then on. An example is scanned, and its
names are hashed, once. Each class has its own rows, whose hashes combine the feature's hash with the class's number, so each
feature is looked up once for every class. A class's probability is its mixture's, divided by the sum over all classes (one
against the rest: Rifkin and Klautau, 2004, "In defense of one-vs-all classification"; Zadrozny and Elkan, 2002, "Transforming
classifier scores into accurate multiclass probability estimates", section 4, for the normalisation).

A label is a string or a whole number; the number 5 and the string "5" are one label. In the evaluation, the first example of a
label counts with the log loss of a uniform guess among all labels so far, its own included.
"""

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
from learner.learners.held import Held
from learner.learners.linear import Weights, names_of, ordered
from learner.learners.mixture import Mixture
from learner.learners.protocol import NO_EXAMPLES, Contribution, Learner, NamedWeights
from learner.learners.weights import hash_of
from learner.tasks import TASKS

if TYPE_CHECKING:
    from learner.spec import Spec

__all__ = ["MultiClass"]

NOT_SCANNED = -1
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
        self._class_totals = np.zeros((0, layout.N_TOTALS))
        self._mixers = np.zeros((0, *self._blank.mixer.shape))
        self._dense_filters = np.zeros((0, *self._blank.dense_filter.shape))
        self._interactions = np.zeros((0, *self._blank.interactions.shape))
        self.weight_dict.samples = self.weight_dict.samples[:0]

    # ---- classes ----
    def _add(self, labels: Sequence[str]) -> None:
        """Add classes for new labels, each with an untrained mixture."""
        first, n = len(self.labels_seen), len(labels)
        totals = np.zeros((n, layout.N_TOTALS))
        totals[:, layout.CLASS] = np.arange(first + 1, first + n + 1)
        samples = np.zeros((n, *self.weight_dict.samples.shape[1:]), np.float32)
        hashes = np.array([hash_of(label.encode(), self.keys) for label in labels], np.uint64)
        self._class_totals = np.concatenate([self._class_totals, totals])
        self._mixers = np.concatenate([self._mixers, [self._blank.mixer] * n])
        self._dense_filters = np.concatenate([self._dense_filters, [self._blank.dense_filter] * n])
        self._interactions = np.concatenate([self._interactions, [self._blank.interactions] * n])
        self.weight_dict.samples = np.concatenate([self.weight_dict.samples, samples])
        self._hashes = np.concatenate([self._hashes, hashes])
        self.held.add_classes(n)
        self.labels_seen += labels
        self._answers = np.zeros((3, len(self.labels_seen)))

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
        k = self.class_of(label)
        mixture = Mixture(self.spec, self.weight_dict, of_class=k + 1)
        mixture.totals, mixture.mixer, mixture.dense_filter, mixture.interactions = (
            self._class_totals[k], self._mixers[k], self._dense_filters[k], self._interactions[k],
        )  # fmt: skip
        mixture.samples = self.weight_dict.samples[k]
        return mixture

    @property
    def classes(self) -> tuple[Any, ...]:
        """All labels seen."""
        return tuple(self.labels_seen)

    # ---- learning ----
    @property
    def plain(self) -> tuple[Any, ...]:
        """The argument of the loops: a `learner.kernels.classes.Classes` as plain tuples."""
        stacked = (
            self._class_totals, self._mixers, self._dense_filters, self._interactions, self._class_metrics,
            self.weight_dict.samples, self.held.plain,
        )  # fmt: skip
        learner = self._blank.settings, self.keys, self.weight_dict.arrays, stacked, ()
        return learner, (self.totals, self.metrics), self._hashes, self._answers

    def _learn(
        self, buffer: NDArray[np.uint8], position: int, holds_back: bool, results: records.Results
    ) -> tuple[int, int, int, int]:
        done, position, n_rows, n_bytes, code = kernels.learn_classes(
            buffer, position, holds_back, self.plain, records.plain_work(), tuple(results)
        )
        if code == layout.NEW_CLASS:
            if len(self.labels_seen) >= layout.MAX_CLASSES:
                done, position = self._refuse(buffer, done, position, results)
            else:
                unpacker = msgpack.Unpacker(max_buffer_size=layout.MAX_NAME_BYTES + 16)
                unpacker.feed(buffer[position : position + layout.MAX_NAME_BYTES + 8].tobytes())
                unpacker.read_array_header()
                self._add([_label(unpacker.unpack())])
        return done, position, n_rows, n_bytes

    def _measure(self, buffer: NDArray[np.uint8], position: int, results: records.Results) -> tuple[int, int]:
        done, position = kernels.measure_classes(buffer, position, self.plain, records.plain_work(), tuple(results))
        return done, position

    def _refuse(self, buffer: NDArray[np.uint8], done: int, position: int, results: records.Results) -> tuple[int, int]:
        """Reject an example whose label would exceed the largest number of classes."""
        if done == len(results.scores):
            return done, position
        results.scores[done] = results.losses[done] = results.importances[done] = np.nan
        results.codes[done], results.ends[done] = layout.NEW_CLASS, position + 1
        self.totals[layout.REJECTED] += 1
        return done + 1, int(kernels.skip(buffer, position))

    def sweep(self) -> None:
        """Do nothing: multi-class models have neither ``max_features`` nor L1, so their loops never ask for a sweep."""

    def warm(self) -> None:
        """Compile the loops, or load them from disk."""
        self._learn(NO_EXAMPLES, 0, True, records.results())
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
        return _likeliest(self.probabilities_packed(packed))

    def explain_packed(self, packed: bytes, label: Any = None) -> list[Contribution]:
        """Return what each feature adds to the score of a label, by default the most probable one."""
        chosen = None if label is None else self.class_of(label)
        n = self._score(packed)
        best = _likeliest(self._by_label(PROBABILITIES))
        if best is None:
            return []
        return self._explain(packed, n, self.labels_seen.index(best) if chosen is None else chosen)

    def _explain(self, packed: bytes, n: int, k: int) -> list[Contribution]:
        """Return the contributions to a class's score, after scoring the last scanned features for this class alone."""
        _, _, _, n_features, n_derived = kernels.predict_classes(
            np.frombuffer(packed, np.uint8), n, k, k + 1, self.plain, records.plain_work()
        )
        return ordered(self.mixture(self.labels_seen[k])._contributions(packed, n_features, n_derived))

    def answer(self, packed: bytes, explain: bool = False) -> dict[str, Any]:
        """Return the reply to a request: the most probable label, its score and probability, and every label's probability."""
        n = self._score(packed)
        scores, probabilities = self._by_label(SCORES), self._by_label(PROBABILITIES)
        label = _likeliest(probabilities)
        answer: dict[str, Any] = {
            "score": None if label is None else scores[label],
            "prediction": None if label is None else probabilities[label],
            "label": label,
            "probabilities": probabilities,
        }
        if explain:
            contributions = [] if label is None else self._explain(packed, n, self.labels_seen.index(label))
            answer["contributions"] = contributions
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
        return {
            "totals": self.totals,
            "class_totals": self._class_totals,
            "class_mixers": self._mixers,
            "class_newtons": self._dense_filters,
            "class_interactions": self._interactions,
            "samples": self.weight_dict.samples,
            "metrics": self.metrics,
            "labels": np.frombuffer(json.dumps(self.labels_seen).encode(), np.uint8).copy(),
        }

    def load_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Replace the learned state, after adding classes for its labels."""
        labels = json.loads(state["labels"].tobytes()) if "labels" in state else []
        if labels[: len(self.labels_seen)] != self.labels_seen:
            self.__init__(self.spec)  # type: ignore[misc]
        if more := labels[len(self.labels_seen) :]:
            self._add(more)
        super().load_state(state)


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


def _label(value: Any) -> str:
    """Return a target as its label: a whole number, int or float, as its decimal digits."""
    return value if isinstance(value, str) else str(int(value))


def _likeliest(probabilities: Mapping[str, float]) -> str | None:
    return max(probabilities, key=probabilities.__getitem__, default=None)
