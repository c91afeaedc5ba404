"""The server's process: one event loop, until a signal; what is under way then is answered first."""

import asyncio
import contextlib
import ipaddress
import logging
import signal
import socket
from collections.abc import Iterator

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from learner.errors import LearnerError
from learner.http.application import application
from learner.http.asking import MAX_ASKING, Asking
from learner.http.looking import Looking
from learner.http.operations import Service
from learner.http.tokens import Tokens
from learner.service import log
from learner.service.store.durability import Durability

__all__ = ["HEAD_SECONDS", "KEPT_SECONDS", "run"]

MAX_HEAD_BYTES = 32 << 10  # of a request, its headers included
HEAD_SECONDS = 10.0  # for a head to come
KEPT_SECONDS = 75.0  # a connection that nothing comes on
STOP_SECONDS = 25.0  # after a signal, for what is under way
BACKLOG = 1024  # connections that are not accepted yet


def run(host: str, port: int, tokens_file: str | None, url: str, durability: Durability) -> None:
    """Serve until SIGTERM or SIGINT.

    Parameters
    ----------
    host, port : str, int
        Where to listen; port 0 is any that is free, which the log names.
    tokens_file : str or None
        The file of tokens; without one only addresses of this machine itself are allowed.
    url : str
        The Redis or Valkey server's.
    durability : Durability
        What examples that were accepted survive.

    Raises
    ------
    LearnerError
        When the address is taken, or may not be listened at without tokens.
    """
    logging.getLogger("uvicorn").addHandler(logging.NullHandler())  # strangers must not fill the log
    tokens = Tokens(tokens_file)
    listener = _listening(host, port, tokens)
    asyncio.run(_serve(listener, tokens, url, durability))


async def _serve(listener: socket.socket, tokens: Tokens, url: str, durability: Durability) -> None:
    asking = Asking(url, durability)
    config = uvicorn.Config(
        application(Service(asking, Looking(url)), tokens),
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=MAX_ASKING,
        timeout_keep_alive=int(KEPT_SECONDS),
        timeout_graceful_shutdown=int(STOP_SECONDS),
        h11_max_incomplete_event_size=MAX_HEAD_BYTES,
    )
    server = _Server(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    host, port = listener.getsockname()[:2]
    where = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    who = "with tokens" if tokens.are_required else "for everybody on this machine: there are no tokens"
    log.line("serve", f"models are served at {where}, {who}; {where}/docs says how", url=where)
    await server.serve(sockets=[listener])
    await asking.connections.aclose()
    log.line("stop", "stopped: asked to")


class _Server(uvicorn.Server):
    """Ends without a signal of its own, so that the exit code is 0."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    def stop(self) -> None:
        """Answer what is under way, and end."""
        self.should_exit = True


class _Protocol(H11Protocol):
    """Closes a connection whose head, the first one or a further one that has begun, does not come in time."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the time of the first head."""
        super().connection_made(transport)
        self._late = self.loop.call_later(HEAD_SECONDS, transport.close)

    def data_received(self, data: bytes) -> None:
        """Start the time of a head that has begun, or stop it if a head is whole."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._late is None and self.conn.trailing_data[0]:
            self._late = self.loop.call_later(HEAD_SECONDS, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the time."""
        self._stop()
        super().connection_lost(exc)

    def _stop(self) -> None:
        if self._late:
            self._late.cancel()
        self._late = None


def _listening(host: str, port: int, tokens: Tokens) -> socket.socket:
    """Return a socket that listens at an address."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise LearnerError(f"--listen must be an address of this machine (got {host}: {error.strerror})") from error
    if not tokens.are_required and not ipaddress.ip_address(str(address[0]).partition("%")[0]).is_loopback:
        raise LearnerError(f"--listen must be an address of the loopback, as 127.0.0.1, without --tokens (got {host})")
    listener = socket.socket(family, kind, protocol)  # by the protocol asyncio knows that answers must not be delayed
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)  # from now on, so that nobody who reads the log is refused
    except OSError as error:
        listener.close()
        raise LearnerError(f"--listen must be an address that is free (got {host}:{port}: {error.strerror})") from error
    return listener
