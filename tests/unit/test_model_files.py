"""Saved models: a file is the model, exactly, or it is refused by one line."""

import json
import os
import stat
import zipfile

import numpy as np
import pytest

from learner import layout, saving
from learner.errors import FormatError, LearnerError
from learner.model import Model
from tests.conftest import SEED, state_bytes

KINDS = {
    "default": {"featurizer": "fields"},
    "at once": {"featurizer": "fields", "outcomes": "at_once"},
    "regression": {"task": "regression", "featurizer": "fields"},
    "classes": {"task": "multiclass", "featurizer": "fields"},
    "bounded": {"featurizer": "fields", "max_features": 100, "l1": 0.01},
    "named": {"featurizer": "fields", "optimizer": "ftrl"},
    "neural": {"featurizer": "fields", "neural": [5, 4]},
    "labels": {"featurizer": "fields", "labels": ("no", "yes")},
}


def learn(model, first, last):
    for i in range(first, last):
        y = {"multiclass": f"class {i % 3}", "regression": i % 7 + 0.25}.get(model.task, i % 2)
        model.learn_one({"a": i % 7, "w": f"w{i % 5}", "é": 0.5}, y)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "m.learner"


@pytest.fixture
def saved(path):
    """A small model, saved."""
    model = Model(rates=[0.5], seed=SEED)
    for i in range(20):
        model.learn_one({"a": i % 3, "b": 1}, i % 2)
    model.save(path)
    return model


def refusal(path):
    with pytest.raises(FormatError) as error:
        Model.load(path)
    message = str(error.value)
    assert message.startswith(f"saved model {path}")
    assert "\n" not in message
    return message


