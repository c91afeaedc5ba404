"""A model that an older worker committed loads, and goes on to the same bits."""

import json

import numpy as np
import pytest

from learner.model import Model
from learner.service.featurizing import featurize
from learner.service.recent import RecentIds
from learner.service.store import Store
from learner.service.store.journal import Journal
from learner.service.store.position import stream_id
from learner.service.wire import MAX_BATCH, RawExample, RejectedEntry, decode_entry
from tests import goldens
from tests.conftest import state_bytes
from tests.goldens import DUMPS

SEEDED = {"seed": goldens.SEED}


@pytest.fixture(params=DUMPS)
def dumped(request, client):
    """A dump's name, its keys as they are in the file, restored onto the server, and the store of the model."""
    dump = goldens.read(goldens.path_of(request.param))
    goldens.restore(client, dump)
    return request.param, {key.rpartition("}:")[2]: value for key, _, value in dump}, Store(client, request.param)


def load(store):
    """Return the model as committed, and what else the commit says."""
    model = Model.from_spec(store.spec())
    committed = store.commits.load(model.fingerprint, model.row_width)
    model.load_state(committed.state)
    return model, committed


def waiting(keys, cursor):
    """Return the entries of a dump that were not learned yet."""
    every = keys["examples"]["entries"]
    return [fields for entry_id, fields in every if stream_id(entry_id) > stream_id(cursor)]


def test_a_dump_restored_is_the_same_keys_and_values(dumped, client):
    name, _, _ = dumped
    assert goldens.dump(client, name) == goldens.read(goldens.path_of(name))


def test_a_dump_has_what_a_commit_can_hold(dumped):
    name, keys, _ = dumped
    head = keys["state:head"]
    assert keys["rejected"]["entries"]
    assert int(head[b"n_ids"]) > 50
    assert int(head[b"commits"]) > 2
    assert name == "neural" or len(Journal.from_json(head[b"journal"]).deltas) > 1  # a sweep makes all rows new
    fields = waiting(keys, head[b"cursor"])
    assert {form for entry in fields for form in entry} >= {b"record", b"features", b"records", b"batch", b"id"}


def test_a_model_that_an_older_worker_committed_loads(dumped):
    name, keys, store = dumped
    head, last = keys["state:head"], keys["progress"]["entries"][-1][1]
    model, committed = load(store)
    assert model.fingerprint == Model(**DUMPS[name], **SEEDED).fingerprint == head[b"fingerprint"].decode()
    assert (committed.cursor, committed.n_commits) == (head[b"cursor"], int(head[b"commits"]))
    assert (committed.n_ids, store.commits.n_entries) == (int(head[b"n_ids"]), int(head[b"entries"]))
    assert model.n_features == int(head[b"features"]) == int(last[b"features"])
    assert (model.n_examples, model.n_rejected) == (int(last[b"examples"]), int(last[b"rejected"]))
    assert model.progressive_loss == float(last[b"loss"])
    state = model.state()
    for array, (dtype, shape) in json.loads(head[b"arrays"]).items():
        whole = np.frombuffer(head[array.encode()], dtype).reshape(shape)  # many classes had parts that none had used
        part = whole[tuple(map(slice, state[array].shape))]
        assert name == "multiclass" or part.shape == whole.shape
        assert (state[array].dtype, state[array].shape) == (part.dtype, part.shape)
        assert state[array].tobytes() == part.tobytes()


def test_a_worker_goes_on_from_an_older_commit_to_the_same_bits(dumped, client, drain, committed):
    name, keys, store = dumped
    reference, start = load(store)
    recent = RecentIds(reference.spec.seed)
    recent.load(start.ids, start.n_ids)
    n_repeated = n_bad = 0
    for fields in waiting(keys, start.cursor):
        if b"id" in fields and fields[b"id"] in recent:
            n_repeated += 1
            continue
        n_before = reference.n_examples
        for part in decode_entry(fields):
            if isinstance(part, RawExample):
                part = featurize(part, fields, reference.pack)
            if isinstance(part, RejectedEntry):
                reference.count_rejected(1)
                n_bad += 1
            else:
                n_bad += len(reference.learn_packed(part.packed, MAX_BATCH).rejections)
        if b"id" in fields and reference.n_examples > n_before:
            recent.add(fields[b"id"])
    worker = drain(name)
    assert state_bytes(committed(name)) == state_bytes(worker.model) == state_bytes(reference)
    assert state_bytes(reference) != state_bytes(start.state)
    assert worker.learning.n_repeated == n_repeated > 0
    assert client.xlen(store.keys.rejected) - len(keys["rejected"]["entries"]) == n_bad > 0
    assert worker.learning.cursor == keys["examples"]["last"]


def test_a_class_may_come_first_after_the_dump(client, drain):
    goldens.restore(client, goldens.read(goldens.path_of("multiclass")))
    assert load(Store(client, "multiclass"))[0].classes == ("early", "3", "often")
    assert drain("multiclass").model.classes == ("early", "3", "often", "late")
