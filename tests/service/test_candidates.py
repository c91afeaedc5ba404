"""Candidates on a real server: they learn beside another model, are compared with it, and take its place."""

import json
import math
import random

import msgpack
import pytest
import redis

from learner.errors import BehindError, LearnerError, StoreError
from learner.model import Model
from learner.service import beside, measuring
from learner.service.committing import Committing
from learner.service.store import Store, candidates, snapshots
from learner.service.store.acl import set_user
from learner.service.store.connection import client as connect
from learner.service.wire import Keys
from tests.command_line import invoke, invoke_failing, strictly
from tests.conftest import SEED, state_bytes, wait_until
from tests.reliability.roles import PASSWORD, url_of
from tests.streams import KEYS

NEW = Keys.named("m/c")
BATCH = 50


def examples(first, last):
    """Examples whose target depends on a number and on one of five words."""
    rng = random.Random(first)
    rows = [(rng.uniform(-1, 1), f"w{rng.randrange(5)}") for _ in range(first, last)]
    return [[1 if a + (word < "w2") + rng.gauss(0, 0.5) > 0.5 else 0, {"a": a, word: 1}] for a, word in rows]


def push(client, rows):
    with client.pipeline() as pipe:
        for i in range(0, len(rows), BATCH):
            pipe.xadd(KEYS.examples, {"batch": b"".join(map(msgpack.packb, rows[i : i + BATCH]))})
        pipe.execute()


def learned(model, *pieces):
    for rows in pieces:
        model.learn_packed(b"".join(map(msgpack.packb, rows)))
    return state_bytes(model)


@pytest.fixture
def run(redis_url, monkeypatch):
    monkeypatch.setenv("REDIS_URL", redis_url)
    return invoke


@pytest.fixture
def beside_m(client, create):
    """The model m, which keeps an hour of history; what makes the candidate m/c, and returns a model like it."""
    create()
    Store(client, "m").set({"history": "1h"})

    def made(from_history=False, **options):
        model = Model(**{"seed": SEED, "rates": [0.5], **options})
        assert candidates.create(Store(client, "m"), "c", model.to_spec(), {"history": "1h"}, from_history)
        return Model.from_spec(model.to_spec())

    return made


def test_a_candidate_learns_what_a_model_alone_learns_and_leaves_the_other_alone(client, beside_m, drain, committed):
    first, second = examples(0, 1500), examples(1500, 2500)
    alone, other = beside_m(from_history=True), Model(seed=SEED)
    push(client, first)
    drain()
    before = {key: client.dump(key) for key in client.scan_iter("learner:{m}:*") if b":candidate" not in key}
    owner = drain("m/c")
    after = {key: client.dump(key) for key in client.scan_iter("learner:{m}:*") if b":candidate" not in key}
    assert after == before
    assert state_bytes(owner.model) == learned(alone, first)
    assert state_bytes(owner.learning.copy.model) == learned(other, first) == state_bytes(committed())
    push(client, second)
    owner = drain("m/c")  # ahead of the model beside it, whose copy learns on by itself
    assert state_bytes(owner.model) == learned(alone, second)
    assert state_bytes(owner.learning.copy.model) == learned(other, second) == state_bytes(drain().model)
    assert Store(client, "m/c").status()["progress"]["examples"] == 2500
    assert client.xinfo_groups(KEYS.examples)[0]["entries-read"] == 50
    assert client.xlen(KEYS.examples) == 50


def test_from_now_means_after_what_is_committed_when_its_worker_starts(client, beside_m, drain):
    rows = [examples(at, at + 100) for at in (0, 100, 200)]
    alone = beside_m()
    push(client, rows[0])
    drain()
    push(client, rows[1])
    drain()
    push(client, rows[2])
    assert state_bytes(drain("m/c").model) == learned(alone, rows[2])


