"""Reads the bytes of a path, of standard input or of a stream, decompresses gzip, and splits lines."""

import contextlib
import gzip
import io
import itertools
import os
import stat
import sys
import zlib
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from learner.errors import FormatError

__all__ = ["BLOCK_BYTES", "MAX_EXAMPLE_BYTES", "Source", "lines", "opened"]

BLOCK_BYTES = 1 << 18  # read from the input at a time
MAX_EXAMPLE_BYTES = 1 << 24  # bounds the memory that a damaged file or a gzip bomb can use


class Source(io.RawIOBase):
    """A file, or standard input as ``-``, that counts the bytes read from it, for progress bars.

    Attributes
    ----------
    name : str
        The file's name, for messages.
    size : int or None
        The size in bytes, of a gzipped file before decompression; None if unknown, as for a pipe.
    path : str or None
        The path of a file that was opened here.
    """

    def __init__(self, source: str | Path | BinaryIO) -> None:
        self._owned = False
        self._position = 0
        self._file: Any = sys.stdin.buffer if source == "-" else source
        self.size: int | None = None
        self.path: str | None = None
        if isinstance(self._file, str | Path):
            try:
                self._file = Path(self._file).open("rb", buffering=0)  # noqa: SIM115 -- closed by close
            except OSError as error:
                raise FormatError(f"{source}: can't be opened ({error.strerror})") from error
            self._owned, self.path = True, str(source)
            status = os.fstat(self._file.fileno())
            self.size = status.st_size if stat.S_ISREG(status.st_mode) else None
        self.name = str(getattr(self._file, "name", "input"))
        self._ahead = b"" if self._owned else _ahead.pop(id(self._file), b"")  # read, but not given out yet

    def position(self) -> int:
        """Return how many bytes were read so far, before decompression: up to one block more than the last example needed."""
        return self._position

    def readable(self) -> bool:
        """Return True."""
        return True

    def ahead(self, n: int) -> bytes:
        """Return the first n bytes, or all there are; they will be read again. To be called before any are read."""
        while len(self._ahead) < n and (more := self._file.read(n - len(self._ahead))):
            self._ahead += more
        return self._ahead

    def readinto(self, buffer: Any) -> int:
        """Read the bytes that are available now, so that examples from a slow pipe don't wait for a full block."""
        if self._ahead:
            given = self._ahead[: len(buffer)]
            buffer[: len(given)] = given
            self._ahead = self._ahead[len(given) :]
            self._position += len(given)
            return len(given)
        n_read = getattr(self._file, "readinto1", self._file.readinto)(buffer) or 0
        self._position += n_read
        return int(n_read)

    def close(self) -> None:
        """Close the file if it was opened here; a stream that the caller opened stays open."""
        if self._owned:
            self._file.close()
        elif self._ahead:
            _ahead[id(self._file)] = self._ahead
        super().close()


_ahead: dict[int, bytes] = {}  # of streams that callers opened, what was read but not given out: for their next Source


@contextlib.contextmanager
def opened(source: Source) -> Iterator[io.BufferedReader]:
    """Give the bytes of a source, decompressed if they begin as gzip does.

    Raises
    ------
    FormatError
        When the gzip is damaged or ends early.
    """
    try:
        with io.BufferedReader(source, BLOCK_BYTES) as stored:
            zipped = stored.peek(2)[:2] == b"\x1f\x8b"
            unzipped: Any = io.BufferedReader(gzip.GzipFile(fileobj=stored), BLOCK_BYTES) if zipped else stored
            yield unzipped
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FormatError(f"{source.name}: gzip must be whole ({error})") from error


def lines(stream: io.BufferedReader) -> Iterator[tuple[int, bytes, bytes]]:
    """Yield each line as (its number, the raw line, the line stripped); of a line that is too long only the beginning."""
    for number in itertools.count(1):
        raw = rest = stream.readline(MAX_EXAMPLE_BYTES + 1)
        if not raw:
            return
        while len(rest) > MAX_EXAMPLE_BYTES and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_EXAMPLE_BYTES + 1)
        if number == 1:
            raw = raw.removeprefix(BOM_UTF8)
        yield number, raw, raw.strip()
