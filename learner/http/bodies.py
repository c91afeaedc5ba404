"""What a request holds, read within bounds of bytes and time, and taken apart without decoding the records in it."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from starlette.requests import Request

from learner.errors import FormatError, show
from learner.http.refusals import RefusedError
from learner.service.wire import MAX_ENTRY_BYTES
from learner.service.wire.values import no_repeats

__all__ = ["JSON", "LINES", "MAX_BODY_BYTES", "Bodies", "elements", "kind_of", "parts"]

JSON, LINES = "application/json", "application/x-ndjson"
MAX_BODY_BYTES = 4 * MAX_ENTRY_BYTES
MAX_TOGETHER_BYTES = 16 * MAX_ENTRY_BYTES  # of the bodies that are being read or worked on
BODY_SECONDS = 30.0  # for a body to come

Raw = Mapping[str, Any]

_maps = msgspec.json.Decoder(dict[str, msgspec.Raw])
_lists = msgspec.json.Decoder(list[msgspec.Raw])
_pairs = json.JSONDecoder(object_pairs_hook=lambda pairs: pairs)
_strict = json.JSONDecoder(object_pairs_hook=no_repeats)


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
    """Return the values of a JSON object, as JSON, by name: what is in them is not looked at.

    Raises
    ------
    FormatError
        When it is none.

    >>> parts(b'{"record": {"lat": 1, "lat": 2}, "explain": true}')
    {'record': b'{"lat": 1, "lat": 2}', 'explain': b'true'}
    """
    try:
        found = {name: bytes(raw) for name, raw in _maps.decode(body).items()}
    except (ValueError, RecursionError, msgspec.MsgspecError):  # it refuses more than the worker does
        value = _decoded(body)
        if not isinstance(value, dict):
            raise FormatError(f"body must be a JSON object (got {show(value)})") from None
        return {name: json.dumps(item).encode() for name, item in value.items()}
    if b"\\" in body or any(body.count(name.encode("utf-8", "replace")) > 1 for name in found):
        _require_once(body)
    return found


def elements(body: bytes) -> Iterator[bytes]:
    """Yield the elements of a JSON array, as JSON.

    Raises
    ------
    FormatError
        When it is none.
    """
    try:
        yield from map(bytes, _lists.decode(body))
    except (ValueError, RecursionError, msgspec.MsgspecError):
        value = _decoded(body)
        if not isinstance(value, list):
            raise FormatError(f"records must be a JSON array (got {show(value)})") from None
        yield from (json.dumps(item).encode() for item in value)


def _decoded(body: bytes) -> Any:
    """Decode with the standard library, which takes NaN, for the worker to refuse it in its own words."""
    try:
        return _strict.decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise FormatError(f"body must be JSON (got {show(body)}: {error})") from error


def _require_once(body: bytes) -> None:
    """Refuse an object with a name twice; in the values the worker looks for it."""
    try:
        pairs = _pairs.decode(body.decode())
    except (ValueError, RecursionError):
        return  # in a value, which the worker refuses
    try:
        no_repeats(pairs)
    except ValueError as error:
        raise FormatError(f"body must be JSON (got {show(body)}: {error})") from error
