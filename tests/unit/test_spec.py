"""A model as data: what a spec holds, and what it refuses in words."""

import json
import math

import pytest

from learner.errors import SpecError
from learner.layout import PARTS
from learner.model import Model
from learner.spec import OUTCOMES, Spec
from learner.tasks import TASKS
from tests.unit.records import SEED, new, trained

RATES, DECAYS = TASKS["binary"].rates["late"]
LATE_PARTS = [part for part in PARTS if part != "trends"]
SPECS = [
    {}, {"loss": "hinge"}, {"task": "regression"}, {"rates": [1.0]}, {"rates": [1.0, 2.0]}, {"rates": [1.0], "decays": [0.5]},
    {"task": "quantile"}, {"task": "quantile", "level": 0.9}, {"task": "poisson"},
    {"outcomes": "at_once"}, {"task": "multiclass"}, {"task": "multiclass", "outcomes": "at_once"}, {"optimizer": "ftrl"},
    {"task": "regression", "target_range": [0, 9]}, {"task": "multiclass", "max_labels": 9},
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
    model = trained(n=5)
    assert model.fingerprint == new().fingerprint


@pytest.mark.parametrize("outcomes", OUTCOMES)
@pytest.mark.parametrize("task", TASKS)
def test_defaults_that_are_written_out_are_not_in_the_fingerprint(task, outcomes):
    plain = Spec(task, outcomes=outcomes, seed=SEED)
    rates, decays = TASKS[task].rates[outcomes]
    parts = LATE_PARTS if outcomes == "late" else PARTS
    written = Spec(
        task, outcomes=outcomes, rates=rates, decays=decays, parts=parts, loss=TASKS[task].loss, seed=SEED,
        level=0.5 if task == "quantile" else None,
    )  # fmt: skip
    assert written.fingerprint == plain.fingerprint == Spec.from_data(plain.to_data()).fingerprint
    assert (outcomes == "late") == (plain.fingerprint == Spec(task, seed=SEED).fingerprint)


def test_a_named_algorithm_learns_at_once():
    assert Spec(optimizer="sgd").outcomes == Spec(optimizer="sgd", outcomes="at_once").outcomes == "at_once"


def test_a_model_draws_its_own_secret():
    assert Model().fingerprint != Model().fingerprint
    assert len(Model().spec.seed) == 16


RATES_RULE = "rates must be 1 to 12 numbers above 0, at most 1e+06"
DECAYS_RULE = "decays must be 1 to 12 numbers above 0, at most 1"
RANGE_RULE = "target_range must be two numbers within [-1e+30, 1e+30], the smaller one first"
LABELS_RULE = "labels must be two different strings of 1 to 256 bytes, of a binary task"
BAD_SPECS = [
    ({"outcomes": "soon"}, "outcomes must be one of late, at_once (got 'soon')"),
    (
        {"outcomes": "late", "optimizer": "sgd"},
        "outcomes of a named algorithm must be at_once: it learns each example when it comes (got late)",
    ),
    (
        {"parts": ["trends"]},
        "parts must have no trends if outcomes come late: they are outcomes of the examples just before",
    ),
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
    ({"labels": ["1", "01"]}, "labels must not be the same number twice (got 1 and 01)"),
    ({"labels": ["a", 1]}, f"{LABELS_RULE} (got ['a', 1])"),
    ({"labels": "ab"}, f"{LABELS_RULE} (got 'ab')"),
    ({"labels": ["", "a"]}, f"{LABELS_RULE} (got ['', 'a'])"),
    ({"labels": ["a" * 257, "b"]}, f"{LABELS_RULE} (got ['{'a' * 27}...{'a' * 28}', 'b'])"),
    ({"labels": ["b", "é" * 129]}, f"{LABELS_RULE} (got ['b', '{'é' * 27}...{'é' * 28}'])"),
    ({"task": "regression", "labels": ["a", "b"]}, f"{LABELS_RULE} (got ['a', 'b'])"),
    ({"target_range": [0, 1]}, "target_range must be of a task that predicts numbers (got a binary one)"),
    ({"task": "regression", "target_range": [1, 1]}, f"{RANGE_RULE} (got [1, 1])"),
    ({"task": "regression", "target_range": [1, 0]}, f"{RANGE_RULE} (got [1, 0])"),
    ({"task": "regression", "target_range": [0]}, f"{RANGE_RULE} (got [0])"),
    ({"task": "regression", "target_range": [0, "1"]}, f"{RANGE_RULE} (got [0, '1'])"),
    ({"task": "regression", "target_range": [0, math.nan]}, f"{RANGE_RULE} (got [0, nan])"),
    ({"task": "regression", "target_range": 5}, f"{RANGE_RULE} (got 5)"),
    (
        {"task": "poisson", "target_range": [-1, 5]},
        "target_range must be two numbers within [0, 1e+30], the smaller one first (got [-1, 5])",
    ),
    ({"max_labels": 5}, "max_labels must be of a multiclass task (got a binary one)"),
    ({"task": "multiclass", "max_labels": 1}, "max_labels must be a whole number of 2 to 10000 (got 1)"),
    ({"task": "multiclass", "max_labels": 1e3}, "max_labels must be a whole number of 2 to 10000 (got 1000.0)"),
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
        "^spec must have no other keys than columns, decays, featurizer, l1, l2, labels, level, loss, max_features, "
    )
    message += "max_labels, neural, optimizer, outcomes, parts, rates, seed, target, target_range, task"
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_features": 99}, "max_features must be a whole number of 100 to 2147483648 (got 99)"),
        ({"max_features": 1e3}, "max_features must be a whole number of 100 to 2147483648 (got 1000.0)"),
        ({"max_features": True}, "max_features must be a whole number of 100 to 2147483648 (got True)"),
        ({"l1": -1}, "l1 must be a number within [0, 1e+06] (got -1)"),
        ({"l2": "a"}, "l2 must be a number within [0, 1e+06] (got 'a')"),
        ({"task": "multiclass", "max_features": 5}, "max_features must be a whole number of 100 to 2147483648 (got 5)"),
        ({"l1": True, "task": "multiclass"}, "l1 must be a number within [0, 1e+06] (got True)"),
    ],
    ids=str,
)
def test_wrong_options_are_refused_in_words(options, message):
    with pytest.raises(SpecError) as caught:
        new(**options)
    assert str(caught.value) == message


