"""A real server for the tests that need one: started for the session, in a folder of its own, gone afterwards."""

import fcntl
import gc
import math
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

from learner import compiling
from learner.service import reading
from learner.service.store import Store
from learner.service.store.acl import ROLES, set_user
from learner.service.store.connection import client as connect
from learner.service.store.durability import has_waitaof
from learner.service.store.embedded import Embedded, temporary
from tests.clusters import Nodes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    import redis

    from learner.model import Model
    from learner.service.answerer import Answerer
    from learner.service.recent import RecentIds
    from learner.service.wire import RejectedEntry
    from worker import Worker


MARKS = {"service": "server", "processes": "process"}  # of the tests in a folder


def pytest_collection_modifyitems(items: "list[pytest.Item]") -> None:
    """Mark the tests by the folder that they are in."""
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here) and (mark := MARKS.get(item.path.relative_to(here).parts[0])):
            item.add_marker(mark)


# on a busy machine nothing fails because it took long
hypothesis.settings.register_profile("busy", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("busy")

compiling.choose_target()  # as our commands do, so that the processes that tests start find what is compiled here


COMPILED: "dict[str, tuple[dict[str, Any], ...]]" = {  # by the process that compiles it
    "gw0": ({}, {"rates": [0.5]}, {"task": "multiclass"}),
    "gw1": ({"featurizer": "text"}, {"optimizer": "sgd"}),
}
HEAD = {"neural": [5, 4]}  # each other shape would be compiled anew: all tests have this one


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Compile the loops before any test, so that no test's deadline counts it; each in one process, others wait.

    The loops of a process share the functions that they call: two processes that compile one loop each take much more time than
    one that compiles both. A process that is alone leaves the head to the tests that need it.
    """
    from learner.model import Model

    folder, worker, groups = tmp_path_factory.getbasetemp(), os.environ.get("PYTEST_XDIST_WORKER"), dict(COMPILED)
    if worker:
        folder, groups["gw1"] = folder.parent, (HEAD, *groups["gw1"])
    gc.disable()  # it would take a tenth of the time
    for name, kinds in sorted(groups.items(), key=lambda group: group[0] != worker):
        with (folder / f"compiling {name}").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for kind in kinds:
                model = Model(**kind)
                model.warm()
                model.losses_packed(b"")
    gc.enable()
    gc.freeze()  # the tests themselves are never garbage


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> "Iterator[None]":
    """Keep the tests off the developer's servers: without REDIS_URL, and with a LEARNER_HOME of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("REDIS_URL", raising=False)
        patch.setenv("LEARNER_HOME", str(tmp_path_factory.mktemp("home")))
        yield
        Embedded().stop()  # one that a test left running there


@pytest.fixture(scope="session")
def server(environment: None) -> "Iterator[str]":
    """The URL of a real server, shared by the session's tests."""
    with temporary() as url:
        yield url


@pytest.fixture
def redis_url(server: str) -> str:
    """The URL of the session's server, emptied: it is ours, so nobody else's keys can be lost."""
    with connect(server) as connection:
        connection.flushall()
    return server


@pytest.fixture
def client(redis_url: str) -> "Iterator[redis.Redis]":
    """A connection to the session's server, emptied."""
    with connect(redis_url) as connection:
        yield connection


@pytest.fixture(scope="session")
def cluster(environment: None) -> "Iterator[Nodes]":
    """A real cluster of three primaries, each with a replica, shared by the session's tests: their models have other names."""
    with Nodes(timeout_ms=5000) as nodes:
        yield nodes


@pytest.fixture
def hanging(tmp_path: Path) -> "Iterator[tuple[str, Callable[[], None]]]":
    """The URL of a server of the test's own, and what makes it hang from then on."""
    embedded = Embedded(tmp_path / "server")
    url = embedded.start()
    pid = embedded.running()["pid"]  # type: ignore[index]
    yield url, lambda: os.kill(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGCONT)
    embedded.stop()


SEED = b"a test's own seed"


@pytest.fixture
def seed() -> int:
    """A seed of a random test: another one each time, printed where the test fails; TEST_SEED chooses it."""
    chosen = int(os.environ.get("TEST_SEED") or random.randrange(1 << 32))
    print(f"TEST_SEED={chosen} draws the same again")
    return chosen


def state_bytes(model: "Model | dict[str, Any]") -> dict[str, bytes]:
    """All that a model has learned: equal bytes are equal models."""
    state = model if isinstance(model, dict) else model.state()
    return {name: array.tobytes() for name, array in state.items()}


def commit(
    store: Store,
    model: "Model",
    cursor: bytes,
    n_entries: int,
    rejected: "Sequence[tuple[bytes, RejectedEntry]]" = (),
    progress: "Mapping[str, Any] | None" = None,
    recent: "RecentIds | None" = None,
) -> None:
    """Commit what a model learned since the last commit, as a worker does; again if the server lost commits."""
    from learner.service.store.commits import CommitsLost
    from learner.service.store.snapshot import Learned

    dirty = model.dirty
    while True:
        learned = Learned(model.state(), dirty, model.fingerprint)
        snapshot = store.commits.snapshot(learned, cursor, n_entries, rejected, progress or {"n": 1}, recent)
        try:
            return store.commits.write(snapshot)
        except CommitsLost:
            dirty[:] = 1
        except BaseException:
            dirty[snapshot.slots] = 1
            raise


def url(client: "redis.Redis") -> str:
    """The URL of the server that a client is connected to."""
    options = client.connection_pool.connection_kwargs
    return f"redis://:{options['password']}@{options['host']}:{options['port']}/0"


def wait_until(holds: "Callable[[], Any]", seconds: float = 30.0, every: float = 0.01) -> None:
    """Wait until something holds; a test fails if it never does."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(every)


@pytest.fixture
def create(redis_url: str) -> "Callable[..., Model]":
    """Make a model on the session's server; returns one like it that knows nothing yet, to compare with."""
    from learner.model import Model

    def made(name: str = "m", task: str = "binary", **options: Any) -> Model:
        model = Model(task, seed=SEED, **options)
        with connect(redis_url) as connection:
            assert Store(connection, name).create(model.to_spec())
        return Model.from_spec(model.to_spec())

    return made


@pytest.fixture
def roles(client: "redis.Redis", redis_url: str, create: "Callable[..., Model]") -> "Iterator[dict[str, str]]":
    """Make the model m and a user a role, which are gone afterwards; the URLs by role."""
    from tests.reliability.roles import PASSWORD, url_of

    create(featurizer="fields")
    for role in ROLES:
        client.execute_command(*set_user("m", role, PASSWORD))
    yield {role: url_of(redis_url, "m", role) for role in ROLES}
    client.execute_command("ACL", "DELUSER", *(f"m-{role}" for role in ROLES))


@pytest.fixture
def waitaof(client: "redis.Redis") -> None:
    """Skip where the server has no WAITAOF."""
    if not has_waitaof(client.info()):
        pytest.skip("needs Redis >= 7.2 or Valkey")


@pytest.fixture
def own(redis_url: str) -> "Iterator[Callable[..., Worker]]":
    """Make a worker in this process that owns its model, as soon as no other one does; it shows no life after the test."""
    from worker import CandidateWorker, Worker

    with ExitStack() as closed:

        def owning(name: str = "m", commit_seconds: float = 1000.0, **options: Any) -> "Worker":
            store = Store(closed.enter_context(connect(redis_url)), name)
            options.setdefault("held_seconds", math.inf)  # a pause of the test must not decide what is learned
            kind = CandidateWorker if "/" in name else Worker
            owner = kind(store, commit_seconds, **options)
            closed.callback(owner.owning.close)
            assert owner.wait_to_own()
            return owner

        yield owning


@pytest.fixture
def drain(own: "Callable[..., Worker]") -> "Callable[..., Worker]":
    """Run a worker in this process until nothing is left; returns it."""

    def drained(name: str = "m", commit_seconds: float = 1000.0, **options: Any) -> "Worker":
        owner = own(name, commit_seconds, **options)
        owner.run(burst=True)
        return owner

    return drained


@pytest.fixture
def committed(redis_url: str) -> "Callable[..., Model]":
    """The model as its last commit has it."""
    from learner.client import Client

    return lambda name="m": Client(name, redis_url).committed()


@pytest.fixture
def serving(
    own: "Callable[..., Worker]", monkeypatch: pytest.MonkeyPatch
) -> "Callable[..., AbstractContextManager[Worker]]":
    """Have a worker run in a thread of this process while a block runs."""
    monkeypatch.setattr(reading, "BLOCK_MS", 20)

    @contextmanager
    def running(name: str = "m", commit_seconds: float = 0.0, **options: Any) -> "Iterator[Worker]":
        owner = own(name, commit_seconds, **options)
        try:
            with in_thread(owner.run, owner.stop):
                yield owner
        finally:
            owner.owning.close()

    return running


@contextmanager
def in_thread(run: "Callable[[], None]", stop: "Callable[[], None]") -> "Iterator[None]":
    """Run a function in a thread while a block runs; what it raises is raised in the test."""
    failure: list[BaseException] = []

    def guarded() -> None:
        try:
            run()
        except BaseException as error:  # noqa: BLE001  (it is raised in the test)
            failure.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(30)
    if failure:
        raise failure[0]
    assert not thread.is_alive()


@pytest.fixture
def answering(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> "Callable[..., AbstractContextManager[Answerer]]":
    """Have an answerer run in a thread of this process while a block runs; it and the worker look at each other often."""
    from learner.service import answerer, leaving, sharing
    from learner.service.store import processes

    monkeypatch.setattr(leaving, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(answerer, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(sharing, "CLAIM_SECONDS", 0.02)
    monkeypatch.setattr(sharing, "IDLE_MS", 50)
    monkeypatch.setattr(processes.Answerers, "seconds", 0.05)

    @contextmanager
    def running(name: str = "m", **options: Any) -> "Iterator[Answerer]":
        with connect(redis_url) as connection:
            one = answerer.Answerer(Store(connection, name), **options)
            with in_thread(one.run, one.stop):
                wait_until(lambda: one.store.answerers.state == "running" or one.stopping)
                yield one
            one.store.answerers.note("stopped", 0)  # nothing is noted where an error ended it

    return running


@pytest.fixture
def start() -> "Iterator[Callable[..., subprocess.Popen[str]]]":
    """Start one of our commands as a process; none outlives the test."""
    processes: list[subprocess.Popen[str]] = []

    def started(url: str, *arguments: str, program: "tuple[str, ...]" = ("-m", "learner")) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, *program, *arguments],
            env={**os.environ, "REDIS_URL": url},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield started
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def start_worker(start: "Callable[..., subprocess.Popen[str]]") -> "Callable[..., subprocess.Popen[str]]":
    """Start a worker as a process, and wait until it says that it is ready (`process.hello`).

    Unless told otherwise it holds examples for ever: a pause of the test must not decide what is learned.
    """

    def started(url: str, name: str = "m", *arguments: str) -> "subprocess.Popen[str]":
        process = start(url, "worker", name, "--held-seconds", "inf", *arguments)
        process.hello = next(line for line in process.stderr if "compil" not in line)  # type: ignore[union-attr, attr-defined]
        if "epoch" not in process.hello and "waiting" not in process.hello:  # type: ignore[attr-defined]
            process.kill()
            pytest.fail(process.hello + process.communicate()[1])  # type: ignore[attr-defined]
        return process

    return started
