"""Tables with a header row, csv and tsv: one column is the outcome, the other cells that aren't empty are the record."""

import csv
import functools
import io
from collections.abc import Iterator

from learner.errors import FormatError
from learner.files.example import Example, OnError, Packed, pack_units
from learner.files.source import lines
from learner.files.values import cell, outcome

__all__ = ["read_csv", "read_tsv"]


def _read(stream: io.BufferedReader, target: str, on_error: OnError, *, delimiter: str) -> Iterator[Packed]:
    """Yield the examples of a stream; `target` is the column of the outcome.

    Raises
    ------
    FormatError
        When the header can't be used.
    """
    rows = _rows(lines(stream), delimiter)
    line, _, header = next((unit for unit in rows if unit[2]), (0, b"", []))
    if isinstance(header, csv.Error):
        raise FormatError(f"line {line}: the header must be csv ({header})")
    names = [name.strip() for name in header]
    numbered = len(names) > 1 and not names[0]  # R and pandas write row numbers as a first column without a name
    if "" in names[numbered:] or len(set(names)) < len(names):
        raise FormatError(f"line {line}: every column must have a name of its own (got {names})")

    def parse(row: list[str] | csv.Error) -> Example:
        if isinstance(row, csv.Error):
            raise FormatError(f"must be csv ({row})")
        if len(row) != len(names):
            raise FormatError(f"must have the header's {len(names)} columns (got {len(row)})")
        cells = zip(names[numbered:], row[numbered:], strict=True)
        record = {name: cell(text) for name, text in cells if text and not text.isspace()}
        return "record", outcome(record.pop(target, None)), record, 1

    yield from pack_units(rows, parse, on_error)


read_csv = functools.partial(_read, delimiter=",")
read_tsv = functools.partial(_read, delimiter="\t")


def _rows(
    numbered_lines: Iterator[tuple[int, bytes, bytes]], delimiter: str
) -> Iterator[tuple[int, bytes, list[str] | csv.Error]]:
    """Yield each row as (the number of its first line, its raw lines, its cells or the error that parsing them raised)."""
    read_lines: list[tuple[int, bytes]] = []  # the lines of the current row

    def text(line: tuple[int, bytes, bytes]) -> str:
        read_lines.append(line[:2])
        return line[1].decode("utf-8", "surrogateescape")  # bad UTF-8 is rejected when the row is packed

    reader = csv.reader(map(text, numbered_lines), delimiter=delimiter, strict=True)
    while True:
        read_lines.clear()
        row: list[str] | csv.Error
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            row = error
        yield read_lines[0][0], b"".join(raw for _, raw in read_lines), row
