"""Saved models on the command line, without any server: replay --save and --from, predict, explain, weights."""

import json

import pytest

from learner.commands import saved as saved_models
from learner.model import Model
from tests.command_line import FILES, invoke, invoke_failing, reference, strictly
from tests.conftest import state_bytes


@pytest.fixture(autouse=True)
def no_server(monkeypatch):
    """A command that looked for a server would fail."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")


@pytest.fixture
def path(file, tmp_path):
    """A model of a file, saved by replay."""
    place = str(tmp_path / "m.learner")
    found = strictly(invoke("replay", file("x.jsonl", FILES["jsonl"]), "--save", place, "--json").stdout)
    assert (found["saved"], found["examples"], found["held"]) == (place, 60, 0)
    return place


RECORD = '{"a": 3.5, "w": "w1"}'


def test_replay_saves_the_model_with_a_secret_of_its_own(file, path, tmp_path):
    other = str(tmp_path / "other.learner")
    assert f"saved             {other}" in invoke("replay", file("x.jsonl", FILES["jsonl"]), "--save", other).stdout
    models = [Model.load(place) for place in (path, other)]
    assert len({model.spec.seed for model in models}) == 2
    assert [model.n_examples for model in models] == [60, 60]


def test_replay_goes_on_from_a_saved_model(file, path, tmp_path):
    expected = Model.load(path)
    for row in FILES["jsonl"].splitlines():
        record = json.loads(row)
        expected.learn_one(record, record.pop("target"))
    expected.learn_held()
    again = str(tmp_path / "again.learner")
    more = file("more.jsonl", FILES["jsonl"])
    found = strictly(invoke("replay", more, "--from", path, "--save", again, "--json").stdout)
    assert (found["examples"], found["progressive_loss"]) == (120, expected.progressive_loss)
    assert state_bytes(Model.load(again)) == state_bytes(expected)
    assert Model.load(path).n_examples == 60
    assert "examples          120" in invoke("replay", more, "--from", path).stdout


def test_a_file_of_a_saved_model_may_be_the_one_that_it_came_from(file, path):
    invoke("replay", file("more.jsonl", FILES["jsonl"]), "--from", path, "--save", path)
    assert Model.load(path).n_examples == 120


@pytest.mark.parametrize("place", ["no/m.learner", "m.model", ""])
def test_a_place_that_can_not_be_written_is_refused_before_the_file_is_read(tmp_path, place):
    target = str(tmp_path / place)
    told = "No such file or directory" if place.startswith("no/") else "must have a name that ends with .learner"
    assert told in invoke_failing("replay", str(tmp_path / "missing.csv"), "--save", target)


def test_options_that_do_not_go_together_are_refused(file, path):
    data = file("x.jsonl", FILES["jsonl"])
    told = invoke_failing("replay", data, "--from", path, "--rates", "0.5", "--max-features", "200")
    assert (
        "--from must stand without options that describe a model: the file does (got --max-features, --rates)" in told
    )
    assert "without --compare" in invoke_failing("replay", data, "--from", path, "--compare", "rates=0.5")
    assert "without --compare" in invoke_failing("replay", data, "--save", path, "--compare", "rates=0.5")
    assert "create" in invoke("create", "--help").output
    assert "--from must stand without" in invoke_failing("create", "m", "--from", path, "--task", "regression")
    assert "model name must not end with .learner" in invoke_failing("create", "m.learner")


def test_a_saved_model_predicts_as_the_model_in_memory(file, path):
    model = Model.load(path)
    expected = model.answer(model.pack(json.loads(RECORD)))
    assert strictly(invoke("predict", path, RECORD, "--json").stdout)["prediction"] == expected["prediction"]
    assert invoke("predict", path, RECORD).stdout.split()[0] == f"{expected['prediction']:.6g}"
    lines = invoke("predict", path, file("x.jsonl", FILES["jsonl"])).stdout.splitlines()
    assert len(lines) == 60
    for form in ("msgpack", "vw"):
        assert len(invoke("predict", path, file(f"x.{form}", FILES[form])).stdout.splitlines()) == 60
    assert "must be JSON" in invoke_failing("predict", path, '{"a"')


def test_a_saved_model_explains_and_has_weights(path):
    model = Model.load(path)
    reply = strictly(invoke("explain", path, RECORD, "--json").stdout)
    assert sum(row[4] for row in reply["contributions"]) == pytest.approx(reply["score"])
    assert "w=w1" in invoke("explain", path, RECORD).stdout
    assert strictly(invoke("weights", path, "--json", "-n", "3").stdout) == dict(model.weights.top(3))
    assert "w=w1" in invoke("weights", path, "--prefix", "w=").stdout


def test_many_classes_are_answered_from_a_file(file, tmp_path):
    rows = "".join(json.dumps({"c": f"c{i % 3}", "target": f"t{i % 3}"}) + "\n" for i in range(120)).encode()
    place = str(tmp_path / "classes.learner")
    invoke("replay", file("x.jsonl", rows), "--task", "multiclass", "--save", place)
    reply = strictly(invoke("predict", place, '{"c": "c1"}', "--json").stdout)
    assert reply["label"] == "t1"
    assert set(reply["probabilities"]) == {"t0", "t1", "t2"}


@pytest.mark.parametrize("command", [("predict", RECORD), ("explain", RECORD), ("weights",)])
def test_a_file_that_is_none_is_one_line(tmp_path, command):
    place = tmp_path / "m.learner"
    name, *arguments = command
    assert "can't be read (No such file or directory)" in invoke_failing(name, str(place), *arguments)
    place.write_bytes(b"PK")
    assert "is damaged, or is none" in invoke_failing(name, str(place), *arguments)


def test_the_reference_is_the_file_s_model(file, path):
    """Whatever the seed, the counts are those of the file."""
    expected = reference("jsonl", file("x.jsonl", FILES["jsonl"]))
    assert Model.load(path).n_examples == expected.n_examples
    assert saved_models.asked(path, None).weights().keys() == Model.load(path).weights.keys()
