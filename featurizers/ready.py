"""Ready-made featurizers by name; each is a good start for one kind of record."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from featurizers.categories import Category
from featurizers.crosses import Cross
from featurizers.emails import EmailParts
from featurizers.errors import FeaturizerSpecError, shown
from featurizers.featurizer import Featurizer
from featurizers.fields import Fields
from featurizers.formats import FORMATS, load
from featurizers.numbers import Number
from featurizers.places import Cells
from featurizers.shapes import CharacterNgrams, Shape
from featurizers.strings import Contains, EndsWith, Fraction, Length, LengthGreater, StartsWith
from featurizers.template import join
from featurizers.words import Words


def email(field: str) -> Featurizer:
    """Return the featurizer of an e-mail address in a field."""
    return Featurizer(
        [
            LengthGreater(field, than=[0, 5, 10, 20, 40, 64, 254]),
            Fraction(field, of=["alphanumeric", "digit", "upper", "space", "punctuation", "ascii"]),
            Contains(field, text=["@", "..", '"', "\\", "(", "["]),
            StartsWith(field, n=1),
            EndsWith(field, n=[1, 3, 4]),
            CharacterNgrams(field, low=2, high=3, shapes=True),
            Shape(field),
            EmailParts(field),
        ]
    )


def text(field: str) -> Featurizer:
    """Return the featurizer of a text in a field."""
    return Featurizer(
        [
            Words(field, n=2),
            Length(field),
            LengthGreater(field, than=[20, 50, 100, 150, 500, 2000]),
            Fraction(field, of=["alphanumeric", "digit", "upper", "space", "punctuation", "ascii"]),
        ]
    )


def place(field: str | None = None) -> Featurizer:
    """Return the featurizer of the numbers ``lat`` and ``lon`` of a map in a field (None: of the record)."""
    size = [10, 1, 0.5, 0.1]
    return Featurizer([Cells(field, size=size), Number(join(field, "lat")), Number(join(field, "lon"))])


FLIGHTS = Featurizer(
    [
        Category("carrier"),
        Category("origin"),
        Category("dest"),
        Category("tailnum", optional=True),  # many cancelled flights have no tail number
        Category("month"),
        Category("hour"),
        Number("distance"),
        Cross([Category("origin"), Category("dest")]),
        Cross([Category("carrier"), Category("hour")]),
        Cross([Category("month"), Category("day")]),
        Cells(size=[10, 1], optional=True),  # the place of the destination, which is not known for every airport
    ]
)

READY: Mapping[str, Featurizer] = MappingProxyType(
    {
        "email": email("address"),
        "text": text("text"),
        "place": place(),
        "flights": FLIGHTS,
        "fields": Featurizer([Fields()]),
    }
)
OF_FIELD: Mapping[str, Callable[[str], Featurizer]] = MappingProxyType({"email": email, "text": text, "place": place})


def get(source: Any) -> Featurizer:
    """Return a featurizer: from a ready-made one's name, a file's path, a description as data, or itself.

    ``READY:FIELD`` is the ready-made one of a single value (email, text or place) over the field of that name.

    Examples
    --------
    >>> get("fields")({"price": 9.5, "brand": "acme"})
    {'price': 9.5, 'brand=acme': 1.0}
    >>> get("text:tweet")({"tweet": "Win"})
    {'word_win': 1.0, 'length': 3.0, ...}
    >>> get({"templates": [{"template": "contains", "text": "@"}]})("abc@gmail.com")
    {'contains_@': 1.0}
    >>> get("emial")
    Traceback (most recent call last):
    featurizers.errors.FeaturizerSpecError: featurizer must be one of email, text, place, flights, fields, one of
    email:FIELD, text:FIELD, place:FIELD, a path to a .toml or .json file, or a map of its templates (got 'emial')
    """
    if isinstance(source, Featurizer):
        return source
    if isinstance(source, Mapping):
        return Featurizer.from_spec(source)
    if isinstance(source, str) and source in READY:
        return READY[source]
    if isinstance(source, str):
        name, _, field = source.partition(":")
        if name in OF_FIELD and field:
            return OF_FIELD[name](field)
    if isinstance(source, str | Path) and Path(source).suffix[1:] in FORMATS:
        return load(source)
    raise FeaturizerSpecError(
        f"featurizer must be one of {', '.join(READY)}, one of {', '.join(f'{name}:FIELD' for name in OF_FIELD)}, a path "
        f"to a .toml or .json file, or a map of its templates (got {shown(source)})"
    )