def test_a_candidate_that_has_fallen_behind_stops_and_says_so(client, redis_url, beside_m, drain, own, run, start):
    beside_m()
    Store(client, "m").set({"history": ""})
    push(client, examples(0, 100))
    drain("m/c")
    drain()
    push(client, examples(100, 300))
    drain()
    push(client, examples(300, 400))
    with pytest.raises(BehindError, match=r"3 entries of .* deleted before they were read.*longer history"):
        drain("m/c")
    worker = start(redis_url, "worker", "m/c", "--burst")
    _, err = worker.communicate(timeout=120)
    assert worker.returncode == 3
    assert "candidate 'm/c' fell behind" in err
    found = run("status", "m/c").stdout
    assert "code 3: candidate 'm/c' fell behind" in found
    assert "trouble           3 entries of learner:{m}:examples were deleted before it had read them" in found
    assert "see 'learner delete m/c'" in found
    assert "candidate         c: 100 examples (no worker owns it; 3 entries" in run("status", "m").stdout
    assert "can't take over: 3 entries" in invoke_failing("promote", "m", "c", "--wait", "0")


def test_a_gap_is_seen_at_the_entries_after_it_and_trimming_what_was_read_is_none(client, beside_m, own, drain):
    beside_m()
    owner = own("m/c")
    owner.recovery.begin()
    push(client, examples(0, 500))
    stream, cursor = owner.store.stream, b"0-0"
    entries = [stream.read(cursor, None, 16, 16, None)[0]]
    cursor = entries[0][3][0]
    client.xtrim(KEYS.examples, minid=entries[0][8][0], approximate=False)
    stream.require_no_gap(entries[0], 0)  # all of it was read before that
    client.xtrim(KEYS.examples, minid=entries[0][4][0], approximate=False)
    stream.require_no_gap(stream.read(entries[0][7][0], None, 16, 16, None)[0], 8)
    with pytest.raises(BehindError, match="4 entries"):
        stream.require_no_gap(stream.read(cursor, None, 16, 16, None)[0], 4)


def test_both_are_compared_on_the_same_examples_and_a_restart_goes_on(client, beside_m, drain, run, monkeypatch):
    monkeypatch.setattr(measuring, "READ_ENTRIES", 20)
    beside_m(rates=[1e-6])
    old, new = Model(seed=SEED), Model(rates=[1e-6], seed=SEED)
    expected = beside.Comparison()
    assert "no example yet" not in run("status", "m").stdout
    for at in range(0, 6000, 1000):
        rows = examples(at, at + 1000)
        push(client, rows)
        owner = drain("m/c", late_every=1)
        packed = b"".join(map(msgpack.packb, rows))
        if at:
            (of_old, _), (of_new, importances) = old.losses_packed(packed), new.losses_packed(packed)
            expected.add(of_old, of_new, importances)
        old.learn_packed(packed)
        new.learn_packed(packed)
        assert state_bytes(owner.model) == state_bytes(new)
        assert state_bytes(owner.learning.copy.model) == state_bytes(old)
    figures = owner.learning.comparison.figures()
    assert figures == pytest.approx(expected.figures(), nan_ok=True)
    assert figures["examples"] == 5000
    assert figures["low"] > 0
    drain()
    found = strictly(run("status", "m/c", "--json").stdout)["progress"]
    assert {name: found[f"beside_{name}"] for name in figures} == pytest.approx(figures)
    shown = run("status", "m/c").stdout
    assert f"compared          with m on 5000 examples: late loss {figures['late_loss']:.6f}" in shown
    assert "(95%): worse" in shown
    assert "candidate         c: 6000 examples, late loss +" in run("status", "m").stdout
    (row,) = strictly(run("status", "m", "--json").stdout)["candidates"]
    assert row["model"] == "m/c"
    assert [row["model"] for row in strictly(run("list", "--json").stdout)] == ["m", "m/c"]
    assert "erased features from candidates: m/c" in run("erase", "m", "--feature", "w4", "--yes").stdout
    assert drain("m/c").learning.comparison.figures() == figures


