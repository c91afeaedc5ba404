"""Rare wrong targets spoil little; heavy tails and new levels are learned; predictions do not stick at the smallest target."""

import random

import numpy as np
import pytest

from learner import kernels, layout
from learner.model import Model
from tests.unit.streams import SEED, pack

pytestmark = pytest.mark.skipif(not kernels.JIT, reason="too slow in plain Python")
N = 3000


def numbers(n=N, level=100.0, seed=1):
    """Targets of about 100 +- 3, of which the features explain all but 1; one feature is skewed."""
    r = random.Random(seed)
    for _ in range(n):
        x = {"a": r.gauss(0.0, 1.0), "skewed": r.lognormvariate(0.0, 1.0), f"w{r.randrange(20)}": 1.0}
        yield level + 3.0 * x["a"] + 0.5 * min(x["skewed"], 10.0) + r.gauss(0.0, 1.0), x


def errors(task, examples, typos=(), outcomes="late"):
    """Return the sizes of the errors before learning, with some targets mistyped: pairs of (place, target)."""
    model, learned = Model(task, seed=SEED, outcomes=outcomes), list(examples)
    for place, y in typos:
        learned[place] = (y, learned[place][1])
    scores = model.learn_packed(pack(*((y, x, 1.0) for y, x in learned))).scores
    scores = np.exp(scores) if task == "poisson" else scores
    return np.abs(scores - np.array([y for y, _ in examples]))


@pytest.mark.parametrize("task", ["regression", "quantile"])
@pytest.mark.parametrize("typo", [1e4, -1e4, 1e6, -1e6])
@pytest.mark.parametrize("place", [5, 50, 1500])
def test_a_mistyped_target_spoils_at_most_a_hundred_predictions(place, typo, task):
    examples = list(numbers())
    spoiled, clean = errors(task, examples, [(place, typo)]), errors(task, examples)

    after = slice(place + 101, place + 1001)
    assert spoiled[after].mean() < 1.05 * clean[after].mean()
    assert spoiled[place + 1 : place + 101].mean() < 2.0 * clean[place + 1 : place + 101].mean()


ODD_PLACES = [[0], [1], [2], [3], [9], [0, 1], [0, 5, 9], [2, 40, 1000]]


@pytest.mark.parametrize("outcomes", ["late", "at_once"])
@pytest.mark.parametrize(
    ("task", "odd"), [("regression", 1e30), ("regression", -1e6), ("quantile", 1e6), ("poisson", 1e30)]
)
def test_odd_targets_ruin_nothing_wherever_they_come(task, odd, outcomes):
    """A hundred examples later the errors are those of a model that never saw them."""
    r = np.random.default_rng(2)
    xs = [{"a": x} for x in r.random(1600).tolist()]
    examples = [(float(r.poisson(2 + 4 * x["a"])) if task == "poisson" else 3 + 2 * x["a"] + r.random(), x) for x in xs]
    clean = errors(task, examples, outcomes=outcomes)
    for places in ODD_PLACES:
        spoiled = errors(task, examples, [(place, odd) for place in places], outcomes)
        after = slice(places[-1] + 101, places[-1] + 501)
        assert spoiled[after].mean() < 1.1 * clean[after].mean(), places


@pytest.mark.parametrize("task", ["regression", "poisson"])
def test_an_odd_target_after_equal_ones_is_not_believed_until_another_one_comes(task):
    model = Model(task, seed=SEED)
    model.learn_packed(pack(*([0.0, {"a": 1.0}, 1.0] for _ in range(200)), [1e9, {"a": 1.0}, 1.0]))
    model.learn_held()
    assert model.predict_one({"a": 1.0}) < 1.0
    model.learn_packed(pack(*([30.0 + k % 3, {"a": 1.0}, 1.0] for k in range(600))))
    model.learn_held()
    assert model.predict_one({"a": 1.0}) == pytest.approx(31.0, rel=0.2)


def test_rare_and_large_counts_are_no_mistakes():
    r = np.random.default_rng(3)
    counts = np.where(r.random(6000) < 0.05, r.integers(5, 50, 6000), 0).tolist()
    model = Model("poisson", seed=SEED)
    scores = model.learn_packed(pack(*([y, {"a": 1.0}, 1.0] for y in counts))).scores[3000:]
    assert np.exp(scores).mean() == pytest.approx(np.mean(counts[3000:]), rel=0.25)


