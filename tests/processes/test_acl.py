"""The roles on a real server: each does its work under its own rules."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest
import redis
from click.testing import CliRunner

from learner.client import Client
from learner.commands import main
from learner.service.store import Store
from learner.service.store.acl import set_user
from learner.service.store.connection import client as connect
from learner.service.wire import Keys
from tests.conftest import wait_until
from tests.reliability.roles import PASSWORD


def test_each_role_does_its_work_through_our_own_programs(client, roles, start_worker, monkeypatch, tmp_path):
    worker = start_worker(roles["worker"], "m", "--commit-seconds", "0.05", "--held-seconds", "6")
    producer = Client("m", roles["producer"])
    producer.require_model()
    assert producer.push({"a": 1}, 1)
    assert producer.push_many([(i % 2, {"a": i}) for i in range(500)], max_lag=100) == 500
    wait_until(lambda: producer.lag() == 0)
    assert 0.0 < Client("m", roles["asker"], timeout=20).predict({"a": 1}) < 1.0
    assert Client("m", roles["asker"], timeout=20).explain({"a": 1})["contributions"]
    client.xadd(Keys("m").examples, {"record": "{", "target": "1"})
    wait_until(lambda: client.xlen(Keys("m").rejected) == 1)
    monitor = Store(connect(roles["monitor"]), "m")
    wait_until(lambda: monitor.status()["progress"]["held"] == 0)
    status = monitor.status()
    assert (status["progress"]["examples"], status["lag_entries"], status["rejected_kept"]) == (501, 0, 1)
    monkeypatch.setenv("REDIS_URL", roles["monitor"])
    picture = ["plot", "progress", "m", "--json", "--out", str(tmp_path / "p.png")]
    for arguments in [["status", "m", "--json"], *([picture] if find_spec("matplotlib") else [])]:
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        json.loads(result.stdout)
    worker.terminate()
    _, err = worker.communicate(timeout=20)
    assert (worker.returncode, err) == (0, "")


def test_a_worker_under_its_rules_goes_on_after_a_kill_and_puts_back_a_lost_commit(client, roles, start_worker):
    worker = start_worker(roles["worker"], "m", "--commit-seconds", "0.05")
    producer = Client("m", roles["producer"])
    producer.push_many([(1, {"a": i}) for i in range(1000)])
    wait_until(lambda: producer.lag() == 0)
    worker.kill()
    worker.wait()
    producer.push_many([(1, {"a": i}) for i in range(1000)])
    worker = start_worker(roles["worker"], "m", "--commit-seconds", "0.05")
    wait_until(lambda: producer.lag() == 0)
    worker.terminate()
    assert worker.wait(20) == 0
    assert client.hget(Keys("m").head, "cursor") == client.xinfo_stream(Keys("m").examples)["last-generated-id"]


def test_a_worker_whose_rules_miss_something_says_what(client, roles, start):
    command = set_user("m", "worker", PASSWORD)
    client.execute_command(*[part for part in command if "state" not in part])
    worker = start(roles["worker"], "worker", "m", "--burst")
    client.xadd(Keys("m").examples, {"record": "{}", "target": "1"})
    _, err = worker.communicate(timeout=30)
    assert worker.returncode == 2
    assert "permission" in err.lower()
    assert "Traceback" not in err


def test_a_worker_under_its_rules_answers_no_client_of_another_model(client, roles, create, start_worker):
    create("other")
    worker = start_worker(roles["worker"])
    elsewhere = ["learner:replies:me", "learner:{other}:replies:me"]
    with connect(roles["asker"]) as asker:
        for key in [*elsewhere, "learner:{m}:replies:me"]:
            asker.xadd(Keys("m").requests, {"record": "{}", "reply": key, "id": "7"})
        assert json.loads(asker.blpop(["learner:{m}:replies:me"], timeout=20)[1])["id"] == "7"
    assert not client.exists(*elsewhere)
    worker.terminate()
    _, err = worker.communicate(timeout=20)
    assert "requests with reply 'learner:replies:me' have no answer: it could not be written to" in err
    assert "requests with reply 'learner:{other}:replies:me' have no answer: it must start with" in err


def test_the_roles_can_do_what_the_page_says_that_their_owners_can(client, roles):
    page = (Path(__file__).parents[2] / "deploy" / "README.md").read_text()
    keys = Keys("m")
    example = {"record": "{}", "target": "1"}
    for _ in range(3):
        client.xadd(keys.examples, example)
        client.xadd(keys.requests, {"record": "{}"})
    client.rpush(f"{keys.replies}known", "of another asker")
    as_role = {role: connect(url) for role, url in roles.items()}
    can = {
        "read the examples in the stream": lambda: as_role["monitor"].xrange(keys.examples),
        "the spec with the secret of its hash": lambda: json.loads(as_role["monitor"].get(keys.spec))["seed"],
        "run Lua scripts": lambda: as_role["worker"].eval("return redis.call('xlen', KEYS[1])", 1, keys.examples) == 3,
        "delete others' examples": lambda: as_role["producer"].xadd(
            keys.examples, example, maxlen=1, approximate=False
        ),
        "delete others' requests": lambda: as_role["asker"].xadd(keys.requests, {"a": 1}, maxlen=1, approximate=False),
        "take a reply whose key it knows": lambda: as_role["asker"].blpop([f"{keys.replies}known"], 1),
        "Add `learn held` entries": lambda: as_role["producer"].xadd(keys.examples, {"learn": "held"}),
        "take the model over": lambda: Store(as_role["worker"], "m").ownership.take_over(),
        "write any state": lambda: as_role["worker"].hset(keys.head, "cursor", "0-0"),
        "forge rejected entries": lambda: as_role["worker"].xadd(keys.rejected, {"data": "x"}),
        "and answers of this model": lambda: as_role["worker"].rpush(f"{keys.replies}me", "x"),
        "add and trim examples": lambda: as_role["worker"].xtrim(keys.examples, maxlen=0),
    }
    for words, does in can.items():
        assert words in page
        assert does(), words
    for role in as_role.values():
        with pytest.raises(redis.exceptions.NoPermissionError):
            role.scan()
        for key in ("learner:replies:me", "learner:{other}:replies:me"):
            with pytest.raises(redis.exceptions.NoPermissionError):
                role.rpush(key, "spoofed")
        role.close()
