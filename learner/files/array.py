"""A JSON array of objects, or objects one after another: each is an example, as in `learner.files.jsonl`.

If the first line is an object, the file is read as JSON lines.
"""

import io
import itertools
import json
from codecs import BOM_UTF8, getincrementaldecoder
from collections.abc import Iterator

from learner.errors import FormatError, show
from learner.files import jsonl, source
from learner.files.example import OnError, Packed
from learner.files.reading import Reading

__all__ = ["read"]

SHOWN = 30  # characters of what is no JSON
BLANKS = " \t\r\n"


def read(stream: io.BufferedReader, target: str, how: Reading, on_error: OnError) -> Iterator[Packed]:
    """Yield the examples of a stream; `target` is the key of the outcome. Where the JSON breaks off, the rest is one error.

    Raises
    ------
    FormatError
        When none of the first objects has the target, but they must.
    """
    if _is_object(stream.peek(source.BLOCK_BYTES).removeprefix(BOM_UTF8).partition(b"\n")[0]):
        return jsonl.read(stream, target, how, on_error)
    return jsonl.examples_of(_elements(_Text(stream)), target, how, on_error, "row")


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _elements(text: "_Text") -> Iterator[tuple[int, bytes, bytes | FormatError]]:
    """Yield each element as (its number, its text, the same), and last what is wrong with the rest, if anything is."""
    is_array = text.take("[")
    for n in itertools.count(1):
        is_end = text.take("]") if is_array else not text.peek()
        if is_end and not text.peek():
            return
        has_next = not is_end and (n == 1 or not is_array or text.take(","))
        element = text.take_element() if has_next else None
        if element is None:
            rest = show(text.rest()) if text.peek() else "the end of the file"
            is_long = text.size() > source.MAX_EXAMPLE_BYTES
            rule = f"must be at most {source.MAX_EXAMPLE_BYTES} bytes" if is_long else "must be whole JSON"
            yield n, b"", FormatError(f"{rule} (got {rest}): nothing after it is read")
            return
        yield n, element, element


class _Text:
    """The text of a stream, of which only what is being decoded is in memory."""

    def __init__(self, stream: io.BufferedReader) -> None:
        self._stream, self._decode = stream, getincrementaldecoder("utf-8-sig")("surrogateescape").decode
        self._text, self._position, self._is_whole = "", 0, False  # what is in memory, and whether nothing follows it

    def _more(self) -> None:
        """Read on; at least as much as is in memory, so that long elements are not decoded again and again."""
        rest = self._text[self._position :]
        data = self._stream.read(max(source.BLOCK_BYTES, len(rest))) if rest else self._stream.read1(source.BLOCK_BYTES)
        self._is_whole = not data
        self._text, self._position = rest + self._decode(data, self._is_whole), 0

    def peek(self) -> str:
        """Return the next character that is not blank; "" at the end."""
        while True:
            for place in range(self._position, len(self._text)):
                if self._text[place] not in BLANKS:
                    self._position = place
                    return self._text[place]
            self._position = len(self._text)
            if self._is_whole:
                return ""
            self._more()

    def take(self, character: str) -> bool:
        """Tell whether the next character is this one, and pass it."""
        is_next = self.peek() == character
        self._position += is_next
        return is_next

    def take_element(self) -> bytes | None:
        """Return the next value's text, and pass it; None if there is none, or only the beginning of one."""
        self.peek()
        while True:
            start = self._position
            try:
                _, end = _SCANNER.raw_decode(self._text, start)
            except (ValueError, RecursionError):
                end = -1
            if end >= 0 and (end < len(self._text) or self._is_whole):  # else a number may go on
                self._position = end
                return self._text[start:end].encode("utf-8", "surrogateescape")
            if self._is_whole or self.size() > source.MAX_EXAMPLE_BYTES:
                return None
            self._more()

    def size(self) -> int:
        """Return how many characters are in memory that were not passed."""
        return len(self._text) - self._position

    def rest(self) -> str:
        """Return what comes next, for a message."""
        return self._text[self._position : self._position + SHOWN]


_SCANNER = json.JSONDecoder(parse_int=str)  # integers of any length: whether they may be used is asked later