def rewritten(path, change, compression=zipfile.ZIP_STORED):
    """Write a file's members again, as a function changes them."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    members = change(members)
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


# ---- what is saved ----
@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_model_is_the_saved_one_and_learns_on_to_the_same_bits(path, kind):
    model = Model(seed=SEED, **KINDS[kind])
    learn(model, 0, 300)
    model.save(path)
    loaded = Model.load(path)
    assert loaded.n_held == model.n_held == 0
    assert loaded.fingerprint == model.fingerprint
    assert state_bytes(loaded) == state_bytes(model)
    for one in (model, loaded):
        learn(one, 300, 500)
    assert state_bytes(loaded) == state_bytes(model)
    assert loaded.weights == model.weights


def test_a_saved_model_holds_nothing_back(path):
    model, expected = (Model(seed=SEED, featurizer="fields") for _ in range(2))
    for one in (model, expected):
        learn(one, 0, 100)
    assert model.n_held
    expected.learn_held()
    model.save(path)
    assert state_bytes(Model.load(path)) == state_bytes(expected)


def test_a_model_that_knows_nothing_can_be_saved(path):
    Model(seed=SEED).save(path)
    assert state_bytes(Model.load(path)) == state_bytes(Model(seed=SEED))


def test_equal_models_have_equal_files(path, tmp_path, saved):
    Model.load(path).save(tmp_path / "again.learner")
    assert path.read_bytes() == (tmp_path / "again.learner").read_bytes()


def test_a_file_is_a_zip_of_the_spec_and_of_arrays_that_numpy_reads(path, saved):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert json.loads(archive.read("spec.json")) == saved.to_spec()
        with archive.open("rows.npy") as member:
            assert np.load(member, allow_pickle=False).tobytes() == saved.state()["rows"].tobytes()


# ---- where it is written ----
def test_a_new_file_is_its_owner_s_and_one_that_was_there_keeps_its_mode(path, saved):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    saved.save(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_a_link_stays_a_link(path, saved, tmp_path):
    link = tmp_path / "link.learner"
    link.symlink_to(path)
    saved.learn_one({"a": 1}, 1)
    saved.save(link)
    assert link.is_symlink()
    assert state_bytes(Model.load(path)) == state_bytes(saved)


def test_a_file_that_can_not_be_written_whole_leaves_the_old_one(path, saved, monkeypatch):
    before = path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(LearnerError, match=r"m\.learner can't be written \(No space left on device\)$"):
        saved.save(path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_place_that_can_not_be_written_is_refused_and_nothing_is_learned(tmp_path):
    model = Model(seed=SEED, featurizer="fields")
    learn(model, 0, 100)
    n_held = model.n_held
    for place, told in (
        (tmp_path / "no" / "m.learner", "No such file or directory"),
        (tmp_path, "must be a file"),
        ("/dev/null", "must be a file"),
    ):
        with pytest.raises(LearnerError, match=told):
            model.save(place)
    assert model.n_held == n_held > 0


# ---- what is refused ----
def test_a_file_that_was_damaged_anywhere_is_refused_or_is_the_same_model(path, saved, seed):
    """Another quarter of the bytes outside the arrays each time, and a sample of those inside."""
    good = path.read_bytes()
    expected = state_bytes(saved)
    outside = [*range(900), *range(len(good) - 3000, len(good))]
    places = [*outside[seed % 4 :: 4], *range(900 + seed % 97, len(good) - 3000, 97)]
    n_refused = 0
    for place in places:
        path.write_bytes(good[:place] + bytes([good[place] ^ 0x55]) + good[place + 1 :])
        try:
            loaded = Model.load(path)
        except FormatError:
            n_refused += 1
        else:
            assert state_bytes(loaded) == expected, place
            assert loaded.to_spec() == saved.to_spec(), place
    assert n_refused > 0.6 * len(places)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_a_file_that_was_cut_is_refused(path, saved, share):
    good = path.read_bytes()
    path.write_bytes(good[: int(share * len(good))])
    assert "is damaged, or is none" in refusal(path)


@pytest.mark.parametrize("name", ["spec.json", "rows.npy", "names.npy", "totals.npy", "format.json"])
def test_a_file_without_a_member_is_refused(path, saved, name):
    rewritten(path, lambda members: {key: data for key, data in members.items() if key != name})
    assert "is damaged, or is none" in refusal(path)
    assert name in refusal(path)


def test_a_member_that_was_changed_is_refused_although_the_zip_is_whole(path, saved):
    rewritten(path, lambda members: members | {"spec.json": members["spec.json"].replace(b"binary", b"regression")})
    assert "spec.json must have the digest" in refusal(path)


def test_unknown_members_are_ignored(path, saved):
    rewritten(path, lambda members: members | {"notes.txt": b"of a later release", "more.npy": b"?"})
    assert state_bytes(Model.load(path)) == state_bytes(saved)


def test_compressed_members_are_refused(path, saved):
    rewritten(path, lambda members: members, zipfile.ZIP_DEFLATED)
    assert "must be stored without compression" in refusal(path)


@pytest.mark.parametrize(
    ("number", "way"),
    [(layout.STATE_FORMAT + 1, "update this one"), (layout.STATE_FORMAT - 1, "learn the examples again")],
)
def test_another_format_is_refused_with_the_way_out(path, saved, number, way):
    def other(members):
        return members | {"format.json": json.dumps(json.loads(members["format.json"]) | {"format": number}).encode()}

    rewritten(path, other)
    assert f"its format must be {layout.STATE_FORMAT} (got {number})" in refusal(path)
    assert way in refusal(path)


def test_a_model_that_was_learned_with_other_constants_is_refused(path, saved, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(layout, "N_BINS", layout.N_BINS + 1)
        assert f"its layout must be {layout.digest()} (got " in refusal(path)
    rewritten(path, lambda members: members | {"format.json": members["format.json"].replace(b"layout", b"LAYOUT")})
    assert layout.digest() != layout.FIRST_DIGEST or Model.load(path).n_examples == saved.n_examples


def test_a_saved_spec_opens_no_file(path, saved):
    saving.save(path, saving.Saved(saved.to_spec() | {"featurizer": "/dev/stdin.json"}, saved.state()))
    assert "featurizer of a stored spec must be a map of its templates (got '/dev/stdin.json')" in refusal(path)


@pytest.mark.parametrize("change", [{"rates": [0.5, 0.25]}, {"nosuch": 1}, {"version": 9}, {"seed": "xyz"}])
def test_a_spec_and_a_state_that_do_not_fit_are_refused(path, saved, change):
    saving.save(path, saving.Saved(saved.to_spec() | change, saved.state()))
    refusal(path)


def test_what_is_no_saved_model_is_refused(path, tmp_path):
    path.write_text("a,b\n1,2\n")
    assert "is damaged, or is none" in refusal(path)
    assert "can't be read (No such file or directory)" in refusal(tmp_path / "other.learner")
    assert "can't be read (Is a directory)" in refusal(tmp_path)
