"""The worker on a real server: what it learns, answers, rejects and commits, and that killing it changes nothing."""

import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import fakeredis
import hypothesis
import msgpack
import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learner.client import Client
from learner.errors import FencedError, StoreError
from learner.model import Model
from learner.packing import pack
from learner.service.store import Store
from learner.service.store.connection import client as connect
from learner.service.store.embedded import Embedded
from learner.service.wire import REPLIES, Keys, encode_reply
from tests.conftest import SEED, state_bytes, wait_until
from worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEYS = Keys("m")
PROGRAM = str(Path(__file__).parent.parent / "worker.py")


def zipf_examples(n: int, n_features: int, seed: int) -> "list[bytes]":
    """Packed examples whose names follow Zipf's law, with a target that depends on them."""
    rng = np.random.default_rng(seed)
    ids = rng.zipf(1.25, (n, n_features)) % 2_000_003
    values = np.round(rng.random((n, n_features)) + 0.1, 2)
    scores = np.sin(ids).sum(1) + rng.normal(0, 1, n)
    names = {i: f"n{i}" for i in np.unique(ids).tolist()}
    rows = zip(ids.tolist(), values.tolist(), scores.tolist(), strict=True)
    return [
        msgpack.packb([1 if score > 0 else -1, {names[i]: x for i, x in zip(row, xs, strict=True)}])
        for row, xs, score in rows
    ]


def rejected(client: redis.Redis) -> "list[dict[bytes, bytes]]":
    return [fields for _, fields in client.xrange(KEYS.rejected)]


def ask(client: redis.Redis, reply: str = "learner:replies:me", **fields) -> dict:
    client.xadd(KEYS.requests, {**fields, "reply": reply})
    found = client.blpop([reply], timeout=10)
    assert found, "no answer came"
    return json.loads(found[1])


# ---- with plain Redis ------------------------------------------------------------------------------------------------------
def test_one_xadd_is_learned_and_one_blpop_gets_the_answer(client, create, serving, committed):
    reference = create(featurizer="email")
    with serving() as worker:
        for _ in range(3):
            client.xadd("learner:{m}:examples", {"record": '{"address": "abc@gmail.com"}', "target": "1"})
        wait_until(lambda: client.hget(KEYS.head, "entries") == b"3")
        client.xadd(
            "learner:{m}:requests", {"record": '{"address": "x@gmail.com"}', "reply": "learner:replies:me", "id": "7"}
        )
        reply = json.loads(client.blpop(["learner:replies:me"], timeout=5)[1])
    for _ in range(3):
        reference.learn_one({"address": "abc@gmail.com"}, 1)
    assert state_bytes(committed()) == state_bytes(worker.model) == state_bytes(reference)
    score = reference.score_one({"address": "x@gmail.com"})
    assert reply == {"id": "7", "score": score, "prediction": reference.learner.prediction(score)}
    assert reply["prediction"] > 0.5


def test_an_explanation_adds_up_to_its_score(client, create, serving):
    create(featurizer="email")
    client.xadd(KEYS.examples, {"record": '{"address": "abc@gmail.com"}', "target": "1"})
    with serving():
        wait_until(lambda: client.hget(KEYS.head, "entries") == b"1")
        reply = ask(client, record='{"address": "xyz@gmail.com"}', explain="1")
    assert sum(row[-1] for row in reply["contributions"]) == pytest.approx(reply["score"], abs=1e-6)
    assert {"contains_@", "(constant)"} <= {row[0] for row in reply["contributions"]}


def test_many_are_answered_at_once_with_an_error_for_each_bad_one(client, create, serving):
    create(featurizer="place")
    good, bad = pack({"lat": 40.6, "lon": -73.8}), pack({"lat": 91.2, "lon": 0})
    with serving():
        reply = ask(client, records=good + bad + good, id="a")
        features = ask(client, batch=pack({"x": 1}) + pack({"x": "text"}))
    assert reply["id"] == "a"
    assert reply["predictions"] == [0.5, None, 0.5]
    assert reply["scores"] == [0.0, None, 0.0]
    assert list(reply["errors"]) == ["1"]
    assert "91.2" in reply["errors"]["1"]
    assert features["predictions"] == [0.5, None]
    assert "feature 'x' must be a number" in features["errors"]["1"]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "request must have one of record"),
        ({"record": "{"}, "must be JSON or msgpack"),
        ({"record": '{"lat": 91.2, "lon": 0}'}, "91.2"),
        ({"features": '{"x": "text"}'}, "feature 'x' must be a number"),
        ({"features": "[1]"}, "features must be a map"),
        ({"features": '{"%s": 1}' % ("x" * 257)}, "256"),
        ({"record": "[" * 100_000}, "JSON"),
        ({"features": b"\x81\x90\x01"}, "must be a string"),
        ({"features": b"\x81\xa1a" + b"\x91" * 1000 + b"\x01"}, ""),
    ],
)
def test_a_bad_request_is_answered_with_an_error_and_the_next_one_as_ever(client, create, serving, fields, reason):
    create(featurizer="place")
    with serving():
        reply = ask(client, **fields, id="1")
        after = ask(client, record='{"lat": 1, "lon": 2}', id="2")
    assert reply["id"] == "1"
    assert "prediction" not in reply
    assert reason in reply["error"]
    assert after["prediction"] == 0.5


