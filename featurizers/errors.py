"""The errors of this package, and how they show a wrong value.

::

    ValueError
    ├── FeaturizeError          a record can't be turned into features
    └── FeaturizerSpecError     a featurizer's description is wrong

A message names the field, the rule and the value: ``field 'lat' must be within [-90, 90] (got 91.2)``.
"""

from typing import Any

SHOWN_CHARACTERS = 80


class FeaturizeError(ValueError):
    """A record can't be turned into features."""


class FeaturizerSpecError(ValueError):
    """A featurizer's description is wrong."""


def shown(value: Any) -> str:
    """Return a value as messages show it, cut so that a message stays one readable line.

    Examples
    --------
    >>> shown("abc")
    "'abc'"
    >>> len(shown("x" * 1_000_000)), len(shown(["x"] * 1_000_000))
    (82, 83)
    """
    if isinstance(value, int) and value.bit_length() > 4096:  # Python refuses to convert longer numbers to text
        return f"a whole number of {value.bit_length()} bits"
    if isinstance(value, str | bytes):
        value = value[:SHOWN_CHARACTERS]  # cut before repr, because a record may be large
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - a foreign repr may raise anything, and the message must still be written
        return f"{type(value).__name__} without a repr: {type(error).__name__}"
    return text if len(text) <= SHOWN_CHARACTERS + 2 else text[:SHOWN_CHARACTERS] + "..."


def what(path: str | None) -> str:
    """Return the subject of a message: a field, or the record itself.

    Examples
    --------
    >>> what("place.lat"), what(None)
    ("field 'place.lat'", 'record')
    """
    return "record" if path is None else f"field '{path}'"
