"""Answers on a real server: what they say, where they go, and which requests are refused."""

import json
import threading
import time

import pytest
import redis

from learner.client import Client, conversations
from learner.errors import LearnerError
from learner.packing import pack
from learner.service import answering, replying, strays
from learner.service.store import Store, requests
from learner.service.store.connection import client as connect
from learner.service.store.stream import Stream
from learner.service.wire import REPLIES
from tests.conftest import state_bytes, wait_until
from tests.streams import KEYS, rejected


def ask(client: redis.Redis, reply: str = "learner:replies:me", **fields) -> dict:
    client.xadd(KEYS.requests, {**fields, "reply": reply})
    popped = client.blpop([reply], timeout=10)
    assert popped, "no answer came"
    return json.loads(popped[1])


def replies(client, key="me"):
    return [json.loads(reply) for reply in client.lrange(REPLIES + key, 0, -1)]


def test_an_explanation_adds_up_to_its_score(client, create, serving):
    create(featurizer="email")
    client.xadd(KEYS.examples, {"record": '{"address": "abc@gmail.com"}', "target": "1"})
    with serving():
        wait_until(lambda: client.hget(KEYS.head, "entries") == b"1")
        reply = ask(client, record='{"address": "xyz@gmail.com"}', explain="1")
    assert sum(row[-1] for row in reply["contributions"]) == pytest.approx(reply["score"], abs=1e-6)
    assert {"contains_@", "(constant)"} <= {row[0] for row in reply["contributions"]}


def test_an_idle_worker_sends_its_next_read_along_with_its_replies(client, create, serving, monkeypatch):
    create()
    read, sent_before = Stream.read, []

    def noting(self, *args):
        sent_before.append(self._link.line.is_open)
        return read(self, *args)

    monkeypatch.setattr(Stream, "read", noting)
    with serving():
        for number in range(5):
            assert ask(client, features='{"a": 1}', id=number)["id"] == str(number)
        client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": "1"})
        wait_until(lambda: client.hget(KEYS.head, "entries") == b"1")
        assert ask(client, features='{"a": 1}')["score"] > 0
    assert sum(sent_before) >= 5


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
        "learner:models",
        KEYS.spec,
        KEYS.owner,
        KEYS.examples,
        KEYS.requests,
        KEYS.workers,
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


@pytest.mark.parametrize("after", [False, True])
def test_a_request_is_answered_once_though_the_connection_was_lost(client, create, own, monkeypatch, after):
    create()
    owner = own(commit_seconds=0.0)
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


def test_a_request_past_its_deadline_is_refused_and_one_before_it_answered(client, create, drain):
    create()
    now = int(Store(client, "m").requests.now_ms())
    for i, (age, given) in enumerate([(10_000, "5000"), (9_000, "60000"), (8_000, "soon"), (7_000, None)]):
        fields = {"record": "{}", "reply": REPLIES + "me", "id": str(i)}
        client.xadd(KEYS.requests, fields | ({"deadline_ms": given} if given else {}), id=f"{now - age}-0")
    drain()
    late, *answered = replies(client)
    assert late["id"] == "0"
    assert "request must be answered within its deadline_ms (it is 5" in late["error"]
    assert [reply.get("prediction") for reply in answered] == [0.5] * 3
    assert client.xlen(KEYS.requests) == 0


def test_when_too_many_wait_the_oldest_are_refused_and_all_get_an_answer(client, create, drain, monkeypatch):
    create()
    monkeypatch.setattr(answering, "MAX_WAITING", 30)
    for i in range(100):
        client.xadd(KEYS.requests, {"record": "{}", "reply": REPLIES + "me", "id": str(i)})
    drain()
    found = replies(client)
    assert [reply["id"] for reply in found] == [str(i) for i in range(100)]
    errors = ["error" in reply for reply in found]
    assert errors[16:70] == [True] * 54  # those read before it was known how many there are were answered
    assert errors[70:] == [False] * 30
    assert "requests that wait must be at most 30" in found[50]["error"]


