"""The roles on a real server: each does its work under its own rules, and nothing of what the others do."""

import json
from importlib.util import find_spec

import pytest
import redis
from click.testing import CliRunner

from learner.client import Client
from learner.commands import main
from learner.service.server import client as connect
from learner.service.store import Store
from learner.service.store.acl import ROLES, set_user
from learner.service.wire import Keys
from tests.conftest import wait_until
from tests.reliability.roles import PASSWORD, attempts, refused, url_of


@pytest.fixture
def roles(client, redis_url, create):
    """The model m, and a user a role; gone afterwards."""
    create(featurizer="fields")
    for role in ROLES:
        client.execute_command(*set_user("m", role, PASSWORD))
    yield {role: url_of(redis_url, "m", role) for role in ROLES}
    client.execute_command("ACL", "DELUSER", *(f"m-{role}" for role in ROLES))


def test_each_role_does_its_work_through_our_own_programs(client, roles, start_worker, monkeypatch, tmp_path):
    worker = start_worker(roles["worker"], "m", "--commit-seconds", "0.05")
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


@pytest.mark.parametrize("role", ROLES)
def test_a_role_can_do_nothing_that_only_others_do(client, redis_url, roles, role):
    client.set("foreign", "1")
    with connect(roles[role]) as connection:
        for other, command in attempts("m", role):
            assert refused(connection, command), (role, other, command)
    assert client.get("foreign") == b"1"


def test_the_rules_hold_no_password_and_only_its_own_opens_a_user(client, redis_url, roles):
    assert PASSWORD not in json.dumps([set_user("m", role, PASSWORD) for role in ROLES])
    with connect(roles["asker"].replace(PASSWORD, "wrong")) as connection, pytest.raises(redis.AuthenticationError):
        connection.ping()
    client.execute_command(*set_user("m", "asker"))
    with connect(roles["asker"]) as connection, pytest.raises(redis.AuthenticationError):
        connection.ping()


def test_a_worker_whose_rules_miss_something_says_what(client, roles, start):
    command = set_user("m", "worker", PASSWORD)
    client.execute_command(*[part for part in command if "state" not in part])
    worker = start(roles["worker"], "worker", "m", "--burst")
    client.xadd(Keys("m").examples, {"record": "{}", "target": "1"})
    _, err = worker.communicate(timeout=30)
    assert worker.returncode == 2
    assert "permission" in err.lower()
    assert "Traceback" not in err
