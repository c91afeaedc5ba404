"""The application: routes to operations, errors to answers, and what every answer says."""

import re
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from learner.http.counting import Counts
from learner.http.description import document
from learner.http.description import page as described
from learner.http.operations import OPERATIONS, Asked, Operation, Service
from learner.http.refusals import RefusedError, refusal_of
from learner.http.tokens import Tokens
from learner.service import log
from learner.service.wire import Keys, to_json

__all__ = ["answer", "application"]

HEADERS = {  # of every answer: nothing is kept, framed, guessed or loaded
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}
PAGE = Path(__file__).parent / "page"  # the files of the page in the browser
PAGE_POLICY = "default-src 'self'; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
KINDS = {"html": "text/html; charset=utf-8", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
PROMETHEUS = "text/plain; version=0.0.4"

Endpoint = Callable[[Request], Coroutine[Any, Any, Response]]


def answer(
    status: int, body: bytes | str, kind: str = "application/json", headers: Mapping[str, str] | None = None
) -> Response:
    """Return an answer with the headers of all of them; those given win."""
    return Response(body, status, HEADERS | dict(headers or {}), kind)


def application(service: Service, tokens: Tokens) -> ASGIApp:
    """Return the application, as a server for ASGI runs it.

    Parameters
    ----------
    service : Service
        What the operations work with.
    tokens : Tokens
        Who may do what.
    """
    counts = Counts()
    pages = {file.name: file.read_bytes() for file in PAGE.iterdir() if file.suffix[1:] in KINDS}

    async def metrics(request: Request) -> Response:
        tokens.require(request.headers.get("authorization"), "monitor", None)
        return answer(200, counts.text(), PROMETHEUS)

    async def openapi(request: Request) -> Response:
        return answer(200, to_json(document()))

    async def docs(request: Request) -> Response:
        policy = HEADERS["content-security-policy"] + "; style-src 'unsafe-inline'"
        return answer(200, described(), "text/html; charset=utf-8", {"content-security-policy": policy})

    endpoints: list[tuple[str, str, Endpoint]]

    async def page(request: Request) -> Response:
        name = request.path_params.get("name", "index.html")
        if name not in pages:
            return _of_http(request, HTTPException(404))
        return answer(200, pages[name], KINDS[name.rpartition(".")[2]], {"content-security-policy": PAGE_POLICY})

    endpoints = [("GET", "/", page), ("GET", "/page/{name}", page), ("GET", "/metrics", metrics)]
    endpoints += [("GET", "/openapi.json", openapi), ("GET", "/docs", docs)]
    endpoints += [(each.method, each.path, _endpoint(each, service, tokens)) for each in OPERATIONS]
    routes = [
        Route(path, _Measured(path, endpoint, counts, tokens), methods=[method]) for method, path, endpoint in endpoints
    ]
    starlette = Starlette(routes=routes, exception_handlers={HTTPException: _of_http, Exception: _of_fault})
    starlette.router.redirect_slashes = False
    return _Undecoded(starlette)


def _endpoint(operation: Operation, service: Service, tokens: Tokens) -> Endpoint:
    async def respond(request: Request) -> Response:
        model = unquote(request.path_params.get("model", ""))
        token = tokens.require(request.headers.get("authorization"), operation.role, model or None)
        if model:
            Keys.named(model)  # refuses a name that can't be one
        status, data = await operation.work(service, Asked(request, model, token))
        return answer(status, to_json(data))

    return respond


class _Measured:
    """An endpoint whose errors are answers, and whose answers are counted."""

    def __init__(self, route: str, endpoint: Endpoint, counts: Counts, tokens: Tokens) -> None:
        self._route = route
        self._endpoint = endpoint
        self._counts = counts
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        request, started = Request(scope, receive), time.monotonic()
        self._counts.n_under_way += 1
        try:
            response = await self._answer(request)
        finally:
            self._counts.n_under_way -= 1
        if not hasattr(request.state, "is_read") and {"content-length", "transfer-encoding"} & {*request.headers}:
            response.headers["connection"] = "close"  # what follows is a body that nobody reads
        self._counts.count(request.method, self._route, response.status_code, time.monotonic() - started)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        try:
            if not self._tokens.are_required:
                _require_loopback(request)
            return await self._endpoint(request)
        except ClientDisconnect:
            return answer(400, "")  # nobody reads it
        except Exception as error:  # noqa: BLE001  (whatever it is, there is an answer)
            if refusal := refusal_of(error):
                return _refused(refusal)
            return _of_fault(request, error)


def _require_loopback(request: Request) -> None:
    """Refuse names of others: a page in a browser on this machine must not reach a server without tokens under its own name."""
    host = request.headers.get("host", "")
    if re.sub(r":\d*$", "", host.lower()) not in LOOPBACK:
        raise RefusedError(
            421, f"host must be one of {', '.join(LOOPBACK)} where there are no tokens (got {host!r:.80})"
        )


def _refused(refusal: RefusedError) -> Response:
    return answer(refusal.status, to_json({"error": str(refusal), **refusal.more}), headers=refusal.headers)


def _of_http(request: Request, error: Exception) -> Response:
    """Return the answer to a request that no route takes."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    text = {404: "path must be one of the server's: see /docs", 405: "method must be one of the path's: see /docs"}
    headers = error.headers if isinstance(error, HTTPException) else None
    return _refused(RefusedError(status, text.get(status, "request can't be answered"), headers))


def _of_fault(request: Request, error: Exception) -> Response:
    """Return the answer to a request that this program failed at; what happened is in the log, and the request is not."""
    log.line("fault", f"{request.method}: {type(error).__name__} in {_place(error)}", "error")
    return _refused(RefusedError(500, "server must be able to answer this (it failed: its log says where)"))


def _place(error: Exception) -> str:
    """Return where an error was raised."""
    traceback = error.__traceback__
    while traceback and traceback.tb_next:
        traceback = traceback.tb_next
    return f"{traceback.tb_frame.f_code.co_qualname}, line {traceback.tb_lineno}" if traceback else "an unknown place"


class _Undecoded:
    """Routes by the path as it came: the %2F of a candidate's name OLD%2FNEW is part of the name."""

    def __init__(self, application: ASGIApp) -> None:
        self._application = application

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] == "http":
            scope = {**scope, "path": scope["raw_path"].decode("latin-1")}
        await self._application(scope, receive, send)
