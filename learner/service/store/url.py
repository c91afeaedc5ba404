"""Server URLs: what they may say, checked when a command starts, without showing anything of a password.

redis-py finds some mistakes only when it connects, takes others for something else (database ``/abc`` is database 0), and lets
the URL overrule what the code needs. So the URL is checked here first. Messages name an option or a part of the URL; they show
a value only where it can't be a piece of a password.
"""

import ipaddress
import math
import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

from learner.errors import ServerError, show

__all__ = ["checked", "has_password", "is_of_cluster", "of_servers"]

SCHEMES = ("redis", "rediss", "unix", "redis+cluster", "rediss+cluster")
MAX_PORT = 65535
ESCAPES = "a password's / ? # [ ] and @ must be written %2F %3F %23 %5B %5D %40"


class Rule(NamedTuple):
    """What an option's value must be, in words, and whether a text is that."""

    words: str
    allows: Callable[[str], bool]


def _is_seconds(text: str) -> bool:
    try:
        return 0.0 < float(text) < math.inf
    except ValueError:
        return False


SECONDS = Rule("a number of seconds above 0", _is_seconds)
WHOLE = Rule("a whole number", lambda text: re.fullmatch(r"[0-9]{1,9}", text) is not None)
SWITCH = Rule(
    "True or False", lambda text: text.lower() in ("true", "false", "yes", "no", "1", "0", "t", "f", "y", "n")
)
TEXT = Rule("a text", lambda text: text != "")
CERTIFICATES = Rule("none, optional or required", lambda text: text in ("none", "optional", "required"))

OPTIONS = {
    "db": WHOLE,
    "username": TEXT,
    "password": TEXT,
    "client_name": TEXT,
    "socket_timeout": SECONDS,
    "socket_connect_timeout": SECONDS,
    "socket_keepalive": SWITCH,
    "health_check_interval": WHOLE,
}
TLS_OPTIONS = {
    "ssl_ca_certs": TEXT,
    "ssl_ca_path": TEXT,
    "ssl_certfile": TEXT,
    "ssl_keyfile": TEXT,
    "ssl_password": TEXT,
    "ssl_cert_reqs": CERTIFICATES,
    "ssl_check_hostname": SWITCH,
}
OURS = ("protocol", "decode_responses")  # how replies come is decided by the code that reads them: without effect
SECRET = ("username", "password", "ssl_password")  # values that are never shown


def checked(url: str) -> str:
    """Return a server's URL as redis-py shall have it.

    Raises
    ------
    ServerError
        When it breaks a rule.

    >>> checked("redis://example.org:6379/2?protocol=3&socket_timeout=2")
    'redis://example.org:6379/2?socket_timeout=2'
    >>> checked("redis://example.org/abc")
    Traceback (most recent call last):
        ...
    learner.errors.ServerError: server URL: database must be a whole number (got 'abc')
    """
    url = url.strip()
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in SCHEMES:
        came = f"got {show(scheme)}" if separator and scheme.isalnum() else "it does not"
        raise ServerError(
            "server URL: must be redis://, rediss://, unix://, redis+cluster:// or rediss+cluster://, at its beginning "
            f"({came})"
        )
    if is_of_cluster(url):
        return _checked_cluster(url)
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ServerError(f"server URL: must be well formed (it is not): {ESCAPES}") from None
    options = parse_qsl(parts.query, keep_blank_values=True)
    _require_whole(parts, [name for name, _ in options])
    if scheme == "unix":
        if not parts.path.strip("/"):
            raise ServerError("server URL: must have the path of a socket after unix:// (it has none)")
    else:
        _require_address(parts)
        _require_database(parts)
    for i, (name, value) in enumerate(options):
        _require_option(scheme, name, value, may_be_secret=any(name in SECRET for name, _ in options[:i]))
    kept = urlencode([(name, value) for name, value in options if name not in OURS])
    return url.partition("?")[0] + (f"?{kept}" if kept else "")


