"""Late outcomes: an answer is kept until its outcome comes, which is learned once, from the features that were scored."""

import asyncio
import contextlib
import json
import math
import threading

import pytest
import redis
from redis.connection import AbstractConnection as Connection

from learner.client import AsyncClient, Client
from learner.errors import ExampleError, LearnerError, StoreError
from learner.packing import pack_example
from learner.service import keeping
from learner.service.store import Store
from learner.service.store.repair import repair
from learner.service.wire import decode_kept
from tests.conftest import state_bytes, url
from tests.streams import KEYS, rejected

REPLIES = f"{KEYS.replies}me"


def ask(client: redis.Redis, name: "str | bytes", record: str = '{"a": 2, "b": "x"}', **fields: "str | bytes") -> None:
    client.xadd(KEYS.requests, {"record": record, "reply": REPLIES, "outcome_id": name, **fields})


def tell(client: redis.Redis, name: "str | bytes", target: object = 1, **fields: str) -> None:
    client.xadd(KEYS.examples, {"outcome": name, "target": str(target), **fields})


def push(client: redis.Redis, record: str, target: object) -> None:
    client.xadd(KEYS.examples, {"record": record, "target": str(target)})


def replies(client: redis.Redis) -> "list[dict[str, object]]":
    found = [json.loads(reply) for reply in client.lrange(REPLIES, 0, -1)]
    client.delete(REPLIES)
    return found


def kept(client: redis.Redis) -> "dict[bytes, bytes | None]":
    """What is kept by name, once it is known that index, keys and the sum of sizes agree."""
    names = client.zrange(KEYS.kept, 0, -1)
    found = {name: client.get(KEYS.kept_answer(name)) for name in names}
    assert set(client.keys(f"{KEYS.kept}:*")) == set(map(KEYS.kept_answer, names))
    assert int(client.get(KEYS.kept_bytes) or 0) == sum(len(data or b"") for data in found.values())
    return found


def age(client: redis.Redis, *names: str) -> None:
    """Make answers as old as can be."""
    client.zadd(KEYS.kept, dict.fromkeys(names, 0.0), xx=True)


def figures(client: redis.Redis) -> "dict[str, float]":
    status = Store(client, "m").status()
    assert (status["lag_entries"], status["trouble"]) == (0, None)
    return status["progress"] | {"kept": status["kept"]}


