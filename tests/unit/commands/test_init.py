"""``learner init``: what it says of a file, and the model file that it writes; and commands that take the file."""

import csv
import io
import json
import random
import shlex
import tomllib

import pytest
from rich.cells import cell_len

from learner.commands.options import read_model_file
from learner.spec import Spec
from tests.command_line import invoke, invoke_failing, strictly

HEADER = ["order", "on", "amount", "share", "zip", "note", "express", "weight", "late"]


def orders(n, seed=1):
    """Return a table of orders as people export them: late by weekday, amount, express and weight."""
    draw, text = random.Random(seed), io.StringIO()
    table = csv.writer(text)
    table.writerow(HEADER)
    for k in range(n):
        day, month, amount, express = (
            draw.randint(1, 28),
            draw.randint(1, 12),
            draw.lognormvariate(4, 1),
            draw.random() < 0.3,
        )
        weight = draw.uniform(0.1, 30) if draw.random() < 0.7 else None
        score = -1 + (month == 12) * 2 + (amount > 100) - 2 * express + (weight is None)
        late = draw.random() < 1 / (1 + 2.718**-score)
        table.writerow([
            7000 + k, f"{day:02}.{month:02}.2026", f"${amount:,.2f}", f"{draw.choice([5, 10])}%", f"{draw.randrange(90):05}",
            draw.choice(["ring twice", ""]), "Yes" if express else "No", "" if weight is None else f"{weight:.2f}",
            "late" if late else "on time",
        ])  # fmt: skip
    return text.getvalue().encode()


@pytest.fixture
def path(file):
    return file("orders.csv", orders(300))


def toml_of(path):
    return tomllib.loads((path.parent / f"{path.stem}.toml").read_text())


def test_it_writes_a_model_file_that_replay_and_create_understand(path, tmp_path):
    output = invoke("init", path, "--target", "late").output
    assert "300 rows, 8 columns beside 'late'" in output
    assert "tried on" not in output  # too few rows
    data = tomllib.loads((tmp_path / "orders.toml").read_text())
    assert data["columns"] == {
        "order": "id", "on": {"kind": "date", "format": "%d.%m.%Y"}, "amount": "money", "share": "percentage",
        "zip": "category", "note": "category", "express": "yes_no", "weight": "number",
    }  # fmt: skip
    assert (data["task"], data["target"], data["labels"]) == ("binary", "late", ["on time", "late"])
    assert Spec.from_data(data).target == "late"
    found = strictly(invoke("replay", path, "--spec", str(tmp_path / "orders.toml"), "--json").stdout)
    assert (found["examples"], found["rejected"]) == (300, 0)


def test_a_model_file_is_read_once(path, tmp_path, monkeypatch):
    invoke("init", path, "--target", "late")
    paths: list[str] = []
    monkeypatch.setattr(
        "learner.commands.options.read_model_file", lambda path: paths.append(path) or read_model_file(path)
    )
    invoke("replay", path, "--spec", str(tmp_path / "orders.toml"), "--compare", "rates=0.5")
    assert paths == [str(tmp_path / "orders.toml")]


def test_replay_decides_the_same_columns_and_says_them(path, tmp_path):
    invoke("init", path, "--target", "late")
    by_file = strictly(invoke("replay", path, "--spec", str(tmp_path / "orders.toml"), "--json").stdout)
    result = invoke("replay", path, "--target", "late", "--labels", "on time,late", "--json")
    assert strictly(result.stdout)["progressive_loss"] == by_file["progressive_loss"]
    assert "Note: columns: id order; date on; money amount; percentage share; category zip, note" in result.stderr
    piped = invoke(
        "replay", "-", "--format", "csv", "--target", "late", "--labels", "on time,late", "--json", stdin=orders(300)
    )
    assert strictly(piped.stdout)["progressive_loss"] == by_file["progressive_loss"]


def test_options_win_over_the_file(path, tmp_path):
    invoke("init", path, "--target", "late")
    spec = ["--spec", str(tmp_path / "orders.toml")]
    plain = strictly(invoke("replay", path, *spec, "--json").stdout)
    for options in (
        ["--ignore", "amount"],
        ["--category", "on"],
        ["--only", "amount,zip"],
        ["--rates", "0.5"],
        ["--l2", "1"],
    ):
        other = strictly(invoke("replay", path, *spec, *options, "--json").stdout)
        assert other["progressive_loss"] != plain["progressive_loss"], options
    assert "late2" in invoke_failing("replay", path, *spec, "--target", "late2")


def test_a_long_file_is_tried(file, tmp_path):
    path = file("orders.csv", orders(1500))
    found = strictly(invoke("init", path, "--target", "late", "--json").stdout)
    trial = found["trial"]
    assert trial["rows"] == 1500
    assert trial["proposal"]["late_loss"] < min(trial["fields"]["late_loss"], trial["proposal"]["constant_loss"])
    assert found["columns"]["amount"]["column"] == {"kind": "money"}
    assert found["columns"]["weight"]["n_missing"] > 0
    assert "# Late loss on 1500 rows: " in (tmp_path / "orders.toml").read_text()


