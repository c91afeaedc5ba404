"""The adapters for scikit-learn: its own checks, its pipelines, and the same numbers as the model itself."""

import importlib.util
import math

import numpy as np
import pytest

from learner.model import Model
from tests.conftest import state_bytes
from tests.unit.adapters.records import records

pytest.importorskip("sklearn", reason="scikit-learn is not installed (extra: sklearn)")

WEIGHTS = "an online learner's weight k is about k repeats, and repeats in another order are another stream"
EXPECTED = {f"check_sample_weight_equivalence_on_{kind}_data": WEIGHTS for kind in ("dense", "sparse")}


@pytest.mark.parametrize("name", ["LearnerClassifier", "LearnerRegressor"])
@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_own_checks_hold(name):
    from sklearn.utils.estimator_checks import check_estimator

    from learner.adapters import sklearn

    checks = check_estimator(getattr(sklearn, name)(), expected_failed_checks=EXPECTED, on_skip=None)
    assert {row["check_name"] for row in checks if row["status"] == "xfail"} <= EXPECTED.keys()
    assert sum(row["status"] == "passed" for row in checks) > 40


def matrix(n=500):
    r = np.random.default_rng(5)
    X = r.normal(size=(n, 6)) * (r.random((n, 6)) < 0.5)
    return X, np.where(X @ r.normal(size=6) + 0.1 * r.normal(size=n) > 0, "yes", "no")


def test_dense_sparse_frame_and_records_are_the_same_stream():
    from scipy import sparse

    from learner.adapters.sklearn import LearnerClassifier

    X, y = matrix()
    weights = np.linspace(0.5, 2.0, len(y))
    direct = Model(featurizer="fields", seed=np.random.RandomState(1).bytes(16))
    for row, label, weight in zip(X, y, weights, strict=True):
        direct.learn_one({str(j): float(v) for j, v in enumerate(row)}, int(label == "yes"), float(weight))
    unsorted = sparse.csr_array((X / 2)[:, ::-1])[:, ::-1] + sparse.csr_array(X / 2)
    forms = {
        "dense": X,
        "list": X.tolist(),
        "fortran": np.asfortranarray(X),
        "csr": sparse.csr_matrix(X),
        "csc": sparse.csc_array(X),
        "sum": unsorted,
        "records": [{str(j): float(v) for j, v in enumerate(row)} for row in X],
    }
    if importlib.util.find_spec("pandas"):
        import pandas as pd

        forms["frame"] = pd.DataFrame(X, columns=list("012345"))
    scores = [direct.score_one({str(j): float(v) for j, v in enumerate(row)}) for row in X]
    for name, form in forms.items():
        model = LearnerClassifier(random_state=1).fit(form, y, sample_weight=weights)
        assert state_bytes(model.model_) == state_bytes(direct), name
        np.testing.assert_array_equal(model.decision_function(form), scores, err_msg=name)


def test_repeated_places_of_a_sparse_matrix_add_up():
    from scipy import sparse

    from learner.adapters.sklearn import LearnerRegressor

    twice = sparse.csr_array((np.array([1.0, 2.0, 4.0]), np.array([1, 1, 0]), np.array([0, 2, 3])), shape=(2, 3))
    once = sparse.csr_array(np.array([[0.0, 3.0, 0.0], [4.0, 0.0, 0.0]]))
    a, b = (LearnerRegressor(random_state=1).fit(X, [1.0, 2.0]) for X in (twice, once))
    assert state_bytes(a.model_) == state_bytes(b.model_)
    assert twice.nnz == 3


def test_blocks_and_calls_do_not_matter(monkeypatch):
    from scipy import sparse

    from learner.adapters import sklearn

    X, y = matrix()
    t = (y == "yes") + X[:, 0]
    whole = sklearn.LearnerRegressor(random_state=1).fit(X, t)
    monkeypatch.setattr(sklearn, "BLOCK_VALUES", 20)
    monkeypatch.setattr(sklearn, "BLOCK_ROWS", 7)
    for form in (X, sparse.csr_array(X)):
        parts = sklearn.LearnerRegressor(random_state=1)
        for first in range(0, len(X), 130):
            parts.partial_fit(form[first : first + 130], t[first : first + 130])
        assert state_bytes(parts.model_) == state_bytes(whole.model_)
        np.testing.assert_array_equal(parts.predict(form), whole.predict(X))
    assert whole.score(X, t) > 0.7


