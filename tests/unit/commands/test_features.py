"""``learner templates`` and ``learner featurize``: every template has an example, and features are those of the featurizer."""

import json

import pytest

import featurizers
from featurizers import Featurizer, get
from learner.commands.features import EXAMPLES
from tests.command_line import FILES, invoke, invoke_failing, strictly

OWN = {name for name, kind in featurizers.REGISTRY.items() if kind.__module__.startswith("featurizers.")}


def test_every_template_is_listed_with_its_parameters_and_an_example():
    listed = strictly(invoke("templates", "--json").output)
    assert {each["template"] for each in listed["templates"]} == OWN
    assert [each["name"] for each in listed["common_parameters"]] == ["field", "optional", "prefix"]
    for each in listed["templates"]:
        example = each["example"]
        assert example["features"] == Featurizer.from_spec({"templates": [example["spec"]]})(example["record"]) != {}
        known = {parameter["name"] for parameter in each["parameters"] + listed["common_parameters"]}
        assert known | {"template"} >= example["spec"].keys()
        assert all(not parameter["kind"].endswith("map") for parameter in each["parameters"]), each["template"]
    ends = next(each for each in listed["templates"] if each["template"] == "ends_with")
    assert ends["parameters"] == [{"name": "n", "kind": "a whole number or a list of whole numbers"}]


def test_the_list_for_people_has_all_of_it():
    text = invoke("templates").output
    assert all(f"\n{name}  " in f"\n{text}" for name in EXAMPLES)
    assert "  count   true or false, by default false\n" in text
    assert "    pixel(1,1)  0.25\n" in text
    assert "template must be one of bins, " in invoke_failing("templates", "nosuch")


@pytest.mark.parametrize("featurizer", ["text:tweet", "fields"])
def test_a_record_is_shown_as_its_features(featurizer):
    record = {"tweet": "Win a prize", "at": 3}
    features = get(featurizer)(record)
    assert strictly(invoke("featurize", featurizer, json.dumps(record), "--json").output) == {"features": features}
    lines = invoke("featurize", featurizer, json.dumps(record)).output.splitlines()
    assert [line.rpartition("  ")[0].rstrip() for line in lines] == list(features)


def test_a_file_of_records_is_shown_up_to_the_limit(file):
    path = file("x.jsonl", FILES["jsonl"])
    assert len(invoke("featurize", "fields", path, "--limit", "3", "--json").output.splitlines()) == 3
    assert len(invoke("featurize", "fields", path).output.split("\n\n")) == 10


def test_a_featurizer_in_a_file_is_used(tmp_path):
    (tmp_path / "f.toml").write_text('[[templates]]\ntemplate = "length"\nfield = "a"\n')
    assert invoke("featurize", str(tmp_path / "f.toml"), '{"a": "abc"}').output == "length  3\n"


def test_each_element_of_a_list_has_its_features_or_an_error():
    result = invoke("featurize", "fields", '[{"a": 1}, 5, {"a": 2}]', "--json", code=3)
    assert [strictly(line) for line in result.stdout.splitlines()] == [
        {"features": {"a": 1.0}}, {"error": "line 2: record must be a map of fields (got 5)"}, {"features": {"a": 2.0}},
    ]  # fmt: skip
    result = invoke("featurize", "fields", '[{"a": 1}, 5, {"a": 2}]', code=3)
    assert (result.stdout, result.stderr) == (
        "a  1\n\na  2\n",
        "Error: line 2: record must be a map of fields (got 5)\n",
    )
    assert "record must be a map of fields (got [1, 2])" in invoke_failing("featurize", "fields", "[1, 2]")
    assert "must hold at least one record" in invoke_failing("featurize", "fields", "[]")


def test_what_cannot_be_shown_is_said_in_words(file):
    assert "featurizer must be one of email," in invoke_failing("featurize", "emial", "{}")
    assert "record must be JSON" in invoke_failing("featurize", "fields", "{a}")
    assert "field 'text' is required (got None)" in invoke_failing("featurize", "text", "{}")
    assert "file must hold records" in invoke_failing("featurize", "text", file("x.vw", FILES["vw"]))
    path = file("x.jsonl", b'{"text": 3, "target": 1}\n{"text": "a", "target": 1}\n')
    result = invoke("featurize", "text", path, code=3)
    assert "Error: line 1: field 'text' must be a string (got 3)" in result.stderr
    assert "word_a" in result.stdout
