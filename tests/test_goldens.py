"""A model that an older worker committed loads and goes on to the same bits; and the goldens leave no kind of model out."""

import json

import numba
import numpy as np
import pytest

from learner.layout import PARTS
from learner.losses import LOSSES
from learner.model import Model
from learner.optimizers import OPTIMIZERS
from learner.service.learning import featurize
from learner.service.recent import RecentIds
from learner.service.store import Store
from learner.service.store.journal import Journal
from learner.service.store.position import stream_id
from learner.service.wire import MAX_BATCH, RawExample, RejectedEntry, decode_entry
from learner.tasks import TASKS
from tests import goldens
from tests.conftest import state_bytes
from tests.goldens import DUMPS, FOLDER, KINDS, STREAMS

SEEDED = {"seed": goldens.SEED}


@pytest.fixture(params=DUMPS)
def dumped(request, client):
    """A dump's name, its keys as they are in the file, restored onto the server, and the store of the model."""
    found = goldens.read(goldens.path_of(request.param))
    goldens.restore(client, found)
    return request.param, {key.rpartition("}:")[2]: value for key, _, value in found}, Store(client, request.param)


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
        assert (state[array].dtype.str, list(state[array].shape)) == (dtype, shape)
        assert state[array].tobytes() == head[array.encode()]


def test_a_worker_goes_on_from_an_older_commit_to_the_same_bits(dumped, client, drain, committed):
    name, keys, store = dumped
    reference, start = load(store)
    recent = RecentIds(reference.spec.seed)
    recent.load(start.ids, start.n_ids)
    n_repeated = n_bad = 0
    for fields in waiting(keys, start.cursor):
        if b"id" in fields and not recent.add(fields[b"id"]):
            n_repeated += 1
            continue
        for part in decode_entry(fields):
            if isinstance(part, RawExample):
                part = featurize(part, fields, reference.pack)
            if isinstance(part, RejectedEntry):
                reference.count_rejected(1)
                n_bad += 1
            else:
                n_bad += len(reference.learn_packed(part.packed, MAX_BATCH).rejections)
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


# ---- the program -----------------------------------------------------------------------------------------------------
def test_every_task_loss_part_and_optimizer_is_among_the_kinds():
    tasks = [options.get("task", "binary") for options in KINDS.values()]
    assert set(tasks) == set(TASKS)
    assert {options.get("loss", TASKS[task].loss) for options, task in zip(KINDS.values(), tasks, strict=True)} == set(
        LOSSES
    )
    assert set(goldens.PARTS) == set(PARTS)
    for task in ("binary", "regression"):
        every = [
            options.get("optimizer", {}) for options, its in zip(KINDS.values(), tasks, strict=True) if its == task
        ]
        assert {one if isinstance(one, str) else one.get("name") for one in every} == {*OPTIMIZERS, None}
    assert {path.name for path in FOLDER.iterdir()} == {goldens.path_of(name).name for name in DUMPS}


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="some ten thousand examples")
def test_the_program_prints_a_line_a_stream_and_the_same_again():
    found = list(goldens.lines(["optimizer.ftrl.capped"]))
    assert [line[:2] for line in found] == [("optimizer.ftrl.capped", stream) for stream in STREAMS]
    assert len({digest for line in found for digest in line[2:]}) == 2 * len(STREAMS)
    assert list(goldens.lines(["optimizer.ftrl.capped"])) == found


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="some ten thousand examples")
@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream_is_learned_but_for_what_is_wrong_in_it(stream):
    options = KINDS["optimizer.ftrl"]
    model = Model(**options, **SEEDED)
    reasons = {
        rejection.reason
        for piece in goldens.pieces(options, stream)
        for rejection in model.learn_packed(piece).rejections
    }
    assert model.n_examples == STREAMS[stream][1]
    assert model.n_rejected == len(goldens.NOT_FEATURES) + 5
    assert len(reasons) > 12


def test_a_digest_sees_every_byte_name_type_and_shape():
    state = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(3, np.uint8)}
    found = {goldens.digest(state)}
    for name, array in state.items():
        for place in range(array.nbytes):
            changed = array.copy()
            changed.reshape(-1).view(np.uint8)[place] ^= 1
            found.add(goldens.digest(state | {name: changed}))
    assert len(found) == 1 + 24 + 3
    a = state["a"]
    found |= {goldens.digest(state | {"a": other}) for other in (a.T.reshape(3, 2), a.view(np.int32), a.ravel())}
    found |= {goldens.digest({"a": a}), goldens.digest({"a": a, "c": state["b"]})}
    assert len(found) == 1 + 24 + 3 + 3 + 2
    assert all(len(digest) == goldens.N_DIGITS for digest in found)
