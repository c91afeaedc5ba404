"""push, predict and explain: files in every format, what can't be read, and what the worker answers."""

import gzip
import re

import msgpack
import pytest

from learner.client import Client
from learner.files import FORMATS, read
from tests.command_line import BAD_LINE, FILES, errors, reference, strictly
from tests.conftest import state_bytes


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
    result = run("push", "m", path, code=3)
    (line,) = errors(result)
    assert re.match(r"Error: (line|row|example) 6\d: ", line)
    assert f"pushed {61 if form == 'csv' else 60} examples" in result.stdout
    assert "left out 1 bad ones" in result.stdout
    assert drain().model.n_examples == (61 if form == "csv" else 60)


@pytest.mark.parametrize("columns", [None, {"price": "money", "size": "number"}])
def test_values_of_another_kind_are_counted_by_column(run, create, file, columns):
    """Whether the model says what the columns hold, or the file decides."""
    create(featurizer="fields", columns=columns)
    rows = b"".join(b"$%d.50,%d,1\n" % (i, i % 9) for i in range(60))
    path = file("x.csv", b"price,size,target\n" + rows + b"on request,large,1\n")
    result = run("push", "m", path, "--json")
    assert strictly(result.stdout)["other_values"] == {"price": 1, "size": 1}
    assert "taken as categories: price: 1 value is no amount; size: 1 value is no number" in result.stderr


def test_only_the_first_ten_bad_lines_are_shown_and_all_are_counted(run, create):
    create()
    result = run(
        "push", "m", "-", "--format", "jsonl", "--json", stdin=b"{nope\n" * 25 + b'{"a": 1, "target": 1}\n', code=3
    )
    assert len(result.stderr.splitlines()) == 10
    found = strictly(result.stdout)
    assert (found["pushed"], found["bad"]) == (1, 25)


def test_a_push_of_nothing_and_a_push_without_the_target_exit_with_2(run, fails, create, drain):
    create(featurizer="fields")
    run("push", "m", "-", "--format", "jsonl", stdin=b"{nope\n", code=2)
    assert "did you mean 'Late'?" in fails(
        "push", "m", "-", "--format", "csv", "--target", "late", stdin=b"a;Late\n1;1\n"
    )
    assert drain().model.n_examples == 0


def test_the_files_of_a_pattern_are_pushed_and_a_header_can_be_missing(run, create, drain, file, tmp_path):
    create(featurizer="fields")
    file("b.csv", b"2;x;0\n")
    file("a.csv", b"1,y,1\n1,y\n")
    options = ["--columns", "a,b,target", "--id", "monday"]
    result = run("push", "m", str(tmp_path / "*.csv"), *options, code=3)
    assert errors(result)[0].startswith(f"Error: {tmp_path / 'a.csv'}: line 2: must have the header's 3 columns")
    run("push", "m", str(tmp_path / "*.csv"), *options, code=3)
    found = drain().model
    assert found.n_examples == 2
    assert set(found.weights) == {"(constant)", "a", "b=x", "b=y"}


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
        (["x.csv", "--format", "xml"], "xml"),
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


def test_a_record_is_predicted_and_explained(run, create, serving):
    create(featurizer="fields", labels=["on time", "late"])
    with serving() as worker:
        for i in range(60):
            worker.model.learn_one({"a": i % 3, "w": "x"}, i % 3 > 0)
        probability = worker.model.predict_proba_one({"a": 2, "w": "x"})["late"]
        score = worker.model.score_one({"a": 2, "w": "x"})
        record = '{"a": 2, "w": "x"}'
        assert run("predict", "m", record).stdout == f"late {probability:.6g}\n"
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


BAD_LINES = b"{nope\n" + b'{"lat": 1, "lon": 1}\n{"lat": 91, "lon": 1}\n\n[1]\n{"lat": 2, "lon": 1}\n'


