"""A model's state and copies: what is loaded goes on as what was saved."""

import copy
import functools
import pickle

import numpy as np
import pytest

from learner import layout
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


PAIR = ("interactions", (0, 1))
PRODUCT = 2 * (1 + layout.MAX_BINNED + layout.MAX_SWITCHES) + 1  # the code of the first pair of dense features
BROKEN = [  # array, place, number, and what the message says
    (*PAIR, PRODUCT + 0.25, "codes of pairs from 0 to 9215"),
    (*PAIR, PRODUCT + 71, "pairs of dense features and switches"),  # with a place where no feature is
    (*PAIR, PRODUCT * 33, "pairs of dense features and switches"),  # of a switch that there isn't
    (*PAIR, np.nan, "codes of pairs from 0 to 9215"),
    ("totals", layout.N_DENSE, 1e9, "numbers of dense features from 0 to 1024"),
    ("totals", layout.N_SWITCHES, -1.0, "numbers of switches from 0 to 31"),
    ("totals", layout.CONSTANT_ROW, 1e6, "rows of constants from 0 to"),
    ("totals", layout.DENSE_SLOTS + 1, 1e6, "slots of dense features from 0 to"),
    ("samples", (0, 1, 0), 101.0, "numbers of sampled values from 0 to 100"),
    ("rows", (1, layout.DENSE), np.uint32(layout.PLACE_MASK).view(np.float32), "places up to 1024"),
    ("rows", (1, layout.NAME), np.uint32(1 << 20).view(np.float32), "names within"),
    ("rows", (-1, layout.NAME), np.uint32(1 << 20).view(np.float32), "parents before the rows derived of them"),
    ("held", (0, 2), 2.0, "of 1 classes at most"),
]


@pytest.mark.parametrize(("name", "place", "number", "what"), BROKEN)
def test_a_state_with_places_beyond_its_arrays_is_refused(name, place, number, what):
    """Compiled code checks no bounds: it read beyond a work array, and learned what was there."""
    state = {name: array.copy() for name, array in settled().state().items()}
    model = new()
    model.load_state(state)
    state[name][place] = number
    with pytest.raises(StoreError, match=f"^state .*must (have|be) {what}"):
        model.load_state(state)


@functools.cache
def settled():
    """A model that holds examples, with a derived feature in its last row."""
    model = trained(n=150)
    assert model.learner.weight_dict.derived[-1]
    return model


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
