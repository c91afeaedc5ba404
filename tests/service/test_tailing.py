"""A model that follows commits is the model as committed, bit for bit, whatever the commits are."""

import random

import pytest

from learner.errors import MissingError, StoreError
from learner.model import Model
from learner.service.erasing import Wanted, erase
from learner.service.store import Store, journal, repair, segments, snapshots
from learner.service.store.connection import client as connect
from learner.service.tailing import Tailing
from tests.conftest import HEAD, commit, state_bytes
from tests.goldens import mixed, pack, packed, target
from tests.streams import KEYS

KINDS = {
    "binary": {},
    "regression": {"task": "regression"},
    "multiclass": {"task": "multiclass"},
    "multiclass.capped": {"task": "multiclass", "max_features": 300},
    "capped": {"max_features": 300},
    "l1": {"l1": 0.3},
    "neural": HEAD,
    "sgd": {"optimizer": "sgd"},
}


def examples(options, n, seed):
    """Packed examples of a kind's task; the names come from more and more words."""
    parts = [mixed(n // 4, seed + i, n_words=50 * (i + 1)) for i in range(4)]
    rows = [(target(options, x, i > 1), x) for i, part in enumerate(parts) for x in part]
    return [packed(y, pack(x.features), x.importance) for y, x in rows]


def same(tailing, store):
    """Whether a tailing has what is committed: state, and answers."""
    model = Model.from_spec(store.spec())
    committed = store.commits.load(model.fingerprint, model.row_width, must_fit=False)
    if committed and committed.state:
        model.load_state(committed.state)
    records = [pack(x.features) for x in mixed(20, 7)]
    answers = [[each.answer(data, explain=True) for data in records] for each in (tailing.model, model)]
    names = [[*each.weights] if each.n_examples else [] for each in (tailing.model, model)]
    return state_bytes(tailing.model) == state_bytes(model) and answers[0] == answers[1] and names[0] == names[1]


@pytest.fixture
def followed(client, redis_url, create):
    """Make a model; return it, the store of its owner, a tailing in a connection of its own, and that one's store."""

    def made(**options):
        model = create(**options)
        owner, other = Store(client, "m"), Store(connect(redis_url), "m")
        owner.ownership.take_over()
        return model, owner, Tailing(other)

    return made


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stripe_rows", [4096, 32])
def test_any_history_of_commits_is_followed_to_the_bit(client, followed, monkeypatch, seed, kind, stripe_rows):
    """With stripes of few rows the journal has rounds, as that of a large model has."""
    monkeypatch.setattr(journal, "STRIPE_ROWS", stripe_rows)
    monkeypatch.setattr(segments, "SEGMENT_BYTES", 4096)
    draw, options = random.Random(seed), KINDS[kind]
    model, owner, tailing = followed(**options)
    data, done, n_followed = examples(options, 400, seed), 0, 0
    tailing.look()
    tailing.catch_up()
    while done < len(data):
        n = draw.choice([1, 1, 2, 5, 30])
        model.learn_packed(b"".join(data[done : done + n]))
        done += n
        if draw.random() < 0.1:
            model.learn_held()
        commit(owner, model, owner.commits.cursor, 0)
        if draw.random() < 0.1:
            owner.ownership.take_over()
        if draw.random() < 0.7:
            assert tailing.look()
            tailing.catch_up()
            n_followed += 1
            assert state_bytes(tailing.model) == state_bytes(model)
    if tailing.look():
        tailing.catch_up()
    assert same(tailing, Store(client, "m"))
    assert kind == "sgd" or tailing.n_full < n_followed


def test_a_commit_is_taken_in_without_reading_everything(followed, monkeypatch):
    monkeypatch.setattr(journal, "STRIPE_ROWS", 32)  # else so small a model is written as a whole now and then
    model, owner, tailing = followed()
    tailing.look()
    tailing.catch_up()
    for data in examples({}, 400, 1):
        model.learn_packed(data)
    commit(owner, model, b"0-0", 0)
    assert tailing.look()
    tailing.catch_up()
    for data in examples({}, 40, 2):
        model.learn_packed(data)
        commit(owner, model, b"0-0", 0)
        assert tailing.look()
        tailing.catch_up()
        assert not tailing.look()
    assert tailing.n_full == 2
    assert (tailing.store.commits.number, tailing.time > 0.0) == (owner.commits.number, True)
    assert tailing.model.n_examples == model.n_examples


def learn(client, drain, n, seed):
    """Have a worker learn n examples of their own and stop."""
    for data in examples({}, n, seed):
        client.xadd(KEYS.examples, {"batch": data})
    drain()


def rolled_back(store, model):
    snapshots.roll_back(store, "then", model.fingerprint, model.row_width)


def forgotten(store, model):
    store.ownership.take_over()
    repair.repair(store, "forget")
    store.ownership.release()


def erased(store, model):
    erase(store, Wanted(prefixes=["w"]))


def taken_up_again(store, model):
    """Nothing but another owner."""


@pytest.mark.parametrize("meanwhile", [rolled_back, forgotten, erased, taken_up_again])
@pytest.mark.parametrize("n_after", [0, 20])
def test_what_an_administrator_puts_in_place_is_followed(client, redis_url, create, drain, meanwhile, n_after):
    """Also where it is seen only after commits that came later."""
    create()
    learn(client, drain, 40, 1)
    store, tailing = Store(client, "m"), Tailing(Store(connect(redis_url), "m"))
    snapshots.take(store, "then")
    learn(client, drain, 40, 2)
    tailing.look()
    tailing.catch_up()
    meanwhile(Store(connect(redis_url), "m"), tailing.model)
    if n_after:
        learn(client, drain, n_after, 3)
    if tailing.look():
        tailing.catch_up()
    assert same(tailing, Store(client, "m"))


def test_another_model_of_the_same_name_is_followed(client, redis_url, create, drain):
    create()
    learn(client, drain, 40, 1)
    tailing = Tailing(Store(connect(redis_url), "m"))
    tailing.look()
    tailing.catch_up()
    client.flushall()
    assert tailing.look()
    with pytest.raises(MissingError, match="does not exist"):
        tailing.catch_up()
    create(task="regression")
    tailing.look()
    tailing.catch_up()
    assert (tailing.model.task, tailing.model.n_examples) == ("regression", 0)
    client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": "3"})
    drain()
    assert tailing.look()
    tailing.catch_up()
    assert same(tailing, Store(client, "m"))


def test_after_a_lost_connection_a_later_commit_is_read_whole(followed):
    """The server may have gone back to older data, from which as many commits were made anew."""
    model, owner, tailing = followed()
    tailing.look()
    tailing.catch_up()
    for i, data in enumerate(examples({}, 12, 1)):
        model.learn_packed(data)
        commit(owner, model, b"0-0", 0)
        if i == 5:
            tailing.look()
            tailing.catch_up()
            tailing.doubt()
            assert not tailing.look()  # it is still the same one
            tailing.doubt()
    n = tailing.n_full
    tailing.look()
    tailing.catch_up()
    assert tailing.n_full == n + 1
    assert state_bytes(tailing.model) == state_bytes(model)


@pytest.mark.parametrize("part", ["delta", "names", "totals"])
def test_damaged_changes_are_not_taken_in(client, followed, monkeypatch, part):
    monkeypatch.setattr(journal, "STRIPE_ROWS", 32)
    model, owner, tailing = followed()
    model.learn_packed(b"".join(examples({}, 100, 1)))
    commit(owner, model, b"0-0", 0)
    tailing.look()
    tailing.catch_up()
    before = state_bytes(tailing.model)
    model.learn_packed(packed(1, pack({"new name": 1.0}), 1.0))
    model.learn_held()
    commit(owner, model, b"0-0", 0)
    if part == "delta":
        client.setrange(KEYS.delta(2), 0, b"\xff\xff")
    elif part == "names":
        client.setrange(KEYS.names(0), client.strlen(KEYS.names(0)) - 1, b"?")
    else:
        client.hset(KEYS.head, "totals", bytes(8 * len(model.learner.totals)))
    tailing.look()
    with pytest.raises(StoreError, match="damaged"):
        tailing.catch_up()
    assert state_bytes(tailing.model) == before
