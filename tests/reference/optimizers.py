"""The named algorithms again, slow and in float64, written from their papers over dicts, for `learner.optimizers` to equal.

Each class has a paper's algorithm in the paper's order and words. ``learn`` takes (x, y, importance), x with the constant in
it; it returns the score before. Vectors are dicts without their zeros.
"""

import math
from collections import defaultdict

__all__ = ["REFERENCES", "slope_of"]


def slope_of(loss, score, y):
    """Return d loss / d score."""
    if loss == "squared":
        return 2 * (score - y)
    if loss == "quantile":
        return 0.0 if score == y else 0.5 if score > y else -0.5
    if loss == "poisson":
        return 2 * (math.exp(min(score, 32)) - y)
    if loss == "hinge":
        return -y if 1 - y * score > 0 else 0.0
    return -y / (1 + math.exp(y * score)) if y * score < 500 else 0.0


def dot(w, x):
    return sum(w[i] * x[i] for i in x)


class Algorithm:
    def __init__(self, loss, clip=True, **options):
        self.loss, self.clip = loss, clip
        self.targets = [0.0]
        self.w = defaultdict(float)
        self.t = 0.0
        self.start(**options)

    def learn(self, x, y, importance):
        score = self.predict(x)
        if importance > 0:
            self.t += importance
            self.observe(x, importance)
            self.targets.append(y)
            self.update(x, slope_of(self.loss, self.clipped(score), y), importance)
        return score

    def clipped(self, score):
        """Vowpal Wabbit takes loss and gradient within the labels so far, and these begin with 0."""
        if self.clip and self.loss in ("squared", "quantile"):
            return min(max(score, min(self.targets)), max(self.targets))
        return score

    def predict(self, x):
        return dot(self.w, x)

    def observe(self, x, importance):
        """What an algorithm learns of x before the target."""


class Sgd(Algorithm):
    """x_{t+1} = x_t - eta_t (g + l2 x_t), eta_t = rate / (1 + t)^power, then the solution of 1/2 (w - x)^2 + eta_t l1 |w|."""

    def start(self, rate=10.0, power=0.5, l1=0.0, l2=0.0):
        self.rate, self.power, self.l1, self.l2 = rate, power, l1, l2

    def update(self, x, slope, importance):
        eta = importance * self.rate / (1 + self.t) ** self.power
        for i in x:
            w = self.w[i] - eta * (slope * x[i] + self.l2 * self.w[i])
            self.w[i] = closest_with_l1(w, eta * self.l1)


def closest_with_l1(v, weight):
    """Return argmin_w 1/2 (w - v)^2 + weight |w|, by trying its three stationary points."""
    candidates = [0.0] + [w for w in (v - weight,) if w > 0] + [w for w in (v + weight,) if w < 0]
    return min(candidates, key=lambda w: 0.5 * (w - v) ** 2 + weight * abs(w))


class Adagrad(Algorithm):
    """H_t,ii = epsilon + |g_1:t,i|; x_{t+1} = argmin_w { eta <g, w> + eta l1 |w|_1 + 1/2 <w - x_t, H_t (w - x_t)> }."""

    def start(self, rate=10.0, epsilon=0.0, l1=0.0, l2=0.0):
        self.rate, self.epsilon, self.l1, self.l2 = rate, epsilon, l1, l2
        self.squares = defaultdict(float)

    def update(self, x, slope, importance):
        eta = importance * self.rate
        for i in x:
            g = slope * x[i] + self.l2 * self.w[i]
            self.squares[i] += importance * g**2
            h = self.epsilon + math.sqrt(self.squares[i])
            if h > 0:
                self.w[i] = closest_with_l1(self.w[i] - eta * g / h, eta * self.l1 / h)


class Adam(Algorithm):
    """Algorithm 1, on the coordinates of the example only."""

    def start(self, rate=0.001, beta1=0.9, beta2=0.999, epsilon=1e-8):
        self.rate, self.beta1, self.beta2, self.epsilon = rate, beta1, beta2, epsilon
        self.m, self.v, self.steps = defaultdict(float), defaultdict(float), 0

    def update(self, x, slope, importance):
        self.steps += 1
        for i in x:
            g = importance * slope * x[i]
            self.m[i] = self.beta1 * self.m[i] + (1 - self.beta1) * g
            self.v[i] = self.beta2 * self.v[i] + (1 - self.beta2) * g**2
            m_hat = self.m[i] / (1 - self.beta1**self.steps)
            v_hat = self.v[i] / (1 - self.beta2**self.steps)
            self.w[i] -= self.rate * m_hat / (math.sqrt(v_hat) + self.epsilon)


class Ftrl(Algorithm):
    """Algorithm 1: w is computed when it is needed, from z and n."""

    def start(self, alpha=0.5, beta=1.0, l1=0.0, l2=0.0):
        self.alpha, self.beta, self.l1, self.l2 = alpha, beta, l1, l2
        self.z, self.n = defaultdict(float), defaultdict(float)

    def predict(self, x):
        for i in x:
            if abs(self.z[i]) <= self.l1:
                self.w[i] = 0.0
            else:
                strength = (self.beta + math.sqrt(self.n[i])) / self.alpha + self.l2
                self.w[i] = -(self.z[i] - math.copysign(1, self.z[i]) * self.l1) / strength
        return dot(self.w, x)

    def update(self, x, slope, importance):
        for i in x:
            g = importance * slope * x[i]
            sigma = (math.sqrt(self.n[i] + g**2) - math.sqrt(self.n[i])) / self.alpha
            self.z[i] += g - sigma * self.w[i]
            self.n[i] += g**2
        self.predict(x)


class Ng(Algorithm):
    """Algorithm 1 (NG)."""

    exponent = 2

    def start(self, rate=10.0, power=0.5):
        self.rate, self.power = rate, power
        self.s, self.N = defaultdict(float), 0.0

    def learn(self, x, y, importance):
        if importance > 0:
            self.rescale(x)
        return super().learn(x, y, importance)

    def rescale(self, x):
        for i in x:
            if abs(x[i]) > self.s[i]:
                self.w[i] *= (self.s[i] / abs(x[i])) ** self.exponent
                self.s[i] = abs(x[i])

    def predict(self, x):
        """For importance 0 and for questions: the score of weights that would be rescaled."""
        return sum(self.w[i] * min(1.0, self.s[i] / abs(x[i])) ** self.exponent * x[i] for i in x)

    def observe(self, x, importance):
        self.N += importance * sum(x[i] ** 2 / self.s[i] ** 2 for i in x)

    def update(self, x, slope, importance):
        eta = self.rate * self.t**-self.power
        for i in x:
            self.w[i] -= importance * eta * self.t / self.N / self.s[i] ** 2 * slope * x[i]


class Nag(Ng):
    """Algorithm 2 (NAG)."""

    exponent = 1

    def start(self, rate=0.5):
        self.rate = rate
        self.s, self.N, self.G = defaultdict(float), 0.0, defaultdict(float)

    def update(self, x, slope, importance):
        for i in x:
            g = slope * x[i]
            self.G[i] += importance * g**2
            if self.G[i] > 0:
                step = math.sqrt(self.t / self.N) / (self.s[i] * math.sqrt(self.G[i]))
                self.w[i] -= importance * self.rate * step * g


REFERENCES = {algorithm.__name__.lower(): algorithm for algorithm in (Sgd, Adagrad, Adam, Ftrl, Ng, Nag)}
