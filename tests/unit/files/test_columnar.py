"""Parquet files and patterns of files: rows are records, or one line says what is missing."""

import sys

import msgpack
import pytest

from learner.errors import FormatError
from learner.files import expand, read


def rows(path, **options):
    return [msgpack.unpackb(example.data) for example in read(path, **options)]


def test_without_duckdb_one_line_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "duckdb", None)
    path = tmp_path / "x.parquet"
    path.write_bytes(b"PAR1")
    with pytest.raises(FormatError, match=r"x\.parquet: needs DuckDB: pip install '\.\[files\]' in a clone$"):
        rows(path)


def test_a_parquet_file_is_records_and_rows_are_its_places(tmp_path):
    duckdb = pytest.importorskip("duckdb")
    path = tmp_path / "x.parquet"
    columns = (
        "i AS target, i / 2.0 AS half, DATE '2024-01-31' AS day, 1.25::DECIMAL(5, 2) AS price, 'NaN'::DOUBLE AS gone"
    )
    copy = f"COPY (SELECT {columns} FROM range(2500) rows(i)) TO '{path}' (FORMAT parquet)"  # noqa: S608 -- our own words
    duckdb.sql(copy)
    assert rows(path) == [[i, {"half": i / 2, "day": "2024-01-31", "price": 1.25}] for i in range(2500)]
    assert [example.where for example in read(path)][-1] == "row 2500"


def test_a_pattern_stands_for_its_files_in_order(tmp_path):
    for name in ("b.csv", "a.csv", "c.vw"):
        (tmp_path / name).write_text("")
    assert expand(str(tmp_path / "*.csv")) == [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]
    assert expand("-") == ["-"]
    with pytest.raises(FormatError, match="must match a file"):
        expand(str(tmp_path / "*.tsv"))