def test_losses_stand_at_the_same_places_whatever_a_model_rejects():
    model, strict = Model(featurizer="fields"), Model(featurizer="email")
    bad = msgpack.packb([1, {"address": 7}])
    fine = msgpack.packb([1, {"address": "a@b.c"}])
    entries = [
        (b"1-0", {b"record": b'{"address": "x@y.z"}', b"target": b"1"}),
        (b"2-0", {b"records": fine + bad + fine}),
        (b"3-0", {b"record": b'{"address": 8}', b"target": b"0"}),
        (b"4-0", {b"learn": b"held"}),
        (b"5-0", {b"batch": msgpack.packb([1, {"a": 1}]) + msgpack.packb([7, {"a": 1}])}),
        (b"6-0", {b"nothing": b"1"}),
        (b"7-0", {b"features": b'{"a": 1}', b"target": b"1", b"importance": b"2"}),
    ]
    losses, importances = beside.losses_of(entries, strict, strict.pack)
    nan, good = math.nan, math.log(2)
    expected = [good, good, nan, good, nan, nan, good, nan, nan, good]
    assert losses == pytest.approx(expected, nan_ok=True)
    assert importances[-1] == 2
    of_other, _ = beside.losses_of(entries, model, model.pack)
    assert len(of_other) == len(losses)
    assert not math.isnan(of_other[2])


def test_after_a_rollback_of_the_other_model_its_copy_is_another(client, beside_m, drain, serving, run, monkeypatch):
    monkeypatch.setattr(beside, "LOOK_SECONDS", 0.0)
    beside_m()
    rows = [examples(at, at + 100) for at in (0, 100, 200)]
    push(client, rows[0])
    drain()
    run("snapshot", "m", "then")
    push(client, rows[1])
    drain()
    with serving("m/c") as owner:
        wait_until(lambda: owner.learning.is_met)
        run("rollback", "m", "then")
        push(client, rows[2])
        expected = learned(Model(seed=SEED), rows[0], rows[2])
        wait_until(lambda: owner.learning.is_met and state_bytes(owner.learning.copy.model) == expected)


def test_an_outcome_of_an_answer_is_left_out_and_counted(client, beside_m, drain, run):
    alone = beside_m()
    rows = [examples(at, at + 100) for at in (0, 100)]
    push(client, rows[0])
    client.xadd(KEYS.examples, {"outcome": "order-1", "target": "1"})
    push(client, rows[1])
    owner = drain("m/c")
    assert state_bytes(owner.model) == learned(alone, *rows)
    assert owner.model.n_rejected == 0
    assert "left out          1 outcomes" in run("status", "m/c").stdout


# ---- promoting ----
def states(client, *names):
    return [state_bytes(Store(client, name).commits.load(*of(client, name), must_fit=False).state) for name in names]


def of(client, name):
    model = Model.from_spec(Store(client, name).spec())
    return model.fingerprint, model.row_width


def test_a_promotion_swaps_all_that_is_learned_and_back(client, beside_m, drain, run):
    alone, other = beside_m(from_history=True), Model(seed=SEED)
    rows = [examples(at, at + 200) for at in range(0, 1000, 200)]
    push(client, rows[0])
    drain()
    run("snapshot", "m", "then")
    push(client, rows[1])
    drain("m/c")  # ahead of m
    run("set", "m/c", "max_rejected=0.1")
    both = states(client, "m", "m/c")
    found = strictly(run("promote", "m", "c", "--json").stdout)
    assert (found["apart"], found["settings"]) == (4, {"max_rejected": [None, "0.1"]})
    assert states(client, "m/c", "m") == both
    assert snapshots.names_of(Store(client, "m")) == []
    assert snapshots.names_of(Store(client, "m/c")) == ["then"]
    for name in ("m", "m/c"):
        assert Store(client, name).status()["trouble"] is None
    assert Store(client, "m").stream.committed_position().learned == 8
    push(client, rows[2])
    assert state_bytes(drain().model) == learned(alone, *rows[:3])  # nothing lost, nothing twice
    owner = drain("m/c")
    assert state_bytes(owner.model) == learned(other, *rows[:3])
    assert state_bytes(owner.learning.copy.model) == state_bytes(alone)
    out = run("promote", "m", "c").stdout
    assert "setting max_rejected of m is its default now (before: 0.1)" in out
    assert snapshots.names_of(Store(client, "m")) == ["then"]
    push(client, rows[3])
    assert state_bytes(drain("m/c").model) == learned(alone, rows[3])
    assert state_bytes(drain().model) == learned(other, rows[3])
    run("rollback", "m", "then")
    assert not list(client.scan_iter("*:aside"))


