"""Turns text into numbers, outcomes and features; a FormatError names a broken rule and the value."""

import math
from collections.abc import Iterable
from typing import Any

from learner.errors import FormatError
from learner.packing import number

__all__ = [
    "NUMERIC",
    "add_tokens",
    "cell",
    "check_features",
    "finite",
    "importance",
    "outcome",
    "without_zeros",
]

NUMERIC = frozenset((int, float))  # not bool


def finite(text: str, what: str = "feature value") -> float:
    """Return a text as a number, which must be finite; `what` names the number in the error."""
    try:
        value = float(text)
        if value - value == 0 and "_" not in text:  # neither infinite nor nan, nor 1_000, which Python accepts
            return value
    except ValueError:
        pass
    raise FormatError(f"{what} must be a finite number (got {text!r:.40})")


def importance(value: Any) -> Any:
    """Return an importance unchanged; it must be a number and not negative."""
    if type(value) not in NUMERIC or value < 0:
        raise FormatError(f"importance must be a number and >= 0 (got {value!r:.40})")
    return value


def outcome(value: Any) -> Any:
    """Return a target as a number, a boolean or a label, or None if it is absent or blank.

    >>> [outcome(value) for value in ("7", " spam ", " ", True, None)]
    [7, 'spam', None, True, None]
    """
    if type(value) in NUMERIC:
        return value
    if isinstance(value, str):
        text = value.strip()
        numeric = number(text)
        return (text or None) if numeric is None else numeric
    if isinstance(value, dict | list):
        raise FormatError(f"target must be a number, a boolean or a text (got {value!r:.40})")
    return value


def cell(text: str) -> str | float:
    """Return the content of a cell of a table: a number, or the text unchanged."""
    if text[0] not in "-.0123456789 ":  # quick for most texts; a + begins a telephone number
        return text
    numeric = number(text.strip())
    return text if numeric is None else numeric


def check_features(features: dict[str, Any]) -> dict[str, Any]:
    """Return features unchanged; each must have a name and a finite number."""
    values = features.values()
    if "" in features:
        raise FormatError(f"a feature must have a name (got '': {features['']!r:.40})")
    if not NUMERIC.issuperset(map(type, values)) or not all(map(math.isfinite, values)):
        name, value = next((n, v) for n, v in features.items() if type(v) not in NUMERIC or not math.isfinite(v))
        raise FormatError(f"feature value must be a finite number (got {name!r}: {value!r:.40})")
    return features


def add_tokens(features: dict[str, float], tokens: Iterable[str], prefix: str = "", scale: float = 1) -> None:
    """Add tokens ``name`` or ``name:value`` to features, with a prefix before the name and the value (or 1) times a scale.

    >>> features = {"n^a": 1}
    >>> add_tokens(features, ["a:2", "b"], "n^", 0.5)
    >>> features
    {'n^a': 2.0, 'n^b': 0.5}
    """
    for token in tokens:
        name, value = token, scale
        if ":" in token:
            name, _, text = token.partition(":")
            value = finite(text) * scale
        if not name:
            if token:
                raise FormatError(f"a feature must have a name (got {token!r})")
            continue  # between two spaces
        if prefix:
            name = prefix + name
        features[name] = features[name] + value if name in features else value


def without_zeros(features: dict[str, float]) -> dict[str, float]:
    """Return features without those whose value is zero, checked by `check_features`."""
    if 0 in features.values():
        features = {name: value for name, value in features.items() if value}
    return check_features(features)
