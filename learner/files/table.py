"""Tables, csv and tsv: one column is the outcome, the others are the record; an empty cell is None.

The delimiter is recognised (see `learner.files.dialect`). The first line names the columns, unless `Reading.columns` does. A
column has one kind, decided on the first rows (see `learner.files.profile`), unless a model says what its columns hold.
"""

import csv
import functools
import io
import itertools
import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from featurizers.columns import NUMBER_PARSERS, is_missing
from learner.errors import FormatError
from learner.files import source
from learner.files.cells import as_text, reader_of, text_reader_of
from learner.files.dialect import delimiter_of, named_delimiter
from learner.files.example import Example, OnError, Packed, pack_units
from learner.files.profile import SAMPLE_ROWS, profiles
from learner.files.reading import Reading, missing_target
from learner.files.source import BLOCK_BYTES, lines
from learner.files.values import outcome
from learner.packing import number

__all__ = ["read_csv", "read_tsv"]

_WORD = re.compile(r"\w+")
MAX_ROW_LINES = 1000  # of a row with line breaks in its cells; more, and a quotation mark was not closed

Cells = list[str] | csv.Error  # of a row, or the error that parsing it raised


class Row(NamedTuple):
    """A row: the number of its first line, its raw lines, and its cells or the error that parsing them raised."""

    line: int
    raw: bytes
    cells: Cells


def _read(stream: io.BufferedReader, target: str, how: Reading, on_error: OnError, *, usual: str) -> Iterator[Packed]:
    """Yield the examples of a stream; `target` is the column of the outcome.

    Raises
    ------
    FormatError
        When the header can't be used, or the target is no column but must be one.
    """
    numbered_lines = lines(stream)
    delimiter = named_delimiter(stream.peek(BLOCK_BYTES).partition(b"\n")[0])
    if delimiter:
        next(numbered_lines)
    rows = _Rows(numbered_lines, delimiter or delimiter_of(stream.peek(BLOCK_BYTES), target, usual))
    header = next(filter(_has_cells, rows), None) if how.columns is None else None
    rows.n_cells = len(header.cells) if header and isinstance(header.cells, list) else None
    first = next(filter(_has_cells, rows), None)
    given = _given_names(how.columns, first) if header is None else _header_names(header)
    if how.needs_target and first and target not in [name.strip() for name in given]:
        if header and _looks_like_data(given, first.cells):
            raise FormatError(
                f"line {header.line}: the first line looks like data: add --no-header or --columns NAME,..."
            )
        if len(given) == 1 and target in _WORD.findall(given[0]):
            raise FormatError(f"columns must be divided by a comma, a semicolon, a tab or | (got {given[0]!r:.60})")
        raise missing_target("a column of the file", _distinct(given), target)
    names, n_left_out = _names(given, how)
    rows.n_cells = len(names)

    content = itertools.chain([first] if first else [], rows)
    if how.kinds is None:
        sample = list(itertools.islice(content, SAMPLE_ROWS))
        decided = profiles(dict(zip(names, cells, strict=True)) for row in sample if (cells := _whole(row, len(names))))
        how.on_kinds({name: column for name, column in decided.items() if name not in names[:n_left_out]})
        readers = {name: reader_of(column.column, _counter(name, column.kind, how)) for name, column in decided.items()}
        target_column = decided[target].column if target in decided else {}
        content = itertools.chain(sample, content)
    else:
        kinds = _kinds_of_cells(how.kinds)
        readers = {name: text_reader_of(column, _counter(name, column["kind"], how)) for name, column in kinds.items()}
        target_column = how.kinds.get(target, {})
    columns = [(name, readers.get(name, as_text)) for name in names]
    columns = [(name, read_cell) if name != target else (name, as_text) for name, read_cell in columns]

    read_target = _target_reader(target_column)

    def parse(row: Cells) -> Example:
        if isinstance(row, csv.Error):
            raise FormatError(f"must be csv ({row})")
        if len(row) != len(names):
            raise FormatError(f"must have the header's {len(names)} columns (got {len(row)})")
        cells = zip(columns[n_left_out:], row[n_left_out:], strict=True)
        record = {name: read_cell(text) for (name, read_cell), text in cells if read_cell is not None}
        return "record", read_target(record.pop(target, None)), record, 1

    yield from pack_units(content, parse, on_error)


read_csv = functools.partial(_read, usual=",")
read_tsv = functools.partial(_read, usual="\t")


def _counter(name: str, kind: str, how: Reading) -> Callable[[], None]:
    """Return the function that counts a value that is not of its column's kind."""

    def count() -> None:
        if how.others is not None:
            how.others[name, kind] += 1

    return count