def test_it_stands_in_scikit_learns_pipelines_and_searches():
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.model_selection import GridSearchCV, cross_val_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from learner.adapters.sklearn import LearnerClassifier

    X, y = matrix()
    pipeline = make_pipeline(StandardScaler(), LearnerClassifier())
    assert cross_val_score(pipeline, X, y, cv=3, scoring="roc_auc").min() > 0.9
    search = GridSearchCV(LearnerClassifier(), {"rates": [None, (0.5,)], "loss": ["logistic", "hinge"]}, cv=2).fit(X, y)
    assert search.best_score_ > 0.85
    texts = ["good and cheap", "win a prize"] * 50
    spam = make_pipeline(HashingVectorizer(n_features=1 << 18), LearnerClassifier()).fit(texts, [0, 1] * 50)
    assert spam.predict(["cheap and good", "a prize"]).tolist() == [0, 1]
    probabilities = spam.predict_proba(["cheap"])
    assert probabilities.shape == (1, 2)
    assert probabilities.sum() == 1.0


def test_records_and_frames_keep_their_names():
    from learner.adapters.sklearn import LearnerClassifier

    rows, labels = zip(*records(), strict=True)
    model = LearnerClassifier().partial_fit(rows, labels, classes=[False, True])
    assert model.model_.weights["place=rome"] > 0 > model.model_.weights["place=oslo"]
    assert model.score(rows, labels) > 0.85
    if importlib.util.find_spec("pandas"):
        import pandas as pd

        X, y = matrix()
        frame = pd.DataFrame(X, columns=["α", "b" * 40, "c", "d", "e", "f" * 200])
        named = LearnerClassifier().fit(frame, y)
        assert named.feature_names_in_.tolist() == list(frame.columns)
        assert {"α", "b" * 40, "f" * 200} <= set(named.model_.weights)
        with pytest.raises(ValueError, match="feature names"):
            named.predict(frame.rename(columns={"c": "other"}))
        with pytest.raises(ValueError, match=r"row 0: feature name must not be \(constant\)"):
            LearnerClassifier().fit(frame.rename(columns={"c": "(constant)"}), y)


