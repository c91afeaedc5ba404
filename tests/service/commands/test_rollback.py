"""snapshot, snapshots and rollback: the weights of then, and nothing learned twice."""

import json
import math

import pytest

from learner.errors import FencedError
from learner.service import following
from learner.service.store import Store, snapshots
from learner.service.store.connection import client as connect
from learner.service.wire import Keys
from tests.command_line import strictly
from tests.conftest import state_bytes, wait_until
from tests.service.commands.test_managing import contents, learned, push

KEYS = Keys("m")


@pytest.fixture
def grown(client, create, drain):
    """Learn what was pushed; a model with a base and some deltas."""
    create(featurizer="fields")

    def growing(first, last):
        for at in range(first, last, 5):
            push(client, at, min(at + 5, last))
            drain()

    return growing


def test_a_rollback_brings_the_weights_of_then_and_leaves_the_cursor(run, client, grown, committed, drain):
    client.xadd(KEYS.examples, {"features": json.dumps({f"n{i}": 1 for i in range(300)}), "target": "1"})
    drain()
    grown(0, 40)
    assert len(client.keys(KEYS.state + "delta:*")) > 2
    expected = committed()
    then = state_bytes(expected)
    run("snapshot", "m", "good")
    grown(40, 90)
    cursor = client.hget(KEYS.head, "cursor")
    found = strictly(run("rollback", "m", "--json").stdout)
    assert found == {"model": "m", "snapshot": "good", "commits": 9, "since": 50, "again": 0}
    assert state_bytes(committed()) == then
    status = Store(client, "m").status()
    assert (status["trouble"], status["lag_entries"], status["cursor"]) == (None, 0, cursor.decode())
    assert status["commits"] == 20
    assert status["progress"]["examples"] == 41
    push(client, 80, 90)  # their ids are known
    push(client, 90, 100)
    for i in range(90, 100):
        expected.learn_one({"a": i % 7, "w": f"w{i % 5}"}, i % 2)
    assert state_bytes(drain().model) == state_bytes(expected)
    assert state_bytes(committed()) == state_bytes(expected)


def test_a_worker_goes_on_from_the_snapshot_without_a_restart(run, client, grown, serving, committed, capsys):
    grown(0, 40)
    run("snapshot", "m", "good")
    with serving() as worker:
        push(client, 40, 60)
        wait_until(lambda: client.hget(KEYS.head, "entries") == b"60")
        epoch = worker.store.ownership.epoch
        run("rollback", "m", "good")
        wait_until(lambda: worker.store.ownership.epoch == epoch + 2)
        push(client, 60, 70)
        wait_until(lambda: client.hget(KEYS.head, "entries") == b"70")
        expected = learned(40)
        for i in range(60, 70):
            expected.learn_one({"a": i % 7, "w": f"w{i % 5}"}, i % 2)
        assert state_bytes(committed()) == state_bytes(expected)
    assert state_bytes(worker.model) == state_bytes(expected)
    assert "goes on from commit" in capsys.readouterr().err


def test_a_worker_under_its_access_rules_follows_settings_and_takes_the_model_up_again(
    run, client, roles, drain, committed, monkeypatch
):
    from worker import Worker

    monkeypatch.setattr(following, "READ_SECONDS", 0.0)
    push(client, 0, 20)
    drain()
    run("snapshot", "m", "good")
    with connect(roles["worker"]) as connection:
        worker = Worker(Store(connection, "m"), 0.0, held_seconds=math.inf)
        assert worker.wait_to_own()
        run("set", "m", "history=1d", "durability=power")
        push(client, 20, 30)
        run("rollback", "m")
        worker.run(burst=True)
    expected = learned(20)
    for i in range(20, 30):
        expected.learn_one({"a": i % 7, "w": f"w{i % 5}"}, i % 2)
    assert state_bytes(committed()) == state_bytes(expected)
    status = Store(client, "m").status()
    assert (status["trouble"], status["history"]["entries"]) == (None, 11)


