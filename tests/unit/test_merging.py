"""The simulation of merging: its rules, and states of our own learner that are merged, must be what they are called."""

import msgpack
import numpy as np
import pytest

from learner import layout
from learner.model import Model
from tests.benchmarks.merged_states import copied, merged
from tests.benchmarks.merging import RULES, in_arrays, simulate
from tests.conftest import SEED
from tests.streams import zipf_examples

SOME = [(y, {"a": y * 0.5, "b": i % 3 + 1.0}) for i, y in enumerate([1, -1, 1, 1, -1, 1, -1, -1] * 20)]


def dense_and_sparse(n, seed):
    """Packed examples with names by Zipf's law, and two numbers."""
    rng = np.random.default_rng(seed)
    for packed in zipf_examples(n, 5, seed):
        target, features = msgpack.unpackb(packed)
        yield msgpack.packb([target, {**features, "x": float(rng.normal()), "z": float(rng.normal(5.0))}])


def learned(examples, state=None):
    """A model that went on from a state, and the state it is in then."""
    model = Model("binary", seed=SEED)
    if state:
        model.load_state(copied(state))
    model.learn_packed(b"".join(examples))
    model.learn_held()
    return model, copied(model.state())


@pytest.fixture(scope="module")
def before():
    return learned(dense_and_sparse(1500, 1))[1]


def test_one_learner_is_merged_into_itself(before):
    model, state = learned(dense_and_sparse(300, 2), before)
    after = merged(before, [state], RULES["by updates"])
    assert after["names"].tobytes() == state["names"].tobytes()
    assert (
        after["rows"].view(np.uint32)[:, [1, 4, 5, 6, 7]].tolist()
        == state["rows"].view(np.uint32)[:, [1, 4, 5, 6, 7]].tolist()
    )
    again = Model("binary", seed=SEED)
    again.load_state(after)
    assert again.weights == pytest.approx(dict(model.weights), rel=1e-4, abs=1e-6)


def test_a_merged_state_has_the_features_of_all_learners_under_their_names(before):
    pairs = [
        learned([*dense_and_sparse(300, seed), msgpack.packb([1, {f"only {seed}": 1.0}])], before) for seed in (2, 3)
    ]
    model = Model("binary", seed=SEED)
    model.load_state(merged(before, [state for _, state in pairs], RULES["by updates"]))
    (one, _), (other, _) = pairs
    assert set(model.feature_names) == {*one.feature_names, *other.feature_names}
    for learner, name in ((one, "only 2"), (other, "only 3")):
        assert model.weights[name] == pytest.approx(learner.weights[name], rel=0.2)
        assert model.weights[name] != 0.0
    model.learn_packed(b"".join(dense_and_sparse(300, 4)))  # it is a state to go on from
    assert np.isfinite(model.progressive_loss)


def test_a_merged_state_has_the_places_and_the_pairs_of_the_learner_with_most_dense_features(before):
    """A mean of the codes of pairs would be the code of places that no feature has."""
    pairs = [
        learned([msgpack.packb([1, {f"only {seed}": 1.0}]), *dense_and_sparse(300, seed)], before) for seed in (2, 3)
    ]
    model, state = pairs[1]
    place = int(state["totals"][layout.N_DENSE]) + 1
    state["totals"][[layout.N_DENSE, layout.DENSE_SLOTS + place]] = place, model.learner.weight_dict.slot("only 3")
    state["interactions"][0, 1] = 2 * len(state["interactions"]) + 1
    after = merged(before, [state for _, state in pairs], RULES["by updates"])
    assert after["interactions"][0, 1:].tolist() == state["interactions"][0, 1:].tolist()
    again = Model("binary", seed=SEED)
    again.load_state(after)
    assert again.learner.weight_dict.name(int(after["totals"][layout.DENSE_SLOTS + place])) == "only 3"


def test_one_learner_loses_nothing_by_merging_and_two_that_add_their_changes_move_twice_as_far():
    stream = in_arrays(SOME, regression=False)
    assert simulate(stream, 0.5, 1, 10, RULES["average"]) == pytest.approx(simulate(stream, 0.5))
    moves = np.array([[[1.0, 0.0], [4.0, 0.0]], [[1.0, 2.0], [12.0, 9.0]]])  # (learners, (weights, squares), features)
    updates = np.array([[1.0, 0.0], [3.0, 2.0]])
    shares = {name: rule(updates, moves[:, 1]) for name, rule in RULES.items() if rule}
    weights = {name: (of_weights * moves[:, 0]).sum(axis=0).tolist() for name, (of_weights, _) in shares.items()}
    squares = {name: (of_squares * moves[:, 1]).sum(axis=0).tolist() for name, (_, of_squares) in shares.items()}
    assert weights == {
        "added": [2.0, 2.0], "average": [1.0, 1.0], "by updates": [1.0, 2.0], "by updates, slowed": [1.0, 2.0],
        "by squares": [1.0, 2.0], "by squares, slowed": [1.0, 2.0],
    }  # fmt: skip
    assert squares == {
        "added": [16.0, 9.0], "average": [8.0, 4.5], "by updates": [10.0, 9.0], "by updates, slowed": [16.0, 9.0],
        "by squares": [10.0, 9.0], "by squares, slowed": [16.0, 9.0],
    }  # fmt: skip
