"""Columns: a field holds one kind of value, decided once; its values are read and featurized as that kind.

=============  =================================================  ============================================================
kind           values                                             features of a field ``f``
=============  =================================================  ============================================================
number         7, "7", "1,234.5", "1.234,5" (decimal = ",")       ``f``, the value
money          "$1,234.00", "EUR 5", "(3.10)"                     ``f``, the amount; brackets mean that it is negative
percentage     "15%", 15                                          ``f``, the number of percent
category       any short value: "Lyon", "02139", 720299           ``f=VALUE``
text           a message                                          ``f.word_WORD`` for words and pairs of words; ``f.length``
yes_no         true, "Yes", "t", 1                                ``f``, if it is so
date           "31.12.2026 17:05" (format = "%d.%m.%Y %H:%M")     ``f``, in days since 1970; its year, month, weekday and hour
place          a latitude beside a longitude (with = "lon")       both numbers, and cells of 10, 1 and 0.1 degrees
id             what identifies the record                         none
ignore         anything                                           none
=============  =================================================  ============================================================

A value that is missing (see `is_missing`) gives the feature ``f_missing``; the learner then takes the mean of the numbers
``f`` so far. A value that is not of its field's kind is not lost: it gives ``f=VALUE``, and where a number is expected
``f_missing``, too.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, time
from functools import lru_cache
from hashlib import blake2b
from typing import Any

from featurizers.categories import category_text
from featurizers.dates import DAY_SECONDS, EPOCH, ISO_FORMS, WEEKDAYS, can_program
from featurizers.errors import FeaturizeError, FeaturizerSpecError, shown
from featurizers.names import SAFE_CHARACTERS, fit
from featurizers.operations import Operation
from featurizers.places import Cells
from featurizers.template import MAX_PREFIX_BYTES
from featurizers.values import plain
from featurizers.words import Words

__all__ = [
    "KINDS",
    "MISSING_SUFFIX",
    "NUMBER_PARSERS",
    "PLAIN_NUMBER",
    "SILENT",
    "canonical",
    "column_adder",
    "column_operations",
    "is_missing",
    "parse_date",
    "parse_number",
]

MISSING_SUFFIX = "_missing"
MAX_MISSING = 8  # characters of a word that stands for it, with blanks
MISSING_WORDS = frozenset(("", "na", "n/a", "#n/a", "nan", "nat", "null", "none", "nil", "-", "--", "?", "."))
YES = frozenset(("true", "t", "yes", "y", "1"))
NO = frozenset(("false", "f", "no", "n", "0"))
CELL_DEGREES = (10.0, 1.0, 0.1)
MAX_CACHED = 4096  # texts of numbers and dates

Add = Callable[[Any, dict[str, float]], None]  # takes a value and the features to add to


# ---- reading values ------------------------------------------------------------------------------------------------------
def is_missing(value: Any) -> bool:
    """Tell whether a value is missing: None, not a number, blank, or a word that stands for it, such as ``NA`` or ``null``.

    >>> [is_missing(value) for value in (None, float("nan"), " ", "N/A", "nan", 0, False, "no")]
    [True, True, True, True, True, False, False, False]
    """
    if isinstance(value, str):
        return value.strip().lower() in MISSING_WORDS if len(value) < MAX_MISSING else value.isspace()
    return plain(value) is None


PLAIN_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_CODES = "AED|AUD|BRL|CAD|CHF|CNY|CZK|DKK|EUR|GBP|HKD|HUF|ILS|INR|JPY|KRW|MXN|NOK|NZD|PLN|RMB|RUB|SAR|SEK|SGD|THB|TRY|USD|ZAR"
_SYMBOLS = "$€£¥₹₽₩₺₴฿₫₪¢"
_CURRENCY = re.compile(
    rf"\b(?:{_CODES})\b|[{_SYMBOLS}]|\bR\$|\bRs\.?|\bzł|\bKč|(?<=\d)\s*kr\.?$|^kr\.?(?=\s*\d)", re.IGNORECASE
)


@lru_cache(MAX_CACHED)
def parse_number(text: str, decimal: str = ".") -> float | None:
    """Return the number that a text stands for, with or without separators of thousands; None if it is none.

    Separators are a comma (a point, if the decimal separator is a comma), an apostrophe, blanks and underscores; groups after
    the first one have three digits.

    >>> [parse_number(text) for text in ("7", "-1,234.5", "1 234", "12,34", "1e3", "ten")]
    [7.0, -1234.5, 1234.0, None, 1000.0, None]
    >>> parse_number("1.234,5", decimal=",")
    1234.5
    """
    text = text.strip().replace("\u2212", "-")
    if decimal == ",":
        text = text.translate(_SWAPPED)
    if not PLAIN_NUMBER.fullmatch(text):
        if not _GROUPED.fullmatch(text):
            return None
        text = _SEPARATORS.sub("", text)
    value = float(text)
    return value if math.isfinite(value) else None


_SWAPPED = str.maketrans(".,", ",.")
_SEPARATORS = re.compile(r"[,'’_\s]")
_GROUPED = re.compile(r"[+-]?\d{1,3}(?:([,'’_\s])\d{3})(?:\1\d{3})*(?:\.\d*)?", re.ASCII)


CURRENCIES = (*_CODES.lower().split("|"), *_SYMBOLS)  # those that a program knows


def parse_money(text: str, decimal: str = ".") -> float | None:
    """Return the amount in a text, without its currency; None if there is none.

    >>> [parse_money(text) for text in ("$1,234.00", "-$5", "EUR 5", "(3.10)", "5 apples")]
    [1234.0, -5.0, 5.0, -3.1, None]
    """
    text = text.strip()
    sign = 1.0
    if text[:1] == "(" and text[-1:] == ")":
        text, sign = text[1:-1], -1.0
    amount = parse_number(_CURRENCY.sub("", text).strip(), decimal)
    return None if amount is None else sign * amount


def parse_percentage(text: str, decimal: str = ".") -> float | None:
    """Return the number of percent in a text, with or without the sign; None if there is none."""
    return parse_number(text.strip().removesuffix("%"), decimal)


NUMBER_PARSERS: Mapping[str, Callable[..., float | None]] = {  # the kinds that are numbers
    "number": parse_number,
    "money": parse_money,
    "percentage": parse_percentage,
}


def parse_date(text: str, pattern: str | None) -> datetime | None:
    """Return the moment in a text, in UTC (without an offset it counts as UTC); None if it has another form.

    Parameters
    ----------
    text : str
    pattern : str or None
        As for `datetime.strptime`. ISO 8601 is read in any case.

    >>> print(parse_date("31.12.2026 17:05", "%d.%m.%Y %H:%M"), parse_date("2026-12-31", None), parse_date("soon", None))
    2026-12-31 17:05:00+00:00 2026-12-31 00:00:00+00:00 None
    """
    text = text.strip()
    for form in (pattern, None) if pattern else (None,):
        try:
            moment = datetime.strptime(text, form) if form else datetime.fromisoformat(text)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            continue
    return None


def _as_number(value: Any, parse: Callable[[str], float | None]) -> float | None:
    """Return a value as a finite number, None if it is none."""
    if isinstance(value, str):
        return parse(value)
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


# ---- features of a field, one function a kind ----------------------------------------------------------------------------
def _otherwise(name: str) -> Add:
    """Return the function for values that are not of their field's kind: each is a category."""

    def add(value: Any, out: dict[str, float]) -> None:
        try:
            text = category_text(value, name)
        except FeaturizeError:
            text = shown(value)
        whole = f"{name}={text}"
        out[whole if len(whole) <= SAFE_CHARACTERS and whole.isascii() else fit(whole)] = 1.0

    return add


