"""The progressive evaluation beside a slow reference on the same predictions."""

import math
import random

import numpy as np
import pytest

from learner import kernels, layout, metrics
from learner.kernels.tasks import CODES
from learner.losses import LOSSES
from learner.model import Model
from learner.packing import pack_example
from learner.tasks import TASKS
from tests.conftest import SEED
from tests.reference.learner import Importances
from tests.unit.kernels import doors

N = 12_345 if kernels.JIT else 120
HALF = metrics.HALF_WINDOW
NUMBERS = [task for task, entry in TASKS.items() if entry.predicts_numbers]


def examples(task, n=N, seed=3, weighted=True):
    """Targets, features and importances, of a stream that drifts."""
    r = random.Random(seed)
    for i in range(n):
        x = {"a": r.gauss(0, 1), f"w={r.randrange(50)}": 1.0}
        signal = x["a"] * (1.0 if i < n // 2 else -0.5) + r.gauss(0, 1)
        y = {"binary": 1 if signal > 0.4 else -1, "poisson": round(math.exp(signal))}.get(task, 1e6 + 10.0 * signal)
        yield y, x, (r.choice([0.0, 0.5, 1.0, 3.0]) if weighted else 1.0)


def replayed(task, loss=None, n=N, weighted=True):
    """A model that learned the stream one by one; of each example target, prediction before, importance; the constant's.

    The best constant is of relative importances; for a regression it is the mean of the targets as they are learned.
    """
    model = Model(task, loss=loss, seed=SEED)
    rows, total, weight, importances = [], 0.0, 0.0, Importances()
    for y, x, importance in examples(task, n, weighted=weighted):
        relative = importances.relative(importance)
        if task == "quantile":
            before, constant = model.predict_one(x), model.learner.totals[layout.QUANTILE]
        elif task == "poisson":
            before, constant = model.predict_one(x), (total + 1) / (weight + 1)
            total += relative * y
        elif task == "binary":
            before, constant = model.predict_proba_one(x)[1], (total + 1) / (weight + 2)
            total += relative * (y > 0)
        else:
            before, constant = model.predict_one(x), model.learner.totals[layout.TARGET_MEAN]
        weight += relative
        rows.append((y, before, importance, constant))
        model.learn_one(x, y, importance)
    return model, np.array(rows)


def reference(task, rows):
    """The figures from the definitions."""
    y, p, w, c = rows.T
    n = w.sum()
    if task == "regression":
        mean = (w * y).sum() / n
        squares = (w * (y - p) ** 2).sum()
        return {
            "mae": (w * abs(y - p)).sum() / n,
            "rmse": math.sqrt(squares / n),
            "r2": 1 - squares / (w * (y - mean) ** 2).sum(),
            "constant_mae": (w * abs(y - c)).sum() / n,
            "constant_rmse": math.sqrt((w * (y - c) ** 2).sum() / n),
        }
    if task == "poisson":

        def deviance(p):
            return 2 * (np.where(y > 0, y * np.log(np.maximum(y, 1) / p), 0.0) - (y - p))

        return {
            f"{prefix}{name}": value
            for prefix, of in (("", p), ("constant_", c))
            for name, value in {
                "deviance": (w * deviance(of)).sum() / n,
                "mae": (w * abs(y - of)).sum() / n,
                "rmse": math.sqrt((w * (y - of) ** 2).sum() / n),
            }.items()
        }
    if task == "quantile":  # at the level 0.5
        return {
            "pinball": (w * 0.5 * abs(y - p)).sum() / n,
            "covered": w[y <= p].sum() / n,
            "constant_pinball": (w * 0.5 * abs(y - c)).sum() / n,
            "constant_covered": w[y <= c].sum() / n,
        }
    t = y > 0
    order = np.argsort(p, kind="stable")
    below = np.cumsum(np.where(t, 0, w)[order])
    bins = np.minimum((p * 10).astype(int), 9)
    return {
        "log_loss": -(w * np.log(np.where(t, p, 1 - p))).sum() / n,
        "accuracy": (w * ((p > 0.5) == t)).sum() / n,
        "auc": (below * (w * t)[order]).sum() / (w[t].sum() * w[~t].sum()),
        "calibration_error": sum(abs((w * (p - t))[bins == k].sum()) for k in range(10)) / n,
        "constant_log_loss": -(w * np.log(np.where(t, c, 1 - c))).sum() / n,
        "constant_accuracy": (w * ((c > 0.5) == t)).sum() / n,
    }


@pytest.mark.parametrize(("task", "loss"), [("binary", None), ("binary", "hinge"), *((task, None) for task in NUMBERS)])
def test_the_figures_are_those_of_the_definitions_over_all_and_over_the_window(task, loss):
    model, rows = replayed(task, loss)
    figures = model.figures()
    in_window = N if N <= HALF else HALF + (N - 1) % HALF + 1
    assert figures["window_examples"] == in_window
    for prefix, part in (("", rows), ("window_", rows[-in_window:])):
        for name, value in reference(task, part).items():
            if name == "auc":
                assert abs(figures[prefix + name] - value) <= figures[f"{prefix}auc_error"] + 1e-12
                assert figures[prefix + name] == pytest.approx(value, abs=2e-3)
            else:
                assert figures[prefix + name] == pytest.approx(value, rel=1e-6), prefix + name
    assert figures.keys() == Model(task).figures().keys()


def test_weight_k_counts_as_k_repeats_do():
    once, repeated = Model(seed=SEED), Model(seed=SEED)
    for y, x, _ in examples("binary", 50):
        once.learn_one(x, y, 3.0)
        for _ in range(3):
            repeated.learn_one(x, y)
    assert once.learner.metrics[metrics.CURRENT, metrics.WEIGHT] == 150
    assert once.figures()["constant_accuracy"] == pytest.approx(repeated.figures()["constant_accuracy"], abs=0.05)


@pytest.mark.parametrize("task", ["binary", *NUMBERS])
def test_without_examples_or_with_a_weight_of_zero_there_are_no_figures(task):
    model = Model(task)
    model.learn_one({"a": 1.0}, 1, 0.0)
    figures = model.figures()
    assert figures.pop("window_examples") == 1
    assert all(map(math.isnan, figures.values()))


def test_the_window_holds_all_of_a_short_stream_and_then_the_last_half_at_least():
    model = Model(seed=SEED)
    example = pack_example(1, model.pack({"a": 1.0}))
    for n, wanted in ((HALF, HALF), (1, HALF + 1), (HALF - 1, 2 * HALF), (1, HALF + 1)):
        if not kernels.JIT:
            pytest.skip("too slow without the JIT")
        model.learn_packed(example * n)
        assert model.figures()["window_examples"] == wanted


def test_the_losses_that_learning_returns_add_up_to_the_figures():
    model = Model("regression", seed=SEED)
    rows = list(examples("regression", 100))
    packed = [pack_example(y, model.pack(x), importance) for y, x, importance in rows]
    learned = model.learn_packed(b"".join([*packed, pack_example("no number", b"\x80")]))
    assert learned.importances[:-1].tolist() == [importance for _, _, importance in rows]
    assert math.isnan(learned.losses[-1])
    mean = (learned.losses * learned.importances)[:-1].sum() / learned.importances[:-1].sum()
    assert math.sqrt(mean) == pytest.approx(model.figures()["rmse"])


def test_a_score_that_is_no_number_is_counted_somewhere():
    sums, totals = np.zeros((3, metrics.N_BINARY)), np.zeros(100)
    for score in (math.nan, math.inf, -math.inf, 1e300):
        doors.evaluate(CODES["binary"], LOSSES["logistic"].code, 0.5, totals, sums, score, 1.0, 1.0, 1.0)
    assert sums[metrics.CURRENT, metrics.POSITIVES :].sum() == 4
