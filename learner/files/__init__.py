r"""Files of examples: jsonl, csv, tsv, vw, libsvm and msgpack, plain or gzipped, read one packed example at a time.

::

    jsonl    one object a line: {"price": 3, "city": "Lyon", "target": 1}, where all but the target is the record,
             or {"target": 1, "features": {"a": 1}, "importance": 2}, or the same with "record"
    csv      a header row; the target's column is the outcome, the other columns that aren't empty are the record
    tsv      the same with tabs
    vw       [label] [importance] [tag]|namespace[:scale] feature[:value] ...; a feature is named ``namespace^feature``
    libsvm   [label] index:value ... # comment; qid is skipped
    msgpack  [target, {name: value}] or [target, {name: value}, importance], one after another, not decoded here

A bad example never stops a file: it is given to `on_error`, and reading goes on. Only damage that hides where the next
example begins (broken msgpack or gzip, an unusable header) raises an error.

In csv and tsv a text becomes a number only if nothing is lost: ``02139``, ``+49151``, integers beyond 64 bits, ``nan``
and ``inf`` stay text. In vw and libsvm the values of a feature that occurs twice are added, as VW does, and a feature
whose value is zero is left out.

Each format has a module that reads it, and a row in `FORMATS`.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, NoReturn

from learner.errors import FormatError
from learner.files import jsonl, libsvm, packed, table, vw
from learner.files.example import OnError, Packed
from learner.files.source import Source, opened

__all__ = ["FORMATS", "Format", "OnError", "Packed", "Source", "guess", "opened", "read"]


class Format(NamedTuple):
    """A file format.

    Attributes
    ----------
    endings : tuple of str
        The endings of its files' names, before any ``.gz``.
    read : callable
        Takes a buffered stream, the name of the target's field and an `OnError`; yields each example as `Packed`.
    """

    endings: tuple[str, ...]
    read: Callable[[io.BufferedReader, str, OnError], Iterator[Packed]]


FORMATS = {
    "jsonl": Format((".jsonl", ".ndjson"), jsonl.read),
    "csv": Format((".csv",), table.read_csv),
    "tsv": Format((".tsv",), table.read_tsv),
    "vw": Format((".vw",), vw.read),
    "libsvm": Format((".libsvm", ".svm", ".svmlight"), libsvm.read),
    "msgpack": Format((".msgpack",), packed.read),
}


def guess(name: str) -> str:
    """Tell the format from a file's name.

    >>> guess("flights.vw"), guess("data/Prices.CSV.gz")
    ('vw', 'csv')
    >>> guess("notes.txt")
    Traceback (most recent call last):
    ...
    learner.errors.FormatError: notes.txt: a name must end in .jsonl, .ndjson, .csv, ..., before any .gz, or the
    format be given
    """
    ending = Path(name.lower().removesuffix(".gz")).suffix
    for form, (endings, _) in FORMATS.items():
        if ending in endings:
            return form
    known = ", ".join(ending for endings, _ in FORMATS.values() for ending in endings)
    raise FormatError(f"{name}: a name must end in {known}, before any .gz, or the format be given")


def stop(where: str, message: str, raw: bytes) -> NoReturn:
    """Raise an error about a bad example: the default `on_error` of `read`."""
    raise FormatError(f"{where}: {message}")


def read(
    source: str | Path | BinaryIO | Source,
    format: str | None = None,  # noqa: A002 -- the word the commands use
    *,
    target: str = "target",
    on_error: OnError = stop,
) -> Iterator[Packed]:
    r"""Read packed examples from a file or a binary stream.

    Parameters
    ----------
    source : path, "-" for standard input, binary stream or Source
        May be gzipped, which its first bytes tell. A stream that the caller opened stays open.
    format : one of FORMATS, optional
        By default guessed from the name.
    target : str
        In csv, tsv and jsonl: the column or key that holds the outcome.
    on_error : callable
        Called for each example that can't be read, with its place (such as ``line 17``), a message and its raw bytes; then
        the example is skipped. By default it raises a FormatError.

    Examples
    --------
    >>> import msgpack
    >>> for example in read(io.BytesIO(b"1 |w cheap:2 pills\n-1 2.5 | hello\n"), "vw"):
    ...     print(example.where, example.kind, msgpack.unpackb(example.data))
    line 1 features [1, {'w^cheap': 2.0, 'w^pills': 1}]
    line 2 features [-1, {'hello': 1}, 2.5]
    """
    if format is not None and format not in FORMATS:
        raise FormatError(f"format must be one of {', '.join(FORMATS)} (got {format!r})")
    if not isinstance(source, Source):
        source = Source(source)
    return _read(source, FORMATS[format or guess(source.name)], target, on_error)


def _read(source: Source, form: Format, target: str, on_error: OnError) -> Iterator[Packed]:
    with opened(source) as stream:
        yield from form.read(stream, target, on_error)
