"""Commits on a real server: all or nothing, one owner, only what changed, and never twice."""

import contextlib

import fakeredis
import msgpack
import numpy as np
import pytest
import redis

from learner.errors import FencedError, StoreError
from learner.kernels.experts import row_width
from learner.model import Model
from learner.service import store as module
from learner.service.recent import RecentIds
from learner.service.store import Store, stream_id
from learner.service.wire import GROUP
from learner.service.wire import RejectedEntry as Bad
from learner.tasks import TASKS
from tests.conftest import SEED, state_bytes

RATES = TASKS["binary"].rates

WIDTH = row_width(len(RATES))


def learn(model: Model, names: "list[str]", target: int = 1) -> None:
    """Learn each name as an example of its own."""
    model.learn_packed(b"".join(msgpack.packb([target, {name: 1.0}]) for name in names))


class Pair:
    """A model and its store, with entries in its stream."""

    def __init__(self, client: redis.Redis, name: str = "m") -> None:
        self.client = client
        self.model = Model("binary", seed=SEED)
        self.store = Store(client, name)
        self.store.create(self.model.to_spec())
        self.store.take_over()
        self.ids = [client.xadd(self.store.keys.examples, {"x": i}) for i in range(10)]

    def commit(
        self,
        n: int,
        rejected: "list[tuple[bytes, Bad]] | None" = None,
        store: Store | None = None,
        recent: RecentIds | None = None,
    ) -> None:
        """Commit the model as it is, up to entry number n."""
        store = store or self.store
        store.commit(
            self.ids[n],
            n + 1 - store.n_entries,
            self.model.state(),
            self.model.learner.weight_dict.dirty,
            self.model.fingerprint,
            rejected or [],
            {"n": n},
            recent,
        )

    def load(self) -> "module.Committed | None":
        return Store(self.client, self.store.keys.model).load(self.model.fingerprint, WIDTH)

    def holds(self) -> bool:
        """Whether what is committed is the model as it is."""
        return state_bytes(self.load().state) == state_bytes(self.model)


@pytest.fixture
def pair(client: redis.Redis) -> Pair:
    return Pair(client)


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> "list[tuple[str, int, int]]":
    """What commits write of the state: (key, offset, bytes)."""
    writes: list[tuple[str, int, int]] = []
    setrange = redis.client.Pipeline.setrange

    def noted(self, key, offset, value):
        writes.append((key, offset, len(value)))
        return setrange(self, key, offset, value)

    monkeypatch.setattr(redis.client.Pipeline, "setrange", noted)
    return writes


def everything(client: redis.Redis) -> "dict[bytes, bytes]":
    """All keys with their values, as the server keeps them."""
    return {key: client.dump(key) for key in client.keys("*")}


def put_back(client: redis.Redis, kept: "dict[bytes, bytes]", *names: str) -> None:
    """Set the server back to what it held, wholly or in some keys."""
    for key in client.keys("*"):
        if not names or key.decode() in names:
            client.delete(key)
    for key, value in kept.items():
        if not names or key.decode() in names:
            client.restore(key, 0, value)


# ---- the spec --------------------------------------------------------------------------------------------------------------
def test_a_name_can_be_created_once(client):
    store = Store(client, "m")
    assert store.create({"task": "binary"})
    assert not Store(client, "m").create({"task": "regression"})
    assert store.spec() == {"task": "binary"}
    assert client.xinfo_groups(store.keys.examples)[0]["name"] == GROUP.encode()


def test_a_missing_model_is_named_with_the_command_that_makes_it(client):
    with pytest.raises(StoreError, match="model 'm' does not exist: make it with 'learner create m'"):
        Store(client, "m").spec()
    assert client.keys("*") == []


def test_creating_and_owning_need_nothing_that_fakeredis_lacks():
    store = Store(fakeredis.FakeRedis(), "m")
    assert store.create({"task": "binary"})
    assert not store.create({"task": "binary"})
    assert [store.take_over(), store.take_over()] == [1, 2]
    store.release()
    assert store.status()["owner"] == {"epoch": "2"}


# ---- commit and load -------------------------------------------------------------------------------------------------------
def test_nothing_is_loaded_before_the_first_commit(pair):
    assert pair.load() is None


def test_a_commit_is_loaded_as_it_was(pair):
    learn(pair.model, [f"n{i}" for i in range(500)])
    pair.commit(4)
    found = pair.load()
    assert (found.cursor, found.n_commits) == (pair.ids[4], 1)
    assert state_bytes(found.state) == state_bytes(pair.model)
    again = Model.from_spec(pair.store.spec())
    again.load_state(found.state)
    learn(again, ["n3", "new"])
    learn(pair.model, ["n3", "new"])
    assert state_bytes(again) == state_bytes(pair.model)


