"""The learner once more, slow and obvious: dicts, lists and float64, to hold the compiled loops against.

The formulas are those of the docstrings in `learner.losses`, `learner.kernels` and `learner.learners.mixture`; nothing of them
is imported. There are no fast paths: an indicator goes the way of any number, a feature keeps the sum of its squared
deviations rather than the standard deviation, and the root of the logistic step is found by bisection. A derived
feature's name is a tuple. Held examples are never so wide that their features' number matters.
"""

import bisect
import itertools
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

CONSTANT = "(constant)"
MAX_BINNED, MAX_SWITCHES, N_PAIRS, N_CROSSED = 64, 31, 15, 4
NO_RANK = (math.sqrt(5.0) - 1.0) / 2.0  # r^2 + r - 1 is 0
PRODUCT = -1  # in the place of a bin
N_SAMPLES, N_BINS, N_CELL_BINS = 100, 24, 8
EVERY_PART = ("kalman", "bayes", "newton", "trends", "bins", "cells", "crosses")
MAX_SHORT, MAX_LONG, HELD_SHARE, LONG_SHARE, SETTLED = 128, 256, 24, 4, 4096
GOLDEN = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio

BINARY = ("logistic", "hinge")
STANDARDISED = ("squared", "quantile")


# ---- losses ----------------------------------------------------------------------------------------------------------
def sigmoid(s: float) -> float:
    return 1.0 / (1.0 + math.exp(-s)) if s >= 0.0 else math.exp(s) / (1.0 + math.exp(s))


def slope_of(loss: str, s: float, y: float, level: float) -> float:
    """d loss / d score."""
    if loss == "quantile":
        return 0.0 if s == y else 1.0 - level if s > y else -level
    if loss == "poisson":
        return 2.0 * (rate_of(s) - y)
    if loss == "squared":
        return 2.0 * (s - y)
    if loss == "logistic":
        return -y * sigmoid(-y * s)
    return -y if y * s < 1.0 else 0.0


def rate_of(s: float) -> float:
    return math.exp(clip(s, 32.0))


def step_of(loss: str, s: float, y: float, q: float, importance: float, level: float) -> float:
    """How far following the gradient over a distance ``q importance`` moves the score, divided by q."""
    d = q * importance
    if loss == "quantile":
        return (min(level * d, y - s) if y > s else -min((1.0 - level) * d, s - y)) / q
    if loss == "poisson":  # z = e^-s follows dz/dt = 2 (1 - y z)
        z = math.exp(-s)
        z = z + 2.0 * d if y == 0.0 else 1.0 / y + (z - 1.0 / y) * math.exp(-2.0 * y * d)
        return (-math.log(z) - s) / q
    if loss == "squared":
        return (y - s) * -math.expm1(-2.0 * d) / q
    if loss == "logistic":
        return y * logistic_move(y * s, d) / q
    return y * min(d, max(0.0, 1.0 - y * s)) / q


def logistic_move(v0: float, d: float) -> float:
    """The m for which ``m + e^v0 (e^m - 1) = d``: with v1 = v0 + m, that is ``v1 + e^v1 = v0 + e^v0 + d``."""
    low, high = 0.0, min(d, math.log1p(d * math.exp(-v0)))
    for _ in range(100):
        m = 0.5 * (low + high)
        low, high = (m, high) if m + math.exp(v0) * math.expm1(m) < d else (low, m)
    return 0.5 * (low + high)