KINDS = {
    "binary": ({}, [1, 0, 1], lambda r: math.log1p(math.exp(-r["score"]))),
    "labels": ({"labels": ["2", "1"]}, [1, 2, 1], lambda r: math.log1p(math.exp(-r["score"]))),
    "hinge": ({"loss": "hinge"}, [1, 0, "yes"], lambda r: max(0.0, 1.0 - r["score"])),
    "regression": ({"task": "regression"}, [3.5, 8, 9], lambda r: (r["prediction"] - 9.0) ** 2),
    "quantile": (
        {"task": "quantile", "level": 0.9},
        [3, 8, 9],
        lambda r: max(0.9 * (d := 9 - r["prediction"]), -0.1 * d),
    ),
    "poisson": (
        {"task": "poisson"},
        [3, 8, 9],
        lambda r: 2.0 * (r["prediction"] - 9 - 9 * (math.log(r["prediction"]) - math.log(9))),
    ),
    "multiclass": ({"task": "multiclass"}, ["x", 7, 7], lambda r: -math.log(r["probabilities"]["7"])),
    "optimizer": ({"optimizer": "sgd"}, [1, 0, 1], lambda r: math.log1p(math.exp(-r["score"]))),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_outcome_is_learned_from_the_features_that_were_scored(client, create, drain, committed, kind):
    options, targets, loss = KINDS[kind]
    reference = create(featurizer="fields", **options)
    records = ['{"a": 1}', '{"a": 2, "b": "y"}', '{"a": 3, "b": "x"}']
    for record, target in zip(records[:2], targets[:2], strict=True):
        push(client, record, target)
        reference.learn_one(json.loads(record), target)
    drain()
    ask(client, "one", records[2])
    drain()
    (reply,) = replies(client)
    features = decode_kept(kept(client)[b"one"]).features
    assert features == reference.pack(json.loads(records[2]))
    push(client, records[0], targets[0])
    tell(client, "one", targets[2], importance="2.5")
    push(client, records[1], targets[1])
    drain()
    reference.learn_one(json.loads(records[0]), targets[0])
    reference.learn_packed(pack_example(targets[2], features, 2.5))
    reference.learn_one(json.loads(records[1]), targets[1])
    assert state_bytes(committed()) == state_bytes(reference)
    found = figures(client)
    assert found["answered_loss"] == pytest.approx(loss(reply))
    assert (found["answered_examples"], found["expired"], found["kept"], kept(client)) == (1, 0, 0, {})


def test_an_array_is_kept_as_it_came(client, create, drain, committed):
    reference = create()
    array = b"\xc7\x08\x04\x00\x00\x80?\x00\x00\x00@"  # [1, 2] as float32
    client.xadd(KEYS.requests, {"features": array, "reply": REPLIES, "outcome_id": "a"})
    drain()
    assert decode_kept(kept(client)[b"a"]).features == array
    tell(client, "a")
    drain()
    reference.learn_packed(pack_example(1, array))
    assert state_bytes(committed()) == state_bytes(reference)


@pytest.mark.parametrize("together", [True, False])
def test_another_outcome_of_an_answer_is_a_repeat(client, create, drain, together):
    create(featurizer="fields")
    ask(client, "one")
    drain()
    tell(client, "one", 1)
    if not together:
        drain()
    tell(client, "one", 0)
    owner = drain()
    assert (owner.model.n_examples, owner.model.n_rejected, owner.learning.n_repeated) == (1, 0, 1)
    assert (rejected(client), kept(client)) == ([], {})
    ask(client, "one")  # asked again after its outcome: answered, and there is nothing more to learn
    drain()
    assert ("error" in replies(client)[-1], kept(client)) == (False, {})


def test_an_outcome_that_no_answer_waits_for_is_rejected_and_stops_nobody(client, create, drain):
    create()
    for name in ("never", "x" * 257, ""):
        tell(client, name)
    client.xadd(KEYS.examples, {"outcome": "never"})
    owner = drain(rejected_window=1, max_rejected=1.0)
    reasons = [fields[b"reason"].decode() for fields in rejected(client)]
    assert reasons[0].startswith("outcome must name an answer that is kept (got 'never': nobody asked with this")
    assert reasons[1] == "outcome must be at most 256 bytes (got 257)"
    assert owner.model.n_rejected == len(reasons) == 4
    tell(client, "never")
    drain(rejected_window=1, max_rejected=0.0)


def test_a_wrong_target_leaves_the_answer_for_a_right_one(client, create, drain):
    create(featurizer="fields")
    ask(client, "one")
    drain()
    tell(client, "one", "perhaps")
    drain()
    assert (rejected(client)[0][b"stage"], set(kept(client))) == (b"learn", {b"one"})
    tell(client, "one", 1)
    assert (drain().model.n_examples, kept(client)) == (1, {})


def test_the_first_answer_under_a_name_stays(client, create, drain):
    create(featurizer="fields")
    ask(client, "one", '{"a": 1}')
    ask(client, "one", '{"a": 2}')
    drain()
    first = kept(client)
    ask(client, "one", '{"a": 3}')
    drain()
    assert first == kept(client)
    assert b"a\xcb?\xf0" in first[b"one"]
    assert ["error" in reply for reply in replies(client)] == [False] * 3


# ---- what expires ----
@pytest.mark.parametrize(("default", "n_learned"), [("", 0), ("0", 2), ("perhaps", 0)])
def test_what_expires_is_counted_and_learned_with_the_default_outcome(
    client, create, drain, committed, default, n_learned
):
    reference = create(featurizer="fields")
    Store(client, "m").set({"keep_predictions": "1h", "default_outcome": default})
    for name, record in (("a", '{"a": 1}'), ("b", '{"a": 2}'), ("c", '{"a": 3}')):
        ask(client, name, record)
    drain()
    age(client, "a", "b")
    assert drain().model.n_examples == n_learned
    found = figures(client)
    assert (found["expired"], found["answered_examples"], set(kept(client))) == (2, n_learned, {b"c"})
    tell(client, "a")
    tell(client, "c")
    owner = drain()
    assert (owner.model.n_examples, owner.model.n_rejected) == (n_learned + 1, 1)
    assert b"didn't come in time" in rejected(client)[0][b"reason"]
    records = [*[({"a": 1}, 0), ({"a": 2}, 0)][:n_learned], ({"a": 3}, 1)]
    for record, target in records:
        reference.learn_one(record, target)
    reference.count_rejected(1)
    assert state_bytes(committed()) == state_bytes(reference)


@pytest.mark.parametrize("outcome_first", [True, False])
def test_of_an_outcome_and_its_expiry_the_first_in_the_stream_counts(client, create, drain, outcome_first):
    create(featurizer="fields")
    ask(client, "one")
    drain()
    entries = [{"outcome": "one", "target": "1"}, {"outcome": "one", "expired": "1", "target": "0"}]
    for fields in entries if outcome_first else [*entries[::-1], entries[1]]:
        client.xadd(KEYS.examples, fields)
    owner = drain()
    assert (owner.model.n_examples, owner.model.n_rejected) == (1, 0 if outcome_first else 1)
    assert (figures(client)["expired"], kept(client)) == (0 if outcome_first else 1, {})


def test_an_expiry_is_added_once_though_the_worker_dies_before_the_commit(client, create, own, drain):
    create(featurizer="fields")
    Store(client, "m").set({"keep_predictions": "1h"})
    ask(client, "one")
    first = drain()
    age(client, "one")
    first = own(lease_seconds=0.1)
    expiring = keeping.Expiring(first.keeping, first.answering.clock, b"0-0")
    assert [expiring.expire(), expiring.expire()] == [True, False]
    first.owning.close()
    last = client.xinfo_stream(KEYS.examples)["last-generated-id"]
    second = own()
    expiring = keeping.Expiring(second.keeping, second.answering.clock, last)
    assert expiring.expire() is False
    second.run(burst=True)
    assert (figures(client)["expired"], client.xlen(KEYS.examples), kept(client)) == (1, 1, {})


def test_it_waits_while_nobody_learns_and_outlives_a_repair(client, create, own, drain):
    create(featurizer="fields")
    push(client, '{"a": 1}', 1)
    ask(client, "one")
    drain()
    owner = own(lease_seconds=0.1)
    repair(owner.store, "forget")
    owner.owning.close()
    tell(client, "one")
    assert (drain().model.n_examples, kept(client)) == (
        2,
        {},
    )  # the last entry learned stays in the stream: it comes again


# ---- a worker that dies ----
def test_what_was_learned_but_not_committed_is_learned_again_to_the_same_bits(client, create, own, drain, committed):
    reference = create(featurizer="fields")
    names = [f"{i}" for i in range(40)]
    for i, name in enumerate(names):
        ask(client, name, json.dumps({"a": i, "b": f"w{i % 7}"}))
    drain()
    answers = {name: decode_kept(data) for name, data in kept(client).items()}
    for i, name in enumerate(names[:30]):
        tell(client, name, i % 2)
        tell(client, name, 1)
        client.xadd(KEYS.examples, {"outcome": names[39 - i // 3], "expired": "1", "target": "0"})
    dying = own(lease_seconds=0.1)
    entries = dying.keeping.found(client.xrange(KEYS.examples))
    for start in range(0, 90, 7):  # it dies after any of these, with nothing committed
        dying.learning.learn(entries[start : start + 7])
    dying.owning.close()
    assert set(kept(client)) == set(answers)
    drain()
    done = set()
    for i, name in enumerate(names[:30]):
        for each, target in ((name, i % 2), (names[39 - i // 3], 0)):
            if each not in done:
                reference.learn_packed(pack_example(target, answers[each.encode()].features))
                done.add(each)
    assert state_bytes(committed()) == state_bytes(reference) == state_bytes(dying.model)
    found = figures(client)
    assert (found["answered_examples"], found["answered_loss"]) == (40, dying.learning.answered.mean)
    assert (found["expired"], found["rejected"], kept(client)) == (10, 0, {})


class Killed(BaseException):
    """What a worker dies of."""


@pytest.fixture
def killed_at(monkeypatch):
    """Have this process's workers die at a command, before or after it is sent; returns how many were sent until then."""
    send = Connection.send_packed_command
    place, n_sent = math.inf, 0

    def counted(self, *arguments, **options):
        nonlocal n_sent
        if threading.current_thread().name == "heartbeat":
            return send(self, *arguments, **options)
        n_sent += 1
        if n_sent > place:
            raise Killed
        done = send(self, *arguments, **options)
        if n_sent > place - 0.5:
            self.disconnect()
            raise Killed
        return done

    def run(owner, at: float) -> int:
        nonlocal place, n_sent
        with monkeypatch.context() as patch:
            place, n_sent = at, 0
            patch.setattr(Connection, "send_packed_command", counted)
            with contextlib.suppress(Killed):
                owner.run(burst=True)
        owner.owning.close()
        return n_sent

    return run


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # of a pipeline that says UNWATCH
def test_a_worker_may_die_before_or_after_every_command(client, create, own, drain, committed, killed_at, seed):
    """The seed says whether before or after."""
    create(featurizer="fields")
    Store(client, "m").set({"keep_predictions": "1h", "default_outcome": "0"})
    for i in range(3):
        ask(client, f"{i}", json.dumps({"a": i}))
    drain()
    age(client, "2")
    tell(client, "0", 1)
    tell(client, "0", 0)
    tell(client, "unknown", 0)
    ask(client, "new", '{"a": 9}')
    scene = {key: client.dump(key) for key in client.keys("*")}
    states, n_answers, at = set(), set(), 0.5 + seed % 2 / 2
    while True:
        client.flushall()
        for key, data in scene.items():
            client.restore(key, 0, data)
        n_sent = killed_at(own(), at)
        if name := client.hget(KEYS.owner, "process"):  # it is dead, and no process of that name lives
            client.hset(KEYS.owner, "process", name.rpartition(b" ")[0] + b" 1")
        if client.llen(REPLIES) > 3:  # whoever has the answer can rely on it
            assert b"new" in kept(client)
        drain()
        for name in ("new", "1", "new"):
            tell(client, name)
        drain()
        found = figures(client)
        assert (found["examples"], found["rejected"], found["expired"], found["answered_examples"]) == (4, 1, 1, 4)
        assert (len(rejected(client)), kept(client)) == (1, {})
        states.add(hash(tuple(state_bytes(committed()).items())))
        n_answers.add(client.llen(REPLIES))
        if n_sent < at:
            break
        at += 1
    assert (len(states), n_answers, at > 15) == (1, {4}, True)


def test_answers_are_kept_while_a_worker_only_answers(client, create, serving):
    create(featurizer="fields")
    client.delete(KEYS.examples)
    client.set(KEYS.examples, "no stream")
    with serving():
        reply = Client("m", url(client)).ask({"record": '{"a": 1}', "outcome_id": "one"})
        assert "notice" in reply
        assert set(kept(client)) == {b"one"}


# ---- bounds, and hostile input ----
def test_more_than_the_bounds_are_refused(client, create, drain, monkeypatch):
    create(featurizer="fields")
    monkeypatch.setattr(keeping, "MAX_KEPT", 3)
    for i in range(5):
        ask(client, f"{i}")
    drain()
    assert ["error" in reply for reply in replies(client)] == [False] * 3 + [True] * 2
    tell(client, "0")
    drain()
    monkeypatch.setattr(keeping, "MAX_KEPT_BYTES", 200)
    ask(client, "5")
    ask(client, "6", json.dumps({"c": "x" * 200}))
    monkeypatch.setattr(keeping, "MAX_ANSWER_BYTES", 250)
    ask(client, "7", json.dumps({"c": "x" * 240}))
    drain()
    assert [reply.get("error", "")[:20] for reply in replies(client)] == [
        "",
        "answers that wait fo",
        "features of a reques",
    ]
    assert set(kept(client)) == {b"1", b"2", b"5"}
    Store(client, "m").set({"keep_predictions": 0})
    ask(client, "8")
    drain()
    assert "keep_predictions is 0" in replies(client)[0]["error"]
    assert (kept(client), figures(client)["expired"]) == ({}, 3)


def test_hostile_names_are_names_or_refused(client, create, drain):
    create(featurizer="fields")
    names = [bytes(range(256)), b"}:{", b"../spec", b"\r\nSET x 1\r\n", b"*"]
    for name in [*names, b"", b"x" * 257]:
        ask(client, name)
    client.xadd(KEYS.requests, {"records": b"\x81\xa1a\x01", "reply": REPLIES, "outcome_id": "many"})
    drain()
    errors = [reply["error"] for reply in replies(client) if "error" in reply]
    assert sorted(errors) == [
        "outcome_id must have 1 to 256 bytes (got 0)",
        "outcome_id must have 1 to 256 bytes (got 257)",
        "request with outcome_id must ask for one prediction, by record or features (it asks for many)",
    ]
    assert set(kept(client)) == set(names)
    for name in names:
        tell(client, name)
    assert (drain().model.n_examples, kept(client)) == (5, {})


@pytest.mark.parametrize(
    "junk", [b"", b"\xc1", b"\x92\x01", b"\x92\xa1x\xc4\x01\x80", b"\x92\x81\xa1x\xa1y\xc4\x01\x80"]
)
def test_an_answer_that_was_damaged_counts_as_none(client, create, drain, junk):
    create(featurizer="fields")
    ask(client, "one")
    drain()
    client.set(KEYS.kept_answer(b"one"), junk)
    tell(client, "one")
    assert drain().model.n_rejected == 1
    Store(client, "m").set({"keep_predictions": "1h"})
    age(client, "one")
    drain()
    assert client.zcard(KEYS.kept) == 0


def test_outcomes_of_large_answers_are_fetched_a_few_at_a_time(client, create, own, drain, monkeypatch):
    create(featurizer="fields")
    monkeypatch.setattr(keeping, "READ_BYTES", 1000)
    for i in range(60):
        ask(client, f"{i}", json.dumps({"c": "x" * 100, "i": i}))
    drain()
    for i in range(60):
        tell(client, f"{i}", i % 2)
    owner = own()
    entries = client.xrange(KEYS.examples)
    assert [len(owner.keeping.found(part)) for part in (entries, entries[:20], entries[:3])] == [32, 20, 3]
    owner.run(burst=True)
    assert (owner.model.n_examples, kept(client)) == (60, {})


# ---- clients, commands, roles ----
def test_each_role_does_its_part(client, roles, serving):
    from learner.service.store.connection import client as connect
    from worker import Worker

    with connect(roles["asker"]) as asker, connect(roles["producer"]) as producer, connect(roles["worker"]) as worker:

        def work() -> None:
            owner = Worker(Store(worker, "m"), 1000.0, held_seconds=math.inf)
            assert owner.wait_to_own()
            owner.run(burst=True)
            owner.owning.close()

        for name in ("one", "two"):
            asker.xadd(KEYS.requests, {"record": '{"a": 1}', "reply": REPLIES, "outcome_id": name})
        work()
        assert "error" not in json.loads(asker.blpop([REPLIES], 5)[1])
        producer.xadd(KEYS.examples, {"outcome": "one", "target": "1"})
        client.hset(KEYS.settings, "keep_predictions", "1h")
        age(client, "two")
        work()
        work()
        for user in (asker, producer):
            with pytest.raises(redis.exceptions.NoPermissionError):
                user.get(KEYS.kept_answer(b"two"))
    with connect(roles["monitor"]) as monitor:
        status = Store(monitor, "m").status()
    assert (status["progress"]["examples"], status["progress"]["expired"], status["kept"]) == (1, 1, 0)


def test_a_worker_whose_access_rules_are_older_keeps_nothing_and_says_so(client, roles):
    from learner.service.store.acl import set_user
    from learner.service.store.connection import client as connect
    from tests.reliability.roles import PASSWORD
    from worker import Worker

    rule = [part for part in set_user("m", "worker", PASSWORD) if KEYS.kept not in part]
    client.execute_command(*rule)
    ask(client, "one")
    with connect(roles["worker"]) as worker:
        owner = Worker(Store(worker, "m"), 1000.0, held_seconds=math.inf)
        assert owner.wait_to_own()
        with pytest.raises(StoreError, match="renew them with 'learner acl m'"):
            owner.run(burst=True)
        owner.owning.close()
    assert (replies(client), kept(client)) == ([], {})
    assert client.xlen(KEYS.requests) == 1


def test_clients_ask_and_tell(client, redis_url, create, serving, drain):
    create(featurizer="fields")
    blocking = Client("m", redis_url)

    async def both() -> None:
        async with AsyncClient("m", redis_url) as asking:
            await asking.predict({"a": 1}, outcome_id="one")
            await asking.predict_proba({"a": 1}, outcome_id="two")
            await asking.outcome("one", True)
            assert await asking.outcomes([("two", 0), ("three", 1, 2.0)]) == 2

    with serving():
        blocking.predict_label({"a": 1}, outcome_id="three")
        blocking.explain(features={"a": 1.0}, outcome_id="four")
        asyncio.run(both())
        blocking.outcome("four", 1)
        assert blocking.outcomes(("four", i) for i in (1, 0)) == 2
    owner = drain()
    assert (owner.model.n_examples, owner.model.n_rejected) == (4, 0)
    for name, target in (("", 1), ("x" * 257, 1), (7, 1), ("a", None), ("a", [1])):
        with pytest.raises(ExampleError):
            blocking.outcome(name, target)
    with pytest.raises(LearnerError, match="does not exist"):
        Client("nobody", redis_url).outcome("one", 1)


# ---- keys that hold something else ----
@pytest.mark.parametrize(
    ("key", "value"), [(KEYS.kept, "x"), (KEYS.kept_bytes, "x"), (KEYS.kept_bytes, ["x"]), (KEYS.kept, ["x"])]
)
def test_what_somebody_wrote_over_the_index_ends_neither_learning_nor_answering(client, create, drain, key, value):
    create(featurizer="fields")
    ask(client, "one")
    drain()
    client.delete(key)
    client.set(key, value) if isinstance(value, str) else client.rpush(key, *value)
    replies(client)
    ask(client, "two")
    push(client, '{"a": 1}', 1)
    tell(client, "one")
    owner = drain()
    assert (owner.model.n_examples, owner.model.n_rejected) == (2, 0)
    assert "must hold a sorted set and a number" in replies(client)[0]["error"]
    assert client.hget(KEYS.head, "commits") == b"1"
    assert Store(client, "m").status()["kept"] == (None if key == KEYS.kept else 0)
    client.delete(key)
    ask(client, "two")
    drain()
    assert "error" not in replies(client)[0]


def test_sizes_that_are_gone_count_from_nothing(client, create, drain):
    create(featurizer="fields")
    ask(client, "one")
    drain()
    client.delete(KEYS.kept_bytes)
    ask(client, "one")
    tell(client, "one")
    owner = drain()
    assert ([("error" in reply) for reply in replies(client)], owner.model.n_examples) == ([False, False], 1)


@pytest.mark.parametrize("tasks", [("binary", "multiclass"), ("multiclass", "regression")])
def test_an_answer_of_another_kind_of_model_counts_as_none(client, create, drain, tasks):
    create(featurizer="fields", task=tasks[0])
    ask(client, "one")
    drain()
    client.delete(KEYS.spec, KEYS.head, KEYS.examples, KEYS.requests, *client.keys(KEYS.state + "*"))
    create(featurizer="fields", task=tasks[1])
    tell(client, "one")
    owner = drain()
    assert (owner.model.n_examples, owner.model.n_rejected) == (0, 1)
