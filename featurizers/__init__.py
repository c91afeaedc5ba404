"""Featurizers: pure functions from a raw record to ``{feature name: value}``, as lists of feature templates.

>>> from featurizers import Contains, EndsWith, Featurizer, LengthGreater
>>> phi = Featurizer([LengthGreater("address", than=10), Contains("address", text="@"), EndsWith("address", n=3)])
>>> phi({"address": "abc@gmail.com"})
{'length>10': 1.0, 'contains_@': 1.0, 'endsWith_com': 1.0}

The same as data, which `dumps` writes and `loads` reads:

>>> from featurizers import dumps, loads
>>> loads(dumps(phi)) == phi
True
"""

from featurizers.categories import Category
from featurizers.crosses import Cross
from featurizers.dates import TimeCycles, TimeParts
from featurizers.emails import EmailParts
from featurizers.errors import FeaturizeError, FeaturizerSpecError
from featurizers.featurizer import Featurizer
from featurizers.fields import Fields
from featurizers.formats import dumps, load, loads
from featurizers.names import MAX_FEATURES, MAX_NAME_BYTES
from featurizers.nonlinear import Bins, Periodic, Powers, SumOfSquares
from featurizers.numbers import Number, SignedLog
from featurizers.pixels import Pixels
from featurizers.places import Cells
from featurizers.ready import READY, get
from featurizers.shapes import CharacterNgrams, Shape
from featurizers.strings import Contains, EndsWith, Fraction, Length, LengthGreater, StartsWith
from featurizers.template import REGISTRY, Template
from featurizers.words import Words

__all__ = [
    "MAX_FEATURES",
    "MAX_NAME_BYTES",
    "READY",
    "REGISTRY",
    "Bins",
    "Category",
    "Cells",
    "CharacterNgrams",
    "Contains",
    "Cross",
    "EmailParts",
    "EndsWith",
    "FeaturizeError",
    "Featurizer",
    "FeaturizerSpecError",
    "Fields",
    "Fraction",
    "Length",
    "LengthGreater",
    "Number",
    "Periodic",
    "Pixels",
    "Powers",
    "Shape",
    "SignedLog",
    "StartsWith",
    "SumOfSquares",
    "Template",
    "TimeCycles",
    "TimeParts",
    "Words",
    "dumps",
    "get",
    "load",
    "loads",
]
