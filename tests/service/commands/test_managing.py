"""list, delete, copy, rename, export and import: what becomes of a model's keys, and that nothing is lost."""

import contextlib
import json
from pathlib import Path

import pytest
import redis

from learner.errors import LearnerError, StoreError
from learner.model import Model
from learner.service import portable
from learner.service.store import Store, moving
from learner.service.store import contents as contained
from learner.service.wire import MODELS, Keys
from tests.command_line import strictly
from tests.conftest import state_bytes, wait_until

KEYS, NEW = Keys("m"), Keys("new")


def push(client, first, last, keys=KEYS):
    for i in range(first, last):
        record = {"a": i % 7, "w": f"w{i % 5}"}
        client.xadd(keys.examples, {"record": json.dumps(record), "target": str(i % 2), "id": f"id {i}"})


def learned(n):
    """A model that learned so many of what `push` pushes."""
    model = Model(featurizer="fields", seed=b"a test's own seed")
    for i in range(n):
        model.learn_one({"a": i % 7, "w": f"w{i % 5}"}, i % 2)
    return model


@pytest.fixture
def model(client, create, drain):
    """The model m: 100 examples learned, one rejected, 20 more in the stream, a setting, keys of another part."""
    create(featurizer="fields")
    Store(client, "m").set({"max_rejected": 0.75})
    push(client, 0, 100)
    client.xadd(KEYS.examples, {"record": "{", "target": "1"})
    drain()
    push(client, 100, 120)
    client.set(KEYS.prefix + "others:order 1", b"\x00\xff", px=1_000_000)
    client.hset(KEYS.prefix + "others:2", "a", "1")
    client.zadd(KEYS.prefix + "others", {b"\xff": 1.5, "b": 2})
    client.set(KEYS.prefix.encode() + b"others:\xff", "x" * 100_000)
    client.sadd(KEYS.prefix + "some", "a", "b")
    client.rpush(KEYS.prefix + "list", "a", "b")


def contents(client, keys):
    """The keys of a model without its name."""
    return {key.decode(errors="replace").removeprefix(keys.prefix) for key in client.scan_iter(match=keys.everything)}


def assert_whole(client, keys, drain, committed):
    """What was the fixture's model goes on as if nothing had happened."""
    store = Store(client, keys.model)
    assert store.settings()["max_rejected"] == 0.75
    assert store.stream.committed_position().trouble is None
    assert store.status()["lag_entries"] == 20
    (bad,) = client.xrange(keys.rejected)
    assert bad[1][b"stage"] == b"decode"
    assert client.xlen(keys.progress) >= 1
    assert client.get(keys.prefix + "others:order 1") == b"\x00\xff"
    assert 0 < client.pttl(keys.prefix + "others:order 1") <= 1_000_000
    assert client.hgetall(keys.prefix + "others:2") == {b"a": b"1"}
    assert client.zrange(keys.prefix + "others", 0, -1, withscores=True) == [(b"\xff", 1.5), (b"b", 2.0)]
    assert client.get(keys.prefix.encode() + b"others:\xff") == b"x" * 100_000
    assert client.smembers(keys.prefix + "some") == {b"a", b"b"}
    assert client.lrange(keys.prefix + "list", 0, -1) == [b"a", b"b"]
    push(client, 90, 100, keys)  # again: their ids are known
    drain(keys.model)
    found, expected = state_bytes(committed(keys.model)), learned(120)
    expected.count_rejected(1)
    assert found == state_bytes(expected)


