"""Parts for the tests: server and worker processes, a TCP proxy that freezes and cuts connections, examples, digests."""

import hashlib
import math
import os
import resource
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgpack
import numpy as np
import redis

from learner.model import Model
from learner.service.store import Store, connection, embedded
from learner.service.wire import Keys

ROOT = Path(__file__).parent.parent.parent
KEYS = Keys("m")
CONFIGURATION = embedded.CONFIGURATION.replace("daemonize yes", "daemonize no")


def wait_for(holds: Callable[[], Any], what: str, seconds: float = 60.0) -> None:
    """Wait until `holds` returns something true; a lost connection counts as false."""
    deadline = time.monotonic() + seconds
    while True:
        with suppress(redis.ConnectionError, redis.TimeoutError):
            if holds():
                return
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(0.005)


# ---- servers ---------------------------------------------------------------------------------------------------------------
class Server:
    """A server process in a folder of its own; at the end of the block it is killed, and its temporary folder removed."""

    def __init__(self, *more: str, folder: Path | None = None, file_bytes: int | None = None) -> None:
        self._temporary = None if folder else tempfile.mkdtemp(prefix="reliability-")
        self.folder = folder or Path(str(self._temporary))
        self.port = embedded.free_port()
        self.password = secrets.token_hex(8)
        self.url = f"redis://:{self.password}@127.0.0.1:{self.port}/0"
        self.configuration = CONFIGURATION.format(port=self.port, password=self.password)
        self.configuration += "\n".join(more) + "\n"
        self._file_bytes = file_bytes
        self.start()

    def start(self) -> None:
        """Start the server with the data that it has on disk, and wait until it answers."""

        def limit() -> None:
            if self._file_bytes:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (self._file_bytes, resource.RLIM_INFINITY))

        self.process = subprocess.Popen(
            [embedded.find_binary(), "-"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            preexec_fn=limit if self._file_bytes else None,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(self.configuration.encode())
        self.process.stdin.close()
        with self.client() as client:
            wait_for(lambda: not client.info()["loading"], "server answers")

    def client(self) -> redis.Redis:
        """Return a connection."""
        return connection.client(self.url)

    def kill(self) -> None:
        """Kill the server, so that it can't write anything more."""
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.kill()
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)


# ---- workers ---------------------------------------------------------------------------------------------------------------
class Process:
    """A worker process, or another one of our commands; `lines` has what it printed on standard error.

    Unless an option says otherwise, it adds no entry of its own in a pause, so that it learns the same as an undisturbed model.
    """

    always: tuple[str, ...] = ("--json", "--held-seconds", "inf")  # options
    is_ready = "epoch"  # what it says then

    def __init__(self, url: str, *options: str, command: tuple[str, ...] = ("worker", "m")) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "learner", *command, *self.always, *options],
            env={**os.environ, "REDIS_URL": url},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip())

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def said(self, words: str) -> bool:
        """Tell whether a line that it printed contains the words."""
        return any(words in line for line in self.lines)

    def ready(self, seconds: float = 60.0) -> "Process":
        """Wait until it owns the model, or waits for its owner."""
        wait_for(lambda: self.said(self.is_ready) or self.process.poll() is not None, "worker is ready", seconds)
        assert self.process.poll() is None, self.lines
        return self

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self, seconds: float = 30.0) -> tuple[int, str]:
        """Wait for its end; return its exit code and what it printed."""
        code = self.process.wait(seconds)
        self._reader.join(5)
        assert self.process.stdout is not None
        return code, self.process.stdout.read()

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def owner_pid(client: redis.Redis) -> int:
    """Return the process id of the model's owner, 0 if there is none."""
    return int(client.hget(KEYS.owner, "pid") or 0)


