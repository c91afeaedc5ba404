"""Checks of a template's parameters; the error of each names the template and the parameter.

Where several values are allowed, a single value will do: ``n=3`` and ``n=[3]`` are the same template. Values whose
order does not matter are returned sorted and without repeats, so that equal templates compare equal.
"""

from collections.abc import Sequence
from math import isfinite
from typing import Any, NoReturn

from featurizers.errors import FeaturizerSpecError, shown


def refuse(template: str, name: str, rule: str, value: Any) -> NoReturn:
    """Raise the error of a wrong parameter."""
    raise FeaturizerSpecError(f"template '{template}': {name} must be {rule} (got {shown(value)})")


def many(value: Any) -> tuple[Any, ...]:
    """Return one value, or a list of values, as a tuple.

    Examples
    --------
    >>> many(3), many([3, 4]), many("abc")
    ((3,), (3, 4), ('abc',))
    """
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, str) else (value,)


def wholes(template: str, name: str, value: Any, low: int, high: int) -> tuple[int, ...]:
    """Return whole numbers within [low, high], sorted.

    Examples
    --------
    >>> wholes("ends_with", "n", [3, 1, 3], 1, 32)
    (1, 3)
    >>> wholes("ends_with", "n", 0, 1, 32)
    Traceback (most recent call last):
    featurizers.errors.FeaturizerSpecError: template 'ends_with': n must be whole numbers within [1, 32] (got 0)
    """
    values = many(value)
    if not values or not all(type(v) is int and low <= v <= high for v in values):
        refuse(template, name, f"whole numbers within [{low}, {high}]", value)
    return tuple(sorted(set(values)))


def whole(template: str, name: str, value: Any, low: int, high: int) -> int:
    """Return one whole number within [low, high]."""
    if type(value) is not int or not low <= value <= high:
        refuse(template, name, f"a whole number within [{low}, {high}]", value)
    return value


def finites(template: str, name: str, value: Any) -> tuple[float, ...]:
    """Return finite numbers, sorted."""
    values = many(value)
    if not values or not all(type(v) in (int, float) and isfinite(v) for v in values):
        refuse(template, name, "finite numbers", value)
    return tuple(sorted({float(v) or 0.0 for v in values}))  # `or 0.0` turns -0.0 into 0.0


def flag(template: str, name: str, value: Any) -> bool:
    """Return a boolean."""
    if type(value) is not bool:
        refuse(template, name, "true or false", value)
    return value


def text(template: str, name: str, value: Any, max_bytes: int) -> str:
    """Return a text of a bounded length in UTF-8."""
    if not isinstance(value, str) or not _fits(value, max_bytes):
        refuse(template, name, f"a UTF-8 text of at most {max_bytes} bytes", value)
    return value


def texts(template: str, name: str, value: Any, max_bytes: int) -> tuple[str, ...]:
    """Return non-empty texts of a bounded length in UTF-8, in their own order."""
    values = many(value)
    if not values or not all(isinstance(v, str) and v and _fits(v, max_bytes) for v in values):
        refuse(template, name, f"non-empty UTF-8 texts of at most {max_bytes} bytes", value)
    return tuple(dict.fromkeys(values))


def choices(template: str, name: str, value: Any, allowed: Sequence[str]) -> tuple[str, ...]:
    """Return one or several of the allowed words, in the order in which they are declared."""
    values = many(value)
    if not values or not all(isinstance(v, str) and v in allowed for v in values):
        refuse(template, name, f"of {', '.join(allowed)}", value)
    return tuple(word for word in allowed if word in values)


def choice(template: str, name: str, value: Any, allowed: Sequence[str]) -> str:
    """Return one of the allowed words."""
    if not isinstance(value, str) or value not in allowed:
        refuse(template, name, f"one of {', '.join(allowed)}", value)
    return value


def _fits(value: str, max_bytes: int) -> bool:
    try:
        return len(value.encode()) <= max_bytes
    except UnicodeEncodeError:
        return False