# ---- list ----
def test_the_list_has_every_model_its_state_and_its_figures(run, client, create, serving, model):
    create("idle")
    client.set(Keys("broken").spec, "{")
    client.delete(MODELS)
    client.sadd(MODELS, "gone", "idle")
    with serving() as worker:
        wait_until(lambda: Store(client, "m").status()["lag_entries"] == 0)
        rows = {row["model"]: row for row in strictly(run("list", "--json").stdout)}
        text = run("list").stdout
    assert set(rows) == {"m", "idle", "broken"}
    assert client.smembers(MODELS) == {b"m", b"idle", b"broken"}
    m = rows["m"]
    assert (m["task"], m["state"], m["lag_entries"], m["examples"]) == ("binary", "running", 0, 120)
    assert m["progressive_loss"] == pytest.approx(worker.model.progressive_loss)
    assert (m["late_loss"], m["answered_loss"]) == (None, None)
    assert m["owner"]["epoch"] == str(worker.store.ownership.epoch)
    assert m["bytes"] > rows["idle"]["bytes"] > 0
    assert (rows["idle"]["state"], rows["idle"]["owner"]) == ("none", None)
    assert rows["broken"]["state"] == "damaged"
    assert "spec of 'broken' was damaged" in rows["broken"]["error"]
    assert [line.split()[0] for line in text.splitlines()] == ["model", "broken", "idle", "m"]
    assert f"process {m['owner']['pid']} on " in text


def test_an_empty_server_has_no_models(run):
    assert run("list").stdout == "no models: make one with 'learner create MODEL'\n"
    assert strictly(run("list", "--json").stdout) == []


def test_a_user_who_may_not_touch_the_registry_or_scan_fails_in_nothing_else(client, redis_url, roles, create):
    from learner.service.store import registry
    from learner.service.store.connection import client as connect

    with connect(roles["monitor"]) as connection:
        registry.register(connection, "m")
        assert registry.memory(connection) is None
        with pytest.raises(redis.exceptions.NoPermissionError):
            registry.models(connection)


# ---- delete ----
def test_a_model_is_deleted_with_every_key(run, fails, client, create, model):
    create("other")
    client.xadd(Keys("other").examples, {"x": 1})
    others = contents(client, Keys("other"))
    run("snapshot", "m", "s")
    assert "must be confirmed: add --yes" in fails("delete", "m", stdin=b"")
    assert Store(client, "m").exists("m")
    n = len(contents(client, KEYS))
    found = strictly(run("delete", "m", "--yes", "--json").stdout)
    assert found["model"] == "m"
    assert found["keys"] >= n
    assert contents(client, KEYS) == set()
    assert contents(client, Keys("other")) == others
    assert client.smembers(MODELS) == {b"other"}
    assert "does not exist, so there is nothing to delete" in fails("delete", "m", "--yes")
    create("m")
    assert Store(client, "m").status()["commits"] == 0


def test_on_a_terminal_it_asks(run, fails, client, model, monkeypatch):
    from learner.commands import options

    monkeypatch.setattr(options, "is_terminal", lambda: True)
    assert "model 'm' was not deleted" in run("delete", "m", stdin=b"n\n", code=2).stderr
    assert Store(client, "m").exists("m")
    assert "deleted m" in run("delete", "m", stdin=b"y\n").stdout
    assert contents(client, KEYS) == set()


def test_a_model_with_a_worker_is_deleted_by_force_only_and_the_worker_stops(run, fails, client, model, serving):
    with (  # noqa: PT012  the worker's error comes at the end of the block
        pytest.raises(LearnerError, match=r"another worker owns 'm'|somebody deleted the model"),
        serving(lease_seconds=0.5) as worker,
    ):
        wait_until(lambda: Store(client, "m").status()["lag_entries"] == 0)
        assert "must have no worker that learns during a deletion (or add --force)" in fails("delete", "m", "--yes")
        assert Store(client, "m").exists("m")
        run("delete", "m", "--yes", "--force")
        wait_until(lambda: worker.owning.heartbeat.problem)
    assert contents(client, KEYS) == set()


def test_what_a_deletion_that_died_has_left_is_deleted(run, client):
    client.set(KEYS.prefix + "kept:1", "x")
    run("delete", "m", "--yes")
    assert client.keys() == []


# ---- copy ----
def test_a_copy_knows_what_the_model_knows_and_has_an_empty_stream(run, fails, client, model, committed, drain):
    assert run("copy", "m", "new").stdout == "copied m (100 examples) to new: now 'learner worker new'\n"
    assert state_bytes(committed("new")) == state_bytes(committed("m"))
    assert Store(client, "new").spec() == Store(client, "m").spec()
    assert Store(client, "new").settings()["max_rejected"] == 0.75
    assert client.xlen(NEW.examples) == 0
    push(client, 100, 120, NEW)
    assert state_bytes(drain("new").model) == state_bytes(drain("m").model)
    before = contents(client, KEYS)
    assert "model 'new' exists already" in fails("copy", "m", "new")
    assert "model 'no' does not exist" in fails("copy", "no", "other")
    assert "must not end with .learner" in fails("copy", "m", "x.learner")
    assert contents(client, KEYS) == before
    assert client.smembers(MODELS) == {b"m", b"new"}
    assert "nan" not in run("list").stdout  # of the losses that it has not yet


