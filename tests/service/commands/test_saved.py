"""Saved models and the server: create --from, and save."""

import json

import pytest

from learner.model import Model
from learner.service.store import Store
from learner.service.wire import Keys
from tests.command_line import strictly
from tests.conftest import SEED, state_bytes

KEYS = Keys("m")
KINDS = {
    "default": {"featurizer": "fields"},
    "classes": {"task": "multiclass", "featurizer": "fields"},
    "bounded": {"featurizer": "fields", "max_features": 100, "l1": 0.01},
}


def examples(model, first, last):
    for i in range(first, last):
        yield {"a": i % 7, "w": f"w{i % 5}"}, f"class {i % 3}" if model.task == "multiclass" else i % 2


def saved(path, n=200, **options):
    model = Model(seed=SEED, **options)
    for x, y in examples(model, 0, n):
        model.learn_one(x, y)
    model.save(path)
    return model


def contents(client):
    """All that the server has."""
    return {key: client.dump(key) for key in client.scan_iter()}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "m.learner")


@pytest.mark.parametrize("kind", KINDS)
def test_a_worker_goes_on_from_a_saved_model_as_the_model_itself(run, client, drain, committed, path, kind):
    model = saved(path, **KINDS[kind])
    assert run("create", "m", "--from", path).output.startswith(f"created m ({model.task}")
    assert state_bytes(committed()) == state_bytes(model)
    for x, y in examples(model, 200, 400):
        client.xadd(KEYS.examples, {"record": json.dumps(x), "target": str(y)})
        model.learn_one(x, y)
    assert state_bytes(drain().model) == state_bytes(model)
    assert state_bytes(committed()) == state_bytes(model)
    assert Store(client, "m").stream.committed_position().trouble is None


def test_a_model_made_of_a_file_is_whole_before_any_worker_came(run, client, path):
    model = saved(path, featurizer="fields")
    found = strictly(run("create", "m", "--from", path, "--json").stdout)
    assert found == {"model": "m", "fingerprint": model.fingerprint}
    status = strictly(run("status", "m", "--json").stdout)
    assert (status["commits"], status["lag_entries"], status["trouble"]) == (1, 0, None)
    assert (status["progress"]["examples"], status["progress"]["loss"]) == (200, model.progressive_loss)
    assert "examples          200 and 0 rejected" in run("status", "m").output
    assert strictly(run("weights", "m", "--json", "-n", "5").stdout) == dict(model.weights.top(5))
    assert "0 entries learned up to 0-0, 0 to come: they fit the stream" in run("repair", "m").output
    assert client.xlen(KEYS.examples) == client.xlen(KEYS.requests) == 0


def test_a_model_that_knows_nothing_can_be_made_of_a_file(run, client, drain, path):
    model = saved(path, n=0, featurizer="fields")
    run("create", "m", "--from", path)
    client.xadd(KEYS.examples, {"record": '{"a": 1}', "target": "1"})
    model.learn_one({"a": 1}, 1)
    assert state_bytes(drain().model) == state_bytes(model)


def test_a_name_that_is_taken_is_refused_and_changes_nothing(run, fails, client, path):
    saved(path, featurizer="fields")
    run("create", "m")
    before = contents(client)
    assert "model 'm' exists already" in fails("create", "m", "--from", path)
    assert contents(client) == before


@pytest.mark.parametrize("key", [KEYS.examples, KEYS.requests])
def test_keys_without_a_model_are_refused_and_nothing_is_made(fails, client, path, key):
    saved(path, featurizer="fields")
    client.xadd(key, {"record": "{}", "target": "1"})
    assert f"must be new, as what was learned goes with it (got {key})" in fails("create", "m", "--from", path)
    assert client.keys() == [key.encode()]


def test_two_who_create_at_once_make_one_model(run, client, path, monkeypatch, fails):
    """The other one comes between the look and the transaction."""
    from learner.service.store import writing

    saved(path, featurizer="fields")
    queue = writing.queue

    def late(*arguments):
        client.set(KEYS.spec, "of the other one")
        return queue(*arguments)

    monkeypatch.setattr(writing, "queue", late)
    assert "must be created by one at a time" in fails("create", "m", "--from", path)
    assert client.keys() == [KEYS.spec.encode()]


def test_a_damaged_file_makes_no_model(fails, client, tmp_path):
    place = tmp_path / "bad.learner"
    place.write_bytes(b"PK\x03\x04")
    assert "is damaged, or is none" in fails("create", "m", "--from", str(place))
    assert client.keys() == []


def test_a_model_s_last_commit_is_saved(run, fails, client, create, drain, path, tmp_path):
    expected = create(featurizer="fields")
    for x, y in examples(expected, 0, 100):
        client.xadd(KEYS.examples, {"record": json.dumps(x), "target": str(y)})
        expected.learn_one(x, y)
    drain()
    client.xadd(KEYS.examples, {"record": '{"a": 1}', "target": "1"})  # in no commit
    expected.learn_held()
    assert run("save", "m", path).output == f"saved m (100 examples) to {path}\n"
    assert state_bytes(Model.load(path)) == state_bytes(expected)
    assert strictly(run("save", "m", path, "--json").stdout) == {"model": "m", "file": path, "examples": 100}
    run("create", "copy", "--from", path)
    assert Store(client, "copy").spec() == Store(client, "m").spec()
    assert "does not exist" in fails("save", "nosuch", path)
    assert "must have a name that ends with .learner" in fails("save", "m", str(tmp_path / "m.bin"))
    assert "No such file or directory" in fails("save", "m", str(tmp_path / "no" / "m.learner"))