# ---- the learner -----------------------------------------------------------------------------------------------------
@dataclass
class Feature:
    """What is kept of a feature: its values' statistics, and what each expert keeps."""

    scale: float  # S
    mean: float  # mu
    weights: list[float]
    squares: list[float]  # G
    variance_of_weight: float
    count: int = 1  # n
    deviations: float = 0.0  # M2
    kalman: float = 0.0
    has: float = 0.0  # importance of the positive examples that had it
    lacks: float = 0.0  # of the negative ones
    place: int | None = None  # among the dense ones: it was centred once, and counts with 0 where it is left out
    sample: list[float] = field(default_factory=list)  # its first values since then
    said: bool = False  # whether an example without it said that it is missing

    @property
    def variance(self) -> float:
        return self.deviations / self.count

    def bin_of(self, x: float, n_bins: int) -> int:
        bounds = [sorted(self.sample)[j * N_SAMPLES // n_bins] for j in range(1, n_bins)]
        return bisect.bisect_right(bounds, np.float32(x))

    @property
    def n_bounds(self) -> int:
        """How many of the finest bins' bounds differ, from one another and from the smallest value."""
        ordered = sorted(self.sample)
        return len({ordered[j * N_SAMPLES // N_BINS] for j in range(1, N_BINS)} - {ordered[0]})


class Filter:
    """An extended Kalman filter over weights and all their covariances."""

    def __init__(self, weights: list[float], variances: list[float]) -> None:
        self.weights = weights
        self.covariance = [[v if i == j else 0.0 for j in range(len(weights))] for i, v in enumerate(variances)]

    def score(self, v: list[float]) -> float:
        return sum(a * x for a, x in zip(self.weights, v, strict=False))

    def update(self, v: list[float], error: float, curvature: float) -> None:
        a, P, indices = self.weights, self.covariance, range(len(v))
        Pv = [sum(P[i][j] * v[j] for j in indices if v[j]) for i in indices]
        gain = 1.0 / (1.0 + curvature * sum(v[i] * Pv[i] for i in indices))
        for i in indices:
            a[i] += Pv[i] * error * gain
            for j in indices:
                P[i][j] -= curvature * Pv[i] * Pv[j] * gain
            if P[i][i] < 1.0:
                P[i][i] *= 1.00002


class Importances:
    """Importances relative to the mean of all so far that are above 0."""

    def __init__(self) -> None:
        self.n, self.total = 0, 0.0

    def relative(self, importance: float) -> float:
        """Count an importance, and return it relative to the mean, with itself in the mean."""
        if not importance:
            return 0.0
        self.n += 1
        self.total += importance
        return importance * self.n / self.total


class Pools:
    """The two pools of held examples, and the draws from them; ``key`` is the hash of the constant's name."""

    def __init__(self, key: int) -> None:
        self.key, self.n_arrived = key, 0
        self.short: list[Any] = []
        self.long: list[Any] = []

    def draw(self) -> int:
        return spread(spread(self.key + self.n_arrived) + len(self.short) + len(self.long))

    def arrive(self, example: Any) -> None:
        """Hold an example in one of the pools."""
        (self.short if self.draw() % LONG_SHARE else self.long).append(example)
        self.n_arrived += 1

    def leaving(self, holds_back: bool = True) -> Iterator[tuple[Any, bool]]:
        """Take out what should be learned now: yield examples, each with whether it was in the short pool."""
        while True:
            most = self.n_arrived // HELD_SHARE if holds_back else 0
            if len(self.short) > min(most, MAX_SHORT):
                pool = self.short
            elif len(self.long) > min(most, MAX_LONG):
                pool = self.long
            else:
                return
            chosen = self.draw() % len(pool)
            pool[chosen], pool[-1] = pool[-1], pool[chosen]
            yield pool.pop(), pool is self.short


def spread(h: int) -> int:
    """Return the hash of a number of 64 bits."""
    h %= 1 << 64
    h = (h ^ h >> 32) * GOLDEN % (1 << 64)
    return h ^ h >> 32


@dataclass
class Scored:
    """An example and what was made of it: its features, target and importance as learned, and its scores."""

    features: dict[str, float]
    y: float
    importance: float  # relative
    us: dict[str, float]
    zs: list[float]
    derived: dict[tuple[tuple[str, int], ...], float]
    score: float
    inputs: list[float]  # of the mixer
    admits: bool = True  # whether its new features are learned: one class of many may not
    settled: bool = False  # whether it is learned with the values and derived features of its arrival


class Reference:
    """The sparse linear learner, one example at a time; with a key, examples are held, and learned in random order.

    ``of_class`` says that it learns one class of many.
    """

    def __init__(
        self,
        loss: str,
        rates: list[float],
        decays: list[float],
        parts: Collection[str] = EVERY_PART,
        level=0.5,
        l1: float = 0.0,
        l2: float = 0.0,
        key: int | None = None,
        of_class: bool = False,
    ) -> None:
        self.of_class = of_class
        self.importances, self.pools = Importances(), None if key is None else Pools(key)
        self.loss, self.rates, self.decays, self.level, self.l1, self.l2 = loss, rates, decays, level, l1, l2
        self.parts = {part for part in parts if len(rates) > 1 and (part != "bayes" or loss in BINARY)}
        self.features: dict[str, Feature] = {}  # in order of first update, the constant first
        self.derived: dict[tuple[tuple[str, int], ...], Feature] = {}  # ((name, bin from 1 or 0), ...)
        self.order: list[str | tuple[tuple[str, int], ...]] = []  # of first update
        self.dense: list[str] = []  # in order of place
        self.promoted: list[
            tuple[str, bool]
        ] = []  # that become dense after the example at hand, or are said to be missing
        n = len(rates)
        self.mixer = Filter([0.1] * (2 * n + 4) + [0.0] * 4, [0.1] * (n + 1) + [5.0] + [0.1] * (n + 6))
        self.gains: dict[str, dict[tuple[str, str], float]] = {"product": {}, "cell": {}}  # by kind and pair
        self.chosen: dict[str, list[tuple[str, str]]] = {"product": [], "cell": []}
        self.error_squares, self.n_errors, self.mean_error = 0.0, 0, 0.0  # of the filter over the numbers
        self.switches: dict[str, float] = {}  # their shares of the examples
        self.on: set[str] = set()  # the switches of the example at hand
        self.ranks: dict[str, float] = {}  # of its numbers
        self.newton = Filter([0.0] * (1 + MAX_BINNED), [1.0] * (1 + MAX_BINNED))
        self.trends = [0.0, 0.0, 0.0]
        self.bayes_squares = 0.0
        self.n_examples = 0
        self.scale_sum = 0.0  # N
        self.derived_sum = 0
        self.importance_sum = 0.0
        self.residual_sum = 0.0
        self.targets: list[tuple[float, float]] = []  # (target as learned, importance)
        self.positive, self.negative = 1.0, 1.0  # importances of the positive and of the negative examples, and 1
        self.first: list[tuple[float, float]] = []  # the first targets as they came, and their importances
        self.size = 0.0  # of the residuals that are not rare
        self.low_distance, self.high_distance = 0.0, 0.0

    # ---- the targets that are numbers ----
    def credible(self, s: float, y: float, importance: float) -> float:
        """Return the target to learn for a prediction; follow the size of the residuals. Those of counts are of the roots."""
        if self.n_examples < 8:
            return self.among_first(y, importance)
        if not importance or not (self.loss == "poisson" or any(k for _, k in self.targets)):
            return y
        value, s = self.root(y), self.root(s)
        deviation = 1.0 if self.loss == "poisson" else self.unit
        self.size = max(self.size, 1.0) if self.loss == "poisson" else self.size
        size = self.follow_size(abs(value - s), deviation, importance)
        least = 0.0 if self.loss == "poisson" else deviation
        if abs(value - s) <= max(3.0 * size, least):
            return y
        return self.squared_root(s + math.copysign(size, value - s))

    def follow_size(self, residual: float, deviation: float, importance: float) -> float:
        """Return the size that a residual is compared with; update it. A negative one is a residual that waits."""
        size, n = self.size, self.n_examples
        if size > 0.0:
            rise = size if residual > size else -size * math.log(2.0) / min(10.0 + n / 2.0, 500.0)
            self.size += min(importance, 1.0) * rise
            return size
        if residual > deviation:
            self.size = min(-size, residual) if size else -residual
        elif not size:
            self.size = residual
        return max(self.size, 0.0)

    def among_first(self, y: float, importance: float) -> float:
        """Return a target to learn, one of the first, and judge all others of them again."""
        self.first.append((y, importance))
        values = sorted(self.root(y) for y, importance in self.first if importance)
        n = len(values)
        median = values[(n - 1) // 2] if n else 0.0
        distances = sorted(abs(value - median) for value in values)
        spread = distances[n // 2] if n else 0.0
        if n >= 3 and not spread:  # more than half are equal
            others = [d for d in distances if d]
            spread = others[0] if len(others) > 1 or (n == 3 and others) else 0.0
        spread = max(spread, 1.0) if self.loss == "poisson" else spread
        judged = []
        for y, importance in self.first:
            difference = self.root(y) - median
            if importance and abs(difference) > 10.0 * spread:
                y = self.squared_root(median + math.copysign(spread, difference))
            judged.append((y, importance))
        *self.targets, (y, _) = judged
        if len(self.first) == 8:
            self.size = max((d for d in distances if d <= 10.0 * spread), default=0.0)
        return y

    def root(self, y: float) -> float:
        """Return the root of a count; another number as it is."""
        return math.sqrt(y) if self.loss == "poisson" else y

    def squared_root(self, value: float) -> float:
        """Return the target with a `root`."""
        return max(value, 0.0) ** 2 if self.loss == "poisson" else value

    def within_targets(self, s: float) -> float:
        """Return a score moved into the range of the targets; a regression's approaches the ends exponentially."""
        seen = [y for y, importance in self.targets if importance] or [0.0]
        low, high = min(seen), max(seen)
        near_low, near_high = (min(d, 0.5 * (high - low)) for d in (self.low_distance, self.high_distance))
        if self.loss == "squared" and s < low + near_low:
            return low + near_low * math.exp((s - low - near_low) / near_low) if near_low else low
        if self.loss == "squared" and s > high - near_high:
            return high - near_high * math.exp((high - near_high - s) / near_high) if near_high else high
        return min(max(s, low), high)

    def observe_edges(self, s: float, y: float, importance: float) -> None:
        """Follow the distances of the targets from the ends of the range, for scores beyond these."""
        seen = [y for y, importance in self.targets if importance] or [0.0]
        share = 1.0 - 0.98**importance
        if s < min(seen):
            self.low_distance += share * (max(y - min(seen), 0.0) - self.low_distance)
        if s > max(seen):
            self.high_distance += share * (max(max(seen) - y, 0.0) - self.high_distance)

    @property
    def mean(self) -> float:
        """The mean of the targets seen."""
        total = sum(importance for _, importance in self.targets)
        return sum(y * importance for y, importance in self.targets) / total if total else 0.0

    @property
    def expected(self) -> float:
        """The mean of the counts seen and of a 1."""
        total = sum(importance for _, importance in self.targets)
        return (self.mean * total + 1.0) / (total + 1.0)

    @property
    def offset(self) -> float:
        if self.loss == "poisson":
            return math.log(self.expected)
        return self.mean if self.loss in STANDARDISED else 0.0

    @property
    def unit(self) -> float:
        """Their standard deviation; 1 while there is none."""
        if self.loss not in STANDARDISED:
            return 1.0
        total, mean = sum(importance for _, importance in self.targets), self.offset
        squares = sum(importance * (y - mean) ** 2 for y, importance in self.targets)
        return math.sqrt(squares / total) if squares else 1.0

    # ---- from values to scores ----
    def with_missing(self, features: dict[str, float]) -> dict[str, float]:
        """Return features, and those dense ones that are said to be missing, as NaN."""
        said = [name.removesuffix("_missing") for name, x in features.items() if name.endswith("_missing") and x]
        return features | {name: math.nan for name in said if name not in features and self.is_number(name)}

    def is_number(self, name: str) -> bool:
        """Whether this is a number that most examples have, or say that it is missing."""
        f, missing = self.features.get(name), self.features.get(f"{name}_missing")
        if f is None or name in self.dense:
            return f is not None
        return (
            missing is not None
            and f.count >= 8
            and f.variance > 0.0
            and f.count + missing.count > 0.5 * self.n_examples
        )

    def is_dense(self, f: Feature) -> bool:
        """Whether a number is centred."""
        return f.variance > 0.0 and (f.said or f.count > 0.5 * self.n_examples)

    def bring(self, name: str, x: float, learning: bool) -> tuple[float, float, float]:
        """Return a value on its feature's own scale, u in [-1, 1], the value itself, clipped, and z of a dense one."""
        f = self.features.get(name)
        if f is None:
            return math.copysign(1.0, x), x, 0.0
        variance = f.variance
        if math.isnan(x):  # missing
            u = 0.0 if self.is_dense(f) else clip(f.mean / f.scale, 1.0)
            if learning and variance > 0.0 and not f.said:
                self.promoted.append((name, True))
            return u, x, 0.0
        left_out = x == 0.0
        if f.count > 8 and not left_out:  # a rare huge value must not stretch the scale
            x = clip(x, abs(f.mean) + 15.0 * math.sqrt(variance) if variance > 0.0 else 4.0 * abs(f.mean))
        v, z = x, 0.0
        if self.is_dense(f):  # centred, by the mean before this value
            v = x - f.mean
            if f.count >= 8 and f.place is None and learning:
                self.promoted.append((name, False))
            if f.place is not None:
                z = clip(v / math.sqrt(variance), 8.0)
        scale = f.scale
        if abs(v) > scale:
            scale = 2.0 * scale if scale > 0.0 and f.count > 8 and abs(v) > 2.0 * scale else abs(v)
        if learning and left_out:
            f.scale = scale
        elif learning:
            f.count += 1
            delta = x - f.mean
            f.mean += delta / f.count
            f.deviations += delta * (x - f.mean)
            f.scale = scale
        return clip(v / scale, 1.0), x, z

    def look_at(self, features: dict[str, float], learning: bool) -> tuple[dict[str, float], list[float], dict]:
        """Return u for every feature, the constant last; 1 and z by place; and the values of the derived features."""
        us, zs, values = {}, [1.0] + [0.0] * MAX_BINNED, {}
        given = {name: x for name, x in features.items() if not abs(x) < 1e-30}
        frequent = max(30.0, 0.01 * self.n_examples)
        counts = {name: self.features[name].count for name in given if name in self.features}
        tops = [name for name, n in counts.items() if n >= frequent and self.features[name].place is None]
        tops = sorted(tops, key=lambda name: -counts[name])[:N_CROSSED]
        left_out = [
            name
            for name in self.dense
            if name not in given
            and self.features[name].count > 0.5 * self.n_examples
            and self.features[name].variance > 0
        ]
        self.on = {name for name, x in given.items() if self.is_switch(name, x, learning)}
        for name, x in [*given.items(), *((name, 0.0) for name in left_out)]:
            us[name], values[name], z = self.bring(name, x, learning)
            place = self.features[name].place if name in self.features else None
            if place is not None and place <= MAX_BINNED:
                zs[place] = z
        us[CONSTANT] = 1.0
        return us, zs, self.derive(values, zs, tops, learning) if len(self.rates) > 1 else {}

    def is_switch(self, name: str, x: float, learning: bool) -> bool:
        """Whether this is a switch; a feature becomes one after an example, if enough have it and enough do not."""
        f = self.features.get(name)
        is_number = f is None or f.place is not None or f.variance != 0.0 or np.float32(x) != np.float32(f.mean)
        if is_number or not self.dense or "cells" not in self.parts:
            return False
        if name in self.switches:
            return True
        margin = 0.05 * self.n_examples
        room = learning and f.count >= 30 and len(self.switches) < MAX_SWITCHES
        if room and margin < f.count < self.n_examples - margin:
            self.switches[name] = f.count / self.n_examples
        return False

    def derive(
        self, values: dict[str, float], zs: list[float], tops: list[str], learning: bool
    ) -> dict[tuple[tuple[str, int], ...], float]:
        """Return the values of the derived features."""
        found: dict[tuple[tuple[str, int], ...], float] = {}
        self.ranks.clear()
        for place, name in enumerate(self.dense[:MAX_BINNED], 1):
            f, x = self.features[name], values.get(name, 0.0)
            self.ranks[name] = clip(zs[place], 3.0) if zs[place] else NO_RANK
            if math.isnan(x):
                continue
            if len(f.sample) < N_SAMPLES:
                if learning:
                    f.sample.append(float(np.float32(x)))
            elif "bins" in self.parts and f.n_bounds > 1:
                found[((name, 1 + f.bin_of(x, N_BINS)),)] = 1.0
                if zs[place] and f.n_bounds >= N_BINS // 2:
                    self.ranks[name] = (f.bin_of(x, N_BINS) - 11.5) / math.sqrt((N_BINS**2 - 1) / 12.0)
        for pair in self.chosen["cell"]:
            parents = [self.features[name] for name in pair]
            if any(math.isnan(values.get(name, 0.0)) for name in pair):
                continue
            if all(len(f.sample) == N_SAMPLES and f.n_bounds > 0 for f in parents):
                bins = [1 + self.features[name].bin_of(values.get(name, 0.0), N_CELL_BINS) for name in pair]
                found[tuple(zip(pair, bins, strict=True))] = 1.0
        for name, other in self.chosen["product"]:
            z = clip(zs[self.dense.index(other) + 1], 3.0)
            if name in self.on:
                found[((name, PRODUCT), (other, PRODUCT))] = clip(z / 2.0, 1.0)
            elif name not in self.switches:
                z *= clip(zs[self.dense.index(name) + 1], 3.0)
                found[((name, PRODUCT), (other, PRODUCT))] = clip(z / 4.0, 1.0)
        if "crosses" in self.parts:
            order = {name: i for i, name in enumerate(self.features)}
            for i, j in itertools.product(range(len(tops)), repeat=2):
                if j < i:
                    first, second = sorted([tops[i], tops[j]], key=order.__getitem__)
                    found[((first, 0), (second, 0))] = 1.0
        if {"cells", "crosses"} <= self.parts and self.loss in STANDARDISED:
            for name in [name for name in self.dense[:MAX_BINNED] if not self.has_gone(name)][:3]:
                f = self.features[name]
                x = values.get(name, 0.0)
                if not math.isnan(x) and len(f.sample) == N_SAMPLES and f.n_bounds > 0:
                    mine = (name, 1 + f.bin_of(x, N_CELL_BINS))
                    found |= {(mine, (top, 0)): 1.0 for top in tops}
        return found

    def has_gone(self, name: str) -> bool:
        """Whether a dense feature no longer comes often enough."""
        return self.features[name].count < 0.4 * self.n_examples

    def exchange_places(self) -> None:
        """Give the binned places of features that have gone to features beyond, which start anew there."""
        come = iter([name for name in self.dense[MAX_BINNED:] if not self.has_gone(name)])
        gone = [name for name in self.dense[:MAX_BINNED] if self.has_gone(name)]
        pairs = list(zip(gone, come, strict=False))
        for old, new in pairs:
            place, other = self.features[old].place, self.features[new].place
            self.dense[place - 1], self.dense[other - 1] = new, old
            self.features[new].place, self.features[old].place = place, other
            self.features[new].sample = []
            for gains in self.gains.values():
                for pair in [pair for pair in gains if old in pair]:
                    del gains[pair]
            for row in self.newton.covariance:
                row[place] = 0.0
            self.newton.covariance[place] = [1.0 if i == place else 0.0 for i in range(1 + MAX_BINNED)]
            self.newton.weights[place] = 0.0
        if pairs and self.n_errors >= 128:
            self.choose_pairs()

    def bayes_weight(self, name: str) -> float:
        f = self.features[name]
        if (
            name == CONSTANT
            or f.place is not None
            or f.has + f.lacks == 0.0
            or (self.l1 and not any([*f.weights, f.kalman]))
        ):
            return 0.0
        positive, negative = self.positive, self.negative
        p = positive / (positive + negative)
        return math.log((f.has + p) / (f.lacks + 1.0 - p)) - math.log(positive / negative)

    @property
    def bayes_scale(self) -> float:
        return 1.0 / math.sqrt(1.0 + self.bayes_squares / max(self.importance_sum, 1.0))

    def score(self, us: dict[str, float], zs: list[float], derived: dict) -> tuple[float, list[float]]:
        """Return the mixed score and the mixer's inputs: the experts' scores, 1 and the trends."""
        known = [(self.features[name], u) for name, u in us.items() if name in self.features]
        n = len(self.rates)
        scores = [sum(f.weights[k] * u for f, u in known) for k in range(n)]
        if n == 1:  # one expert alone is not mixed
            return scores[0], scores
        made = [(self.derived[name], x) for name, x in derived.items() if name in self.derived]
        bayes = sum(self.bayes_weight(name) * u for name, u in us.items() if name in self.features)
        scores += [sum(f.kalman * u for f, u in known), bayes * self.bayes_scale if "bayes" in self.parts else 0.0]
        scores += [sum(f.weights[k] * x for f, x in made) for k in range(n)]
        scores += [sum(f.kalman * x for f, x in made)]
        scores += [self.newton.score(zs) if "newton" in self.parts else 0.0]
        v = [*scores, 1.0, *(self.trends if "trends" in self.parts else [0.0] * 3)]
        return self.mixer.score(v), v

    def predict(self, features: dict[str, float]) -> float:
        """Return the score, in the target's units."""
        score, _ = self.score(*self.look_at(self.with_missing(features), learning=False))
        return self.offset + self.unit * score

    # ---- learning ----
    def learn(self, features: dict[str, float], target: float, importance: float = 1.0) -> float:
        """Learn or hold one example, then learn what should leave the pools; return the score it had before."""
        importance = self.importances.relative(importance)
        if self.pools is None:
            return self.learn_at_once(features, target, importance)
        before, example = self.arrive(features, target, importance)
        self.pools.arrive(example)
        self.learn_held(holds_back=True)
        return before

    def learn_held(self, holds_back: bool = False) -> None:
        """Learn the held examples that should leave now; all of them, unless some are to be held back."""
        if self.pools is not None:
            for example, is_short in self.pools.leaving(holds_back):
                self.learn_later(example, is_short)

    def learn_at_once(self, features: dict[str, float], target: float, importance: float, admits: bool = True) -> float:
        """Learn one example, its importance relative; return the score it had before, in the target's units."""
        before, example = self.meet(features, target, importance)
        example.admits = admits
        self.step(example, example.score, example.inputs)
        self.count(example, importance)
        return before

    def arrive(
        self, features: dict[str, float], target: float, importance: float, admits: bool = True
    ) -> tuple[float, Scored]:
        """Meet an example that is to be learned later; return the score it had before, and the example."""
        before, example = self.meet(features, target, importance)
        example.admits = admits
        if example.importance > 0.0:
            self.insert_new(example)
            if example.settled:
                self.insert_derived(example)
        self.count(example, importance)
        return before, example

    def learn_later(self, example: Scored, is_short: bool) -> None:
        """Learn an example that was held: the mixer is graded by its scores at arrival, if it was in the short pool.

        It is looked at anew, unless the model was settled at its arrival.
        """
        us, zs, derived = example.us, example.zs, example.derived
        if not example.settled:
            us, zs, derived = self.look_at(example.features, learning=False)
        s, v = self.score(us, zs, derived)
        now = Scored(example.features, example.y, example.importance, us, zs, derived, s, v, example.admits)
        if not is_short or len(self.rates) == 1:
            return self.step(now, s, v)
        v = [float(np.float32(x)) for x in example.inputs]
        return self.step(now, self.mixer.score(v), v)

    def meet(self, features: dict[str, float], target: float, importance: float) -> tuple[float, Scored]:
        """Score an example, and follow its values and its target; return the score, in the target's units, and the example."""
        if not self.features:
            self.insert(CONSTANT, 1.0)
        features = self.with_missing(features)
        us, zs, derived = self.look_at(features, learning=True)
        s, v = self.score(us, zs, derived)
        for name, is_said in self.promoted:
            f = self.features[name]
            f.said = f.said or is_said
            if f.place is None:
                self.dense.append(name)
                f.place = len(self.dense)
        self.promoted.clear()
        if self.n_examples % 64 == 0 and len(self.dense) > MAX_BINNED:
            self.exchange_places()
        before = self.offset + self.unit * s
        if self.loss in STANDARDISED:
            target = self.credible(self.within_targets(before), target, importance)
            self.observe_edges(before, target, importance)
        if self.loss == "poisson":
            highest = max([self.expected, *(y for y, k in self.targets if k)])
            target = self.credible(math.exp(min(before, math.log(highest))), target, importance)
        self.targets.append((target, importance))  # a regression's is standardised with this one among those seen
        self.positive += importance * (target > 0.0)
        self.negative += importance * (target < 0.0)
        y = target / self.expected if self.loss == "poisson" else (target - self.offset) / self.unit
        if self.loss == "poisson" and not any(y and k for y, k in self.targets):  # no count above 0 yet
            importance = 0.0
        self.n_examples += 1
        self.scale_sum += sum(u * u for u in us.values())
        self.derived_sum += len(derived)
        settled = not self.of_class and not self.dense and self.n_examples > SETTLED
        return before, Scored(features, y, importance, us, zs, derived, s, v, settled=settled)

    def step(self, example: Scored, s: float, v: list[float]) -> None:
        """Let the experts learn an example, then the mixer by the score s and the inputs v."""
        if not example.admits:
            example.us = {name: u for name, u in example.us.items() if name in self.features}
            example.derived = {
                parts: x for parts, x in example.derived.items() if parts in self.derived or any(k for _, k in parts)
            }
        n, us, y, importance = len(self.rates), example.us, example.y, example.importance
        if importance > 0.0 and any(slope_of(self.loss, score, y, self.level) for score in example.inputs[:n]):
            self.insert_new(example)
            rows = [self.features[name] for name in us]
            c = math.sqrt(self.n_examples / self.scale_sum)
            self.update_adagrad(rows, list(us.values()), c, example.inputs[:n], y, importance, has_constant=True)
            if n > 1:
                self.update_rest(rows, example)
            self.shrink(rows[:-1], c, importance)
        if n > 1 and importance > 0.0:
            H, e = self.curvature_and_error(s, y)
            self.mixer.update(v, importance * e, importance * H)
            self.mixer.weights[n + 1] = max(self.mixer.weights[n + 1], 0.0)  # of naive Bayes
            newest = math.log(0.5 * (1.0 + y)) if self.loss == "poisson" else y - self.mean * (self.loss in BINARY)
            for k, share in enumerate((1.0, 0.2, 0.02)):
                self.trends[k] += (1.0 - (1.0 - share) ** importance) * (newest - self.trends[k])

    def count(self, example: Scored, importance: float) -> None:
        """Count an example's importance, and the residual of its score; 1 for one whose target has no scale yet."""
        if len(self.rates) > 1:
            self.residual_sum += example.importance * self.residual(example.score, example.y)
        self.residual_sum += importance - example.importance
        self.importance_sum += importance

    def insert_new(self, example: Scored) -> None:
        for name in example.us if example.admits else ():
            if name not in self.features:
                self.insert(name, example.features[name])

    def insert_derived(self, example: Scored) -> None:
        n = len(self.rates)
        for name in example.derived:
            if name not in self.derived:
                self.derived[name] = Feature(1.0, 1.0, [0.0] * n, [0.0] * n, 0.15)
                self.order.append(name)

    def residual(self, s: float, y: float) -> float:
        """What the mean residual is made of."""
        if self.loss == "quantile":
            return max(self.level * (y - s), (self.level - 1.0) * (y - s))
        if self.loss == "poisson":
            return 2.0 * (rate_of(s) - y - (y * (s - math.log(y)) if y else 0.0))
        return (y - s) ** 2 if self.loss == "squared" or (self.loss == "hinge" and y * s < 1.0) else 0.0

    def insert(self, name: str, x: float) -> None:
        n = len(self.rates)
        self.features[name] = Feature(abs(x), x, [0.0] * n, [0.0] * n, 1.0 if name == CONSTANT else 0.15)
        self.order.append(name)

    def update_adagrad(
        self,
        rows: list[Feature],
        us: list[float],
        c: float,
        scores: list[float],
        y: float,
        importance: float,
        has_constant: bool,
    ) -> None:
        """AdaGrad with an importance-aware step, each on the gradient at its expert's own score."""
        for k, score in enumerate(scores):
            slope, rate, r = slope_of(self.loss, score, y, self.level) * math.sqrt(importance), self.rates[k] * c, []
            for f, u in zip(rows, us, strict=True):
                f.squares[k] = self.decays[k] * f.squares[k] + (slope * u) ** 2
                r.append(u / (0.1 + math.sqrt(f.squares[k])))
            if has_constant:
                r[-1] *= 2.0
            q = rate * sum(x * u for x, u in zip(r, us, strict=True))
            h = step_of(self.loss, score, y, q, importance, self.level)
            for f, x in zip(rows, r, strict=True):
                f.weights[k] += h * rate * x

    def update_rest(self, rows: list[Feature], example: Scored) -> None:
        """Update the experts beside the AdaGrad ones, and those of the derived features."""
        us, v, y, importance = example.us, example.inputs, example.y, example.importance
        n = len(self.rates)
        first = n + 2
        if "newton" in self.parts and self.dense:
            H, e = self.curvature_and_error(v[first + n + 1], y)
            size = 1 + min(len(self.dense), MAX_BINNED)
            self.newton.update(example.zs[:size], importance * e, importance * H)
            if "cells" in self.parts:
                self.observe_pairs(example.zs, importance * e)
        if "kalman" in self.parts:
            self.update_kalman(rows, list(us.values()), v[n], y, importance)
        if "bayes" in self.parts:
            for name, u in us.items():
                if name != CONSTANT and u > 0.0 and y > 0.0:
                    self.features[name].has += importance * u
                elif name != CONSTANT and u > 0.0:
                    self.features[name].lacks += importance * u
            raw = v[n + 1] / self.bayes_scale if self.bayes_squares else float(len(us))
            self.bayes_squares += importance * raw**2
        if not example.derived:
            return
        offset = example.score - sum(self.mixer.weights[k] * v[k] for k in range(first, first + n + 1))
        self.insert_derived(example)
        made, xs = [self.derived[name] for name in example.derived], list(example.derived.values())
        c = math.sqrt(self.n_examples / (self.n_examples + self.derived_sum))
        scores = [offset + v[first + k] for k in range(n + 1)]
        self.update_adagrad(made, xs, c, scores[:n], y, importance, has_constant=False)
        if "kalman" in self.parts:
            self.update_kalman(made, xs, scores[n], y, importance)
        self.shrink(made, c, importance)

    def observe_pairs(self, zs: list[float], error: float) -> None:
        """Add to the gains of all pairs; choose the best pairs after 128, 256, 512 ... examples."""
        numbers = self.dense[:MAX_BINNED]
        z = {name: clip(zs[place], 3.0) for place, name in enumerate(numbers, 1)}
        self.error_squares += error**2
        self.n_errors += 1
        centred = error - self.mean_error
        self.mean_error += 0.02 * centred
        gains, curved = self.gains, {name: r + r * r - 1.0 for name in numbers for r in [self.ranks.get(name, 0.0)]}
        for i, name in enumerate(numbers):
            for other in numbers[:i]:
                gains["product"][name, other] = gains["product"].get((name, other), 0.0) + centred * z[name] * z[other]
                gains["cell"][name, other] = (
                    gains["cell"].get((name, other), 0.0) + error * curved[name] * curved[other]
                )
        for name, share in self.switches.items():
            self.switches[name] += ((name in self.on) - share) / self.n_errors
            on = ((name in self.on) - share) / math.sqrt(share * (1.0 - share)) if 0.0 < share < 1.0 else 0.0
            for other in numbers:
                gains["product"][name, other] = (
                    gains["product"].get((name, other), 0.0) + centred * clip(on, 3.0) * z[other]
                )
        if self.n_errors in [2**k for k in range(7, 60)]:
            self.choose_pairs()

    def choose_pairs(self) -> None:
        """Choose the pairs with the largest gains."""
        for kind, least in (("product", 6.0), ("cell", 8.0)):
            gains = self.gains[kind]
            enough = [p for p, g in gains.items() if abs(g) >= least * math.sqrt(self.error_squares)]
            self.chosen[kind] = sorted(enough, key=lambda pair: -abs(gains[pair]))[:N_PAIRS]

    def shrink(self, rows: list[Feature], c: float, importance: float) -> None:
        """The proximal step of ``l1 |w| + l2 w^2 / 2`` in every expert's own metric; for Kalman's, L2 adds to the precision."""
        for f in rows:
            for k, rate in enumerate(self.rates):
                f.weights[k] = self.proximal(f.weights[k], importance * rate * c / (0.1 + math.sqrt(f.squares[k])))
            f.kalman = self.proximal(f.kalman, importance * f.variance_of_weight)
            f.variance_of_weight = 1.0 / (1.0 / f.variance_of_weight + importance * self.l2)

    def proximal(self, w: float, r: float) -> float:
        """The argmin over v of ``(v - w)^2 / 2r + l1 |v| + l2 v^2 / 2``."""
        if abs(w) <= r * self.l1:
            return 0.0
        return (w - math.copysign(r * self.l1, w)) / (1.0 + r * self.l2)

    def update_kalman(self, rows: list[Feature], us: list[float], score: float, y: float, importance: float) -> None:
        """A Kalman filter with the variances alone."""
        H, e = (importance * x for x in self.curvature_and_error(score, y))
        gain = 1.0 / (1.0 + H * sum(f.variance_of_weight * u * u for f, u in zip(rows, us, strict=True)))
        for f, u in zip(rows, us, strict=True):
            vu = f.variance_of_weight * u
            f.kalman += vu * e * gain
            f.variance_of_weight -= H * vu * vu * gain

    def curvature_and_error(self, s: float, y: float) -> tuple[float, float]:
        """The loss's curvature at a score, and its slope downwards: see `learner.losses`, ``quadratic``."""
        if self.loss == "logistic":
            p = sigmoid(s)
            return max(p * (1.0 - p), 1e-3), (y > 0.0) - p
        if self.loss == "hinge" and y * s >= 1.0:
            return 0.0, 0.0
        H = (1.0 + self.importance_sum) / (1.0 + self.residual_sum)
        if self.loss == "quantile":
            return H * H * self.level * (1.0 - self.level), -H * slope_of(self.loss, s, y, self.level)
        if self.loss == "poisson":
            rate = rate_of(s)
            chord = (y - rate) / (math.log(y) - math.log(rate)) if y > rate * 1.000001 else rate
            return H * max(chord, 1e-3), H * (y - rate)
        return H, H * (y - s)

    def called(self, name: str | tuple[tuple[str, int], ...]) -> str:
        """The name of a feature; of a derived one, made of its parts'."""
        if isinstance(name, str):
            return name
        if name[0][1] == PRODUCT:
            return " times ".join(part for part, _ in name)
        return " and ".join(
            self.interval(part, place, N_BINS if len(name) == 1 else N_CELL_BINS) for part, place in name
        )

    def interval(self, name: str, place: int, n_bins: int) -> str:
        if place == 0:
            return name
        bounds = [sorted(self.features[name].sample)[j * N_SAMPLES // n_bins] for j in range(1, n_bins)]
        if place == 1:
            return f"{name} < {bounds[0]:g}"
        if place == n_bins:
            return f"{name} >= {bounds[-1]:g}"
        return f"{name} in [{bounds[place - 2]:g}, {bounds[place - 1]:g})"

    # ---- what it has learned ----
    def weights(self) -> dict[str, float]:
        """Return the effective weights, in the user's units."""
        n, one = len(self.rates), len(self.rates) == 1
        a = [1.0] if one else self.mixer.weights
        found = {}
        for name in self.order:
            f = self.features[name] if isinstance(name, str) else self.derived[name]
            first = 0 if isinstance(name, str) else n + 2
            w = sum(a[first + k] * f.weights[k] for k in range(n))
            if not one:
                w += a[first + n] * f.kalman
            if isinstance(name, str) and "bayes" in self.parts:
                w += a[n + 1] * self.bayes_scale * self.bayes_weight(name)
            if name == CONSTANT:
                if not one:
                    w += a[2 * n + 4] + ("newton" in self.parts) * a[2 * n + 3] * self.newton.weights[0]
                    w += sum(a[2 * n + 5 + k] * x for k, x in enumerate(self.trends) if "trends" in self.parts)
                found[name] = self.offset + self.unit * w
                continue
            w /= f.scale
            centred = self.is_dense(f)
            if "newton" in self.parts and f.place is not None and f.place <= MAX_BINNED and centred:
                w += a[2 * n + 3] * self.newton.weights[f.place] / math.sqrt(f.variance)
            found[self.called(name)] = self.unit * w
        return found


def clip(x: float, bound: float) -> float:
    return min(max(x, -bound), bound)
