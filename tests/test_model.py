"""The model: from a record to a prediction, to its reasons, and back from what was saved."""

import itertools
import math
import random
import types
from statistics import NormalDist

import numpy as np
import pytest

from learner import Model, kernels, layout
from learner.errors import ExampleError, SpecError, StoreError
from learner.layout import PARTS
from learner.learners.weights import WeightDict
from learner.losses import LOSSES
from learner.losses.links import logistic
from learner.spec import DECAYS
from learner.tasks import TASKS

RATES = TASKS["binary"].rates

SEED = b"sixteen bytes it"
ARRAYS = ("rows", "names", "totals", "mixer")


def new(task="binary", **options):
    return Model(task, seed=SEED, **options)


def records(n, seed=1):
    """Yield (features, score) of words and two dense numbers, one far from zero and on another scale."""
    r = random.Random(seed)
    for _ in range(n):
        x = {f"w{r.randint(0, 12)}": r.choice([1, 1, 2]) for _ in range(3)}
        x |= {"age": r.gauss(40, 12), "income": r.gauss(0, 1e4)}
        noise = r.gauss(0, 0.5)
        yield x, ("w1" in x) - ("w2" in x) + (x["age"] - 40) / 12 - x["income"] / 1e4 + noise


def trained(task="binary", n=150, **options):
    model = new(task, **options)
    for x, score in records(n):
        model.learn_one(x, target_of(task, score))
    return model


def target_of(task, score):
    """A target of the task: counts are exponential in the score."""
    if task == "poisson":
        return round(math.exp(1 + 0.3 * score))
    return score > 0 if task == "binary" else score


OTHER_TASKS = [{"task": "regression"}, {"task": "quantile", "level": 0.9}, {"task": "poisson"}]


def same(a, b):
    return all(a.state()[name].tobytes() == b.state()[name].tobytes() for name in ARRAYS)


# ---- predicting and learning -----------------------------------------------------------------------------------------
def test_a_model_that_knows_nothing_gives_even_chances():
    assert new().predict_proba_one({"a": 1}) == {-1: 0.5, 1: 0.5}
    assert new().score_one({"a": 1}) == 0.0
    assert new("regression").predict_one({"a": 1}) == new("quantile").predict_one({"a": 1}) == 0.0
    assert new("poisson").predict_one({"a": 1}) == 1.0
    assert math.isnan(new().progressive_loss)
    assert math.isnan(new().constant_loss)


def test_a_model_learns_what_is_there_to_learn():
    """Its progressive loss goes well below that of the best constant."""
    for model in (
        trained(n=300),
        trained(loss="hinge", n=300),
        *(trained(n=300, **options) for options in OTHER_TASKS),
    ):
        assert model.progressive_loss < 0.75 * model.constant_loss


def test_learning_any_form_of_a_binary_target_is_the_same():
    targets = [(-1, 1), (0, 1), (False, True), (-1.0, 1.0), (0.0, 1.0), ("no", "yes"), (np.int64(0), np.bool_(True))]
    models = []
    for negative, positive in targets:
        model = new(labels=["no", "yes"])
        for x, score in records(30):
            model.learn_one(x, positive if score > 0 else negative)
        models.append(model)
    assert all(same(models[0], model) for model in models[1:])


@pytest.mark.parametrize("labels", [None, ["ham", "spam"], (" ", "größer als 3"), ("a" * 256, "é" * 128), ("a", "a\0")])
def test_predictions_are_the_models_labels(labels):
    model = new(labels=labels)
    negative, positive = labels or (-1, 1)
    for _ in range(10):
        model.learn_one({"good": 1}, negative)
        model.learn_one({"bad": 1}, positive)
    assert (model.predict_one({"good": 1}), model.predict_one({"bad": 1})) == (negative, positive)
    chances = model.predict_proba_one({"bad": 1})
    assert list(chances) == [negative, positive]
    assert sum(chances.values()) == pytest.approx(1.0)
    assert chances[positive] == logistic(model.score_one({"bad": 1})) > 0.8


