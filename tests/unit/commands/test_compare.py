"""``learner replay --compare``: the losses are those of each model alone; what is no model is said in words."""

import json
import random
import re

import msgpack
import pytest

from learner.commands.compare import compare, spec_of_file
from learner.commands.measures import AbsoluteErrors
from learner.commands.progressive import learn_file
from learner.confidence import FIRST
from learner.errors import LearnerError, SpecError
from learner.files import FORMATS
from learner.model import Model
from learner.spec import Spec
from learner.tasks import TASKS
from tests.command_line import FILES, invoke, strictly
from tests.conftest import SEED

NUMBERS = [task for task, entry in TASKS.items() if entry.predicts_numbers]


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


def replay(*arguments, code=0):
    """Run ``learner replay``; returns what it prints, on both channels."""
    return invoke("replay", *arguments, code=code).output


@pytest.mark.parametrize("task", ["binary", *NUMBERS])
def test_each_is_what_it_is_alone_and_the_difference_is_that_of_the_losses(tmp_path, task):
    path = write(tmp_path / "x.msgpack", task)
    made = {
        "default": Spec(task, seed=SEED),
        "same": Spec(task),
        "slow": Spec(task, rates=[1e-4]),
        "head": Spec(task, neural=[5, 4]),
    }
    found = compare(made, path, None, "target", quiet=True)
    rows = {row["spec"]: row for row in found["specs"]}
    for name, spec in made.items():
        alone = Model.from_spec(spec.to_data() | {"seed": SEED.hex()})
        learn_file(alone, path, None, "target", quiet=True)
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
        made = {"slow": Spec(rates=[1e-4]), "default": Spec()}
        found = compare(made, write(tmp_path / "x.msgpack", n=n), None, "target", quiet=True)
        assert found["specs"][1]["verdict"] == verdict
        assert found["specs"][0]["verdict"] == "undecided"


@pytest.mark.parametrize("form", FORMATS)
def test_a_spec_beside_itself_differs_by_exactly_zero_in_every_format(tmp_path, form):
    path = tmp_path / f"x.{form}"
    head, rows = FILES[form].split(b"\n", 1) if form in ("csv", "tsv") else (b"", FILES[form])
    path.write_bytes((head and head + b"\n") + rows * 20)
    others = ("--compare", "neural=5,4", "--compare", "", "--compare", "neural=5,4")
    found = strictly(replay(str(path), *others, "--json").splitlines()[-1])
    assert [row["spec"] for row in found["specs"]] == ["default", "neural=5,4", "default again", "neural=5,4 again"]
    assert (found["examples"], found["rejected"]) == (1200, 0)
    _, head, same, head_again = found["specs"]
    assert same["difference"] == same["low"] == same["high"] == 0.0
    assert head["difference"] == head_again["difference"] != 0.0


def test_a_long_msgpack_file_is_learned_whole(tmp_path):
    """Its blocks are cut between examples."""
    example = msgpack.packb([1, {"a": 1.0, "x" * 200: 2.0}])
    (tmp_path / "x.msgpack").write_bytes(example * 12_000)
    found = strictly(replay(str(tmp_path / "x.msgpack"), "--compare", "rates=0.5", "--json"))
    assert [row["examples"] for row in found["specs"]] == [12_000, 12_000]
    assert found["rejected"] == 0


def test_featurizers_are_compared_and_a_record_that_one_refuses_is_learned_by_none(tmp_path):
    (tmp_path / "x.jsonl").write_text(
        '{"address": "a@b.c", "target": 1}\n{"address": "ab.c", "target": 0}\n' * 5
        + '{"address": 5, "target": 1}\n{no\n'
    )
    text = replay(str(tmp_path / "x.jsonl"), "--featurizer", "fields", "--compare", "featurizer=email", code=3)
    assert "rejected 2" in text
    arguments = ["replay", str(tmp_path / "x.jsonl"), "--compare", "featurizer=email", "--json"]
    found = strictly(invoke(*arguments, code=3).stdout)
    fields, email = found["specs"]
    assert fields["examples"] == email["examples"] == 10
    assert fields["features"] < email["features"]


def test_the_table_has_a_line_a_spec(tmp_path):
    path = write(tmp_path / "x.msgpack")
    (tmp_path / "slow.toml").write_text("rates = [0.0001]\n")
    (tmp_path / "hinge.json").write_text(json.dumps(Model(loss="hinge").to_spec()))
    text = replay(path, "--rates", "0.5,2", *(f"--compare={tmp_path / name}" for name in ("slow.toml", "hinge.json")))
    assert "(0) rates=0.5,2\n" in text
    assert f"(1) {tmp_path / 'slow.toml'}\n" in text
    for part in ("  examples           (0)", "95% at any time", "accuracy", "AUC", "worse", "best constant"):
        assert part in text
    text = replay(
        write(tmp_path / "y.msgpack", "regression"), "--task", "regression", "--compare", "rates=2 loss=squared"
    )
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
            "of the same two labels, or numbers if it does ('task=quantile level=0.9' does not)",
        ),
        (
            "task=regression",
            "of the same two labels, or numbers if it does ('task=regression' does not)",
        ),
        ("nowhere.toml", "nowhere.toml: "),
        ("'open", "--compare must be options of a model"),
    ],
)
def test_what_is_no_spec_is_said_in_words(tmp_path, spec, message):
    assert message in replay(write(tmp_path / "x.msgpack", n=2), "--compare", spec, code=2)