def test_more_requests_than_can_be_refused_are_dropped(client, create, drain, monkeypatch):
    create()
    monkeypatch.setattr(answering, "MAX_REQUESTS", 200)
    pipe = client.pipeline(transaction=False)
    for i in range(2000):
        pipe.xadd(KEYS.requests, {"record": "{}", "reply": REPLIES + "me", "id": str(i)})
    pipe.execute()
    drain()
    found = [int(reply["id"]) for reply in replies(client)]
    assert found[-200:] == list(range(1800, 2000))
    assert len(found) < 1000
    assert client.xlen(KEYS.requests) == 0


def test_while_examples_wait_answers_take_no_longer_than_learning(client, create, own, monkeypatch):
    create()
    for _ in range(50):
        client.xadd(KEYS.requests, {"record": "{}", "reply": REPLIES + "me"})
    queue = own().answering
    _, requests = queue.store.stream.read(b"0-0", b"0-0", 100, 100, None)
    queue.waiting.extend(requests)
    monkeypatch.setattr(queue, "reply", lambda fields: time.sleep(0.002) or {})
    queue.answer(examples_wait=True)
    assert len(queue.waiting) == 50
    queue.credit = 0.01
    queue.answer(examples_wait=True)
    assert 40 <= len(queue.waiting) < 50
    assert queue.credit <= 0.0
    for _ in range(20):  # each for a while
        queue.answer(examples_wait=False)
    assert not queue.waiting


def test_replies_that_nobody_fetches_are_bounded(client, create, drain, monkeypatch):
    create()
    monkeypatch.setattr(requests, "MAX_REPLIES", 10)
    for i in range(50):
        client.xadd(KEYS.requests, {"record": "{}", "reply": REPLIES + "me", "id": str(i)})
    drain()
    assert [reply["id"] for reply in replies(client)] == [str(i) for i in range(40, 50)]


def test_a_reply_key_or_an_id_without_end_is_cut(client, create, drain):
    create()
    client.xadd(KEYS.requests, {"record": "{}", "reply": REPLIES + "x" * 500})
    client.xadd(KEYS.requests, {"record": "{}", "reply": REPLIES + "me", "id": "y" * 500})
    drain()
    assert [reply["id"] for reply in replies(client)] == ["y" * 256]
    assert client.keys(REPLIES + "x*") == []


# ---- what a reply says of fields ----
@pytest.mark.parametrize("options", [{}, {"task": "multiclass"}, {"optimizer": "sgd"}, {"neural": [5, 4]}])
def test_fields_that_count_for_nothing_are_named_in_a_single_reply(client, create, serving, options):
    create(featurizer="fields", **options)
    with serving() as worker:
        for y in (0, 1, 1):
            worker.model.learn_one({"price": 2.0, "city": "Rome", "tags": ["new"], "shop": {"size": 3}}, y)
        worker.model.learn_held()
        known = ask(
            client, record='{"price": 7, "city": "Rome", "tags": ["old", "new"], "shop": {"size": 1, "age": 2}}'
        )
        some = ask(
            client, record='{"pirce": 7, "city": "Oslo", "tags": ["old"], "none": null, "shop": {"age": 2}, "price": 1}'
        )
        explained = ask(client, record='{"pirce": 7}', explain="1")
        many = ask(client, records=pack({"pirce": 7}))
        features = ask(client, features='{"pirce": 7}')
    assert "unknown_fields" not in known
    assert some["unknown_fields"] == ["pirce", "city", "tags", "none", "shop"]
    assert explained["unknown_fields"] == ["pirce"]
    assert not {"unknown_fields"} & (many.keys() | features.keys())


def test_a_model_that_knows_nothing_names_every_field(client, create, serving):
    create(task="multiclass", featurizer="fields")
    with serving():
        assert ask(client, record='{"a": 1, "b": "x"}')["unknown_fields"] == ["a", "b"]


def test_other_featurizers_name_no_fields(client, create, serving):
    create(featurizer="email")
    with serving():
        assert "unknown_fields" not in ask(client, record='{"address": "a@b.de", "other": 1}')


# ---- replies that can't be sent ----
def test_a_reply_key_that_may_not_be_written_to_is_named_once(client, create, drain, capsys):
    create()
    client.set(REPLIES + "string", "1")
    for _ in range(3):
        for to in ("precious", REPLIES + "string"):
            client.xadd(KEYS.requests, {"record": "{}", "reply": to})
    drain()
    first, second, _ = capsys.readouterr().err.splitlines()
    rule = "it must start with learner:{m}:replies: or learner:replies: and have at most 256 bytes"
    assert f"worker of m: requests with reply 'precious' have no answer: {rule}" in first
    assert (
        "requests with reply 'learner:replies:string' have no answer: it could not be written to (WRONGTYPE" in second
    )


