"""Parquet files, read by DuckDB (the extra ``files``): each row is a record."""

import datetime as dt
import decimal
from collections.abc import Iterator
from typing import Any

from learner.errors import FormatError
from learner.files.example import Example, OnError, Packed, pack_units
from learner.files.reading import Reading, missing_target
from learner.files.source import Source
from learner.files.values import outcome

__all__ = ["read_parquet"]

ROWS_AT_ONCE = 1000


def read_parquet(source: Source, target: str, how: Reading, on_error: OnError) -> Iterator[Packed]:
    """Yield the rows of a Parquet file; `target` is the column of the outcome.

    Raises
    ------
    FormatError
        When DuckDB is not installed or can't read the file, or the target is no column but must be one.
    """
    try:
        import duckdb
    except ImportError as error:
        raise FormatError(f"{source.name}: needs DuckDB: pip install '.[files]' in a clone") from error
    if source.path is None:
        raise FormatError(f"{source.name}: must be a file on disk")
    try:
        with duckdb.connect() as connection:
            result = connection.execute("SELECT * FROM read_parquet(?)", [source.path])
            names = [column[0] for column in result.description]
            if how.needs_target and target not in names:
                raise missing_target("a column of the file", names, target)

            def parse(row: tuple[Any, ...]) -> Example:
                record = {name: _plain(value) for name, value in zip(names, row, strict=True) if not _is_missing(value)}
                return "record", outcome(record.pop(target, None)), record, 1

            rows = iter(lambda: result.fetchmany(ROWS_AT_ONCE), [])
            units = ((number, b"", row) for number, row in enumerate((row for some in rows for row in some), 1))
            yield from pack_units(units, parse, on_error, "row")
    except duckdb.Error as error:
        raise FormatError(f"{source.name}: can't be read ({str(error).splitlines()[0]})") from error


def _is_missing(value: Any) -> bool:
    return value is None or value != value  # NaN, which pandas writes for a missing number


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: dates as ISO texts, decimals as numbers, what else JSON doesn't know as text."""
    if isinstance(value, dict):
        return {str(name): _plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, dt.date | dt.time):
        return value.isoformat()
    return value if isinstance(value, str | int | float) else str(value)
