"""What a file's columns hold: the kind of each (see `featurizers.columns`), decided once, on a sample of its rows.

A kind is chosen if nearly all of a column's values are of it. What looks like a number, but is a name, stays one: codes with
leading zeros, long digits with an ``e`` between them, and whole numbers that count the rows.
"""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from featurizers.columns import (
    NO,
    PLAIN_NUMBER,
    YES,
    is_missing,
    parse_date,
    parse_money,
    parse_number,
    parse_percentage,
)

__all__ = ["SAMPLE_ROWS", "Profile", "profile", "profiles"]

SAMPLE_ROWS = 10_000
NEARLY_ALL = 0.98  # of the values must be of a kind
MIN_FOR_ID = 50  # rows, below which nothing is taken for an id
MIN_WORDS, MIN_DISTINCT_TEXTS = 3.0, 0.5  # of a text: words on average, and the share of different values
DATES_TRIED = 500  # different values that a date format must fit


class Profile(NamedTuple):
    """What a column holds.

    Attributes
    ----------
    column : dict
        Its kind, with the kind's options: an entry of a spec's ``columns``; {} if it holds maps or lists.
    reason : str
        Why, in a few words.
    n, n_missing, n_distinct : int
        Values in the sample, those that are missing, and different ones.
    example : str
        One of its values.
    """

    column: dict[str, str]
    reason: str
    n: int
    n_missing: int
    n_distinct: int
    example: str

    @property
    def kind(self) -> str:
        """The kind's name; ``by type`` if none fits."""
        return self.column.get("kind", "by type")


def profiles(rows: Iterable[Mapping[str, Any]]) -> dict[str, Profile]:
    """Return the profiles of the columns of some rows, by name, in order of first sight.

    >>> rows = [{"zip": "02139", "price": "$1,200", "on": "31.12.2026"}, {"zip": "10001", "price": "NA", "on": "05.01.2027"}]
    >>> for name, column in profiles(rows).items():
    ...     print(name, column.column, column.reason)
    zip {'kind': 'category'} numbers with leading zeros are codes
    price {'kind': 'money'} amounts with a currency
    on {'kind': 'date', 'format': '%d.%m.%Y'} dates as 31.12.2026
    """
    columns: dict[str, list[Any]] = {}
    n = 0
    for n, row in enumerate(rows, 1):  # noqa: B007 -- the number of rows
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return {name: profile(values, n) for name, values in columns.items()}


def profile(values: Sequence[Any], n_rows: int | None = None) -> Profile:
    """Return the profile of a column's values; rows without the column count as missing."""
    n = len(values) if n_rows is None else n_rows
    present = [value for value in values if not is_missing(value)]
    counts = Counter(str(value).strip() for value in present)
    example = counts.most_common(1)[0][0] if counts else ""
    column, reason = _decide(present, counts, n - len(present))
    return Profile(column, reason, n, n - len(present), len(counts), example)


# ---- deciding ------------------------------------------------------------------------------------------------------------
def _decide(present: list[Any], counts: Counter[str], n_missing: int) -> tuple[dict[str, str], str]:
    """Return a column's kind with options, and the reason."""
    if not present:
        return {"kind": "ignore"}, "no values"
    if any(isinstance(value, dict | list) for value in present):
        if not all(map(_can_be_features, present)):
            return {"kind": "ignore"}, "lists of other things than texts are no features"
        return {}, "maps or lists: each value by its type"
    if all(isinstance(value, bool) for value in present) or _is_yes_or_no(counts):
        return {"kind": "yes_no"}, "two words for yes and no" if len(counts) > 1 else "a word for yes or no"
    if not any(isinstance(value, str) for value in present):
        if _counts_rows(present):
            return {"kind": "id"}, "whole numbers that count the rows"
        return {"kind": "number"}, "numbers"
    return _of_texts(counts, present, n_missing)


def _can_be_features(value: Any) -> bool:
    """Tell whether the featurizer `fields` takes a value: within maps, lists must be of texts."""
    if isinstance(value, dict):
        return all(map(_can_be_features, value.values()))
    return not isinstance(value, list) or all(isinstance(item, str) for item in value)


_WORDS = (YES | NO) - {"0", "1"}  # a single letter is one only beside another word


def _is_yes_or_no(counts: Counter[str]) -> bool:
    words = {text.lower() for text in counts}
    if {len(word) > 1 for word in words} == {True, False}:  # beside a whole word 0 and 1 mean the same
        words -= {"0", "1"}
    return words <= _WORDS and (len(words) > 1 or max(map(len, words)) > 1)


