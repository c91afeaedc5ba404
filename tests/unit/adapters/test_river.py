"""The adapters for River: River's own checks, its pipelines, and the same numbers as the model itself."""

import numpy as np
import pytest

from learner.errors import ExampleError
from learner.model import Model
from tests.unit.adapters.records import records

pytest.importorskip("river", reason="river is not installed (extra: river)")


def river_checks():
    from river import checks

    from learner.adapters.river import LearnerClassifier, LearnerRegressor

    models = (LearnerClassifier(), LearnerRegressor(), LearnerClassifier(seed=3))
    return [pytest.param(model, check, id=check.__name__) for model in models for check in checks.yield_checks(model)]


@pytest.mark.parametrize(("model", "check"), river_checks())
def test_rivers_own_checks_hold(model, check):
    check(model.clone())


def test_river_evaluates_it_and_finds_what_the_model_counts_itself():
    from river import evaluate, metrics

    from learner.adapters.river import LearnerClassifier

    model = LearnerClassifier()
    metric = metrics.LogLoss() + metrics.Accuracy()
    evaluate.progressive_val_score(records(), model, metric)
    log_loss, accuracy = metric.get()
    assert log_loss == pytest.approx(model.model.progressive_loss)
    assert accuracy == pytest.approx(model.model.figures()["accuracy"])
    assert accuracy > 0.85


def test_it_stands_at_the_end_of_rivers_pipelines():
    from river import compose, evaluate, feature_extraction, metrics, preprocessing, stats

    from learner.adapters.river import LearnerClassifier, LearnerRegressor

    scaled = compose.SelectType(float) | preprocessing.StandardScaler()
    known = compose.SelectType(str) | preprocessing.OneHotEncoder()
    pipeline = (scaled + known) | LearnerClassifier(featurizer=None)
    assert evaluate.progressive_val_score(records(), pipeline, metrics.Accuracy()).get() > 0.85
    mean = feature_extraction.TargetAgg(by="place", how=stats.Mean())
    stream = [(x, 5.0 + x["a"]) for x, _ in records()]
    r2 = evaluate.progressive_val_score(stream, (compose.Select("a") + mean) | LearnerRegressor(), metrics.R2()).get()
    assert r2 > 0.85
    bag = feature_extraction.BagOfWords() | LearnerClassifier()
    texts = [("good and cheap", "ham"), ("win win win", "spam")] * 30
    assert evaluate.progressive_val_score(texts, bag, metrics.Accuracy()).get() > 0.95


def test_labels_of_river_are_any_two_values_and_a_third_one_is_refused():
    from learner.adapters.river import LearnerClassifier

    for labels in (
        ("ham", "spam"),
        (False, True),
        (0, 1),
        (-1, 1),
        (1, -1),
        (np.bool_(True), np.bool_(False)),
        (7, "x"),
    ):
        model = LearnerClassifier()
        assert model.predict_one({"a": 1.0}) is False
        for _ in range(20):
            model.learn_one({"a": 1.0}, labels[0])
            model.learn_one({"b": 1.0}, labels[1], 2.0)
        assert [model.predict_one({name: 1.0}) for name in "ab"] == list(labels)
        assert set(model.predict_proba_one({"a": 1.0})) == set(labels)
        with pytest.raises(ExampleError, match="label must be one of two"):
            model.learn_one({"a": 1.0}, "third")
        assert model.model.n_examples == 40
    one = LearnerClassifier()
    one.learn_one({1: 1.0}, "ham")
    assert one.predict_proba_one({1: 1.0}) == {"ham": 1.0}
    with pytest.raises(ExampleError, match="field '2' must be"):
        one.learn_one({2: object()}, "spam")
    one.learn_one({2: 1.0}, "spam")
    assert list(one.predict_proba_one({})) == ["ham", "spam"]


def test_the_numbers_in_river_are_those_of_the_model():
    from learner.adapters.river import LearnerRegressor

    adapter = LearnerRegressor(neural=[5, 4], seed=1)
    model = Model.from_spec(adapter.model.to_spec())
    for x, y in records(50):
        assert adapter.predict_one(x) == model.predict_one(x)
        adapter.learn_one(x, float(y), 2.0)
        model.learn_one(x, float(y), 2.0)
    again = adapter.clone()
    assert again.model.spec.seed == adapter.model.spec.seed
    assert again.model.n_examples == 0


def test_many_classes_of_river_are_any_values_and_appear_as_they_come():
    from river import evaluate, metrics

    from learner.adapters.river import LearnerMultiClassifier

    examples = [({"w": str(label), "x": i % 5}, label) for i in range(100) for label in ("a", 2, (3, 4))]
    model = LearnerMultiClassifier(seed=1)
    assert evaluate.progressive_val_score(examples, model, metrics.Accuracy()).get() > 0.9
    assert model.predict_one({"w": "(3, 4)", "x": 1}) == (3, 4)
    assert set(model.predict_proba_one({"w": "2"})) == {"a", 2, (3, 4)}


@pytest.mark.parametrize("kind", ["LearnerClassifier", "LearnerMultiClassifier"])
@pytest.mark.parametrize("label", [None, float("nan")])
def test_a_missing_label_is_an_error_and_no_class(kind, label):
    from learner.adapters import river

    model = getattr(river, kind)()
    with pytest.raises(ExampleError, match="label must not be missing"):
        model.learn_one({"a": 1.0}, label)
    model.learn_one({"a": 1.0}, "yes")
    assert model.predict_proba_one({"a": 1.0}) == {"yes": 1.0}


@pytest.mark.parametrize(
    "options", [{"loss": "quantile", "level": 0.9}, {"loss": "poisson"}, {"optimizer": "ftrl"}], ids=str
)
def test_a_regressor_of_any_loss_or_algorithm_is_the_model_itself(options):
    from learner.adapters.river import LearnerRegressor
    from learner.adapters.tasks import task_of

    adapter = LearnerRegressor(**options, seed=3).clone()
    model = Model(task_of(options.get("loss")), featurizer="fields", **options, seed=adapter.model.spec.seed)
    for x, _ in records():
        target = float(round(abs(3.0 * x["a"])))
        adapter.learn_one(x, target)
        model.learn_one(x, target)
    assert adapter.predict_one(x) == model.predict_one(x) != 0.0
    assert adapter.predict_one({}) == model.predict_one({})
