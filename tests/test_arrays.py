"""An array of numbers in place of a map: the same bits come out as of the map with the names by position."""

import contextlib

import msgpack
import numpy as np
import pytest
from click.testing import CliRunner

from learner import Client, Model, kernels, layout
from learner.commands import main
from learner.errors import ExampleError
from learner.losses import LOSSES
from learner.packing import pack
from learner.service.wire import Keys
from tests.conftest import state_bytes, wait_until

SEED = b"sixteen bytes it"
KEYS = Keys("m")
N = 300 if kernels.JIT else 40
TYPES = [np.float32, np.float64, np.float16, np.uint8, np.int16, np.int64, np.bool_]


def pixels(n=N, width=12, dtype=np.float32, seed=1):
    """Yield (array, target): the first columns dense, the others mostly zero."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        x = rng.normal(3, 2, width) * (rng.random(width) < np.linspace(1.2, 0.1, width))
        yield (abs(x) if dtype in (np.uint8, np.bool_) else x).astype(dtype), int(x[:5].sum() > 9) if i else 1


def by_position(x):
    """Return the array as a map: what it is to be the same as."""
    return {str(i): float(value) for i, value in enumerate(x) if value}


def new(loss="logistic", **options):
    return Model(LOSSES[loss].task, loss=loss, seed=SEED, **options)


# ---- the same numbers ------------------------------------------------------------------------------------------------
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
    taken = {name: array.copy() for name, array in many.state().items()}
    many = Model.from_spec(many.to_spec())
    many.load_state(taken)
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


def test_a_file_of_arrays_is_replayed(tmp_path):
    data = b"".join(pack([y, x]) for x, y in pixels())
    (tmp_path / "pixels.msgpack").write_bytes(data)
    run = CliRunner().invoke(main, ["replay", str(tmp_path / "pixels.msgpack")])
    assert run.exit_code == 0, run.output
    learned = new()
    learned.learn_packed(data)
    assert f"{learned.progressive_loss:.6f}" in run.output
    assert [line.split()[-1] for line in run.output.splitlines()[3:5]] == ["13", "13"]  # with the constant


# ---- names -------------------------------------------------------------------------------------------------------------
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


# ---- what is no array of features --------------------------------------------------------------------------------------
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


# ---- through the service -------------------------------------------------------------------------------------------------
@pytest.mark.skipif(not kernels.JIT, reason="nothing of the service depends on the JIT")
def test_the_worker_learns_arrays_however_they_are_pushed(client, create, serving, committed, redis_url):
    reference, ours, examples = create(), Client("m", redis_url), list(pixels(8))
    with serving():
        for i, (x, y) in enumerate(examples):
            if i % 4 == 0:
                ours.push(x, y)
            elif i % 4 == 1:
                ours.push(features=x, target=y, importance=2.0)
            elif i % 4 == 2:
                ours.push_many([(y, x)], features=i > 4)
            else:
                client.xadd(KEYS.examples, {"features": pack(x), "target": str(y)})
            reference.learn_one(x, y, 2.0 if i % 4 == 1 else 1.0)
        ours.push(features=np.array([np.nan]), target=1)
        ours.push(np.array([1.0, 2.0]), 1)
        reference.learn_one({"0": 1.0, "1": 2.0}, 1)
        with contextlib.suppress(ExampleError):
            reference.learn_one({"0": np.nan}, 1)
        wait_until(lambda: client.hget(KEYS.head, "entries") == b"10")
        x = examples[0][0]
        assert ours.predict(x) == ours.predict(features=x) == reference.predict_proba_one(x)[1]
        assert ours.predict_many([x, x], features=True) == ours.predict_many([x, x]) == [ours.predict(x)] * 2
        assert [tuple(row) for row in ours.explain(x)["contributions"]] == reference.explain_one(x)
    assert state_bytes(committed()) == state_bytes(reference)
    ((_, fields),) = client.xrange(KEYS.rejected)
    assert fields[b"reason"] == b"feature '0' must be finite, at most 1e+30 in size (got nan)"
    assert msgpack.unpackb(fields[b"data"])[1].code == 8