def test_a_string_that_is_no_label_is_refused():
    with pytest.raises(
        ExampleError, match=r"target must be -1, 0, 1, true, false or one of the model's labels \(got 'eggs'\)"
    ):
        new(labels=["ham", "spam"]).learn_one({"a": 1}, "eggs")


def test_probabilities_are_for_classes():
    with pytest.raises(ExampleError, match=r"^probabilities are for classes \(got a regression\)$"):
        new("regression").predict_proba_one({"a": 1})


@pytest.mark.parametrize("loss", LOSSES)
def test_importance_k_counts_roughly_like_k_repeats(loss):
    task = LOSSES[loss].task
    for k in (2, 3):
        weighed, repeated, plain = (new(task, loss=loss) for _ in range(3))
        for x, score in records(120):
            y = target_of(task, score)
            weighed.learn_one(x, y, importance=k)
            plain.learn_one(x, y)
            for _ in range(k):
                repeated.learn_one(x, y)
        again = [x for x, _ in records(60, seed=9)]
        away = sum(abs(weighed.score_one(x) - repeated.score_one(x)) for x in again)
        assert away < 0.5 * sum(abs(repeated.score_one(x)) for x in again)
        assert weighed.learner.totals[layout.IMPORTANCE_SUM] == k * plain.n_examples == repeated.n_examples


def test_one_example_of_importance_k_is_k_examples_of_a_single_rate():
    """On the first example both follow the same gradient, so that only AdaGrad's own sum may differ."""
    for k in (2, 5):
        heavy, light = new(rates=[0.5]), new(rates=[0.5])
        heavy.learn_one({"a": 1}, 1, importance=k)
        light.learn_one({"a": 1}, 1)
        assert light.score_one({"a": 1}) < heavy.score_one({"a": 1}) < k * light.score_one({"a": 1})


def test_an_example_of_no_importance_teaches_nothing():
    model, other = trained(n=40), trained(n=40)
    other.learn_one({"w1": 1}, 1, importance=0)
    assert other.learner.totals[layout.IMPORTANCE_SUM] == model.learner.totals[layout.IMPORTANCE_SUM]
    assert other.score_one({"w1": 1}) == model.score_one({"w1": 1})


def test_losses_are_counted_as_they_come():
    """The mean over the importances of each example's loss before it was learned; for the hinge and the squared too."""
    for loss in LOSSES.values():
        model, total, n = new(loss.task, loss=loss.name), 0.0, 0.0
        for (x, score), importance in zip(records(60), itertools.cycle([1, 2.5]), strict=False):
            y = math.copysign(1, score) if loss.task == "binary" else target_of(loss.task, score)
            before = model.score_one(x) if loss.task == "binary" else model.predict_one(x)
            before = math.log(before) if loss.task == "poisson" else before
            total, n = total + importance * loss.value(before, y), n + importance
            model.learn_one(x, y, importance)
        assert model.progressive_loss == pytest.approx(total / n, rel=1e-9)


def test_the_constant_loss_is_that_of_the_best_constant_so_far():
    model, positive, total = new(), 0, 0.0
    for i, (x, score) in enumerate(records(50)):
        p = (positive + 1) / (i + 2)
        total -= math.log(p if score > 0 else 1 - p)
        positive += score > 0
        model.learn_one(x, score > 0)
    assert model.constant_loss == pytest.approx(total / 50)

    regression, seen, total = new("regression"), [], 0.0
    for x, y in records(50):
        total += (y - (sum(seen) / len(seen) if seen else 0.0)) ** 2
        seen.append(y)
        regression.learn_one(x, y)
    assert regression.constant_loss == pytest.approx(total / 50)


# ---- quantiles and counts --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("level", [0.1, 0.5, 0.9])
def test_the_share_of_targets_below_a_quantile_is_its_level(level):
    """And the prediction is the quantile of the noise beside the truth, whose deviation grows with a feature."""
    model, r = new("quantile", level=level), random.Random(1)
    for _ in range(8000 if kernels.JIT else 2000):
        x = {"a": r.uniform(0, 1)}
        model.learn_one(x, 100 + 10 * x["a"] + (1 + 2 * x["a"]) * r.gauss(0, 1))
    found = model.figures()
    assert found["window_covered"] == pytest.approx(level, abs=0.03)
    assert found["pinball"] < found["constant_pinball"]
    z = NormalDist().inv_cdf(level)
    for a in (0.2, 0.5, 0.8):
        assert model.predict_one({"a": a}) == pytest.approx(100 + 10 * a + (1 + 2 * a) * z, abs=0.8)


