"""The roles on a real server: each does its work under its own rules."""

import json
import signal
from importlib.util import find_spec

import pytest
import redis
from click.testing import CliRunner

from learner.client import Client
from learner.commands import main
from learner.commands.show import status_lines
from learner.service.store import Store
from learner.service.store.acl import set_user
from learner.service.store.connection import client as connect
from learner.service.store.position import LAST
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
    assert worker.returncode == 0
    assert [line for line in err.splitlines() if "level=info" not in line] == []


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


def test_a_worker_under_its_rules_goes_on_after_the_last_ids_and_answers_on_a_stream_gone_bad(
    client, roles, start_worker
):
    keys = Keys("m")
    worker = start_worker(roles["worker"], "m", "--commit-seconds", "0.05")
    producer, asker, monitor = (
        Client("m", roles["producer"]),
        Client("m", roles["asker"], timeout=20),
        connect(roles["monitor"]),
    )
    for stream, by in ((keys.examples, producer), (keys.requests, asker)):
        by.redis.xadd(stream, {"record": "{}", "target": "1"}, id=LAST)
        wait_until(lambda key=stream: monitor.xinfo_stream(key)["last-generated-id"] == b"0-0")
    producer.push({"a": 1}, 1)
    wait_until(lambda: producer.lag() == 0)
    assert "notice" not in asker.ask({"record": "{}"})
    worker.send_signal(signal.SIGSTOP)
    producer.push({"a": 1}, 1)
    producer.redis.xadd(keys.examples, {"record": "{}", "target": "1"}, maxlen=0, approximate=False)
    worker.send_signal(signal.SIGCONT)
    wait_until(
        lambda: "only answers" in "\n".join(status_lines(Store(monitor, "m").status() | {"task": "", "loss": ""}))
    )
    assert "notice" in asker.ask({"record": "{}"})
    worker.terminate()
    _, err = worker.communicate(timeout=20)
    assert worker.returncode == 0
    assert [line.split(": ")[1].split(" (")[0] for line in err.splitlines()] == [
        "the stream had used the last possible id",
        "requests with reply '' have no answer",
        "learning has ended",
        "stopped with code 0",
    ]


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


def test_no_role_writes_a_reply_for_another_model_or_lists_keys(roles):
    for url in roles.values():
        with connect(url) as role:
            with pytest.raises(redis.exceptions.NoPermissionError):
                role.scan()
            for key in ("learner:replies:me", "learner:{other}:replies:me"):
                with pytest.raises(redis.exceptions.NoPermissionError):
                    role.rpush(key, "spoofed")
