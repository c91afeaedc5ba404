"""learner outcome, and predict --outcome-id: what came of predictions, told one by one or by a file."""

import pytest

from learner.service.wire import decode_kept
from tests.command_line import errors, strictly
from tests.streams import KEYS


@pytest.fixture
def asked(run, create, serving):
    """A model that was asked about four records."""
    create(featurizer="fields", target="sold")
    with serving():
        for name in ("a1", "0017", "18", "x,y"):
            assert run("predict", "m", '{"size": 3}', "--outcome-id", name).stdout == "0.5\n"


def test_one_outcome_is_told_and_learned(run, client, asked, drain):
    assert decode_kept(client.get(KEYS.kept_answer(b"a1"))) is not None
    assert run("outcome", "m", "a1", "1", "--importance", "2.5").stdout == "pushed 1 outcome\n"
    assert strictly(run("outcome", "m", "a1", "1", "--json").stdout) == {"model": "m", "pushed": 1, "bad": 0}
    owner = drain()
    assert (owner.model.n_examples, owner.learning.n_repeated, owner.model.n_rejected) == (1, 1, 0)
    text = run("status", "m").stdout
    assert "answered loss     0.693147 (of 1 answers whose outcomes came)" in text
    assert "late outcomes     3 awaited, 0 didn't come in time" in text
    assert strictly(run("status", "m", "--json").stdout)["kept"] == 3


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", b'outcome_id,sold,importance\na1,1,\n0017,0,2\n18,1,1\n"x,y",0,\n,1,\nb,perhaps,much\n'),
        (
            "x.jsonl",
            b'{"outcome_id": "a1", "sold": 1}\n{"outcome_id": "0017", "sold": 0}\n{"outcome_id": 18, "sold": 1}\n{"sold": 1}',
        ),
    ],
)
def test_the_outcomes_of_a_file_are_told(run, file, asked, drain, name, content):
    result = run("outcome", "m", "--file", file(name, content), code=3)
    assert result.stdout == f"pushed {3 + 2 * (name == 'x.csv')} outcomes, left out 1 bad ones\n"
    assert "outcome_id must be a string of 1 to 256 bytes" in errors(result)[0]
    owner = drain()
    assert (owner.model.n_examples, owner.model.n_rejected) == (3 + (name == "x.csv"), name == "x.csv")


def test_what_can_t_be_meant_is_one_line(run, file, create):
    create(featurizer="fields")
    for arguments in (["m"], ["m", "a1"], ["m", "a1", "1", "--file", "x.csv"], ["nobody", "a1", "1"], ["m", "", "1"]):
        (line,) = errors(run("outcome", *arguments, code=2))
        assert line.startswith("Error: ")
    path = file("x.jsonl", b'{"a": 1, "target": 1}\n')
    for arguments in (
        ["outcome", "m", "\udcff", "1"],
        ["outcome", "m", "a1", "\udcff"],
        ["predict", "m", "{}", "--outcome-id", "\udcff"],
        ["push", "m", path, "--id", "\udcff"],
    ):
        (line,) = errors(run(*arguments, code=2))
        assert "must have no lone surrogates" in line
    (line,) = errors(run("predict", "m", '[{"a": 1}]', "--outcome-id", "a1", code=2))
    assert line == "Error: --outcome-id must be of one record in JSON (got '[{\"a\": 1}]')"