def test_what_a_worker_had_not_committed_is_learned_after_the_rollback(run, client, grown, own, committed):
    grown(0, 20)
    run("snapshot", "m", "good")
    grown(20, 30)
    worker = own(lease_seconds=0.5)
    push(client, 30, 40)
    worker.learning.learn(client.xrange(KEYS.examples, "(" + worker.learning.cursor.decode()))
    run("rollback", "m", "good")
    worker.run(burst=True)
    expected = learned(20)
    for i in range(30, 40):
        expected.learn_one({"a": i % 7, "w": f"w{i % 5}"}, i % 2)
    assert state_bytes(committed()) == state_bytes(expected)


@pytest.mark.parametrize("together", [False, True])
def test_a_worker_takes_the_model_up_again_after_two_rollbacks(
    run, client, grown, own, committed, monkeypatch, together
):
    """It does not matter that it has not noticed the first one when the second one comes, or that both come at once."""
    grown(0, 20)
    run("snapshot", "m", "first")
    grown(20, 30)
    run("snapshot", "m", "second")
    worker = own(lease_seconds=0.5)
    put_back = snapshots._put_back

    def interrupted(*arguments):
        monkeypatch.setattr(snapshots, "_put_back", put_back)
        run("rollback", "m", "second")
        return put_back(*arguments)

    if together:
        monkeypatch.setattr(snapshots, "_put_back", interrupted)
        with pytest.raises(FencedError):
            snapshots.roll_back(Store(client, "m"), "first", worker.model.fingerprint, worker.model.row_width)
    else:
        run("rollback", "m", "first")
        run("rollback", "m", "second")
    push(client, 30, 40)
    worker.run(burst=True)
    assert state_bytes(committed()) == state_bytes(learned(40))


def test_a_worker_whose_model_another_worker_has_does_not_take_it_up_again(run, client, grown, own):
    grown(0, 20)
    run("snapshot", "m", "good")
    first = own()
    run("rollback", "m", "good")
    own("m").owning.close()
    push(client, 20, 30)
    with pytest.raises(FencedError):
        first.run(burst=True)


@pytest.mark.parametrize("kept", ["all", "some", "none"])
def test_relearning_goes_back_as_far_as_the_history_reaches(run, client, grown, drain, committed, kept):
    store = Store(client, "m")
    grown(0, 20)
    run("snapshot", "m", "good")
    store.set({"history": "1d"})
    grown(20, 60)
    if kept != "all":
        ids = [entry_id for entry_id, _ in client.xrange(KEYS.examples)]
        client.xtrim(KEYS.examples, minid=ids[-10 if kept == "some" else -1], approximate=False)
    again = {"all": 40, "some": 10, "none": 1}[kept]
    found = strictly(run("rollback", "m", "--relearn", "--json").stdout)
    assert (found["since"], found["again"]) == (40, again)
    status = store.status()
    assert (status["trouble"], status["lag_entries"]) == (None, again)
    drain()
    expected = learned(20)
    for i in range(60 - again, 60):
        expected.learn_one({"a": i % 7, "w": f"w{i % 5}"}, i % 2)
    assert state_bytes(committed()) == state_bytes(expected)
    push(client, 55, 60)
    assert drain().model.n_examples == expected.n_examples + (4 if kept == "none" else 0)


def test_a_snapshot_ahead_of_the_cursor_takes_it_along(run, client, grown, drain, committed):
    """As after a rollback that relearns: the snapshot has learned what the cursor has not."""
    Store(client, "m").set({"history": "1d"})
    grown(0, 20)
    run("snapshot", "m", "early")
    grown(20, 40)
    run("snapshot", "m", "late")
    run("rollback", "m", "early", "--relearn")
    assert Store(client, "m").status()["lag_entries"] == 20
    run("rollback", "m", "late")
    assert Store(client, "m").status()["lag_entries"] == 0
    assert state_bytes(committed()) == state_bytes(learned(40))
    push(client, 40, 50)
    assert state_bytes(drain().model) == state_bytes(learned(50))


