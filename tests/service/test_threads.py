"""Many models in one process: those on one server share one thread that beats and one that writes."""

import threading
from collections import Counter

import pytest

from learner.errors import FencedError
from learner.service.owning import Owning
from learner.service.store import Store
from learner.service.store.commits import Commits
from learner.service.store.connection import address
from learner.service.store.connection import client as connect
from learner.service.wire import Keys
from learner.service.writing import writer_of
from tests.conftest import state_bytes, wait_until
from tests.streams import zipf_examples


def shared_threads() -> "Counter[str]":
    return Counter(thread.name for thread in threading.enumerate() if thread.name in ("heartbeat", "commit"))


def test_two_models_share_the_threads_of_their_process(client, create, serving, committed):
    examples = zipf_examples(2000, 10, 1)
    reference = create("a")
    create("b")
    most: Counter[str] = Counter()
    with serving("a", lease_seconds=0.5) as a, serving("b", lease_seconds=0.5) as b:
        signs = {owner: owner.store.ownership.read().sign for owner in (a, b)}
        for i in range(0, len(examples), 10):
            for name in ("a", "b"):
                client.xadd(Keys(name).examples, {"batch": b"".join(examples[i : i + 10])})
            most |= shared_threads()
        wait_until(lambda: [Store(client, name).status()["lag_entries"] for name in ("a", "b")] == [0, 0])
        wait_until(lambda: all(owner.store.ownership.read().sign != sign for owner, sign in signs.items()))
        most |= shared_threads()
        assert a.store.commits.number > 1
        assert b.store.commits.number > 1
    assert most["heartbeat"] == 1
    assert most["commit"] <= 1
    reference.learn_packed(b"".join(examples))
    assert state_bytes(committed("a")) == state_bytes(committed("b")) == state_bytes(reference)
    wait_until(lambda: not shared_threads())


def test_a_model_learns_on_while_its_snapshot_waits_for_that_of_another_one(client, create, serving, monkeypatch):
    create("a")
    create("b")
    go, write = threading.Event(), Commits.write

    def slow_for_a(commits, snapshot):
        if commits is a.store.commits:
            go.wait(10)
        write(commits, snapshot)

    def push(name, n):
        for example in zipf_examples(n, 5, 1):
            client.xadd(Keys(name).examples, {"batch": example})

    monkeypatch.setattr(Commits, "write", slow_for_a)
    with serving("a") as a, serving("b") as b:
        push("a", 5)
        wait_until(lambda: a.committing.writing)
        push("b", 5)
        wait_until(lambda: b.committing.writing)
        push("a", 5)
        push("b", 5)
        wait_until(lambda: (a.model.n_examples, b.model.n_examples) == (10, 10))
        assert not client.exists(Keys("a").head, Keys("b").head)
        go.set()
        wait_until(lambda: [Store(client, name).status()["lag_entries"] for name in ("a", "b")] == [0, 0])


def test_a_model_that_is_replaced_stops_alone(client, create, serving):
    create("a")
    create("b")
    with serving("b", lease_seconds=0.05) as b:
        with pytest.raises(FencedError), serving("a", lease_seconds=0.05) as a:  # noqa: PT012
            Store(client, "a").ownership.take_over()
            wait_until(lambda: a.owning.heartbeat.problem)
        sign = b.store.ownership.read().sign
        wait_until(lambda: b.store.ownership.read().sign != sign)
        assert b.owning.heartbeat.problem is None


def test_a_server_that_hangs_delays_neither_beats_nor_commits_on_another_server(hanging, client, create, serving):
    url, hang = hanging
    elsewhere = connect(url)
    create("a")
    Store(elsewhere, "b").create({})
    owning = Owning(Store(elsewhere, "b"), lambda: False, lease_seconds=0.5)
    owning.wait()
    with serving("a", lease_seconds=0.5) as a:
        hang()
        stuck = writer_of(address(elsewhere)).submit(lambda: elsewhere.ping())
        n_committed = 0
        for example in zipf_examples(3, 5, 1):
            sign = a.store.ownership.read().sign
            client.xadd(Keys("a").examples, {"batch": example})
            wait_until(lambda sign=sign: a.store.ownership.read().sign != sign)
            wait_until(lambda: Store(client, "a").status()["lag_entries"] == 0)
            n_committed += not stuck.done()
        assert n_committed == 3  # before the hanging server's timeout
    owning.close(wait=False)