@pytest.mark.parametrize("key", [KEYS.owner, KEYS.lease, KEYS.head, MODELS])
def test_the_list_names_what_somebody_wrote_over(run, client, create, key):
    create()
    create("other")
    client.delete(key)
    client.lpush(key, "x") if key != KEYS.owner else client.set(key, "x")
    rows = {row["model"]: row["state"] for row in strictly(run("list", "--json").stdout)}
    assert rows == {"m": "none" if key == MODELS else "damaged", "other": "none"}


# ---- rename ----
def test_a_renamed_model_goes_on_as_if_nothing_had_happened(run, fails, client, model, drain, committed, create):
    client.xadd(KEYS.requests, {"record": "{}", "reply": KEYS.replies + "me", "id": "7"})
    create("taken")
    assert "must be free (there is learner:{taken}:" in fails("rename", "m", "taken")
    assert "new name must be another one" in fails("rename", "m", "m")
    found = strictly(run("rename", "m", "new", "--json").stdout)
    assert found == {"model": "new", "from": "m", "entries": 21}  # and the last one that was learned
    assert contents(client, KEYS) == {"moved", "replies:me"}
    reply = json.loads(client.lpop(KEYS.replies + "me"))
    assert reply == {"id": "7", "error": "model 'm' was renamed: ask 'new'"}
    assert "model 'm' was renamed to 'new'" in fails("status", "m")
    assert client.smembers(MODELS) == {b"new", b"taken"}
    assert_whole(client, NEW, drain, committed)
    assert contents(client, NEW).isdisjoint({"arriving", "arrived", "moved"})


def test_what_is_pushed_to_the_old_name_later_is_moved_once(run, fails, client, model, drain, committed):
    run("rename", "m", "new")
    drain("new")
    for n in (5, 10):
        push(client, 200, 200 + n)  # the first five again
        assert f"with {n} entries" in run("rename", "m", "new").stdout
        assert contents(client, KEYS) == {"moved"}
    drain("new")
    assert committed("new").n_examples == 130
    assert "was renamed to 'new' before" in fails("rename", "m", "other")
    run("create", "m")
    assert Store(client, "m").spec()["task"] == "binary"
    assert not client.exists(KEYS.moved)


class Died(Exception):  # noqa: N818  (the process did)
    pass


@contextlib.contextmanager
def dying(monkeypatch, at):
    """Have the process die instead of sending a command or a transaction, once it has sent so many."""
    send, n = redis.connection.Connection.send_packed_command, 0

    def counted(self, *arguments, **options):
        nonlocal n
        n += 1
        if n > at:
            raise Died
        return send(self, *arguments, **options)

    with monkeypatch.context() as patch, contextlib.suppress(Died):
        patch.setattr(redis.connection.Connection, "send_packed_command", counted)
        yield


@pytest.mark.parametrize("at", range(7, 88, 9))
def test_a_renaming_that_dies_anywhere_is_finished_by_the_next(run, client, model, drain, committed, monkeypatch, at):
    with dying(monkeypatch, at):
        run("rename", "m", "new")
    if client.exists(KEYS.spec):  # it had not set out: nothing has changed
        assert contents(client, NEW) == set()
    elif not client.exists(NEW.spec):
        with pytest.raises(StoreError, match="was renamed to 'new'"):
            Store(client, "m").spec()
    run("rename", "m", "new")
    assert contents(client, KEYS) == {"moved"}
    assert_whole(client, NEW, drain, committed)


def test_entries_that_come_while_it_moves_are_moved_too(run, client, model, drain, committed, monkeypatch):
    copy = moving._copy_examples

    def late(old, new, *arguments):
        found = copy(old, new, *arguments)
        push(client, 120, 130)
        return found

    monkeypatch.setattr(moving, "_copy_examples", late)
    run("rename", "m", "new")
    drain("new")
    expected = learned(130)
    expected.count_rejected(1)
    assert committed("new").n_examples == 130
    assert client.xlen(KEYS.examples) == 0


