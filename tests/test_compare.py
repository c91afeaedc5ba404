"""Several models side by side: the losses are those of each alone, and the intervals hold at all times."""

import json
import math
import random

import msgpack
import numpy as np
import pytest
from click.testing import CliRunner

from learner.commands import FORMATS, main
from learner.commands import compare as comparing
from learner.commands.compare import ALPHA, FIRST, Differences, compare, margin
from learner.commands.replay import replay
from learner.errors import LearnerError, SpecError
from learner.model import Model
from learner.tasks import TASKS
from tests.conftest import SEED
from tests.test_cli import FILES, strictly

NUMBERS = [task for task, entry in TASKS.items() if entry.predicts_numbers]


# ---- the interval ----------------------------------------------------------------------------------------------------------
def intervals(x):
    """Where the interval of each row of values lies after every column: (means, halves), by the formula of `Differences`."""
    n = np.arange(1, x.shape[1] + 1)
    mean = np.cumsum(x, axis=1) / n
    deviation = np.sqrt(np.maximum(np.cumsum(x * x, axis=1) / n - mean * mean, 0.0))
    farthest = np.maximum(np.maximum.accumulate(x, axis=1) - mean, mean - np.minimum.accumulate(x, axis=1))
    return mean, deviation * margin(n, ALPHA) + math.log(2 / ALPHA) * farthest / n


def rare(r, shape):
    """A small gain nearly always, and one time in fifty a loss that makes up for it."""
    return 0.01 * r.normal(size=shape) - 0.02 + (r.random(shape) < 0.02)


@pytest.mark.parametrize(
    ("draw", "mean"),
    [
        (lambda r, shape: r.normal(size=shape), 0.0),
        (lambda r, shape: r.exponential(size=shape), 1.0),
        (lambda r, shape: np.exp(1.5 * r.normal(size=shape)), math.exp(1.125)),
        (lambda r, shape: r.standard_t(3, size=shape), 0.0),
        (rare, 0.0),
    ],
)
def test_the_interval_covers_the_mean_at_all_times(draw, mean):
    """In at least 95% of the runs, at every one of 10,000 moments."""
    runs, n = 300, 10_000
    means, halves = intervals(draw(np.random.default_rng(1), (runs, n)))
    missed = (np.abs(means - mean) > halves)[:, FIRST - 1 :].any(axis=1)
    assert missed.mean() <= ALPHA


def test_an_interval_for_a_fixed_number_of_examples_would_not_hold_at_all_times():
    n = np.arange(1, 10_001)
    means = np.cumsum(np.random.default_rng(1).normal(size=(300, len(n))), axis=1) / n
    assert (np.abs(means) > 1.96 / np.sqrt(n))[:, FIRST - 1 :].any(axis=1).mean() > 3 * ALPHA


def test_the_interval_covers_a_mean_that_drifts():
    """Then it is about the average of the means so far; the spread grows tenfold meanwhile."""
    runs, n = 200, 10_000
    centre = np.sin(np.arange(n) / 500)
    x = centre + np.random.default_rng(1).normal(size=(runs, n)) * np.linspace(0.3, 3.0, n)
    means, halves = intervals(x)
    target = np.cumsum(centre) / np.arange(1, n + 1)
    assert (np.abs(means - target) > halves)[:, FIRST - 1 :].any(axis=1).mean() <= ALPHA


def test_the_interval_is_the_formula_whatever_the_batches():
    x = np.random.default_rng(2).exponential(size=(1, 3 * FIRST))
    means, halves = intervals(x)
    differences = Differences()
    r, start = random.Random(3), 0
    while start < x.shape[1]:
        stop = min(start + r.randrange(1, 700), x.shape[1])
        differences.add(x[0, start:stop], np.ones(stop - start))
        found = differences.interval(ALPHA)
        assert found.mean == pytest.approx(means[0, stop - 1])
        half = halves[0, stop - 1] if stop >= FIRST else math.inf
        assert (found.low, found.high) == pytest.approx((found.mean - half, found.mean + half))
        start = stop