@pytest.mark.parametrize("task", ["regression", "quantile"])
def test_one_mistyped_target_in_a_thousand_spoils_nothing(task):
    examples, r = list(numbers(8000)), random.Random(2)
    typos = [(i, r.choice([1e4, -1e6, 1e6])) for i in range(30, 8000) if r.random() < 0.001]
    right = np.ones(8000, np.bool_)
    right[[place for place, _ in typos]] = False

    assert errors(task, examples, typos)[right].mean() < 1.05 * errors(task, examples)[right].mean()


@pytest.mark.parametrize("level", [130.0, 1000.0, 1e5])
def test_a_new_level_is_followed_within_25_examples(level):
    found = errors("regression", [*numbers(), *numbers(200, level)], outcomes="at_once")[N:] / (level - 100.0)

    assert found[:25].min() < 0.1
    assert found[100:].mean() < 0.3


@pytest.mark.parametrize("level", [130.0, 1000.0, 1e5])
def test_when_outcomes_come_late_a_new_level_is_followed_in_some_hundred_examples(level):
    found = errors("regression", [*numbers(), *numbers(1000, level)])[N:] / (level - 100.0)

    assert found[:300].min() < 0.1
    assert found[500:].mean() < 0.3


def test_heavy_tails_are_no_mistakes():
    """The means of log-normal targets, whose largest are hundreds of times the mean, are learned without much bias."""
    r = random.Random(3)
    examples = [
        (r.lognormvariate(0.0, 1.5) * (1.0 + k), {f"k={k}": 1.0}) for k in (r.randrange(2) for _ in range(20000))
    ]
    model = Model("regression", seed=SEED)
    scores = model.learn_packed(pack(*((y, x, 1.0) for y, x in examples))).scores[10000:]
    targets = np.array([y for y, _ in examples])
    of_one = np.array(["k=1" in x for _, x in examples])

    for group in (of_one, ~of_one):
        assert scores[group[10000:]].mean() == pytest.approx(targets[group].mean(), rel=0.1)


def test_importances_say_nothing_by_their_common_factor():
    """A residual's size follows importances relative to their mean."""
    examples, sizes = list(numbers(500)), []
    for factor in (1.0, 64.0):
        model = Model("regression", rates=[1e-9], seed=SEED)  # predicts the mean
        model.learn_packed(pack(*((y, x, factor) for y, x in examples)))
        sizes.append(model.learner.totals[layout.RESIDUAL_SIZE])
    assert sizes[0] == pytest.approx(sizes[1], rel=1e-3)


def test_predictions_do_not_stick_at_the_smallest_target():
    """Where targets depend on products of the features, scores go below all targets; predictions stay above, and differ."""
    r = random.Random(4)
    model, examples = Model("regression", seed=SEED), []
    for _ in range(4000):
        x = {"a": r.gauss(0.0, 1.0), "b": r.gauss(0.0, 1.0), f"w{r.randrange(9)}": 1.0}
        examples.append((np.exp(x["a"] + x["b"]), x))
    model.learn_packed(pack(*((y, x, 1.0) for y, x in examples)))
    smallest = min(y for y, _ in examples)
    low = [x for _, x in examples if model.score_one(x) < smallest]
    predictions = [model.predict_one(x) for x in low]

    assert len(low) > 100
    assert min(predictions) > smallest
    assert len(set(predictions)) > 0.9 * len(low)


def test_prices_that_are_products_are_learned_as_sums_of_pairs():
    """A price by size and quality spans three orders of magnitude; pairs of a bin and a quality explain most of it."""
    r = random.Random(5)
    model, examples = Model("regression", seed=SEED), []
    for _ in range(6000):
        size, quality, place = r.lognormvariate(0.0, 0.8), r.randrange(4), r.randrange(4)
        price = 300.0 * size * 2.0**quality * 1.3**place * r.lognormvariate(0.0, 0.1)
        examples.append((price, {"size": size, f"quality={quality}": 1.0, f"place={place}": 1.0}))
    scores = model.learn_packed(pack(*((y, x, 1.0) for y, x in examples))).scores[3000:]
    prices = np.array([y for y, _ in examples[3000:]])
    names = [name for name in model.weights if name.startswith("size in [") and name.endswith("and quality=3")]

    assert names
    assert ((scores - prices) ** 2).mean() < 0.15 * prices.var()