def test_the_history_goes_along(run, client, create, drain, committed):
    create(featurizer="fields")
    Store(client, "m").set({"history": "1d"})
    push(client, 0, 30)
    drain()
    push(client, 30, 40)
    run("rename", "m", "new")
    status = Store(client, "new").status()
    assert (status["trouble"], status["lag_entries"], status["history"]["entries"]) == (None, 10, 30)
    drain("new")
    assert state_bytes(committed("new")) == state_bytes(learned(40))


def test_a_model_without_a_commit_is_renamed(run, client, create, drain, committed):
    create(featurizer="fields")
    push(client, 0, 10)
    run("rename", "m", "new")
    drain("new")
    assert state_bytes(committed("new")) == state_bytes(learned(10))


def test_a_model_with_a_worker_is_not_renamed(fails, client, model, own):
    own()
    assert "must have no worker that learns during a renaming" in fails("rename", "m", "new")
    assert contents(client, NEW) == set()


# ---- export and import ----
@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "m.learner")


def test_an_exported_model_goes_on_where_it_is_imported(run, fails, client, model, path, drain, committed):
    run("snapshot", "m")
    found = strictly(run("export", "m", path, "--json").stdout)
    assert found == {"model": "m", "file": path, "examples": 100, "entries": 20}
    assert "model 'm' exists already" in fails("import", path)
    run("delete", "m", "--yes")
    client.set(KEYS.examples, "somebody's")
    assert "model name 'm' must be free (there is learner:{m}:examples)" in fails("import", path)
    client.delete(KEYS.examples)
    told = run("import", path).stdout
    assert told == "imported m (100 examples, 20 entries to come): now 'learner worker m'\n"
    assert contents(client, KEYS).isdisjoint({"arriving", "snapshots"})
    assert_whole(client, KEYS, drain, committed)
    found = strictly(run("import", path, "new", "--json").stdout)
    assert found == {"model": "new", "file": path, "examples": 100, "entries": 20}
    assert_whole(client, NEW, drain, committed)


def test_a_file_of_a_model_is_a_saved_model(run, client, model, path, committed):
    run("export", "m", path)
    assert state_bytes(Model.load(path)) == state_bytes(committed("m"))
    assert strictly(run("weights", path, "--json", "-n", "2").stdout) == dict(committed("m").weights.top(2))


def test_a_saved_model_can_be_imported_under_a_name(run, fails, client, path, committed):
    saved = learned(50)
    saved.save(path)
    assert "model must have a name" in fails("import", path)
    run("import", path, "new")
    saved = Model.load(path)
    assert state_bytes(committed("new")) == state_bytes(saved)


def test_a_model_is_exported_while_a_worker_commits(run, client, model, path, drain, committed, monkeypatch):
    """Commits come between the readings: what they trimmed is read, or not needed."""
    spool, n = portable._spool, 0

    def late(store, last, file):
        nonlocal n
        n += 1
        if n in (2, 3):
            push(client, 120, 125) if n == 2 else None
            drain()
        return spool(store, last, file)

    with monkeypatch.context() as patch:
        patch.setattr(portable, "_spool", late)
        run("export", "m", path)
    assert n >= 4
    run("import", path, "new")
    assert Store(client, "new").status()["lag_entries"] == 0
    assert state_bytes(committed("new")) == state_bytes(committed("m"))


@pytest.mark.parametrize("at", range(1, 25, 5))
def test_an_import_that_dies_is_begun_again(run, fails, client, model, path, drain, committed, monkeypatch, at):
    run("export", "m", path)
    with dying(monkeypatch, at):
        run("import", path, "new")
    if not client.exists(NEW.spec):
        run("import", path, "new")
    assert_whole(client, NEW, drain, committed)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.8, 0.95])
