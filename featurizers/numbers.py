"""What a number is, and the feature templates for a number as it is and for its logarithm.

A number is a finite int or float (numpy's too), and not a boolean. A string is refused, unless the template has
``parse=True``, as for records from CSV files: then a plain decimal such as ``-1.5e3``, with or without spaces around
it, is read as its number, and a blank string is a missing value.

Feature names carry the field's name: ``distance``, ``x^2``, ``0<x<=1``. Where the record itself is the number, the name
is ``x``.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from math import copysign, isfinite, log1p
from numbers import Real
from typing import Any

from featurizers import parameters
from featurizers.errors import FeaturizeError, shown, what
from featurizers.operations import Operation
from featurizers.template import Adder, Reader, Template, reader

DECIMAL = re.compile(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*")


def number(value: Any, path: str | None, parse: bool = False) -> float | None:
    """Return a value as a finite number (None if it is missing).

    Examples
    --------
    >>> number(3, "x"), number(" 2.5", "x", parse=True), number("", "x", parse=True)
    (3.0, 2.5, None)
    >>> number("2.5", "x")
    Traceback (most recent call last):
    featurizers.errors.FeaturizeError: field 'x' must be a number (got '2.5')
    """
    if value is None:
        return None
    if parse and isinstance(value, str):
        if not value.strip():
            return None
        if not DECIMAL.fullmatch(value):
            raise FeaturizeError(f"{what(path)} must be a number in plain decimals (got {shown(value)})")
    elif isinstance(value, bool) or not isinstance(value, Real):
        raise FeaturizeError(f"{what(path)} must be a number (got {shown(value)})")
    try:
        parsed = float(value)
    except TypeError:  # numpy's time differences call themselves whole numbers
        raise FeaturizeError(f"{what(path)} must be a number (got {shown(value)})") from None
    except OverflowError:  # a whole number that is too large for a float
        parsed = float("inf")
    if not isfinite(parsed):
        raise FeaturizeError(f"{what(path)} must be finite (got {shown(value)})")
    return parsed


def number_reader(path: str | None, optional: bool, parse: bool = False) -> Callable[[Any], float | None]:
    """Return the function that reads a finite number at a path from a record."""
    read = reader(path, optional)

    def read_number(record: Any) -> float | None:
        value = read(record)
        if type(value) is float and value - value == 0.0:  # finite: for nan and infinities the difference is nan
            return value
        parsed = number(value, path, parse)
        if parsed is None and not optional:
            raise FeaturizeError(f"{what(path)} is required (got {shown(value)})")
        return parsed

    return read_number


def finite(value: float, name: str) -> float:
    """Return a computed value, which must be finite."""
    if not isfinite(value):
        raise FeaturizeError(f"feature '{name}' must be finite (got {value})")
    return value


@dataclass(frozen=True, kw_only=True)
class NumberTemplate(Template):
    """A template whose value is a number.

    Parameters
    ----------
    parse
        Whether strings are read as numbers.
    """

    names_carry_field = True
    parse: bool = False

    def check(self) -> dict[str, Any]:
        """Check `parse`."""
        parameters.flag(self.template, "parse", self.parse)
        return {}

    @property
    def x(self) -> str:
        """The name of the number in feature names."""
        return self.field or "x"

    def number_reader(self) -> Reader:
        """Return the function that reads the number from a record (None: it is missing)."""
        return number_reader(self.field, self.optional, self.parse)


@dataclass(frozen=True, kw_only=True)
class Number(NumberTemplate):
    """A number as it is.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> Featurizer([Number("distance")])({"distance": 1400})
    {'distance': 1400.0}
    """

    template = "number"

    def adder(self) -> Adder:
        """Add the number under its field's name."""
        read, name = self.number_reader(), self.prefix + self.x

        def add(record: Any, out: dict[str, float]) -> None:
            if value := read(record):
                out[name] = value

        return add

    def operation(self) -> Operation:
        """Name the feature."""
        return Operation("number", (self.field,), self.optional, (self.prefix + self.x,), parses=self.parse)


@dataclass(frozen=True, kw_only=True)
class SignedLog(NumberTemplate):
    """The logarithm of a number's size, with the number's sign: sign(x) ln(1 + |x|), for values of many magnitudes.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> Featurizer([SignedLog("income")])({"income": -99})
    {'log1p(income)': -4.605...}
    """

    template = "signed_log"

    def adder(self) -> Adder:
        """Add ``log1p(x)``."""
        read, name = self.number_reader(), f"{self.prefix}log1p({self.x})"

        def add(record: Any, out: dict[str, float]) -> None:
            if value := read(record):
                out[name] = copysign(log1p(abs(value)), value)

        return add

    def operation(self) -> Operation:
        """Name the feature."""
        name = f"{self.prefix}log1p({self.x})"
        return Operation("signed_log", (self.field,), self.optional, (name,), parses=self.parse)