def test_json_lines_keep_their_types(file, tmp_path):
    lines = "".join(
        f'{{"size": {k % 9}, "city": "{"ab"[k % 2]}", "y": {str(k % 3 == 0).lower()}}}\n' for k in range(60)
    )
    invoke("init", file("x.jsonl", lines.encode()), "--target", "y")
    data = tomllib.loads((tmp_path / "x.toml").read_text())
    assert (data["columns"], data["task"]) == ({"size": "number", "city": "category"}, "binary")


def test_what_it_refuses(path, file, tmp_path):
    assert "target must be a column of the file: order, on, " in invoke_failing("init", path, "--target", "lat")
    assert "did you mean 'late'?" in invoke_failing("init", path, "--target", "Late")
    invoke("init", path, "--target", "late")
    assert "orders.toml exists already" in invoke_failing("init", path, "--target", "late")
    invoke("init", path, "--target", "late", "--force")
    invoke("init", path, "--target", "late", "--out", str(tmp_path / "other.toml"))
    assert "can't be written" in invoke_failing(
        "init", path, "--target", "late", "--out", str(tmp_path / "no" / "x.toml")
    )
    file("more.csv", orders(30))
    assert "init is for files of records" in invoke_failing("init", file("x.vw", b"1 | a\n"), "--target", "y")
    assert "--out must name the model file" in invoke_failing(
        "init", str(tmp_path / "*.csv"), "--target", "late", "--force"
    )
    assert "must hold at least one record" in invoke_failing("init", file("e.csv", b"a,y\n"), "--target", "y")


def test_names_and_values_that_toml_would_not_take_as_they_are(file, tmp_path):
    text = 'a "b",c.d,é ü,y\n"x\ny",1,q,yes\n"x\ty",2,r,no\n'
    invoke("init", file("x.csv", text.encode()), "--target", "y")
    data = tomllib.loads((tmp_path / "x.toml").read_text())
    assert list(data["columns"]) == ['a "b"', "c.d", "é ü"]


@pytest.mark.parametrize(
    ("content", "words"), [("x = ", "x.toml"), ("colour = 1", "colour"), ("[columns]\na = 'mony'", "mony")]
)
def test_a_model_file_that_breaks_a_rule_is_one_line(path, file, content, words):
    error = invoke_failing("replay", path, "--spec", file("x.toml", content.encode()))
    assert words in error
    assert len(error.splitlines()) == 1


def test_featurize_shows_what_the_model_file_makes_of_a_record(path, tmp_path):
    invoke("init", path, "--target", "late")
    spec = str(tmp_path / "orders.toml")
    found = strictly(invoke("featurize", spec, '{"amount": "$5", "zip": "02139", "order": 7}', "--json").stdout)[
        "features"
    ]
    assert found == {"amount": 5.0, "zip=02139": 1.0} | dict.fromkeys(
        (f"{name}_missing" for name in ("on", "share", "note", "express", "weight")), 1.0
    )
    lines = invoke("featurize", spec, path, "--limit", "2", "--json").stdout.splitlines()
    assert all("on.year=2026" in strictly(line)["features"] for line in lines)


AMOUNTS = [f"${1200.5 + 7 * k:,.2f}" for k in range(40)]


@pytest.mark.parametrize(
    "targets",
    [AMOUNTS, [f"{k % 7},{k:02}" for k in range(40)], [f"{k}%" for k in range(40)], [f"{k * 97:,}" for k in range(40)]],
    ids=["money", "decimal commas", "percentages", "thousands"],
)
def test_a_number_to_predict_is_read_as_it_is_written(file, tmp_path, targets):
    lines = "".join(f'{k % 5};"{target}"\n' for k, target in enumerate(targets))
    path = file("x.csv", f"a;y\n{lines}".encode())
    invoke("init", path, "--target", "y")
    found = strictly(invoke("replay", path, "--spec", str(tmp_path / "x.toml"), "--json").stdout)
    plain = strictly(invoke("replay", path, "--target", "y", "--task", "regression", "--json").stdout)
    assert (found["examples"], found["rejected"]) == (40, 0)
    assert plain["progressive_loss"] == found["progressive_loss"]


def test_maps_and_lists_are_taken_by_the_type_of_each_value(file, tmp_path):
    lines = "".join(
        f'{{"tags": ["red", "x{k % 3}"], "shop": {{"size": {k}}}, "p": "$1", "y": {5 + k % 2}}}\n' for k in range(300)
    )
    path = file("x.jsonl", lines.encode())
    assert "maps or lists: each value by its type" in invoke("init", path, "--target", "y").output
    assert toml_of(tmp_path / "x.jsonl")["columns"] == {"p": "money"}
    found = strictly(invoke("replay", path, "--spec", str(tmp_path / "x.toml"), "--json").stdout)
    assert (found["examples"], found["rejected"]) == (300, 0)