def test_what_can_not_be_promoted_stays_and_is_said(client, beside_m, drain, run):
    with pytest.raises(StoreError, match="'m/c' does not exist: make it with 'learner create c --beside m'"):
        candidates.promote(Store(client, "m"), "c", 0)
    beside_m(from_history=True)
    with pytest.raises(StoreError, match="it has committed nothing yet: start its worker"):
        candidates.promote(Store(client, "m"), "c", 0)
    push(client, examples(0, 100))
    drain("m/c")
    for i in range(1001):
        client.xadd(KEYS.examples, {"features": json.dumps({"a": i}), "target": "1"})
    drain()
    before = states(client, "m", "m/c")
    with pytest.raises(StoreError, match="1001 entries behind the model: wait until it is at most 1000"):
        candidates.promote(Store(client, "m"), "c", 0)
    drain("m/c")
    client.xdel(KEYS.examples, client.xadd(KEYS.examples, {"x": "1"}))
    client.hincrby(KEYS.head, "entries", 1)
    with pytest.raises(StoreError, match="changed by hand"):
        candidates.promote(Store(client, "m"), "c", 0)
    assert states(client, "m")[0] == before[0]


def test_a_worker_of_each_takes_up_the_other_without_a_restart(client, redis_url, beside_m, serving, run, monkeypatch):
    from learner.client import Client

    monkeypatch.setattr(beside, "LOOK_SECONDS", 0.0)
    beside_m()
    asker, rows = Client("m", redis_url, timeout=60), [examples(at, at + 100) for at in (0, 100, 200)]
    with serving("m", lease_seconds=0.5) as first, serving("m/c", lease_seconds=0.5) as second:
        push(client, rows[0])
        wait_until(lambda: second.learning.is_met and second.model.n_examples == 100)
        for i in (1, 2):
            run("promote", "m", "c")
            push(client, rows[i])
            wait_until(
                lambda i=i: (first.model.spec.rates == (0.5,)) == (i == 1) != (second.model.spec.rates == (0.5,))
            )
            wait_until(lambda i=i: first.model.n_examples == second.model.n_examples == 100 * (i + 1))
            assert asker.predict(features={"a": 0.5}) == pytest.approx(first.model.predict_proba_one({"a": 0.5})[1])
        wait_until(lambda: second.learning.is_met)
        assert state_bytes(second.learning.copy.model) == state_bytes(first.model)


def test_a_worker_that_loses_the_server_while_it_takes_up_again_commits_nothing_of_before(
    client, beside_m, own, monkeypatch
):
    alone, other, rows = beside_m(from_history=True), Model(seed=SEED), [examples(at, at + 100) for at in (0, 100)]
    push(client, rows[0])
    for name in ("m", "m/c"):
        own(name).run(burst=True)
    first = own("m", lease_seconds=0.5)
    candidates.promote(Store(client, "m"), "c", 0)
    load, n = type(first.committing).load, 0

    def once_lost(self):
        nonlocal n
        n += 1
        if n == 1:
            raise redis.ConnectionError
        return load(self)

    monkeypatch.setattr(type(first.committing), "load", once_lost)
    push(client, rows[1])
    wait_until(lambda: first.owning.heartbeat.problem is not None)
    with pytest.raises(redis.ConnectionError):
        first.run(burst=True)
    first.run(burst=True)
    assert n == 2
    assert state_bytes(first.model) == learned(alone, *rows)
    assert states(client, "m", "m/c") == [state_bytes(alone), learned(other, rows[0])]