def test_after_everything_was_forgotten_a_snapshot_brings_it_back(run, client, grown, drain, committed):
    grown(0, 40)
    run("snapshot", "m", "good")
    run("repair", "m", "--forget")
    run("rollback", "m")
    assert state_bytes(committed()) == state_bytes(learned(40))
    grown(40, 60)
    assert state_bytes(committed()) == state_bytes(learned(60))


def test_a_model_that_was_renamed_keeps_its_snapshots(run, client, grown, drain, committed):
    grown(0, 20)
    run("snapshot", "m", "good")
    grown(20, 30)
    run("rename", "m", "new")
    found = strictly(run("rollback", "new", "--json").stdout)
    assert found["commits"] == 4
    assert state_bytes(committed("new")) == state_bytes(learned(20))
    push(client, 30, 40, Keys("new"))
    expected = learned(20)
    for i in range(30, 40):
        expected.learn_one({"a": i % 7, "w": f"w{i % 5}"}, i % 2)
    assert state_bytes(drain("new").model) == state_bytes(expected)


def test_snapshots_are_listed_bounded_and_dropped(run, fails, client, grown):
    assert "must have a commit to take a snapshot of" in fails("snapshot", "m")
    assert "must have a snapshot to go back to" in fails("rollback", "m")
    assert run("snapshots", "m").stdout == ""
    grown(0, 10)
    for name in ("a", "b", "c"):
        found = strictly(run("snapshot", "m", name, "--keep", "2", "--json").stdout)
    assert found["dropped"] == ["a"]
    assert (found["name"], found["commits"], found["examples"]) == ("c", 2, 10)
    rows = strictly(run("snapshots", "m", "--json").stdout)
    assert [row["name"] for row in rows] == ["b", "c"]
    assert rows[1]["bytes"] == found["bytes"] > 1000
    assert rows[1]["loss"] == Store(client, "m").status()["progress"]["loss"]
    assert "commit 2, 10 examples, loss 0." in run("snapshots", "m").stdout
    assert "must have a new name (got 'b')" in fails("snapshot", "m", "b")
    assert "snapshot name must be 1 to 64 of the characters" in fails("snapshot", "m", "a:b")
    assert "must be one of: b, c (got 'x')" in fails("rollback", "m", "x")
    assert "must be one of: b, c (got 'x')" in fails("snapshots", "m", "--drop", "x")
    assert run("snapshot", "m").stdout.startswith("snapshot 20")
    run("snapshots", "m", "--drop", "b")
    assert not client.keys(KEYS.prefix + "snapshot:b:*")
    assert not [name for name in contents(client, KEYS) if name.startswith("snapshot:a")]


def test_a_damaged_snapshot_changes_nothing(run, fails, client, grown, committed):
    grown(0, 20)
    run("snapshot", "m", "good")
    client.setrange(KEYS.prefix + "snapshot:good:rows:0", 3, "x")
    before = state_bytes(committed())
    owner = client.hgetall(KEYS.owner)
    assert "was damaged or written by something else" in fails("rollback", "m")
    assert state_bytes(committed()) == before
    assert client.hgetall(KEYS.owner) == owner
    good = {"keys": ["head"], "progress": {"loss": "1"}, "time": 1, "commits": 1}
    for wrong in (
        {"keys": [1]},
        {"progress": []},
        {"progress": {"loss": "x"}},
        {"time": 1e400},
        {"time": "1"},
        {"commits": None},
    ):
        client.hset(KEYS.snapshots, "good", json.dumps(good | wrong))
        for command in ("snapshot", "snapshots", "rollback"):
            assert "snapshots of 'm' was damaged" in fails(command, "m")


def test_a_snapshot_that_a_commit_interrupts_is_of_one_commit(run, client, grown, drain, committed, monkeypatch):
    grown(0, 30)
    parts, n = snapshots.parts_of, 0

    def late(*arguments):
        nonlocal n
        n += 1
        found = parts(*arguments)
        if n == 1:
            push(client, 30, 40)
            drain()
        return found

    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "parts_of", late)
        run("snapshot", "m", "good")
    assert n == 2
    expected = state_bytes(committed())
    grown(40, 50)
    run("rollback", "m", "good")
    assert state_bytes(committed()) == expected