def test_the_score_of_a_count_is_the_logarithm_of_its_rate():
    model, r = new("poisson"), np.random.default_rng(1)
    for a, b in r.uniform(-1, 1, (4000, 2)):
        model.learn_one({"a": a, "b": b}, int(r.poisson(math.exp(1 + a - 0.5 * b))))
    for a, b in ((0.5, 0.5), (-0.5, 0.2), (0.0, -0.7)):
        x = {"a": a, "b": b}
        assert model.score_one(x) == pytest.approx(1 + a - 0.5 * b, abs=0.15)
        assert model.predict_one(x) == pytest.approx(math.exp(model.score_one(x)))
    found = model.figures()
    assert found["deviance"] < found["constant_deviance"]
    assert found["mae"] < found["constant_mae"]


def test_rates_are_learned_in_any_unit():
    """After the first thousand, that the mean be made of a 1, too, matters no more."""
    plain, scaled = new("poisson"), new("poisson")
    for x, score in records(1000):
        y = target_of("poisson", score)
        plain.learn_one(x, y)
        scaled.learn_one(x, 1000.0 * y)
    for x, _ in records(20, seed=3):
        assert scaled.predict_one(x) == pytest.approx(1000.0 * plain.predict_one(x), rel=0.05)


# ---- regression in the user's units ----------------------------------------------------------------------------------
@pytest.mark.parametrize(("unit", "shift"), [(1e6, 0), (1e-6, 0), (1, 5000), (-3, 7)])
def test_a_regression_does_not_care_for_the_units_of_its_targets(unit, shift):
    """From the second target on: the first one is judged before any is known."""
    plain, other = new("regression"), new("regression")
    for i, (x, y) in enumerate(records(150)):
        if i:
            assert other.predict_one(x) == pytest.approx(
                plain.predict_one(x) * unit + shift, rel=1e-4, abs=1e-4 * abs(unit)
            )
            assert other.score_one(x) == pytest.approx(
                plain.score_one(x) * unit + shift, rel=1e-4, abs=1e-4 * abs(unit)
            )
        plain.learn_one(x, y)
        other.learn_one(x, y * unit + shift)
    for name, weight in plain.weights.items():
        expected = weight * unit + (shift if name == layout.CONSTANT_NAME else 0)
        assert other.weights[name] == pytest.approx(expected, rel=1e-3, abs=1e-4 * abs(unit))


def test_a_prediction_stays_within_the_targets_seen():
    model = new("regression")
    for i in random.Random(2).sample(range(50), 50):
        model.learn_one({"x": i}, 2 * i)
    assert model.score_one({"x": 10}) == pytest.approx(20, abs=2)
    assert model.predict_one({"x": 1e6}) == 98
    assert model.predict_one({"x": -1e6}) == 0


def test_targets_that_never_change_are_predicted():
    model = new("regression")
    for _ in range(5):
        model.learn_one({"a": 1}, 3.25)
    assert model.predict_one({"a": 1}) == model.score_one({"b": 1}) == 3.25


# ---- explaining ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("options", [{}, {"rates": [0.5]}, {"loss": "hinge"}, *OTHER_TASKS])
def test_contributions_add_up_to_the_score(options):
    model = trained(**options)
    for x, _ in [*records(60, seed=5), ({}, 0), ({"unseen": 3}, 0), ({"age": 1e9, "w1": -5}, 0)]:
        explained = model.explain_one(x)
        size = sum(abs(c.contribution) for c in explained)
        assert sum(c.contribution for c in explained) == pytest.approx(model.score_one(x), abs=1e-6 * size)
        assert [abs(c.contribution) for c in explained] == sorted(
            (abs(c.contribution) for c in explained), reverse=True
        )


