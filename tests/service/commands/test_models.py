"""create, weights and status: what they print, for people and for programs, and their exit codes."""

import json
import os

import pytest

from learner.model import Model
from learner.service.wire import Keys
from tests.command_line import FILES, strictly
from tests.conftest import wait_until

KEYS = Keys("m")


def test_create_makes_a_model_once(run, fails, client):
    assert (
        run("create", "m", "--task", "regression").output
        == "created m (regression, squared loss): now 'learner worker m'\n"
    )
    spec = client.get(KEYS.spec)
    assert "model 'm' exists already" in fails("create", "m")
    assert client.get(KEYS.spec) == spec


def test_create_prints_the_fingerprint_as_json(run, client):
    found = strictly(run("create", "m", "--json").stdout)
    assert found == {"model": "m", "fingerprint": Model.from_spec(json.loads(client.get(KEYS.spec))).fingerprint}


def test_create_takes_every_option(run, client, file):
    path = file("f.json", json.dumps(Model(featurizer="email").featurizer.to_spec()).encode())
    run("create", "m", "--loss", "hinge", "--rates", "0.5,2", "--labels", "ham,spam", "--featurizer", path)
    spec = json.loads(client.get(KEYS.spec))
    assert (spec["loss"], spec["rates"], spec["labels"]) == ("hinge", [0.5, 2.0], ["ham", "spam"])
    assert spec["featurizer"] == Model(featurizer="email").featurizer.to_spec()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--task", "ranking"], "ranking"),
        (["--loss", "cubic"], "cubic"),
        (["--task", "regression", "--loss", "hinge"], "loss of a regression task must be"),
        (["--rates", "fast"], "--rates must be numbers with commas (got 'fast')"),
        (["--rates", "0"], "rates must be 1 to 12 numbers above 0"),
        (["--rates", "nan"], "rates must be"),
        (["--rates", ""], "--rates must be numbers"),
        (["--rates", ",".join(["1"] * 13)], "rates must be 1 to 12"),
        (["--labels", "spam"], "labels must be two different strings"),
        (["--labels", "a,a"], "labels must be two different strings"),
        (["--labels", "a,b,c"], "labels must be two different strings"),
        (["--task", "regression", "--labels", "a,b"], "labels must be"),
        (["--level", "0.9"], "level must be of a quantile task (got a binary one)"),
        (["--task", "quantile", "--level", "1.5"], "level must be within (0, 1) (got 1.5)"),
        (["--featurizer", "nosuch"], "nosuch"),
        (["--featurizer", "/nonexistent.toml"], "/nonexistent.toml"),
        (["--redis-url", "http://x"], "must be redis://"),
        (["--redis-url", "redis://127.0.0.1:1/0"], "127.0.0.1:1"),
        (["--nosuch"], "--nosuch"),
    ],
)
def test_a_wrong_option_of_create_is_one_line(fails, client, options, told):
    assert told in fails("create", "m", *options)
    assert client.keys("*") == []


def test_a_wrong_name_is_one_line(fails):
    assert "model name must be" in fails("create", "a b")
    assert "model name must be" in fails("status", "a:b")


@pytest.mark.parametrize("what", [["push", "m", "-"], ["weights", "m"], ["status", "m"]])
def test_a_missing_model_is_one_line_that_says_how_to_make_it(fails, client, what):
    assert "model 'm' does not exist: make it with 'learner create m'" in fails(*what, "--json", stdin=b"")
    assert client.keys("*") == []


@pytest.mark.parametrize(
    "what", [["push", "m", "-"], ["predict", "m", "{}"], ["explain", "m", "{}"], ["weights", "m"], ["status", "m"]]
)
def test_a_server_that_is_down_is_one_line(fails, what):
    assert "server" in fails(*what, "--redis-url", "redis://127.0.0.1:1/0", stdin=b"")


