r"""Files of examples: jsonl, csv, tsv, vw, libsvm and msgpack, plain or gzipped, read one packed example at a time.

::

    jsonl    one object a line: {"price": 3, "city": "Lyon", "target": 1}, where all but the target is the record,
             or {"target": 1, "features": {"a": 1}, "importance": 2}, or the same with "record"
    csv      a header row; the target's column is the outcome, the other columns that aren't empty are the record
    tsv      the same with tabs
    vw       [label] [importance] [tag]|namespace[:scale] feature[:value] ...; a feature is named ``namespace^feature``
    libsvm   [label] index:value ... # comment; qid is skipped
    msgpack  [target, {name: value}] or [target, {name: value}, importance], one after another, passed on unopened

One bad example never stops a file: it goes to `on_error` and reading goes on. Only damage that hides where the next
example begins (broken msgpack or gzip, an unusable header) always raises.

Text becomes a number only where nothing is lost: ``02139``, ``+49151``, integers beyond 64 bits, ``nan`` and ``inf``
stay text in csv. In vw and libsvm a feature that comes twice counts with the sum of its values, so that the score is
VW's, and a feature whose value is zero is left out.
"""

import contextlib
import csv
import gzip
import io
import itertools
import json
import math
import os
import re
import stat
import sys
import zlib
from codecs import BOM_UTF8
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, NoReturn

import msgpack

from learner.errors import FormatError

_BLOCK = 1 << 18  # bytes asked of the input at a time
_MAX_BYTES = 1 << 24  # bytes of one example: bounds the memory a damaged file or a gzip bomb can take
_ENDINGS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".vw": "vw",
    ".libsvm": "libsvm",
    ".svm": "libsvm",
    ".svmlight": "libsvm",
    ".msgpack": "msgpack",
}
FORMATS = tuple(dict.fromkeys(_ENDINGS.values()))
_NUMBER = re.compile(r"[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")

_NUMERIC = frozenset((int, float))  # not bool

Example = tuple[str, Any, dict[str, Any], Any]  # kind, target, features or record, importance
OnError = Callable[[str, str, bytes], None]


class Packed(NamedTuple):
    """One example as it travels.

    Attributes
    ----------
    kind : {"features", "record"}
        What the map is: names to numbers, or a raw record.
    data : bytes
        Msgpack of ``[target, map]`` or ``[target, map, importance]``; a target of nil is none.
    where : str
        For messages: ``line 17`` or ``example 17``.
    """

    kind: str
    data: bytes
    where: str


class Source(io.RawIOBase):
    """A file, or standard input as ``-``, that counts the bytes taken from it, for progress bars.

    Attributes
    ----------
    name : str
        For messages.
    size : int or None
        Bytes as stored (so compressed, if it is); None where unknown, as for a pipe.
    """

    def __init__(self, source: str | Path | BinaryIO) -> None:
        self._owned = False
        self._position = 0
        self._file: Any = sys.stdin.buffer if source == "-" else source
        self.size: int | None = None
        if isinstance(self._file, str | Path):
            try:
                self._file = Path(self._file).open("rb", buffering=0)  # noqa: SIM115 -- closed by close
            except OSError as error:
                raise FormatError(f"{source}: can't be opened ({error.strerror})") from error
            self._owned = True
            status = os.fstat(self._file.fileno())
            self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
        self.name = str(getattr(self._file, "name", "input"))

    def position(self) -> int:
        """Return how many stored bytes were taken so far, up to one block ahead of the example last read."""
        return self._position

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what is there now: a slow pipe's examples must not wait for a full block."""
        n_read = getattr(self._file, "readinto1", self._file.readinto)(buffer) or 0
        self._position += n_read
        return int(n_read)

    def close(self) -> None:
        """Close the file if it was opened here; a stream handed in stays open."""
        if self._owned:
            self._file.close()
        super().close()


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
    if ending not in _ENDINGS:
        known = ", ".join(_ENDINGS)
        raise FormatError(f"{name}: a name must end in {known}, before any .gz, or the format be given")
    return _ENDINGS[ending]


