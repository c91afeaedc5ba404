"""One worker a model: who waits, who takes over when, and that whoever was replaced writes nothing."""

import os
import signal
import subprocess
import time

import pytest
import redis

from learner.commands.show import status_lines
from learner.errors import FencedError, LearnerError, StoreError
from learner.learners.mixture import Mixture
from learner.service.lease import Heartbeat, Silence, process_ended, process_name
from learner.service.store import Store
from learner.service.store.processes import NOTE_SECONDS
from learner.service.wire import Keys
from tests.conftest import state_bytes, wait_until
from tests.test_worker import push_batches, zipf_examples
from worker import Worker

KEYS = Keys("m")


def owner(client) -> "dict[str, str]":
    return Store(client, "m").ownership.read().fields


# ---- processes -------------------------------------------------------------------------------------------------------------
@pytest.mark.skipif(not process_name(), reason="needs Linux's /proc")
def test_a_process_has_ended_from_its_death_on_even_before_it_is_waited_for():
    process = subprocess.Popen(["sleep", "60"])
    name = process_name(process.pid)
    assert not process_ended(name)
    process.send_signal(signal.SIGSTOP)
    assert not process_ended(name)
    process.kill()
    wait_until(lambda: process_ended(name))
    process.wait()
    assert process_ended(name)


@pytest.mark.skipif(not process_name(), reason="needs Linux's /proc")
def test_another_process_with_the_same_number_is_another_process():
    boot, space, pid, start = process_name().rsplit(" ", 3)
    assert not process_ended(process_name())
    assert process_ended(f"{boot} {space} {pid} {int(start) - 1}")


def test_of_processes_elsewhere_nothing_is_known():
    assert not process_ended("")
    assert not process_ended("another-boot pid:[1] 999999 1")


# ---- signs of life ---------------------------------------------------------------------------------------------------------
def test_silence_that_could_not_be_listened_to_does_not_count():
    silence = Silence()
    assert silence.seconds("a", 0.0) == 0.0
    assert silence.seconds("a", 3.0) == 3.0
    silence.break_off()
    assert silence.seconds("a", 9.0) == 0.0


def test_a_heart_beats_until_it_is_told_to_stop_or_may_not_go_on():
    beats = []

    def beat():
        beats.append(1)
        if len(beats) == 3:
            raise FencedError("replaced")

    heart = Heartbeat(beat, 0.01)
    heart.start()
    heart.join(10)
    assert len(beats) == 3
    assert str(heart.problem) == "replaced"
    other = Heartbeat(lambda: None, 10.0)
    other.start()
    other.close()
    assert not other.is_alive()


# ---- taking over -----------------------------------------------------------------------------------------------------------
def test_two_that_wait_for_the_same_place_do_not_both_get_it(client, create):
    create()
    first, second = Store(client, "m"), Store(client, "m")
    nobody = first.ownership.read()
    assert first.ownership.succeed(nobody)
    assert not second.ownership.succeed(nobody)
    assert second.ownership.succeed(first.ownership.read())
    with pytest.raises(FencedError, match=r"another worker owns 'm' now \(epoch 2, this one's is 1\)"):
        first.ownership.beat()


def test_an_owner_that_the_server_forgot_is_told_so_and_not_that_it_was_replaced(client, create):
    create()
    store = Store(client, "m")
    store.ownership.take_over()
    store.ownership.beat()
    client.hset(KEYS.owner, "epoch", 0)
    with pytest.raises(StoreError, match="server lost what came after epoch 0 while this worker, of epoch 1"):
        store.ownership.beat()
    client.delete(KEYS.owner)
    with pytest.raises(StoreError, match="server lost everything of this model"):
        store.ownership.beat()


def test_a_worker_that_is_replaced_while_it_has_nothing_to_do_stops_too(client, redis_url, create, serving):
    create()
    with pytest.raises(FencedError), serving() as first:  # noqa: PT012
        first.close()
        first.lease_seconds = 0.05
        first._start_heart()
        Store(client, "m").ownership.take_over()
        wait_until(lambda: first.heart is not None and first.heart.problem)


