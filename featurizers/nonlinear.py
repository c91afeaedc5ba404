"""Feature templates that make a linear predictor non-linear in a number: powers, bins, waves, sums of squares.

The score stays linear in the weights and in the features, but the features are non-linear functions of the number (CS221,
nonlinear features).
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from math import copysign, cos, pi, sin
from typing import Any

from featurizers import parameters
from featurizers.names import fit, number_text
from featurizers.numbers import NumberTemplate, finite, number_reader
from featurizers.operations import Operation
from featurizers.template import Adder, join

MAX_DEGREE = 10
MAX_EDGES = 10_000


@dataclass(frozen=True, kw_only=True)
class Powers(NumberTemplate):
    """Powers of a number, for quadratic and other polynomial predictors.

    Parameters
    ----------
    degrees
        One or several whole numbers within [0, 10]. Degree 0 is the constant 1.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> Featurizer([Powers("x", degrees=[0, 1, 2])])({"x": 3})
    {'x^0': 1.0, 'x': 3.0, 'x^2': 9.0}
    """

    template = "powers"
    degrees: int | Sequence[int]

    def check(self) -> dict[str, Any]:
        """Check the degrees."""
        return super().check() | {"degrees": parameters.wholes(self.template, "degrees", self.degrees, 0, MAX_DEGREE)}

    def adder(self) -> Adder:
        """Add ``x^D`` for every degree D (plain ``x`` for 1)."""
        read, named = self.number_reader(), self._named()

        def add(record: Any, out: dict[str, float]) -> None:
            value = read(record)
            if value is None:
                return
            for degree, name in named:
                try:
                    power = value**degree
                except OverflowError:
                    power = copysign(float("inf"), value) if degree % 2 else float("inf")
                if power:
                    out[name] = finite(power, name)

        return add

    def operation(self) -> Operation:
        """Give the names and the degrees."""
        degrees, names = zip(*self._named(), strict=True)
        return Operation("powers", (self.field,), self.optional, names, degrees, parses=self.parse)

    def _named(self) -> list[tuple[int, str]]:
        """Return each degree with its feature's name."""
        base = self.prefix + self.x
        return [(degree, base if degree == 1 else f"{base}^{degree}") for degree in parameters.many(self.degrees)]


@dataclass(frozen=True, kw_only=True)
class Bins(NumberTemplate):
    """The bin that a number is in, for piecewise constant predictors.

    Bins are half-open, ``low<x<=high``. A number outside of all bins gives no feature, unless there is a bin `below` or
    `above`.

    Parameters
    ----------
    edges
        The edges of the bins, at least one; n edges make n - 1 bins.
    below, above
        Whether there is a bin ``x<=FIRST`` and a bin ``x>LAST``.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> f = Featurizer([Bins("x", edges=[0, 1, 2, 3, 4, 5], above=True)])
    >>> f({"x": 2.3}), f({"x": 2}), f({"x": 7}), f({"x": 0})
    ({'2<x<=3': 1.0}, {'1<x<=2': 1.0}, {'x>5': 1.0}, {})
    """

    template = "bins"
    edges: float | Sequence[float]
    below: bool = False
    above: bool = False

    def check(self) -> dict[str, Any]:
        """Check the edges, and that they make at least one bin."""
        edges = parameters.finites(self.template, "edges", self.edges)
        below = parameters.flag(self.template, "below", self.below)
        above = parameters.flag(self.template, "above", self.above)
        if len(edges) - 1 + below + above < 1:
            parameters.refuse(self.template, "edges", "at least two, or have a bin below or above", self.edges)
        if len(edges) > MAX_EDGES:
            parameters.refuse(self.template, "edges", f"at most {MAX_EDGES}", self.edges)
        return super().check() | {"edges": edges}

    def adder(self) -> Adder:
        """Add ``LOW<x<=HIGH`` for the bin."""
        read, edges, names = self.number_reader(), list(parameters.many(self.edges)), self._names()

        def add(record: Any, out: dict[str, float]) -> None:
            value = read(record)
            if value is not None:
                name = names[bisect_left(edges, value)]
                if name is not None:
                    out[name] = 1.0

        return add

    def operation(self) -> Operation:
        """List the bins' names ("": there is no such bin), and the edges."""
        names = tuple(name or "" for name in self._names())
        return Operation("bins", (self.field,), self.optional, names, parameters.many(self.edges), parses=self.parse)

    def _names(self) -> list[str | None]:
        """Return the names of all bins, with those below and above, which may be None."""
        x, texts = self.x, list(map(number_text, parameters.many(self.edges)))
        names: list[str | None] = [f"{low}<{x}<={high}" for low, high in pairwise(texts)]
        names = [
            f"{x}<={texts[0]}" if self.below else None,
            *names,
            f"{x}>{texts[-1]}" if self.above else None,
        ]
        return [None if name is None else fit(self.prefix + name) for name in names]