def test_answers_go_to_keys_for_replies_only_and_expire(client, create, serving):
    create()
    client.set("precious", "1")
    with serving():
        for to in ("precious", "learner:{m}:spec", "", "learner:repliesx"):
            client.xadd(KEYS.requests, {"record": "{}", "reply": to})
        client.xadd(KEYS.requests, {"record": "{}"})
        client.xadd(KEYS.requests, {"record": "{}", "reply": REPLIES + "me"})
        wait_until(lambda: client.exists(REPLIES + "me"))
        wait_until(lambda: client.xlen(KEYS.requests) == 0)
    assert client.get("precious") == b"1"
    assert 0 < client.ttl(REPLIES + "me") <= 60
    assert {key.decode() for key in client.keys("*")} == {
        "precious",
        KEYS.spec,
        KEYS.owner,
        KEYS.examples,
        KEYS.requests,
        REPLIES + "me",
    }


def test_a_reply_key_that_is_no_list_stops_nothing(client, create, serving):
    create()
    client.set(REPLIES + "string", "1")
    with serving():
        client.xadd(KEYS.requests, {"record": "{}", "reply": REPLIES + "string"})
        assert ask(client, record="{}")["prediction"] == 0.5
    assert client.get(REPLIES + "string") == b"1"


def test_predicting_changes_nothing(client, create, serving):
    create()
    with serving() as worker:
        before = state_bytes(worker.model)
        assert ask(client, features='{"a": 1}')["prediction"] == 0.5
        assert state_bytes(worker.model) == before
    assert not client.exists(KEYS.head)


def test_labels_are_learned_and_answered(client, create, serving):
    create(labels=["ham", "spam"], featurizer="fields")
    for word, target in (("money", "spam"), ("lunch", "ham")) * 5:
        client.xadd(KEYS.examples, {"record": json.dumps({"word": word}), "target": target})
    with serving():
        wait_until(lambda: client.hget(KEYS.head, "entries") == b"10")
        assert ask(client, record='{"word": "money"}')["label"] == "spam"
        assert ask(client, record='{"word": "lunch"}')["label"] == "ham"
    assert rejected(client) == []


# ---- the same however it came ----------------------------------------------------------------------------------------------
def push_in_every_form(client: redis.Redis, examples: "list[bytes]", rng: random.Random) -> None:
    """Push examples of features in stream order, each piece in a form drawn at random."""
    position = 0
    while position < len(examples):
        n = rng.choice([1, 1, 2, 7, 40])
        piece = examples[position : position + n]
        position += len(piece)
        if len(piece) > 1:
            client.xadd(KEYS.examples, {rng.choice(["batch", "records"]): b"".join(piece)})
            continue
        target, features, *importance = msgpack.unpackb(piece[0])
        field = rng.choice(["record", "features"])
        fields = {field: rng.choice([msgpack.packb, json.dumps])(features), "target": str(target)}
        client.xadd(KEYS.examples, fields | ({"importance": importance[0]} if importance else {}))


@pytest.mark.parametrize("seed", range(3))
def test_entries_of_every_form_are_learned_in_order_however_they_are_committed(client, create, drain, committed, seed):
    rng = random.Random(seed)
    examples = zipf_examples(1500, 6, seed)
    examples[::7] = [msgpack.packb([*msgpack.unpackb(data), 2.5]) for data in examples[::7]]
    reference = create(task=("binary", "regression")[seed % 2])  # without a featurizer: records are features
    for piece in np.array_split(np.arange(len(examples)), 3):
        push_in_every_form(client, [examples[i] for i in piece], rng)
        owner = drain(commit_seconds=rng.choice([0.0, 1000.0]))
        assert state_bytes(committed()) == state_bytes(owner.model)
    reference.learn_packed(b"".join(examples))
    assert state_bytes(committed()) == state_bytes(reference)
    assert (reference.n_examples, rejected(client)) == (1500, [])


def test_what_is_pushed_while_it_runs_is_learned_in_the_order_of_the_stream(
    client, redis_url, create, serving, committed
):
    reference = create(featurizer="fields")
    records = [{"a": i % 7, "b": f"w{i % 5}"} for i in range(600)]
    with serving(commit_seconds=0.01):
        Client("m", redis_url).push_many((i % 3 == 0, record) for i, record in enumerate(records))
        for i, record in enumerate(records):
            client.xadd(KEYS.examples, {"record": json.dumps(record), "target": str(i % 2)})
        wait_until(lambda: client.xlen(KEYS.examples) <= 1)
    for i, record in enumerate(records):
        reference.learn_one(record, i % 3 == 0)
    for i, record in enumerate(records):
        reference.learn_one(record, i % 2)
    assert state_bytes(committed()) == state_bytes(reference)