def stop(where: str, message: str, raw: bytes) -> NoReturn:
    """Raise the error: what `read` does with a bad example unless told otherwise."""
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
        Gzip is told by its first bytes. Only what is opened here is closed.
    format : one of FORMATS, optional
        Guessed from the name when not given.
    target : str
        The column or key that holds the outcome, in csv, tsv and jsonl.
    on_error : callable
        Called with where, message and raw bytes of each example that can't be read, which is then skipped.

    Examples
    --------
    >>> for example in read(io.BytesIO(b"1 |w cheap:2 pills\n-1 2.5 | hello\n"), "vw"):
    ...     print(example.where, example.kind, msgpack.unpackb(example.data))
    line 1 features [1, {'w^cheap': 2.0, 'w^pills': 1}]
    line 2 features [-1, {'hello': 1}, 2.5]
    """
    if format is not None and format not in FORMATS:
        raise FormatError(f"format must be one of {', '.join(FORMATS)} (got {format!r})")
    if not isinstance(source, Source):
        source = Source(source)
    return _read(source, format or guess(source.name), target, on_error)


@contextlib.contextmanager
def opened(source: Source) -> Iterator[io.BufferedReader]:
    """Give a source's bytes, gunzipped if need be; damage to the gzip becomes a FormatError."""
    try:
        with io.BufferedReader(source, _BLOCK) as stored:
            zipped = stored.peek(2)[:2] == b"\x1f\x8b"
            unzipped: Any = io.BufferedReader(gzip.GzipFile(fileobj=stored), _BLOCK) if zipped else stored
            yield unzipped
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(f"{source.name}: gzip must be whole ({error})") from error


def _read(source: Source, format: str, target: str, on_error: OnError) -> Iterator[Packed]:  # noqa: A002
    with opened(source) as stream:
        if format == "msgpack":
            yield from _slices(stream, on_error)
        elif format == "jsonl":
            yield from _parsed(_lines(stream), lambda line: _jsonl(line, target), on_error)
        elif format in ("csv", "tsv"):
            yield from _table(stream, "," if format == "csv" else "\t", target, on_error)
        else:
            yield from _parsed(_lines(stream), _vw if format == "vw" else _libsvm, on_error)


def _slices(stream: io.BufferedReader, on_error: OnError) -> Iterator[Packed]:
    """Cut a run of msgpack objects apart, without opening them."""
    unpacker = msgpack.Unpacker(max_buffer_size=_MAX_BYTES + _BLOCK)
    pending, offset, numbers = b"", 0, itertools.count(1)
    while block := stream.read1(_BLOCK):
        pending += block
        unpacker.feed(block)
        ends, fault = _ends(unpacker)
        start = 0
        for end in ends:
            data = pending[start : end - offset]
            start = end - offset
            where = f"example {next(numbers)}"
            if data[0] in (0x92, 0x93):
                yield Packed("features", data, where)
            else:
                on_error(where, f"must be [target, map] or [target, map, importance] (got {data[:20]!r}...)", data)
        pending, offset = pending[start:], offset + start
        if len(pending) > _MAX_BYTES:
            fault = f"must be at most {_MAX_BYTES} bytes"
        if fault:
            raise FormatError(f"example {next(numbers)}, from byte {offset}: {fault}; what follows can't be read")
    if pending:
        raise FormatError(f"example {next(numbers)}, from byte {offset}: must be whole (the file ends inside it)")


def _ends(unpacker: Any) -> tuple[list[int], str]:
    """Return where each object fed so far ends, in bytes from the start, and what is wrong after the last one."""
    ends: list[int] = []
    try:
        while True:
            unpacker.skip()
            ends.append(unpacker.tell())
    except msgpack.OutOfData:
        return ends, ""
    except (ValueError, msgpack.UnpackException) as error:
        return ends, f"must be msgpack ({type(error).__name__} {error})"