def test_a_model_s_own_keys_for_replies_are_written_to_no_other_model_s(client, create, serving):
    create()
    with serving():
        client.xadd(KEYS.requests, {"record": "{}", "reply": "learner:{n}:replies:me"})
        assert ask(client, reply="learner:{m}:replies:me", record="{}")["prediction"] == 0.5
    assert not client.exists("learner:{n}:replies:me")


def test_a_reply_on_a_key_that_all_models_share_names_its_model(client, create, serving):
    create()
    with serving():
        assert ask(client, reply="learner:replies:me", record="{}", id="7")["model"] == "m"
        assert "model" not in ask(client, reply="learner:{m}:replies:me", record="{}")


def test_a_key_that_access_rules_keep_from_the_worker_costs_only_its_own_reply(client, roles, capsys):
    client.execute_command("ACL", "SETUSER", "m-worker", "clearselectors", "nocommands", "+@all", "%RW~learner:{m}:*")
    client.execute_command("ACL", "SETUSER", "m-worker", "%RW~learner:replies:me")
    store = Store(connect(roles["worker"]), "m")
    ids = [client.xadd(KEYS.requests, {"record": "{}", "reply": REPLIES + to}) for to in ("me", "other", "me")]
    keys = [f"{REPLIES}{to}".encode() for to in ("me", "other", "me")]
    answers = [requests.Answer(request_id, key, b"{}") for request_id, key in zip(ids, keys, strict=True)]
    first, second, third = store.requests.answer(answers)
    assert b"permissions" in second
    assert (first, third) == (1, 2)
    assert client.llen(REPLIES + "me") == 2
    assert client.xlen(KEYS.requests) == 0


# ---- streams that nobody reads ----
def test_a_stream_that_belongs_to_no_model_is_named_once(client, create, serving, monkeypatch, capsys):
    create()
    create("n")
    monkeypatch.setattr(strays, "LOOK_SECONDS", 0.0)
    for key in ("learner:m:examples", "learner:{spma}:examples", "learner:{n}:examples", "other:stream"):
        client.xadd(key, {"record": "{}", "target": "1"})
    with serving():
        for i in range(5):
            ask(client, record="{}", id=str(i))
    lines = [line for line in capsys.readouterr().err.splitlines() if "event=stray" in line]
    first, second = sorted(lines, key=lambda line: line.partition("message=")[2])
    unread = "belongs to no model, so nobody reads it"
    assert f"worker of m: stream 'learner:m:examples' {unread}: keys are named learner:{{MODEL}}:examples" in first
    assert f"worker of m: stream 'learner:{{spma}}:examples' {unread}: model 'spma' does not exist" in second


def test_a_worker_that_may_not_scan_looks_at_no_other_streams(client, roles, own):
    looking = strays.Strays(Store(connect(roles["worker"]), "m"))
    client.xadd("learner:m:examples", {"a": 1})
    looking.look_if_due()
    assert looking._due == float("inf")


def test_requests_are_bounded_without_a_worker_too(client, redis_url, create, monkeypatch):
    monkeypatch.setattr(conversations, "MAX_REQUESTS", 50)
    create()
    for _ in range(400):
        client.xadd(KEYS.requests, {"features": "{}"})
    with pytest.raises(LearnerError, match="no worker runs"):
        Client("m", redis_url, timeout=0.01).predict(features={})
    assert client.xlen(KEYS.requests) < 200  # the server drops a hundred at a time


# ---- work in parts -----------------------------------------------------------------------------------------------------------
def queue_of(own, *requests):
    """Have a worker's queue read requests; return it."""
    queue = own().answering
    queue.is_left = False
    for fields in requests:
        queue.store.client.xadd(KEYS.requests, fields)
    queue.waiting.clear()
    _, entries = queue.store.stream.read(b"0-0", b"0-0", 1000, 1000, None)
    return queue, entries