# ---- what can't be learned -------------------------------------------------------------------------------------------------
def place(lat: float = 1.0, **more) -> bytes:
    return json.dumps({"lat": lat, "lon": 2.0, **more}).encode()


BAD = {  # name: fields, stage, what the reason says
    "not JSON": ({"record": b"{nope", "target": "1"}, "decode", "must be JSON or msgpack"),
    "not msgpack": ({"record": b"\xc1\x00", "target": "1"}, "decode", "must be JSON or msgpack"),
    "nothing": ({"record": b"", "target": "1"}, "decode", "got nothing"),
    "a record that is no map": ({"record": b"[1]", "target": "1"}, "featurize", "must be a map"),
    "features that are no map": ({"features": b"[1]", "target": "1"}, "learn", "must be a map"),
    "features in msgpack that are no map": ({"features": b"\xc0", "target": "1"}, "learn", "must be a map"),
    "no target": ({"record": place()}, "decode", "must have a target"),
    "a wrong target": ({"record": place(), "target": "2"}, "learn", "target must be"),
    "a target that is no label": ({"record": place(), "target": "spam"}, "learn", "target must be"),
    "an empty target": ({"record": place(), "target": ""}, "learn", "target must be"),
    "a NaN in JSON": ({"features": b'{"a": NaN}', "target": "1"}, "decode", "NaN"),
    "a NaN target": ({"features": b'{"a": 1}', "target": "NaN"}, "learn", "target must be"),
    "a NaN": ({"features": msgpack.packb({"a": float("nan")}), "target": "1"}, "learn", "must be finite"),
    "an infinity": ({"features": msgpack.packb({"a": float("inf")}), "target": "1"}, "learn", "must be finite"),
    "an infinity out of JSON": ({"features": b'{"a": 1e999}', "target": "1"}, "learn", "must be finite"),
    "a text as value": ({"features": b'{"a": "x"}', "target": "1"}, "learn", "must be a number"),
    "a long name": ({"features": json.dumps({"x" * 257: 1}), "target": "1"}, "learn", "256"),
    "no name": ({"features": b'{"": 1}', "target": "1"}, "learn", "name"),
    "many features": ({"features": msgpack.packb({str(i): 1 for i in range(10_001)}), "target": "1"}, "learn", "10000"),
    "a latitude out of range": ({"record": place(91.2), "target": "1"}, "featurize", "91.2"),
    "a missing field": ({"record": b'{"lat": 1}', "target": "1"}, "featurize", "lon"),
    "a negative importance": ({"record": place(), "target": "1", "importance": "-1"}, "learn", "importance"),
    "a wrong importance": ({"record": place(), "target": "1", "importance": "x"}, "learn", "importance"),
    "no known field": ({"recrod": place(), "target": "1"}, "decode", "must have one of record"),
    "a key no dict can hold": ({"features": b"\x81\x90\x01", "target": "1"}, "learn", "must be a string"),
    "a feature twice": ({"features": b"\x82\xa1a\x01\xa1a\x02", "target": "1"}, "learn", "once"),
    "a nest of lists": ({"features": b"\x81\xa1a" + b"\x91" * 1000 + b"\x01", "target": "1"}, "", ""),
    "broken records": ({"records": b"\xc1"}, "decode", "whole msgpack"),
    "records with a key no dict can hold": ({"records": b"\x92\x01\x81\x90\x01"}, "decode", ""),
    "a record that is no pair": ({"records": b"\x91\x01"}, "decode", "[target, record]"),
    "a broken batch": ({"batch": b"\xc1"}, "learn", "example must be"),
    "a batch cut off": ({"batch": msgpack.packb([1, {"a": 1}])[:-1]}, "learn", "whole msgpack"),
    "a batch of no examples": ({"batch": msgpack.packb({"a": 1})}, "learn", "[target, features]"),
    "a batch of a nest of lists": ({"batch": b"\x92\x01" + b"\x91" * 1023 + b"\x01"}, "learn", ""),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_can_t_be_learned_is_kept_aside_and_the_line_goes_on(client, create, drain, committed, kind):
    fields, stage, reason = BAD[kind]
    reference = create(featurizer="place")
    ids = [
        client.xadd(KEYS.examples, x)
        for x in ({"record": place(1), "target": "1"}, fields, {"record": place(2), "target": "0"})
    ]
    drain()
    (found,) = rejected(client)
    assert found[b"entry"] == ids[1]
    assert stage in found[b"stage"].decode()
    assert reason in found[b"reason"].decode()
    assert "\n" not in found[b"reason"].decode()
    assert len(found[b"reason"]) < 600
    if "batch" in fields or "records" in fields:
        ((field, data),) = fields.items()
        assert (found[b"field"].decode(), found[b"data"]) == (field, data)
    else:
        kept = {name: value.encode() if isinstance(value, str) else value for name, value in fields.items()}
        assert msgpack.unpackb(found[b"data"]) == kept
        assert found[b"field"] == b"entry"
    reference.count_rejected(1)
    reference.learn_one({"lat": 1, "lon": 2.0}, 1)
    reference.learn_one({"lat": 2, "lon": 2.0}, 0)
    assert state_bytes(committed()) == state_bytes(reference)
    assert client.hgetall(KEYS.head)[b"cursor"] == ids[2]


def test_every_bad_kind_among_good_ones_in_one_commit(client, create, drain, committed):
    reference = create(featurizer="place")
    for i, (fields, _, _) in enumerate(BAD.values()):
        client.xadd(KEYS.examples, fields)
        client.xadd(KEYS.examples, {"record": place(i), "target": str(i % 2)})
        reference.count_rejected(1)
        reference.learn_one({"lat": i, "lon": 2.0}, i % 2)
    drain()
    assert state_bytes(committed()) == state_bytes(reference)
    assert len(rejected(client)) == len(BAD)
    assert client.hget(KEYS.head, "commits") == b"1"


def test_a_broken_batch_loses_what_follows_in_it_and_nothing_else(client, create, drain):
    create()
    good = [msgpack.packb([1, {f"n{i}": 1}]) for i in range(4)]
    client.xadd(KEYS.examples, {"features": '{"before": 1}', "target": "1"})
    client.xadd(KEYS.examples, {"batch": good[0] + good[1] + b"\xc1" + good[2]})
    client.xadd(KEYS.examples, {"batch": good[3][:-1]})
    client.xadd(KEYS.examples, {"features": '{"after": 1}', "target": "1"})
    owner = drain()
    assert set(owner.model.weights) == {"(constant)", "before", "n0", "n1", "after"}
    assert [fields[b"data"] for fields in rejected(client)] == [b"\xc1" + good[2], good[3][:-1]]
    assert owner.model.n_rejected == 2


def test_one_bad_example_in_a_batch_is_alone_in_being_rejected(client, create, drain):
    create()
    bad = msgpack.packb([7, {"x": 1}])
    client.xadd(KEYS.examples, {"batch": msgpack.packb([1, {"a": 1}]) + bad + msgpack.packb([1, {"b": 1}])})
    owner = drain()
    assert set(owner.model.weights) == {"(constant)", "a", "b"}
    assert [fields[b"data"] for fields in rejected(client)] == [bad]


def test_what_was_rejected_is_counted_across_restarts_and_not_learned_again(client, create, drain):
    create()
    client.xadd(KEYS.examples, {"record": "{", "target": "1"})
    assert drain().model.n_rejected == 1
    assert drain().model.n_rejected == 1
    assert len(rejected(client)) == 1


def test_one_absurd_target_does_not_spoil_the_regression_for_good(client, create, drain):
    create(task="regression")
    for target in ("1e308", "-1e308"):
        client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": target})
    for i in range(50):
        client.xadd(KEYS.examples, {"features": json.dumps({"a": 1, "b": i % 3}), "target": "1"})
    assert np.isfinite(drain().model.score_one({"a": 1.0}))


def test_one_absurd_importance_does_not_spoil_the_figures_for_good(client, create, drain):
    create()
    for target in ("1", "0", "1"):
        client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": target, "importance": "1e308"})
    for i in range(50):
        client.xadd(KEYS.examples, {"features": json.dumps({"a": 1, "b": i % 3}), "target": "1"})
    model = drain().model
    assert np.isfinite(model.progressive_loss)
    assert np.isfinite(model.constant_loss)


def test_figures_are_json_even_before_the_first_example(create, redis_url, start):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    create()
    out, err = start(redis_url, "worker", "m", "--burst", "--json").communicate(timeout=60)
    assert json.loads(out, parse_constant=refuse)["examples"] == 0, err


# ---- lost answers ----------------------------------------------------------------------------------------------------------
def test_a_commit_whose_answer_was_lost_keeps_what_is_learned_before_it_is_repeated(
    client, redis_url, create, monkeypatch, committed
):
    examples = zipf_examples(600, 10, 3)
    reference = create()
    owner = Worker(Store(connect(redis_url), "m"), 0.0)
    execute = redis.client.Pipeline.execute

    def lost(self, *args, **kwargs):
        monkeypatch.setattr(redis.client.Pipeline, "execute", execute)
        execute(self, *args, **kwargs)
        raise redis.ConnectionError("lost")

    client.xadd(KEYS.examples, {"batch": b"".join(examples[:200])})
    monkeypatch.setattr(redis.client.Pipeline, "execute", lost)
    with pytest.raises(redis.ConnectionError):
        owner.run(burst=True)
    client.xadd(KEYS.examples, {"batch": b"".join(examples[200:400])})  # learned before the commit is repeated
    owner.run(burst=True)
    owner.stopping = False
    owner.store.ownership.take_over()
    client.xadd(KEYS.examples, {"batch": examples[400]})
    owner.run(burst=True)
    reference.learn_packed(b"".join(examples[:401]))
    assert state_bytes(owner.model) == state_bytes(reference)
    assert state_bytes(committed()) == state_bytes(reference)
    assert client.hget(KEYS.head, "entries") == b"3"


@pytest.mark.parametrize("after", [False, True])
def test_a_request_is_answered_once_though_the_connection_was_lost(client, redis_url, create, monkeypatch, after):
    create()
    owner = Worker(Store(connect(redis_url), "m"), 0.0)
    execute = redis.client.Pipeline.execute

    def lost(self, *args, **kwargs):
        monkeypatch.setattr(redis.client.Pipeline, "execute", execute)
        if after:
            execute(self, *args, **kwargs)
        raise redis.ConnectionError("lost")

    client.xadd(KEYS.requests, {"record": "{}", "reply": REPLIES + "me"})
    monkeypatch.setattr(redis.client.Pipeline, "execute", lost)
    with pytest.raises(redis.ConnectionError):
        owner.run(burst=True)
    owner.run(burst=True)
    assert client.llen(REPLIES + "me") == 1
    assert client.xlen(KEYS.requests) == 0


# ---- anything at all -------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def fuzzed() -> Worker:
    """A worker on a server that is only pretended, whose model is fed anything."""
    store = Store(fakeredis.FakeRedis(), "m")
    store.create(Model("binary", featurizer="place", labels=["ham", "spam"], seed=SEED).to_spec())
    return Worker(store, 1000.0)


text = st.text(st.characters(codec="utf-8"), max_size=6)
scalar = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | text | st.binary(max_size=5)
anything = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(scalar | text, inner, max_size=3), max_leaves=8
)
near = st.fixed_dictionaries({"lat": anything, "lon": st.floats(-180, 180)}) | st.dictionaries(
    text, st.floats(), max_size=4
)
example = st.tuples(st.sampled_from([1, -1, 0, True, "spam", None]) | anything, near | anything).map(msgpack.packb)
example |= st.tuples(st.just(1), near, st.floats(0, 1e6) | st.sampled_from([-1, math.nan, math.inf, "1"])).map(
    msgpack.packb
)


