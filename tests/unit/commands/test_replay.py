"""``learner replay``: the model on the same file, its table, and what can't be learned."""

import json
import math
import re

import msgpack
import pytest

from learner.commands.progressive import learn_file
from learner.files import FORMATS
from learner.model import Model
from tests.command_line import BAD_LINE, FILES, ROWS, errors, invoke, invoke_failing, reference, strictly
from tests.conftest import SEED, state_bytes


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("zipped", [False, True])
def test_replay_is_the_model_on_the_same_file(file, form, zipped):
    path = file(f"x.{form}" + ".gz" * zipped, FILES[form])
    expected = reference(form, path)
    expected.learn_held()
    model = Model(featurizer="fields", seed=SEED)
    learn_file(model, path, None, "target", quiet=True)
    assert state_bytes(model) == state_bytes(expected)
    found = strictly(invoke("replay", path, "--json").stdout)
    assert {"progressive_loss", "examples", "features", "seconds"} <= found.keys()
    assert (found["examples"], found["rejected"], found["features"]) == (60, 0, expected.n_features)
    assert found["progressive_loss"] == expected.progressive_loss
    assert found.items() >= expected.figures().items()
    assert strictly(invoke("replay", "-", "--format", form, "--json", stdin=FILES[form]).stdout)["examples"] == 60


def test_replay_of_more_than_a_block_is_the_model_on_the_same_file(file):
    examples = [msgpack.packb([i % 2, {f"n{i * 7919 % 3001}": 1.0 + i % 3, "x" * 200: 1}]) for i in range(6000)]
    model, expected = Model(seed=SEED), Model(seed=SEED)
    learn_file(model, file("x.msgpack", b"".join(examples)), None, "target", quiet=True)
    expected.learn_packed(b"".join(examples))
    expected.learn_held()
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
def test_replay_takes_loss_task_and_rates(file, options, kind):
    path = file("x.csv", FILES["csv"])
    made = {name[2:]: value for name, value in zip(options[::2], options[1::2], strict=True)}
    if "rates" in made:
        made["rates"] = [float(rate) for rate in made["rates"].split(",")]
    if made.get("loss") in ("squared", "poisson"):
        made["task"] = {"squared": "regression"}.get(made["loss"], made["loss"])
    expected = reference("csv", path, **made)
    assert strictly(invoke("replay", path, "--json", *options).stdout)["progressive_loss"] == expected.progressive_loss
    text = invoke("replay", path, *options).stdout
    assert f"progressive loss  {expected.progressive_loss:.6f} ({kind})" in text
    assert {"squared error": "R2", "pinball loss": "covered", "deviance": "RMSE"}.get(kind, "calibration error") in text


def test_the_progressive_loss_is_the_mean_log_loss_before_each_example_is_learned(file):
    model, total = Model(featurizer="fields", seed=SEED), 0.0
    for target, record in ROWS:
        total -= math.log(model.predict_proba_one(record)[1 if target else -1])
        model.learn_one(record, target)
    assert strictly(invoke("replay", file("x.csv", FILES["csv"]), "--json").stdout)[
        "progressive_loss"
    ] == pytest.approx(total / 60)


def test_replay_learns_labels(file):
    path = file("x.csv", b"a,target\n" + b"1,spam\n2,ham\n" * 20)
    assert strictly(invoke("replay", path, "--json", "--labels", "ham,spam").stdout)["examples"] == 40
    assert strictly(invoke("replay", path, "--json", "--labels", "ham,spam").stdout)["rejected"] == 0