def test_a_damaged_file_changes_nothing(run, fails, client, model, path, place):
    run("export", "m", path)
    data = bytearray(Path(path).read_bytes())
    data[int(len(data) * place)] ^= 1
    Path(path).write_bytes(data)
    before = client.dbsize()
    message = fails("import", path, "new")
    assert "is damaged, or is none" in message or "service/model.json" in message
    assert client.dbsize() == before


def test_a_file_with_settings_of_another_learner_changes_nothing(fails, run, client, model, path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Store, "setting_texts", lambda _: {"new": "1"})
        run("export", "m", path)
    assert "setting must be one of" in fails("import", path, "new")
    assert contents(client, NEW) == set()


# ---- answers that wait for their outcomes ----
KINDS = {
    "labels": {"task": "multiclass"},
    "quantile": {"task": "quantile", "level": 0.9},
    "neural": {"neural": [5, 4]},
    "named": {"task": "regression", "optimizer": "ftrl"},
}


@pytest.fixture
def asked(client, drain):
    """Ask a model of some kind for what 20 records will be, after 30 examples; nine outcomes are known."""

    def asking(keys=KEYS):
        push(client, 0, 30, keys)
        for i in range(20):
            record = json.dumps({"a": i % 7, "w": f"w{i % 5}"})
            client.xadd(keys.requests, {"record": record, "reply": keys.replies + "me", "outcome_id": f"o{i}"})
        drain(keys.model)
        tell(client, 0, 9, keys)
        drain(keys.model)

    return asking


def tell(client, first, last, keys):
    for i in range(first, last):
        client.xadd(keys.examples, {"outcome": f"o{i}", "target": str(i % 2)})


def figures(client, keys):
    status = Store(client, keys.model).status()
    wanted = ("examples", "rejected", "expired", "answered_loss", "answered_examples")
    return {name: status["progress"][name] for name in wanted} | {"kept": status["kept"]}


@pytest.mark.parametrize("kind", KINDS)
def test_late_outcomes_go_along_to_the_same_bits(run, client, create, path, asked, drain, committed, kind):
    create(featurizer="fields", **KINDS[kind])
    asked()
    run("snapshot", "m", "then")
    tell(client, 9, 12, KEYS)  # not learned yet
    run("export", "m", path)
    run("import", path, "new")
    assert int(client.get(NEW.kept_bytes)) == int(client.get(KEYS.kept_bytes)) > 0
    for keys in (KEYS, NEW):
        tell(client, 12, 18, keys)
        tell(client, 0, 2, keys)  # again
        client.xadd(keys.examples, {"outcome": "o18", "expired": "1"})
        drain(keys.model)
    assert state_bytes(committed("new")) == state_bytes(committed("m"))
    found = figures(client, KEYS)
    assert (found["answered_examples"], found["expired"], found["rejected"], found["kept"]) == (18, 1, 0, 1)
    assert figures(client, NEW) == found
    run("rename", "new", "newest")
    assert figures(client, Keys("newest")) == found
    run("rollback", "m", "then")
    push(client, 30, 31)
    drain()
    found = figures(client, KEYS)
    assert (found["examples"], found["answered_examples"], found["expired"], found["kept"]) == (40, 9, 0, 1)