def damaged(data: bytes, place: int, byte: int, cut: int) -> bytes:
    place %= len(data)
    return data[:place] + bytes([byte]) + data[place + 1 : len(data) - cut % 3]


packed = (
    example
    | st.builds(damaged, example, st.integers(0, 400), st.integers(0, 255), st.integers(0, 9))
    | st.binary(max_size=30)
)
many = st.lists(packed, max_size=4).map(b"".join)
one = (near | anything).map(msgpack.packb) | st.binary(max_size=30) | text.map(str.encode)
entry = st.fixed_dictionaries({b"batch": many}) | st.fixed_dictionaries({b"records": many})
entry |= st.fixed_dictionaries(
    {b"target": st.sampled_from([b"1", b"spam", b"NaN"]) | st.binary(max_size=8)},
    optional={
        b"record": one,
        b"features": one,
        b"importance": st.sampled_from([b"2", b"NaN", b"-1", b"false", b"x", b"1e999"]),
    },
)
GOOD = {b"record": b'{"lat": 1, "lon": 2}', b"target": b"spam"}


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(entry, min_size=1, max_size=4))
@hypothesis.example([{b"batch": b"\x92\x01" + b"\x91" * 1023 + b"\x01"}])
@hypothesis.example([{b"features": b"\x81\x90\x01", b"target": b"1"}])
def test_no_entries_at_all_stop_the_line(fuzzed, entries):
    fuzzed.model = Model("binary", featurizer="place", labels=["ham", "spam"], seed=SEED)
    fuzzed.rejected.clear()
    numbered = [(b"%d-0" % i, fields) for i, fields in enumerate([GOOD, *entries, GOOD], 1)]
    fuzzed.learn(numbered)
    assert fuzzed.cursor == numbered[-1][0]
    assert fuzzed.model.n_examples >= 2
    assert fuzzed.model.n_rejected == len(fuzzed.rejected)
    refused = {entry_id for entry_id, _ in fuzzed.rejected}
    assert refused.isdisjoint({numbered[0][0], numbered[-1][0]})
    n_singles = sum(not fields.keys() & {b"batch", b"records"} for _, fields in numbered)
    n_refused = sum(not dict(numbered)[entry_id].keys() & {b"batch", b"records"} for entry_id in refused)
    assert fuzzed.model.n_examples >= n_singles - n_refused
    assert np.isfinite(fuzzed.model.progressive_loss)
    assert np.isfinite(fuzzed.model.score_one({"lat": 1, "lon": 2}))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([b"record", b"features", b"explain", b"id"]), one, max_size=3) | entry)
