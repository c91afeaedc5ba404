"""The mixture: several experts over one weight dict, and the mixer that combines them into one linear model.

Every example updates the same features under several experts, which share the lookup and the cache line: two AdaGrad learners
with different rates, a Kalman filter that keeps a variance for each weight, and (for two classes) naive Bayes. The mixer, a
small Kalman filter, learns how to combine the experts' **scores**. So the model stays linear in the features: the effective
weight of a feature is ``w = sum_k a_k w_k`` on the feature's own scale, and explanations add up exactly.

The model also *derives* features from those of the example: bins of numbers, cells of two numbers, pairs of the most frequent
features, and for numeric targets pairs of a bin and a frequent feature. They have rows and names like other features ("carat in
[0.7, 0.9)", "carrier=UA and origin=EWR"), and separate experts that are trained on the residual. If outcomes
come at once, recent means of the targets are inputs of the mixer, too.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from learner import kernels, layout
from learner.kernels import experts, mixer, records
from learner.learners import ahead
from learner.learners.ahead import NO_BLOCK, Block
from learner.learners.held import Held
from learner.learners.linear import LinearLearner, names_of
from learner.learners.neural import NeuralHead
from learner.learners.protocol import NO_EXAMPLES, Contribution
from learner.learners.weights import WeightDict

if TYPE_CHECKING:
    from learner.spec import Spec

__all__ = ["NETWORK_NAME", "Mixture"]

FIRST_WEIGHT = 0.1  # the initial mixing weight of every expert but the head
MIXING_VARIANCE = 0.1  # the initial variance of the mixing weights; an expert may set its own
NUMBERS = ("regression", "quantile")  # the tasks that derive pairs of a bin and a frequent feature
NETWORK_NAME = "(network)"  # in explanations: a neural head's score minus its gradient times its inputs


class Mixture(LinearLearner):
    """A linear learner of several experts, mixed by how well each has predicted; one rate without a head isn't mixed.

    Parameters
    ----------
    spec : Spec
        The loss, rates and decays, parts, penalties and head.
    weight_dict, of_class
        See `LinearLearner`.

    Attributes
    ----------
    head : NeuralHead or None
        One more expert, whose mixing weight starts at 0; or, if the spec says so, the only expert.
    mixer, dense_filter, interactions : float64 arrays
        See `learner.layout`; in the state, the dense filter is called ``newton``.
    """

    def __init__(self, spec: "Spec", weight_dict: WeightDict | None = None, of_class: int = 0) -> None:
        n_rates = len(spec.rates)
        self.head = None if spec.network is None else NeuralHead(spec.network, n_rates, spec.seed)
        self.places = mixer.places(n_rates, 1 if self.head else 0)
        width = experts.row_width(n_rates, self.head.size if self.head else 0)
        super().__init__(spec, width, Held(self.places.end), weight_dict, of_class)
        self._kernels: Any = self.head.kernels if self.head else kernels
        self._parts = self._part_bits()
        self._settings = (
            (self.loss.code, spec.level), self.task_code, self._parts, spec.rates, np.array(spec.decays, np.float32),
            spec.l1, spec.l2, (0,) * (self.weight_dict.width // layout.LINE),
        )  # fmt: skip
        self.mixer = np.hstack([np.zeros((self.places.end, 1)), MIXING_VARIANCE * np.eye(self.places.end)])
        self.mixer[0, 0] = 1.0
        if n_rates > 1:
            self.mixer[: self.places.head, 0] = FIRST_WEIGHT
            self.mixer[self.places.derived : self.places.one, 0] = FIRST_WEIGHT
            for k, expert in enumerate(experts.EXPERTS, n_rates):
                self.mixer[k, 1 + k] = expert.MIXING_VARIANCE
        n_inputs = 1 + layout.MAX_BINNED
        self.dense_filter = np.hstack([np.zeros((n_inputs, 1)), np.eye(n_inputs)])
        self.interactions = np.zeros((n_inputs + layout.MAX_SWITCHES, n_inputs))
        self.samples = self.weight_dict.samples[0]

    def _part_bits(self) -> int:
        """Return the parts as bits, for the loops."""
        bits = sum(layout.PARTS[part] for part in self.spec.parts if part != "bayes" or self.loss.task == "binary")
        bits |= layout.SPARSE if self.spec.l1 else 0
        bits |= layout.LATE if self.spec.outcomes == "late" else 0
        if self.loss.task in NUMBERS and {"cells", "crosses"} <= set(self.spec.parts):
            bits |= layout.MIXED
        return bits | (layout.ALONE if self.head and self.head.alone else 0)

    @property
    def plain(self) -> tuple[Any, ...]:
        """The argument of the loops: a `learner.kernels.records.Learner` as plain tuples."""
        state = (
            self.totals, self.mixer, self.dense_filter, self.interactions, self.metrics, self.samples, self.held.plain
        )  # fmt: skip
        return self._settings, self.keys, self.weight_dict.arrays, state, self.head.arrays if self.head else ()

    @property
    def settings(self) -> tuple[Any, ...]:
        """A `learner.kernels.records.Settings` as a plain tuple."""
        return self._settings

    def warm(self) -> None:
        """Compile the loops, or load them from disk."""
        self._learn(NO_EXAMPLES, 0, True, NO_BLOCK, records.results())
        ahead.scan(NO_EXAMPLES, 0, 0, self.task_code, self.weight_dict, NO_BLOCK)
        self.score_packed(b"\x80")
        self.effective_weights(slice(0))
        self.weight_dict.warm()

    # ---- learning and scoring ----
    def _learn(
        self, buffer: NDArray[np.uint8], position: int, holds_back: bool, block: Block, results: records.Results
    ) -> tuple[int, int, int, int]:
        done, position, n_rows, n_bytes, _ = self._kernels.learn(
            buffer, position, holds_back, self.plain, records.plain_work(), block, tuple(results)
        )
        return done, position, n_rows, n_bytes

    def _measure(self, buffer: NDArray[np.uint8], position: int, results: records.Results) -> tuple[int, int]:
        done, position = self._kernels.measure(buffer, position, self.plain, records.plain_work(), tuple(results))
        return done, position

    def _score(self, packed: bytes) -> tuple[int, int, float]:
        code, where, n, n_derived, score = self._kernels.predict(
            np.frombuffer(packed, np.uint8), self.plain, records.plain_work()
        )
        if code != layout.OK or where != len(packed):
            raise self._fault(code, packed, where)
        unit, offset = self.unit_and_offset
        return n, n_derived, float(offset + unit * score)

    # ---- weights ----
    @property
    def _mixes(self) -> bool:
        return (len(self.spec.rates) > 1 or self.head is not None) and not self._parts & layout.ALONE

    @property
    def _experts(self) -> list[tuple[int, Any]]:
        """The experts other than AdaGrad's that are switched on, with the places of their scores."""
        places = enumerate(experts.EXPERTS, len(self.spec.rates))
        return [(place, expert) for place, expert in places if self._parts & expert.PART]

    def _mixing_weights(self) -> NDArray[np.float64]:
        """Return the weights of the experts' raw scores; without a mixer, the last expert's score counts with weight 1."""
        if self._mixes:
            a = self.mixer[:, 0].copy()
            for place, expert in self._experts:
                a[place] *= expert.scale(self.totals)
            return a
        a = np.zeros(len(self.mixer))
        a[self.places.derived - 1] = 1.0
        return a

    def constant(self) -> float:
        """Return what is added to every score: the constant's weight, the dense filter's constant, and the trends."""
        slot = self.constant_slot
        score = 0.0 if slot is None else float(self._linear_weights(slice(slot, slot + 1))[0])
        if self._mixes:
            if self._parts & layout.DENSE_FILTER:
                score += float(self.mixer[self.places.dense_filter, 0] * self.dense_filter[0, 0])
            score += float(self.mixer[self.places.one, 0])
            if self._parts & layout.TRENDS:
                trends = self.totals[layout.TREND : layout.TREND + layout.N_TRENDS]
                score += float(self.mixer[self.places.trends :, 0] @ trends)
        unit, offset = self.unit_and_offset
        return offset + unit * score

    def _linear_weights(self, slots: Any) -> NDArray[np.float64]:
        """Return ``sum_k a_k w_k`` of some slots on the features' scales; a slot gives the same bits alone or in a batch."""
        a, rows = self._mixing_weights(), self.weight_dict.matrix[slots]
        n_rates = len(self.spec.rates)
        derived = rows.view(np.uint32)[:, layout.DENSE] >= layout.DERIVED
        silent = np.zeros(len(rows), np.bool_)
        if self._parts & layout.SPARSE:
            silent = self.is_silent(rows)
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
        """Return the weights of some slots in the user's units: the change of the score when the value grows by 1."""
        rows = self.weight_dict.matrix[slots]
        scale, deviation = rows[:, layout.SCALE].astype(np.float64), rows[:, layout.DEVIATION].astype(np.float64)
        weights = self._linear_weights(slots) / np.where(scale > 0, scale, 1)
        weights += self._dense_filter_weights(rows) / np.where(deviation > 0, deviation, 1)
        result: NDArray[np.float64] = self.unit_and_offset[0] * weights
        return result

    def _dense_filter_weights(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the dense filter's weights in the mixed score, for standardised values; 0 for features that it doesn't see."""
        place = _places(rows)
        is_filtered = (place > 0) & (place <= layout.MAX_BINNED) & self._is_centred(rows)
        if not self._parts & layout.DENSE_FILTER or not self._mixes:
            return np.zeros(len(rows))
        a = self.mixer[self.places.dense_filter, 0]
        return np.where(is_filtered, a * self.dense_filter[np.where(is_filtered, place, 0), 0], 0.0)

    def _is_centred(self, rows: NDArray[np.float32]) -> NDArray[np.bool_]:
        count = rows.view(np.uint32)[:, layout.COUNT]
        is_said = rows.view(np.uint32)[:, layout.DENSE] & layout.SAID != 0
        is_dense = is_said | (count > 0.5 * self.totals[layout.EXAMPLES])
        centred: NDArray[np.bool_] = (rows[:, layout.DEVIATION] > 0) & is_dense
        return centred

    def has_weight(self, rows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return, for each of some rows, whether it weighs anything: the head by its column, other experts by gradients."""
        is_silent = self.is_silent(rows)
        return np.any(self.head.columns_of(rows) != 0, axis=1) | ~is_silent if self.head else ~is_silent

    def is_silent(self, rows: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return, for each of some rows, whether all experts that learn by gradients, the head apart, weigh it exactly zero."""
        silent: NDArray[np.bool_] = np.all(rows[:, experts.gradient_columns(len(self.spec.rates))] == 0, axis=1)
        return silent

    def effects(self, slots: Any) -> NDArray[np.float64]:
        """Return the sizes of the weights on the features' own scales; with a head, plus the norms of its columns, weighted."""
        sizes: NDArray[np.float64] = np.abs(self._linear_weights(slots))
        if self.head:
            columns = self.head.columns_of(self.weight_dict.matrix[slots]).astype(np.float64)
            sizes += abs(self._mixing_weights()[self.places.head]) * np.sqrt((columns * columns).sum(axis=1))
        return sizes

    # ---- explaining ----
    def _contributions(self, packed: bytes, n: int, n_derived: int) -> list[Contribution]:
        """Return what each feature of the last scored map adds to its score, unsorted.

        With a neural head a feature's contribution includes the gradient of the network's score by its value, times the
        value. The rest of the network's score is listed as `NETWORK_NAME`.
        """
        work = records.work()
        bases, values, scaled = work.features.bases[:n], work.features.values[:n], work.features.scaled[:n]
        names = names_of(packed)
        # the example's own features are followed by the dense features that are missing, or that it leaves out
        names += [self.weight_dict.name(int(base) // self.weight_dict.width) for base in bases[len(names) :]]
        known = bases != kernels.MISSING
        slots = (bases[known] // np.uint64(self.weight_dict.width)).astype(np.int64)
        rows = self.weight_dict.matrix[slots]
        place = _places(rows)
        standardized = work.derived.standardized[np.where(place <= layout.MAX_BINNED, place, 0)]
        score_parts = self._linear_weights(slots) * scaled[known] + self._dense_filter_weights(rows) * standardized
        columns = np.zeros((3, n))  # mean, weight, contribution
        means = rows[:, layout.MEAN]
        values[known] = np.where(np.isnan(values[known]), means, values[known])
        columns[0, known] = np.where(self._is_centred(rows), means, 0.0)
        columns[1, known] = self.effective_weights(slots)
        unit, rest = self.unit_and_offset[0], 0.0
        if self.head:
            weight = self._mixing_weights()[self.places.head]
            through_head = weight * (self.head.columns_of(rows) @ self.head.input_gradients()) * scaled[known]
            rest = unit * (weight * work.scores[self.places.head] - float(through_head.sum()))
            score_parts += through_head
        columns[2, known] = unit * score_parts
        contributions = [
            Contribution(*numbers) for numbers in zip(names, values.tolist(), *columns.tolist(), strict=True)
        ]
        derived = work.derived.bases[:n_derived].tolist(), work.derived.values[:n_derived].tolist()
        for base, value in zip(*derived, strict=True):
            if base != int(kernels.MISSING):
                slot = base // self.weight_dict.width
                weight = float(self.effective_weights(slice(slot, slot + 1))[0])
                contributions.append(Contribution(self.weight_dict.name(slot), value, 0.0, weight, weight * value))
        if self.head:
            contributions.append(Contribution(NETWORK_NAME, 1.0, 0.0, rest, rest))
        constant = self.constant()
        return [*contributions, Contribution(layout.CONSTANT_NAME, 1.0, 0.0, constant, constant)]

    # ---- the head, and the state ----
    def gradient_norms(self) -> dict[str, float]:
        """Return the root mean square norms of the head's recent gradients, by layer; {} without a head."""
        return self.head.layer_norms() if self.head else {}

    def gradient_warning(self) -> str:
        """Return a warning about vanishing or exploding gradients, or ""."""
        return self.head.warning() if self.head else ""

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return the learned state by name, without the rows and the names of features."""
        arrays: dict[str, NDArray[Any]] = {
            "totals": self.totals,
            "mixer": self.mixer,
            "newton": self.dense_filter,
            "interactions": self.interactions,
            "samples": self.weight_dict.samples,
            "metrics": self.metrics,
        }
        if self.head:
            arrays |= {"network": self.head.network, "norms": self.head.norms}
        return arrays | self.weight_dict.of_cap


def _places(rows: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return the rows' places among the dense features, from 1; 0 for other features."""
    words = rows.view(np.uint32)[:, layout.DENSE]
    return np.where(words >= layout.DERIVED, 0, words & layout.PLACE_MASK).astype(np.int64)
