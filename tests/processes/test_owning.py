"""One worker process a model: who waits, and who takes over after a stop, a death and a freeze."""

import os
import signal
import socket
import time

import pytest

from learner.errors import LearnerError
from learner.service.lease import process_name
from learner.service.liveness import live, ready
from learner.service.store import Store
from tests.conftest import state_bytes, wait_until
from tests.streams import push_batches, zipf_examples
from worker import Worker


def owner(client) -> "dict[str, str]":
    return Store(client, "m").ownership.read().fields


def test_a_model_with_a_living_worker_is_refused_where_nobody_wants_to_wait(client, redis_url, create, own, start):
    create()
    first = own()
    with pytest.raises(LearnerError, match=rf"has a worker already: process {os.getpid()} on .*, epoch 1"):
        Worker(Store(client, "m"), 1.0).wait_to_own(patient=False)
    process = start(redis_url, "worker", "m", "--no-wait", "--burst")
    _, err = process.communicate(timeout=60)
    assert (process.returncode, len(err.splitlines())) == (2, 1)
    assert "has a worker already" in err
    assert owner(client)["epoch"] == str(first.store.ownership.epoch)


@pytest.mark.skipif(not process_name(), reason="needs Linux's /proc")
def test_a_process_that_was_killed_is_dead_and_does_nothing_for_a_model_any_more(
    client, create, start_worker, redis_url
):
    create()
    worker = start_worker(redis_url)
    wait_until(lambda: live(Store(client, "m").status())[0])
    worker.kill()
    worker.wait()
    status = Store(client, "m").status()
    assert live(status) == (False, f"process {worker.pid} on {socket.gethostname()} is dead")
    assert ready(status, None, 60.0) == live(status)


def test_one_works_and_the_other_waits_and_takes_over_when_it_stops_is_killed_or_is_frozen(
    client, redis_url, create, start_worker, committed
):
    """The whole story with four workers: a stop, a death, a freeze, and the frozen one wakes."""
    examples = zipf_examples(3000, 8, 5)
    undisturbed = create()
    options = ("--commit-seconds", "0.01", "--lease-seconds", "1")
    workers = [start_worker(redis_url, "m", *options) for _ in range(4)]  # each is up before the next starts
    assert all("waiting, in place of process" in waiting.hello for waiting in workers[1:])

    def working():
        return next((w for w in workers if owner(client).get("pid") == str(w.pid)), None)

    def learn_all(part):
        push_batches(client, "batch", part, 10)
        wait_until(lambda: Store(client, "m").status()["lag_entries"] == 0)

    learn_all(examples[:1000])
    first = working()
    first.terminate()
    assert first.wait(20) == 0
    wait_until(lambda: working() not in (None, first), 2)

    second = working()
    learn_all(examples[1000:2000])
    second.kill()  # not waited for: it is a zombie, and known to be dead at once
    wait_until(lambda: working() not in (None, first, second), 3)

    third = working()
    third.send_signal(signal.SIGSTOP)
    push_batches(client, "batch", examples[2000:], 10)
    frozen = time.monotonic()
    wait_until(lambda: working() not in (None, first, second, third), 10)
    assert time.monotonic() - frozen > 0.5
    wait_until(lambda: Store(client, "m").status()["lag_entries"] == 0)
    third.send_signal(signal.SIGCONT)
    _, err = third.communicate(timeout=10)
    assert third.returncode == 4, err
    assert "stopped with code 4: another worker owns 'm' now (epoch 4, this one's is 3)" in err.splitlines()[-1]
    ends = {w["pid"]: (w["state"], w.get("code")) for w in Store(client, "m").processes.list()}
    assert ends == {
        first.pid: ("stopped", 0),
        second.pid: ("dead", None),
        third.pid: ("stopped", 4),
        working().pid: ("running", None),
    }
    assert "Traceback" not in err

    fourth = working()
    fourth.terminate()
    assert fourth.wait(5) == 0
    undisturbed.learn_packed(b"".join(examples))
    assert state_bytes(committed()) == state_bytes(undisturbed)


def test_one_that_waits_stops_at_once_and_takes_nothing(client, redis_url, create, own, start_worker):
    create()
    first = own()
    second = start_worker(redis_url, "m")
    second.terminate()
    assert second.wait(5) == 0
    assert owner(client)["epoch"] == str(first.store.ownership.epoch)
