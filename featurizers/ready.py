"""Ready-made featurizers by name; each is a good start for one kind of record."""

from collections.abc import Mapping
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
from featurizers.words import Words

EMAIL = Featurizer(
    [
        LengthGreater("address", than=[0, 5, 10, 20, 40, 64, 254]),
        Fraction("address", of=["alphanumeric", "digit", "upper", "space", "punctuation", "ascii"]),
        Contains("address", text=["@", "..", '"', "\\", "(", "["]),
        StartsWith("address", n=1),
        EndsWith("address", n=[1, 3, 4]),
        CharacterNgrams("address", low=2, high=3, shapes=True),
        Shape("address"),
        EmailParts("address"),
    ]
)

TEXT = Featurizer(
    [
        Words("text", n=2),
        Length("text"),
        LengthGreater("text", than=[20, 50, 100, 150, 500, 2000]),
        Fraction("text", of=["alphanumeric", "digit", "upper", "space", "punctuation", "ascii"]),
    ]
)

PLACE = Featurizer([Cells(size=[10, 1, 0.5, 0.1]), Number("lat"), Number("lon")])

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
    {"email": EMAIL, "text": TEXT, "place": PLACE, "flights": FLIGHTS, "fields": Featurizer([Fields()])}
)


def get(source: Any) -> Featurizer:
    """Return a featurizer: from a ready-made one's name, a file's path, a description as data, or itself.

    Examples
    --------
    >>> get("fields")({"price": 9.5, "brand": "acme"})
    {'price': 9.5, 'brand=acme': 1.0}
    >>> get({"templates": [{"template": "contains", "text": "@"}]})("abc@gmail.com")
    {'contains_@': 1.0}
    >>> get("emial")
    Traceback (most recent call last):
    featurizers.errors.FeaturizerSpecError: featurizer must be one of email, text, place, flights, fields, a path to a
    .toml or .json file, or a map of its templates (got 'emial')
    """
    if isinstance(source, Featurizer):
        return source
    if isinstance(source, Mapping):
        return Featurizer.from_spec(source)
    if isinstance(source, str) and source in READY:
        return READY[source]
    if isinstance(source, str | Path) and Path(source).suffix[1:] in FORMATS:
        return load(source)
    raise FeaturizerSpecError(
        f"featurizer must be one of {', '.join(READY)}, a path to a .toml or .json file, or a map of its templates "
        f"(got {shown(source)})"
    )
