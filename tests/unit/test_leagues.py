"""The leagues of classes, quantiles and counts: their losses, their orders of outcomes, and the peers that are kept."""

import json
import math

import pytest

from tests.benchmarks.league import Figures
from tests.benchmarks.leagues import FILE, OURS, Ours, judged, loss_of, runs_of
from tests.benchmarks.peers import SETTINGS
from tests.benchmarks.task_streams import STREAMS, TaskStream


def stream(task, level=None, examples=()):
    return TaskStream("a", task, level, lambda: iter(examples), False)


def test_the_losses_are_log_loss_pinball_loss_and_deviance():
    classes = loss_of([{"a": 0.25, "b": 0.75}, {"a": 1.0}], ["a", "b"], stream("multiclass"))
    assert classes == pytest.approx((math.log(4) - math.log(1e-6)) / 2)
    assert loss_of([1.0, 1.0], [3.0, 0.0], stream("quantile", 0.9)) == pytest.approx((0.9 * 2 + 0.1) / 2)
    assert loss_of([2.0, 0.0], [2.0, 0.0], stream("poisson")) == pytest.approx(0.0, abs=1e-8)
    assert loss_of([1.0], [2.0], stream("poisson")) == pytest.approx(2 * (2 * math.log(2) - 1))


def test_runs_of_numbers_are_of_those_above_the_median_and_of_the_others():
    examples = [(float(i), {"i": 1.0}) for i in range(10)]
    assert [y > 4.5 for y, _ in runs_of(examples, 1)] == [True, False] * 5


def test_every_stream_has_the_figures_of_eight_peers_under_every_protocol():
    figures = json.loads(FILE.read_text())
    assert {*figures} == {f"{stream.name}/{protocol}" for stream in STREAMS for protocol in OURS}
    assert all({*row} == {*SETTINGS} for row in figures.values())


def test_of_each_task_a_third_of_the_data_sets_is_held_out():
    shares = {
        task: [s.is_held_out for s in STREAMS if s.task == task] for task in ("multiclass", "quantile", "poisson")
    }
    assert {task: sum(held) / len(held) for task, held in shares.items()} == pytest.approx(
        {"multiclass": 1 / 3, "quantile": 2 / 7, "poisson": 1 / 4}
    )


@pytest.mark.parametrize(
    ("task", "level", "outcomes"),
    [("multiclass", None, "xy"), ("quantile", 0.9, (1.0, 2.0)), ("poisson", None, (1.0, 2.0))],
)
def test_a_stream_is_judged_by_the_best_peer(task, level, outcomes):
    one = stream(task, level, [(outcomes[i % 2], {f"w{i % 2}": 1.0}) for i in range(100)])
    figures = Figures({"a/fresh": {"vw": 0.5, "sgd": 2.0, "-l 2": float("nan")}}, None)
    ((_, protocol, row),) = judged([one], ["fresh"], figures)
    assert (protocol, row["peer"], row["ratio"]) == ("fresh", "vw", row["loss"] / 0.5)
    assert row["loss"] == loss_of(our_answers(one), [outcomes[i % 2] for i in range(80, 100)], one)


def our_answers(one):
    ours = Ours(one)
    examples = [*one.examples()]
    ours.learn(examples[:80])
    return ours.answers([features for _, features in examples[80:]])
