"""The curve of a model's loss: of many commits several are one point, and what was learned twice is there once."""

import numpy as np

from learner.commands.curves import curve


def entries(examples):
    return [
        {b"time": b"%d" % i, b"examples": b"%d" % n, b"loss": b"0.5", b"constant_loss": b"1"}
        for i, n in enumerate(examples)
    ]


def test_of_many_commits_several_are_one_point_and_the_last_is_there():
    points = curve(entries(range(10, 10_010, 10)), most=300)
    assert points.n_commits == 4
    assert set(range(40, 10_010, 40)) <= set(points.examples)
    assert len(points.examples) == 250 + 7  # with the first commits after 16, 64, 128, ... examples
    assert (points.examples[0], points.examples[-1]) == (20, 10_000)
    np.testing.assert_allclose(points.recent, 0.5)


def test_what_a_server_that_went_back_learned_twice_is_there_once():
    assert curve(entries([0, 10, 20, 30, 15, 25])).examples.tolist() == [10, 15, 25]
    assert curve(entries([0, 0])) is None


def test_each_doubling_is_there_however_many_commits_came_and_so_are_the_rises():
    examples = [1 << k for k in range(14)] + list(range(8193, 20_000))
    commits = entries(examples)
    commits[-1][b"drift_examples"] = b"9000"
    curves = curve(commits, most=200)
    assert {1 << k for k in range(15)} - {1 << 14} <= set(curves.examples)
    assert sum(8192 <= n < 16_384 for n in curves.examples) > 50
    assert curves.drifts == [9000.0]
