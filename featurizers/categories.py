"""The feature template over categories, and how a category's value is written.

Producers of one stream may be written in several languages, so values that mean the same are one category: a whole number is
written without a fraction (``5`` and ``5.0`` are both ``hour=5``), a boolean as ``true`` or ``false``, any other number in its
shortest decimal form, a string as it is.
"""

from dataclasses import dataclass
from math import isfinite
from numbers import Integral, Real
from typing import Any

from featurizers.errors import FeaturizeError, shown, what
from featurizers.names import SAFE_CHARACTERS, fit
from featurizers.operations import Operation
from featurizers.template import Adder, Template

WHOLE_LOW, WHOLE_HIGH = -(2**63), 2**64 - 1  # the integers of msgpack
MAX_CACHED = 16_384  # names


def category_text(value: Any, path: str | None) -> str:
    """Return a category's value as it is written in feature names.

    Examples
    --------
    >>> category_text("UA", "c"), category_text(5, "c"), category_text(5.0, "c"), category_text(True, "c")
    ('UA', '5', '5', 'true')
    >>> category_text(["UA"], "carrier")
    Traceback (most recent call last):
    featurizers.errors.FeaturizeError: field 'carrier' must be a string, a number or a boolean (got ['UA'])
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Integral):
        whole = int(value)
        if WHOLE_LOW <= whole <= WHOLE_HIGH:
            return str(whole)
        raise FeaturizeError(f"{what(path)} must be within 64 bits (got {shown(value)})")
    if isinstance(value, Real):
        number = float(value)
        if not isfinite(number):
            raise FeaturizeError(f"{what(path)} must be finite (got {shown(value)})")
        return str(int(number)) if number.is_integer() and WHOLE_LOW <= number <= WHOLE_HIGH else repr(number)
    raise FeaturizeError(f"{what(path)} must be a string, a number or a boolean (got {shown(value)})")


@dataclass(frozen=True, kw_only=True)
class Category(Template):
    """The field equals ___. Where the record itself is the value, the field's name is ``x``.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> Featurizer([Category("carrier"), Category("hour")])({"carrier": "UA", "hour": 5})
    {'carrier=UA': 1.0, 'hour=5': 1.0}
    """

    template = "category"
    names_carry_field = True

    def adder(self) -> Adder:
        """Add ``FIELD=VALUE``."""
        read, names = self.reader(), _Names(f"{self.prefix}{self.field or 'x'}=", self.field)
        key = self.field if self.field and "." not in self.field else object()  # a key that no record has

        def add(record: Any, out: dict[str, float]) -> None:
            # The plain case first, without a call: most records are dicts of strings and whole numbers.
            value = record.get(key) if type(record) is dict else None
            kind = type(value)
            if kind is str or kind is int:
                out[names[value]] = 1.0
                return
            value = read(record)
            if value is not None:
                out[names.make(value)] = 1.0  # not from the cache: True == 1, but their names differ

        return add

    def operation(self) -> Operation:
        """Give the head of the names, and the words for booleans."""
        texts = (f"{self.prefix}{self.field or 'x'}=", "false", "true")
        return Operation("category", (self.field,), self.optional, texts)


class _Names(dict[Any, str]):
    """The names of a category's values, cached, because the same few values occur again and again."""

    def __init__(self, head: str, path: str | None) -> None:
        super().__init__()
        self.head, self.path = head, path

    def __missing__(self, value: Any) -> str:
        name = self.make(value)
        if len(self) >= MAX_CACHED:
            self.clear()  # frequent values are soon cached again
        if not isinstance(value, str) or len(value) <= SAFE_CHARACTERS:
            self[value] = name
        return name

    def make(self, value: Any) -> str:
        return fit(self.head + category_text(value, self.path))
