"""Commits on a real server: all or nothing, only what changed, and never twice."""

import numpy as np
import pytest
import redis

from learner.errors import StoreError
from learner.model import Model
from learner.service.recent import RecentIds
from learner.service.store import journal, segments
from learner.service.wire import GROUP, REJECTED_BYTES, RejectedEntry
from tests.conftest import SEED, state_bytes
from tests.service.store.conftest import WIDTH, everything, learn, losing, put_back


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


def test_held_examples_are_committed_however_many_they_are(pair):
    for n, (n_names, at_end) in enumerate([(100, False), (500, False), (30, False), (0, True), (200, False)]):
        learn(pair.model, [f"n{i}" for i in range(n_names)])
        if at_end:
            pair.model.learn_held()
        assert (pair.model.n_held == 0) == at_end
        pair.commit(n)
        assert pair.holds()


def test_a_commit_of_a_model_that_learned_nothing_is_loaded(pair):
    pair.commit(0)
    assert pair.holds()


def test_a_commit_writes_only_the_rows_and_names_that_changed(pair, written):
    learn(pair.model, [f"n{i:04}" for i in range(2000)])
    pair.model.learn_held()
    pair.commit(1)
    row_bytes = WIDTH * 4
    assert sum(n for _, _, n in written) == pair.model.n_features * row_bytes + len(pair.model.state()["names"])
    written.clear()

    learn(pair.model, ["n1990", "brand new"])
    pair.model.learn_held()
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
    pair.model.learn_held()
    sizes = []
    for n in range(9):
        learn(pair.model, [*names[:40], f"new{n}"])
        pair.model.learn_held()
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


def test_the_base_of_a_large_model_is_written_anew_a_part_a_commit(pair, written, monkeypatch):
    monkeypatch.setattr(journal, "STRIPE_ROWS", 64)
    learn(pair.model, [f"n{i}" for i in range(1000)])
    pair.model.learn_held()
    pair.commit(0)
    parts, n_deltas = [], []
    for n in range(1, 10):
        written.clear()
        learn(pair.model, [f"n{i}" for i in range(300)] + [f"new{n}"], 1 if n % 2 else -1)
        pair.model.learn_held()
        pair.commit(n)
        assert pair.holds()
        parts.append(sum(n_bytes for key, _, n_bytes in written if ":rows:" in key) // (WIDTH * 4))
        n_deltas.append(len(pair.client.keys("*delta*")))
    assert parts[:3] == [0, 0, 0]  # the deltas have no more rows than the base
    assert 0 < parts[3] == parts[4] < 300 + 2 * 64  # about as many rows as changed, in stripes
    assert n_deltas[:6] == [1, 2, 3, 4, 5, 6]
    assert n_deltas[6:] == [3, 4, 5]  # the round ended that began with the fourth


@pytest.mark.parametrize("segment_bytes", [1000, 4096, 64 * WIDTH * 4 - 4])
def test_state_that_spans_segments_is_loaded_as_it_was(pair, written, monkeypatch, segment_bytes):
    monkeypatch.setattr(segments, "SEGMENT_BYTES", segment_bytes)
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
        (pair.ids[0], RejectedEntry("decode", "a reason", b"x" * 100_000)),
        (pair.ids[1], RejectedEntry("learn", "another", b"\x00\xff")),
    ]
    pair.commit(1, bad)
    first, second = (fields for _, fields in pair.client.xrange(pair.store.keys.rejected))
    assert (first[b"entry"], first[b"stage"], first[b"reason"]) == (pair.ids[0], b"decode", b"a reason")
    assert first[b"data"] == b"x" * REJECTED_BYTES
    assert first[b"bytes"] == b"100000"
    assert (second[b"entry"], second[b"data"]) == (pair.ids[1], b"\x00\xff")


def test_a_commit_trims_what_is_learned_and_keeps_what_is_after_the_cursor(pair):
    pair.commit(6)
    assert [entry_id for entry_id, _ in pair.client.xrange(pair.store.keys.examples)] == pair.ids[6:]
    assert pair.store.stream.read(pair.load().cursor, b"0-0", 100, 100, None)[0] == [
        (pair.ids[i], {b"x": b"%d" % i}) for i in (7, 8, 9)
    ]


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


@pytest.mark.parametrize("after", [False, True])
def test_a_commit_whose_answer_was_lost_counts_once_when_repeated(pair, monkeypatch, after):
    learn(pair.model, ["a", "b"])
    losing(monkeypatch, after)
    rejected = [(pair.ids[0], RejectedEntry("learn", "r", b""))]
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
