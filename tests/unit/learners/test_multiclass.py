"""Many classes: each class's learner is the reference's, and labels appear as they come."""

import math
import random

import msgpack
import numpy as np
import pytest

from learner import kernels, layout
from learner.errors import ExampleError, StoreError
from learner.model import Model
from learner.spec import OUTCOMES
from tests.conftest import SEED, state_bytes
from tests.reference.learner import Importances, Pools
from tests.unit.streams import labelled, packed, reference_of

N_EXAMPLES = 300 if kernels.JIT else 40


def new(**options):
    return Model("multiclass", seed=SEED, **options)


def many_labels(n, n_labels, seed=1):
    """Yield examples of many labels, with words of their own and others, and a number."""
    r = random.Random(seed)
    for _ in range(n):
        k = r.randrange(n_labels)
        yield f"c{k}", {f"w{k}": 1.0, f"n{r.randrange(6)}": 1.0, "all": 1.0, "x": k % 5 + r.gauss(0, 1)}, 1.0


@pytest.mark.parametrize(
    ("outcomes", "n_labels", "penalties"),
    [
        *((outcomes, n_labels, {}) for outcomes in OUTCOMES for n_labels in (4, layout.FEW_CLASSES + 3)),
        ("late", 4, {"l1": 0.05, "l2": 0.01}),
        ("at_once", layout.FEW_CLASSES + 3, {"l1": 0.05}),
    ],
    ids=str,
)
def test_every_class_is_learned_as_the_reference_learns_it_against_the_rest(outcomes, n_labels, penalties):
    """The classes share the pools: a held example is learned by the classes that there were when it came.

    Beyond a few classes, each has features of its own examples alone.
    """
    model, references = new(outcomes=outcomes, **penalties), {}
    pools, importances = Pools(int(model.learner.keys[layout.CONSTANT_HASH])), Importances()
    for label, x, importance in labelled(N_EXAMPLES) if n_labels == 4 else many_labels(N_EXAMPLES // 2, n_labels):
        model.learn_one(x, label, importance)
        references.setdefault(str(label), reference_of(model, holds=False))
        k = importances.relative(importance)
        few = len(references) <= layout.FEW_CLASSES
        targets = {name: (1 if name == str(label) else -1, few or name == str(label)) for name in references}
        if outcomes == "at_once":
            for name, (y, admits) in targets.items():
                references[name].learn_at_once(x, y, k, admits)
            continue
        pools.arrive({name: references[name].arrive(x, y, k, admits)[1] for name, (y, admits) in targets.items()})
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


@pytest.mark.parametrize("penalties", [{}, {"l1": 0.1}, {"l2": 0.02}, {"l1": 0.02, "l2": 0.01}], ids=str)
def test_a_class_has_the_bits_of_a_binary_model_of_its_label_against_the_rest(penalties):
    """A few classes at once, each from the first example of its label on, whatever the penalties."""
    model, binary = new(outcomes="at_once", **penalties), {}
    for label, x, _ in labelled(N_EXAMPLES):
        model.learn_one(x, label)
        binary.setdefault(str(label), Model(outcomes="at_once", seed=SEED, **penalties))
        for name, each in binary.items():
            each.learn_one(x, name == str(label))
    for _, x, _ in labelled(20, seed=2):
        assert model.learner.scores_packed(model.pack(x)) == {name: each.score_one(x) for name, each in binary.items()}
    for name, each in binary.items():
        assert dict(model.weights[name]) == dict(each.weights)
        zeros = sum(w == 0.0 for w in each.weights.array())
        assert zeros > 0 if penalties.get("l1") else zeros < len(each.weights)


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


def test_one_label_too_many_is_refused_and_the_line_goes_on():
    model = new(max_labels=2)
    learned = model.learn_packed(b"".join(packed([(label, {"a": 1}) for label in ("a", "b", "c", "a", "d", "b")])))
    assert [rejection.index for rejection in learned.rejections] == [2, 4]
    assert learned.rejections[0].reason == "labels must be at most max_labels, 2 (got 'c' after so many others)"
    assert (model.classes, model.n_examples, model.n_rejected) == (("a", "b"), 4, 2)


def test_beyond_a_few_classes_a_class_has_rows_for_what_it_has_met_alone():
    model, n = new(), 40
    model.learn_packed(b"".join(packed([(f"l{k}", {"all": 1.0}) for k in range(n)])))
    before = model.n_features
    model.learn_packed(b"".join(packed([("l3", {f"new{i}": 1.0}) for i in range(100)])))
    assert model.n_features == before + 100
    assert set(model.weights["l3"]) == {"(constant)", "all", *(f"new{i}" for i in range(100))}
    assert set(model.weights["l4"]) == {"(constant)", "all"}


def test_room_for_classes_grows_by_half_and_what_is_unused_is_not_in_the_state():
    """Labels that come one by one copy little, and a class without numbers takes few bytes."""
    model, rooms = new(), set()
    for k in range(300):
        model.learn_one({"a": 1.0}, f"l{k}")
        rooms.add(len(model.learner.weight_dict.samples))
    assert len(rooms) < 20
    model.learn_held()
    state = model.state()
    assert sum(array.nbytes for array in state.values()) < 12_000 * 300
    assert state["samples"].size == state["class_interactions"].size == 0


def test_a_state_whose_arrays_are_whole_is_loaded_too():
    """States were saved whole, whatever of them was used."""
    model = new()
    model.learn_packed(b"".join(packed(labelled(N_EXAMPLES))))
    state, n = {name: array.copy() for name, array in model.state().items()}, len(model.classes)
    whole = state | {name: array[:n].copy() for name, array in model.learner._stacked.items()}
    again = new()
    again.load_state(whole)
    assert state_bytes(again) == state_bytes(model)
    assert again.state()["class_newtons"].nbytes < whole["class_newtons"].nbytes
    with pytest.raises(StoreError, match=r"^state 'class_totals' must have the shape"):
        new().load_state(state | {"class_totals": state["class_totals"][:1]})
    with pytest.raises(StoreError, match=r"^state 'class_newtons' must have the shape"):
        new().load_state(state | {"class_newtons": state["class_newtons"][:, 0]})


def test_many_labels_are_learned():
    """Some hundred labels, each known by a feature of its own."""
    r, model = random.Random(1), new()
    n_labels, n = (300, 1500) if kernels.JIT else (20, 80)
    rows = [(f"l{k}", {f"w{k}": 1.0}) for k in (r.randrange(n_labels) for _ in range(n))]
    model.learn_packed(b"".join(packed(rows)))
    model.learn_held()
    known = [(label, x) for label, x in rows[-200:] if sum(x == other for _, other in rows) > 2]
    assert np.mean([model.predict_one(x) == label for label, x in known]) > 0.9