def test_what_cannot_be_learned_is_said_in_words():
    from learner.adapters.sklearn import LearnerClassifier, LearnerRegressor

    X, y = matrix(20)
    with pytest.raises(ValueError, match=r"y must have two classes or more \(got 1 class\)"):
        LearnerClassifier().fit(X, [1] * 20)
    model = LearnerClassifier().partial_fit(X, y)
    with pytest.raises(ValueError, match=r"y must be of the classes \['no', 'yes'\] \(got np.str_\('maybe'\)\)"):
        model.partial_fit(X, ["maybe"] * 20)
    with pytest.raises(ValueError, match="classes must be those of the first call"):
        model.partial_fit(X, y, classes=["a", "b"])
    with pytest.raises(ValueError, match=r"X and y must have the same number of rows \(got 20 and 3\)"):
        LearnerRegressor().fit(X, [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match=r"row 3: feature '2' must be finite, at most 1e\+30"):
        LearnerRegressor().fit(np.where(np.arange(120).reshape(20, 6) == 20, 1e31, X), np.arange(20))
    with pytest.raises(ValueError, match="at most 1e"):
        model.predict(X + 1e31)
    with pytest.raises(ValueError, match="row 1: field 'a' must be"):
        LearnerRegressor().fit([{"a": 1}, {"a": object()}], [1, 2])
    assert math.isfinite(model.decision_function(X).sum())


def test_many_classes_of_scikit_learn_are_learned_and_their_probabilities_sum_to_one():
    from sklearn.datasets import load_iris

    from learner.adapters.sklearn import LearnerClassifier

    X, y = load_iris(return_X_y=True)
    order = np.random.default_rng(1).permutation(len(y))
    X, y = X[order], np.array(["setosa", "versicolor", "virginica"])[y[order]]
    model = LearnerClassifier(random_state=1).fit(X, y)
    assert model.decision_function(X).shape == model.predict_proba(X).shape == (150, 3)
    np.testing.assert_allclose(model.predict_proba(X).sum(axis=1), 1.0)
    assert model.score(X, y) > 0.9
    late = LearnerClassifier(random_state=1).partial_fit(X[:1], y[:1], classes=np.unique(y))
    assert late.predict_proba(X[:1]).max() == 1.0  # of the classes without an example yet it is 0


@pytest.mark.parametrize("X", [np.eye(4), [{"a": 1.0}] * 4], ids=["matrix", "records"])
@pytest.mark.parametrize("kind", ["LearnerClassifier", "LearnerRegressor"])
def test_rows_that_all_weigh_nothing_are_no_rows_to_partial_fit(kind, X):
    from learner.adapters import sklearn

    model = getattr(sklearn, kind)(random_state=1).partial_fit(X, [0, 1, 0, 1], sample_weight=np.zeros(4))
    assert model.model_.n_examples == 0
    model.partial_fit(X, [0, 1, 0, 1], sample_weight=[0.0, 0.0, 0.0, 1.0])
    assert model.model_.n_examples == 4


def test_a_frame_with_a_column_of_text_is_a_list_of_records():
    pandas = pytest.importorskip("pandas")
    from learner.adapters.sklearn import LearnerClassifier

    frame = pandas.DataFrame(
        {"city": ["Lyon", "Rome", None] * 20, "price": [1.0, float("nan"), 2.0] * 20, 7: [True] * 60}
    )
    y = ["yes", "no", "no"] * 20
    model = LearnerClassifier(random_state=1).fit(frame, y)
    assert {"city=Lyon", "city=Rome", "price", "7"} < set(model.model_.feature_names)
    assert model.predict(frame[:2]).tolist() == ["yes", "no"]
    numbers = pandas.DataFrame({"price": [1.0], "city": [0]})  # by name, not by position, whatever its columns hold
    assert model.decision_function(numbers) == model.decision_function([{"price": 1.0, "city": 0}])


NUMBERS = [
    {"loss": "quantile", "level": 0.9},
    {"loss": "poisson"},
    *({"optimizer": name} for name in ("sgd", "adagrad", "adam", "ftrl", "ng", "nag")),
]


@pytest.mark.parametrize("options", NUMBERS, ids=str)
def test_a_regressor_of_any_loss_or_algorithm_is_the_model_itself(options):
    from sklearn.base import clone

    from learner.adapters.sklearn import LearnerRegressor
    from learner.adapters.tasks import task_of

    X, _ = matrix(200)
    y = np.round(np.abs(3.0 * X[:, 0] + X[:, 1]))
    regressor = clone(LearnerRegressor(**options, random_state=1)).fit(X, y)
    model = Model(task_of(options.get("loss")), **options, seed=np.random.RandomState(1).bytes(16))
    for row, target in zip(X, y, strict=True):
        model.learn_one({str(j): float(v) for j, v in enumerate(row)}, float(target))
    expected = [model.predict_one({str(j): float(v) for j, v in enumerate(row)}) for row in X[:20]]
    np.testing.assert_allclose(regressor.predict(X[:20]), expected, rtol=1e-12)
    assert len(set(expected)) > 1


def test_a_classifier_has_the_named_algorithms_and_a_regressor_refuses_their_losses():
    from learner.adapters.sklearn import LearnerClassifier, LearnerRegressor
    from learner.errors import SpecError

    X, y = matrix()
    assert LearnerClassifier(optimizer={"name": "ftrl", "l1": 1.0}).fit(X, y).score(X, y) > 0.8
    with pytest.raises(SpecError, match=r"loss must be one of squared, quantile, poisson \(got 'hinge'\)"):
        LearnerRegressor("hinge").fit(X, np.ones(len(y)))
