r"""Files of examples: jsonl, JSON arrays, csv, tsv, vw, libsvm, msgpack and Parquet, read one packed example at a time.

::

    jsonl    one object a line: {"price": 3, "city": "Lyon", "target": 1}, where all but the target is the record,
             or {"target": 1, "features": {"a": 1}, "importance": 2}, or the same with "record"
    csv      a header row; the target's column is the outcome, the other columns that aren't empty are the record
    tsv      the same with tabs; in both the delimiter, one of , ; tab and |, is recognised
    vw       [label] [importance] [tag]|namespace[:scale] feature[:value] ...; a feature is named ``namespace^feature``,
             with a value that is a text ``namespace^feature=text``
    libsvm   [label] index:value ... # comment; qid is skipped
    msgpack  [target, {name: value}] or [target, {name: value}, importance], one after another, not decoded here
    json     an array of such objects, or one after another
    parquet  a row is a record; needs the extra ``files``

All but the last may be gzipped. Texts are UTF-8, or in the encoding that a byte order mark or `Reading.encoding` says.
A bad example never stops a file: it is given to `on_error`, and reading goes on. Only damage that hides where the next
example begins (broken msgpack or gzip, an unusable header) or makes the whole file unreadable (another encoding) raises an
error. After a quotation mark in csv or tsv that is not closed, reading goes on at the next line.

In csv and tsv a text becomes a number only if nothing is lost: ``02139``, ``+49151``, integers beyond 64 bits, ``nan``
and ``inf`` stay text. In vw and libsvm the values of a feature that occurs twice are added, as VW does, and a feature
whose value is zero is left out.

Each format has a module that reads it, and a row in `FORMATS` or `COLUMNAR`.
"""

import glob
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

from learner.errors import FormatError
from learner.files import array, columnar, jsonl, libsvm, packed, table, vw
from learner.files.encoding import as_utf8, check_encoding
from learner.files.example import OnError, Packed
from learner.files.reading import READING, Reading
from learner.files.source import Source, opened

__all__ = [
    "COLUMNAR", "FORMATS", "READING", "Format", "OnError", "Packed", "Reading", "Source",
    "check_encoding", "expand", "guess", "opened", "read",
]  # fmt: skip


class Format(NamedTuple):
    """A file format.

    Attributes
    ----------
    endings : tuple of str
        The endings of its files' names, before any ``.gz``.
    read : callable
        Takes a buffered stream (in `COLUMNAR` the `Source`), the name of the target's field, a `Reading` and an `OnError`;
        yields each example as `Packed`.
    """

    endings: tuple[str, ...]
    read: Callable[[Any, str, Reading, OnError], Iterator[Packed]]


FORMATS = {
    "jsonl": Format((".jsonl", ".ndjson"), jsonl.read),
    "json": Format((".json",), array.read),
    "csv": Format((".csv",), table.read_csv),
    "tsv": Format((".tsv",), table.read_tsv),
    "vw": Format((".vw",), vw.read),
    "libsvm": Format((".libsvm", ".svm", ".svmlight"), libsvm.read),
    "msgpack": Format((".msgpack",), packed.read),
}
COLUMNAR = {
    "parquet": Format((".parquet", ".pq"), columnar.read_parquet),
}
_ALL = FORMATS | COLUMNAR


def expand(file: str) -> list[str]:
    """Return the files that a name with ``*``, ``?`` or ``[`` matches, in order; another name stands for itself.

    Raises
    ------
    FormatError
        When it matches no file.
    """
    if file == glob.escape(file) or Path(file).exists():
        return [file]
    if files := sorted(glob.glob(file, recursive=True)):  # noqa: PTH207 -- the pattern may be absolute
        return files
    raise FormatError(f"{file}: must match a file (it matches none)")


def guess(name: str) -> str:
    """Tell the format from a file's name.

    >>> guess("flights.vw"), guess("data/Prices.CSV.gz")
    ('vw', 'csv')
    >>> guess("notes.txt")
    Traceback (most recent call last):
    ...
    learner.errors.FormatError: notes.txt: a name must end in .jsonl, .ndjson, .json, .csv, ..., before any .gz, or the
    format be given
    """
    ending = Path(name.lower().removesuffix(".gz")).suffix
    for form, (endings, _) in _ALL.items():
        if ending in endings:
            return form
    known = ", ".join(ending for endings, _ in _ALL.values() for ending in endings)
    raise FormatError(f"{name}: a name must end in {known}, before any .gz, or the format be given")


def stop(where: str, message: str, raw: bytes) -> NoReturn:
    """Raise an error about a bad example: the default `on_error` of `read`."""
    raise FormatError(f"{where}: {message}")


def read(
    source: str | Path | BinaryIO | Source,
    format: str | None = None,  # noqa: A002 -- the word the commands use
    *,
    target: str = "target",
    how: Reading = READING,
    on_error: OnError = stop,
) -> Iterator[Packed]:
    r"""Read packed examples from a file or a binary stream.

    Parameters
    ----------
    source : path, "-" for standard input, binary stream or Source
        May be gzipped, which its first bytes tell. A stream that the caller opened stays open.
    format : one of FORMATS or COLUMNAR, optional
        By default guessed from the name.
    target : str
        In csv, tsv and jsonl: the column or key that holds the outcome.
    how : Reading
        The encoding, the names of a table's columns, and whether there must be a target.
    on_error : callable
        Called for each example that can't be read, with its place (such as ``line 17``), a message and its raw bytes; then
        the example is skipped. By default it raises a FormatError.

    Examples
    --------
    >>> import io
    >>> import msgpack
    >>> for example in read(io.BytesIO(b"1 |w cheap:2 pills\n-1 2.5 | hello\n"), "vw"):
    ...     print(example.where, example.kind, msgpack.unpackb(example.data))
    line 1 features [1, {'w^cheap': 2.0, 'w^pills': 1}]
    line 2 features [-1, {'hello': 1}, 2.5]
    """
    if format is not None and format not in _ALL:
        raise FormatError(f"format must be one of {', '.join(_ALL)} (got {format!r})")
    if not isinstance(source, Source):
        source = Source(source)
    form = format or guess(source.name)
    if form in COLUMNAR:
        return COLUMNAR[form].read(source, target, how, on_error)
    return _read(source, form, target, how, on_error)


def _read(source: Source, form: str, target: str, how: Reading, on_error: OnError) -> Iterator[Packed]:
    with opened(source) as stream:
        text = stream if form == "msgpack" else as_utf8(stream, source.name, how.encoding)
        yield from FORMATS[form].read(text, target, how, on_error)
