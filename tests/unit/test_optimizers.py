"""The table of named algorithms as a model's description: options, defaults and refusals."""

import json
import math

import pytest

from learner import Model
from learner.errors import SpecError
from tests.unit.learners.algorithms import OPTIONS, new
from tests.unit.streams import SEED


def test_a_spec_gives_the_model_back_and_each_option_is_in_the_fingerprint():
    specs = [*OPTIONS, {"name": "nag", "rate": 0.25}, "nag", "ftrl"]
    models = [new(spec) for spec in specs] + [Model(seed=SEED), Model(seed=SEED, rates=[0.5])]
    for model in models:
        again = Model.from_spec(json.loads(json.dumps(model.to_spec())))
        assert again.to_spec() == model.to_spec()
        assert again.fingerprint == model.fingerprint
    assert len({model.fingerprint for model in models}) == len(models) - 1  # "nag" is {"name": "nag"}


BAD = [
    ("nesterov", "optimizer must be one of sgd, adagrad, adam, ftrl, ng, nag (got 'nesterov')"),
    ({"alpha": 1}, "optimizer must be one of sgd, adagrad, adam, ftrl, ng, nag (got None)"),
    ({"name": "ftrl", "rate": 1}, "options of ftrl must be among alpha, beta, l1, l2, clip (got rate)"),
    ({"name": "ftrl", "clip": "no"}, "clip of ftrl must be true or false, or 1 or 0 (got 'no')"),
    ({"name": "ftrl", "clip": 2}, "clip of ftrl must be true or false, or 1 or 0 (got 2)"),
    ({"name": "ftrl", "l1": -1}, "l1 of ftrl must be a number within [0, 1e+06] (got -1)"),
    ({"name": "ftrl", "beta": 0}, "beta of ftrl must be a number within [1e-09, 1e+06] (got 0)"),
    ({"name": "sgd", "rate": math.nan}, "rate of sgd must be a number within [1e-09, 1e+06] (got nan)"),
    ({"name": "sgd", "rate": True}, "rate of sgd must be a number within [1e-09, 1e+06] (got True)"),
    ({"name": "sgd", "rate": "1"}, "rate of sgd must be a number within [1e-09, 1e+06] (got '1')"),
    (5, "optimizer must be one of sgd, adagrad, adam, ftrl, ng, nag (got 5)"),
]


@pytest.mark.parametrize(("optimizer", "message"), BAD)
def test_a_wrong_optimizer_is_refused_in_words(optimizer, message):
    with pytest.raises(SpecError) as caught:
        new(optimizer)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    "other", [{"rates": [0.5]}, {"decays": [0.5] * 2}, {"neural": [4]}, {"parts": []}, {"l1": 0.1}, {"l2": 0.1}]
)
def test_an_optimizer_stands_alone(other):
    with pytest.raises(SpecError) as caught:
        Model(optimizer="ftrl", **other)
    name = next(iter(other))
    message = f"optimizer must stand alone, without rates, decays, parts, neural, l1, l2 (got {name})"
    hint = "; sgd, adagrad and ftrl have options for penalties, as ftrl:l1=1" if name in ("l1", "l2") else ""
    assert str(caught.value) == message + hint
