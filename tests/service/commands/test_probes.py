"""``status --check``, on a real server: what each answer says, and the exit codes of probes."""

import os
import socket

from learner.service.store.embedded import Embedded
from tests.command_line import invoke, strictly
from tests.streams import KEYS

HERE = f"process {os.getpid()} on {socket.gethostname()}"


def test_a_model_that_nobody_serves_is_neither_live_nor_ready(run, create):
    assert run("status", "m", "--check", code=1).stdout.startswith("not ready: model 'm' does not exist")
    create()
    assert run("status", "m", "--check", "live", code=1).stdout == "not live: no process works for the model\n"
    assert run("status", "m", "--check", code=1).stdout == "not ready: no worker owns the model\n"


def test_a_model_that_is_served_is_live_and_ready_within_the_bounds(run, create, serving, client):
    create()
    with serving(commit_seconds=1000.0):
        assert run("status", "m", "--check").stdout == f"ready: {HERE} learns and answers, 0 entries wait\n"
        for _ in range(3):
            client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": "1"})
        assert run("status", "m", "--check", "ready", "--max-lag", "3").exit_code == 0
        late = run("status", "m", "--check", "ready", "--max-lag", "2", code=1)
        assert late.stdout == "not ready: 3 entries wait to be learned, more than 2\n"
        client.hset(KEYS.owner, "since", "0")
        old = strictly(run("status", "m", "--check", "--max-age", "9", "--json", code=1).stdout)
        assert (old["model"], old["check"], old["ok"]) == ("m", "ready", False)
        assert old["reason"].endswith("s nothing was committed, longer than 9 s")
        assert run("status", "m", "--check", "live", "--here").stdout == f"live: {HERE} is running\n"
    stopped = run("status", "m", "--check", "live", code=1).stdout
    assert stopped == f"not live: {HERE} is stopped, code 0: asked to stop; 3 examples learned up to {cursor(client)}\n"
    assert f"stopped           {HERE} at " in run("status", "m").stdout


def cursor(client) -> str:
    return client.hget(KEYS.head, "cursor").decode()


def test_a_request_that_nobody_answers_is_not_ready(run, create, own, client):
    create()
    own()  # it owns the model, and its loop stands still
    client.xadd(KEYS.requests, {"record": "{}", "reply": KEYS.replies + "me"}, id="1-1")
    assert "a request waits for " in run("status", "m", "--check", code=1).stdout


def test_an_owner_that_gives_no_sign_of_life_is_silent(run, create, own):
    create()
    owner = own()
    owner.owning.close()
    note = owner.store.processes
    note._note["state"] = "running"
    with_time = note._link.client.time
    note._link.client.time = lambda: (with_time()[0] - 99, 0)  # as if it had been written then
    note._write()
    note._link.client.time = with_time
    assert f"not ready: {HERE} is running, silent for " in run("status", "m", "--check", code=1).stdout
    assert f"not live: {HERE} is running, silent for " in run("status", "m", "--check", "live", code=1).stdout
    assert "silent            for " in run("status", "m").stdout


def test_a_probe_without_a_server_fails_and_starts_none(tmp_path, monkeypatch):
    monkeypatch.setenv("LEARNER_HOME", str(tmp_path))
    assert invoke("status", "m", "--check", code=1).stdout == "not ready: no server runs\n"
    assert not Embedded().running()
    unreachable = invoke("status", "m", "--check", "--redis-url", "redis://127.0.0.1:1/0", code=1).stdout
    assert unreachable.startswith("not ready: ")
    assert "127.0.0.1:1" in unreachable
