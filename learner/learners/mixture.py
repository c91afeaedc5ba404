"""The sparse linear learner: several experts over one weight dict, and the mixer that makes one linear model of them.

Every example updates the same features under several experts at once; they share the lookup and the cache line: two AdaGrad
learners at different rates, a Kalman filter that keeps a variance for each weight, and (for two classes) naive Bayes. A small
Kalman filter learns how to combine the experts' **scores**, so that the whole stays linear in the features: the effective
weight of a feature is ``w = sum_k a_k w_k`` on the feature's own scale, and explanations add up exactly.

Features are also *derived* from those that come: bins of the numbers, cells of two numbers, pairs of the most frequent
features. They have rows and names as all have ("carat in [0.7, 0.9)", "carrier=UA and origin=EWR"), and experts of their own
that learn what the others leave over. The constant moves with the newest targets, as much as that has helped.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from learner import kernels, layout, metrics
from learner.errors import ExampleError, show
from learner.kernels import experts, mixer, records, tasks
from learner.learners.neural import NeuralHead
from learner.learners.weights import WeightDict, hash_keys
from learner.losses import LOSSES
from learner.packing import by_name
from learner.tasks import TASKS

__all__ = [
    "DECAYS", "RATES", "Contribution", "Learned", "Linear", "Rejection", "Weights", "msgpack_at",
]  # fmt: skip

RATES = TASKS["binary"].rates
DECAYS = (1.0, 0.99)  # of the rates' sums of squared gradients, an example
PARTS = {expert.__name__.rpartition(".")[2]: expert.PART for expert in experts.EXPERTS} | {
    "newton": layout.NEWTON,
    "trends": layout.TRENDS,
    "bins": layout.BINS,
    "cells": layout.CELLS,
    "crosses": layout.CROSSES,
}
FIRST_WEIGHT = 0.1  # of every expert in the mixture
MIXING_VARIANCE = 0.1  # of the mixing weights, at first; an expert may have another
SHOWN_BYTES = 4096  # of what is wrong, looked at for a message
NETWORK_NAME = "(network)"


@dataclass(frozen=True, slots=True)
class Rejection:
    """An example that could not be learned: which, why, and its bytes."""

    index: int
    reason: str
    data: bytes


class Learned(NamedTuple):
    """What `Linear.learn_packed` did: numbers an example, all NaN for a rejected one, and the rejected.

    ``scores`` and ``losses`` (log loss, squared error, pinball loss or deviance) are those before learning.
    """

    scores: NDArray[np.float64]
    rejections: list[Rejection]
    losses: NDArray[np.float64]
    importances: NDArray[np.float64]


class Contribution(NamedTuple):
    """What one feature adds to a score: ``contribution = weight * (value - mean)``.

    ``mean`` is 0 but for dense numbers (present in more than half of the examples, with varying values), which the learner
    centres; there it is the mean value, so that the contribution says what being different from the average does. A dense
    number that is left out of an example is there with its value, 0.
    """

    name: str
    value: float
    mean: float
    weight: float
    contribution: float


class Linear:
    """A sparse linear learner with AdaGrad experts, mixed by how they prove themselves.

    Parameters
    ----------
    loss : str
        A name in `learner.losses.LOSSES`.
    rates : sequence of float, optional
        One AdaGrad expert a learning rate; a single one is not mixed.
    decays : sequence of float, optional
        For each rate, what its sums of squared gradients are multiplied by at each update of the feature.
    parts : collection of str, optional
        What there is beside several rates: names in `PARTS`.
    store : WeightDict, optional
        A dict shared with other learners (see `learner.learners.multiclass`).
    level : float
        Of the quantile loss.
    seed : bytes
        At least 16 secret bytes, for the hash's keys.
    labels : (negative, positive), optional
        Strings accepted as the targets -1 and +1.
    head : NeuralHead, optional
        One more expert, whose weight in the mixture starts at 0; or, if it says so, the only one.
    max_features : int, optional
        How many features there may be, the constant and derived ones among them: see `sweep`.
    l1, l2 : float
        Penalties ``l1 |w| + l2 w^2 / 2`` on every weight of an example's features: see `learner.kernels.experts.penalties`.
    """

    def __init__(
        self,
        loss: str,
        seed: bytes,
        rates: Sequence[float] = RATES,
        decays: Sequence[float] = DECAYS,
        labels: tuple[str, str] | None = None,
        head: NeuralHead | None = None,
        parts: Collection[str] = tuple(PARTS),
        store: WeightDict | None = None,
        level: float = 0.5,
        max_features: int | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
    ) -> None:
        n_rates = len(rates)
        several = n_rates > 1
        self.head = head
        self.places = mixer.places(n_rates, 1 if head else 0)
        self._kernels: Any = head.kernels if head else kernels
        self.loss, self.level = LOSSES[loss], level
        self.parts = tuple(part for part in PARTS if part in parts and several)
        self._parts = sum(PARTS[part] for part in self.parts if part != "bayes" or self.loss.task == "binary")
        self._parts |= layout.SPARSE if l1 else 0
        self._parts |= layout.ALONE if head and head.alone else 0
        self.max_features = max_features
        self.penalties = (float(l1), float(l2))
        self.rates = tuple(float(rate) for rate in rates)
        self.decays = np.array(decays, np.float32)
        self.labels = labels
        self.keys = hash_keys(seed, labels)
        width = experts.row_width(n_rates, head.size if head else 0)
        self.store = WeightDict(width, self.keys, max_features) if store is None else store
        self._settings = (
            (self.loss.code, float(level)), tasks.CODES[self.loss.task], self._parts, self.rates, self.decays, *self.penalties,
            (0,) * (width // layout.LINE),
        )  # fmt: skip
        self.totals = np.zeros(layout.N_TOTALS)
        self.mixer = np.hstack([np.zeros((self.places.end, 1)), MIXING_VARIANCE * np.eye(self.places.end)])
        self.mixer[0, 0] = 1.0
        if several:
            self.mixer[: self.places.head, 0] = FIRST_WEIGHT
            self.mixer[self.places.derived : self.places.one, 0] = FIRST_WEIGHT
            for k, expert in enumerate(experts.EXPERTS, n_rates):
                self.mixer[k, 1 + k] = expert.MIXING_VARIANCE
        n_inputs = 1 + layout.MAX_BINNED
        self.dense_filter = np.hstack([np.zeros((n_inputs, 1)), np.eye(n_inputs)])
        self.metrics = metrics.new(self.loss.task)
        self.samples = self.store.samples[0]

    def warm(self) -> None:
        """Compile the loops, or load them from disk: half a second that a first example should not wait for."""
        self._learn(np.frombuffer(b"\xc0", np.uint8), 1, records.results())
        self.score_packed(b"\x80")
        self.store.warm()

    # ---- learning ----
    def learn_packed(self, data: bytes, most: int | None = None) -> Learned:
        """Learn msgpack examples that follow one another, each predicted before it is learned.

        Parameters
        ----------
        data : bytes
            Any number of ``[target, {name: value}]`` or ``[target, {name: value}, importance]``, or with an array in place of
            the map (see `learner.service.wire`).
        most : int, optional
            At most so many of them are learned; what follows is one rejection.
        """
        buffer = np.frombuffer(data, np.uint8)
        rounds: list[list[NDArray[np.float64]]] = []  # scores, losses, importances of each call of the loop
        rejections: list[Rejection] = []
        position = n_done = 0
        while position < len(buffer):
            results = records.results()
            if most is not None:  # the loop stops where there is no room for results
                results = records.Results(*(array[: most - n_done] for array in results))
            if n_done == most:
                self.totals[layout.REJECTED] += 1.0
                rounds.append([np.full(1, np.nan)] * 3)
                rejections.append(
                    Rejection(n_done, f"examples must be at most {most} at once (got more)", data[position:])
                )
                break
            start = position
            done, position, n_rows, n_bytes = self._learn(buffer, position, results)
            rounds.append([numbers[:done].copy() for numbers in (results.scores, results.losses, results.importances)])
            codes = results.codes[:done]
            if codes.any():
                rejections += self._rejections(data, start, position, codes, results.ends[:done], n_done)
            n_done += done
            if n_rows < 0:
                self.sweep()
            elif n_rows or n_bytes:
                self.store.reserve(n_rows, n_bytes)
        rounds = rounds or [[np.zeros(0)] * 3]
        columns = rounds[0] if len(rounds) == 1 else [np.concatenate(parts) for parts in zip(*rounds, strict=True)]
        return Learned(columns[0], rejections, columns[1], columns[2])

    def _learn(self, buffer: NDArray[np.uint8], position: int, results: records.Results) -> tuple[int, int, int, int]:
        """Call the compiled loop; return (examples done, next position, rows and bytes of names needed)."""
        done, position, n_rows, n_bytes, _ = self._kernels.learn(
            buffer, position, self._plain, records.plain_work(), tuple(results)
        )
        return done, position, n_rows, n_bytes

    @property
    def _plain(self) -> tuple[Any, ...]:
        """What the loops take: a `learner.kernels.records.Learner` as plain tuples."""
        state = self.totals, self.mixer, self.dense_filter, self.metrics, self.samples
        return self._settings, self.keys, self.store.arrays, state, self.head.arrays if self.head else ()

    # ---- bounded memory ----
    def sweep(self) -> None:
        """Drop the least useful features, a tenth of `max_features`, and with L1 those whose weights are all zero.

        A feature is as useful as its effective weight is large, on the feature's own scale, times how often it came lately:
        what it did to all scores together. Counts fade with every sweep, so that what comes no more goes.
        The constant, the dense numbers, and the parts of what stays are not dropped. The compiled loop asks for it (see
        `learner.kernels.room.wants_sweep`), at a moment that depends on nothing but what was learned.
        """
        store, n = self.store, len(self.store)
        words, derived = store.matrix.view(np.uint32), store.derived
        kept: NDArray[np.bool_] = (words[:, layout.DENSE] & layout.PLACE_MASK > 0) & ~derived
        kept[0] = True
        keep = np.ones(n, np.bool_)
        if self._parts & layout.SPARSE:
            keep = kept | self._has_weight(store.matrix)
            keep[words[derived & keep][:, [layout.NAME, layout.MEAN]]] = True  # the parts of what stays
        if self.max_features:
            counts = words[:, layout.COUNT] - store.aged[:n]
            usefulness = self._sizes(slice(None)) * counts
            for part in (layout.NAME, layout.MEAN):  # as useful as what is made of them
                np.maximum.at(usefulness, words[derived, part], usefulness[derived])
            usefulness[~keep], usefulness[kept] = 0.0, np.inf
            order = np.argsort(usefulness, kind="stable")[: n - np.count_nonzero(kept)]
            rows_left, bytes_left = (store.sizes[2:] - store.sizes[2:] // layout.EVICTED_SHARE).tolist()
            freed = np.cumsum(store.name_lengths()[order])
            keep[order[: max(n - rows_left, int(np.searchsorted(freed, store.sizes[1] - bytes_left)) + 1)]] = False
            store.aged[:n] += layout.FORGOTTEN_SHARE * counts
        slots = store.compact(keep)
        if self.max_features:
            aged = store.aged[:n][slots >= 0]
            store.aged[:n] = 0
            store.aged[: len(aged)] = aged
        places = slice(layout.DENSE_SLOTS + 1, layout.DENSE_SLOTS + 1 + int(self.totals[layout.N_DENSE]))
        self.totals[places] = slots[self.totals[places].astype(np.int64)]
        self.totals[layout.SWEEPS] += 1
        self.totals[layout.EVICTED] += n - len(store)
        self.totals[layout.SWEPT_ROWS] = len(store)

    def _has_weight(self, rows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return of rows whether an expert with a gradient weighs the feature with anything but zero."""
        weighs: NDArray[np.bool_] = np.any(rows[:, experts.gradient_columns(len(self.rates))] != 0, axis=1)
        return weighs

    def _sizes(self, slots: Any) -> NDArray[np.float64]:
        """Return the sizes of effective weights on the features' own scales; with a head, that of their columns, too."""
        sizes: NDArray[np.float64] = np.abs(self._linear_weights(slots))
        if self.head:
            columns = self.store.matrix[slots, self.head.column : self.head.column + self.head.hidden[0]].astype(
                np.float64
            )
            sizes += abs(self._mixing_weights()[self.places.head]) * np.sqrt((columns * columns).sum(axis=1))
        return sizes

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
            yield Rejection(first + i, self._reason(code, data, end), data[start:after])
            start = after

    def _reason(self, code: int, data: bytes, where: int) -> str:
        return reason(code, data, where, self.loss.task)

    # ---- state in and out ----
    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return all that was learned but the rows and names, as arrays by name."""
        network = {"network": self.head.network, "norms": self.head.norms} if self.head else {}
        bounded: dict[str, NDArray[Any]] = {}
        if self.max_features:
            bounded = {"sketch": self.store.sketch, "aged": self.store.aged}
        return (
            {
                "totals": self.totals,
                "mixer": self.mixer,
                "newton": self.dense_filter,
                "samples": self.store.samples,
                "metrics": self.metrics,
            }
            | network
            | bounded
        )

    def fit(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Give the arrays the shapes that a state needs; here they have them."""

    # ---- predicting ----
    def _predict(self, packed: bytes) -> tuple[int, int, float]:
        """Score a msgpack map; return (features, derived features, score in the mixture's own units).

        What the score is made of stays in this thread's work arrays.
        """
        code, where, n, n_derived, score = self._kernels.predict(
            np.frombuffer(packed, np.uint8), self._plain, records.plain_work()
        )
        if code != layout.OK:
            raise ExampleError(self._reason(code, packed, where))
        if where != len(packed):
            raise ExampleError(f"features must be one msgpack value (got {len(packed) - where} more bytes)")
        return n, int(n_derived), score

    def score_packed(self, packed: bytes) -> float:
        """Return the score of a msgpack map of features, in the target's units; nothing changes.

        Raises
        ------
        ExampleError
            When the map breaks a rule.
        """
        unit, offset = self._unit_and_offset
        return float(offset + unit * self._predict(packed)[2])

    def prediction(self, score: float) -> float:
        """Return the prediction that goes with a score: a probability, or a number within the range of targets seen."""
        return float(self.loss.link(tasks.within_targets(tasks.CODES[self.loss.task], self.totals, score)))

    @property
    def _unit_and_offset(self) -> tuple[float, float]:
        """What a score of 1 is in the target's units, and what is then added."""
        unit, offset = tasks.unit_and_offset(tasks.CODES[self.loss.task], self.totals)
        return float(unit), float(offset)

    # ---- explaining ----
    @property
    def _mixes(self) -> bool:
        return (len(self.rates) > 1 or self.head is not None) and not self._parts & layout.ALONE

    @property
    def _experts(self) -> list[tuple[int, Any]]:
        """The experts beside AdaGrad's that are on, with the places of their scores."""
        places = enumerate(experts.EXPERTS, len(self.rates))
        return [(place, expert) for place, expert in places if self._parts & expert.PART]

    def _mixing_weights(self) -> NDArray[np.float64]:
        """Return the weights of the experts' plain scores; without a mixer, 1 for the last expert, which is the score."""
        if self._mixes:
            a = self.mixer[:, 0].copy()
            for place, expert in self._experts:
                a[place] *= expert.scale(self.totals)
            return a
        a = np.zeros(len(self.mixer))
        a[self.places.derived - 1] = 1.0
        return a

    @property
    def of_class(self) -> int:
        """The class that this is the learner of in a multi-class model, from 1; else 0."""
        return int(self.totals[layout.CLASS])

    @property
    def constant_slot(self) -> int | None:
        """The slot of the constant, None before the first example."""
        return int(self.totals[layout.CONSTANT_ROW]) - 1 if self.totals[layout.CONSTANT_ROW] else None

    def _constant(self) -> float:
        slot = self.constant_slot
        score = 0.0 if slot is None else float(self._linear_weights(slice(slot, slot + 1))[0])
        if self._mixes:
            if self._parts & layout.NEWTON:
                score += float(self.mixer[self.places.dense_filter, 0] * self.dense_filter[0, 0])
            score += float(self.mixer[self.places.one, 0])
            if self._parts & layout.TRENDS:
                trends = self.totals[layout.TREND : layout.TREND + layout.N_TRENDS]
                score += float(self.mixer[self.places.trends :, 0] @ trends)
        unit, offset = self._unit_and_offset
        return offset + unit * score

    def _linear_weights(self, slots: Any) -> NDArray[np.float64]:
        """Return ``sum_k a_k w_k`` of some slots, on the features' own scales; the same bits for one slot as for many."""
        a, rows = self._mixing_weights(), self.store.matrix[slots]
        n_rates = len(self.rates)
        derived = rows.view(np.uint32)[:, layout.DENSE] >= layout.DERIVED
        silent = np.zeros(len(rows), np.bool_)
        if self._parts & layout.SPARSE:
            silent = ~self._has_weight(rows)
        weights = np.zeros(len(rows))
        for k in range(n_rates):
            weights += a[np.where(derived, self.places.derived, 0) + k] * rows[:, layout.HEADER + k].astype(np.float64)
        for place, expert in self._experts:
            column = experts.column_of(expert, n_rates)
            mixing: Any = a[place]
            if expert.LEARNS_DERIVED:
                mixing = a[np.where(derived, self.places.derived + n_rates + experts.DERIVED.index(expert), place)]
            weights += mixing * expert.weights(rows, column, self.totals, silent)
        return weights

    def effective_weights(self, slots: Any) -> NDArray[np.float64]:
        """Return the weights of some slots in the user's own units: what one more of the feature adds to the score."""
        rows = self.store.matrix[slots]
        scale, deviation = rows[:, layout.SCALE].astype(np.float64), rows[:, layout.DEVIATION].astype(np.float64)
        weights = self._linear_weights(slots) / np.where(scale > 0, scale, 1)
        weights += self._dense_filter_weights(rows) / np.where(deviation > 0, deviation, 1)
        result: NDArray[np.float64] = self._unit_and_offset[0] * weights
        return result

    def _dense_filter_weights(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the weights of the standardised numbers in the mixed score; 0 for other features."""
        place = _places(rows)
        mine = (place > 0) & (place <= layout.MAX_BINNED) & self._is_centred(rows)
        if not self._parts & layout.NEWTON or not self._mixes:
            return np.zeros(len(rows))
        a = self.mixer[self.places.dense_filter, 0]
        return np.where(mine, a * self.dense_filter[np.where(mine, place, 0), 0], 0.0)

    def _is_centred(self, rows: NDArray[np.float32]) -> NDArray[np.bool_]:
        count = rows.view(np.uint32)[:, layout.COUNT]
        centred: NDArray[np.bool_] = (rows[:, layout.DEVIATION] > 0) & (count > 0.5 * self.totals[layout.EXAMPLES])
        return centred

    def explain_packed(self, packed: bytes) -> list[Contribution]:
        """Return what each feature of a msgpack map adds to the score, the largest first; the sum is the score.

        The constant is one of them. Features never learned have weight 0. With a neural head a feature's contribution has
        in it the gradient of the network's score by its value, times the value; the rest of that score is ``(network)``.
        """
        n, n_derived, _ = self._predict(packed)
        work = records.work()
        bases, xs, us = work.features.bases[:n], work.features.values[:n], work.features.scaled[:n]
        given: dict[str, float] = by_name(msgpack.unpackb(packed, strict_map_key=False))
        names = [name for name, value in given.items() if abs(value) >= layout.MIN_NUMBER]
        xs[len(names) :] = 0.0  # then come the dense features that are left out of it
        names += [self.store.name(int(base) // self.store.width) for base in bases[len(names) :]]
        known = bases != kernels.MISSING
        slots = (bases[known] // np.uint64(self.store.width)).astype(np.int64)
        rows = self.store.matrix[slots]
        place = _places(rows)
        zs = work.derived.standardized[np.where(place <= layout.MAX_BINNED, place, 0)]
        added = self._linear_weights(slots) * us[known] + self._dense_filter_weights(rows) * zs
        columns = np.zeros((3, n))  # mean, weight, contribution
        columns[0, known] = np.where(self._is_centred(rows), rows[:, layout.MEAN], 0.0)
        columns[1, known] = self.effective_weights(slots)
        unit, rest = self._unit_and_offset[0], 0.0
        if self.head:  # what the network adds: the gradient by each input times the input, and what that leaves
            weight = self._mixing_weights()[self.places.head]
            V = rows[:, self.head.column : self.head.column + self.head.hidden[0]]
            through = weight * (V @ self.head.input_gradients()) * us[known]
            rest = unit * (weight * work.scores[self.places.head] - float(through.sum()))
            added += through
        columns[2, known] = unit * added
        contributions = [Contribution(*values) for values in zip(names, xs.tolist(), *columns.tolist(), strict=True)]
        for base in work.derived.bases[:n_derived].tolist():
            if base != int(kernels.MISSING):
                slot = base // self.store.width
                weight = float(self.effective_weights(slice(slot, slot + 1))[0])
                contributions.append(Contribution(self.store.name(slot), 1.0, 0.0, weight, weight))
        if self.head:
            contributions.append(Contribution(NETWORK_NAME, 1.0, 0.0, rest, rest))
        contributions.append(Contribution(layout.CONSTANT_NAME, 1.0, 0.0, self._constant(), self._constant()))
        return sorted(contributions, key=lambda c: -abs(c.contribution))

    @property
    def weights(self) -> "Weights":
        """The effective weights, as a mapping from feature name to weight."""
        return Weights(self)

    def answer(self, packed: bytes, explain: bool = False) -> dict[str, Any]:
        """Return what a request is answered with: score, prediction and, if asked for, contributions."""
        score = self.score_packed(packed)
        answer: dict[str, Any] = {"score": score, "prediction": self.prediction(score)}
        if self.labels:
            answer["label"] = self.labels[score > 0.0]
        if explain:
            answer["contributions"] = self.explain_packed(packed)
        return answer


def _places(rows: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the rows' places among the dense features, from 1; 0 for others."""
    words = rows.view(np.uint32)[:, layout.DENSE]
    return np.where(words >= layout.DERIVED, 0, words & layout.PLACE_MASK).astype(np.int64)


class Weights(Mapping[str, float]):
    """The effective weights ``w``, by feature name, in the user's units; a live view."""

    def __init__(self, linear: Linear) -> None:
        self._linear = linear

    @property
    def _slots(self) -> NDArray[np.int64]:
        store = self._linear.store
        if not self._linear.of_class:
            return np.arange(len(store))
        return np.flatnonzero(store.classes == self._linear.of_class)

    def __len__(self) -> int:
        return len(self._slots)

    def __iter__(self) -> Iterator[str]:
        return map(self._linear.store.name, self._slots.tolist())

    def __getitem__(self, name: str) -> float:
        linear = self._linear
        if name == layout.CONSTANT_NAME:
            slot = linear.constant_slot
        else:
            slot = linear.store.slot(name, linear.of_class) if isinstance(name, str) else None
        if slot is None:
            raise KeyError(name)
        if slot == linear.constant_slot:
            return linear._constant()
        return float(linear.effective_weights(slice(slot, slot + 1))[0])

    def array(self) -> NDArray[np.float64]:
        """Return all weights in order of the names."""
        linear, slots = self._linear, self._slots
        weights = linear.effective_weights(slots if linear.of_class else slice(None))
        weights[slots == (-1 if linear.constant_slot is None else linear.constant_slot)] = linear._constant()
        return weights

    def top(self, n: int | None = None, prefix: str = "") -> list[tuple[str, float]]:
        """Return the names that start with a prefix and their weights, the largest in size first."""
        weights, slots, store = self.array(), self._slots, self._linear.store
        if not prefix:
            order = np.argsort(-np.abs(weights), kind="stable")[:n]
            return [(store.name(int(slots[i])), float(weights[i])) for i in order]
        found = [(name, float(w)) for name, w in zip(self, weights, strict=True) if name.startswith(prefix)]
        return sorted(found, key=lambda item: -abs(item[1]))[:n]

    def __repr__(self) -> str:
        return f"<{len(self)} weights>"


# ---- reasons -------------------------------------------------------------------------------------------------------------
def reason(code: int, data: bytes, where: int, task: str) -> str:
    """Return a rejection in words: what, the rule, and what came."""
    name, value = msgpack_at(data, where)
    if code == layout.BAD_VALUE_FINITE and 0xC7 <= data[where] <= 0xD8:  # an array
        name, value = _bad_value(data, where)
    came = show(name) if code in (layout.BAD_TARGET, layout.BAD_IMPORTANCE) else show(value)
    return {
        layout.BAD_FRAMING: "example must be whole msgpack (it is cut off or malformed)",
        layout.BAD_EXAMPLE: f"example must be [target, features] or [target, features, importance] (got {show(name)})",
        layout.BAD_TARGET: f"target must be {TASKS[task].targets} (got {came})",
        layout.BAD_IMPORTANCE: f"importance must be a number within [0, {layout.MAX_IMPORTANCE:g}] (got {came})",
        layout.BAD_MAP: "features must be a map of name to number, or an array as extension 4 (float32) or 8 (float64) "
        f"(got {show(name)})",
        layout.BAD_NAME_TYPE: f"feature name must be a string (got {show(name)})",
        layout.BAD_NAME_LENGTH: f"feature name must have 1 to {layout.MAX_NAME_BYTES} bytes "
        f"(got {len(name.encode()) if isinstance(name, str) else show(name)})",
        layout.BAD_NAME_UTF8: "feature name must be UTF-8",
        layout.BAD_NAME_RESERVED: f"feature name must not be {layout.CONSTANT_NAME}: every model has this feature already",
        layout.BAD_VALUE_TYPE: f"feature {show(name)} must be a number (got {came})",
        layout.BAD_VALUE_FINITE: f"feature {show(name)} must be finite, at most {layout.MAX_NUMBER:g} in size (got {came})",
        layout.BAD_WIDTH: f"features must be at most {layout.MAX_FEATURES} an example "
        f"(got {len(name) if isinstance(name, dict) else 'more'})",
        layout.BAD_DUPLICATE: f"feature {show(name)} must be there once (it came again)",
    }[code]


def _bad_value(data: bytes, where: int) -> tuple[str, float]:
    """Return the first value of an array that breaks the rule, and its name."""
    end = int(kernels.skip(np.frombuffer(data, np.uint8), where))
    values: dict[str, float] = by_name(msgpack.unpackb(data[where:end]))
    return next((name, value) for name, value in values.items() if not abs(value) <= layout.MAX_NUMBER)


def msgpack_at(data: bytes, where: int) -> tuple[Any, Any]:
    """Return the two msgpack values at a position, for a message; None for what can't be decoded."""
    unpacker = msgpack.Unpacker(raw=False, unicode_errors="replace", strict_map_key=False, max_buffer_size=SHOWN_BYTES)
    unpacker.feed(data[where : where + SHOWN_BYTES])
    values: list[Any] = []
    for _ in range(2):
        try:
            values.append(unpacker.unpack())
        except Exception:  # noqa: BLE001  (whatever is wrong with it, it is only to be shown)
            values.append(None)
            break
    return values[0], values[1] if len(values) > 1 else None
