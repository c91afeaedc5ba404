"""Confidence sequences: intervals around a mean that hold at every moment at once.

One may watch such an interval, and stop as soon as it leaves out 0; with an interval for a fixed number of values that would be
a mistake.
"""

import math
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ALPHA", "FIRST", "Differences", "Interval", "margin"]

ALPHA = 0.05  # the probability that any of a comparison's intervals is ever wrong, at most

PEAK = 10_000  # values at which the intervals are narrowest beside those for a fixed number of values
FIRST = 1000  # values before which every interval is infinite


def margin(n: Any, alpha: float) -> Any:
    """Return half the width of the confidence sequence of a mean of n values whose standard deviation is 1.

    The asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, 2024, "Time-uniform central limit
    theory and asymptotic confidence sequences", by a Gaussian mixture:
    ``sqrt(2 (n r^2 + 1) / (n^2 r^2) log(sqrt(n r^2 + 1) / alpha))``, with the r that makes it narrowest about n = `PEAK`. It
    also holds for means that change, and for values that depend on the values before them, as the differences between two
    learners do (their version for martingales): it then covers the average of the conditional means so far.

    >>> print(f"{margin(10_000, 0.05):.4f}, and for one moment alone {1.96 / 10_000**0.5:.4f}")
    0.0304, and for one moment alone 0.0196
    """
    import numpy as np  # only here: commands that show an interval need none

    log = -2.0 * math.log(alpha)
    n_r2 = n * (log + math.log(log + 1.0)) / PEAK
    return np.sqrt(2.0 * (n_r2 + 1.0) / (n * n_r2) * np.log(np.sqrt(n_r2 + 1.0) / alpha))


class Interval(NamedTuple):
    """A mean difference of losses, and the bounds that it lies between at all times; the bounds are infinite at first."""

    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """``better`` where all of the interval is below 0, ``worse`` where all of it is above, else ``undecided``."""
        return "better" if self.high < 0.0 else "worse" if self.low > 0.0 else "undecided"


class Differences:
    """The running mean of paired differences of losses, weighted by importance, and its confidence sequence.

    Differs: where a few huge differences make up much of the sum, the standard deviation is not yet known well and the normal
    law is not yet near. So ``log(2 / alpha) d / n``, where d is the largest deviation from the mean so far, is added on both
    sides, after the form of the empirical Bernstein bound (Maurer and Pontil, 2009). An event that happens less than once in
    some 500 examples, and outweighs all others, can still be overlooked at first: no method knows what has not happened yet.

    >>> import numpy as np
    >>> same = Differences()
    >>> same.add(np.zeros(2000), np.ones(2000))
    >>> same.interval(0.05), same.interval(0.05).verdict
    (Interval(mean=0.0, low=0.0, high=0.0), 'undecided')
    """

    def __init__(self) -> None:
        self.n = 0
        self.weight = self.mean = self.squares = 0.0  # of the differences times importance: mean, squared deviations
        self.least, self.most = math.inf, -math.inf

    def add(self, differences: "NDArray[np.float64]", importances: "NDArray[np.float64]") -> None:
        """Take in the differences of some examples: NaN where one of the two models did not learn the example."""
        z = differences * importances
        z, importances = z[z == z], importances[z == z]
        if not len(z):
            return
        mean, n = float(z.mean()), len(z)
        delta = mean - self.mean  # two means and their squared deviations become one (Chan, Golub, LeVeque, 1979)
        self.squares += float(((z - mean) ** 2).sum()) + delta * delta * self.n * n / (self.n + n)
        self.n += n
        self.mean += delta * n / self.n
        self.weight += float(importances.sum())
        self.least, self.most = min(self.least, float(z.min())), max(self.most, float(z.max()))

    def interval(self, alpha: float) -> Interval:
        """Return the interval of the mean difference per unit of importance: the probability that it is ever wrong is alpha."""
        if not self.weight:
            return Interval(math.nan, -math.inf, math.inf)
        unit = self.n / self.weight
        if self.n < FIRST:
            return Interval(unit * self.mean, -math.inf, math.inf)
        deviation = math.sqrt(self.squares / self.n)
        farthest = max(self.most - self.mean, self.mean - self.least)
        half = deviation * float(margin(self.n, alpha)) + math.log(2.0 / alpha) * farthest / self.n
        return Interval(unit * self.mean, unit * (self.mean - half), unit * (self.mean + half))