# ---- the proxy -------------------------------------------------------------------------------------------------------------
class Proxy:
    """Passes connections on to a port; can freeze all connections, or cut one before or after a certain command.

    `n_commands` counts the commands that clients have sent over all connections since `arm`.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._flowing = threading.Event()
        self._flowing.set()
        self._lock = threading.Lock()
        self._cut: tuple[int, bool] | None = None
        self.n_commands = 0
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, number: int, after: bool) -> None:
        """Cut the connection that sends command `number`, counted from 0: before the server gets it, or shortly after."""
        with self._lock:
            self.n_commands, self._cut = 0, (number, after)

    def disarm(self) -> None:
        """Cut no connection any more."""
        with self._lock:
            self._cut = None

    def freeze(self) -> None:
        """Keep the connections, but pass nothing on any more."""
        self._flowing.clear()

    def close(self) -> None:
        """Cut all connections."""
        self._flowing.set()
        self._listener.close()
        for connected in self._sockets:
            connected.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                inside, _ = self._listener.accept()
                outside = socket.create_connection(("127.0.0.1", self._port))
                self._sockets += [inside, outside]
                threading.Thread(target=self._requests, args=(inside, outside), daemon=True).start()
                threading.Thread(target=self._replies, args=(outside, inside), daemon=True).start()

    def _replies(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self._flowing.wait()
                target.sendall(data)
        _shut(source, target)

    def _requests(self, source: socket.socket, target: socket.socket) -> None:
        buffer = b""
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self._flowing.wait()
                if self._cut is None:
                    target.sendall(buffer + data)
                    buffer = b""
                    continue
                buffer += data
                while (size := _command_bytes(buffer)) is not None:
                    with self._lock:
                        number, self.n_commands = self.n_commands, self.n_commands + 1
                    now = self._cut is not None and number == self._cut[0]
                    if now and not self._cut[1]:
                        raise OSError("cut")
                    target.sendall(buffer[:size])
                    buffer = buffer[size:]
                    if now:
                        time.sleep(0.02)  # the server does it; the answer may or may not get through
                        raise OSError("cut")
        _shut(source, target)


def _shut(*sockets: socket.socket) -> None:
    for connected in sockets:
        with suppress(OSError):
            connected.shutdown(socket.SHUT_RDWR)
        connected.close()


def _command_bytes(data: bytes) -> int | None:
    """Return the size of the first command in a buffer; None if the command isn't whole."""
    end = data.find(b"\r\n")
    if end < 0:
        return None
    place = end + 2
    for _ in range(int(data[1:end])):
        end = data.find(b"\r\n", place)
        if end < 0:
            return None
        place = end + 2 + int(data[place + 1 : end]) + 2
    return place if place <= len(data) else None


# ---- examples and models ---------------------------------------------------------------------------------------------------
def examples(n: int, n_features: int = 10, seed: int = 1) -> list[bytes]:
    """Return packed examples whose names follow Zipf's law."""
    rng = np.random.default_rng(seed)
    ids = rng.zipf(1.3, (n, n_features)) % 1_000_003
    targets = np.sin(ids).sum(1) + rng.normal(0, 1, n) > 0
    return [msgpack.packb([int(y), {f"n{i}": 1.0 for i in row}]) for y, row in zip(targets, ids.tolist(), strict=True)]


def create(client: redis.Redis) -> Model:
    """Create the model on the server; return a copy, to learn the same without disturbance."""
    model = Model("binary")
    model.warm()  # so that workers find the compiled loops on disk
    assert Store(client, "m").create(model.to_spec())
    return model


def push(client: redis.Redis, packed: list[bytes], size: int = 100) -> None:
    """Push examples, `size` in an entry."""
    with client.pipeline(transaction=False) as pipe:
        for i in range(0, len(packed), size):
            pipe.xadd(KEYS.examples, {"batch": b"".join(packed[i : i + size])})
        pipe.execute()


def digest(state: "dict[str, Any] | Model") -> str:
    """Return a digest of a model's whole state."""
    arrays = state.state() if isinstance(state, Model) else state
    sha256 = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        sha256.update(name.encode() + array.tobytes())
    return sha256.hexdigest()[:16]


def committed(client: redis.Redis) -> Model:
    """Return the model as last committed; raise an error unless state, cursor and stream agree."""
    store = Store(client, "m")
    model = Model.from_spec(store.spec())
    commit = store.commits.load(model.fingerprint, model.row_width)
    if commit and commit.state:
        model.load_state(commit.state)
    return model


def lag(client: redis.Redis) -> int:
    """Return how many entries are not committed yet."""
    position = Store(client, "m").stream.committed_position()
    return position.added - position.passed


def drain(url: str) -> Model:
    """Learn the whole stream with a worker in this process; return the model as committed."""
    from worker import Worker

    with connection.client(url) as client:
        worker = Worker(Store(client, "m"), 1000.0, held_seconds=math.inf)
        worker.wait_to_own()
        worker.run(burst=True)
        return committed(client)


def percentile(values: list[float], q: float) -> float:
    """Return a percentile."""
    return float(np.percentile(values, q)) if values else float("nan")


@contextmanager
def running(url: str, n: int, *options: str) -> Iterator[list[Process]]:
    """Run n workers during a block: one works, the others wait."""
    workers = [Process(url, *options) for _ in range(n)]
    try:
        yield workers
    finally:
        for worker in workers:
            worker.process.kill()
            worker.process.wait()