def _checked_cluster(url: str) -> str:
    """Return a cluster's URL, if it would be right for each of its nodes."""
    servers = [checked(server) for server in of_servers(url)]
    for parts in map(urlsplit, servers):
        if not parts.hostname:
            raise ServerError(
                "server URL: must have HOST:PORT of some nodes, with commas between them, after +cluster:// (one has no host)"
            )
        database = dict(parse_qsl(parts.query)).get("db") or parts.path.strip("/") or "0"
        if int(database):
            raise ServerError(f"server URL: database of a cluster must be 0 (got {database})")
    _, mark, options = servers[0].partition("?")
    return url.partition("?")[0] + mark + options


def is_of_cluster(url: str) -> bool:
    """Tell whether a URL says that it names nodes of a cluster.

    >>> is_of_cluster("rediss+cluster://example.org"), is_of_cluster("redis://example.org")
    (True, False)
    """
    return url.partition("://")[0].endswith("+cluster")


def of_servers(url: str) -> list[str]:
    """Return the URL of each server that a URL names.

    >>> of_servers("redis+cluster://:secret@a.org:7000,b.org:7001/0?socket_timeout=2")
    ['redis://:secret@a.org:7000/0?socket_timeout=2', 'redis://:secret@b.org:7001/0?socket_timeout=2']
    >>> of_servers("unix:///run/valkey.sock")
    ['unix:///run/valkey.sock']
    """
    if not is_of_cluster(url):
        return [url]
    scheme, _, rest = url.partition("+cluster://")
    end = re.search(r"[/?#]|$", rest)
    place = rest[: end.start()] if end else rest
    user, at, hosts = place.rpartition("@")
    return [f"{scheme}://{user}{at}{host}{rest[len(place) :]}" for host in hosts.split(",")]


def _require_whole(parts: SplitResult, names: list[str]) -> None:
    """Make sure that no password is cut: unescaped, its / ? or # would end the address, and the rest hold the @."""
    known = all(name in OPTIONS or name in TLS_OPTIONS or name in OURS for name in names)
    rest = ("" if known else parts.query) + ("" if parts.scheme == "unix" else parts.path)
    if parts.fragment or "@" in rest:
        raise ServerError(f"server URL: must have no @ after its address, and no # (it has): {ESCAPES}")


def _require_address(parts: SplitResult) -> None:
    """Make sure that host and port can be meant; nothing of them is shown, as they may be pieces of a password."""
    host = parts.netloc.rpartition("@")[2]
    if host.count(":") > 1 and not host.startswith("["):
        raise ServerError("server URL: an IPv6 address must be in brackets, as redis://[::1]:6379/0 (it is not)")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port is not None and not 0 < port <= MAX_PORT:
        raise ServerError(
            f"server URL: must be redis:// or rediss://, HOST:PORT and /DATABASE, with a port of 1 to {MAX_PORT} (it is not); "
            "a password comes before the host, as :PASSWORD@HOST:PORT"
        )
    if host.startswith("["):
        try:
            ipaddress.ip_address(unquote(host[1 : host.index("]")]))
        except ValueError:
            raise ServerError("server URL: must have an IPv6 address in the brackets (it has not)") from None


def _require_database(parts: SplitResult) -> None:
    database = unquote(parts.path).strip("/")
    if database and not WHOLE.allows(database):
        raise ServerError(f"server URL: database must be a whole number (got {show(database)})")


def _require_option(scheme: str, name: str, value: str, may_be_secret: bool) -> None:
    """Make sure that an option is known and its value fits; after a password's & the name may be a piece of it."""
    if name in OURS:
        return
    known = OPTIONS | (TLS_OPTIONS if scheme == "rediss" else {})
    if name in TLS_OPTIONS and name not in known:
        raise ServerError(f"server URL: option {name} must be with rediss:// (got {scheme}://)")
    if name not in known:
        subject = "every option" if may_be_secret else f"option {show(name)}"
        raise ServerError(
            f"server URL: {subject} must be one of {', '.join(known)} (a password's & must be written %26)"
        )
    if not known[name].allows(value):
        came = "it is not" if name in SECRET or "@" in value else f"got {show(value)}"
        raise ServerError(f"server URL: option {name} must be {known[name].words} ({came})")


def has_password(url: str) -> bool:
    """Tell whether a URL contains a password.

    >>> has_password("redis://:secret@example.org/0"), has_password("rediss://ann@example.org/0")
    (True, False)
    """
    return re.search(r"://[^:@/]*:[^@]+@|[?&]password=[^&]", url) is not None