@pytest.mark.parametrize("options", [{}, {"rates": [0.5]}, *OTHER_TASKS])
def test_an_explanation_agrees_with_the_weights(options):
    """``contribution = weight * (value - mean)``, with the weights of ``model.weights``, where nothing is clipped."""
    model = trained(**options)
    centred = set()
    for x, _ in records(40, seed=1):  # seen before, so that no value is beyond what the features know
        explained = {c.name: c for c in model.explain_one(x)}
        derived = {
            name for name in explained if model.learner.weight_dict.derived[model.learner.weight_dict.slot(name)]
        }
        assert explained.keys() == x.keys() | {layout.CONSTANT_NAME} | derived
        for name, c in explained.items():
            assert c.weight == pytest.approx(model.weights[name], rel=1e-12)
            assert c.value == x.get(name, 1.0)
            assert c.contribution == pytest.approx(c.weight * (c.value - c.mean), rel=2e-4, abs=1e-6)
            centred |= {name} if c.mean else set()
    assert centred == {"age", "income"}


def test_an_unseen_feature_adds_nothing_and_zeros_are_left_out():
    explained = {c.name: c for c in trained().explain_one({"unseen": 2, "w1": 0, "w2": False})}
    assert explained["unseen"][1:] == (2.0, 0.0, 0.0, 0.0)
    assert explained.keys() >= {"unseen", layout.CONSTANT_NAME, "age", "income"}  # dense ones left out are there with 0
    assert explained["age"].value == explained["income"].value == 0.0


def test_a_dense_number_that_is_zero_is_zero():
    """Left out or given as 0, and whichever values it has: the line is learned, through zero as well."""
    model, draw = new("regression"), random.Random(1)
    for _ in range(5000):
        x = draw.choice(range(5))
        model.learn_one({"x": x}, x)
    for x in range(5):
        assert model.score_one({"x": x}) == pytest.approx(x, abs=0.05)
    assert model.score_one({}) == model.score_one({"x": 0}) == pytest.approx(model.score_one({"x": 1e-29}), abs=1e-6)


# ---- records ---------------------------------------------------------------------------------------------------------
BAD_RECORDS = [
    ([1], r"^features must be a map of name to number, or an array \(got \[1\]\)$"),
    ("text", r"^features must be a map of name to number, or an array \(got 'text'\)$"),
    (None, r"^features must be a map of name to number, or an array \(got None\)$"),
    ({"a": "1"}, r"^feature 'a' must be a number \(got '1'\)$"),
    ({"a": math.nan}, r"^feature 'a' must be finite, at most 1e\+30 in size \(got nan\)$"),
    ({"a": -1.1e30}, r"^feature 'a' must be finite, at most 1e\+30 in size \(got -1.1e\+30\)$"),
    ({1: 1}, r"^feature name must be a string \(got 1\)$"),
    ({"": 1}, r"^feature name must have 1 to 256 bytes \(got 0\)$"),
    ({"a": object}, r"^value must be numbers, strings, lists and maps \(got \{'a': <class 'object'>\}: "),
    ({"a": 2**70}, r"^value must be numbers, strings, lists and maps \(got "),
    ({"\ud800": 1}, r"^value must be numbers, strings, lists and maps \(got "),
    ({"a": np.zeros(2)}, r"^feature .a. must be a number \(got ExtType"),
]


@pytest.mark.parametrize(("record", "message"), BAD_RECORDS)
def test_a_bad_record_is_refused_in_words_and_leaves_no_trace(record, message):
    model, clean = trained(n=10), trained(n=10)
    for refused in (
        lambda: model.learn_one(record, 1),
        lambda: model.score_one(record),
        lambda: model.explain_one(record),
    ):
        with pytest.raises(ExampleError, match=message):
            refused()
    model.count_rejected(-model.n_rejected)
    assert same(model, clean)


@pytest.mark.parametrize("importance", [-1, math.nan, math.inf, "1", None])
def test_a_bad_importance_is_refused(importance):
    with pytest.raises(
        ExampleError, match=rf"^importance must be a number within \[0, 1e\+06\] \(got {importance!r}\)$"
    ):
        new().learn_one({"a": 1}, 1, importance)


