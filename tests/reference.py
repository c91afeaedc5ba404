"""The learner once more, slow and obvious: dicts, lists and float64, to hold the compiled loops against.

The formulas are those of the recipe (four AdaGrad experts and a Kalman mixer with dense slots, centring and scaling) and of the
docstrings in `learner.losses` and `learner.kernels`; nothing of either is imported. There are no fast paths: an indicator goes
the way of any number, a feature keeps the sum of its squared deviations rather than the standard deviation, and the root of
the logistic step is found by bisection.
"""

import math
from dataclasses import dataclass, field

CONSTANT = "(constant)"
MAX_DENSE = 32


# ---- losses ----------------------------------------------------------------------------------------------------------
def sigmoid(s: float) -> float:
    return 1.0 / (1.0 + math.exp(-s)) if s >= 0.0 else math.exp(s) / (1.0 + math.exp(s))


def slope_of(loss: str, s: float, y: float) -> float:
    """d loss / d score."""
    if loss == "squared":
        return 2.0 * (s - y)
    if loss == "logistic":
        return -y * sigmoid(-y * s)
    return -y if y * s < 1.0 else 0.0


def step_of(loss: str, s: float, y: float, q: float, importance: float) -> float:
    """How far following the gradient over a distance ``q importance`` moves the score, divided by q."""
    d = q * importance
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
    """What is kept of a feature: its values' statistics, and a weight and a sum of squared gradients an expert."""

    scale: float  # S
    mean: float  # mu
    weights: list[float]
    squares: list[float]  # G
    count: int = 1  # n
    deviations: float = 0.0  # M2
    is_dense: bool = False  # it was centred once, and counts with 0 where it is left out while it still is
    place: int | None = None  # among the mixer's inputs, of the first dense features

    @property
    def variance(self) -> float:
        return self.deviations / self.count


@dataclass
class Mixer:
    """An extended Kalman filter over the mixing weights of the experts, a constant, and the dense features as they come."""

    weights: list[float]
    covariance: list[list[float]] = field(default_factory=list)

    def grow(self) -> int:
        """Give room to one more input, and return its place."""
        self.weights.append(0.0)
        self.widen()
        return len(self.weights) - 1

    def widen(self) -> None:
        for row in self.covariance:
            row.append(0.0)
        self.covariance.append([0.0] * len(self.covariance) + [0.1])

    def update(self, v: list[float], error: float, curvature: float, n_core: int) -> None:
        a, P, indices = self.weights, self.covariance, range(len(v))
        Pv = [sum(P[i][j] * v[j] for j in indices if v[j]) for i in indices]
        gain = 1.0 / (1.0 + curvature * sum(v[i] * Pv[i] for i in indices))
        for i in indices:
            a[i] += Pv[i] * error * gain
            for j in indices:
                P[i][j] -= curvature * Pv[i] * Pv[j] * gain
            P[i][i] += 1e-6 if i < n_core else 1e-5