def _no_number(name: str) -> Add:
    """Return the function for values that should be a number and aren't: each is a category, and the number is missing."""
    otherwise, missing = _otherwise(name), fit(name + MISSING_SUFFIX)

    def add(value: Any, out: dict[str, float]) -> None:
        otherwise(value, out)
        out[missing] = 1.0

    return add


def _numbers(parse: Callable[..., float | None]) -> Callable[..., Add]:
    """Return the maker of the functions for a kind that is a number."""

    def make(name: str, decimal: str = ".") -> Add:
        feature, otherwise = fit(name), _no_number(name)

        def add(value: Any, out: dict[str, float]) -> None:
            number = value if type(value) is float else _as_number(value, lambda text: parse(text, decimal))
            if number is None or number - number != 0.0:
                otherwise(value, out)
            elif number:
                out[feature] = number

        return add

    return make


def _prefix(name: str) -> str:
    """Return a field's name and a point, as the prefix of a template; of a long name the beginning and a hash."""
    return f"{name}." if len(name.encode("utf-8", "replace")) < MAX_PREFIX_BYTES else f"{_shortened(name)}."


def _shortened(name: str) -> str:
    digest = blake2b(name.encode("utf-8", "replace"), digest_size=8).hexdigest()
    return f"{name[: MAX_PREFIX_BYTES // 8]}~{digest}"


def _category(name: str) -> Add:
    return _otherwise(name)


def _text(name: str) -> Add:
    add_words = Words(prefix=_prefix(name), n=2).adder()
    length = fit(f"{name}.length")

    def add(value: Any, out: dict[str, float]) -> None:
        text = value if isinstance(value, str) else category_text(value, name)
        add_words(text, out)
        out[length] = float(len(text))

    return add