def _lines(stream: io.BufferedReader) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield number, raw line, line without its ending; of a line that is too long only the beginning."""
    for number in itertools.count(1):
        raw = rest = stream.readline(_MAX_BYTES + 1)
        if not raw:
            return
        while len(rest) > _MAX_BYTES and not rest.endswith(b"\n"):
            rest = stream.readline(_MAX_BYTES + 1)
        if number == 1:
            raw = raw.removeprefix(BOM_UTF8)
        yield number, raw, raw.strip()


def _parsed(
    units: Iterable[tuple[int, bytes, Any]], parse: Callable[[Any], Example | None], on_error: OnError
) -> Iterator[Packed]:
    """Parse and pack each unit (number, raw bytes, content), a line or a row; empty ones are none."""
    pack = msgpack.Packer().pack
    for number, raw, content in units:
        if not content:
            continue
        where = f"line {number}"
        try:
            if len(raw) > _MAX_BYTES:
                raise FormatError(f"must be at most {_MAX_BYTES} bytes")
            example = parse(content)
            if example is None:
                continue
            kind, target, found, importance = example
            data = pack((target, found) if importance == 1 else (target, found, importance))
        except FormatError as error:
            message = str(error)
        except UnicodeError as error:
            message = f"text must be UTF-8 ({error})"
        except OverflowError:
            message = "an integer must fit in 64 bits"
        except (RecursionError, ValueError):  # from the JSON scanner, from the packer
            message = "must be nested less deeply"
        else:
            yield Packed(kind, data, where)
            continue
        on_error(where, message, raw)


def _jsonl(line: bytes, target: str) -> Example:
    text = line.decode()
    try:
        found = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise FormatError(f"must be one JSON object ({error.msg} at column {error.colno})") from error
    except ValueError as error:  # Python refuses to convert thousands of digits
        raise OverflowError from error
    if not isinstance(found, dict):
        raise FormatError(f"must be one JSON object (got {text[:40]!r})")
    outcome = _outcome(found.pop(target, None))
    kind = "features" if isinstance(found.get("features"), dict) else "record"
    if kind not in found:
        return "record", outcome, found, 1
    content, importance = found.pop(kind), found.pop("importance", 1)
    if found:
        raise FormatError(f"only {target!r} and 'importance' may stand beside {kind!r} (got {next(iter(found))!r})")
    if not isinstance(content, dict):
        raise FormatError(f"'record' must be a map (got {content!r:.40})")
    if type(importance) not in _NUMERIC or importance < 0:
        raise FormatError(f"importance must be a number and >= 0 (got {importance!r:.40})")
    return kind, outcome, _features(content) if kind == "features" else content, importance


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for place, (name, _) in enumerate(pairs) if name in dict(pairs[:place]))
        raise FormatError(f"a key must come once (got {twice!r} again)")
    return found


def _table(stream: io.BufferedReader, delimiter: str, target: str, on_error: OnError) -> Iterator[Packed]:
    rows = _rows(_lines(stream), delimiter)
    number, _, header = next((unit for unit in rows if unit[2]), (0, b"", []))
    if isinstance(header, csv.Error):
        raise FormatError(f"line {number}: the header must be csv ({header})")
    names = [name.strip() for name in header]
    numbered = len(names) > 1 and not names[0]  # R and pandas write row numbers so: no field
    if "" in names[numbered:] or len(set(names)) < len(names):
        raise FormatError(f"line {number}: every column must have a name of its own (got {names})")

    def parse(row: list[str] | csv.Error) -> Example:
        if isinstance(row, csv.Error):
            raise FormatError(f"must be csv ({row})")
        if len(row) != len(names):
            raise FormatError(f"must have the header's {len(names)} columns (got {len(row)})")
        cells = zip(names[numbered:], row[numbered:], strict=True)
        record = {name: _cell(text) for name, text in cells if text and not text.isspace()}
        return "record", _outcome(record.pop(target, None)), record, 1

    yield from _parsed(rows, parse, on_error)


def _rows(
    lines: Iterator[tuple[int, bytes, bytes]], delimiter: str
) -> Iterator[tuple[int, bytes, list[str] | csv.Error]]:
    """Yield the number of each row's first line, its raw lines, and its cells or what is wrong with it."""
    taken: list[tuple[int, bytes]] = []

    def text(unit: tuple[int, bytes, bytes]) -> str:
        taken.append(unit[:2])
        return unit[1].decode("utf-8", "surrogateescape")  # packing refuses these later, and the next row can be read

    reader = csv.reader(map(text, lines), delimiter=delimiter, strict=True)
    while True:
        taken.clear()
        row: list[str] | csv.Error
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            row = error
        yield taken[0][0], b"".join(raw for _, raw in taken), row


