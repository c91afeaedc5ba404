"""A model's state and copies: what is loaded goes on as what was saved."""

import copy
import pickle

import numpy as np
import pytest

from learner.errors import StoreError
from learner.model import Model
from tests.conftest import state_bytes
from tests.unit.records import SEED, new, trained


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
    assert state_bytes(used) == state_bytes(fresh)


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
    assert state_bytes(model) == state_bytes(clean)


@pytest.mark.parametrize("options", [{}, {"featurizer": "email", "labels": ("no", "yes")}, {"neural": [5, 4]}])
def test_a_copy_of_a_model_learns_on_like_it_and_by_itself(options):
    model = Model(seed=SEED, **options)
    rows = [({"address": f"a{i % 7}@b{i % 3}.org"} if "labels" in options else {"a": i % 5, "b": 1}) for i in range(60)]
    for i, x in enumerate(rows):
        model.learn_one(x, i % 2)
    before = state_bytes(model)
    for taken in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):  # noqa: S301  (our own bytes)
        assert state_bytes(taken) == before
        taken.learn_one(rows[0], 1)
        assert state_bytes(model) == before
    model.learn_one(rows[0], 1)
    assert state_bytes(taken) == state_bytes(model)