def test_a_promotion_between_a_workers_reads_of_spec_and_state_is_taken_up(client, beside_m, own, monkeypatch):
    alone, rows = beside_m(from_history=True), examples(0, 100)
    push(client, rows)
    for name in ("m", "m/c"):
        own(name).run(burst=True)
    load, n = Committing.load, 0

    def after_a_promotion(self):
        nonlocal n
        n += 1
        if n == 1:
            candidates.promote(Store(client, "m"), "c", 0)
        return load(self)

    monkeypatch.setattr(Committing, "load", after_a_promotion)
    owner = own("m")
    assert n == 2
    assert state_bytes(owner.model) == learned(alone, rows)


# ---- rules and commands ----
def test_a_candidate_runs_under_its_models_rules(client, redis_url, roles, start_worker, run):
    rows = examples(0, 200)
    assert candidates.create(Store(client, "m"), "c", Model(seed=SEED, featurizer="fields").to_spec(), {}, True)
    push(client, rows)
    worker = start_worker(roles["worker"], "m/c", "--commit-seconds", "0.05", "--late-every", "1")
    wait_until(lambda: Store(client, "m/c").status()["progress"].get("examples") == 200)
    with connect(roles["monitor"]) as monitor:
        status = Store(monitor, "m").status()
    assert status["candidates"][0]["progress"]["examples"] == 200
    worker.terminate()
    _, err = worker.communicate(timeout=20)
    assert (worker.returncode, "NOPERM" in err) == (0, False)
    client.execute_command(*set_user("m", "producer", PASSWORD))
    with connect(url_of(redis_url, "m", "producer")) as producer, pytest.raises(Exception, match="permission"):
        producer.set(NEW.spec, "mine")


def test_the_commands_know_candidates(client, redis_url, beside_m, drain, run, monkeypatch, tmp_path):
    beside_m()
    push(client, examples(0, 200))
    drain("m/c")
    model = Model.from_spec(Store(client, "m/c").spec())
    model.load_state(Store(client, "m/c").commits.load(*of(client, "m/c"), must_fit=False).state)
    assert f"{model.weights['a']:+.6g}" in run("weights", "m/c").stdout
    path = str(tmp_path / "c.learner")
    run("save", "m/c", path)
    model.learn_held()
    assert state_bytes(Model.load(path)) == state_bytes(model)
    Store(client, "m").set({"history": ""})
    made = run("create", "d", "--beside", "m", "--rates", "0.1", "--json")
    assert "Note: 'learner set m history=1h' gives" in made.stderr
    spec = Store(client, "m/d").spec()
    assert (spec["rates"], spec["task"], spec["seed"] == SEED.hex()) == ([0.1], "binary", False)
    assert "exists already" in invoke_failing("create", "d", "--beside", "m")
    assert "task of a candidate must be that of the model beside it, 'binary' (got 'regression')" in invoke_failing(
        "create", "e", "--beside", "m", "--task", "regression"
    )
    assert "'nobody' does not exist" in invoke_failing("create", "e", "--beside", "nobody")
    assert "without --beside" in invoke_failing("create", "e", "--from-history")
    assert "--from with --beside" in invoke_failing("create", "e", "--beside", "m", "--from", path)
    client.xadd(Keys.named("m/d").progress, {"examples": "junk"})
    assert "candidate         d: damaged: " in run("status", "m").stdout
    for command, *more in map(
        str.split, ("snapshot", "rollback", "repair", "push x", "copy x", "export x.learner", "acl")
    ):
        assert "'m/c'" in invoke_failing(command, "m/c", *more)
    assert "must have no candidates to be renamed: delete c, d first" in invoke_failing("rename", "m", "n")
    run("delete", "m/d", "--yes")
    assert candidates.names(Store(client, "m")) == ["c"]
    assert client.exists(KEYS.examples, KEYS.spec) == 2
    run("delete", "m", "--yes")
    assert not list(client.scan_iter("learner:{m}:*"))
    with pytest.raises(LearnerError, match="does not exist"):
        candidates.create(Store(client, "m"), "c", model.to_spec(), {})