def _vw(line: bytes) -> Example:
    head, bar, body = line.decode().replace("\t", " ").partition("|")
    if not bar:
        raise FormatError(f"must have a | before the features (got {head[:40]!r})")
    words = head.split()
    if words and (not head.endswith(" ") or words[-1].startswith("'")):
        words.pop()  # the tag: the word that touches the bar, as VW has it, even if it looks like a label
    if len(words) > 2:
        raise FormatError(f"an initial prediction can't be given (got {words[2]!r})")
    features: dict[str, float] = {}
    for group in body.split("|"):
        space, *tokens = group.split(" ")
        space, colon, scale = space.partition(":")
        if colon and not space:
            raise FormatError(f"a namespace must have a name (got {':' + scale!r})")
        _add(features, tokens, space and space + "^", _finite(scale, "namespace scale") if colon else 1)
    importance = _finite(words[1], "importance") if len(words) > 1 else 1
    if importance < 0:
        raise FormatError(f"importance must be a number and >= 0 (got {words[1]!r})")
    return "features", _outcome(words[0] if words else None), _nonzero(features), importance


def _libsvm(line: bytes) -> Example | None:
    words = line.decode().partition("#")[0].split()
    if not words:
        return None
    label = None if ":" in words[0] else words.pop(0)
    pairs = [word for word in words if not word.startswith("qid:")]
    for pair in pairs:
        if ":" not in pair:
            raise FormatError(f"must be index:value (got {pair!r})")
    features: dict[str, float] = {}
    _add(features, pairs, "", 1)
    return "features", _outcome(label), _nonzero(features), 1


def _add(features: dict[str, float], tokens: list[str], prefix: str, scale: float) -> None:
    """Add ``name`` and ``name:value`` tokens to the features."""
    for token in tokens:
        name, value = token, scale
        if ":" in token:
            name, _, text = token.partition(":")
            value = _finite(text) * scale
        if not name:
            if token:
                raise FormatError(f"a feature must have a name (got {token!r})")
            continue  # two blanks in a row
        if prefix:
            name = prefix + name
        features[name] = features[name] + value if name in features else value


def _nonzero(features: dict[str, float]) -> dict[str, float]:
    if 0 in features.values():
        features = {name: value for name, value in features.items() if value}
    return _features(features)


def _features(found: dict[str, Any]) -> dict[str, Any]:
    values = found.values()
    if "" in found:
        raise FormatError(f"a feature must have a name (got '': {found['']!r:.40})")
    if not _NUMERIC.issuperset(map(type, values)) or not all(map(math.isfinite, values)):
        name, value = next((n, v) for n, v in found.items() if type(v) not in _NUMERIC or not math.isfinite(v))
        raise FormatError(f"feature value must be a finite number (got {name!r}: {value!r:.40})")
    return found


def _finite(text: str, what: str = "feature value") -> float:
    try:
        value = float(text)
        if value - value == 0 and "_" not in text:  # not infinite nor nan, and not the 1_000 that Python reads
            return value
    except ValueError:
        pass
    raise FormatError(f"{what} must be a finite number (got {text!r:.40})")


def _outcome(value: Any) -> Any:
    """Return a target as it travels: a number, a boolean, a label, or None when it is absent or blank."""
    if isinstance(value, str):
        text = value.strip()
        number = _number(text)
        return (text or None) if number is None else number
    if isinstance(value, dict | list):
        raise FormatError(f"target must be a number, a boolean or a text (got {value!r:.40})")
    return value


def _cell(text: str) -> str | float:
    if text[0] not in "-.0123456789 ":  # the quick way for most texts, and a + begins a telephone number
        return text
    number = _number(text.strip())
    return text if number is None else number


def _number(text: str) -> float | None:
    """Return the number a text stands for, or None if it is a text.

    >>> [_number(text) for text in ("-7", ".5", "1e3", "02139", "nan", "1e999", "1_000", "9223372036854775808")]
    [-7, 0.5, 1000.0, None, None, None, None, None]
    """
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    if text.lstrip("+-").isdecimal():
        return int(text) if abs(value) < 2**63 else None
    return value if math.isfinite(value) else None


def _finite_json(text: str) -> float:
    return _finite(text, "number")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_finite_json, parse_float=_finite_json)
