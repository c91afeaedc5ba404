"""An array of numbers in place of a map: the same bits come out as of the map with the names by position."""

import numpy as np
import pytest

from learner import Model, layout
from learner.errors import ExampleError
from learner.losses import LOSSES
from learner.packing import pack
from tests.conftest import state_bytes
from tests.unit.streams import SEED, by_position, pixels

TYPES = [np.float32, np.float64, np.float16, np.uint8, np.int16, np.int64, np.bool_]


def new(loss="logistic", **options):
    return Model(LOSSES[loss].task, loss=loss, seed=SEED, **options)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("loss", LOSSES)
def test_an_array_gives_the_bits_of_its_map(loss, dtype):
    dense, sparse, either = new(loss), new(loss), new(loss)
    for i, (x, y) in enumerate(pixels(dtype=dtype)):
        assert dense.score_one(x) == sparse.score_one(by_position(x))
        dense.learn_one(x, y, 1 + i % 3)
        sparse.learn_one(by_position(x), y, 1 + i % 3)
        either.learn_one(x if i % 2 else by_position(x), y, 1 + i % 3)
    assert state_bytes(dense) == state_bytes(sparse) == state_bytes(either)
    assert dense.predict_one(x) == sparse.predict_one(by_position(x))


@pytest.mark.parametrize("neural", [[5, 4], {"hidden": [5, 4], "alone": True}])
def test_the_neural_head_learns_arrays_as_maps(neural):
    dense, sparse = new(neural=neural), new(neural=neural)
    for x, y in pixels():
        dense.learn_one(x, y)
        sparse.learn_one(by_position(x), y)
    assert state_bytes(dense) == state_bytes(sparse)
    assert dense.explain_one(x) == sparse.explain_one(by_position(x))


@pytest.mark.parametrize("width", [0, 1, 2, 3, 4, 5, 63, 64, 101, 1001, layout.MAX_FEATURES])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_length_is_read_to_its_end(width, dtype):
    """Msgpack has a form of its own for some lengths, and the last float32 of a buffer ends it."""
    x = np.arange(1, width + 1, dtype=dtype)
    dense, sparse = new(), new()
    dense.learn_one(x, 1)
    sparse.learn_one(by_position(x), 1)
    assert state_bytes(dense) == state_bytes(sparse)
    assert dense.n_features == width + 1


def test_many_in_one_buffer_are_as_one_by_one():
    """Longer and shorter arrays, with importances and maps between them, and a restart in the middle."""
    examples = [(y, x[: 3 + i % 9], 2.0) if i % 5 else (y, by_position(x)) for i, (x, y) in enumerate(pixels())]
    one, many = new(), new()
    for y, x, *importance in examples:
        one.learn_one(x, y, *importance)
    half = len(examples) // 2
    many.learn_packed(b"".join(map(pack, map(list, examples[:half]))))
    state = {name: array.copy() for name, array in many.state().items()}
    many = Model.from_spec(many.to_spec())
    many.load_state(state)
    many.learn_packed(b"".join(map(pack, map(list, examples[half:]))))
    assert state_bytes(one) == state_bytes(many)


def test_with_every_field_a_feature_an_array_needs_no_names_either():
    plain, fields, other = new(), new(featurizer="fields"), new(featurizer="email")
    for x, y in pixels(20):
        plain.learn_one(x, y)
        fields.learn_one(x, y)
    assert state_bytes(plain) == state_bytes(fields)
    with pytest.raises(ExampleError, match="record must be a map of fields"):
        other.learn_one(x, y)


def test_arrays_need_not_lie_in_one_piece():
    image = np.arange(20.0).reshape(4, 5)
    model = new()
    assert model.pack(image[:, 2]) == model.pack(image[:, 2].copy()) == model.pack(image[:, 2].astype(">f8"))


def test_names_are_positions():
    model = new()
    for _ in range(3):
        model.learn_one(np.array([0.0, 2.0, 0.0, -1.0]), 1)
    assert list(model.weights) == ["(constant)", "1", "3"]
    assert model.weights["1"] > 0 > model.weights["3"]
    parts = model.explain_one(np.array([1.0, 2.0, 0.0, -1.0]))
    assert {part.name: part.value for part in parts} == {"0": 1.0, "1": 2.0, "3": -1.0, "(constant)": 1.0}
    assert sum(part.contribution for part in parts) == pytest.approx(model.score_one({"0": 1, "1": 2, "3": -1}))


def test_names_are_the_decimal_digits_of_every_position():
    model = new()
    model.learn_one(np.ones(layout.MAX_FEATURES), 1)
    assert list(model.weights) == ["(constant)", *map(str, range(layout.MAX_FEATURES))]


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((2, 3)), "array must be of real numbers in one dimension (got float64 in 2)"),
        (np.zeros(2, complex), "array must be of real numbers in one dimension (got complex128 in 1)"),
        (np.array(["a"]), "array must be of real numbers in one dimension (got <U1 in 1)"),
        (np.array([1.0, np.inf]), "feature '1' must be finite, at most 1e+30 in size (got inf)"),
        (np.zeros(layout.MAX_FEATURES + 1), "features must be at most 10000 an example (got more)"),
        ([1.0], "features must be a map of name to number, or an array (got [1.0])"),
    ],
)
def test_what_is_no_array_of_features_is_refused_in_words(x, message):
    model = new()
    for use in (lambda: model.learn_one(x, 1), lambda: model.score_one(x), lambda: model.explain_one(x)):
        with pytest.raises(ExampleError) as caught:
            use()
        assert str(caught.value) == message
    assert model.n_features == 0