def test_a_record_that_the_featurizer_cannot_take_is_refused():
    with pytest.raises(ExampleError):
        new(featurizer="email").learn_one({"other": 1}, 1)


def test_numpys_scalars_are_numbers():
    plain, numpys = new("regression"), new("regression")
    plain.learn_one({"a": 2, "b": 0.5, "c": 1, "d": 3}, 1.5, 2.0)
    plain.learn_one({"a": 3, "b": 1.5}, 2.0)
    x = {"a": np.int32(2), "b": np.float32(0.5), "c": np.bool_(True), "d": np.uint8(3)}
    numpys.learn_one(x, np.float32(1.5), np.float64(2.0))
    numpys.learn_one({np.str_("a"): np.int64(3), "b": np.float64(1.5)}, np.int16(2))
    assert same(plain, numpys)


def test_any_mapping_is_a_map_of_features():
    model, plain = new(), new()
    model.learn_one(types.MappingProxyType({"a": 1}), 1)
    plain.learn_one({"a": 1}, 1)
    assert same(model, plain)
    assert model.score_one(types.MappingProxyType({"a": 1})) == plain.score_one({"a": 1})
    assert model.explain_one(types.MappingProxyType({"a": 1})) == plain.explain_one({"a": 1})


# ---- saving ----------------------------------------------------------------------------------------------------------
def test_the_state_of_a_model_that_knows_nothing_can_be_loaded():
    model = new()
    model.load_state({name: array.copy() for name, array in new().state().items()})
    model.learn_one({"a": 1}, 1)
    assert model.n_features == 2


def test_a_state_replaces_what_was_learned_before():
    state = {name: array.copy() for name, array in trained(n=50).state().items()}
    used, fresh = new(), new()
    used.learn_one({f"other {i}": 1 for i in range(500)}, 1)
    for model in (used, fresh):
        model.load_state(state)
    assert used.learner.weight_dict.slot("other 499") is None
    for model in (used, fresh):
        model.learn_one({f"new {i}": 1 for i in range(500)}, -1)
    assert same(used, fresh)


def test_loading_a_state_again_and_again_does_not_crowd_the_table():
    """A full table would search for ever."""
    model = trained(n=50)
    state = {name: array.copy() for name, array in model.state().items()}
    sizes = []
    for _ in range(3):
        model.load_state(state)
        sizes.append(np.count_nonzero(model.learner.weight_dict.table))
    assert sizes == [model.n_features] * 3


def test_a_state_of_another_shape_is_refused():
    with pytest.raises(StoreError, match=r"^state 'mixer' must have the shape \(12, 13\) \(got \(2, 3\)\)$"):
        new().load_state(new(rates=[1.0]).state())


def test_a_state_that_is_refused_changes_nothing():
    model, clean = trained(n=10), trained(n=10)
    with pytest.raises(StoreError):
        model.load_state(trained(n=20, rates=[1.0]).state())
    assert same(model, clean)


def test_the_store_of_a_model_is_a_weight_dict():
    assert isinstance(new().learner.weight_dict, WeightDict)


# ---- the model as data -----------------------------------------------------------------------------------------------
SPECS = [
    {}, {"loss": "hinge"}, {"task": "regression"}, {"rates": [1.0]}, {"rates": [1.0, 2.0]}, {"rates": [1.0], "decays": [0.5]},
    {"task": "quantile"}, {"task": "quantile", "level": 0.9}, {"task": "poisson"},
    {"labels": ["a", "b"]}, {"labels": ["b", "a"]}, {"featurizer": "email"}, {"seed": b"another sixteen b"},
]  # fmt: skip


@pytest.mark.parametrize("options", SPECS)
def test_a_spec_gives_the_model_back(options):
    model = Model(**({"seed": SEED} | options))
    again = Model.from_spec(model.to_spec())
    assert again.to_spec() == model.to_spec()
    assert again.fingerprint == model.fingerprint


