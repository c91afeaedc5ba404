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
from typing import Any, Literal, NamedTuple

import msgpack
import numpy as np
from numpy.typing import NDArray

from learner import kernels, layout, metrics
from learner.errors import ExampleError, show
from learner.losses import LOSSES
from learner.neural import NeuralHead
from learner.weights import WeightDict, hash_keys

__all__ = [
    "DECAYS", "RATES", "SMALL_RATES", "Contribution", "Learned", "Linear", "Rejection", "Weights", "by_name", "msgpack_at",
]  # fmt: skip

RATES = (2.0, 16.0)
SMALL_RATES = (0.5, 4.0)  # of the quantile and the Poisson loss
DECAYS = (1.0, 0.99)  # of the rates' sums of squared gradients, an example
PARTS = {
    "kalman": layout.KALMAN,
    "bayes": layout.BAYES,
    "newton": layout.NEWTON,
    "trends": layout.TRENDS,
    "bins": layout.BINS,
    "cells": layout.CELLS,
    "crosses": layout.CROSSES,
}
FIRST_WEIGHT = 0.1  # of every expert in the mixture
MIXING_VARIANCE, BAYES_VARIANCE = 0.1, 5.0  # of the mixing weights, at first
SHOWN_BYTES = 4096  # of what is wrong, looked at for a message
NETWORK_NAME = "(network)"
CHUNK = 4096  # examples a call of the compiled loop
ARRAY_TYPES: dict[int, Literal["f", "d"]] = {
    4: "f",
    8: "d",
}  # msgpack extension -> its values, as `memoryview.cast` names them


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
        A dict shared with other learners (see `learner.multiclass`).
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
        Penalties ``l1 |w| + l2 w^2 / 2`` on every weight of an example's features: see `learner.kernels.shrink`.
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
        self.n_linear = n_rates + 2 if several else 1
        self.n_experts = self.n_linear + (1 if head else 0)
        self.n_derived = n_rates + 1 if several else 0
        self._kernels = head.kernels if head else kernels
        n_inputs = self.n_experts + self.n_derived + 1 + (1 + layout.N_TRENDS if several else 0)
        self.loss, self.level = LOSSES[loss], level
        self._loss = (self.loss.code, level)
        self.parts = tuple(part for part in PARTS if part in parts and several)
        self._parts = sum(PARTS[part] for part in self.parts if part != "bayes" or self.loss.task == "binary")
        self.max_features = max_features
        self.penalties = (l1, l2)
        self._parts |= layout.SPARSE if l1 else 0
        self.rates = tuple(float(rate) for rate in rates)
        self.decays = np.array(decays, np.float32)
        self.labels = labels
        self.keys = hash_keys(seed, labels)
        width = layout.row_width(n_rates, head.size if head else 0)
        self.store = WeightDict(width, self.keys, max_features) if store is None else store
        self.totals = np.zeros(layout.N_TOTALS)
        self.mixer = np.hstack([np.zeros((n_inputs, 1)), MIXING_VARIANCE * np.eye(n_inputs)])
        self.mixer[: self.n_linear, 0] = FIRST_WEIGHT if several else 1.0
        if several:
            self.mixer[self.n_experts : self.n_experts + self.n_derived + 1, 0] = FIRST_WEIGHT
            self.mixer[n_rates + 1, n_rates + 2] = BAYES_VARIANCE
        n_zs = 1 + layout.MAX_BINNED
        self.newton = np.hstack([np.zeros((n_zs, 1)), np.eye(n_zs)])
        self.metrics = metrics.new(self.loss.task)
        # scratch for one example: what the kernels call scratch, mixing, updating, scores and results
        n = layout.MAX_FEATURES + layout.MAX_DENSE + 1
        self._scratch = (
            np.zeros(1 << 15, np.uint64),  # the names' hashes seen
            np.zeros(n, np.uint64),  # hashes
            np.zeros(n, np.int64),  # starts of names
            np.zeros(n, np.int64),  # lengths of names
            np.zeros(n, np.uint64),  # bases: where rows start
            np.zeros(n),  # values x
            np.zeros(n, np.float32),  # scaled values u
            np.zeros(layout.MAX_DENSE + 1, np.uint8),  # whether a dense feature is in the example
        )
        self._deriving = (
            self.store.samples[0],
            np.zeros(layout.MAX_DERIVED, np.uint64),  # hashes
            np.zeros(layout.MAX_DERIVED, np.uint64),  # bases
            np.zeros((3, layout.MAX_DERIVED), np.uint32),  # what each is made of
            np.zeros(layout.MAX_BINNED + 1),  # the numbers' values by place
            np.zeros(layout.N_CROSSED, np.uint64),  # bases of the most frequent features
            np.zeros(layout.N_CROSSED),  # their counts
            np.ones(layout.MAX_DERIVED, np.float32),  # every derived feature's value
            np.zeros(n_zs),  # 1, and the standardised numbers by place
            np.zeros(n + 1, np.uint64),  # bases of the features that become dense
        )
        self._mixing = (np.zeros(n_inputs), np.zeros(max(n_inputs, n_zs)))
        self._updating = (np.zeros(n_rates, np.float32), np.zeros(n_rates), np.zeros(n * n_rates, np.float32))
        self._scores = np.zeros(n_inputs)
        integers = (np.zeros(CHUNK, np.int64), np.zeros(CHUNK, np.int64))
        self._results: tuple[NDArray[Any], ...] = (np.zeros(CHUNK), *integers, np.zeros(CHUNK), np.zeros(CHUNK))

    def warm(self) -> None:
        """Compile the loops, or load them from disk: half a second that a first example should not wait for."""
        self._learn(np.frombuffer(b"\xc0", np.uint8), 1)
        self.score_packed(b"\x80")

    # ---- learning ----
    def learn_packed(self, data: bytes, most: int | None = None) -> Learned:
        """Learn msgpack examples that follow one another, each predicted before it is learned.

        Parameters
        ----------
        data : bytes
            Any number of ``[target, {name: value}]`` or ``[target, {name: value}, importance]``, or with an array in place of
            the map (see `learner.wire`).
        most : int, optional
            At most so many of them are learned; what follows is one rejection.
        """
        buffer = np.frombuffer(data, np.uint8)
        found: list[list[NDArray[np.float64]]] = []  # scores, losses, importances of each round
        rejections: list[Rejection] = []
        position = n_done = 0
        results = self._results
        while position < len(buffer):
            if most is not None:  # the loop stops where there is no room for results
                self._results = tuple(array[: most - n_done] for array in results)
            if n_done == most:
                self.totals[layout.REJECTED] += 1.0
                found.append([np.full((1, *results[i].shape[1:]), np.nan) for i in (0, 3, 4)])
                rejections.append(
                    Rejection(n_done, f"examples must be at most {most} at once (got more)", data[position:])
                )
                break
            start = position
            done, position, n_rows, n_bytes = self._learn(buffer, position)
            scores, all_codes, all_ends, losses, importances = self._results
            found.append([numbers[:done].copy() for numbers in (scores, losses, importances)])
            codes, ends = all_codes[:done], all_ends[:done]
            if codes.any():
                rejections += self._rejections(data, start, position, codes, ends, n_done)
            n_done += done
            if n_rows < 0:
                self.sweep()
            elif n_rows:
                self.store.reserve(n_rows, n_bytes)
        self._results = results
        found = found or [[np.zeros(0)] * 3]
        columns = found[0] if len(found) == 1 else [np.concatenate(parts) for parts in zip(*found, strict=True)]
        return Learned(columns[0], rejections, columns[1], columns[2])

    def _learn(self, buffer: NDArray[np.uint8], position: int) -> tuple[int, int, int, int]:
        found: tuple[int, int, int, int] = self._kernels.learn(
            buffer, position, len(buffer), self._loss, self._parts, self.rates, self.decays, self.penalties, self.keys,
            self.store.arrays, self.totals, self.store.sketch, self.mixer, self.newton, self.metrics, self._head,
            self._scratch, self._deriving, self._mixing, self._updating, self._scores, self._results,
        )  # fmt: skip
        return found

    # ---- bounded memory ----
    def sweep(self) -> None:
        """Drop the least useful features, a tenth of `max_features`, and with L1 those whose weights are all zero.

        A feature is as useful as its effective weight is large, on the feature's own scale, times how often it came lately:
        what it did to all scores together. Counts fade with every sweep, so that what comes no more goes.
        The constant, the dense numbers, and the parts of what stays are not dropped. The compiled loop asks for it (see
        `learner.kernels.wants_sweep`), at a moment that depends on nothing but what was learned.
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
        n_rates = len(self.rates)
        columns = [layout.HEADER + k for k in (*range(n_rates), 2 * n_rates)[: n_rates + (n_rates > 1)]]
        found: NDArray[np.bool_] = np.any(rows[:, columns] != 0, axis=1)
        return found

    def _sizes(self, slots: Any) -> NDArray[np.float64]:
        """Return the sizes of effective weights on the features' own scales; with a head, that of their columns, too."""
        sizes: NDArray[np.float64] = np.abs(self._linear_weights(slots))
        if self.head:
            columns = self.store.matrix[slots, self.head.column : self.head.column + self.head.hidden[0]].astype(
                np.float64
            )
            sizes += abs(self._mixing_weights()[self.n_experts - 1]) * np.sqrt((columns * columns).sum(axis=1))
        return sizes

    def _rejections(
        self, data: bytes, start: int, stop: int, codes: NDArray[np.int64], ends: NDArray[np.int64], first: int
    ) -> Iterator[Rejection]:
        buffer = np.frombuffer(data, np.uint8)
        for i, (code, end) in enumerate(zip(codes.tolist(), ends.tolist(), strict=True)):
            if code == layout.OK:
                start = end
                continue
            after = int(kernels.skip(buffer, start, len(buffer)))
            after = stop if after < 0 else after
            yield Rejection(first + i, self._reason(code, data, end), data[start:after])
            start = after

    @property
    def _head(self) -> tuple[NDArray[Any], ...]:
        return self.head.arrays if self.head else ()

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
                "newton": self.newton,
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
        buffer = np.frombuffer(packed, np.uint8)
        code, where, n, n_derived, score = self._kernels.predict(
            buffer, 0, len(buffer), self._parts, self.rates, self.keys, self.store.arrays, self.totals, self.mixer,
            self.newton, self._head, self._scratch, self._deriving, self._mixing, self._scores,
        )  # fmt: skip
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
        return float(self._offset + self._unit * self._predict(packed)[2])

    def prediction(self, score: float) -> float:
        """Return the prediction that goes with a score: a probability, or a number within the range of targets seen."""
        if self.loss.task != "binary":
            score = kernels.within_targets(self._loss, self.totals, score)
        return float(self.loss.link(score))

    @property
    def _unit(self) -> float:
        """What a score of 1 is in the target's units."""
        return float(kernels.unit_and_offset(self._loss, self.totals)[0])

    @property
    def _offset(self) -> float:
        return float(kernels.unit_and_offset(self._loss, self.totals)[1])

    # ---- explaining ----
    @property
    def _mixes(self) -> bool:
        return self.n_experts > 1 and not (self.head and self.head.alone)

    def _mixing_weights(self) -> NDArray[np.float64]:
        """Return the weights of the experts' plain scores; without a mixer, 1 for the last expert, which is the score."""
        if self._mixes:
            a = self.mixer[:, 0].copy()
            if self._parts & layout.BAYES:
                a[self.n_linear - 1] *= kernels.bayes_scale(self.totals)
            return a
        a = np.zeros(len(self.mixer))
        a[self.n_experts - 1] = 1.0
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
            place = self.n_experts + self.n_derived
            if self._parts & layout.NEWTON:
                score += float(self.mixer[place, 0] * self.newton[0, 0])
            place += len(self.rates) > 1
            score += float(self.mixer[place, 0])
            if self._parts & layout.TRENDS:
                trends = self.totals[layout.TREND : layout.TREND + layout.N_TRENDS]
                score += float(self.mixer[place + 1 :, 0] @ trends)
        return self._offset + self._unit * score

    def _linear_weights(self, slots: Any) -> NDArray[np.float64]:
        """Return ``sum_k a_k w_k`` of some slots, on the features' own scales; the same bits for one slot as for many."""
        a, rows = self._mixing_weights(), self.store.matrix[slots]
        n_rates, several = len(self.rates), len(self.rates) > 1
        dense = rows.view(np.uint32)[:, layout.DENSE]
        first = np.where(dense & layout.DERIVED, self.n_experts, 0)  # the experts that a row belongs to
        weights = np.zeros(len(rows))
        for k in range(n_rates + several):
            column = layout.HEADER + (k if k < n_rates else 2 * n_rates)
            weights += a[first + k] * rows[:, column].astype(np.float64)
        if self._parts & layout.BAYES:
            bayes = kernels.bayes_weights(self.totals, rows, layout.HEADER + 2 * n_rates + 2)
            weighed = dense & layout.PLACE_MASK == 0
            if self._parts & layout.SPARSE:
                weighed &= self._has_weight(rows)
            weights += np.where(weighed, a[self.n_linear - 1] * bayes, 0.0)
        return weights

    def effective_weights(self, slots: Any) -> NDArray[np.float64]:
        """Return the weights of some slots in the user's own units: what one more of the feature adds to the score."""
        rows = self.store.matrix[slots]
        scale, deviation = rows[:, layout.SCALE].astype(np.float64), rows[:, layout.DEVIATION].astype(np.float64)
        weights = self._linear_weights(slots) / np.where(scale > 0, scale, 1)
        weights += self._newton_weights(rows) / np.where(deviation > 0, deviation, 1)
        result: NDArray[np.float64] = self._unit * weights
        return result

    def _newton_weights(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the weights of the standardised numbers in the mixed score; 0 for other features."""
        place = _places(rows)
        mine = (place > 0) & (place <= layout.MAX_BINNED) & self._is_centred(rows)
        if not self._parts & layout.NEWTON or not self._mixes:
            return np.zeros(len(rows))
        a = self.mixer[self.n_experts + self.n_derived, 0]
        return np.where(mine, a * self.newton[np.where(mine, place, 0), 0], 0.0)

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
        bases, xs, us = (self._scratch[place][:n] for place in (4, 5, 6))
        given: dict[str, float] = by_name(msgpack.unpackb(packed, strict_map_key=False))
        names = [name for name, value in given.items() if abs(value) >= layout.MIN_NUMBER]
        xs[len(names) :] = 0.0  # then come the dense features that are left out of it
        names += [self.store.name(int(base) // self.store.width) for base in bases[len(names) :]]
        known = bases != kernels.MISSING
        slots = (bases[known] // np.uint64(self.store.width)).astype(np.int64)
        rows = self.store.matrix[slots]
        place = _places(rows)
        zs = self._deriving[8][np.where(place <= layout.MAX_BINNED, place, 0)]
        added = self._linear_weights(slots) * us[known] + self._newton_weights(rows) * zs
        columns = np.zeros((3, n))  # mean, weight, contribution
        columns[0, known] = np.where(self._is_centred(rows), rows[:, layout.MEAN], 0.0)
        columns[1, known] = self.effective_weights(slots)
        rest = 0.0
        if self.head:  # what the network adds: the gradient by each input times the input, and what that leaves
            weight = self._mixing_weights()[self.n_experts - 1]
            V = rows[:, self.head.column : self.head.column + self.head.hidden[0]]
            through = weight * (V @ self.head.input_gradients()) * us[known]
            rest = self._unit * (weight * self._scores[self.n_experts - 1] - float(through.sum()))
            added += through
        columns[2, known] = self._unit * added
        contributions = [Contribution(*values) for values in zip(names, xs.tolist(), *columns.tolist(), strict=True)]
        for base in self._deriving[2][:n_derived].tolist():
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


def by_name(features: Any) -> Any:
    """Return features as they came out of msgpack as a map: an array's names are its positions.

    >>> by_name(msgpack.ExtType(4, bytes([0, 0, 0, 0, 0, 0, 128, 63])))
    {'0': 0.0, '1': 1.0}
    """
    if not isinstance(features, msgpack.ExtType):
        return features
    values = memoryview(features.data).cast(ARRAY_TYPES[features.code])
    return {str(position): value for position, value in enumerate(values)}


# ---- reasons -------------------------------------------------------------------------------------------------------------
def reason(code: int, data: bytes, where: int, task: str) -> str:
    """Return a rejection in words: what, the rule, and what came."""
    name, value = msgpack_at(data, where)
    if code == layout.BAD_VALUE_FINITE and 0xC7 <= data[where] <= 0xD8:  # an array
        name, value = _bad_value(data, where)
    came = show(name) if code in (layout.BAD_TARGET, layout.BAD_IMPORTANCE) else show(value)
    targets = {
        "binary": "-1, 0, 1, true, false or one of the model's labels",
        "poisson": f"a number within [0, {layout.MAX_NUMBER:g}]",
    }.get(task, f"finite, at most {layout.MAX_NUMBER:g} in size")
    return {
        layout.BAD_FRAMING: "example must be whole msgpack (it is cut off or malformed)",
        layout.BAD_EXAMPLE: f"example must be [target, features] or [target, features, importance] (got {show(name)})",
        layout.BAD_TARGET: f"target must be {targets} (got {came})",
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
    end = int(kernels.skip(np.frombuffer(data, np.uint8), where, len(data)))
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