def test_an_outcome_that_is_learned_during_an_export_is_in_the_file(
    run, client, create, path, asked, drain, committed, monkeypatch
):
    """What the file has to learn, it has the answers for; and none that is settled in its commit."""
    create(featurizer="fields")
    asked()
    load, n = portable._spool_kept, 0

    def late(store, *arguments):
        nonlocal n
        n += 1
        if n == 1:
            found = load(store, *arguments)
            tell(client, 9, 12, KEYS)
            drain()
            tell(client, 12, 15, KEYS)
            return found
        return load(store, *arguments)

    save = portable.saving.save

    def later(*arguments):
        drain()  # of the outcomes that are in the file, too
        save(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(portable, "_spool_kept", late)
        patch.setattr(portable.saving, "save", later)
        run("export", "m", path)
    run("import", path, "new")
    assert (client.zcard(NEW.kept), client.zcard(KEYS.kept)) == (8, 5)
    drain("new")
    assert state_bytes(committed("new")) == state_bytes(committed("m"))
    assert figures(client, NEW) == figures(client, KEYS)


# ---- two at once ----
def test_two_renamings_at_once_lose_nothing(run, client, model, drain, committed, monkeypatch):
    """The second one takes the copy over; the first one writes nothing more, wherever it is."""
    put = moving.put

    def second(*arguments):
        monkeypatch.setattr(moving, "put", put)
        run("rename", "m", "new")
        put(*arguments)

    monkeypatch.setattr(moving, "put", second)
    old, new = Store(client, "m"), Store(client, "new")
    old.ownership.take_over()
    moving.set_out(old, new)
    with pytest.raises(StoreError, match="one at a time"):
        moving.move(old, new)
    assert_whole(client, NEW, drain, committed)
    assert contents(client, KEYS) == {"moved"}


def test_entries_that_two_renamings_move_are_moved_once(run, client, model, drain, committed, monkeypatch):
    run("rename", "m", "new")
    push(client, 120, 140)
    entries_after = moving.entries_after

    def second(*arguments):
        monkeypatch.setattr(moving, "entries_after", entries_after)
        page = list(entries_after(*arguments))
        run("rename", "m", "new")
        return iter(page)

    monkeypatch.setattr(moving, "entries_after", second)
    moving.move(Store(client, "m"), Store(client, "new"))
    assert client.xlen(NEW.examples) == 41
    assert contents(client, KEYS) == {"moved"}


def test_what_is_pushed_at_the_very_end_of_a_renaming_stays(run, client, model, drain, committed, monkeypatch):
    refuse = moving._refuse_requests

    def late(*arguments):
        refuse(*arguments)
        push(client, 120, 130)

    monkeypatch.setattr(moving, "_refuse_requests", late)
    run("rename", "m", "new")
    assert client.xlen(KEYS.examples) == 10
    monkeypatch.setattr(moving, "_refuse_requests", refuse)
    assert "with 10 entries" in run("rename", "m", "new").stdout


def test_a_model_that_was_made_meanwhile_is_neither_mixed_with_nor_overwritten(run, fails, client, model, create):
    old, new = Store(client, "m"), Store(client, "new")
    old.ownership.take_over()
    moving.set_out(old, new)
    create("new")
    assert "must be free (there is a model by now)" in fails("rename", "m", "new")
    assert client.xlen(NEW.examples) == 0
    run("delete", "new", "--yes")
    client.set(NEW.arriving, "import 1")
    assert "something else is, or is being, written" in fails("rename", "m", "new")
    assert "a renaming, an import or a deletion has not ended" in fails("create", "new")
    client.delete(NEW.arriving)
    run("rename", "m", "new")
    assert client.xlen(NEW.examples) == 21


def test_an_import_never_deletes_a_model_that_another_one_made(run, client, model, path, monkeypatch):
    run("export", "m", path)
    free = portable.require_free

    def late(store):
        free(store)
        monkeypatch.setattr(portable, "require_free", free)
        run("import", path, "new")

    monkeypatch.setattr(portable, "require_free", late)
    with pytest.raises(StoreError, match="must be free"):
        portable.import_model(Store(client, "new"), path)
    assert Store(client, "new").status()["lag_entries"] == 20


def test_a_model_cannot_be_made_while_one_of_that_name_is_deleted(run, fails, client, model, create, monkeypatch):
    """Neither is the new one deleted with the old one; a deletion that died is finished by the next."""
    wipe = contained.wipe

    def late(*arguments):
        assert "a deletion has not ended" in fails("create", "m")
        raise Died

    monkeypatch.setattr(contained, "wipe", late)
    store = Store(client, "m")
    store.ownership.take_over()
    with pytest.raises(Died):
        contained.delete(store)
    monkeypatch.setattr(contained, "wipe", wipe)
    run("delete", "m", "--yes")
    assert contents(client, KEYS) == set()

    def second(*arguments):  # a deletion that goes on after another one, and a model that was made since
        monkeypatch.setattr(contained, "wipe", wipe)
        run("delete", "m", "--yes")
        create()
        return wipe(*arguments)

    create()
    monkeypatch.setattr(contained, "wipe", second)
    store.ownership.take_over()
    with pytest.raises(StoreError, match="one at a time"):
        contained.delete(store)
    assert Store(client, "m").spec()["task"] == "binary"
