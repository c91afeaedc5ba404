"""The processes of a fleet: one is killed, one is stopped, and what they leave behind."""

import json
import signal

import msgpack

from learner.service.wire import Keys
from tests.conftest import wait_until

NAMES = ["a", "b", "c"]


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
    second = start(redis_url, "fleet", "--json", "--log-format", "json")
    wait_until(lambda: pids(client) == {str(second.pid).encode()}, 60)
    second.send_signal(signal.SIGTERM)
    out, err = second.communicate(timeout=60)
    assert (second.returncode, json.loads(out)["models"]) == (0, 3)
    assert pids(client) == {None}
    events = [json.loads(line) for line in err.splitlines()]
    assert [event["code"] for event in events if event["event"] == "stop"] == [0, 0, 0, 0]
    assert all("in place of process" in event["message"] for event in events if event["event"] == "takeover")
    for name in NAMES:
        wait_until(lambda: client.hget(Keys(name).head, "entries") in (b"1", None))  # noqa: B023