def test_no_request_at_all_is_without_an_answer_in_json(fuzzed, fields):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    found = json.loads(encode_reply(fuzzed.reply(fields)), parse_constant=refuse)
    assert {"prediction", "predictions", "error"} & found.keys()


# ---- killed ----------------------------------------------------------------------------------------------------------------
def push_batches(client: redis.Redis, field: str, examples: "list[bytes]", size: int) -> None:
    with client.pipeline(transaction=False) as pipe:
        for i in range(0, len(examples), size):
            pipe.xadd(KEYS.examples, {field: b"".join(examples[i : i + size])})
        pipe.execute()


def killed_at_random(
    client, url, start_worker, field: str, examples: "list[bytes]", kills: int, rng: random.Random
) -> int:
    """Push examples while workers are killed; return how many kills came when there was something left to learn."""
    slices = np.array_split(np.arange(len(examples)), kills + 1)
    amid = 0
    for piece in slices[:-1]:
        worker = start_worker(url, "m", "--commit-seconds", "0.02")
        push_batches(client, field, [examples[i] for i in piece], 25)
        time.sleep(rng.uniform(0, 0.08))
        worker.kill()
        assert worker.wait() == -signal.SIGKILL
        amid += Store(client, "m").status()["lag_entries"] > 0
    push_batches(client, field, [examples[i] for i in slices[-1]], 25)
    return amid


