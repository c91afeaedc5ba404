"""The curve of a model's loss: of many commits several are one point, and what was learned twice is there once."""

import numpy as np

from learner.service.curves import Drift, curve, points


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
    assert curve(entries([0, 10, 20, 30, 15, 25])).examples == [10, 15, 25]
    assert curve(entries([0, 0])) is None


def test_each_doubling_is_there_however_many_commits_came_and_so_are_the_rises():
    examples = [1 << k for k in range(14)] + list(range(8193, 20_000))
    commits = entries(examples)
    for commit in commits[-2:]:
        commit |= {b"drift_examples": b"9000", b"drift_before": b"0.25", b"drift_after": b"0.5", b"late_loss": b"0.75"}
    commits[-1] |= {b"late_examples": b"10", b"answered_examples": b"5", b"answered_loss": b"0.25"}
    curves = curve(commits, most=200)
    assert {1 << k for k in range(15)} - {1 << 14} <= set(curves.examples)
    assert sum(8192 <= n < 16_384 for n in curves.examples) > 50
    drift = Drift(9000.0, float(commits[-2][b"time"]), 0.25, 0.5)
    assert curves.drifts == [drift]
    data = points(curves)
    assert data["drifts"] == [drift._asdict()]
    last = {"examples": 19_999.0, "time": float(commits[-1][b"time"]), "progressive_loss": 0.5, "recent_loss": 0.5}
    assert data["points"][-1] == last | {"constant_loss": 1.0, "late_loss": 0.75, "answered_loss": 0.25}
    assert data["points"][0]["late_loss"] is None
    assert points(curve([])) == {"points": [], "drifts": []}
