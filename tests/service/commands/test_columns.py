"""A model whose spec says what its columns hold: a table goes from the file through the stream as in `replay`."""

import json
import tomllib
from pathlib import Path

import pytest

from learner.model import Model
from learner.spec import Spec
from tests.command_line import strictly
from tests.conftest import state_bytes


def line(k):
    """Return a line of the table."""
    outcome = "late" if k % 4 == 0 else "on time"
    return (
        f'{k % 28 + 1:02}.{k % 12 + 1:02}.2026,"${k * 37 % 2000:,}.50",{k % 70:05},{"Yes" if k % 3 else "NA"},{outcome}'
    )


TABLE = "\n".join(["on,amount,zip,express,late", *map(line, range(120)), ""]).encode()


@pytest.fixture
def spec(run, file, tmp_path):
    """Make a model file by ``learner init``; return its path."""
    run("init", file("orders.csv", TABLE), "--target", "late")
    return str(tmp_path / "orders.toml")


def test_what_is_pushed_by_the_model_s_columns_is_learned_as_typed_records_are(run, file, spec, drain):
    run("create", "m", "--spec", spec)
    result = run("push", "m", file("orders.csv", TABLE))
    assert result.stdout.startswith("pushed 120 examples")
    assert result.stderr == ""  # nothing had to be decided
    found = drain().model
    assert (found.n_examples, found.n_rejected) == (120, 0)
    data = tomllib.loads(Path(spec).read_text(encoding="utf-8"))
    assert found.spec.columns == Spec.from_data(data).columns
    expected = Model.from_spec(found.to_spec())
    for k in range(120):
        record = {"on": f"2026-{k % 12 + 1:02}-{k % 28 + 1:02}", "amount": k * 37 % 2000 + 0.5, "zip": f"{k % 70:05}"}
        expected.learn_one(record | ({"express": True} if k % 3 else {}), "late" if k % 4 == 0 else "on time")
    assert state_bytes(found) == state_bytes(expected)


def test_predict_reads_a_file_as_push_does(run, file, spec, drain, serving):
    run("create", "m", "--spec", spec)
    run("push", "m", file("orders.csv", TABLE))
    model = drain().model
    with serving():
        lines = run("predict", "m", file("orders.csv", TABLE), "--json").stdout.splitlines()
        typed = json.dumps({"on": "2026-01-01", "amount": 0.5, "zip": "00000", "express": None})
        assert strictly(lines[0])["score"] == strictly(run("predict", "m", typed, "--json").stdout)["score"]
    assert len(lines) == 120
    record = {"on": "02.02.2026", "amount": "$37.50", "zip": "00001", "express": "Yes"}
    assert strictly(lines[1])["score"] == model.score_one(record)


def test_a_model_that_says_no_columns_gets_numbers_booleans_and_texts(run, file, create, drain):
    create(featurizer="fields", labels=["on time", "late"])
    result = run("push", "m", file("orders.csv", TABLE), "--target", "late")
    assert result.stderr == "Note: columns: date on; money amount; category zip; yes_no express\n"
    names = set(drain().model.feature_names)
    assert {"amount", "zip=00001", "express", "express_missing", "on=02.02.2026"} <= names


def test_a_reply_names_fields_that_are_missing_or_unknown(run, file, spec, drain, serving):
    run("create", "m", "--spec", spec)
    run("push", "m", file("orders.csv", TABLE))
    drain()
    with serving():
        reply = strictly(
            run("predict", "m", '{"amount": "$5", "zip": null, "colour": "red", "express": "maybe"}', "--json").stdout
        )
        assert reply["missing_fields"] == ["on", "zip"]
        assert reply["unknown_fields"] == ["colour", "express"]
        whole = strictly(
            run("predict", "m", '{"amount": 5, "zip": "00001", "on": "02.02.2026", "express": "No"}', "--json").stdout
        )
        assert not {"missing_fields", "unknown_fields"} & whole.keys()