def _of_texts(counts: Counter[str], present: Sequence[Any], n_missing: int) -> tuple[dict[str, str], str]:
    """Return the kind of texts."""
    n = len(present)
    for find in (_day_number, _number, _money, _percentage, _date):
        if found := find(counts):
            if found[0]["kind"] == "number" and _counts_rows(present):
                return {"kind": "id"}, "whole numbers that count the rows"
            return found
    if n >= MIN_FOR_ID and not n_missing and len(counts) == n and all(map(_IDENTIFIER.fullmatch, counts)):
        return {"kind": "id"}, "another one in every row"
    words = sum(len(text.split()) * k for text, k in counts.items()) / n
    if words >= MIN_WORDS and len(counts) >= MIN_DISTINCT_TEXTS * n:
        return {"kind": "text"}, f"{words:.0f} words on average"
    if any(map(_CODE.fullmatch, counts)):
        return {"kind": "category"}, "numbers with leading zeros are codes"
    if any(map(_HEX.fullmatch, counts)):
        return {"kind": "category"}, "digits and letters: codes"
    return {"kind": "category"}, f"{len(counts)} different texts"


_IDENTIFIER = re.compile(r"(?=.*\d)[\w.:/+-]{6,64}")  # without blanks, with a digit
_CODE = re.compile(r"0\d+")
_HEX = re.compile(r"\d{2,}[eE]\d+|(?=.*\d)(?=.*[a-fA-F])[0-9a-fA-F]{6,}")


def _share(counts: Counter[str], is_it: Callable[[str], Any]) -> float:
    """Return the share of the values for which a condition holds."""
    return sum(k for text, k in counts.items() if is_it(text)) / counts.total()


def _counts_rows(values: Sequence[Any]) -> bool:
    """Tell whether values are whole numbers, each one more than the one before."""
    if len(values) < MIN_FOR_ID:
        return False
    numbers = [parse_number(value) if isinstance(value, str) else value for value in values]
    return all(a is not None and b is not None and b - a == 1 for a, b in itertools.pairwise(numbers))


# ---- kinds of texts ------------------------------------------------------------------------------------------------------
def _decimal(texts: Iterable[str]) -> str:
    """Return the decimal separator of numbers: a comma if some value has one as only a decimal separator can be."""
    texts = list(texts)
    if any(_COMMA.search(text) for text in texts) and not any(_POINT.search(text) for text in texts):
        return ","
    return "."


_COMMA = re.compile(r"^\D*\d+,(?:\d{1,2}|\d{4,})\D*$|\d\.\d{3},\d|^\D*0,\d+\D*$")  # 3,5  1.234,5  0,125
_POINT = re.compile(r"\.(?:\d{1,2}|\d{4,})\D*$|\d,\d{3}\.\d|^\D*0\.\d+\D*$")


def _with_decimal(kind: str, decimal: str) -> dict[str, str]:
    return {"kind": kind} | ({"decimal": decimal} if decimal != "." else {})


def _number(counts: Counter[str]) -> tuple[dict[str, str], str] | None:
    if any(map(_NO_NUMBER.fullmatch, counts)):
        return None
    decimal = _decimal(counts)
    if _share(counts, lambda text: parse_number(text, decimal) is not None) < NEARLY_ALL:
        return None
    separated = any(not PLAIN_NUMBER.fullmatch(text) for text in counts if parse_number(text, decimal) is not None)
    words = " with decimal commas" if decimal == "," else " with separators of thousands" if separated else ""
    return _with_decimal("number", decimal), f"numbers{words}"


# 02139; 720299e3: printed numbers have one digit or a point before the e; digits that a float doesn't hold; +49151
_NO_NUMBER = re.compile(r"0\d+|\d{2,}[eE]\d+|\d{16,}|\+\d{5,}")


def _money(counts: Counter[str]) -> tuple[dict[str, str], str] | None:
    decimal = _decimal(counts)
    have_currency = _share(counts, lambda text: parse_number(text, decimal) is None) > 1.0 - NEARLY_ALL
    is_amount = _share(counts, lambda text: parse_money(text, decimal) is not None) >= NEARLY_ALL
    return (_with_decimal("money", decimal), "amounts with a currency") if have_currency and is_amount else None


