"""What is loaded is one commit, whole and undamaged, of this model and of today's format; anything else is refused in words."""

import pytest
import redis

from learner.errors import StoreError
from learner.service.recent import RecentIds
from learner.service.store import Store
from tests.conftest import SEED, state_bytes
from tests.service.store.conftest import WIDTH, learn


def test_nothing_is_loaded_before_the_first_commit(pair):
    assert pair.load() is None


def test_a_commit_in_the_middle_of_a_load_is_not_mixed_into_it(pair, monkeypatch):
    names = [f"n{i}" for i in range(300)]
    learn(pair.model, names)
    pair.commit(1)
    possible = [state_bytes(pair.model)]
    learn(pair.model, names, -1)
    possible.append(state_bytes(pair.model))
    get, done = redis.Redis.get, []

    def then_committed(self, key):
        if not done:
            done.append(key)
            pair.commit(2)
        return get(self, key)

    monkeypatch.setattr(redis.Redis, "get", then_committed)
    assert state_bytes(pair.load().state) in possible


@pytest.mark.parametrize("empty", [False, True])
def test_a_stream_that_ends_before_the_cursor_is_refused(pair, empty):
    pair.commit(5)
    pair.client.delete(pair.store.keys.examples)
    if not empty:
        pair.client.xadd(pair.store.keys.examples, {"x": 1}, id="5-0")
    with pytest.raises(StoreError, match=r"before the last entry learned.*deleted.*nothing is learned until") as caught:
        pair.load()
    assert pair.ids[5].decode() in str(caught.value)
    Store(pair.client, "m").ownership.take_over()  # which makes an empty stream with a group
    with pytest.raises(StoreError, match="before the last entry learned"):
        pair.load()


def test_another_model_s_commit_is_refused(pair):
    learn(pair.model, ["a"])
    pair.commit(1)
    with pytest.raises(StoreError, match=r"its spec was changed; .* create a new model under another name"):
        Store(pair.client, "m").commits.load("0" * 32, WIDTH)


def test_a_commit_of_another_format_is_refused(pair):
    pair.commit(1)
    pair.client.hset(pair.store.keys.head, "format", 99)
    with pytest.raises(StoreError, match=r"must have format 5 \(got 99\): a newer learner wrote it"):
        pair.load()


def test_a_commit_of_the_format_before_is_refused_with_the_way_out(pair):
    learn(pair.model, [f"n{i}" for i in range(300)])
    pair.commit(1)
    pair.client.hset(pair.store.keys.head, "format", 3)
    assert pair.client.hdel(pair.store.keys.head, "held", "held_features", "held_inputs") == 3  # which it did not have
    words = r"must have format 5 \(got 3\): an older learner wrote it; push the stream again to a new model"
    with pytest.raises(StoreError, match=words):
        pair.load()


@pytest.mark.parametrize("key", ["rows", "names"])
def test_state_that_is_not_all_there_is_refused(pair, key):
    learn(pair.model, ["a", "b"])
    pair.commit(1)
    pair.client.delete(getattr(pair.store.keys, key)(0))
    with pytest.raises(StoreError, match=r"must have \d+ bytes.*\(got 0\)"):
        pair.load()


def damage(client: redis.Redis, key: str, place: int) -> None:
    byte = client.getrange(key, place, place)[0]
    client.setrange(key, place, bytes([byte ^ 1]))


@pytest.mark.parametrize("part", ["rows", "names", "arrays", "ids"])
def test_a_damaged_byte_is_found_and_the_part_named(pair, part):
    recent = RecentIds(SEED, capacity=64)
    for n in range(3):  # pages and names that change, and some that don't
        learn(pair.model, [f"n{i}" for i in range(100 * n, 300)])
        recent.add(b"%d" % n)
        pair.commit(n, recent=recent)
    assert pair.holds()
    keys = pair.store.keys
    if part == "arrays":
        totals = bytearray(pair.client.hget(keys.head, "totals"))
        totals[0] ^= 1
        pair.client.hset(keys.head, "totals", bytes(totals))
    else:
        damage(
            pair.client,
            {"rows": keys.rows(0), "names": keys.names(0), "ids": keys.ids}[part],
            8 if part == "ids" else 300,
        )
    found = "rows of the base must have the CRC" if part == "rows" else f"{part} must have the checksums"
    with pytest.raises(StoreError, match=rf"was damaged or written by something else: {found}"):
        pair.load()


def test_a_change_that_is_missing_or_damaged_is_found(pair):
    learn(pair.model, [f"n{i}" for i in range(200)])
    pair.model.learn_held()
    pair.commit(1)
    learn(pair.model, ["n7"])
    pair.model.learn_held()
    pair.commit(2)
    key = pair.store.keys.delta(2)
    damage(pair.client, key, 9)
    with pytest.raises(StoreError, match=r"rows of delta 2 must have the CRC [0-9a-f]{8} \(got"):
        pair.load()
    pair.client.delete(key)
    with pytest.raises(StoreError, match=r"rows of delta 2 must have 136 bytes \(got 0\)"):
        pair.load()
