"""Answerers as processes: killed, frozen, stopped, under their access rules, on a cluster."""

import json
import signal

import redis

from learner.client import Client
from learner.model import Model
from learner.service.store import Store
from learner.service.store.acl import set_user
from learner.service.store.connection import client as connect
from learner.service.wire import Keys
from tests.clusters import slot_of
from tests.conftest import SEED, wait_until
from tests.processes.test_hanging import HANGING
from tests.reliability.roles import PASSWORD, url_of
from tests.streams import KEYS

ANSWER = """
import learner.service.hanging
learner.service.hanging.RECORD_SECONDS = 0.3
from learner.commands.answer import answer
answer()
"""


def begin(start, url, *arguments, name="m"):
    """Start an answerer, and wait until it answers."""
    process = start(url, "answer", name, *arguments)
    process.hello = next(line for line in process.stderr if "compil" not in line)
    assert "answers from commit" in process.hello, process.hello
    return process


def end(process):
    """Stop a process; returns its exit code and what it printed."""
    process.terminate()
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def test_a_killed_and_a_frozen_answerer_lose_no_question_and_the_last_one_stops_in_order(
    client, redis_url, create, start
):
    create(featurizer="fields")
    killed, frozen, last = (begin(start, redis_url, *arguments) for arguments in ((), (), ("--json",)))
    reply = KEYS.replies + "me"
    for i in range(300):
        client.xadd(KEYS.requests, {"record": '{"a": 1}', "reply": reply, "id": str(i)})
        if i == 100:
            killed.kill()
        if i == 150:
            frozen.send_signal(signal.SIGSTOP)
    wait_until(lambda: client.llen(reply) == 300)
    frozen.send_signal(signal.SIGCONT)
    client.xadd(KEYS.requests, {"record": '{"a": 1}', "reply": reply, "id": "300"})
    wait_until(lambda: client.llen(reply) == 301)
    assert {json.loads(each)["id"] for each in client.lrange(reply, 0, -1)} == {str(i) for i in range(301)}
    assert client.xlen(KEYS.requests) == 0
    assert end(frozen)[0] == 0
    code, out, err = end(last)
    figures = json.loads(out)
    assert (code, figures["model"], figures["errors"]) == (0, "m", 0)
    assert 0 < figures["requests"] <= 301
    assert "stopped with code 0: asked to stop" in err
    assert Client("m", redis_url).keys.model == "m"
    states = [each["state"] for each in Store(client, "m").status()["answerers"]]
    assert sorted(states) == ["dead", "stopped", "stopped"]


def test_a_record_that_hangs_kills_three_answerers_and_is_refused(client, redis_url, create, start):
    create(featurizer=HANGING)
    reply = KEYS.replies + "me"
    client.xadd(KEYS.requests, {"record": json.dumps({"t": "a" * 60 + "!"}), "reply": reply, "id": "evil"})
    for _ in range(3):
        process = start(redis_url, "m", program=("-c", ANSWER))
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGPROF
    last = begin(start, redis_url)
    client.xadd(KEYS.requests, {"record": '{"t": "aaa"}', "reply": reply, "id": "good"})
    wait_until(lambda: client.llen(reply) == 2)
    evil, good = sorted((json.loads(each) for each in client.lrange(reply, 0, -1)), key=lambda each: each["id"])
    assert evil["error"] == "request must not kill the answerer (it did)"
    assert good["prediction"] == 0.5
    assert end(last)[0] == 0


def test_an_answerer_under_its_rules_does_its_work_beside_a_worker_under_its_own(client, roles, start, start_worker):
    worker = start_worker(roles["worker"], "m", "--commit-seconds", "0.05")
    answerer = begin(start, roles["answerer"])
    wait_until(lambda: client.hget(KEYS.owner, "answered_by"))
    asker, producer = Client("m", roles["asker"], timeout=20), Client("m", roles["producer"])
    assert 0.0 < asker.predict({"a": 1}, outcome_id="one") < 1.0
    producer.outcome("one", 1)
    producer.push_many([(i % 2, {"a": i}) for i in range(100)])
    wait_until(lambda: asker.ask({"features": '{"a": 1}'})["commit"] > 0)
    assert Store(connect(roles["monitor"]), "m").status()["answerers"][0]["lives"]
    client.xadd(KEYS.requests, {"features": "{}", "reply": "learner:{n}:replies:me"})
    assert 0.0 < asker.predict({"a": 1}) < 1.0
    assert not client.exists("learner:{n}:replies:me")
    with connect(roles["answerer"]) as connection:
        for words in (
            ["SET", KEYS.delta(1), "x"],
            ["HSET", KEYS.head, "commits", "9"],
            ["HSET", KEYS.owner, "answered_by", "x"],
            ["EVAL", "return redis.call('HSET', KEYS[1], 'worker', 'me')", "1", KEYS.owner],
            ["XADD", KEYS.examples, "*", "learn", "held"],
        ):
            try:
                connection.execute_command(*words)
            except redis.ResponseError as error:
                assert "permission" in str(error) or "NOPERM" in str(error), (words, error)  # noqa: PT017
            else:
                raise AssertionError(words)
    code, _, err = end(answerer)
    assert (code, [line for line in err.splitlines() if "level=info" not in line and "unanswered" not in line]) == (
        0,
        [],
    )
    wait_until(lambda: not client.hget(KEYS.owner, "answered_by"))
    assert 0.0 < asker.predict({"a": 1}) < 1.0
    code, _, err = end(worker)
    assert (code, "\n".join(line for line in err.splitlines() if "level=info" not in line)) == (0, "")


def test_answerers_work_on_a_cluster_where_the_slot_moves(cluster, start, start_worker):
    keys, name = Keys("answered"), "answered"
    with connect(cluster.url) as client:
        store = Store(client, name)
        store.create(Model("binary", featurizer="fields", seed=SEED).to_spec())
    worker = start_worker(cluster.url, name, "--commit-seconds", "0.05")
    answerer = begin(start, cluster.url, name=name)
    asker = Client(name, cluster.url, timeout=30.0)
    with connect(cluster.url) as client:
        store = Store(client, name)
        wait_until(lambda: store.client.hget(keys.owner, "answered_by"))
        asker.push({"a": 1}, 1)
        wait_until(lambda: asker.ask({"features": '{"a": 1}'})["commit"] == 1)
        source = cluster.primary(name)
        target = next(node for node in cluster.primaries() if node is not source)
        cluster.move(slot_of(name), source, target)
        asker.push({"a": 1}, 1)
        wait_until(lambda: asker.ask({"features": '{"a": 1}'})["commit"] >= 2)
    assert end(answerer)[0] == 0
    assert end(worker)[0] == 0


def test_a_model_that_is_not_there_ends_an_answerer_in_words(redis_url, start):
    process = start(redis_url, "answer", "nothing")
    _, err = process.communicate(timeout=30)
    assert (process.returncode, "does not exist" in err) == (2, True)


def test_older_access_rules_are_named(client, roles, start):
    rule = [part for part in set_user("m", "answerer", PASSWORD) if KEYS.answerers not in part]
    client.execute_command(*rule)
    process = start(url_of(roles["asker"], "m", "answerer"), "answer", "m")
    _, err = process.communicate(timeout=30)
    assert (process.returncode, "permission" in err.lower()) == (2, True), err
