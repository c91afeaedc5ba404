"""Many classes: each class's learner is the reference's, and labels appear as they come."""

import math

import msgpack
import numpy as np
import pytest

from learner import kernels, layout
from learner.errors import ExampleError
from learner.model import Model
from learner.spec import OUTCOMES
from tests.conftest import SEED
from tests.reference.learner import Importances, Pools
from tests.unit.streams import labelled, packed, reference_of

N_EXAMPLES = 300 if kernels.JIT else 40


def new(**options):
    return Model("multiclass", seed=SEED, **options)


@pytest.mark.parametrize("outcomes", OUTCOMES)
def test_every_class_is_learned_as_the_reference_learns_it_against_the_rest(outcomes):
    """The classes share the pools: a held example is learned by the classes that there were when it came."""
    model, references = new(outcomes=outcomes), {}
    pools, importances = Pools(int(model.learner.keys[layout.CONSTANT_HASH])), Importances()
    for label, x, importance in labelled(N_EXAMPLES):
        model.learn_one(x, label, importance)
        references.setdefault(str(label), reference_of(model, holds=False))
        k = importances.relative(importance)
        targets = {name: 1 if name == str(label) else -1 for name in references}
        if outcomes == "at_once":
            for name, y in targets.items():
                references[name].learn_at_once(x, y, k)
            continue
        pools.arrive({name: references[name].arrive(x, y, k)[1] for name, y in targets.items()})
        for examples, is_short in pools.leaving():
            for name, example in examples.items():
                references[name].learn_later(example, is_short)
    assert list(model.classes) == list(references)
    for _, x, _ in labelled(20, seed=2):
        for label, score in model.learner.scores_packed(model.pack(x)).items():
            assert score == pytest.approx(references[label].predict(x), rel=1e-4, abs=1e-4)
    for label, reference in references.items():
        weights = reference.weights()
        mine = model.weights[label]
        assert list(mine) == list(weights)
        np.testing.assert_allclose(mine.array(), list(weights.values()), rtol=2e-3, atol=1e-5)
        assert mine["x"] == pytest.approx(weights["x"], rel=2e-3, abs=1e-5)


def test_labels_appear_as_they_come_and_their_probabilities_sum_to_one():
    model = new()
    assert model.predict_one({"a": 1}) is None
    assert model.predict_proba_one({"a": 1}) == {}
    for label in ("a", "b", 3):
        model.learn_one({f"is {label}": 1.0}, label)
    assert model.classes == ("a", "b", "3")
    model.learn_packed(b"".join(packed([(label, {f"is {label}": 1.0}) for label in ("a", "b", 3)] * 50)))
    assert model.predict_one({"is 3": 1.0}) == "3"
    probabilities = model.predict_proba_one({"is b": 1.0})
    assert sum(probabilities.values()) == pytest.approx(1.0)
    assert max(probabilities, key=probabilities.__getitem__) == "b"


def test_a_number_and_its_digits_are_one_label():
    model = new()
    for label in (12, "12", 12.0, -3, "-3", 0, "0"):
        model.learn_one({"a": 1.0}, label)
    assert model.classes == ("12", "-3", "0")


def test_contributions_add_up_to_the_labels_score():
    model = new()
    model.learn_packed(b"".join(packed(labelled(N_EXAMPLES))))
    _, x, _ = next(labelled(1, seed=5))
    scores = model.learner.scores_packed(model.pack(x))
    for label, score in scores.items():
        assert sum(part.contribution for part in model.explain_one(x, label)) == pytest.approx(
            score, rel=1e-5, abs=1e-5
        )
    likeliest = model.predict_one(x)
    assert model.explain_one(x) == model.explain_one(x, likeliest)
    with pytest.raises(ExampleError, match=r"^label must be one of those seen"):
        model.explain_one(x, "bird")


def test_the_figures_are_those_of_the_definitions():
    """The best constant's shares are of the importances relative to their mean so far."""
    model, counts, n, importances = new(), {}, 0.0, Importances()
    losses, right, constant, constant_right, weights = [], [], [], [], []
    for label, x, importance in labelled(N_EXAMPLES):
        label, p = str(label), model.predict_proba_one(x)
        known = label in counts
        k = len(counts) + (not known)
        losses.append(-math.log(p[label]) if known else math.log(k))
        right.append(known and max(p, key=p.__getitem__) == label)
        constant.append(-math.log((counts[label] + 1) / (n + k)) if known else math.log(k))
        constant_right.append(known and max(counts, key=counts.__getitem__) == label)
        relative = importances.relative(importance)
        counts[label], n = counts.get(label, 0) + relative, n + relative
        weights.append(importance)
        model.learn_one(x, label, importance)
    figures = model.figures()
    assert figures["log_loss"] == pytest.approx(np.average(losses, weights=weights)) == model.progressive_loss
    assert figures["accuracy"] == pytest.approx(np.average(right, weights=weights))
    assert figures["constant_log_loss"] == pytest.approx(np.average(constant, weights=weights)) == model.constant_loss
    assert figures["constant_accuracy"] == pytest.approx(np.average(constant_right, weights=weights))
    assert figures["accuracy"] > figures["constant_accuracy"]
    assert figures["log_loss"] < figures["constant_log_loss"]


@pytest.mark.parametrize("target", [1.5, None, "", "x" * 257, [1], b"cat"])
def test_what_is_no_label_is_refused_in_words(target):
    model = new()
    rejection = model.learn_packed(msgpack.packb([target, {"a": 1}])).rejections[0]
    assert rejection.reason.startswith(
        "target must be a label: a string of 1 to 256 bytes, a whole number or a boolean (got "
    )
    assert model.classes == ()


def test_a_boolean_is_the_label_that_a_file_has_as_text():
    model = new()
    for target in (True, "true", False, "maybe", "false", np.True_):
        model.learn_one({"a": 1}, target)
    assert model.classes == ("true", "false", "maybe")


def test_a_bad_example_of_a_new_label_makes_no_class():
    model = new()
    rejection = model.learn_packed(msgpack.packb(["cat", {"a": "x"}])).rejections[0]
    assert rejection.reason.startswith("feature 'a' must be a number")
    assert model.classes == ()


def test_one_label_too_many_is_refused_and_the_line_goes_on(monkeypatch):
    monkeypatch.setattr(layout, "MAX_CLASSES", 2)
    model = new()
    learned = model.learn_packed(b"".join(packed([(label, {"a": 1}) for label in ("a", "b", "c", "a", "d", "b")])))
    assert [rejection.index for rejection in learned.rejections] == [2, 4]
    assert learned.rejections[0].reason == "labels must be at most 2 (got 'c' after so many others)"
    assert (model.classes, model.n_examples, model.n_rejected) == (("a", "b"), 4, 2)