def test_replay_prints_a_table_whose_counter_doubles(file):
    lines = invoke("replay", file("x.csv", FILES["csv"])).stdout.splitlines()
    assert lines[0] == "binary, logistic loss"
    assert lines[1].split() == ["average", "since", "example", "current", "current", "current"]
    rows = [line.split() for line in lines[3:] if re.match(r" +\d\.\d{6} ", line)]
    assert [int(row[2]) for row in rows] == [1, 2, 4, 8, 16, 32]
    assert [int(float(row[3])) for row in rows] == [ROWS[n - 1][0] for n in (1, 2, 4, 8, 16, 32)]
    assert "examples          60" in lines
    assert lines[-1].startswith("seconds ")


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "msgpack"])
def test_replay_goes_on_after_a_bad_line_and_counts_it(file, form):
    head, _, tail = FILES[form].partition(b"\n")
    result = invoke("replay", file(f"x.{form}", head + b"\n" + BAD_LINE[form] + tail), "--json", code=3)
    assert re.match(r"Error: line 2: ", errors(result)[0])
    found = strictly(result.stdout)
    assert (found["examples"], found["rejected"]) == (60, 1)


def test_replay_names_what_can_t_be_learned(file):
    content = FILES["msgpack"] + msgpack.packb([7, {"a": 1}]) + msgpack.packb({"a": 1}) + FILES["msgpack"]
    result = invoke("replay", file("x.msgpack", content), "--json", code=3)
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
        ("x.csv", b"a,Target\n1,1\n", "did you mean 'Target'?"),
        ("x.csv", b"a,target\n1,good\n2,bad\n", "two values, bad and good: add --labels bad,good"),
        ("x.csv", b"a,target\n1,u\n2,v\n3,w\n", "more than two values: add --task multiclass"),
        ("x.csv", b"a,target\n1,\xe9\n", "try --encoding latin-1"),
        ("x.msgpack", FILES["msgpack"] + b"\x92\x01", "whole msgpack"),
        ("x.msgpack", b"\xc1" * 100, "whole msgpack"),
        ("x.txt", b"1", "x.txt"),
        ("x.csv", b"\x1f\x8b\x08broken", "gzip must be whole"),
    ],
)
def test_a_file_that_can_t_be_replayed_ends_with_one_line(file, name, content, told):
    result = invoke("replay", file(name, content), "--json", code=2)
    assert told in result.stderr.splitlines()[-1]
    assert result.stderr.splitlines()[-1].startswith("Error: ")


def test_a_missing_file_and_a_wrong_option_of_replay_are_one_line(file):
    assert "/nonexistent.csv" in invoke_failing("replay", "/nonexistent.csv")
    assert "--rates must be numbers" in invoke_failing("replay", file("x.csv", FILES["csv"]), "--rates", "x")
    assert "nosuch" in invoke_failing("replay", file("x.csv", FILES["csv"]), "--featurizer", "nosuch")


