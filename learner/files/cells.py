"""The cells of a table: read as the kind of their column, or left as texts; those that are not of the kind are counted."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from featurizers.columns import NO, NUMBER_PARSERS, PLAIN_NUMBER, SILENT, YES, is_missing, parse_date

__all__ = ["as_text", "reader_of", "text_reader_of"]

Test = Callable[[str], Any]
Note = Callable[[], None]  # called for each cell that is not of its column's kind, nor missing


def as_text(text: str) -> str | None:
    """Return a cell unchanged; None if it is blank."""
    return text if text and not text.isspace() else None


def reader_of(column: Mapping[str, str], on_other: Note) -> Callable[[str], Any] | None:
    """Return the function that turns a cell of a column into a number, a boolean, a text or None; None to leave it out."""
    kind = column.get("kind", "")
    if kind in SILENT:
        return None
    if kind == "yes_no":
        return _boolean_reader(on_other)
    if (parse := NUMBER_PARSERS.get(kind)) is None:
        return text_reader_of(column, on_other)
    decimal = column.get("decimal", ".")

    def as_number(text: str) -> Any:
        try:
            value = float(text)
            if value - value == 0.0 and "_" not in text and text.isascii():  # the plain case; neither infinite nor nan
                return value
        except ValueError:
            pass
        return as_other_number(text)

    def as_other_number(text: str) -> Any:
        if is_missing(text):
            return None
        value = parse(text, decimal)
        if value is None:
            on_other()
            return text
        return value

    return as_number if kind == "number" and decimal == "." else as_other_number


def _boolean_reader(on_other: Note) -> Callable[[str], Any]:
    def as_boolean(text: str) -> Any:
        word = text.strip().lower()
        if word in YES or word in NO:
            return word in YES
        if is_missing(text):
            return None
        on_other()
        return text

    return as_boolean


def text_reader_of(column: Mapping[str, str], on_other: Note) -> Callable[[str], str | None]:
    """Return the function that leaves a cell of a column as it is, for a featurizer to read; a blank one becomes None."""
    tests = _tests_of(column)
    if tests is None:
        return as_text
    is_plain, is_of_kind = tests

    def read(text: str) -> str | None:
        if is_plain(text):
            return text
        if text and not text.isspace():
            if not is_missing(text) and not is_of_kind(text):
                on_other()
            return text
        return None

    return read


def _tests_of(column: Mapping[str, str]) -> tuple[Test, Test] | None:
    """Return a quick test that most texts of a column's kind pass, and the test that all pass; None if any text is of it."""
    kind, decimal = column.get("kind", ""), column.get("decimal", ".")
    if kind == "yes_no":
        words = YES | NO
        return words.__contains__, lambda text: text.strip().lower() in words
    if kind == "date":
        pattern = column.get("format")
        is_plain = re.compile(re.sub("%.|.", _directive, pattern)).fullmatch if pattern else _ISO
        return is_plain, lambda text: parse_date(text, pattern) is not None
    if (parse := NUMBER_PARSERS.get(kind)) is None:
        return None
    is_plain = _AMOUNT if kind == "money" and decimal == "." else PLAIN_NUMBER.fullmatch
    return is_plain, lambda text: parse(text, decimal) is not None


# What most values of these kinds match; quicker than parsing them. Of each month only 28 days, so that what matches is a date.
_AMOUNT = re.compile(r"-?[$€£]?[0-9]{1,3}(?:,[0-9]{3})*(?:\.[0-9]+)?").fullmatch
_ISO = re.compile(
    r"[12][0-9]{3}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])(?:[T ](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9])?Z?)?"
).fullmatch
_DIRECTIVES = {
    "%d": "(?:0?[1-9]|1[0-9]|2[0-8])", "%m": "(?:0?[1-9]|1[0-2])", "%Y": "[1-9][0-9]{3}", "%y": "[0-9]{2}",
    "%H": "(?:[01]?[0-9]|2[0-3])", "%M": "[0-5]?[0-9]", "%S": "[0-5]?[0-9]", "%f": "[0-9]{1,6}",
}  # fmt: skip


def _directive(found: re.Match[str]) -> str:
    """Return the regular expression of a directive of strptime, or of another character; of unknown ones none matches."""
    text = found[0]
    return _DIRECTIVES.get(text, "(?!)" if len(text) > 1 else re.escape(text))