def test_a_commit_of_a_model_that_learned_nothing_is_loaded(pair):
    pair.commit(0)
    assert pair.holds()


def test_a_commit_writes_only_the_rows_and_names_that_changed(pair, written):
    learn(pair.model, [f"n{i:04}" for i in range(2000)])
    pair.commit(1)
    row_bytes = WIDTH * 4
    assert sum(n for _, _, n in written) == pair.model.n_features * row_bytes + len(pair.model.state()["names"])
    written.clear()

    learn(pair.model, ["n1990", "brand new"])
    pair.commit(2)
    assert pair.client.strlen(pair.store.keys.delta(2)) == 3 * (4 + row_bytes)  # the constant's, an old and a new row
    assert [n for _, _, n in written] == [2 + len("brand new")]
    assert pair.holds()
    written.clear()

    pair.commit(3)
    assert written == []
    assert not pair.client.exists(pair.store.keys.delta(3))
    assert pair.holds()


def test_what_changed_becomes_one_base_again_before_it_is_more_than_the_model(pair):
    names = [f"n{i}" for i in range(300)]
    learn(pair.model, names)
    sizes = []
    for n in range(9):
        learn(pair.model, [*names[:40], f"new{n}"])
        pair.commit(n)
        assert pair.holds()
        sizes.append([pair.client.strlen(key) for key in sorted(pair.client.keys("*delta*"))])
    row_bytes = 4 + WIDTH * 4
    assert [len(found) for found in sizes] == [0, 1, 2, 3, 4, 5, 6, 7, 0]
    assert sizes[1] == [42 * row_bytes]
    assert all(sum(found) <= 302 * row_bytes for found in sizes)


def test_a_commit_that_follows_many_others_holds_all_that_was_learned(pair):
    rng = np.random.default_rng(5)
    for n in range(8):
        learn(pair.model, [f"n{i}" for i in rng.zipf(1.3, 300) % 5000], 1 if n % 2 else -1)
        pair.commit(n)
        assert pair.holds()


