"""What `learner init` proposes for a file's rows, and what it warns of."""

import random

import pytest

from learner.proposal import propose


def rows(outcomes, **columns):
    """Return rows of columns, each a function of the row's number, and an outcome."""
    return [{name: of(k) for name, of in columns.items()} | {"y": y} for k, y in enumerate(outcomes)]


def shuffled(values, seed=1):
    """Return values in a random order, always the same."""
    values = list(values)
    random.Random(seed).shuffle(values)
    return values


def number(k):
    """Return a number that tells nothing."""
    return str(random.Random(k).randrange(1000))


@pytest.mark.parametrize(
    ("outcomes", "task", "labels"),
    [
        (["yes", "no"], "binary", None), (["True", "False"], "binary", None), ([True, False], "binary", None),
        (["0", "1"], "binary", None), ([-1, 1], "binary", None), (["1", "2"], "binary", ["1", "2"]),
        ([2, 10], "binary", ["2", "10"]), (["spam", "ham"], "binary", ["ham", "spam"]), (["a", "b", "c"], "multiclass", None),
        (["on time", "y"], "binary", ["on time", "y"]), (["a", "a", "b"], "binary", ["a", "b"]),
        (["b", "b", "a"], "binary", ["b", "a"]),
        (["ja", "ja", "nein"], "binary", ["nein", "ja"]), (["paid", "not paid", "paid"], "binary", ["not paid", "paid"]),
        (["$1.50", "$2", "$3"], "regression", None), (["1.5", "2", "3"], "regression", None),
    ],
)  # fmt: skip
def test_the_task_and_the_labels(outcomes, task, labels):
    found = propose(rows(shuffled(outcomes * 20), x=number), "y")
    assert (found.spec["task"], found.spec.get("labels"), found.spec["target"]) == (task, labels, "y")
    target = {"y": {"kind": "money"}} if "$2" in outcomes else {}  # so that its cells are read as amounts
    assert found.spec["columns"] == {"x": {"kind": "number"}} | target


def warnings(outcomes, **columns):
    """Return the warnings about some rows, as one text."""
    return " | ".join(propose(rows(outcomes, **columns), "y").warnings)


def test_a_plain_file_has_no_warnings():
    assert warnings(shuffled(["yes", "no"] * 100), x=number) == ""
    assert warnings([random.Random(k).gauss(0, 1) for k in range(200)], x=number) == ""


def test_leaks():
    outcomes = shuffled(["yes", "no"] * 100)
    assert "copy: it alone decides the outcome" in warnings(outcomes, x=number, copy=lambda k: outcomes[k] + "!")
    separated = warnings(outcomes, delay=lambda k: 20 + k % 17 * 1.5 if outcomes[k] == "yes" else -k * 0.37)
    assert "delay: it alone decides" in separated
    numbers = [random.Random(k).gauss(0, 1) for k in range(200)]
    assert "cents: it alone decides" in warnings(numbers, cents=lambda k: numbers[k] * 100)


def test_runs_of_outcomes():
    assert "outcomes come in runs" in warnings(["yes"] * 100 + ["no"] * 100, x=number)
    assert "outcomes come in runs" in warnings([float(k) for k in range(200)], x=number)


def test_ids_constants_and_missing_outcomes():
    found = warnings([*shuffled(["yes", "no"] * 50), None], row=lambda k: k, always=lambda k: "x", x=number)
    assert "row: whole numbers that count the rows: an id, left out" in found
    assert "always: always x" in found
    assert "1 of 101 rows have no outcome" in found


def test_outcomes_that_are_all_equal():
    for outcomes in (["late"] * 100, [3.5] * 100):
        assert warnings(outcomes, x=lambda k: str(k % 7)) == f"all outcomes are {outcomes[0]}: nothing to learn"


def test_rare_and_skewed_outcomes():
    assert "only 3 of 500 outcomes are yes" in warnings(shuffled(["yes"] * 3 + ["no"] * 497), x=number)
    skewed = [2.0 ** random.Random(k).gauss(0, 3) for k in range(300)]
    assert "much larger than the others" in warnings(skewed, x=number)


def test_a_latitude_beside_a_longitude_is_a_place():
    def degrees(k):
        return str(random.Random(k).uniform(-90, 90))

    outcomes = shuffled(["yes", "no"] * 30)
    found = propose(rows(outcomes, pickup_lat=degrees, pickup_lon=degrees, lat=number, lon=degrees), "y")
    assert found.spec["columns"]["pickup_lat"] == {"kind": "place", "with": "pickup_lon"}
    assert found.spec["columns"]["lat"] == {"kind": "number"}
