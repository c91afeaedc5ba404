"""What a request holds, read within bounds of bytes and time, and taken apart without decoding the records in it."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from learner.errors import FormatError, show
from learner.http.refusals import RefusedError
from learner.service.wire import MAX_ENTRY_BYTES

__all__ = [
    "BODY_SECONDS",
    "JSON",
    "LINES",
    "MAX_BODY_BYTES",
    "MAX_TOGETHER_BYTES",
    "Bodies",
    "elements",
    "kind_of",
    "parts",
]

JSON, LINES = "application/json", "application/x-ndjson"
MAX_BODY_BYTES = 4 * MAX_ENTRY_BYTES
MAX_TOGETHER_BYTES = 16 * MAX_ENTRY_BYTES  # of the bodies that are being read or worked on
SHOWN_BYTES = 60  # of a body, in a message
BODY_SECONDS = 30.0  # for a body to come

BLANKS = re.compile(r"[ \t\n\r]*")
TOKEN = re.compile(
    r'"[^"\\]*(?:\\.[^"\\]*)*(?:"|\\?\Z)|[\[\]{}]|[^\s\[\]{},:"]+', re.DOTALL
)  # a string may lack its end
INSIDE = re.compile(r"[\s,:]*")  # between the tokens of a value


class Bodies:
    """The bodies that are in memory: a request has to wait for nothing, but there is an end to them."""

    def __init__(self) -> None:
        self._n_bytes = 0

    @asynccontextmanager
    async def read(self, request: Request, *kinds: str) -> AsyncIterator[bytes]:
        """Give the body of a request while a block runs.

        Raises
        ------
        RefusedError
            When it is of another kind, too large, too slow, or among too many.
        """
        _require_kind(request, kinds)
        request.state.is_read = True
        length = request.headers.get("content-length", "")
        if length.isdigit() and int(length[:20]) > MAX_BODY_BYTES:
            raise _too_large()
        taken = 0
        pieces: list[bytes] = []
        try:
            try:
                async with asyncio.timeout(BODY_SECONDS):
                    async for piece in request.stream():
                        taken += len(piece)
                        self._n_bytes += len(piece)
                        if taken > MAX_BODY_BYTES:
                            raise _too_large()
                        if self._n_bytes > MAX_TOGETHER_BYTES:
                            rule = f"bodies of requests under way must be at most {MAX_TOGETHER_BYTES} bytes"
                            raise RefusedError(503, f"{rule} (they are more): try again", CLOSE)
                        pieces.append(piece)
            except TimeoutError as error:
                raise RefusedError(408, f"body must come within {BODY_SECONDS:g} s (it did not)", CLOSE) from error
            yield b"".join(pieces)
        finally:
            self._n_bytes -= taken


CLOSE = {"connection": "close"}  # the rest of the body is not read


def _too_large() -> RefusedError:
    return RefusedError(413, f"body must be at most {MAX_BODY_BYTES} bytes (got more): send several", CLOSE)


def kind_of(request: Request) -> str:
    """Return the content type of a request, without its parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _require_kind(request: Request, kinds: tuple[str, ...]) -> None:
    """Refuse other content types: so no form on somebody's page can send a request from the browser of whoever looks at it."""
    if kind_of(request) not in kinds:
        came = request.headers.get("content-type", "none")
        raise RefusedError(415, f"content-type must be {' or '.join(kinds)} (got {show(came)})")
    if (encoding := request.headers.get("content-encoding", "identity")) != "identity":
        raise RefusedError(415, f"content-encoding must be identity (got {show(encoding)})")


# ---- JSON ----
def parts(body: bytes) -> dict[str, bytes]:
    """Return the values of a JSON object by name, each as the JSON that came: the worker says what is wrong with them.

    Raises
    ------
    FormatError
        When it is none, or has a name twice.

    >>> parts(b'{"record": {"lat": 1, "lat": NaN}, "explain": true}')
    {'record': b'{"lat": 1, "lat": NaN}', 'explain': b'true'}
    """
    return dict(_Text(body).pairs())


def elements(body: bytes) -> Iterator[bytes]:
    """Yield the elements of a JSON array, each as the JSON that came.

    Raises
    ------
    FormatError
        When it is none.

    >>> list(elements(b'[{"lat": 1}, [NaN]]'))
    [b'{"lat": 1}', b'[NaN]']
    """
    yield from _Text(body).items()


class _Text:
    """JSON that is taken apart at its outermost level: of what is in its values only strings and brackets are looked at.

    So it takes no memory, and bytes that are no UTF-8 stay what they are.
    """

    def __init__(self, body: bytes) -> None:
        self._body = body
        self._text = body.decode("utf-8", "surrogateescape")
        self._at = 0

    def pairs(self) -> Iterator[tuple[str, bytes]]:
        """Yield the names and values of an object."""
        names: set[str] = set()
        for _ in self._members("{", "}"):
            name = self._name()
            if name in names:
                raise self._error(f"{show(name)} is there twice")
            names.add(name)
            if not self._take(":"):
                raise self._error("expecting ':'")
            yield name, self._value()

    def items(self) -> Iterator[bytes]:
        """Yield the elements of an array."""
        for _ in self._members("[", "]"):
            yield self._value()

    def _members(self, start: str, end: str) -> Iterator[None]:
        """Come to each member's place, and to the end of the text at last."""
        if not self._take(start):
            raise self._error(f"expecting {start!r}")
        if not self._take(end):
            yield
            while self._take(","):
                yield
            if not self._take(end):
                raise self._error(f"expecting ',' or {end!r}")
        self._skip()
        if self._at < len(self._text):
            raise self._error("more follows")

    def _skip(self) -> None:
        self._at = BLANKS.match(self._text, self._at).end()  # type: ignore[union-attr]

    def _take(self, character: str) -> bool:
        """Go past a character, if it is the next one."""
        self._skip()
        found = self._text.startswith(character, self._at)
        self._at += found
        return found

    def _value(self) -> bytes:
        """Go past a value; return its JSON, or what stands in its place."""
        self._skip()
        start, depth = self._at, 0
        while True:
            token = TOKEN.match(self._text, self._at)
            if token is None or (token[0] in ("]", "}") and not depth):
                raise self._error("expecting a value")
            self._at = token.end()
            depth += (token[0] in ("[", "{")) - (token[0] in ("]", "}"))
            if not depth:
                return self._text[start : self._at].encode("utf-8", "surrogateescape")
            self._at = INSIDE.match(self._text, self._at).end()  # type: ignore[union-attr]

    def _name(self) -> str:
        """Go past a name; return it."""
        self._skip()
        if not self._text.startswith('"', self._at):
            raise self._error("expecting a name, which is a text")
        try:
            return str(json.loads(self._value()))
        except ValueError as error:
            raise self._error(str(error)) from error

    def _error(self, why: str) -> FormatError:
        return FormatError(f"body must be JSON as /docs has it (got {show(self._body[:SHOWN_BYTES])}: {why})")