def _kinds_of_cells(kinds: Mapping[str, Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    """Return the kinds of columns, of a place's two columns that of numbers."""
    places = [(name, column["with"]) for name, column in kinds.items() if column["kind"] == "place"]
    return {**kinds, **{name: {"kind": "number"} for pair in places for name in pair}}


def _target_reader(column: Mapping[str, str]) -> Callable[[str | None], Any]:
    """Return the function that turns a cell into an outcome: a number also as the column's kind writes it."""
    as_number = reader_of(column, lambda: None) if column.get("kind") in NUMBER_PARSERS else None

    def read_target(text: str | None) -> Any:
        if text is None or is_missing(text):
            return None
        found = outcome(text)
        return as_number(text) if as_number and isinstance(found, str) else found

    return read_target


def _whole(row: Row, n: int) -> list[str] | None:
    """Return the cells of a row that could be parsed and has n cells."""
    return row.cells if isinstance(row.cells, list) and len(row.cells) == n else None


# ---- the names of the columns ----
def _has_cells(row: Row) -> bool:
    return bool(row.cells)  # an error is true, too


def _header_names(header: Row) -> Sequence[str]:
    if isinstance(header.cells, csv.Error):
        raise FormatError(f"line {header.line}: the header must be csv ({header.cells})")
    return [name.strip() for name in header.cells]


def _given_names(columns: Sequence[str] | None, first: Row | None) -> Sequence[str]:
    """Return the names of a table without a header: those given, or one without a name for each cell of the first row."""
    n_cells = len(first.cells) if first and isinstance(first.cells, list) else None
    if not columns:
        return [f"c{place}" for place in range(1, (n_cells or 0) + 1)]
    if n_cells is not None and n_cells != len(columns):
        raise FormatError(
            f"--columns must name the file's {n_cells} columns (got {len(columns)}: {', '.join(columns)})"
        )
    return [name.strip() for name in columns]


def _names(given: Sequence[str], how: Reading) -> tuple[list[str], int]:
    """Return a name of its own for each column, and how many first columns are left out; say which names were made up.

    R and pandas write row numbers as a first column without a name: it is left out.
    """
    names = _distinct(given)
    n_left_out = int(how.columns is None and len(given) > 1 and not given[0])
    changed = [name for old, name in zip(given[n_left_out:], names[n_left_out:], strict=True) if old != name]
    if changed:
        how.on_note(f"columns without a name of their own are called {', '.join(changed)}")
    return names, n_left_out


def _distinct(given: Sequence[str]) -> list[str]:
    """Return names with a number after those that come again, and ``c3`` for a third column without a name.

    >>> _distinct(["a", "a", "", "a.2", "a"])
    ['a', 'a.3', 'c3', 'a.2', 'a.4']
    """
    taken = set(given)
    names: dict[str, None] = {}  # the names as keys, in order
    numbered: dict[str, Iterator[str]] = {}  # the candidates for a name that comes again, each looked at once
    for place, name in enumerate(given, 1):
        stem = name or f"c{place}"
        if not name or name in names:
            candidates = numbered.setdefault(stem, _candidates(stem))
            name = next(c for c in candidates if c not in taken and c not in names)
        names[name] = None
    return list(names)


def _candidates(stem: str) -> Iterator[str]:
    return itertools.chain([stem], (f"{stem}.{n}" for n in itertools.count(2)))


def _looks_like_data(header: Sequence[str], row: Cells) -> bool:
    """Tell whether most names above a number in a row are numbers, too."""
    if isinstance(row, csv.Error):
        return False
    above = [name for name, text in zip(header, row, strict=False) if name and number(text.strip()) is not None]
    return sum(number(name) is not None for name in above) > len(above) / 2


# ---- rows ----
class _Rows:
    """The rows of numbered lines.

    A cell in quotes may hold line breaks. A row of several lines must have `n_cells`; otherwise a quotation mark was probably
    not closed: then its first line is a row with an error, and reading goes on at its second line.
    """

    def __init__(self, numbered_lines: Iterator[tuple[int, bytes, bytes]], delimiter: str) -> None:
        self.n_cells: int | None = None  # None: not known yet
        self._numbered_lines, self._delimiter = numbered_lines, delimiter
        self._row: list[tuple[int, bytes]] = []  # the lines of the current row
        self._n_bytes = 0  # of these lines
        self._again: deque[tuple[int, bytes]] = deque()  # lines to read once more
        self._reader = self._new_reader()

    def __iter__(self) -> "_Rows":
        return self

    def __next__(self) -> Row:
        row = self._row
        row.clear()
        self._n_bytes = 0
        cells: Cells
        try:
            cells = next(self._reader)
        except csv.Error as error:
            cells = error
        if len(row) > 1 and (isinstance(cells, csv.Error) or self.n_cells not in (None, len(cells))):
            self._again.extendleft(reversed(row[1:]))
            del row[1:]
            cells = csv.Error("a quotation mark is not closed")
            self._reader = self._new_reader()
        return Row(row[0][0], row[0][1] if len(row) == 1 else b"".join(raw for _, raw in row), cells)

    def _new_reader(self) -> Iterator[list[str]]:
        return csv.reader(map(self._text, self._lines()), delimiter=self._delimiter, strict=True)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        again = self._again
        while again:
            yield again.popleft()
        for number_, raw, _ in self._numbered_lines:
            yield number_, raw

    def _text(self, line: tuple[int, bytes]) -> str:
        self._row.append(line)
        self._n_bytes += len(line[1])
        if len(self._row) > MAX_ROW_LINES:
            raise csv.Error(f"a row must have at most {MAX_ROW_LINES} lines")
        if self._n_bytes > source.MAX_EXAMPLE_BYTES:
            raise csv.Error(f"a row must have at most {source.MAX_EXAMPLE_BYTES} bytes")
        return line[1].decode("utf-8", "surrogateescape")  # bad UTF-8 is rejected when the row is packed