def test_twenty_kills_over_200_000_examples_change_no_bit(client, redis_url, create, start_worker, drain, committed):
    seed = random.randrange(1 << 30) if os.environ.get("LEARNER_RANDOM_KILLS") else 2026
    print("seed", seed)
    examples = zipf_examples(200_000, 25, seed)
    undisturbed = create()
    amid = killed_at_random(client, redis_url, start_worker, "batch", examples, 20, random.Random(seed))
    drain()
    undisturbed.learn_packed(b"".join(examples))
    found = committed()
    assert found.n_examples == 200_000
    assert state_bytes(found) == state_bytes(undisturbed)
    assert found.n_features > 100_000
    n_entries = sum(-(-len(piece) // 25) for piece in np.array_split(np.arange(200_000), 21))
    assert client.hget(KEYS.head, "entries") == b"%d" % n_entries
    assert amid >= 5, amid
    assert rejected(client) == []


def test_kills_change_no_bit_of_what_is_learned_from_records(client, redis_url, create, start_worker, drain, committed):
    rng = random.Random(7)
    examples, undisturbed = [], create(featurizer="email")
    for i in range(6000):
        address = f"{rng.choice('abcdef')}{rng.randrange(300)}@{rng.choice(['gmail.com', 'web.de', 'x.org'])}"
        record = {"address": address} if i % 50 else {"address": 7}
        examples.append(pack([rng.choice([-1, 1]), record]))
    killed_at_random(client, redis_url, start_worker, "records", examples, 3, rng)
    drain()
    for example in examples:
        target, record = msgpack.unpackb(example)
        if record["address"] == 7:
            undisturbed.count_rejected(1)
        else:
            undisturbed.learn_one(record, target)
    assert state_bytes(committed()) == state_bytes(undisturbed)
    assert len(rejected(client)) == undisturbed.n_rejected == 120


def test_kills_change_no_bit_of_a_model_with_a_neural_head(client, redis_url, create, start_worker, drain, committed):
    examples = zipf_examples(20_000, 10, 3)
    undisturbed = create(neural={"hidden": [5, 4]})
    killed_at_random(client, redis_url, start_worker, "batch", examples, 5, random.Random(3))
    drain()
    undisturbed.learn_packed(b"".join(examples))
    assert state_bytes(committed()) == state_bytes(undisturbed)
    (_, progress), *_ = client.xrevrange(KEYS.progress, count=1)
    assert {b"norm_V1", b"norm_V2", b"norm_w"} <= progress.keys()
    assert client.hget(KEYS.head, "entries")


# ---- stopped ---------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_under_load_commits_all_that_was_read_and_loses_nothing(
    client, redis_url, create, start_worker, drain, committed, number
):
    examples = zipf_examples(30_000, 10, 11)
    undisturbed = create()
    worker = start_worker(redis_url, "m", "--commit-seconds", "1000", "--json")
    push_batches(client, "batch", examples[:20_000], 10)
    wait_until(lambda: client.info("commandstats").get("cmdstat_xread"))
    worker.send_signal(number)
    push_batches(client, "batch", examples[20_000:], 10)
    out, err = worker.communicate(timeout=5)
    assert worker.returncode == 0, err
    stopped = committed()
    assert json.loads(out)["examples"] == stopped.n_examples > 0
    assert Store(client, "m").status()["owner"] == {"epoch": "1"}
    assert client.hget(KEYS.head, "commits") == b"1"
    undisturbed.learn_packed(b"".join(examples[: stopped.n_examples]))
    assert state_bytes(stopped) == state_bytes(undisturbed)
    again = drain()
    assert again.epoch == 2
    assert again.model.n_examples == 30_000
    undisturbed.learn_packed(b"".join(examples[stopped.n_examples :]))
    assert state_bytes(committed()) == state_bytes(undisturbed)


def test_a_stop_in_the_middle_of_what_was_read_commits_up_to_there(client, create, serving, committed):
    reference = create()
    examples = zipf_examples(300, 5, 2)
    owner = Worker(Store(client, "m"), 1000.0)
    push_batches(client, "batch", examples, 10)
    features = owner.model.learn_packed

    def then_stopped(data, most=None):
        owner.stopping = owner.model.n_examples >= 100
        return features(data, most)

    owner.model.learn_packed = then_stopped
    owner.run()
    n = committed().n_examples
    assert 100 <= n < 300
    reference.learn_packed(b"".join(examples[:n]))
    assert state_bytes(committed()) == state_bytes(reference)
    assert client.hget(KEYS.head, "entries") == b"%d" % (n // 10)


def test_what_was_committed_at_a_stop_is_where_the_next_one_starts(client, redis_url, create, start_worker):
    create()
    push_batches(client, "batch", zipf_examples(500, 5, 1), 10)
    worker = start_worker(redis_url, "m", "--commit-seconds", "0.01")
    wait_until(lambda: Store(client, "m").status()["lag_entries"] == 0)
    worker.terminate()
    assert worker.wait(5) == 0
    cursor = client.hget(KEYS.head, "cursor").decode()
    worker = start_worker(redis_url, "m")
    assert f"500 examples learned up to {cursor}" in worker.hello
    worker.terminate()
    assert worker.wait(5) == 0
    assert client.hget(KEYS.head, "commits") is not None
    assert client.hget(KEYS.head, "entries") == b"50"


def test_a_fenced_worker_raises_and_commits_nothing(client, redis_url, create, drain, committed):
    create()
    client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": "1"})
    first = Worker(Store(connect(redis_url), "m"), 1000.0)
    second = drain()
    with pytest.raises(FencedError):
        first.run(burst=True)
    assert client.hget(KEYS.head, "commits") == b"1"
    assert state_bytes(committed()) == state_bytes(second.model)


# ---- the command -----------------------------------------------------------------------------------------------------------
def test_burst_learns_what_is_there_and_exits(client, redis_url, create, start, committed):
    undisturbed = create()
    examples = zipf_examples(2000, 8, 9)
    push_batches(client, "batch", examples, 10)
    process = start(redis_url, "worker", "m", "--burst", "--json")
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    undisturbed.learn_packed(b"".join(examples))
    assert state_bytes(committed()) == state_bytes(undisturbed)
    figures = json.loads(out)
    assert (figures["model"], figures["examples"], figures["rejected"]) == ("m", 2000, 0)
    assert figures["progressive_loss"] == undisturbed.progressive_loss
    assert Store(client, "m").status()["owner"] == {"epoch": "1"}


def test_worker_py_does_the_same_as_the_command(client, redis_url, create, start, committed):
    undisturbed = create()
    examples = zipf_examples(300, 8, 9)
    push_batches(client, "batch", examples, 10)
    process = start(redis_url, "m", "--burst", program=(PROGRAM,))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (0, ""), err
    undisturbed.learn_packed(b"".join(examples))
    assert state_bytes(committed()) == state_bytes(undisturbed)


@pytest.mark.parametrize("program", [("-m", "learner", "worker"), (PROGRAM,)])
def test_no_model_and_no_server_are_one_line_and_exit_code_2(redis_url, start, program):
    for url, told in ((redis_url, "model 'm' does not exist"), ("redis://127.0.0.1:1/0", "127.0.0.1:1")):
        process = start(url, "m", "--burst", program=program)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, len(err.splitlines())) == (2, "", 1), err
        assert err.startswith("Error: ")
        assert told in err


def test_a_stream_that_was_deleted_stops_the_worker_which_says_so(client, redis_url, create, drain, start):
    create()
    client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": "1"})
    drain()
    client.delete(KEYS.examples)
    with pytest.raises(StoreError, match="before the last entry learned"):
        Worker(Store(client, "m"), 1.0)
    process = start(redis_url, "worker", "m", "--burst")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "it was deleted, or the server went back to older data" in err


def test_a_stream_that_is_deleted_under_a_worker_stops_it_with_one_line(client, redis_url, create, start_worker):
    create()
    worker = start_worker(redis_url, "m", "--commit-seconds", "0.3")
    client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": "1"})
    wait_until(lambda: client.exists(KEYS.head))
    client.delete(KEYS.examples)
    client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": "1"})
    _, err = worker.communicate(timeout=15)
    assert worker.returncode == 2
    assert "Traceback" not in err
    assert len(err.splitlines()) == 1  # beside the hello, which is read already


def test_importing_creates_nothing(redis_url, tmp_path):
    code = (
        "import sys, socket\n"
        "def refuse(*a, **k): raise AssertionError('a connection at import')\n"
        "socket.socket.connect = refuse\n"
        "import worker, learner, learner.commands, learner.client\n"
        "import learner.service.store.commits, learner.service.store.embedded\n"
        "assert 'numba' not in sys.modules\n"
    )
    home = tmp_path / "home"
    subprocess.run(
        [sys.executable, "-c", code],
        check=True,
        cwd=Path(PROGRAM).parent,
        env={**os.environ, "REDIS_URL": redis_url, "LEARNER_HOME": str(home)},
    )
    assert not home.exists()


# ---- the server is lost ----------------------------------------------------------------------------------------------------
def test_a_server_that_is_killed_and_started_again_is_found_and_all_is_learned(tmp_path, start_worker):
    examples = zipf_examples(6000, 8, 21)
    embedded = Embedded(tmp_path / "server")
    url = embedded.start()
    try:
        client = connect(url)
        model = Model("binary", seed=SEED)
        Store(client, "m").create(model.to_spec())
        worker = start_worker(url, "m", "--commit-seconds", "0.01")
        push_batches(client, "batch", examples[:2000], 10)
        wait_until(lambda: Store(client, "m").status()["lag_entries"] == 0)
        push_batches(client, "batch", examples[2000:4000], 10)
        with suppress(redis.ResponseError):  # Redis 7.0 has none; there the kernel has what was pushed, and lives on
            client.execute_command("WAITAOF", 1, 0, 5000)  # what was pushed must survive: only commits may be lost
        running = embedded.running()
        os.kill(running["pid"], signal.SIGKILL)
        wait_until(lambda: not embedded._alive())
        assert "no connection, trying again" in worker.stderr.readline()
        again = embedded.start(port=running["port"])
        with connect(again) as admin:  # the worker knows the password of the first start
            admin.acl_setuser("default", enabled=True, passwords=["+" + urlsplit(url).password])
        client = connect(url)
        push_batches(client, "batch", examples[4000:], 10)
        wait_until(lambda: Store(client, "m").status()["lag_entries"] == 0, 30)
        worker.terminate()
        assert worker.wait(5) == 0
        model.learn_packed(b"".join(examples))
        assert state_bytes(Client("m", url).committed()) == state_bytes(model)
    finally:
        embedded.stop()


def test_a_worker_that_is_stopped_without_a_server_says_what_is_not_committed(tmp_path, start_worker):
    embedded = Embedded(tmp_path / "server")
    url = embedded.start()
    try:
        client = connect(url)
        Store(client, "m").create(Model("binary", seed=SEED).to_spec())
        worker = start_worker(url, "m", "--commit-seconds", "1000")
        push_batches(client, "batch", zipf_examples(100, 5, 1), 10)
        wait_until(lambda: client.info("commandstats").get("cmdstat_xread", {"calls": 0})["calls"] >= 2)
    finally:
        embedded.stop()
    assert "no connection" in worker.stderr.readline()
    worker.terminate()
    _, err = worker.communicate(timeout=10)
    assert worker.returncode == 2
    assert err.splitlines()[-1].startswith("Error: 10 entries learned must be learned again")


@pytest.fixture
def hanging(tmp_path) -> "Iterator[tuple[str, Callable[[], None]]]":
    """The URL of a server of its own, and what makes it hang from then on."""
    embedded = Embedded(tmp_path / "server")
    url = embedded.start()
    pid = embedded.running()["pid"]
    yield url, lambda: os.kill(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGCONT)
    embedded.stop()


def start_with_something_to_commit(url, start_worker):
    client = connect(url)
    Store(client, "m").create(Model("binary", seed=SEED).to_spec())
    worker = start_worker(url, "m", "--commit-seconds", "1000")
    push_batches(client, "batch", zipf_examples(100, 5, 1), 10)
    wait_until(lambda: client.info("commandstats").get("cmdstat_xread", {"calls": 0})["calls"] >= 2)
    return worker


def test_a_server_that_hangs_does_not_hold_a_stop_up(hanging, start_worker):
    url, hang = hanging
    works = start_with_something_to_commit(url, start_worker)
    waits = start_worker(url, "m")
    hang()
    started = time.monotonic()
    works.terminate()
    waits.terminate()
    _, err = works.communicate(timeout=10)
    assert time.monotonic() - started < 5
    assert works.returncode == 2
    assert err.splitlines()[-1].startswith(
        "Error: 10 entries learned must be learned again: they could not be committed"
    )
    assert waits.wait(5) == 0


def test_a_second_signal_ends_a_worker_at_once(hanging, start_worker):
    url, hang = hanging
    worker = start_with_something_to_commit(url, start_worker)
    hang()
    worker.terminate()
    time.sleep(0.5)
    worker.terminate()
    assert worker.wait(1) == -signal.SIGTERM
