"""One worker a model: who takes over when, and that whoever was replaced writes nothing."""

import math
import os

import msgpack
import pytest
import redis

from learner.commands.show import status_lines
from learner.errors import FencedError, LearnerError, StoreError
from learner.learners.mixture import Mixture
from learner.service.store import Store
from learner.service.store.processes import SEEN_SECONDS
from tests.conftest import state_bytes, wait_until
from tests.streams import KEYS, push_batches
from worker import Worker


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


def test_a_worker_that_is_replaced_while_it_has_nothing_to_do_stops_too(client, create, serving):
    create()
    with pytest.raises(FencedError), serving(lease_seconds=0.05) as first:  # noqa: PT012
        Store(client, "m").ownership.take_over()
        wait_until(lambda: first.owning.heartbeat.problem)


def test_status_tells_what_each_process_does_for_a_model_from_before_it_compiles(client, create, monkeypatch):
    create()
    seen = []

    def states():
        return [worker["state"] for worker in Store(client, "m").status()["workers"]]

    warm = Mixture.warm
    monkeypatch.setattr(Mixture, "warm", lambda mixture: (seen.append(states()), warm(mixture)))
    first = Worker(Store(client, "m"), 1.0)
    assert seen == [["starting"]]
    assert first.wait_to_own()
    assert states() == ["running"]
    client.delete(KEYS.workers)  # as after a day
    first.store.processes._noted_at -= SEEN_SECONDS
    first.owning.beat(1.0)
    assert states() == ["running"]
    second = Worker(Store(client, "m"), 1.0)
    assert states() == ["running", "starting"]
    with pytest.raises(LearnerError, match="has a worker already"):
        second.wait_to_own(patient=False)
    first.run(burst=True)
    assert states() == ["starting", "stopped"]  # the second one's process is this one, which goes on
    lines = list(status_lines(Store(client, "m").status() | {"task": "binary", "loss": "logistic"}))
    assert any(line.startswith(f"starting          process {os.getpid()} on ") for line in lines)


@pytest.mark.parametrize("after", [False, True])
def test_one_whose_takeover_was_not_answered_does_not_wait_for_itself(client, create, monkeypatch, after):
    create()
    owner = Worker(Store(client, "m"), 1.0, lease_seconds=60.0)
    succeed, lost = owner.store.ownership.succeed, []

    def losing(*args):
        if lost:
            return succeed(*args)
        lost.append(after and succeed(*args))
        raise redis.ConnectionError("lost")

    monkeypatch.setattr(owner.store.ownership, "succeed", losing)
    with pytest.raises(redis.ConnectionError):
        owner.wait_to_own()
    assert owner.wait_to_own(patient=False)
    assert (owner.store.ownership.epoch, lost) == (1, [after])
    owner.run(burst=True)


def test_a_fenced_worker_raises_and_commits_nothing(client, create, own, drain, committed):
    create()
    client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": "1"})
    first = own(lease_seconds=0.1)
    first.owning.close()
    second = drain()
    with pytest.raises(FencedError):
        first.run(burst=True)
    assert client.hget(KEYS.head, "commits") == b"1"
    assert state_bytes(committed()) == state_bytes(second.model)


def test_one_that_waits_takes_no_model_that_is_gone_and_says_so(client, create, own):
    create()
    first, second = own(lease_seconds=0.2), Worker(Store(client, "m"), 1.0)
    client.flushall()
    with pytest.raises(StoreError, match="model 'm' does not exist any more: the server was emptied"):
        second.wait_to_own()
    with pytest.raises(StoreError, match="server lost everything of this model"):
        first.owning.beat(1.0)
    assert client.exists(KEYS.owner, KEYS.examples, KEYS.spec) == 0


def test_one_that_waits_learns_the_model_that_is_there_when_it_takes_over(client, create, drain):
    create()
    second = Worker(Store(client, "m"), 1.0, held_seconds=math.inf)
    client.flushall()
    model = create(task="regression")
    push_batches(client, "batch", [msgpack.packb([1.5, {"a": i}]) for i in range(20)], 1)
    assert second.wait_to_own()
    second.run(burst=True)
    model.learn_packed(b"".join(msgpack.packb([1.5, {"a": i}]) for i in range(20)))
    assert state_bytes(second.model) == state_bytes(model)
    assert drain().model.n_examples == 20


def test_one_whose_server_was_emptied_and_whose_model_has_a_new_owner_is_told_so(client, create):
    create()
    first, second = Store(client, "m"), Store(client, "m")
    first.ownership.take_over()
    client.flushall()
    create()
    second.ownership.take_over()
    with pytest.raises(FencedError, match="its epoch is no higher, the server was emptied or went back to older data"):
        first.ownership.beat()