def test_importances_weigh_differences_and_examples_that_one_did_not_learn_are_left_out():
    differences = Differences()
    differences.add(np.array([1.0, math.nan, 5.0]), np.array([3.0, math.nan, 1.0]))
    differences.add(np.array([math.nan]), np.array([2.0]))
    assert differences.interval(ALPHA).mean == 2.0
    assert math.isnan(Differences().interval(ALPHA).mean)


# ---- models ----------------------------------------------------------------------------------------------------------------
def write(path, task="binary", n=4000, weighted=True):
    r = random.Random(5)
    lines = []
    for _ in range(n):
        x = {"a": r.gauss(0, 1), f"w={r.randrange(20)}": 1.0}
        signal = 2.0 * x["a"] + r.gauss(0, 1)
        y = (1 if signal > 0 else -1) if task == "binary" else 50.0 + signal
        lines.append(msgpack.packb([y, x, r.choice([1.0, 2.0])] if weighted else [y, x]))
    path.write_bytes(b"".join(lines))
    return str(path)


@pytest.fixture
def run():
    def ran(*arguments, code=0):
        result = CliRunner().invoke(main, ["replay", *arguments])
        assert result.exit_code == code, result.output
        return result.output

    return ran


@pytest.mark.parametrize("task", ["binary", *NUMBERS])
def test_each_is_what_it_is_alone_and_the_difference_is_that_of_the_losses(tmp_path, task):
    path = write(tmp_path / "x.msgpack", task)
    made = {
        "default": Model(task, seed=SEED),
        "same": Model(task),
        "slow": Model(task, rates=[1e-4]),
        "head": Model(task, neural=[5, 4]),
    }
    found = compare(made, path, None, "target", quiet=True)
    rows = {row["spec"]: row for row in found["specs"]}
    for name, model in made.items():
        alone = Model.from_spec(model.to_spec() | {"seed": SEED.hex()})
        replay(alone, path, None, "target", quiet=True)
        assert rows[name].items() >= alone.summary().items()
        assert rows[name]["loss"] == pytest.approx(alone.progressive_loss)
        assert rows[name]["difference"] == pytest.approx(rows[name]["loss"] - rows["default"]["loss"], abs=1e-9)
        assert rows[name]["low"] <= rows[name]["difference"] <= rows[name]["high"]
    assert [rows["same"][name] for name in ("difference", "low", "high", "verdict")] == [0.0, 0.0, 0.0, "undecided"]
    assert rows["slow"]["verdict"] == "worse"
    assert rows["slow"]["low"] > 0.0
    assert found["constant_loss"] == pytest.approx(rows["default"]["constant_loss"])


def test_the_better_one_is_called_better_and_before_the_first_thousand_examples_nobody_is(tmp_path):
    for n, verdict in ((4000, "better"), (FIRST - 1, "undecided")):
        made = {"slow": Model(rates=[1e-4]), "default": Model()}
        found = compare(made, write(tmp_path / "x.msgpack", n=n), None, "target", quiet=True)
        assert found["specs"][1]["verdict"] == verdict
        assert found["specs"][0]["verdict"] == "undecided"


@pytest.mark.parametrize("form", FORMATS)
def test_a_spec_beside_itself_differs_by_exactly_zero_in_every_format(run, tmp_path, form):
    path = tmp_path / f"x.{form}"
    head, rows = FILES[form].split(b"\n", 1) if form in ("csv", "tsv") else (b"", FILES[form])
    path.write_bytes((head and head + b"\n") + rows * 20)
    found = strictly(run(str(path), "--compare", "neural=5,4", "--compare", "", "--compare", "neural=5,4", "--json"))
    assert [row["spec"] for row in found["specs"]] == ["default", "neural=5,4", "default again", "neural=5,4 again"]
    assert (found["examples"], found["rejected"]) == (1200, 0)
    _, head, same, head_again = found["specs"]
    assert same["difference"] == same["low"] == same["high"] == 0.0
    assert head["difference"] == head_again["difference"] != 0.0


