"""The processes of a fleet: one is killed, one is stopped, and what they leave behind."""

import json
import os
import signal
import urllib.error
import urllib.request

import msgpack
import pytest

from learner.client import Client
from learner.model import Model
from learner.service.store import Store
from learner.service.store.connection import client as connect
from learner.service.store.embedded import Embedded, free_port
from learner.service.wire import Keys
from tests.command_line import invoke
from tests.conftest import wait_until

NAMES = ["a", "b", "c"]


def asked(port, path):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def pids(client):
    return {client.hget(Keys(name).owner, "pid") for name in NAMES}


def test_one_that_is_killed_is_replaced_and_one_that_is_stopped_commits_and_gives_all_up(
    client, redis_url, create, start
):
    for name in NAMES:
        create(name)
    first = start(redis_url, "fleet", "--models", "[a-c]")
    wait_until(lambda: pids(client) == {str(first.pid).encode()}, 60)
    for name in NAMES:
        client.xadd(Keys(name).examples, {"batch": msgpack.packb([1, {"x": 1}])})
    first.kill()
    port = free_port()
    second = start(redis_url, "fleet", "--json", "--log-format", "json", "--metrics", str(port))
    wait_until(lambda: pids(client) == {str(second.pid).encode()}, 60)
    wait_until(lambda: asked(port, "/ready") == (200, "well\n"))
    assert asked(port, "/health") == (200, "well\n")
    assert 'learner_worker_state{model="b",state="running"} 1.0' in asked(port, "/metrics")[1]
    second.send_signal(signal.SIGTERM)
    out, err = second.communicate(timeout=60)
    assert (second.returncode, json.loads(out)["models"]) == (0, 3)
    assert pids(client) == {None}
    events = [json.loads(line) for line in err.splitlines()]
    assert [event["code"] for event in events if event["event"] == "stop"] == [0, 0, 0, 0]
    assert all("in place of process" in event["message"] for event in events if event["event"] == "takeover")
    for name in NAMES:
        wait_until(lambda: client.hget(Keys(name).head, "entries") in (b"1", None))  # noqa: B023


def test_what_was_learned_while_the_server_was_away_is_committed_after_sigterm_once_it_is_back(tmp_path, start):
    embedded = Embedded(tmp_path / "server")
    url = embedded.start()
    try:
        client = connect(url)
        for name in NAMES:
            Store(client, name).create(Model("binary").to_spec())
        process = start(url, "fleet", "--commit-seconds", "60")
        wait_until(lambda: pids(client) == {str(process.pid).encode()}, 60)
        for name in NAMES:
            client.xadd(Keys(name).examples, {"batch": msgpack.packb([1, {"x": 1}])})
            Client(name, url).predict(features={"x": 1.0})  # it has had a turn since
        client.save()
        os.kill(embedded.running()["pid"], signal.SIGKILL)
        wait_until(lambda: not embedded._alive())
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: "no connection, trying again" in process.stderr.readline())
        assert embedded.start() == url
        client = connect(url)
        process.communicate(timeout=60)
        assert process.returncode == 0
        assert [client.hget(Keys(name).head, "entries") for name in NAMES] == [b"1"] * 3
    finally:
        embedded.stop()


@pytest.mark.parametrize("pattern", ["", "a b", "shop/new", "{a}"])
def test_a_pattern_that_no_name_can_match_is_refused(pattern):
    result = invoke("fleet", "--models", pattern, code=2)
    assert "must be a model's name, where * stands for anything" in result.output
