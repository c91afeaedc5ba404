"""Clients made before a fork, used in threads, or handed to another process: each gets its own answers."""

import asyncio
import copy
import multiprocessing
import os
import pickle
import threading
import traceback

import pytest

from learner import AsyncClient, Client
from learner.errors import ServerError
from tests.conftest import wait_until

VALUES = [0.0, 0.25, 0.5, 0.75]


@pytest.fixture
def truth(redis_url, create, start_worker):
    """What a worker, a process of its own, predicts for each of `VALUES`: different numbers."""
    create(task="regression")
    start_worker(redis_url, "m", "--commit-seconds", "0.05")  # nothing changes the answers
    client = Client("m", redis_url, timeout=20)
    client.push_many([(10 * value, {"x": value}) for value in VALUES * 100], features=True)
    wait_until(lambda: client.lag() == 0)
    truth = {value: client.predict({"x": value}) for value in VALUES}
    assert len(set(truth.values())) == len(VALUES)
    return truth


def ask(client, truth, value, n=20):
    for _ in range(n):
        assert client.predict({"x": value}) == truth[value]


def ask_async(client, truth, value):
    async def answers():
        return await asyncio.gather(*(client.predict({"x": value}) for _ in range(10)))

    assert set(asyncio.run(answers())) == {truth[value]}


def in_child(function, *arguments):
    """Run a function in a forked child; return its pid."""
    if pid := os.fork():
        return pid
    try:
        function(*arguments)
    except BaseException:  # noqa: BLE001  (nothing of the parent's may run in the child)
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def require_good_end(pids):
    assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids] == [0] * len(pids)


def in_threads(function, argument_lists):
    failures = []

    def run(arguments):
        try:
            function(*arguments)
        except BaseException as error:  # noqa: BLE001  (raised below)
            failures.append(error)

    threads = [threading.Thread(target=run, args=(arguments,)) for arguments in argument_lists]
    for thread in threads:
        thread.start()
    return threads, failures


def test_children_of_a_parent_in_the_middle_of_requests_get_their_own_answers_as_it_does(truth, redis_url):
    client = Client("m", redis_url, timeout=20)
    client.predict({"x": 0.0})
    threads, failures = in_threads(ask, [(client, truth, value, 100) for value in VALUES[:2]])
    pids = [in_child(ask, client, truth, value) for value in VALUES * 2]
    require_good_end(pids)
    for thread in threads:
        thread.join()
    assert not failures


def test_a_child_has_connections_of_its_own_whatever_locks_the_parent_s_threads_held(truth, redis_url):
    client = Client("m", redis_url, timeout=20)
    client.predict({"x": 0.0})
    pool = client.redis.connection_pool

    def test(connections):
        assert client.redis.connection_pool is not pool
        ask(client, truth, 0.5, 1)
        assert connections == pool._available_connections  # neither used nor closed

    with getattr(pool, "_lock", threading.Lock()):
        pids = []  # of children that have no thread which could let the lock go
        thread = threading.Thread(target=lambda: pids.append(in_child(test, list(pool._available_connections))))
        thread.start()
        thread.join()
        require_good_end(pids)
    ask(client, truth, 0.25, 1)


def test_threads_and_children_with_event_loops_share_an_async_client(truth, redis_url):
    client = AsyncClient("m", redis_url, timeout=20)
    threads, failures = in_threads(ask_async, [(client, truth, value) for value in VALUES * 2])
    pids = [in_child(ask_async, client, truth, value) for value in VALUES]
    require_good_end(pids)
    for thread in threads:
        thread.join()
    assert not failures
    ask_async(client, truth, 0.5)
    assert len(client._connections._loops) <= 1 + len(VALUES * 2)
    ask_async(client, truth, 0.5)
    assert len(client._connections._loops) == 1  # those of loops that ended are gone


def test_a_loop_that_is_run_on_in_a_child_gets_other_connections(truth, redis_url):
    client = AsyncClient("m", redis_url, timeout=20)
    loop = asyncio.new_event_loop()

    def ask(value):
        assert loop.run_until_complete(client.predict({"x": value})) == truth[value]

    ask(0.0)
    require_good_end([in_child(ask, value) for value in VALUES])
    ask(0.75)
    loop.run_until_complete(client.aclose())
    loop.close()


@pytest.mark.parametrize(("kind", "method"), [(Client, "spawn"), (AsyncClient, "forkserver")])
def test_a_client_is_handed_to_processes_that_are_started_anew(truth, redis_url, kind, method):
    client = kind("m", redis_url, timeout=20)
    asking = ask if kind is Client else ask_async
    processes = [
        multiprocessing.get_context(method).Process(target=asking, args=(client, truth, value)) for value in VALUES[:2]
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]


@pytest.mark.parametrize("kind", [Client, AsyncClient])
def test_a_pickled_client_is_its_parameters(redis_url, monkeypatch, kind):
    client = kind("m", redis_url, 7.0, "power", 2)
    for same in (pickle.loads(pickle.dumps(client)), copy.copy(client), copy.deepcopy(client)):  # noqa: S301
        assert same is not client
        assert same._parameters == client._parameters
        assert same._conversations.durability == client._conversations.durability
    monkeypatch.setenv("REDIS_URL", redis_url)
    assert redis_url.encode() not in pickle.dumps(kind("m"))  # it is found again where it is unpickled
    with pytest.raises(ServerError, match="server URL"):
        kind("m", "http://example.org")