def test_a_long_msgpack_file_is_learned_whole(run, tmp_path):
    """Its blocks are cut between examples."""
    example = msgpack.packb([1, {"a": 1.0, "x" * 200: 2.0}])
    (tmp_path / "x.msgpack").write_bytes(example * 12_000)
    found = strictly(run(str(tmp_path / "x.msgpack"), "--compare", "rates=0.5", "--json"))
    assert [row["examples"] for row in found["specs"]] == [12_000, 12_000]
    assert found["rejected"] == 0


def test_featurizers_are_compared_and_a_record_that_one_refuses_is_learned_by_none(run, tmp_path):
    (tmp_path / "x.jsonl").write_text(
        '{"address": "a@b.c", "target": 1}\n{"address": "ab.c", "target": 0}\n' * 5
        + '{"address": 5, "target": 1}\n{no\n'
    )
    text = run(str(tmp_path / "x.jsonl"), "--featurizer", "fields", "--compare", "featurizer=email")
    assert "rejected 2" in text
    arguments = ["replay", str(tmp_path / "x.jsonl"), "--compare", "featurizer=email", "--json"]
    found = strictly(CliRunner().invoke(main, arguments).stdout)
    fields, email = found["specs"]
    assert fields["examples"] == email["examples"] == 10
    assert fields["features"] < email["features"]


def test_the_table_has_a_line_a_spec(run, tmp_path):
    path = write(tmp_path / "x.msgpack")
    (tmp_path / "slow.toml").write_text("rates = [0.0001]\n")
    (tmp_path / "hinge.json").write_text(json.dumps(Model(loss="hinge").to_spec()))
    text = run(path, "--rates", "0.5,2", *(f"--compare={tmp_path / name}" for name in ("slow.toml", "hinge.json")))
    assert "(0) rates=0.5,2\n" in text
    assert f"(1) {tmp_path / 'slow.toml'}\n" in text
    for part in ("  examples         (0)", "95% at any time", "accuracy", "AUC", "worse", "best constant"):
        assert part in text
    text = run(write(tmp_path / "y.msgpack", "regression"), "--task", "regression", "--compare", "rates=2 loss=squared")
    assert "squared error" in text
    assert "R2" in text


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("rate=0.5", "--compare must be options of a model as NAME=VALUE, or a .toml or .json file (got 'rate=0.5')"),
        ("neural", "(got 'neural')"),
        ("neural-only=1", "(got 'neural-only=1')"),
        ("json", "(got 'json')"),
        ("rates=x", "--rates must be numbers with commas"),
        ("loss=cubic", "loss of a binary task must be one of"),
        (
            "task=quantile level=0.9",
            "--compare must have the task and the labels of the first model ('task=quantile level=0.9' has others)",
        ),
        (
            "task=regression",
            "--compare must have the task and the labels of the first model ('task=regression' has others)",
        ),
        ("nowhere.toml", "nowhere.toml: "),
        ("'open", "--compare must be options of a model"),
    ],
)
def test_what_is_no_spec_is_said_in_words(run, tmp_path, spec, message):
    assert message in run(write(tmp_path / "x.msgpack", n=2), "--compare", spec, code=2)


def test_files_that_hold_no_spec_or_no_example_are_said_in_words(tmp_path):
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(SpecError, match="spec must be a map"):
        comparing.model_of_file(str(tmp_path / "list.json"), Model())
    (tmp_path / "x.msgpack").write_bytes(msgpack.packb([1, 2]))
    with pytest.raises(LearnerError, match=r"at least one example that can be learned \(got 1 bad ones\)"):
        compare({"a": Model(), "b": Model()}, str(tmp_path / "x.msgpack"), None, "target", quiet=True)