def slowly(queue, monkeypatch, seconds):
    """Have each answer of a queue's model take so long; return the list of those given."""
    answer, given = queue.model.answer, []

    def slow(packed, explain=False):
        time.sleep(seconds)
        given.append(packed)
        return answer(packed, explain)

    monkeypatch.setattr(queue.model, "answer", slow)
    monkeypatch.setattr(queue.model, "answer_each", lambda packed: map(slow, packed))
    return given


def test_what_was_answered_in_the_middle_of_learning_is_not_answered_again(client, create, own):
    """The loop may have read the same requests before that."""
    create()
    queue, entries = queue_of(own, *({"record": "{}", "reply": REPLIES + "me", "id": str(i)} for i in range(5)))
    queue.take(entries[:3], more=False, examples_wait=False)
    queue.take(entries, more=False, examples_wait=False)
    assert [reply["id"] for reply in replies(client)] == ["0", "1", "2", "3", "4"]


def test_a_look_for_requests_that_failed_is_not_repeated_before_the_loop_has_reached_the_server(
    create, own, monkeypatch
):
    """Each would wait for the timeout, at every entry."""
    create()
    queue, _ = queue_of(own)
    monkeypatch.setattr(answering, "MEANWHILE_SECONDS", -1.0)
    assert queue.is_due

    def away(after):
        raise redis.TimeoutError

    monkeypatch.setattr(queue.store.stream, "read_requests", away)
    with pytest.raises(redis.TimeoutError):
        queue.meanwhile()
    assert not queue.is_due
    queue.answer(examples_wait=False)
    assert queue.is_due
    assert queue.credit >= 0.0


def test_one_question_is_answered_before_a_request_for_many_goes_on(client, create, own, monkeypatch):
    create()
    huge = {"batch": b"\x80" * 200, "reply": REPLIES + "me", "id": "huge"}
    queue, entries = queue_of(own, huge, {**huge, "id": "also"}, {"record": "{}", "reply": REPLIES + "me", "id": "one"})
    slowly(queue, monkeypatch, 0.001)
    queue.take(entries[:2], more=False, examples_wait=False)
    assert (replies(client), len(queue.many)) == ([], 2)
    assert all(0.0 < asked.reply.seconds < 0.5 for asked in queue.many)  # both had turns
    small = client.xadd(KEYS.requests, {"batch": b"\x80" * 5, "reply": REPLIES + "me", "id": "small"})
    queue.take([*entries[2:], *client.xrange(KEYS.requests, small)], more=False, examples_wait=False)
    while len(replies(client)) < 2:  # on a busy machine one take may be over before the second one has its turn
        queue.answer(examples_wait=False)
    assert [reply["id"] for reply in replies(client)] == ["one", "small"]
    assert client.xlen(KEYS.requests) == 2  # the large ones
    while not queue.is_idle:
        queue.answer(examples_wait=False)
    assert {reply["id"] for reply in replies(client)[2:]} == {"huge", "also"}
    assert [len(reply["predictions"]) for reply in replies(client)[1:]] == [5, 200, 200]
    assert client.xlen(KEYS.requests) == 0


def test_questions_for_one_do_not_keep_those_for_many_waiting_for_ever(client, create, own, monkeypatch):
    create()
    many = {"batch": b"\x80" * 50, "reply": REPLIES + "many"}
    queue, entries = queue_of(own, many, *[{"record": "{}", "reply": REPLIES + "one"} for _ in range(400)])
    slowly(queue, monkeypatch, 0.001)
    queue.take(entries, more=False, examples_wait=False)
    while not replies(client, "many"):
        queue.answer(examples_wait=False)
    assert queue.waiting