@dataclass(frozen=True, kw_only=True)
class Periodic(NumberTemplate):
    """Cosine and sine of a number, for predictors that repeat.

    Parameters
    ----------
    frequency
        One or several k for cos(kx) and sin(kx), not 0. Give either this or `period`.
    period
        The length p of a cycle, such as 24 for hours: cos(2πx/p) and sin(2πx/p).
    harmonics
        With a period: also the periods p/2, p/3, ... p/harmonics, for cycles that are not a single wave.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> Featurizer([Periodic("x", frequency=3)])({"x": 2})
    {'cos(3x)': 0.960..., 'sin(3x)': -0.279...}
    >>> Featurizer([Periodic("hour", period=24)])({"hour": 3})
    {'cos(2πhour/24)': 0.707..., 'sin(2πhour/24)': 0.707...}
    """

    template = "periodic"
    frequency: float | Sequence[float] | None = None
    period: float | None = None
    harmonics: int = 1

    def check(self) -> dict[str, Any]:
        """Check that there is either a frequency or a period, and check the harmonics."""
        if (self.frequency is None) == (self.period is None):
            parameters.refuse(self.template, "frequency", "given, or else period", self.frequency)
        parameters.whole(self.template, "harmonics", self.harmonics, 1, 100)
        if self.period is None and self.harmonics != 1:
            parameters.refuse(self.template, "harmonics", "1 where there is no period", self.harmonics)
        if self.frequency is not None:
            frequency = parameters.finites(self.template, "frequency", self.frequency)
            if 0.0 in frequency:
                parameters.refuse(self.template, "frequency", "other than 0", self.frequency)
            return super().check() | {"frequency": frequency}
        if type(self.period) not in (int, float) or not 0.0 < float(self.period or 0) < float("inf"):
            parameters.refuse(self.template, "period", "a number > 0", self.period)
        return super().check() | {"period": float(self.period or 0)}

    def adder(self) -> Adder:
        """Add ``cos(Kx)`` and ``sin(Kx)`` for every frequency."""
        read, named = self.number_reader(), self._named()

        def add(record: Any, out: dict[str, float]) -> None:
            value = read(record)
            if value is None:
                return
            for k, cos_name, sin_name in named:
                angle = finite(k * value, cos_name)
                if c := cos(angle):
                    out[cos_name] = c
                if s := sin(angle):
                    out[sin_name] = s

        return add

    def operation(self) -> Operation:
        """Give the names of each wave's cosine and sine, and the frequencies."""
        frequencies, *names = zip(*self._named(), strict=True)
        texts = tuple(chain(*zip(*names, strict=True)))
        return Operation("periodic", (self.field,), self.optional, texts, frequencies, parses=self.parse)

    def _named(self) -> list[tuple[float, str, str]]:
        """Return each frequency with the names of its cosine and sine."""
        x = self.x
        if self.period is None:
            waves = [(k, x if k == 1.0 else f"{number_text(k)}{x}") for k in parameters.many(self.frequency)]
        else:
            turns, end = range(1, self.harmonics + 1), number_text(self.period)
            waves = [(2 * pi * turn / self.period, f"{2 * turn}π{x}/{end}") for turn in turns]
        return [(k, fit(f"{self.prefix}cos({w})"), fit(f"{self.prefix}sin({w})")) for k, w in waves]


@dataclass(frozen=True, kw_only=True)
class SumOfSquares(NumberTemplate):
    """The sum of the squares of several numbers, for predictors whose boundary is a circle.

    Parameters
    ----------
    field
        The map that holds the numbers (None: the record).
    of
        The fields of the numbers in it, at least two.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> Featurizer([SumOfSquares(of=["x1", "x2"])])({"x1": 3, "x2": 4})
    {'x1^2+x2^2': 25.0}
    """

    template = "sum_of_squares"
    of: Sequence[str]

    def check(self) -> dict[str, Any]:
        """Check the fields."""
        of = parameters.texts(self.template, "of", self.of, 64)
        if len(of) < 2:
            parameters.refuse(self.template, "of", "at least two fields", self.of)
        return super().check() | {"of": tuple(sorted(of))}  # a sum does not depend on the order

    def adder(self) -> Adder:
        """Add ``x1^2+x2^2``."""
        reads = [number_reader(path, self.optional, self.parse) for path in self._paths()]
        name = self._name()

        def add(record: Any, out: dict[str, float]) -> None:
            total = 0.0
            for read in reads:
                value = read(record)
                if value is None:
                    return
                total += value * value
            if total:
                out[name] = finite(total, name)

        return add

    def operation(self) -> Operation:
        """Name the feature, and give an operation for each number."""
        parts = tuple(Operation("number", (path,), self.optional, (), parses=self.parse) for path in self._paths())
        return Operation("sum_of_squares", parts[0].fields, self.optional, (self._name(),), (), parts)

    def _paths(self) -> list[str]:
        return [join(self.field, field) for field in self.of]

    def _name(self) -> str:
        return fit(self.prefix + "+".join(f"{path}^2" for path in self._paths()))