def test_files_that_hold_no_spec_or_no_example_are_said_in_words(tmp_path):
    (tmp_path / "list.json").write_text("[1]")
    with pytest.raises(SpecError, match="spec must be a map"):
        spec_of_file(str(tmp_path / "list.json"), Spec())
    (tmp_path / "x.msgpack").write_bytes(msgpack.packb([1, 2]))
    with pytest.raises(LearnerError, match=r"at least one example that can be learned \(got 1 bad ones\)"):
        compare({"a": Spec(), "b": Spec()}, str(tmp_path / "x.msgpack"), None, "target", quiet=True)


def test_each_model_has_the_late_loss_that_it_has_alone(tmp_path):
    path = write(tmp_path / "x.msgpack", n=3500)
    found = strictly(replay(path, "--compare", "rates=0.5", "--compare", "loss=hinge", "--json"))
    for row, options in zip(found["specs"], ([], ["--rates", "0.5"], ["--loss", "hinge"]), strict=True):
        alone = strictly(replay(path, "--json", *options))
        assert row["late_examples"] == alone["late_examples"] == 2500
        assert row["late_loss"] == pytest.approx(alone["late_loss"], rel=0.02)
    rows = [
        line for line in replay(path, "--compare", "loss=hinge").splitlines() if re.match(r"\(\d\) .* 0\.\d{6} ", line)
    ]
    assert f" {found['specs'][0]['late_loss']:.6f} " in rows[0]
    assert f" {found['specs'][2]['late_loss']:.6f} " not in rows[1]  # the hinge loss, in a table of log losses


def counts(path, scale=1.0, n=2000):
    """Write counts times `scale` that depend on a number and a category."""
    r = random.Random(6)
    lines = []
    for _ in range(n):
        x = {"a": r.uniform(0, 1), f"w={r.randrange(5)}": 1.0}
        lines.append(msgpack.packb([scale * int(r.expovariate(1 / (2 + 3 * x["a"]))), x, r.choice([1.0, 2.0])]))
    path.write_bytes(b"".join(lines))
    return str(path)


def test_tasks_of_numbers_are_compared_by_their_absolute_error(tmp_path):
    path = counts(tmp_path / "x.msgpack")
    others = ["task=poisson", "task=quantile", "task=quantile level=0.9"]
    found = strictly(replay(path, "--task", "regression", *(f"--compare={other}" for other in others), "--json"))
    assert found["measure"] == "absolute error"
    mean, rate, median, high = found["specs"]
    assert mean["loss"] == pytest.approx(mean["mae"])
    assert rate["loss"] == pytest.approx(rate["mae"], rel=1e-3)
    assert median["loss"] == pytest.approx(2.0 * median["pinball"])
    assert high["loss"] > mean["loss"] > median["loss"]
    assert found["constant_loss"] == pytest.approx(mean["constant_mae"])
    for row in (rate, median, high):
        assert row["difference"] == pytest.approx(row["loss"] - mean["loss"], abs=1e-9)
    (tmp_path / "rate.toml").write_text('task = "poisson"\n')
    text = replay(path, "--task", "quantile", "--level", "0.9", "--compare", str(tmp_path / "rate.toml"))
    assert "absolute error" in text
    assert "covered" not in text  # a figure of one of them only


def test_an_absolute_error_of_a_quantile_is_found_from_its_loss(tmp_path):
    """As the distance of the prediction from the target, example by example."""
    model = Model("quantile", level=0.9, outcomes="at_once", seed=SEED)
    errors = AbsoluteErrors(model)
    for i in range(300):
        x, y = {"a": float(i % 7)}, float(i * 37 % 11)
        p = model.predict_one(x)
        data = msgpack.packb([y, x])
        assert errors.add(model.learn_packed(data), data)[0] == pytest.approx(abs(p - y), abs=1e-9)


def test_two_classes_are_compared_with_many_by_their_log_loss(tmp_path):
    path = write(tmp_path / "x.msgpack", n=500)
    found = strictly(replay(path, "--compare", "task=multiclass", "--json"))
    assert found["measure"] == "log loss"
    assert [row["loss"] for row in found["specs"]] == pytest.approx([row["log_loss"] for row in found["specs"]])


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e9])
def test_the_columns_are_aligned_whatever_the_numbers(tmp_path, scale):
    text = replay(counts(tmp_path / "x.msgpack", scale), "--task", "regression", "--compare", "rates=0.5")
    first, _, final = text.partition("\n\n")[2].partition("\n\n")
    ends = [[match.end() for match in re.finditer(r"\S+", line)][:3] for line in first.splitlines()]
    assert all(end == ends[0] for end in ends), first
    titles, *rows = final.splitlines()[:3]
    for title in ("squared error", "minus (0)", "late loss", "RMSE", "MAE", "R2", "examples/s"):
        end = titles.index(title) + len(title)
        for row in rows:
            assert len(row) <= end or row[end] == " ", (title, final)
            assert row[end - 1] != " " or (title == "minus (0)" and row is rows[0]), (title, final)
    assert rows[1].index("[") == titles.index("95% at any time")