def _yes_no(name: str) -> Add:
    feature, otherwise = fit(name), _otherwise(name)

    def add(value: Any, out: dict[str, float]) -> None:
        word = value.strip().lower() if isinstance(value, str) else category_text(value, name).lower()
        if word in YES:
            out[feature] = 1.0
        elif word not in NO:
            otherwise(value, out)

    return add


def _date(name: str, format: str | None = None) -> Add:  # noqa: A002 -- the key in a spec
    otherwise = _no_number(name)

    @lru_cache(MAX_CACHED)
    def features(text: str) -> dict[str, float] | None:
        moment = parse_date(text, format)
        return None if moment is None else moment_features(moment)

    def moment_features(moment: datetime) -> dict[str, float]:
        days = (moment - EPOCH).total_seconds() / DAY_SECONDS
        found = {fit(name): days} if days else {}
        found |= {
            fit(f"{name}.year={moment.year}"): 1.0,
            fit(f"{name}.month={moment.month}"): 1.0,
            fit(f"{name}.weekday={WEEKDAYS[moment.weekday()]}"): 1.0,
        }
        if moment.time() != time():
            found[fit(f"{name}.hour={moment.hour}")] = 1.0
        return found

    def add(value: Any, out: dict[str, float]) -> None:
        found = features(value) if isinstance(value, str) else None
        if found is None:
            otherwise(value, out)
        else:
            out.update(found)

    return add


def _nothing(value: Any, out: dict[str, float]) -> None:
    """Add nothing: what is left out."""


def _unless_missing(name: str, add: Add) -> Add:
    """Return the function that adds a feature for a value that is missing, and does for others what `add` does."""
    missing = fit(name + MISSING_SUFFIX)

    def add_or_miss(value: Any, out: dict[str, float]) -> None:
        if is_missing(value):
            out[missing] = 1.0
        else:
            add(plain(value), out)

    return add_or_miss


def _plain_number_first(name: str, add: Add) -> Add:
    """Return a function that does what `add` does, and is quick for numbers as most texts have them."""
    feature = fit(name)

    def add_number(value: Any, out: dict[str, float]) -> None:
        if type(value) is str and "_" not in value and value.isascii():
            try:
                number = float(value)
            except ValueError:
                add(value, out)
                return
            if number - number == 0.0:  # neither infinite nor nan
                if number:
                    out[feature] = number
                return
        add(value, out)

    return add_number


KINDS: Mapping[str, Callable[..., Add]] = {
    **{kind: _numbers(parse) for kind, parse in NUMBER_PARSERS.items()},
    "category": _category,
    "text": _text,
    "yes_no": _yes_no,
    "date": _date,
}
OPTIONS = {
    **dict.fromkeys(NUMBER_PARSERS, ("decimal",)),
    "date": ("format",),
    "place": ("with",),
}
SILENT = ("id", "ignore")  # kinds without features


# ---- the columns of a spec -----------------------------------------------------------------------------------------------
def canonical(columns: Any) -> dict[str, dict[str, str]]:
    """Return columns as data, each a map with its kind, sorted by name, after checking them.

    >>> canonical({"price": "money", "at": {"kind": "date", "format": "%d.%m.%Y"}})
    {'at': {'kind': 'date', 'format': '%d.%m.%Y'}, 'price': {'kind': 'money'}}
    >>> canonical({"price": "mony"})
    Traceback (most recent call last):
    featurizers.errors.FeaturizerSpecError: kind of column 'price' must be one of number, money, ... (got 'mony')
    """
    if not isinstance(columns, Mapping):
        raise FeaturizerSpecError(f"columns must be a map of names to kinds (got {shown(columns)})")
    return {name: _checked(name, columns[name]) for name in sorted(columns)}


def _checked(name: Any, column: Any) -> dict[str, str]:
    options = dict(column) if isinstance(column, Mapping) else {"kind": column}
    kind = options.get("kind")
    if not isinstance(name, str) or not name:
        raise FeaturizerSpecError(f"a column must have a text as its name (got {shown(name)})")
    if not isinstance(kind, str) or kind not in (*KINDS, "place", *SILENT):
        raise FeaturizerSpecError(
            f"kind of column {name!r} must be one of {', '.join([*KINDS, 'place', *SILENT])} (got {shown(kind)})"
        )
    allowed = OPTIONS.get(kind, ())
    for key, value in options.items():
        if key != "kind" and (key not in allowed or not isinstance(value, str)):
            rule = f"only {', '.join(allowed)}, a text," if allowed else "nothing"
            raise FeaturizerSpecError(
                f"column {name!r} must have {rule} beside its kind {kind} (got {key} = {shown(value)})"
            )
    if "format" in options and not _is_format(options["format"]):
        raise FeaturizerSpecError(
            f"format of column {name!r} must be one of strptime's (got {shown(options['format'])})"
        )
    if options.get("decimal", ".") not in (".", ","):
        raise FeaturizerSpecError(f"decimal of column {name!r} must be . or , (got {shown(options['decimal'])})")
    if kind == "place" and "with" not in options:
        raise FeaturizerSpecError(f"column {name!r} must name the column of its longitude: with = NAME (it is missing)")
    return {"kind": kind, **{key: options[key] for key in allowed if key in options}}