def test_explanations_end_at_the_first_that_does_not_fit(client, create, own, monkeypatch):
    create()
    names = {f"x{i}": 1.0 for i in range(300)}
    client.xadd(KEYS.examples, {"batch": pack([1, names])})
    features = pack(names)
    request = {"batch": features * 1000, "explain": "1", "reply": REPLIES + "me"}
    queue, entries = queue_of(own, request)
    given = slowly(queue, monkeypatch, 0.0)
    queue.take(entries, more=False, examples_wait=False)
    while not queue.is_idle:
        queue.answer(examples_wait=False)
    (reply,) = replies(client)
    n = replying.MAX_EXPLAINED // 301
    assert [len(rows) for rows in reply["contributions"][:n]] == [301] * n
    assert reply["contributions"][n:] == [None] * (1000 - n)
    assert len(given) == n + 1


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"deadline_ms": "150"}, "request must be answered within its deadline_ms"),
        ({}, "request must take at most 0.05 s of work (it took more)"),
    ],
)
def test_deadline_and_work_are_looked_at_between_the_parts_of_a_request(
    client, create, own, monkeypatch, fields, reason
):
    monkeypatch.setattr(replying, "REQUEST_SECONDS", 1000.0 if fields else 0.05)
    create()
    queue, entries = queue_of(own, {"batch": b"\x80" * 10_000, "reply": REPLIES + "me", **fields})
    given = slowly(queue, monkeypatch, 0.001)
    queue.take(entries, more=False, examples_wait=False)
    while not queue.is_idle:
        queue.answer(examples_wait=False)
    (reply,) = replies(client)
    assert reason in reply.get("error", reply.get("errors", {}).get("9999"))
    assert len(given) < 1000
    assert ("error" in reply) or reply["predictions"][0] == 0.5


def test_a_reply_has_at_most_so_many_probabilities(client, create, drain, monkeypatch):
    monkeypatch.setattr(replying, "MAX_PROBABILITIES", 5)
    create(labels=["ham", "spam"])
    client.xadd(KEYS.requests, {"batch": b"\x80" * 4, "probabilities": "1", "reply": REPLIES + "me"})
    drain()
    (reply,) = replies(client)
    assert [len(each or ()) for each in reply["probabilities"]] == [2, 2, 0, 0]
    assert "probabilities must be at most 5 in a reply" in reply["errors"]["2"]


def test_requests_for_many_that_wait_are_bounded_in_bytes(client, create, own, monkeypatch):
    monkeypatch.setattr(answering, "MAX_MANY_BYTES", 600)
    create()
    many = {"batch": b"\x80" * 200, "reply": REPLIES + "me"}
    queue, entries = queue_of(own, *[{**many, "id": str(i)} for i in range(4)])
    slowly(queue, monkeypatch, 0.001)
    queue.take(entries[:2], more=False, examples_wait=False)
    queue.take(entries[2:], more=False, examples_wait=False)
    assert {reply["id"] for reply in replies(client)} <= {"0", "1"}  # those that took most work
    while not queue.is_idle:
        queue.answer(examples_wait=False)
    refused = [reply for reply in replies(client) if "error" in reply]
    assert len(refused) == 2
    assert "requests for many that wait must be at most 10000, and 600 bytes" in refused[0]["error"]


def test_in_the_middle_of_learning_requests_come_without_a_round_trip(create, own, client, monkeypatch):
    create()
    queue, _ = queue_of(own)
    queue.credit = 1.0
    queue.meanwhile()  # the server is asked to tell of them
    monkeypatch.setattr(queue.store.stream, "read_requests", lambda after: pytest.fail("a round trip"))
    ids: list[str] = []
    for number in ("1", "2"):
        ids.append(number)
        client.xadd(KEYS.requests, {"features": "{}", "reply": REPLIES + "me", "id": number})
        wait_until(lambda: queue.meanwhile() or [reply["id"] for reply in replies(client)] == ids)
    assert not client.xlen(KEYS.requests)


def test_requests_are_answered_in_the_middle_of_a_large_entry(client, create, serving, monkeypatch):
    monkeypatch.setattr(answering, "MEANWHILE_SECONDS", 0.0)
    create(featurizer="fields")
    with serving() as owner:
        packing, began, go_on = owner.learning.pack, threading.Event(), threading.Event()

        def waiting(record):
            began.set()
            go_on.wait(0.02)
            return packing(record)

        owner.model.program, owner.learning.pack = None, waiting
        client.xadd(KEYS.examples, {"records": pack([1, {"a": 1}]) * 1000})
        began.wait(10)
        assert ask(client, record='{"a": 1}')["prediction"] == 0.5
        assert owner.model.n_examples == 0
        go_on.set()
        wait_until(lambda: owner.model.n_examples == 1000)


def test_an_answer_may_have_any_text_in_it(client, create, serving):
    create(featurizer="fields")
    with serving():
        reply = ask(client, record='{"a": 1, "\\ud800\\u009b": "x"}')
    assert reply.get("unknown_fields") or "surrogates" in reply["error"]
