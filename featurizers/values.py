"""What the values of other libraries mean, known by their types' own marks: nothing but the standard library is imported."""

from datetime import date, time
from decimal import Decimal
from numbers import Real
from typing import Any

PLAIN = frozenset({str, int, bool, type(None), dict, list, tuple})


def plain(value: Any) -> Any:
    """Return a value as Python's own kind: a number, a string, a boolean; None where it is missing.

    NaN, and the NA and NaT of pandas and numpy, are missing. A scalar of numpy becomes Python's. A decimal becomes a float, and
    a date or time its text in ISO 8601. Any other value, such as a fraction or a list, is returned itself.

    Examples
    --------
    >>> plain(float("nan")), plain(Decimal("1.50")), plain(date(2026, 11, 22))
    (None, 1.5, '2026-11-22')
    """
    kind = type(value)
    if kind in PLAIN or _is_missing(value):
        return value if kind in PLAIN else None
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, date | time):
        return value.isoformat()
    if getattr(value, "shape", None) == () and hasattr(value, "dtype"):
        convert = {"b": bool, "i": int, "u": int, "f": float, "U": str, "M": str}.get(value.dtype.kind)
        return convert(value) if convert else value
    return value


def _is_missing(value: Any) -> bool:
    name = type(value).__name__
    if name == "NAType":  # pandas.NA, which is not even unequal to itself
        return True
    if isinstance(value, Decimal):
        return value.is_nan()
    return bool((isinstance(value, Real) or name in ("NaTType", "datetime64")) and value != value)
