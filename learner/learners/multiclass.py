"""Many classes, known beforehand or not: one linear learner a class, its label against the rest, over one dict of weights.

A class exists from its label's first example on; its learner has learned the examples since then. An example's features are
read and hashed once; every class has rows of its own under hashes of its own, made of the feature's and of the class's
number. The probabilities are those of the classes' learners, divided by their sum (one against the rest: Rifkin and Klautau,
2004, "In defense of one-vs-all classification"; Zadrozny and Elkan, 2002, "Transforming classifier scores into accurate
multiclass probability estimates", section 4, for the normalisation).

A label is a string, or a whole number, which is the same as its decimal digits. The first example of a label counts with the
log loss of an even guess among it and the labels before.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import msgpack
import numpy as np
from numpy.typing import NDArray

from learner import kernels, layout, metrics
from learner.errors import ExampleError, SpecError, show
from learner.kernels import records
from learner.learners.mixture import DECAYS, PARTS, RATES, Contribution, Linear, Weights, msgpack_at
from learner.learners.weights import hash_of
from learner.tasks import TASKS

__all__ = ["MultiClass"]


class MultiClass(Linear):
    """One learner a class over one weight dict; has the face of a `Linear`, but for what is said of the methods.

    Attributes
    ----------
    labels_seen : list of str
        The labels in order of their first examples: class k from 1 is ``labels_seen[k - 1]``.
    """

    def __init__(
        self,
        seed: bytes,
        rates: Sequence[float] = RATES,
        decays: Sequence[float] = DECAYS,
        parts: Collection[str] = tuple(PARTS),
    ) -> None:
        super().__init__("logistic", seed, rates, decays, None, None, parts)
        self._seed = seed
        self.metrics = metrics.new("multiclass")
        self.labels_seen: list[str] = []
        self._learners: list[Linear] = []
        self._hashes = np.zeros(0, np.uint64)  # of the labels
        self._answers = np.zeros((3, 0))  # room for an example's scores, probabilities and shares
        self._binary_metrics = metrics.new("binary")  # every class's own evaluation, which nobody asks for
        self._totals = np.zeros((0, layout.N_TOTALS))
        self._mixers = np.zeros((0, *self.mixer.shape))
        self._dense_filters = np.zeros((0, *self.dense_filter.shape))
        self.store.samples = self.store.samples[:0]

    # ---- classes ----
    def _add(self, labels: Sequence[str]) -> None:
        """Give labels their classes, whose learners know nothing yet."""
        first = len(self.labels_seen)
        totals = np.zeros((len(labels), layout.N_TOTALS))
        totals[:, layout.CLASS] = np.arange(first + 1, first + len(labels) + 1)
        self._totals = np.concatenate([self._totals, totals])
        self._mixers = np.concatenate([self._mixers, [self.mixer] * len(labels)])
        self._dense_filters = np.concatenate([self._dense_filters, [self.dense_filter] * len(labels)])
        samples = np.zeros((len(labels), *self.store.samples.shape[1:]), np.float32)
        self.store.samples = np.concatenate([self.store.samples, samples])
        hashes = [hash_of(label.encode(), self.keys) for label in labels]
        self._hashes = np.concatenate([self._hashes, np.array(hashes, np.uint64)])
        self.labels_seen += labels
        self._answers = np.zeros((3, len(self.labels_seen)))
        self._learners = [self._learner(k) for k in range(len(self.labels_seen))]

    def _learner(self, k: int) -> Linear:
        """Return a class's learner, on views of the arrays of all."""
        learner = Linear("logistic", self._seed, self.rates, self.decays.tolist(), None, None, self.parts, self.store)
        learner.keys = self.keys
        learner.totals, learner.mixer, learner.dense_filter = self._totals[k], self._mixers[k], self._dense_filters[k]
        learner.samples = self.store.samples[k]
        return learner

    def learner(self, label: Any) -> Linear:
        """Return the learner of a label seen.

        Raises
        ------
        ExampleError
            When the label was never seen.
        """
        if str(label) not in self.labels_seen:
            raise ExampleError(f"label must be one of those seen, {show(self.labels_seen)} (got {show(label)})")
        return self._learners[self.labels_seen.index(str(label))]

    # ---- learning ----
    @property
    def _plain_classes(self) -> tuple[Any, ...]:
        """What the loop takes: a `learner.kernels.classes.Classes` as plain tuples."""
        stacked = self._totals, self._mixers, self._dense_filters, self._binary_metrics, self.store.samples
        learner = self._settings, self.keys, self.store.arrays, stacked, ()
        return learner, (self.totals, self.metrics), self._hashes, self._answers

    def _learn(self, buffer: NDArray[np.uint8], position: int, results: records.Results) -> tuple[int, int, int, int]:
        done, position, n_rows, n_bytes, code = kernels.learn_classes(
            buffer, position, self._plain_classes, records.plain_work(), tuple(results)
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

    def _refuse(self, buffer: NDArray[np.uint8], done: int, position: int, results: records.Results) -> tuple[int, int]:
        """Reject an example of one label too many."""
        if done == len(results.scores):
            return done, position
        results.scores[done] = results.losses[done] = results.importances[done] = np.nan
        results.codes[done], results.ends[done] = layout.NEW_CLASS, position + 1
        self.totals[layout.REJECTED] += 1
        return done + 1, int(kernels.skip(buffer, position))

    def _reason(self, code: int, data: bytes, where: int) -> str:
        if code == layout.BAD_TARGET:
            came = msgpack_at(data, where)[0]
            return f"target must be {TASKS['multiclass'].targets} (got {show(came)})"
        if code == layout.NEW_CLASS:
            came = msgpack_at(data, where)[0]
            return f"labels must be at most {layout.MAX_CLASSES} (got {show(came)} after so many others)"
        return super()._reason(code, data, where)

    def warm(self) -> None:
        """Compile the loops, or load them from disk."""
        super().warm()
        self.probabilities_packed(b"\x80")

    # ---- predicting ----
    def scores_packed(self, packed: bytes) -> dict[str, float]:
        """Return every label's score, that of its own learner; nothing changes."""
        if not self._learners:
            super().score_packed(packed)  # what is wrong with the features is said all the same
        return {
            label: learner.score_packed(packed) for label, learner in zip(self.labels_seen, self._learners, strict=True)
        }

    def probabilities_packed(self, packed: bytes) -> dict[str, float]:
        """Return the probability of every label seen."""
        scores = np.array(list(self.scores_packed(packed).values()))
        probabilities = np.zeros(len(scores))
        kernels.normalise(scores, probabilities)
        return dict(zip(self.labels_seen, probabilities.tolist(), strict=True))

    def score_packed(self, packed: bytes) -> float:
        """Return the largest of the labels' scores; NaN while there is no label."""
        return max(self.scores_packed(packed).values(), default=float("nan"))

    def prediction(self, score: float) -> float:
        """Return a probability as it is: the scores that learning reports are those of the labels that came."""
        return score

    def explain_packed(self, packed: bytes) -> list[Contribution]:
        """Return what each feature adds to the score of the likeliest label."""
        probabilities = self.probabilities_packed(packed)
        if not probabilities:
            return []
        return self.learner(max(probabilities, key=probabilities.__getitem__)).explain_packed(packed)

    def answer(self, packed: bytes, explain: bool = False) -> dict[str, Any]:
        """Return what a request is answered with: the likeliest label, its probability and that of every label."""
        probabilities = self.probabilities_packed(packed)
        label = max(probabilities, key=probabilities.__getitem__, default=None)
        answer: dict[str, Any] = {
            "score": None if label is None else self.learner(label).score_packed(packed),
            "prediction": None if label is None else probabilities[label],
            "label": label,
            "probabilities": probabilities,
        }
        if explain:
            answer["contributions"] = self.explain_packed(packed)
        return answer

    @property
    def weights(self) -> "ClassWeights":  # type: ignore[override]
        """The effective weights: a mapping from label to a mapping from feature name to weight."""
        return ClassWeights(self)

    # ---- state in and out ----
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all that was learned but the rows and names, as arrays by name."""
        return {
            "totals": self.totals,
            "class_totals": self._totals,
            "class_mixers": self._mixers,
            "class_newtons": self._dense_filters,
            "samples": self.store.samples,
            "metrics": self.metrics,
            "labels": np.frombuffer(json.dumps(self.labels_seen).encode(), np.uint8).copy(),
        }

    def fit(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Have the classes of a state."""
        labels = json.loads(state["labels"].tobytes()) if "labels" in state else []
        if labels[: len(self.labels_seen)] != self.labels_seen:
            self.__init__(self._seed, self.rates, self.decays.tolist(), self.parts)  # type: ignore[misc]
        if more := labels[len(self.labels_seen) :]:
            self._add(more)


class ClassWeights(Mapping[str, Weights]):
    """The effective weights by label, then by feature name; a live view."""

    def __init__(self, model: MultiClass) -> None:
        self._model = model

    def __len__(self) -> int:
        return len(self._model.labels_seen)

    def __iter__(self) -> Iterator[str]:
        return iter(self._model.labels_seen)

    def __getitem__(self, label: str) -> Weights:
        if label not in self._model.labels_seen:
            raise KeyError(label)
        return self._model.learner(label).weights

    def top(self, n: int | None = None, prefix: str = "") -> list[tuple[str, float]]:
        """Return ``label: name`` and weight, the largest in size first, of names (with their labels) that start so."""
        every = [(f"{label}: {name}", w) for label, weights in self.items() for name, w in weights.top()]
        return sorted((item for item in every if item[0].startswith(prefix)), key=lambda item: -abs(item[1]))[:n]


def _label(value: Any) -> str:
    """Return a target as its label: a whole number as its digits, also when it came as a float."""
    return value if isinstance(value, str) else str(int(value))


def check(loss: str | None, labels: Any, neural: Any, optimizer: Any, max_features: Any, l1: Any, l2: Any) -> None:
    """Refuse what a multi-class model has none of.

    Raises
    ------
    SpecError
        When one of them was given.
    """
    given = {"loss": loss, "labels": labels, "neural": neural, "optimizer": optimizer}
    given |= {"max_features": max_features, "l1": l1 or None, "l2": l2 or None}
    if given["loss"] in ("logistic", None):
        del given["loss"]
    if wrong := [name for name, value in given.items() if value is not None]:
        raise SpecError(
            f"multiclass task must have the logistic loss and labels of its stream (got {', '.join(wrong)})"
        )