def test_a_fingerprint_changes_with_everything_that_is_learned_differently():
    prints = [Model(**({"seed": SEED} | options)).fingerprint for options in SPECS]
    assert len(set(prints)) == len(prints)
    assert all(len(x) == 32 and set(x) <= set("0123456789abcdef") for x in prints)
    assert new().fingerprint == new(rates=RATES, decays=DECAYS, parts=PARTS).fingerprint
    model = trained(n=5)
    assert model.fingerprint == new().fingerprint


def test_a_model_draws_its_own_secret():
    assert Model().fingerprint != Model().fingerprint
    assert len(Model().spec.seed) == 16


RATES_RULE = "rates must be 1 to 12 numbers above 0, at most 1e+06"
DECAYS_RULE = "decays must be 1 to 12 numbers above 0, at most 1"
LABELS_RULE = "labels must be two different strings of 1 to 256 bytes, of a binary task"

BAD_SPECS = [
    ({"task": "ranking"}, "task must be one of binary, multiclass, regression, quantile, poisson (got 'ranking')"),
    ({"level": 0.5}, "level must be of a quantile task (got a binary one)"),
    ({"task": "quantile", "level": 1}, "level must be within (0, 1) (got 1)"),
    ({"task": "quantile", "level": math.nan}, "level must be within (0, 1) (got nan)"),
    ({"task": "quantile", "level": "high"}, "level must be within (0, 1) (got 'high')"),
    ({"loss": "absolute"}, "loss of a binary task must be one of logistic, hinge (got 'absolute')"),
    ({"loss": "squared"}, "loss of a binary task must be one of logistic, hinge (got 'squared')"),
    ({"task": "regression", "loss": "hinge"}, "loss of a regression task must be one of squared (got 'hinge')"),
    ({"rates": []}, f"{RATES_RULE} (got [])"),
    ({"rates": [1] * 13}, f"{RATES_RULE} (got [1, 1, 1, 1, 1, 1, ...])"),
    ({"rates": [1, 0]}, f"{RATES_RULE} (got [1, 0])"),
    ({"rates": [-1]}, f"{RATES_RULE} (got [-1])"),
    ({"rates": [1_000_001]}, f"{RATES_RULE} (got [1000001])"),
    ({"rates": [math.nan]}, f"{RATES_RULE} (got [nan])"),
    ({"rates": [math.inf]}, f"{RATES_RULE} (got [inf])"),
    ({"rates": ["a"]}, "rates must be a list of numbers (got ['a'])"),
    ({"rates": 0.5}, "rates must be a list of numbers (got 0.5)"),
    ({"rates": [1], "decays": []}, f"{DECAYS_RULE} (got [])"),
    ({"rates": [1], "decays": [0]}, f"{DECAYS_RULE} (got [0])"),
    ({"rates": [1], "decays": [1.1]}, f"{DECAYS_RULE} (got [1.1])"),
    ({"rates": [1], "decays": [math.nan]}, f"{DECAYS_RULE} (got [nan])"),
    ({"rates": [1], "decays": [1, 1]}, "decays must be as many as the rates, 1 (got 2)"),
    ({"decays": [0.5]}, "decays must be as many as the rates, 2 (got 1)"),
    ({"decays": 1}, "decays must be a list of numbers (got 1)"),
    ({"labels": ["a"]}, f"{LABELS_RULE} (got ['a'])"),
    ({"labels": ["a", "a"]}, f"{LABELS_RULE} (got ['a', 'a'])"),
    ({"labels": ["a", 1]}, f"{LABELS_RULE} (got ['a', 1])"),
    ({"labels": "ab"}, f"{LABELS_RULE} (got 'ab')"),
    ({"labels": ["", "a"]}, f"{LABELS_RULE} (got ['', 'a'])"),
    ({"labels": ["a" * 257, "b"]}, f"{LABELS_RULE} (got ['{'a' * 27}...{'a' * 28}', 'b'])"),
    ({"labels": ["b", "é" * 129]}, f"{LABELS_RULE} (got ['b', '{'é' * 27}...{'é' * 28}'])"),
    ({"task": "regression", "labels": ["a", "b"]}, f"{LABELS_RULE} (got ['a', 'b'])"),
    ({"seed": b"short"}, "seed must be at least 16 bytes (it is a secret, so not shown)"),
    ({"seed": "sixteen bytes it"}, "seed must be at least 16 bytes (it is a secret, so not shown)"),
]