def test_rows_that_can_t_be_read_are_counted_and_said(file):
    path = file("x.csv", b"a,y\n1,yes\n2,no\n3\n4,yes,5\n" + b"1,yes\n2,no\n" * 20)
    assert (
        "warning: 2 rows can't be read and are left out, the first: line 4: must have"
        in invoke("init", path, "--target", "y").output
    )


def test_columns_that_the_file_has_not_are_refused_and_the_note_says_what_is_used(path):
    replay = ("replay", path, "--target", "late", "--labels", "on time,late")
    assert "columns must be of the file: order, on, " in invoke_failing(*replay, "--only", "amount,nosuch")
    assert "(got nosuch)" in invoke_failing(*replay, "--text", "nosuch")
    note = invoke(*replay, "--only", "amount,zip", "--text", "zip", "--json").stderr
    assert "money amount; text zip" in note
    assert "ignore order, on, share, note, express, weight" in note


def test_whatever_columns_are_called_the_table_is_aligned_and_printable(file):
    rows = [{"a\nb": "x\x1b[2J", "名": "市", "long " * 30: "y" * 300, "k": k % 3, "y": k % 2} for k in range(4)]
    output = invoke("init", file("x.jsonl", "".join(map(to_line, rows)).encode()), "--target", "y").output
    assert output.replace("\n", "").isprintable()
    header, *lines = output.splitlines()[2:7]
    assert [line[:7].rstrip() for line in lines] == ["a\\nb", "名", "long lo", "k"]
    place = cell_len(header[: header.index("because")])
    assert [cell_len(line.partition(reason)[0]) for line, reason in zip(lines, REASONS, strict=True)] == [place] * 4


REASONS = ["1 different texts", "1 different texts", "1 different texts", "numbers"]


def to_line(record):
    return json.dumps(record) + "\n"


def test_names_shorter_than_the_header_are_aligned_with_it(file):
    output = invoke("init", file("x.csv", b"a,y\n1,0\n2,1\n"), "--target", "y").output
    header, line = output.splitlines()[2:4]
    assert line.index("number ") == header.index("kind")


def test_of_a_long_file_it_says_that_its_figures_are_of_the_first_rows(file, monkeypatch, tmp_path):
    monkeypatch.setattr("learner.commands.init.SAMPLE_ROWS", 1000)
    monkeypatch.setattr("learner.commands.init.MAX_TRIAL_ROWS", 1500)
    for n, first, is_whole in ((1600, "the first ", False), (1500, "", True)):
        path = file("x.csv", b"a,y\n" + b"".join(b"%d,%d\n" % (k % 7, k % 2) for k in range(n)))
        output = invoke("init", path, "--target", "y", "--force").output
        assert f": {first}1500 rows, 1 columns" in output
        assert "what is said of the columns is of the first 1000 rows" in output
        assert f"tried on {first}1500 rows" in output
        assert f"# Late loss on {first}1500 rows" in (tmp_path / "x.toml").read_text()
        found = strictly(invoke("init", path, "--target", "y", "--force", "--json").stdout)
        assert [found[key] for key in ("rows", "whole_file", "profiled_rows")] == [1500, is_whole, 1000]
        assert [found["trial"][key] for key in ("rows", "whole_file")] == [1500, is_whole]


def test_a_file_is_read_as_the_options_say_and_the_next_command_has_them(file, tmp_path):
    path = file("x.data", "1;Orléans;ja\n2;Nice;nein\n".encode("latin-1") * 20)
    options = ["--format", "csv", "--encoding", "latin-1", "--columns", '"a, b",city,paid']
    assert "try --encoding latin-1" in invoke_failing("init", path, "--target", "paid", "--format", "csv")
    output = invoke("init", path, "--target", "paid", *options).output
    words = shlex.split(output.partition("now: learner ")[2].splitlines()[0])
    assert words == ["replay", path, *options, "--spec", str(tmp_path / "x.toml")]
    assert strictly(invoke(*words, "--json").stdout)["examples"] == 40
    assert "city=Orléans" in invoke("featurize", str(tmp_path / "x.toml"), path, *options).output
    output = invoke("init", path, "--target", "c3", "--force", *options[:4], "--no-header").output
    assert f"{path} --format csv --encoding latin-1 --no-header --spec" in output


def test_a_file_of_features_is_sent_to_replay(file):
    path = file("x.vw", b"1 | a\n")
    assert f"not of features: try learner replay {path}" in invoke_failing("init", path, "--target", "y")