def test_weights_are_printed_the_largest_first(run, create, drain, file):
    create(featurizer="fields")
    assert run("weights", "m").stdout == ""
    run("push", "m", file("x.csv", FILES["csv"]))
    weights = drain().model.weights
    found = strictly(run("weights", "m", "--json", "--top", "0").stdout)
    assert found == dict(weights)
    assert list(strictly(run("weights", "m", "--json", "-n", "2").stdout)) == list(found)[:2]
    prefixed = strictly(run("weights", "m", "--json", "--prefix", "w=").stdout)
    assert prefixed == {name: weight for name, weight in weights.items() if name.startswith("w=")}
    lines = run("weights", "m", "--top", "3").stdout.splitlines()
    assert [line.split() for line in lines] == [[name, f"{weight:+.6g}"] for name, weight in list(found.items())[:3]]


def test_a_negative_number_of_weights_is_refused(fails, create):
    create()
    assert "-5" in fails("weights", "m", "--top", "-5")


def test_status_tells_of_a_model_that_nobody_serves(run, create, file):
    create()
    run("push", "m", file("x.csv", FILES["csv"]))
    found = strictly(run("status", "m", "--json").stdout)
    assert (found["model"], found["task"], found["loss"], found["commits"]) == ("m", "binary", "logistic", 0)
    assert (found["lag_entries"], found["committed"], found["owner"]) == (1, None, {})
    text = run("status", "m").stdout
    assert "owner             none: start one with 'learner worker m'" in text
    assert "lag               1 entries, 0 requests waiting" in text


def test_status_tells_of_a_model_that_is_served(run, create, serving, file):
    create(featurizer="fields")
    run("push", "m", file("x.csv", FILES["csv"]))
    with serving(held_seconds=1e6) as worker:
        wait_until(lambda: strictly(run("status", "m", "--json").stdout)["lag_entries"] == 0)
        found = strictly(run("status", "m", "--json").stdout)
        text = run("status", "m").stdout
    assert found["owner"]["pid"] == str(os.getpid())
    assert (found["progress"]["examples"], found["progress"]["held"]) == (60, worker.model.n_held)
    assert found["progress"]["loss"] == pytest.approx(worker.model.progressive_loss)
    assert found["progress"].items() >= worker.model.figures().items()
    assert found["features"] == worker.model.n_features
    assert found["cursor"] == worker.learning.cursor.decode()
    for part in (
        f"process {os.getpid()} on ",
        f"examples          60 and 0 rejected, {worker.model.n_held} held back",
        "examples/s",
        "progressive loss",
        "AUC",
        " last 60 ",
        " MB",
        "last commit",
    ):
        assert part in text


def test_status_is_json_even_when_nothing_could_be_learned(run, create, drain, client):
    create()
    client.xadd(KEYS.examples, {"record": "{", "target": "1"})
    drain()
    assert strictly(run("status", "m", "--json").stdout)["rejected_kept"] == 1
    assert "0 and 1 rejected" in run("status", "m").stdout


def test_set_prints_changes_and_unsets_the_settings_that_a_model_file_began_with(run, fails, file):
    path = file("m.toml", b'task = "binary"\n[service]\nhistory = "7d"\nmax_rejected = 0.1\n')
    run("create", "m", "--spec", path)
    found = strictly(run("set", "m", "--json").stdout)
    assert (found["history"], found["max_rejected"], found["default_outcome"]) == (604800.0, 0.1, None)
    assert "how long entries stay in the stream" in run("set", "m", "history=", "default_outcome=0").stdout
    found = strictly(run("set", "m", "--json").stdout)
    assert (found["history"], found["max_rejected"], found["default_outcome"]) == (0.0, 0.1, "0")
    assert "change must be KEY=VALUE (got 'history')" in fails("set", "m", "history")
    assert "history must be a time" in fails("set", "m", "replicas=2", "history=soon")
    assert strictly(run("set", "m", "--json").stdout) == found
    assert "does not exist" in fails("set", "other")


def test_create_refuses_a_wrong_setting_in_a_model_file(fails, file, client):
    assert "setting must be one of" in fails("create", "m", "--spec", file("m.toml", b"[service]\nspeed = 1\n"))
    assert client.keys("*") == []
