"""The model: from a record to a prediction, and what it refuses."""

import itertools
import math
import types

import numpy as np
import pytest

from learner import layout
from learner.errors import ExampleError
from learner.losses import LOSSES
from learner.losses.links import logistic
from tests.conftest import state_bytes
from tests.unit.records import OTHER_TASKS, new, records, target_of, trained


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
    assert all(state_bytes(models[0]) == state_bytes(model) for model in models[1:])


@pytest.mark.parametrize(
    ("labels", "negatives", "positives", "refused"),
    [
        (["01", "02"], ["01", 1, 1.0], ["02", 2], ["1", 0, -1, "2"]),  # a number by its value, a text by its letters
        (["1", "2"], ["1", 1], ["2", 2.0], ["01", "1.0", 0]),
        (["1", "many"], ["1", 1, True], ["many"], [0, -1, "one"]),
        (["many", "1"], ["many"], ["1", 1], [0, 2]),
        (["0", "1"], ["0", 0, False], ["1", 1, True], [-1]),
        (["yes", "no"], ["yes", True, 1], ["no", False, 0], [-1]),
        (["spam", "ham"], ["spam", False, 0, -1], ["ham", True, 1], [2]),
    ],
)
def test_a_target_is_the_label_that_it_equals(labels, negatives, positives, refused):
    for targets, likeliest in ((negatives, labels[0]), (positives, labels[1])):
        for target in targets:
            model = new(labels=labels)
            for _ in range(10):
                model.learn_one({"a": 1}, target)
            assert model.predict_one({"a": 1}) == likeliest, target
    for target in refused:
        with pytest.raises(ExampleError, match="target must be one of the model's labels"):
            new(labels=labels).learn_one({"a": 1}, target)


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
        ExampleError, match=r"target must be one of the model's labels, 'ham' and 'spam' \(got 'eggs'\)"
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


def test_an_example_of_importance_k_moves_a_score_by_less_than_k_times_as_much():
    """Importances are relative to their mean so far, so the first one says nothing; a step is shorter the further it goes."""
    for k in (2, 5):
        heavy, light = new(rates=[0.5]), new(rates=[0.5])
        heavy.learn_one({"b": 1}, 1, importance=k)
        light.learn_one({"b": 1}, 1)
        before = light.score_one({"a": 1})
        assert heavy.score_one({"a": 1}) == before
        heavy.learn_one({"a": 1}, 1, importance=k * k)
        light.learn_one({"a": 1}, 1)
        light_move, heavy_move = (model.score_one({"a": 1}) - before for model in (light, heavy))
        assert light_move < heavy_move < k * light_move


def test_an_example_of_no_importance_teaches_nothing():
    model, other = trained(n=40, outcomes="at_once"), trained(n=40, outcomes="at_once")
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


BAD_RECORDS = [
    ([1], r"^features must be a map of name to number, or an array \(got \[1\]\)$"),
    ("text", r"^features must be a map of name to number, or an array \(got 'text'\)$"),
    (None, r"^features must be a map of name to number, or an array \(got None\)$"),
    ({"a": "1"}, r"^feature 'a' must be a number \(got '1'\): strings need a featurizer"),
    ({"a": math.nan}, r"^feature 'a' must be finite, at most 1e\+30 in size \(got nan\)$"),
    ({"a": -1.1e30}, r"^feature 'a' must be finite, at most 1e\+30 in size \(got -1.1e\+30\)$"),
    ({1: 1}, r"^feature name must be a string \(got 1\)$"),
    ({"": 1}, r"^feature name must have 1 to 256 bytes \(got 0\)$"),
    ({"a": object}, r"^value must be numbers, strings, lists and maps \(got \{'a': <class 'object'>\}: "),
    ({"a": 2**70}, r"^value must be numbers, strings, lists and maps \(got "),
    ({"\ud800": 1}, r"^text must have no lone surrogates \(got "),
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
    assert state_bytes(model) == state_bytes(clean)


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
    assert state_bytes(plain) == state_bytes(numpys)


def test_any_mapping_is_a_map_of_features():
    model, plain = new(), new()
    model.learn_one(types.MappingProxyType({"a": 1}), 1)
    plain.learn_one({"a": 1}, 1)
    assert state_bytes(model) == state_bytes(plain)
    assert model.score_one(types.MappingProxyType({"a": 1})) == plain.score_one({"a": 1})
    assert model.explain_one(types.MappingProxyType({"a": 1})) == plain.explain_one({"a": 1})