@pytest.mark.parametrize(("options", "message"), BAD_SPECS)
def test_a_wrong_description_is_refused_in_words(options, message):
    with pytest.raises(SpecError) as caught:
        Model(**options)
    assert str(caught.value) == message


def test_a_wrong_featurizer_is_refused():
    with pytest.raises(SpecError):
        Model(featurizer={"no such": "thing"})


def test_a_spec_of_another_version_or_with_other_keys_is_refused():
    with pytest.raises(SpecError, match=r"^spec version must be 1 \(got 2\)$"):
        Model.from_spec(new().to_spec() | {"version": 2})
    message = (
        "^spec must have no other keys than decays, featurizer, l1, l2, labels, level, loss, max_features, neural, "
    )
    message += "optimizer, parts, rates, seed, task"
    with pytest.raises(SpecError, match=rf"{message} \(got colour, size\)$"):
        Model.from_spec(new().to_spec() | {"size": 1, "colour": 2})


NO_SPECS = [
    {"seed": "zz"}, {"seed": 5}, {"seed": ""}, {"rates": ["a"]}, {"rates": [None]}, {"rates": 0.5}, {"loss": ["a"]},
    {"loss": 5}, {"task": ["a"]}, {"task": None}, {"labels": 5}, {"labels": {"a": 1, "b": 2}}, {"decays": 1},
    {"featurizer": 5}, {"featurizer": ["a"]}, {"version": "1"}, {"version": None},
    {"rates": [10**400]}, {"labels": ["\ud800", "b"]},
    {1: 2}, 5, "text",
]  # fmt: skip


@pytest.mark.parametrize("spec", NO_SPECS)
def test_a_wrong_type_in_a_spec_is_refused_as_a_wrong_description(spec):
    with pytest.raises(SpecError):
        Model.from_spec(spec)


def test_decays_without_rates_are_those_of_the_default_rates():
    model = new(decays=[0.5] * 2)
    assert (model.to_spec()["rates"], model.to_spec()["decays"]) == (list(RATES), [0.5] * 2)
    assert model.spec.decays == (0.5, 0.5)


def test_rates_without_decays_do_not_decay():
    assert new(rates=[1, 2]).to_spec()["decays"] == [1.0, 1.0]


@pytest.mark.parametrize("decay", [1e-7, 0.9999999])
def test_a_spec_gives_any_decay_back(decay):
    model = new(rates=[1.0], decays=[decay])
    assert Model.from_spec(model.to_spec()).spec.decays == model.spec.decays


# ---- the lecture's example -------------------------------------------------------------------------------------------
def test_the_lectures_weights_give_the_lectures_score():
    """-1.2 (1) + 0.6 (0.85) + 3 (1) + 2.2 (1) + 1.4 (0) = 4.51."""
    lecture = {"length>10": -1.2, "fracOfAlpha": 0.6, "contains_@": 3.0, "endsWith_.com": 2.2, "endsWith_.org": 1.4}
    model = new(rates=[1.0])
    model.learn_one(dict.fromkeys(lecture, 1), 1)
    state = {name: array.copy() for name, array in model.state().items()}
    state["rows"][:, layout.HEADER] = [0.0, *lecture.values()]  # the scale of a feature seen once, at 1, is 1
    told = new(rates=[1.0])
    told.load_state(state)
    x = {"length>10": 1, "fracOfAlpha": 0.85, "contains_@": 1, "endsWith_.com": 1, "endsWith_.org": 0}
    assert told.score_one(x) == pytest.approx(4.51, abs=1e-6)
    assert told.predict_one(x) == 1
    assert dict(told.weights) == pytest.approx({layout.CONSTANT_NAME: 0.0} | lecture, abs=1e-6)
    assert {c.name: round(c.contribution, 2) for c in told.explain_one(x)} == {
        "contains_@": 3.0, "endsWith_.com": 2.2, "length>10": -1.2, "fracOfAlpha": 0.51, layout.CONSTANT_NAME: 0.0,
    }  # fmt: skip