def _is_format(pattern: str) -> bool:
    """Tell whether moments can be written and read in a format."""
    try:
        datetime.strptime(datetime(2026, 12, 31, tzinfo=UTC).strftime(pattern), pattern)
    except (ValueError, re.error):
        return False
    return "%" in pattern


def column_adder(columns: Mapping[str, Mapping[str, str]], prefix: str = "") -> tuple[dict[str, Add], Add]:
    """Return the functions of the columns by name, and the function that adds what concerns the whole record.

    Each of the first takes a value. The last one adds a feature for every declared column that is absent, and cells of places.
    """
    adders: dict[str, Add] = {}
    places: list[tuple[str, str, Any]] = []
    for name, column in columns.items():
        options = {key: value for key, value in column.items() if key != "kind"}
        if column["kind"] == "place":
            longitude = options["with"]
            for each in (name, longitude):
                adders[each] = _unless_missing(prefix + each, KINDS["number"](prefix + each))
            places.append((name, longitude, Cells(size=CELL_DEGREES, prefix=_prefix(prefix + name)).adder()))
        elif column["kind"] in SILENT:
            adders[name] = _nothing
        else:
            add = _unless_missing(prefix + name, KINDS[column["kind"]](prefix + name, **options))
            is_plain = column["kind"] == "number" and not options
            adders[name] = _plain_number_first(prefix + name, add) if is_plain else add
    expected = [(name, fit(prefix + name + MISSING_SUFFIX)) for name, add in adders.items() if add is not _nothing]

    def add_rest(record: Any, out: dict[str, float]) -> None:
        for name, feature in expected:
            if name not in record:
                out[feature] = 1.0
        for latitude, longitude, add_cells in places:
            lat, lon = (_as_number(record.get(each), parse_number) for each in (latitude, longitude))
            if lat is not None and lon is not None and abs(lat) <= 90.0 and abs(lon) <= 180.0:
                add_cells({"lat": lat, "lon": lon}, out)

    return adders, add_rest


def column_operations(columns: Mapping[str, Mapping[str, str]], prefix: str) -> list[tuple[str, Operation]]:
    """Return the names and operations of columns, then those of places' cells, which have the name "".

    There are none for a date in a format that no program reads, and for a longitude that is a column of its own, too.
    """
    found: dict[str, Operation] = {}
    cells: list[Operation] = []
    for name, column in columns.items():
        kind, full, options = column["kind"], prefix + name, {key: column[key] for key in column if key != "kind"}
        if kind == "place":
            longitude = options["with"]
            places = len(found), len(found) + 1
            if longitude in columns or longitude in found or longitude == name:
                return []
            found[name], found[longitude] = (
                _column_operation("number", prefix + each, {}) for each in (name, longitude)
            )
            if of_cells := Cells(size=CELL_DEGREES, prefix=_prefix(full)).operation():
                numbers = (*places, *of_cells.numbers)
                cells.append(Operation("column_cells", (None,), True, of_cells.texts, numbers))
        elif kind == "date" and not can_program(options.get("format", "")):
            return []
        else:
            found[name] = _column_operation(kind, full, options)
    return [*found.items(), *(("", operation) for operation in cells)]


def _column_operation(kind: str, full: str, options: Mapping[str, str]) -> Operation:
    """Return the operation of a column of one kind; ``full`` is the field's name with the prefix."""
    texts: tuple[str, ...] = (f"{full}=", "false", "true", fit(full), fit(full + MISSING_SUFFIX))
    numbers: tuple[float, ...] = ()
    if kind in SILENT:
        kind = "silent"
    elif kind == "text" and (words := Words(prefix=_prefix(full), n=2).operation()):
        texts = (words.texts[0], "", "", fit(f"{full}.length"), texts[-1])
        numbers = words.numbers
    elif kind == "date":
        heads = (f"{full}.{part}=" for part in ("year", "month", "weekday", "hour"))
        forms = (options["format"],) if "format" in options else ISO_FORMS
        texts = (*texts, *heads, *WEEKDAYS, *forms)
    elif kind in NUMBER_PARSERS:
        numbers = ([*NUMBER_PARSERS].index(kind), options.get("decimal") == ",")
        kind = "number"
    return Operation(f"column_{kind}", (None,), True, texts, numbers)