@pytest.mark.parametrize("segment_bytes", [1000, 4096, 64 * WIDTH * 4 - 4])
def test_state_that_spans_segments_is_loaded_as_it_was(pair, written, monkeypatch, segment_bytes):
    monkeypatch.setattr(module, "SEGMENT_BYTES", segment_bytes)
    for n in range(3):
        learn(pair.model, [f"n{i}" for i in range(n, 700 * (n + 1), n + 1)])
        pair.commit(n)
        assert pair.holds()
    assert all(offset + n <= segment_bytes for _, offset, n in written)
    n_bytes = max(
        offset + n + int(key.rpartition(":")[2]) * segment_bytes for key, offset, n in written if ":rows:" in key
    )
    assert len({key for key, _, _ in written if ":rows:" in key}) == -(-n_bytes // segment_bytes)


def test_what_was_rejected_is_in_the_same_commit_cut_to_a_bound(pair):
    bad = [
        (pair.ids[0], Bad("decode", "a reason", b"x" * 100_000)),
        (pair.ids[1], Bad("learn", "another", b"\x00\xff")),
    ]
    pair.commit(1, bad)
    first, second = (fields for _, fields in pair.client.xrange(pair.store.keys.rejected))
    assert (first[b"entry"], first[b"stage"], first[b"reason"]) == (pair.ids[0], b"decode", b"a reason")
    assert first[b"data"] == b"x" * module.REJECTED_BYTES
    assert first[b"bytes"] == b"100000"
    assert (second[b"entry"], second[b"data"]) == (pair.ids[1], b"\x00\xff")


def test_a_commit_trims_what_is_learned_and_keeps_what_is_after_the_cursor(pair):
    pair.commit(6)
    assert [entry_id for entry_id, _ in pair.client.xrange(pair.store.keys.examples)] == pair.ids[6:]
    assert pair.store.read(pair.load().cursor, b"0-0", 100, 100, None)[0] == [
        (pair.ids[i], {b"x": b"%d" % i}) for i in (7, 8, 9)
    ]


def test_the_consumer_group_s_lag_is_what_is_not_learned_yet(pair):
    def group():
        return pair.client.xinfo_groups(pair.store.keys.examples)[0]

    assert group()["lag"] == 10
    for cursor, n, lag in ((3, 4, 6), (8, 5, 1), (9, 1, 0)):
        pair.store.commit(
            pair.ids[cursor],
            n,
            pair.model.state(),
            pair.model.learner.weight_dict.dirty,
            pair.model.fingerprint,
            [],
            {"n": 1},
        )
        assert group()["lag"] == lag
        assert group()["last-delivered-id"] == pair.ids[cursor]
        assert pair.store.status()["lag_entries"] == lag
    pair.client.xadd(pair.store.keys.examples, {"x": 1})
    assert group()["lag"] == 1


def test_status_tells_what_was_committed(pair):
    learn(pair.model, ["a", "b"])
    pair.commit(2)
    pair.client.xadd(pair.store.keys.requests, {"x": 1})
    found = pair.store.status()
    assert found["cursor"] == pair.ids[2].decode()
    assert (found["commits"], found["features"], found["lag_entries"], found["requests_waiting"]) == (1, 3, 7, 1)
    assert found["owner"]["epoch"] == "1"
    assert found["progress"] == {"n": 2.0}


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


# ---- one owner -------------------------------------------------------------------------------------------------------------
def test_a_second_owner_fences_the_first_which_writes_nothing(pair):
    learn(pair.model, ["a"])
    pair.commit(1)
    other = Store(pair.client, "m")
    assert other.take_over() == 2
    before = everything(pair.client)
    learn(pair.model, ["b"])
    with pytest.raises(FencedError, match="another worker owns 'm' now"):
        pair.commit(2, [(pair.ids[2], Bad("learn", "r", b""))])
    assert everything(pair.client) == before
    assert pair.model.learner.weight_dict.dirty.any()


def test_an_owner_that_is_replaced_during_a_commit_writes_nothing(pair, monkeypatch):
    learn(pair.model, ["a"])
    other = Store(pair.client, "m")
    owned = pair.store._owned

    def then_replaced(client):
        answer = owned(client)
        other.take_over()
        return answer

    monkeypatch.setattr(pair.store, "_owned", then_replaced)
    with pytest.raises(FencedError, match="another worker owns"):
        pair.commit(1)
    assert pair.load() is None
    assert len(pair.client.xrange(pair.store.keys.examples)) == 10


def test_releasing_forgets_the_worker_but_keeps_the_epoch(pair):
    assert "pid" in pair.store.status()["owner"]
    pair.store.release()
    assert pair.store.status()["owner"] == {"epoch": "1"}
    assert Store(pair.client, "m").take_over() == 2


def test_one_that_was_replaced_does_not_release_its_successor(pair):
    other = Store(pair.client, "m")
    other.take_over()
    pair.store.release()
    assert "pid" in other.status()["owner"]


def test_one_that_is_replaced_while_it_releases_stops_quietly(pair, monkeypatch):
    other = Store(pair.client, "m")
    owned = pair.store._owned

    def then_replaced(client):
        answer = owned(client)
        other.take_over()
        return answer

    monkeypatch.setattr(pair.store, "_owned", then_replaced)
    with contextlib.suppress(FencedError):
        pair.store.release()
    assert "pid" in other.status()["owner"]


def test_two_owners_whose_epochs_are_equal_since_the_server_went_back_are_told_apart(pair):
    kept = everything(pair.client)
    first, second = Store(pair.client, "m"), Store(pair.client, "m")
    first.take_over()
    put_back(pair.client, kept)
    second.take_over()
    learn(pair.model, ["a"])
    with pytest.raises(FencedError):
        pair.commit(1, store=first)
    pair.commit(1, store=second)
    assert pair.holds()


# ---- what goes wrong -------------------------------------------------------------------------------------------------------
def losing(monkeypatch: pytest.MonkeyPatch, after: bool) -> None:
    """Have the next transaction lose its connection, before or after the server did it."""
    execute = redis.client.Pipeline.execute

    def lost(self, *args, **kwargs):
        monkeypatch.setattr(redis.client.Pipeline, "execute", execute)
        if after:
            execute(self, *args, **kwargs)
        raise redis.ConnectionError("lost")

    monkeypatch.setattr(redis.client.Pipeline, "execute", lost)


@pytest.mark.parametrize("after", [False, True])
def test_a_commit_whose_answer_was_lost_counts_once_when_repeated(pair, monkeypatch, after):
    learn(pair.model, ["a", "b"])
    losing(monkeypatch, after)
    rejected = [(pair.ids[0], Bad("learn", "r", b""))]
    with pytest.raises(redis.ConnectionError):
        pair.commit(3, rejected)
    pair.commit(3, rejected)
    assert pair.load().n_commits == 1
    assert pair.client.xlen(pair.store.keys.rejected) == 1
    assert pair.client.xlen(pair.store.keys.progress) == 1
    assert pair.client.hget(pair.store.keys.head, "entries") == b"4"
    assert pair.holds()
    learn(pair.model, ["c"])
    pair.commit(5)
    assert pair.load().n_commits == 2
    assert pair.holds()


@pytest.mark.parametrize("whole", [False, True])
def test_after_the_server_went_back_a_commit_the_next_one_writes_everything(pair, whole):
    learn(pair.model, [f"n{i}" for i in range(300)])
    pair.commit(1)
    kept = everything(pair.client)
    learn(pair.model, [f"n{i}" for i in range(250, 600)])
    pair.commit(2)
    put_back(
        pair.client, kept, *(() if whole else (pair.store.keys.head, pair.store.keys.rows(0), pair.store.keys.names(0)))
    )
    learn(pair.model, ["last"])
    pair.commit(3)
    assert pair.holds()
    assert pair.load().cursor == pair.ids[3]
    learn(pair.model, ["n1"])
    pair.commit(4)
    assert pair.holds()


@pytest.mark.parametrize("empty", [False, True])
def test_a_stream_that_ends_before_the_cursor_is_refused(pair, empty):
    pair.commit(5)
    pair.client.delete(pair.store.keys.examples)
    if not empty:
        pair.client.xadd(pair.store.keys.examples, {"x": 1}, id="5-0")
    with pytest.raises(StoreError, match=r"before the last entry learned.*deleted.*nothing is learned until") as caught:
        pair.load()
    assert pair.ids[5].decode() in str(caught.value)
    Store(pair.client, "m").take_over()  # which makes an empty stream with a group
    with pytest.raises(StoreError, match="before the last entry learned"):
        pair.load()


def test_another_model_s_commit_is_refused(pair):
    learn(pair.model, ["a"])
    pair.commit(1)
    with pytest.raises(StoreError, match=r"its spec was changed; .* create a new model under another name"):
        Store(pair.client, "m").load("0" * 32, WIDTH)


def test_a_commit_of_another_format_is_refused(pair):
    pair.commit(1)
    pair.client.hset(pair.store.keys.head, "format", 99)
    with pytest.raises(StoreError, match=r"must have format 1 to 2 \(got 99\)"):
        pair.load()


@pytest.mark.parametrize("key", ["rows", "names"])
def test_state_that_is_not_all_there_is_refused(pair, key):
    learn(pair.model, ["a", "b"])
    pair.commit(1)
    pair.client.delete(getattr(pair.store.keys, key)(0))
    with pytest.raises(StoreError, match=r"must have \d+ bytes.*\(got 0\)"):
        pair.load()


def test_a_commit_comes_through_whole_or_not_at_all_when_the_stream_was_deleted(pair):
    learn(pair.model, ["a"])
    pair.commit(1)
    pair.client.delete(pair.store.keys.examples)
    learn(pair.model, ["b"])
    with pytest.raises((StoreError, redis.ResponseError)):
        pair.commit(2)
    assert pair.client.hget(pair.store.keys.head, "commits") == b"1"


def test_a_lost_consumer_group_does_not_stop_commits(pair):
    pair.commit(1)
    pair.client.xgroup_destroy(pair.store.keys.examples, GROUP)
    learn(pair.model, ["b"])
    pair.commit(2)
    assert pair.holds()


def test_entry_ids_compare_as_the_stream_does():
    ids = [b"0-0", b"9-3", b"10-2", b"10-11", "11-0"]
    assert sorted(ids, key=stream_id) == ids
    assert stream_id("7") == (7, 0)


# ---- checksums and formats ---------------------------------------------------------------------------------------------------
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
    pair.commit(1)
    learn(pair.model, ["n7"])
    pair.commit(2)
    key = pair.store.keys.delta(2)
    damage(pair.client, key, 9)
    with pytest.raises(StoreError, match=r"rows of delta 2 must have the CRC [0-9a-f]{8} \(got"):
        pair.load()
    pair.client.delete(key)
    with pytest.raises(StoreError, match=r"rows of delta 2 must have 136 bytes \(got 0\)"):
        pair.load()


def test_a_commit_of_the_format_before_is_loaded_and_the_next_one_is_of_today_s(pair):
    learn(pair.model, [f"n{i}" for i in range(300)])
    pair.commit(1)
    keys = pair.store.keys
    pair.client.hset(keys.head, "format", 1)  # what it had: all rows at once, no checksums, no ids
    assert pair.client.hdel(keys.head, "journal", "checksums", "n_ids") == 3
    store = Store(pair.client, "m")
    found = store.load(pair.model.fingerprint, WIDTH)
    assert state_bytes(found.state) == state_bytes(pair.model)
    assert (found.n_ids, len(found.ids)) == (0, 0)
    store.take_over()
    learn(pair.model, ["n7"])
    pair.commit(3, store=store)
    assert pair.client.hget(keys.head, "format") == b"2"
    assert pair.holds()


def test_the_last_ids_are_committed_as_the_ring_has_them(pair):
    recent = RecentIds(SEED, capacity=8)
    for n in range(8):
        for i in range(n * 3):  # none, few, more than there is room for, round and round
            recent.add(b"%d/%d" % (n, i))
        pair.commit(n, recent=recent)
        found = pair.load()
        again = RecentIds(SEED, capacity=8)
        again.load(found.ids, found.n_ids)
        assert (again.count, again.ring.tobytes(), again._seen) == (recent.count, recent.ring.tobytes(), recent._seen)
