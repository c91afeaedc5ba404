"""Text in any encoding and with any line ends, as UTF-8 whose lines end in a line feed."""

import codecs
import io
from collections.abc import Callable
from typing import Any

from learner.errors import FormatError
from learner.files.source import BLOCK_BYTES

__all__ = ["as_utf8", "check_encoding", "is_utf8"]

MARKS = (  # the byte order marks; those of UTF-16 begin those of UTF-32
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def check_encoding(name: str) -> str:
    """Return the name of a text encoding that Python knows.

    >>> check_encoding("latin-1")
    'latin-1'
    >>> check_encoding("hex")
    Traceback (most recent call last):
    ...
    learner.errors.FormatError: encoding must be one that Python knows, such as latin-1 or cp1252 (got 'hex')
    """
    try:
        "a".encode(name)
    except (LookupError, ValueError) as error:
        raise FormatError(
            f"encoding must be one that Python knows, such as latin-1 or cp1252 (got {name!r})"
        ) from error
    return name


def as_utf8(stream: io.BufferedReader, name: str, encoding: str | None) -> io.BufferedReader:
    """Return a stream of text as UTF-8 with line feeds; a stream that is both already is returned unchanged.

    Parameters
    ----------
    name : str
        The file's name, for messages.
    encoding : str, optional
        By default UTF-8, or what a byte order mark says.

    Raises
    ------
    FormatError
        When no encoding is named and the first block is in another one. (Later lines that are not UTF-8 are bad lines.)
    """
    head = stream.peek(BLOCK_BYTES)
    encoding = encoding or next((marked for mark, marked in MARKS if head.startswith(mark)), None)
    if encoding:
        stream = _converted(stream, _decoder(encoding, name))
        head = stream.peek(BLOCK_BYTES)
    else:
        _require_utf8(head, name)
    if b"\r" in head[:-1] and b"\n" not in head:  # the line ends of old Macs
        stream = _converted(stream, lambda data, final: data.replace(b"\r", b"\n"))
    return stream


def is_utf8(data: bytes, is_whole: bool = True) -> bool:
    """Tell whether bytes are UTF-8, or, if they are not whole, the beginning of it."""
    try:
        codecs.utf_8_decode(data, "strict", is_whole)
    except UnicodeDecodeError:
        return False
    return True


def _require_utf8(head: bytes, name: str) -> None:
    """Refuse a file if more than half of its first whole lines that are not ASCII are not UTF-8 either."""
    lines = head.split(b"\n")
    if len(lines) > 1:
        lines.pop()  # may end inside a character, as may a single line
    beyond_ascii = [(number, line) for number, line in enumerate(lines, 1) if not line.isascii()]
    bad = [number for number, line in beyond_ascii if not is_utf8(line, is_whole=b"\n" in head)]
    if len(bad) > len(beyond_ascii) / 2:
        raise FormatError(f"{name}: text must be UTF-8 (line {bad[0]} is not): try --encoding latin-1")


def _decoder(encoding: str, name: str) -> Callable[[bytes, bool], bytes]:
    """Return a function that takes the next bytes, and whether they are the last, and returns them in UTF-8.

    Single bytes that mean nothing in the encoding stay as they are, so that only their lines are bad.
    """
    decoder = codecs.getincrementaldecoder(check_encoding(encoding))("surrogateescape")

    def decode(data: bytes, final: bool) -> bytes:
        try:
            return decoder.decode(data, final).encode("utf-8", "surrogateescape")
        except UnicodeError as error:
            raise FormatError(f"{name}: text must be {encoding} ({error})") from error

    return decode


def _converted(stream: io.BufferedReader, convert: Callable[[bytes, bool], bytes]) -> io.BufferedReader:
    return io.BufferedReader(_Converted(stream, convert), BLOCK_BYTES)


class _Converted(io.RawIOBase):
    """A stream whose bytes are converted as they are read; closing it leaves the stream open."""

    def __init__(self, stream: io.BufferedReader, convert: Callable[[bytes, bool], bytes]) -> None:
        self._stream, self._convert = stream, convert
        self._rest = b""  # converted, but not yet read
        self._ended = False

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read converted bytes, as soon as there are any."""
        while not self._rest and not self._ended:
            data = self._stream.read1(BLOCK_BYTES)
            self._ended = not data
            self._rest = self._convert(data, self._ended)
        n_read = min(len(buffer), len(self._rest))
        buffer[:n_read] = self._rest[:n_read]
        self._rest = self._rest[n_read:]
        return n_read