def test_every_line_of_a_file_has_an_answer_or_an_error_in_order(run, create, serving, file):
    create(featurizer="place")
    path = file("x.jsonl", BAD_LINES)
    with serving():
        lines = [strictly(line) for line in run("predict", "m", path, "--json", code=3).stdout.splitlines()]
        text = run("predict", "m", "-", "--format", "jsonl", stdin=BAD_LINES, code=3).stdout.splitlines()
        assert run("predict", "m", file("bad.jsonl", b"{nope\n"), code=2).stdout.startswith(
            "Error: line 1: must be one JSON"
        )
        for nothing in (file("empty.jsonl", b""), file("header.csv", b"lat,lon\n"), "[]"):
            empty = run("predict", "m", nothing, code=2)
            assert (empty.stdout, empty.stderr) == (
                "",
                f"Error: {nothing}: must hold at least one record (it holds none)\n",
            )
    assert [(line.get("prediction"), line.get("line")) for line in lines] == [
        (None, 1), (0.5, None), (None, 3), (None, 5), (0.5, None),
    ]  # fmt: skip
    assert lines[2]["error"] == "field 'lat' must be within [-90, 90] (got 91.0)"
    assert lines[1]["probabilities"] == {"-1": 0.5, "1": 0.5}
    assert text[1] == text[4] == "0.5"
    assert [line[:14] for line in text] == ["Error: line 1:", "0.5", "Error: line 3:", "Error: line 5:", "0.5"]


def test_what_comes_before_damage_is_answered(run, create, serving):
    create(featurizer="fields")
    with serving():
        result = run("predict", "m", "-", "--format", "msgpack", stdin=FILES["msgpack"] + b"\xc1", code=3)
        assert run("predict", "m", "-", "--format", "msgpack", stdin=b"\xc1", code=2).stdout == ""
    assert result.stdout.splitlines() == ["0.5"] * 60
    assert "what follows can't be read" in result.stderr


def test_a_list_of_records_is_answered_a_line_each(run, create, serving):
    create(featurizer="place", labels=["far", "near"])
    with serving() as worker:
        worker.model.learn_one({"lat": 1, "lon": 1}, "near")
        result = run("predict", "m", '[{"lat": 1, "lon": 1}, {"lat": 91, "lon": 1}]', code=3)
        p = worker.model.predict_proba_one({"lat": 1, "lon": 1})["near"]
        assert run("predict", "m", '[{"lat": 91, "lon": 1}]', code=2)
        alone = strictly(run("predict", "m", '{"lat": 91, "lon": 1}', "--json", code=2).stdout)
    assert result.stdout.splitlines()[0] == f"near {p:.6g}"
    assert result.stdout.splitlines()[1].startswith("Error: line 2: field 'lat' must be within")
    assert (alone["line"], alone["error"][:11]) == (1, "field 'lat'")


def test_each_element_of_a_list_has_an_answer_or_an_error(run, create, serving):
    create(featurizer="fields")
    with serving():
        lines = run("predict", "m", '[{"a": 1}, 5, {"a": 2}, null, "b", [1]]', code=3).stdout.splitlines()
    assert [line[:14] for line in lines] == ["0.5", "Error: line 2:", "0.5", *(f"Error: line {n}:" for n in (4, 5, 6))]


def test_many_classes_are_answered_by_a_label_with_its_probability(run, create, serving, file):
    create(task="multiclass", featurizer="fields")
    path = file("x.jsonl", b'{"color": "red"}\n{"color": "green"}\n')
    with serving() as worker:
        assert run("predict", "m", path).stdout == "-\n-\n"
        for _ in range(30):
            worker.model.learn_one({"color": "red"}, "apple")
            worker.model.learn_one({"color": "green"}, "kiwi")
        expected = [worker.model.predict_proba_one({"color": color}) for color in ("red", "green")]
        text = run("predict", "m", path).stdout
        lines = [strictly(line) for line in run("predict", "m", path, "--json").stdout.splitlines()]
    assert text == f"apple {expected[0]['apple']:.6g}\nkiwi {expected[1]['kiwi']:.6g}\n"
    assert [line["label"] for line in lines] == ["apple", "kiwi"]
    assert [line["probabilities"] for line in lines] == expected


def test_a_field_that_the_model_never_saw_is_named(run, create, serving):
    create(featurizer="fields")
    with serving() as worker:
        for _ in range(3):
            worker.model.learn_one({"price": 2.0, "city": "Rome"}, 1)
        worker.model.learn_held()
        assert "city, prize\n" in run("predict", "m", '{"city": "Oslo", "prize": 2.0, "price": 1}').stderr
        assert run("predict", "m", '{"city": "Rome", "price": 1}').stderr == ""


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
    init = Client.__init__
    monkeypatch.setattr("learner.client.Client.__init__", lambda self, *a: init(self, *a, timeout=0.1))
    assert "no worker runs: start one with 'learner worker m'" in fails(command, "m", "{}")
