"""The league's protocols: what is known when a request comes, the orders of outcomes, and the measures."""

import itertools
import random

import pytest

from tests.benchmarks.protocols import (
    PROTOCOLS,
    by_outcome,
    calibration_error,
    in_runs,
    log_loss,
    loss_of,
    mean_and_worsts,
)

ORDERS = [name for name, protocol in PROTOCOLS.items() if protocol.binary_only]


def stream(n, share=0.3):
    r = random.Random(n)
    return [(1.0 if r.random() < share else -1.0, {"i": float(i)}) for i in range(n)]


def identities(examples):
    return [x["i"] for _, x in examples]


@pytest.mark.parametrize("name", PROTOCOLS)
def test_no_request_was_learned_before_it_is_answered(name):
    learned = set()
    for requests, lessons in PROTOCOLS[name].of(stream(7300)):
        assert not learned & {*identities(requests)}
        learned |= {*identities(lessons)}


def test_next_asks_every_example_late_all_but_the_first_block_and_the_others_the_last_fifth():
    for name, protocol in PROTOCOLS.items():
        taken = stream(7300)[: protocol.n_examples]
        asked = sum(len(step.requests) for step in protocol.of(stream(7300)))
        expected = {"next": 7300, "late": 6300}.get(name, len(taken) - int(0.8 * len(taken)))
        assert asked == expected, name


def test_late_answers_a_block_before_any_of_it_is_learned():
    steps = [*PROTOCOLS["late"].of(stream(2500))]
    assert [(len(requests), len(lessons)) for requests, lessons in steps] == [(0, 1000), (1000, 1000), (500, 500)]
    assert all(requests == lessons for requests, lessons in steps[1:])


def test_examples_without_features_are_left_out_before_they_are_counted():
    examples = [(1.0, {}), *stream(10)]
    assert sum(len(step.lessons) for step in PROTOCOLS["fresh"].of(examples)) == 8


def test_all_orders_of_outcomes_have_the_same_lessons_and_the_same_requests():
    made = {name: [*PROTOCOLS[name].of(stream(7300))] for name in ORDERS}
    assert len({tuple(sorted(identities(steps[0].lessons))) for steps in made.values()}) == 1
    assert len({tuple(identities(steps[1].requests)) for steps in made.values()}) == 1


@pytest.mark.parametrize(("n", "share"), [(1000, 0.3), (1000, 0.5), (997, 0.9), (300, 0.02)])
@pytest.mark.parametrize("length", [1, 50, 200])
def test_runs_keep_every_example_and_last_to_the_end_in_proportion(n, share, length):
    examples = stream(n, share)
    ordered = in_runs(examples, length)
    assert sorted(identities(ordered)) == sorted(identities(examples))
    positive = sum(y > 0 for y, _ in examples)
    rarer = 1.0 if positive <= n / 2 else -1.0
    n_rarer = min(positive, n - positive)
    places = [i for i, (y, _) in enumerate(ordered) if y == rarer]
    runs = sum(after != before + 1 for before, after in itertools.pairwise(places)) + 1
    assert places[0] == 0
    assert runs == -(-n_rarer // length)


@pytest.mark.parametrize("length", [1, 50])
def test_runs_of_many_classes_are_so_long_on_average_and_each_class_lasts_to_the_end(length):
    r = random.Random(1)
    examples = [(r.choices("abcd", [1, 2, 4, 8])[0], {"i": float(i)}) for i in range(1500)]
    ordered = in_runs(examples, length, str)
    assert sorted(identities(ordered)) == sorted(identities(examples))
    runs = [len([*run]) for _, run in itertools.groupby(y for y, _ in ordered)]
    assert sum(runs) / len(runs) == pytest.approx(length, rel=0.5)
    assert {y for y, _ in ordered[-8 * length :]} == {*"abcd"}


def test_sorted_has_the_negatives_first_each_class_in_its_order():
    assert by_outcome([(1, "a"), (-1, "b"), (1, "c"), (-1, "d")]) == [(-1, "b"), (-1, "d"), (1, "a"), (1, "c")]


def test_loss_is_the_log_loss_or_the_root_of_the_mean_squared_error():
    assert loss_of([0.5, 0.5], [1.0, -1.0], regression=False) == pytest.approx(0.6931, abs=1e-4)
    assert loss_of([1.0, 5.0], [1.0, 2.0], regression=True) == pytest.approx(4.5**0.5)
    assert log_loss(0.0, 1.0) == pytest.approx(log_loss(1.0, -1.0)) == pytest.approx(13.8155, abs=1e-4)


def test_calibration_error_is_0_for_shares_that_are_right_and_the_gap_where_they_are_not():
    assert calibration_error([0.25] * 4, [1, -1, -1, -1]) == 0.0
    assert calibration_error([0.25] * 4 + [1.0] * 4, [1, -1, -1, -1] * 2) == pytest.approx(0.375)


def test_mean_is_geometric_and_the_worst_comes_first():
    mean, worsts = mean_and_worsts({"a": 0.5, "b": 2.0, "c": 1.0})
    assert mean == pytest.approx(1.0)
    assert worsts == ["b", "c", "a"]
