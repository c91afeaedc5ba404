"""Replay learns what the model itself learns: arrays, named algorithms, and within a cap."""

import json
import re

import pytest
from click.testing import CliRunner

from learner.commands import main
from learner.model import Model
from learner.packing import pack
from tests.conftest import SEED
from tests.unit.streams import long_tail, pack_weighed, packed, pixels, scaled_words


def test_a_file_of_arrays_is_replayed(tmp_path):
    data = b"".join(pack([y, x]) for x, y in pixels())
    (tmp_path / "pixels.msgpack").write_bytes(data)
    run = CliRunner().invoke(main, ["replay", str(tmp_path / "pixels.msgpack")])
    assert run.exit_code == 0, run.output
    learned = Model(seed=SEED)
    learned.learn_packed(data)
    assert f"{learned.progressive_loss:.6f}" in run.output
    assert [line.split()[-1] for line in run.output.splitlines()[3:5]] == ["13", "13"]  # with the constant


def test_replay_takes_an_optimizer_and_its_options(tmp_path):
    file = tmp_path / "examples.msgpack"
    examples = list(scaled_words("logistic", 100))
    file.write_bytes(pack_weighed(examples))
    run = CliRunner().invoke(main, ["replay", str(file), "--optimizer", "ftrl:alpha=0.1,l1=1", "--json"])
    assert run.exit_code == 0, run.output
    model = Model(optimizer={"name": "ftrl", "alpha": 0.1, "l1": 1.0}, seed=SEED)
    model.learn_packed(pack_weighed(examples))
    assert json.loads(run.stdout)["progressive_loss"] == pytest.approx(model.progressive_loss, rel=1e-12)
    run = CliRunner().invoke(main, ["replay", str(file), "--compare", "optimizer=ftrl:alpha=0.1,l1=1", "--json"])
    assert run.exit_code == 0, run.output
    assert json.loads(run.stdout)["specs"][1]["loss"] == pytest.approx(model.progressive_loss, rel=1e-12)
    for text, message in (
        ("ftrl:alpha", "--optimizer must be NAME or NAME:OPTION=NUMBER,... (got 'ftrl:alpha')"),
        ("ftrl:l1=1,l1=2", "--optimizer must be NAME or NAME:OPTION=NUMBER,... (got 'ftrl:l1=1,l1=2')"),
        ("ftrl:name=1", "--optimizer must be NAME or NAME:OPTION=NUMBER,... (got 'ftrl:name=1')"),
        ("ftrl:l1=a", "--optimizer must be numbers with commas (got 'a')"),
        ("momentum", "optimizer must be one of sgd, adagrad, adam, ftrl, ng, nag (got 'momentum')"),
    ):
        run = CliRunner().invoke(main, ["replay", str(file), "--optimizer", text])
        assert run.exit_code == 2
        assert message in run.output


def test_replay_keeps_to_the_cap_and_says_what_became_of_the_features(tmp_path):
    file = tmp_path / "examples.msgpack"
    file.write_bytes(b"".join(packed(long_tail(300))))
    options = ["--max-features", "120", "--l2", "0.01"]
    run = CliRunner().invoke(main, ["replay", str(file), *options, "--json"])
    assert run.exit_code == 0, run.output
    found = json.loads(run.stdout)
    assert found["features"] <= 120
    assert found["evicted"] > 0
    run = CliRunner().invoke(main, ["replay", str(file), *options])
    assert run.exit_code == 0, run.output
    assert re.search(r"^features before   \d+ admitted, \d+ times refused, [1-9]\d* evicted$", run.output, re.MULTILINE)


def test_targets_outside_the_range_and_labels_beyond_the_bound_are_rejected(tmp_path):
    file = tmp_path / "examples.jsonl"
    file.write_text("".join(f'{{"a": 1, "target": {y}}}\n' for y in (-3, 0, 5, 6, 1e9)))
    for options, rejected, why in (
        (["--task", "regression", "--target-range", "-3,5"], 2, "target must be a number within target_range, [-3, 5]"),
        (["--task", "poisson", "--target-range", "0,5"], 3, "target must be a number within target_range, [0, 5]"),
        (["--task", "multiclass", "--max-labels", "3"], 2, "labels must be at most max_labels, 3 (got 6"),
    ):
        run = CliRunner().invoke(main, ["replay", str(file), *options])
        assert run.exit_code == 3, run.output
        assert f"{rejected} rejected" in run.output
        assert why in run.output
    run = CliRunner().invoke(main, ["replay", str(file), "--task", "regression", "--target-range", "0"])
    assert run.exit_code == 2
    assert "target_range must be two numbers within" in run.output