def test_a_spec_keeps_the_options():
    model = new(max_features=500, l1=0.1, l2=0.2)
    again = Model.from_spec(json.loads(json.dumps(model.to_spec())))
    assert again.to_spec() == model.to_spec()
    assert (again.spec.max_features, again.spec.l1, again.spec.l2) == (500, 0.1, 0.2)
    assert again.fingerprint not in {new(max_features=501, l1=0.1, l2=0.2).fingerprint, new().fingerprint}


@pytest.mark.parametrize("options", [{"loss": "hinge"}, {"labels": ["a", "b"]}, {"neural": [4]}, {"optimizer": "sgd"}])
def test_what_a_model_of_many_classes_has_none_of_is_refused(options):
    with pytest.raises(
        SpecError, match=r"^multiclass task must have the logistic loss, labels of its stream, no neural head"
    ):
        new("multiclass", **options)


@pytest.mark.parametrize(
    ("neural", "message"),
    [
        ([], "neural must be 1 to 4 layers of 1 to 256 units (got [])"),
        ([0], "neural must be 1 to 4 layers of 1 to 256 units (got [0])"),
        ([1.5], "neural must be 1 to 4 layers of 1 to 256 units (got [1.5])"),
        ({"hidden": [2], "activation": "swish"}, "activation must be one of relu, logistic, tanh (got 'swish')"),
        ({"hidden": 2}, "neural must be a list of units a layer (got 2)"),
        ({"hidden": [2], "depth": 2}, "neural must have no other keys than hidden, activation, alone (got depth)"),
    ],
)
def test_a_wrong_head_is_refused(neural, message):
    with pytest.raises(SpecError) as caught:
        new(neural=neural)
    assert str(caught.value) == message
