"""The tables: a loss, a task, an expert, an optimizer and a head are each added in one place. Shown by adding one of each."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from learner import kernels
from learner.model import Model

ROOT = Path(__file__).parent.parent.parent
# What somebody would write: a file, and a line in its table.
LOSS = '''"""The absolute loss."""


def value(s: float, y: float) -> float:
    return abs(s - y)


def derivative(s: float, y: float) -> float:
    return 0.0 if s == y else 1.0 if s > y else -1.0


def step(s: float, y: float, q: float, importance: float) -> float:
    return min(importance, (y - s) / q) if y > s else -min(importance, (s - y) / q)


def quadratic(s: float, y: float, precision: float) -> tuple[float, float, float]:
    return precision * precision, precision * (0.0 if s == y else -1.0 if s > y else 1.0), abs(s - y)
'''
TASK = '''"""Positive numbers: a regression that takes no others."""

from learner.kernels.tasks.regression import evaluate, has_scale, loss_at, trend, unit_and_offset, within_targets


def accept(y):
    return 0.0 < y <= 1e30, y
'''
EXPERT = '''"""The mean target of the examples that had a feature, a little smaller."""

from learner.kernels.bits import MISSING, ONE
from learner.kernels.jit import inlined

PART = 1 << 11
N_COLUMNS = 2
HAS_GRADIENT = False
LEARNS_DERIVED = False
MIXING_VARIANCE = 0.1


@inlined
def start(column, is_constant, base, rows):
    pass


@inlined
def score(column, place, inputs, panel):
    rows = panel.rows
    s = 0.0
    for i in range(inputs.n):
        base = inputs.bases[i]
        if base != MISSING:
            s += rows[base + column] / (rows[base + column + ONE] + 1.0) * inputs.scaled[i]
    panel.scores[place] = s


@inlined
def learn(column, place, inputs, update, panel):
    for i in range(inputs.n - inputs.n_constants):
        panel.rows[inputs.bases[i] + column] += update.y * update.importance
        panel.rows[inputs.bases[i] + column + ONE] += update.importance


@inlined
def penalize(column, inputs, update, settings, rows):
    pass


def scale(totals):
    return 1.0


def weights(matrix, column, totals, silent):
    return matrix[:, column].astype(float) / (matrix[:, column + 1].astype(float) + 1.0)
'''
OPTIMIZER = '''

def sign(w, a, b, seen, options):
    """Follow the gradient's sign."""
    return w - options[0] * (0.0 if seen.slope * seen.x == 0.0 else math.copysign(1.0, seen.slope * seen.x)), a, b