def grouped(n):
    """Return examples whose targets come in runs of 200, with features that tell nothing."""
    return [msgpack.packb([i // 200 % 2, {f"w={i * 7919 % 50}": 1}]) for i in range(n)]


def slow_late_loss(examples, n_together):
    """Return the late loss and its number of examples, by a loop over blocks and one over examples."""
    model, losses = Model(seed=SEED), []
    for first in range(0, len(examples), n_together):
        block = [msgpack.unpackb(data) for data in examples[first : first + n_together]]
        if first:
            losses += [-math.log(model.predict_proba_one(x)[1 if y else -1]) for y, x in block]
        for y, x in block:
            model.learn_one(x, y)
    return sum(losses) / len(losses), len(losses)


@pytest.mark.parametrize("n_together", [1000, 150, 7])
@pytest.mark.parametrize("form", ["msgpack", "jsonl"])
def test_the_late_loss_is_of_predictions_before_any_outcome_of_the_block(file, form, n_together):
    examples = grouped(2300)
    lines = "".join(
        json.dumps({"target": y, **{name.replace("=", ""): v for name, v in x.items()}}) + "\n"
        for y, x in map(msgpack.unpackb, examples)
    )
    if form == "jsonl":
        path = file("x.jsonl", lines.encode())
        examples = [msgpack.packb([y, {next(iter(x)).replace("=", ""): 1}]) for y, x in map(msgpack.unpackb, examples)]
    else:
        path = file("x.msgpack", b"".join(examples))
    found = strictly(invoke("replay", path, "--json", "--late", str(n_together)).stdout)
    late_loss, late_examples = slow_late_loss(examples, n_together)
    assert found["late_examples"] == late_examples == 2300 - n_together
    assert found["late_loss"] == pytest.approx(late_loss, rel=1e-9)


def test_the_late_loss_changes_nothing_that_is_learned(file):
    path = file("x.msgpack", b"".join(grouped(5000)))
    models = [Model(seed=SEED) for _ in range(3)]
    for model, late in zip(models, (0, 1000, 33), strict=True):
        learn_file(model, path, None, "target", quiet=True, late=late)
    assert state_bytes(models[0]) == state_bytes(models[1]) == state_bytes(models[2])


def test_a_stream_whose_order_predicts_its_outcomes_is_told_of(file):
    path = file("x.msgpack", b"".join(grouped(6000)))
    text = invoke("replay", path).stdout
    assert re.search(r"^late loss         \d\.\d{6} \(of 5000 examples\)$", text, re.MULTILINE)
    (told,) = [line for line in text.splitlines() if line.startswith("The order of this stream predicts its outcomes")]
    found = strictly(invoke("replay", path, "--json").stdout)
    assert f"the late loss says, {found['late_loss']:.3g}," in told
    assert f"the progressive loss, {found['progressive_loss']:.3g}." in told


def test_without_late_and_in_a_file_of_one_block_there_is_no_late_loss(file):
    path = file("x.msgpack", b"".join(grouped(900)))
    found = strictly(invoke("replay", path, "--json").stdout)
    assert (found["late_loss"], found["late_examples"]) == (None, 0)
    assert "late loss" not in invoke("replay", path).stdout
    assert not {"late_loss", "late_examples"} & strictly(invoke("replay", path, "--json", "--late", "0").stdout).keys()


def test_rejected_examples_are_in_the_blocks_but_not_in_the_late_loss(file):
    examples = grouped(3000)
    bad = msgpack.packb([7, {"a": 1}])
    mixed = b"".join(data + bad * (i % 10 == 9) for i, data in enumerate(examples))
    found = strictly(invoke("replay", file("x.msgpack", mixed), "--json", "--late", "110", code=3).stdout)
    assert (found["examples"], found["rejected"], found["late_examples"]) == (3000, 300, 2900)
    assert found["late_loss"] == pytest.approx(slow_late_loss(examples, 100)[0], rel=1e-9)


LINES = [
    ("x.csv", b'a,target\n"x\ny",1\n\nz,7\n', "line 5"),
    ("x.vw", b"1 | a\n\n7 | a\n", "line 3"),
    ("x.jsonl", b'{"a":1,"target":1}\n\n\n{"a":1,"target":7}\n', "line 4"),
    ("x.libsvm", b"# c\n1 1:1\n7 1:1\n", "line 3"),
]


@pytest.mark.parametrize(("name", "content", "place"), LINES)
@pytest.mark.parametrize("more", [[], ["--compare", "rates=0.5"], ["--late", "0"]])
def test_an_example_rejected_by_the_model_is_named_by_its_line(file, name, content, place, more):
    result = invoke("replay", file(name, content), "--json", *more, code=3)
    (line,) = errors(result)
    assert re.fullmatch(rf"Error: {place}: target must be .* \(got 7\)", line)


def test_the_files_of_a_pattern_are_one_stream_and_named_in_messages(file, tmp_path):
    for name, content in (("b.csv", b"target,a\n1,2\n7,1\n"), ("a.csv", b"a,target\n1,1\n1,2,3\n")):
        file(name, content)
    result = invoke("replay", str(tmp_path / "*.csv"), "--json", code=3)
    assert strictly(result.stdout)["examples"] == 2
    places = [line.partition(": ")[2].partition(": ")[0] for line in errors(result)]
    assert places == [str(tmp_path / "a.csv"), str(tmp_path / "b.csv")]


def test_replay_reads_without_a_header_and_in_another_encoding(file):
    path = file("x.txt", "1;Orléans;1\n2;Nice;0\n".encode("latin-1"))
    options = ["--format", "csv", "--encoding", "latin-1", "--json"]
    named = invoke("replay", path, "--columns", "a,b,target", *options)
    numbered = invoke("replay", path, "--no-header", "--target", "c3", *options)
    assert strictly(named.stdout)["examples"] == strictly(numbered.stdout)["examples"] == 2
    assert "encoding must be one that Python knows" in invoke_failing("replay", path, "--encoding", "nosuch")


@pytest.mark.parametrize("words", [("True", "False"), ("yes", "no"), ("T", "F"), ("Y", "n"), ("TRUE", "false")])
def test_words_for_yes_and_no_are_targets(file, words):
    rows = "".join(f"{i % 2},{words[i % 2]}\n" for i in range(20))
    by_words = invoke("replay", file("x.csv", b"a,target\n" + rows.encode()), "--json").stdout
    rows = "".join(f"{i % 2},{1 - i % 2}\n" for i in range(20))
    by_numbers = invoke("replay", file("y.csv", b"a,target\n" + rows.encode()), "--json").stdout
    assert strictly(by_words)["progressive_loss"] == strictly(by_numbers)["progressive_loss"]


@pytest.mark.parametrize("labels", ["1,2", "1.0,2", "-1,1", "0.5,7"])
def test_labels_that_are_numbers_are_matched_as_numbers(file, labels):
    negative, positive = labels.split(",")
    spelt = [negative, positive, f"{float(negative)}", f"{float(positive)}"] * 5
    content = "a,target\n" + "".join(f"{i % 2},{label}\n" for i, label in enumerate(spelt))
    found = strictly(invoke("replay", file("x.csv", content.encode()), "--labels", labels, "--json").stdout)
    content = "a,target\n" + "".join(f"{i % 2},{i % 2}\n" for i in range(20))
    expected = strictly(invoke("replay", file("y.csv", content.encode()), "--json").stdout)
    assert (found["examples"], found["progressive_loss"]) == (20, expected["progressive_loss"])


def test_names_and_labels_with_commas_stand_in_quotation_marks(file):
    path = file("x.csv", b'1,"x, y"\n2,z\n')
    options = ["--columns", '"a, b","late, or not"', "--target", "late, or not", "--labels", '"x, y",z', "--json"]
    result = invoke("replay", path, *options)
    assert strictly(result.stdout)["rejected"] == 0
    assert "number a, b" in result.stderr


def test_other_numbers_than_the_labels_are_rejected(file):
    path = file("x.csv", b"a,target\n1,1\n1,2\n1,0\n1,3\n")
    result = invoke("replay", path, "--labels", "1,2", "--json", code=3)
    assert [line.partition(": ")[2].partition(":")[0] for line in errors(result)] == ["line 4", "line 5"]


@pytest.mark.parametrize("options", [["--labels", "01,02"], ["--task", "multiclass"]])
def test_codes_with_leading_zeros_are_the_same_labels_in_every_file(file, options):
    codes = ["01", "02", "02", "01", "02"]
    table = "a,target\n" + "".join(f"{i % 2},{code}\n" for i, code in enumerate(codes))
    lines = "".join(json.dumps({"a": i % 2, "target": code}) + "\n" for i, code in enumerate(codes))
    files = file("x.csv", table.encode()), file("x.jsonl", lines.encode())
    found = [strictly(invoke("replay", path, *options, "--json").stdout) for path in files]
    assert found[0]["progressive_loss"] == found[1]["progressive_loss"]
    assert [each["rejected"] for each in found] == [0, 0]


def test_other_texts_than_the_labels_are_told_what_to_do(file):
    path = file("x.csv", b"a,target\n1,01\n1,02\n")
    message = invoke("replay", path, "--labels", "1,2", code=2).stderr
    assert "target must be one of the model's labels, '1' and '2' (got '01')" in message
    assert "two values, 01 and 02: add --labels 01,02" in message


@pytest.mark.parametrize(
    ("targets", "hint"),
    [
        ([1, 2, 1, 2], "two values, 1 and 2: add --labels 1,2"),
        ([0, 1, 2], "more than two values: add --task multiclass or regression"),
        (["01", "02"], "two values, 01 and 02: add --labels 01,02"),
        (['"a, b"', "c"], """two values, a, b and c: add --labels '"a, b",c'"""),
        (["on time", "late"], "two values, late and on time: add --labels 'late,on time'"),
        ([0, 1, 7], ""),  # a mistake
    ],
)
def test_rejected_targets_are_told_what_to_do(file, targets, hint):
    content = "a,target\n" + "".join(f"x,{target}\n" for target in targets)
    code = 2 if isinstance(targets[0], str) else 3
    lines = invoke("replay", file("x.csv", content.encode()), "--json", code=code).stderr.splitlines()
    assert lines[-1].endswith(f"; {hint}" if hint else "(got 7)")


def with_odd_values(n: int = 60) -> bytes:
    """A table whose last row has another kind of value in two columns."""
    rows = "".join(f"${i}.50,{i % 9},{i % 2}\n" for i in range(n))
    return f"price,size,target\n{rows}on request,large,1\n".encode()


@pytest.mark.parametrize("options", [[], ["--compare", "rates=0.5"]])
def test_values_of_another_kind_are_counted_by_column(file, options):
    path = file("x.csv", with_odd_values())
    result = invoke("replay", path, "--json", *options)
    assert strictly(result.stdout)["other_values"] == {"price": 1, "size": 1}
    note = "Note: taken as categories: price: 1 value is no amount; size: 1 value is no number"
    assert result.stderr.splitlines().count(note) == 1
    assert "other_values" not in strictly(invoke("replay", path, "--json", "--category", "price,size").stdout)


def predictions(path) -> list[dict]:
    return [strictly(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("options", [[], ["--task", "multiclass"], ["--task", "regression"], ["--optimizer", "sgd"]])
def test_each_example_s_prediction_before_learning_is_written_in_order(file, tmp_path, options):
    lines = FILES["jsonl"].splitlines(keepends=True)
    path = file("x.jsonl", b"{nope\n" + b"".join(lines[:40]) + b"{nope\n" + b"".join(lines[40:]) + b"{nope\n")
    plain = strictly(invoke("replay", path, "--json", *options, code=3).stdout)
    written = invoke("replay", path, "--json", *options, "--predictions", str(tmp_path / "p"), code=3).stdout
    written = strictly(written)
    made = dict(zip([name[2:] for name in options[::2]], options[1::2], strict=True))
    model = Model(made.pop("task", "binary"), featurizer="fields", seed=SEED, **made)
    expected = []
    for target, record in ROWS:
        expected.append(json.loads(json.dumps(model.answer(model.pack(record)))))
        model.learn_one(record, target)
    found = predictions(tmp_path / "p")
    assert [i for i, line in enumerate(found) if "error" in line] == [0, 41, 62]
    assert "line 42: must be one JSON object" in found[41]["error"]
    assert [line for line in found if "error" not in line] == expected
    times = {"seconds", "examples_per_second"}
    assert {k: v for k, v in written.items() if k not in times} == {k: v for k, v in plain.items() if k not in times}


def test_predictions_are_of_one_model(file, tmp_path):
    path = file("x.jsonl", FILES["jsonl"])
    assert "--predictions must be with one model" in invoke_failing(
        "replay", path, "--compare", "rates=0.5", "--predictions", str(tmp_path / "p")
    )
