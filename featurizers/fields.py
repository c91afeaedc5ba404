"""The feature template over a whole record, whatever its fields are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from numbers import Real
from typing import Any

from featurizers import parameters
from featurizers.columns import (
    CURRENCIES,
    MISSING_SUFFIX,
    MISSING_WORDS,
    NO,
    YES,
    canonical,
    column_adder,
    column_operations,
)
from featurizers.errors import FeaturizeError, shown, what
from featurizers.names import SAFE_CHARACTERS, fit
from featurizers.numbers import number
from featurizers.operations import Operation
from featurizers.template import MAX_FIELD_BYTES, Adder, Template, join
from featurizers.values import plain

MAX_DEPTH = 32


@dataclass(frozen=True, kw_only=True)
class Fields(Template):
    """Every field of a record, by the kind of its column, or else by the type of its value.

    A number is the feature ``name`` with its value. A string is the category ``name=value``. True is ``name``. A list
    of strings is a bag: ``name=item`` with the number of times that the item occurs. The fields of a map have dotted
    names. None, a number that is nan, and an empty string are missing: ``name_missing``. False, and an empty list or map give
    no feature. Numbers of numpy, decimals and dates are taken as `featurizers.values.plain` says. Where two fields make the
    same name, the later field's value stands.

    Parameters
    ----------
    field
        The map to take the fields of (None: the record). Its own name is not part of the feature names.
    columns
        The kinds of fields, by name: ``{"price": "money", "at": {"kind": "date", "format": "%d.%m.%Y"}}``. See
        `featurizers.columns`, also for values that are missing. Fields within maps have no columns.
    only, exclude
        The names of the map's own fields to take, or to leave out; by default all are taken. Only one of the two may be set.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> f = Featurizer([Fields()])
    >>> f({"price": 9.5, "brand": "acme", "new": True, "tags": ["red", "big"], "shop": {"city": "Rome"}})
    {'price': 9.5, 'brand=acme': 1.0, 'new': 1.0, 'tags=red': 1.0, 'tags=big': 1.0, 'shop.city=Rome': 1.0}
    """

    template = "fields"
    columns: Mapping[str, Any] | None = None
    only: str | Sequence[str] = ()
    exclude: str | Sequence[str] = ()

    def check(self) -> dict[str, Any]:
        """Check the columns, and the names of fields."""
        chosen = {"only": self.only, "exclude": self.exclude}
        if self.only and self.exclude:
            parameters.refuse(self.template, "exclude", "empty if 'only' is set", self.exclude)
        names = {
            key: parameters.texts(self.template, key, value, MAX_FIELD_BYTES) if value else ()
            for key, value in chosen.items()
        }
        return names | {"columns": canonical(self.columns) if self.columns else None}

    def adder(self) -> Adder:
        """Add the features of every field."""
        read, path, prefix, only, exclude = self.reader(), self.field, self.prefix, self.only, self.exclude
        columns, add_rest = column_adder(self.columns or {}, prefix)

        def add(record: Any, out: dict[str, float]) -> None:
            value = read(record)
            if value is None:
                return
            if not isinstance(value, Mapping):
                raise FeaturizeError(f"{what(path)} must be a map of fields (got {shown(value)})")
            if only or exclude:
                value = {key: item for key, item in value.items() if (key in only if only else key not in exclude)}
            if not columns:
                _add_map(value, prefix, path, 1, out)
                return
            rest = {}
            for name, content in value.items():
                if (add_column := columns.get(name)) is None:
                    rest[name] = content
                else:
                    add_column(content, out)
            _add_map(rest, prefix, path, 1, out)
            add_rest(value, out)

        return add

    def operation(self) -> Operation | None:
        """Give the prefix, the suffix and names, whether these are taken (1) or left out (-1), and their number.

        With columns these are the names, followed by words for missing values, yes, no and currencies, and their numbers.
        """
        if self.columns:
            found = column_operations(self.columns, self.prefix)
            if not found or self.only or self.exclude or self.field:
                return None
            names, parts = zip(*found, strict=True)
            words = sorted(MISSING_WORDS), sorted(YES), sorted(NO), CURRENCIES
            texts = (self.prefix, MISSING_SUFFIX, *names, *chain(*words))
            numbers = (-1, len(names), *map(len, words))
            return Operation("columns", (None,), self.optional, texts, numbers, parts)
        names = (*self.only, *self.exclude)
        mode = 1 if self.only else -1 if self.exclude else 0
        return Operation(
            "fields", (self.field,), self.optional, (self.prefix, MISSING_SUFFIX, *names), (mode, len(names))
        )


def _add_map(fields: Mapping[Any, Any], head: str, path: str | None, depth: int, out: dict[str, float]) -> None:
    """Add the features of a map; their names start with the head."""
    if depth > MAX_DEPTH:
        raise FeaturizeError(f"{what(path)} must be nested at most {MAX_DEPTH} maps deep (got another map)")
    for key, value in fields.items():
        kind = type(value)
        if type(key) is not str or not key:
            raise FeaturizeError(f"{what(path)} must have non-empty strings as field names (got {shown(key)})")
        name = head + key
        if kind is str:
            if not value:
                out[fit(name + MISSING_SUFFIX)] = 1.0
                continue
            name = f"{name}={value}"
            out[name if len(name) <= SAFE_CHARACTERS and name.isascii() else fit(name)] = 1.0
        elif kind is float and value - value == 0.0:
            if value:
                out[name if len(name) <= SAFE_CHARACTERS and name.isascii() else fit(name)] = value
        elif value is True:
            out[fit(name)] = 1.0
        elif value is False:
            continue
        elif value is None:
            out[fit(name + MISSING_SUFFIX)] = 1.0
        elif isinstance(value, Mapping):
            _add_map(value, f"{name}.", join(path, key), depth + 1, out)
        elif isinstance(value, list | tuple):
            _add_bag(value, name, join(path, key), out)
        elif kind is not int and (own := plain(value)) is not value:  # of another library, or NaN
            _add_map({key: own}, head, path, depth, out)
        elif isinstance(value, str):  # a subclass
            out[fit(f"{name}={value}" if value else name + MISSING_SUFFIX)] = 1.0
        elif isinstance(value, Real):
            if parsed := number(value, join(path, key)):
                out[fit(name)] = parsed
        else:
            rule = "a number, a string, a boolean, a list of strings or a map"
            raise FeaturizeError(f"{what(join(path, key))} must be {rule} (got {shown(value)})")


def _add_bag(items: list[Any] | tuple[Any, ...], head: str, path: str, out: dict[str, float]) -> None:
    """Add the features of a list of strings."""
    counts: dict[str, float] = {}
    for item in items:
        if not isinstance(item, str):
            raise FeaturizeError(f"field '{path}' must be a list of strings (got {shown(item)} in it)")
        name = fit(f"{head}={item}")
        counts[name] = counts.get(name, 0.0) + 1.0
    out.update(counts)
