"""Learning from a real server's stream: the same however it came, and what can't be learned is kept aside."""

import json
import random

import msgpack
import numpy as np
import pytest
import redis

from learner.client import Client
from learner.errors import RejectedError
from learner.packing import pack
from learner.service import learning
from learner.service.wire import MAX_BATCH
from tests.conftest import state_bytes, wait_until
from tests.streams import BAD, GOOD, KEYS, rejected, zipf_examples


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
        commit = int(client.hget(KEYS.head, "commits"))  # one to three: the worker may commit between the pushes
    for _ in range(3):
        reference.learn_one({"address": "abc@gmail.com"}, 1)
    assert state_bytes(committed()) == state_bytes(worker.model) == state_bytes(reference)
    score = reference.score_one({"address": "x@gmail.com"})
    p = reference.learner.prediction(score)
    about_classes = {"task": "binary", "label": 1, "probabilities": {"-1": 1 - p, "1": p}}
    assert reply == {"id": "7", "score": score, "prediction": p, **about_classes, "commit": commit, "model": "m"}
    assert reply["prediction"] > 0.5


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


def place(lat: float = 1.0, **more) -> bytes:
    return json.dumps({"lat": lat, "lon": 2.0, **more}).encode()


WRONG = {  # name: fields, stage, what the reason says
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


@pytest.mark.parametrize("kind", WRONG)
def test_what_can_t_be_learned_is_kept_aside_and_the_line_goes_on(client, create, drain, committed, kind):
    fields, stage, reason = WRONG[kind]
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
    for i, (fields, _, _) in enumerate(WRONG.values()):
        client.xadd(KEYS.examples, fields)
        client.xadd(KEYS.examples, {"record": place(i), "target": str(i % 2)})
        reference.count_rejected(1)
        reference.learn_one({"lat": i, "lon": 2.0}, i % 2)
    drain()
    assert state_bytes(committed()) == state_bytes(reference)
    assert len(rejected(client)) == len(WRONG)
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


def test_a_batch_of_too_many_is_learned_up_to_the_bound_and_the_rest_is_rejected_as_one(client, create, drain):
    reference = create()
    client.xadd(KEYS.examples, {"batch": GOOD * (MAX_BATCH + 3)})
    client.xadd(KEYS.examples, {"batch": b"\x00" * (MAX_BATCH + 3)})
    owner = drain(max_rejected=1.0)
    assert (owner.model.n_examples, owner.model.n_rejected) == (MAX_BATCH, 1 + MAX_BATCH + 1)
    assert rejected(client)[0][b"data"] == GOOD * 3
    assert len(rejected(client)) == 1 + learning.MAX_REJECTED_AN_ENTRY
    reference.learn_packed(GOOD * MAX_BATCH)
    assert owner.model.progressive_loss == reference.progressive_loss


@pytest.mark.parametrize("field", ["batch", "records", "features"])
def test_more_than_a_share_of_rejections_stops_the_worker_before_they_are_committed(client, create, own, drain, field):
    create()
    pipe = client.pipeline(transaction=False)
    for target in [1] * 60 + [7] * 100:
        if field == "features":
            pipe.xadd(KEYS.examples, {"features": pack({"a": 1}), "target": str(target)})
        else:
            pipe.xadd(KEYS.examples, {field: GOOD if target == 1 else BAD})
    pipe.execute()
    owner = own(commit_seconds=0.0, max_rejected=0.5, rejected_window=50)
    with pytest.raises(
        RejectedError, match=r"at most a share of 0.5 \(got \d+ of the last \d\d\).*target must be -1, 0, 1"
    ):
        owner.run(burst=True)
    with pytest.raises(RejectedError):
        owner.committing.commit()
    assert len(rejected(client)) <= 30
    assert client.xlen(KEYS.examples) >= 100
    assert b"worker" not in client.hgetall(KEYS.owner)
    again = drain(max_rejected=1.0)
    assert (again.model.n_examples, again.model.n_rejected) == (60, 100)


def test_fewer_rejections_than_the_share_or_than_the_window_stop_nothing(client, create, drain):
    create()
    client.xadd(KEYS.examples, {"batch": BAD * 49})
    for _ in range(30):
        client.xadd(KEYS.examples, {"batch": (GOOD + BAD) * 10})
    owner = drain(max_rejected=0.6, rejected_window=600)
    assert (owner.model.n_examples, owner.model.n_rejected) == (300, 349)


def test_a_stop_in_the_middle_of_an_entry_leaves_the_whole_entry_to_the_next_worker(client, create, own, drain):
    reference = create(featurizer="fields")
    first = client.xadd(KEYS.examples, {"records": pack([1, {"a": 1}]) * 5})
    client.xadd(KEYS.examples, {"records": (pack([1, {"b": 1}]) + pack([7, 3])) * 50})
    owner = own()
    packing = owner.learning.pack

    def stopping(record):
        owner.stopping = record == {"b": 1}
        return packing(record)

    owner.model.program, owner.learning.pack = None, stopping
    owner.run()
    assert (owner.model.n_examples, owner.model.n_rejected, owner.learning.rejected) == (5, 0, [])
    assert client.hget(KEYS.head, "cursor") == first
    owner = drain()
    assert (owner.model.n_examples, owner.model.n_rejected) == (55, 50)
    reference.learn_packed(pack([1, {"a": 1}]) * 5)
    for _ in range(50):
        reference.count_rejected(1)
        reference.learn_one({"b": 1}, 1)
    assert state_bytes(owner.model) == state_bytes(reference)