def _percentage(counts: Counter[str]) -> tuple[dict[str, str], str] | None:
    decimal = _decimal(counts)
    share = _share(counts, lambda text: text.endswith("%") and parse_percentage(text, decimal) is not None)
    return (_with_decimal("percentage", decimal), "numbers with a percent sign") if share >= NEARLY_ALL else None


# ---- dates ---------------------------------------------------------------------------------------------------------------
_DAYS = tuple(
    separator.join(parts)
    for parts in (
        ("%Y", "%m", "%d"), ("%d", "%m", "%Y"), ("%m", "%d", "%Y"), ("%d", "%m", "%y"), ("%m", "%d", "%y"),
        ("%d", "%b", "%Y"), ("%d", "%B", "%Y"), ("%b", "%d", "%Y"), ("%d", "%b", "%y"), ("%Y", "%b", "%d"),
    )
    for separator in ("-", "/", ".", " ")
)  # fmt: skip
DAY_FORMATS = (
    *_DAYS, "%b %d, %Y", "%B %d, %Y", "%d %b, %Y", "%a, %d %b %Y", "%A, %d %B %Y", "%A, %B %d, %Y", "%a %b %d %Y", "%d. %B %Y",
)  # fmt: skip
CLOCK_FORMATS = (
    "",
    "%H:%M",
    "%H:%M:%S",
    "%H:%M:%S.%f",
    "%I:%M %p",
    "%I:%M:%S %p",
    "%I:%M%p",
    "%H:%M:%S %z",
    "%H:%M:%S %Z",
)
FORMATS = (  # of C, and of web servers' logs; months
    "%a %b %d %H:%M:%S %Y", "%d/%b/%Y:%H:%M:%S %z", "%Y-%m", "%Y/%m", "%m/%Y", "%m.%Y", "%b %Y", "%B %Y",
)  # fmt: skip
TIMES = ("%H:%M", "%H:%M:%S", "%I:%M %p", "%I:%M:%S %p")
_TIME = re.compile(r"\d{1,2}:\d\d(?::\d\d)?(?: [AaPp][Mm])?")
_DIGIT = re.compile(r"\d")


def _day_number(counts: Counter[str]) -> tuple[dict[str, str], str] | None:
    """Return the format of days written as eight digits, of the years 1900 to 2099."""
    days = [
        _EIGHT_DIGITS.fullmatch(text) and parse_date(text, "%Y%m%d") for text in itertools.islice(counts, DATES_TRIED)
    ]
    return ({"kind": "date", "format": "%Y%m%d"}, f"dates as {next(iter(counts))}") if all(days) else None


_EIGHT_DIGITS = re.compile(r"(?:19|20)\d{6}")


def _date(counts: Counter[str]) -> tuple[dict[str, str], str] | None:
    """Return the format that all of the most frequent values have; where day and month could be either, the day first."""
    texts = [text for text, _ in counts.most_common(DATES_TRIED)]
    if all(map(_TIME.fullmatch, texts)):
        fitting = (pattern for pattern in TIMES if all(parse_date(text, pattern) for text in texts))
        return next((({"kind": "date", "format": pattern}, f"times as {texts[0]}") for pattern in fitting), None)
    if not all(map(_DIGIT.search, texts[:20])) or max(map(len, texts)) < 6:
        return None
    if not any(text.isdecimal() for text in texts) and all(parse_date(text, None) for text in texts):
        return {"kind": "date"}, f"dates in ISO 8601, as {texts[0]}"
    for day, join, clock in itertools.product(DAY_FORMATS, (" ", "T", ", "), CLOCK_FORMATS):
        pattern = f"{day}{join}{clock}" if clock else day
        if all(parse_date(text, pattern) for text in itertools.chain(texts[:3], texts)):
            return {"kind": "date", "format": pattern}, f"dates as {texts[0]}" + _either(pattern, texts)
    for pattern in FORMATS:
        if all(parse_date(text, pattern) for text in texts):
            return {"kind": "date", "format": pattern}, f"dates as {texts[0]}"
    return None


def _either(pattern: str, texts: Sequence[str]) -> str:
    """Return a warning if the month could as well come before the day."""
    if not pattern.startswith("%d") or "%m" not in pattern:
        return ""
    other = pattern.replace("%d", "\0").replace("%m", "%d").replace("\0", "%m")
    return "; the month may come first" if all(parse_date(text, other) for text in texts) else ""
