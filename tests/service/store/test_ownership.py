"""One owner at a time: whoever is replaced writes nothing more."""

import contextlib

import pytest

from learner.errors import FencedError
from learner.service.store import Store
from learner.service.wire import RejectedEntry
from tests.service.store.conftest import everything, learn, put_back


def test_a_second_owner_fences_the_first_which_writes_nothing(pair):
    learn(pair.model, ["a"])
    pair.commit(1)
    other = Store(pair.client, "m")
    assert other.ownership.take_over() == 2
    before = everything(pair.client)
    learn(pair.model, ["b"])
    with pytest.raises(FencedError, match="another worker owns 'm' now"):
        pair.commit(2, [(pair.ids[2], RejectedEntry("learn", "r", b""))])
    assert everything(pair.client) == before
    assert pair.model.dirty.any()


def test_an_owner_that_is_replaced_during_a_commit_writes_nothing(pair, monkeypatch):
    learn(pair.model, ["a"])
    other = Store(pair.client, "m")
    identity = pair.store.ownership._identity

    def then_replaced(client):
        answer = identity(client)
        other.ownership.take_over()
        return answer

    monkeypatch.setattr(pair.store.ownership, "_identity", then_replaced)
    with pytest.raises(FencedError, match="another worker owns"):
        pair.commit(1)
    assert pair.load() is None
    assert len(pair.client.xrange(pair.store.keys.examples)) == 10


def test_releasing_forgets_the_worker_but_keeps_the_epoch(pair):
    assert "pid" in pair.store.status()["owner"]
    pair.store.ownership.release()
    assert pair.store.status()["owner"] == {"epoch": "1"}
    assert Store(pair.client, "m").ownership.take_over() == 2


def test_one_that_was_replaced_does_not_release_its_successor(pair):
    other = Store(pair.client, "m")
    other.ownership.take_over()
    pair.store.ownership.release()
    assert "pid" in other.status()["owner"]


def test_one_that_is_replaced_while_it_releases_stops_quietly(pair, monkeypatch):
    other = Store(pair.client, "m")
    identity = pair.store.ownership._identity

    def then_replaced(client):
        answer = identity(client)
        other.ownership.take_over()
        return answer

    monkeypatch.setattr(pair.store.ownership, "_identity", then_replaced)
    with contextlib.suppress(FencedError):
        pair.store.ownership.release()
    assert "pid" in other.status()["owner"]


def test_two_owners_whose_epochs_are_equal_since_the_server_went_back_are_told_apart(pair):
    kept = everything(pair.client)
    first, second = Store(pair.client, "m"), Store(pair.client, "m")
    first.ownership.take_over()
    put_back(pair.client, kept)
    second.ownership.take_over()
    learn(pair.model, ["a"])
    with pytest.raises(FencedError, match="its epoch is no higher, the server was emptied or went back to older data"):
        pair.commit(1, store=first)
    pair.commit(1, store=second)
    assert pair.holds()