class Reference:
    """The sparse linear learner, one example at a time."""

    def __init__(self, loss: str, rates: list[float], decays: list[float]) -> None:
        self.loss, self.rates, self.decays = loss, rates, decays
        self.features: dict[str, Feature] = {}  # in order of first update, the constant first
        self.mixer = Mixer([1.0 / len(rates)] * len(rates) + [0.0])
        for _ in self.mixer.weights:
            self.mixer.widen()
        self.n_examples = 0
        self.scale_sum = 0.0  # N
        self.importance_sum = 0.0
        self.residual_sum = 0.0
        self.targets: list[tuple[float, float]] = []  # (target, importance), of a regression

    # ---- the targets of a regression ----
    @property
    def offset(self) -> float:
        """The mean of the targets seen."""
        total = sum(importance for _, importance in self.targets)
        return sum(y * importance for y, importance in self.targets) / total if total else 0.0

    @property
    def unit(self) -> float:
        """Their standard deviation; 1 while there is none."""
        total, mean = sum(importance for _, importance in self.targets), self.offset
        squares = sum(importance * (y - mean) ** 2 for y, importance in self.targets)
        return math.sqrt(squares / total) if squares else 1.0

    # ---- from values to scores ----
    def bring(self, name: str, x: float, learning: bool) -> tuple[float, int | None, float]:
        """Return a value on its feature's own scale, u in [-1, 1], and a dense one's place and z."""
        f = self.features.get(name)
        if f is None:
            return math.copysign(1.0, x), None, 0.0
        variance = f.variance
        left_out = x == 0.0
        if f.count > 8 and not left_out:  # a rare huge value must not stretch the scale
            x = clip(x, abs(f.mean) + 30.0 * math.sqrt(variance) if variance > 0.0 else 1000.0 * abs(f.mean))
        v, z, is_dense = x, 0.0, variance > 0.0 and f.count > 0.5 * self.n_examples
        if is_dense:  # centred, by the mean before this value
            v = x - f.mean
            if f.count >= 8:
                if not f.is_dense and learning:
                    f.is_dense = True
                    if len(self.mixer.weights) < len(self.rates) + 1 + MAX_DENSE:
                        f.place = self.mixer.grow()
                z = clip(v / math.sqrt(variance), 8.0) if f.place is not None else 0.0
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
        return clip(v / scale, 1.0), f.place if z else None, z

    def scaled(self, features: dict[str, float], learning: bool) -> tuple[dict[str, float], dict[int, float]]:
        """Return u for every feature, the constant last, and z at the places of the mixer's dense inputs."""
        us, zs = {}, {}
        given = {name: x for name, x in features.items() if abs(x) >= 1e-30}
        were_dense = [name for name, f in self.features.items() if f.is_dense and name not in given]
        left_out = [
            name
            for name in were_dense
            if self.features[name].count > 0.5 * self.n_examples and self.features[name].variance > 0
        ]
        for name, x in [*given.items(), *((name, 0.0) for name in left_out)]:
            us[name], place, z = self.bring(name, x, learning)
            if place is not None:
                zs[place] = z
        us[CONSTANT] = 1.0
        return us, zs

    def score(self, us: dict[str, float], zs: dict[int, float]) -> tuple[float, list[float], list[float]]:
        """Return the mixed score, the experts' own, and the mixer's inputs."""
        known = [(self.features[name].weights, u) for name, u in us.items() if name in self.features]
        scores = [sum(w[k] * u for w, u in known) for k in range(len(self.rates))]
        if len(scores) == 1:  # one expert alone is not mixed
            return scores[0], scores, []
        a = self.mixer.weights
        v = [*scores, 1.0] + [zs.get(place, 0.0) for place in range(len(scores) + 1, len(a))]
        return sum(a[i] * v[i] for i in range(len(a))), scores, v

    def predict(self, features: dict[str, float]) -> float:
        """Return the score, in the target's units."""
        score, _, _ = self.score(*self.scaled(features, learning=False))
        return self.offset + self.unit * score

    # ---- learning ----
    def learn(self, features: dict[str, float], target: float, importance: float = 1.0) -> float:
        """Learn one example; return the score it had before, in the target's units."""
        if not self.features:
            self.insert(CONSTANT, 1.0)
        us, zs = self.scaled(features, learning=True)
        s, scores, v = self.score(us, zs)
        before, y = self.offset + self.unit * s, target
        if self.loss == "squared":  # standardised with this target among those seen
            self.targets.append((target, importance))
            y = (target - self.offset) / self.unit

        self.n_examples += 1
        self.scale_sum += sum(u * u for u in us.values())
        c = math.sqrt(self.n_examples / self.scale_sum)
        slopes = [slope_of(self.loss, score, y) * math.sqrt(importance) for score in scores]
        if any(slopes):  # else nothing moves, and new features stay out
            for name in us:
                if name not in self.features:
                    self.insert(name, features[name])
            for k, rate in enumerate(self.rates):
                self.update_expert(k, rate * c, slopes[k], scores[k], y, importance, us)
        if len(scores) > 1:
            self.update_mixer(v, s, y, importance)
        self.importance_sum += importance
        return before

    def insert(self, name: str, x: float) -> None:
        n = len(self.rates)
        self.features[name] = Feature(abs(x), x, [0.0] * n, [0.0] * n)

    def update_expert(
        self, k: int, rate: float, slope: float, score: float, y: float, importance: float, us: dict[str, float]
    ) -> None:
        """AdaGrad with an importance-aware step, on the gradient at the expert's own score."""
        r = {}
        for name, u in us.items():
            f = self.features[name]
            f.squares[k] = self.decays[k] * f.squares[k] + (slope * u) ** 2
            r[name] = u / (0.1 + math.sqrt(f.squares[k])) * (2.0 if name == CONSTANT else 1.0)
        q = rate * sum(r[name] * u for name, u in us.items())
        h = step_of(self.loss, score, y, q, importance)
        for name in us:
            self.features[name].weights[k] += h * rate * r[name]

    def update_mixer(self, v: list[float], s: float, y: float, importance: float) -> None:
        """One step of the filter at the mixed score: H is the loss's curvature, the error its slope."""
        if self.loss == "logistic":
            p = sigmoid(s)
            H, e = max(p * (1.0 - p), 1e-3), (y > 0.0) - p
        else:  # the hinge smoothed into its square
            residual = 0.0 if self.loss == "hinge" and y * s >= 1.0 else y - s
            H = (1.0 + self.importance_sum) / (1.0 + self.residual_sum)
            e = H * residual
            self.residual_sum += importance * residual**2
            if residual == 0.0:
                return
        self.mixer.update(v, importance * e, importance * H, len(self.rates) + 1)

    # ---- what it has learned ----
    def weights(self) -> dict[str, float]:
        """Return the effective weights, in the user's units."""
        n, one = len(self.rates), len(self.rates) == 1
        a = [1.0] if one else self.mixer.weights
        found = {}
        for name, f in self.features.items():
            w = sum(a[k] * f.weights[k] for k in range(n))
            if name == CONSTANT:
                found[name] = self.offset + self.unit * (w + (0.0 if one else a[n]))
                continue
            w /= f.scale
            if (
                not one
                and f.place is not None
                and f.count > 0.5 * self.n_examples
                and f.count >= 8
                and f.variance > 0.0
            ):
                w += a[f.place] / math.sqrt(f.variance)
            found[name] = self.unit * w
        return found


def clip(x: float, bound: float) -> float:
    return min(max(x, -bound), bound)