def test_a_model_with_a_living_worker_is_refused_where_nobody_wants_to_wait(client, redis_url, create, start):
    create()
    with_owner = Worker(Store(client, "m"), 1.0)
    with pytest.raises(LearnerError, match=rf"has a worker already: process {os.getpid()} on .*, epoch 1"):
        Worker(Store(client, "m"), 1.0, own=False).wait_to_own(wait=False)
    process = start(redis_url, "worker", "m", "--no-wait", "--burst")
    _, err = process.communicate(timeout=60)
    assert (process.returncode, len(err.splitlines())) == (2, 1)
    assert "has a worker already" in err
    assert owner(client)["epoch"] == str(with_owner.epoch)


def test_status_tells_what_each_process_does_for_a_model_from_before_it_compiles(client, create, monkeypatch):
    create()
    seen = []

    def states():
        return [worker["state"] for worker in Store(client, "m").status()["workers"]]

    warm = Mixture.warm
    monkeypatch.setattr(Mixture, "warm", lambda mixture: (seen.append(states()), warm(mixture)))
    first = Worker(Store(client, "m"), 1.0, own=False)
    assert seen == [["starting"]]
    assert first.wait_to_own()
    assert states() == ["running"]
    client.delete(KEYS.workers)  # as after a day
    first._noted_at -= NOTE_SECONDS
    first._beat()
    assert states() == ["running"]
    second = Worker(Store(client, "m"), 1.0, own=False)
    assert states() == ["running", "starting"]
    with pytest.raises(LearnerError, match="has a worker already"):
        second.wait_to_own(wait=False)
    first.run(burst=True)
    assert states() == ["starting"]  # the second one's process is this one, which goes on
    lines = list(status_lines(Store(client, "m").status() | {"task": "binary", "loss": "logistic"}))
    assert any(line.startswith(f"starting          process {os.getpid()} on ") for line in lines)


@pytest.mark.skipif(not process_name(), reason="needs Linux's /proc")
def test_a_process_that_has_ended_does_nothing_for_a_model_any_more(client, create, start_worker, redis_url):
    create()
    worker = start_worker(redis_url)
    wait_until(lambda: [w["state"] for w in Store(client, "m").processes.list()] == ["running"])
    worker.kill()
    worker.wait()
    assert Store(client, "m").processes.list() == []
    Store(client, "m").processes.note("waiting")
    assert client.hlen(KEYS.workers) == 1  # the ended one's note is gone


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
    assert first.wait(5) == 0
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
    assert "Error: another worker owns 'm' now (epoch 4, this one's is 3)" in err.splitlines()[-1]
    assert "Traceback" not in err

    fourth = working()
    fourth.terminate()
    assert fourth.wait(5) == 0
    undisturbed.learn_packed(b"".join(examples))
    assert state_bytes(committed()) == state_bytes(undisturbed)


@pytest.mark.parametrize("after", [False, True])
def test_one_whose_takeover_was_not_answered_does_not_wait_for_itself(client, create, monkeypatch, after):
    create()
    owner = Worker(Store(client, "m"), 1.0, lease_seconds=60.0, own=False)
    succeed, lost = owner.store.ownership.succeed, []

    def losing(*args):
        if lost:
            return succeed(*args)
        lost.append(after and succeed(*args))
        raise redis.ConnectionError("lost")

    monkeypatch.setattr(owner.store.ownership, "succeed", losing)
    with pytest.raises(redis.ConnectionError):
        owner.wait_to_own()
    assert owner.wait_to_own(wait=False)
    assert (owner.epoch, lost) == (1, [after])
    owner.run(burst=True)


def test_one_that_waits_stops_at_once_and_takes_nothing(client, redis_url, create, start_worker):
    create()
    first = Worker(Store(client, "m"), 1.0)
    second = start_worker(redis_url, "m")
    second.terminate()
    assert second.wait(5) == 0
    assert owner(client)["epoch"] == str(first.epoch)
