"""The feature template over categories, and how a category's value is written.

Records of one stream come from many languages, so values that mean the same are one category: a whole number is written
without a fraction (``5`` and ``5.0`` are both ``hour=5``), a boolean as ``true`` or ``false``, other numbers in their
shortest decimal form, strings as they are.
"""

from dataclasses import dataclass
from math import isfinite
from numbers import Integral, Real
from typing import Any

from featurizers.errors import FeaturizeError, shown, what
from featurizers.names import SAFE_CHARACTERS, fit
from featurizers.template import Adder, Template

WHOLE_LOW, WHOLE_HIGH = -(2**63), 2**64 - 1  # what msgpack can carry


def category_text(value: Any, path: str | None) -> str:
    """Write a category's value.

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
    """Field equals ___. Where the record itself is the value, its name is ``x``.

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
        read, path = self.reader(), self.field
        head = f"{self.prefix}{path or 'x'}="

        def add(record: Any, out: dict[str, float]) -> None:
            value = read(record)
            if type(value) is str:
                name = head + value
            elif type(value) is int and WHOLE_LOW <= value <= WHOLE_HIGH:
                name = f"{head}{value}"
            elif value is None:
                return
            else:
                name = head + category_text(value, path)
            out[name if name.isascii() and len(name) <= SAFE_CHARACTERS else fit(name)] = 1.0

        return add