'''
PROGRAM = """
import json, math, random, sys
from learner import Model
from learner.kernels import experts
from learner.layout import PARTS
seed, random = b"sixteen bytes it", random.Random(1)
examples = [({f"w{random.randrange(9)}": 1.0 for _ in range(3)}, random.gauss(0, 1)) for _ in range(300)]
examples = [(x, 20.0 + sum(int(name[1:]) for name in x) + noise) for x, noise in examples]
figures = {}

model = Model("regression", loss="absolute", seed=seed, outcomes="at_once")
answers = []
for x, y in examples:
    answers.append(abs(model.predict_one(x) - y))
    model.learn_one(x, y)
figures["loss"] = [model.progressive_loss, sum(answers) / len(answers), model.constant_loss]

model = Model("positive", seed=seed, outcomes="at_once")
refused = []
for x, y in [*examples, ({"a": 1.0}, -1.0)]:
    try:
        model.learn_one(x, y)
    except Exception as error:
        refused.append(str(error))
figures["task"] = [model.progressive_loss, model.constant_loss, model.summary()["rmse"], refused]

model = Model("regression", seed=seed, outcomes="at_once")
for x, y in examples:
    model.learn_one(x, y)
place = len(model.spec.rates) + experts.EXPERTS.index(experts.mean)
row = model.learner.weight_dict.matrix[model.learner.weight_dict.slot("w3")]
column = experts.column_of(experts.mean, len(model.spec.rates))
x = examples[0][0]
figures["expert"] = [
    "mean" in PARTS and "mean" in model.spec.parts, float(model.learner.mixer[place, 0]),
    float(row[column + 1]), sum("w3" in x for x, _ in examples),
    sum(c.contribution for c in model.explain_one(x)), model.score_one(x),
    len(model.learner.mixer), model.progressive_loss, model.constant_loss,
]

model = Model(optimizer={"name": "sign", "rate": 0.5}, seed=seed)
for i in range(3):
    model.learn_one({"a": 1.0}, 1)
figures["optimizer"] = [model.weights["a"]]
print(json.dumps(figures))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package, with one more of each."""
    folder = tmp_path_factory.mktemp("package")
    for name in ("learner", "featurizers"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    learner = folder / "learner"

    def change(path, *changes):
        text = (learner / path).read_text()
        for before, after in changes:
            assert text.count(before) == 1, (path, before)
            text = text.replace(before, after)
        (learner / path).write_text(text)

    (learner / "losses" / "absolute.py").write_text(LOSS)
    (learner / "kernels" / "tasks" / "positive.py").write_text(TASK)
    (learner / "kernels" / "experts" / "mean.py").write_text(EXPERT)
    lines = '\n    ("absolute", "regression", absolute, identity, ("absolute error", UNITS, UNITS)),'
    lines += '\n    ("positive", "positive", squared, identity, ("squared error", UNITS, UNITS)),\n)\n'
    change(
        "losses/__init__.py",
        ("from learner.losses import hinge", "from learner.losses import absolute, hinge"),
        ("\n)\n", lines),
    )
    change(
        "kernels/tasks/__init__.py",
        ("import binary, poisson", "import binary, positive, poisson"),
        ("quantile, poisson)", "quantile, poisson, positive)"),
    )
    row = '    "positive": Task("positive", "positive", True, "a number above 0", ("squared error", "rmse"), '
    row += "metrics.N_REGRESSION, metrics.of_regression),\n"
    change("tasks.py", ("TASKS: dict[str, Task] = {\n", "TASKS: dict[str, Task] = {\n" + row))
    change("layout.py", ('    "bins": BINS', '    "mean": 1 << 11, "bins": BINS'))
    change(
        "kernels/experts/__init__.py",
        ("import adagrad, bayes, dense_filter, kalman", "import adagrad, bayes, dense_filter, kalman, mean"),
        ("EXPERTS: tuple[Any, ...] = (kalman, bayes)", "EXPERTS: tuple[Any, ...] = (kalman, bayes, mean)"),
    )
    change(
        "optimizers.py",
        ("\n\ndef rescaled(", OPTIMIZER + "\n\ndef rescaled("),
        ("SGD, ADAGRAD, ADAM", "SIGN, SGD, ADAGRAD, ADAM"),
        ("for optimizer in (\n", 'for optimizer in (\n        Optimizer("sign", SIGN, sign, {"rate": _rate(1.0)}),\n'),
        ("range(6)", "range(7)"),
    )
    return folder


@pytest.mark.parametrize("jit", [pytest.param(True, marks=pytest.mark.slow), False] if kernels.JIT else [False])
def test_one_more_of_each_learns(package, jit):
    environment = os.environ | {"NUMBA_DISABLE_JIT": "" if jit else "1", "LEARNER_CACHE": str(package / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=package, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    figures = json.loads(done.stdout)

    progressive, by_hand, constant = figures["loss"]
    assert progressive == pytest.approx(by_hand)
    assert progressive < 0.6 * constant

    progressive, constant, rmse, refused = figures["task"]
    assert rmse**2 == pytest.approx(progressive)
    assert progressive < 0.6 * constant
    assert refused == ["target must be a number above 0 (got -1.0)"]

    is_part, mixing_weight, count, n, explained, score, n_inputs, progressive, constant = figures["expert"]
    assert is_part
    assert mixing_weight != 0.1  # it was learned
    assert count == n
    assert explained == pytest.approx(score)
    assert n_inputs == len(Model("regression").learner.mixer) + 1
    assert progressive < 0.6 * constant

    assert figures["optimizer"] == [1.5]
