"""A fleet: many models in one process, in fair turns, shared with other processes by lease and cost."""

import functools
import json
import math
import random
import signal
import threading
from contextlib import contextmanager
from urllib.parse import quote

import msgpack
import pytest
import redis

from learner.client import Client
from learner.model import Model
from learner.service import fleet as fleets
from learner.service.fleet import Fleet, balancing, connect, looking
from learner.service.fleet.balancing import Part, surplus
from learner.service.store import Store, snapshots
from learner.service.store.acl import set_user
from learner.service.store.cluster import primary
from learner.service.store.fleets import Note, notes, write_note
from learner.service.store.position import create_group
from learner.service.wire import FLEET, Keys
from tests.clusters import slot_of
from tests.command_line import invoke
from tests.conftest import SEED, state_bytes, wait_until
from tests.reliability.roles import PASSWORD, url_of


@pytest.fixture
def fleet(redis_url, monkeypatch):
    """Have a process of a fleet run in a thread of this process while a block runs."""
    monkeypatch.setattr(fleets, "CONTROL_SECONDS", 0.05)
    monkeypatch.setattr(looking, "NAMES_SECONDS", 0.05)

    @contextmanager
    def running(pattern="*", most=100, url=redis_url, **options):
        options = {"commit_seconds": 0.0, "held_seconds": math.inf} | options
        process = Fleet(connect(url, most), url, pattern, most, **options)
        failure = []

        def run():
            try:
                process.run()
            except BaseException as error:  # noqa: BLE001  (it is raised in the test)
                failure.append(error)

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield process
        finally:
            process.stop()
            thread.join(60)
            process.client.close()
            if failure:
                raise failure[0]
        assert not thread.is_alive()

    return running


def push(client, name, examples):
    client.xadd(Keys(name).examples, {"batch": b"".join(map(msgpack.packb, examples))})


def n_learned(client, name):
    return int(client.hget(Keys(name).head, "entries") or 0)


def owner(client, name):
    return client.hget(Keys(name).owner, "worker")


BINARY = [[i % 2, {f"n{i % 5}": 1.0, "x": i / 50}] for i in range(50)]
NUMBERS = [[i / 10, {f"n{i % 5}": 1.0}] for i in range(50)]
LABELS = [[f"label {i % 3}", {f"n{i % 3}": 1.0}] for i in range(50)]


def test_models_of_all_kinds_learn_in_one_process_as_in_workers_of_their_own(
    client, redis_url, create, fleet, committed
):
    kinds = {"a": ("binary", BINARY), "b": ("regression", NUMBERS), "c": ("multiclass", LABELS)}
    models = {name: create(name, task) for name, (task, _) in kinds.items()}
    with fleet() as process:
        for name, (_, examples) in kinds.items():
            push(client, name, examples)
        for name in kinds:
            wait_until(lambda: n_learned(client, name))  # noqa: B023
            assert Client(name, redis_url).predict(features={"n1": 1.0}) is not None
        create("d")  # while it runs
        wait_until(lambda: owner(client, "d"))
        push(client, "d", BINARY)
        wait_until(lambda: n_learned(client, "d"))
        assert process.members.keys() == {*kinds, "d"}
        wait_until(lambda: [note.models for note in notes(client)] == [4])
    for name, (_, examples) in kinds.items():
        models[name].learn_packed(b"".join(map(msgpack.packb, examples)))
        assert state_bytes(committed(name)) == state_bytes(models[name])
        assert owner(client, name) is None
    assert (notes(client), client.exists(FLEET)) == ([], 0)
    states = [worker["state"] for worker in Store(client, "a").status()["workers"]]
    assert states == ["stopped"]


def test_only_models_of_the_pattern_that_have_no_worker_are_taken_and_no_more_than_may(
    client, create, fleet, serving, capsys
):
    for name in ("news-a", "news-b", "news-c", "m", "other"):
        create(name)
    with serving("news-a"), fleet("news-*", most=1) as process:
        wait_until(lambda: "1 models have no worker" in capsys.readouterr().err)
        assert len(process.members.keys() & {"news-b", "news-c"}) == 1
        assert not owner(client, "other")


def test_a_stream_gone_bad_a_damaged_model_and_a_deleted_one_harm_no_other(client, redis_url, create, fleet, capsys):
    for name in ("good", "bad", "broken", "gone"):
        create(name)
    client.set(Keys("broken").spec, b"{")
    with fleet() as process:
        wait_until(lambda: process.members.keys() == {"good", "bad", "gone"})
        for name in ("good", "bad"):
            push(client, name, BINARY)
            wait_until(lambda: n_learned(client, name))  # noqa: B023
        client.delete(*client.keys("learner:{gone}:*"))
        client.delete(Keys("bad").examples)
        push(client, "good", BINARY)
        wait_until(lambda: n_learned(client, "good") == 2)
        wait_until(lambda: "trouble" in Store(client, "bad").ownership.read().fields)
        reply = Client("bad", redis_url).ask({b"features": msgpack.packb({"n1": 1.0})})
        assert "learning has ended" in reply["notice"]
        wait_until(lambda: "gone" not in process.members)
        push(client, "good", BINARY)
        wait_until(lambda: n_learned(client, "good") == 3)
        create("gone")  # again: as a new model, it waits for nothing
        wait_until(lambda: "gone" in process.members)
    told = capsys.readouterr().err
    assert "model 'broken' can't be worked: spec of 'broken'" in told
    assert "event=answering_only model=bad" in told
    assert "model 'gone' can't be worked" not in told


def test_a_model_that_an_administrator_had_for_a_moment_is_taken_up_again(client, create, fleet, committed, capsys):
    model = create("m")
    with fleet() as process:
        push(client, "m", BINARY)
        wait_until(lambda: n_learned(client, "m") == 1)
        store = Store(client, "m")
        snapshots.take(store, "good")
        push(client, "m", BINARY)
        wait_until(lambda: n_learned(client, "m") == 2)
        snapshots.roll_back(store, "good", model.fingerprint, model.row_width)
        wait_until(lambda: process.members.get("m") and owner(client, "m"))
        push(client, "m", BINARY[:10])
        wait_until(lambda: n_learned(client, "m") == 3)
    model.learn_packed(b"".join(map(msgpack.packb, [*BINARY, *BINARY[:10]])))
    assert state_bytes(committed("m")) == state_bytes(model)
    assert "stopped with code 0: an administrator has the model for a moment" in capsys.readouterr().err


def test_an_administrator_renames_repairs_and_deletes_what_a_fleet_works_and_it_goes_on_with_the_others(
    client, redis_url, create, fleet, monkeypatch
):
    stops, note_stop = [], fleets.note_stop

    def noting(store, code, reason):
        stops.append((store.keys.model, code))
        note_stop(store, code, reason)

    monkeypatch.setattr(fleets, "note_stop", noting)
    monkeypatch.setenv("REDIS_URL", redis_url)
    for name in ("a", "b", "c"):
        create(name)
    with fleet() as process:
        wait_until(lambda: len(process.members) == 3)
        push(client, "a", BINARY)
        wait_until(lambda: n_learned(client, "a") == 1)
        invoke("rename", "a", "d")
        invoke("delete", "b", "--yes")
        with client.pipeline() as pipe:  # added and deleted in one transaction: nobody can have learned it
            pipe.xadd(Keys("c").examples, {"batch": b""}, id=b"1-0")
            pipe.xdel(Keys("c").examples, b"1-0")
            pipe.execute()
        wait_until(lambda: "trouble" in Store(client, "c").ownership.read().fields)
        invoke("repair", "c", "--continue")
        push(client, "d", BINARY)
        wait_until(lambda: n_learned(client, "d") == 2)
        push(client, "c", BINARY)
        wait_until(lambda: n_learned(client, "c") == 2)
        wait_until(lambda: process.members.keys() == {"c", "d"})
    assert [code for model, code in stops if model in ("a", "c", "d")] == [0, 0, 0, 0]
    assert not client.keys("learner:{b}:*")
    assert Client("d", redis_url).committed().n_examples == 100


def test_a_model_whose_outcomes_flood_in_keeps_no_other_one_waiting(client, redis_url, create, fleet):
    for name in ("flooded", "quiet"):
        create(name)
    for _ in range(100):
        push(client, "flooded", BINARY * 40)
    push(client, "quiet", BINARY)
    asker = Client("quiet", redis_url)
    with fleet():
        for _ in range(5):
            assert asker.predict(features={"n1": 1.0}) > 0.0
        wait_until(lambda: n_learned(client, "flooded") == 100, 60.0)
        wait_until(lambda: n_learned(client, "quiet") == 1)
    (learned_at, _), (flood_ends, _) = (
        client.xrevrange(Keys(name).progress, count=1)[0] for name in ("quiet", "flooded")
    )
    assert learned_at < flood_ends


def test_settings_are_followed_and_outcomes_find_their_answers(client, redis_url, create, fleet):
    create("m")
    Store(client, "m").set({"keep_predictions": "1h"})
    with fleet():
        asker = Client("m", redis_url)
        for i in range(5):
            asker.predict(features={f"n{i}": 1.0}, outcome_id=f"asked {i}")
            asker.outcome(f"asked {i}", i % 2)
        wait_until(lambda: n_learned(client, "m") == 5)
    assert asker.committed().n_examples == 5


def test_two_processes_share_the_models_and_either_takes_over_all(client, create, fleet, monkeypatch):
    monkeypatch.setattr(balancing, "LEAST_SURPLUS", 0.0)
    names = [f"m{i}" for i in range(20)]
    for name in names:
        create(name)
    with fleet() as first:
        wait_until(lambda: len(first.members) == 20)
        with fleet() as second:
            wait_until(lambda: len(second.members) >= 8)
            for name in names:
                push(client, name, BINARY)
            wait_until(lambda: all(n_learned(client, name) == 1 for name in names))
            assert not first.members.keys() & second.members.keys()
        wait_until(lambda: len(first.members) == 20)
        for name in names:
            push(client, name, BINARY)
        wait_until(lambda: all(n_learned(client, name) == 2 for name in names))


def test_models_are_taken_over_from_one_that_is_silent_and_it_commits_nothing_more(client, create, fleet, capsys):
    create("m")
    with fleet(lease_seconds=0.5) as silent:
        wait_until(lambda: "m" in silent.members)
        monkeypatched = silent.heart.beat
        silent.heart.beat = lambda seconds: None
        with fleet() as other:
            wait_until(lambda: "m" in other.members)
            silent.heart.beat = monkeypatched
            wait_until(lambda: "m" not in silent.members)
            push(client, "m", BINARY)
            wait_until(lambda: n_learned(client, "m") == 1)
            assert client.hget(Keys("m").owner, "epoch") == b"2"
    assert "stopped with code 4: another worker owns 'm' now" in capsys.readouterr().err


def test_a_fleet_under_its_access_rules_works_the_models_of_its_pattern_and_no_other(
    client, redis_url, create, fleet, capsys
):
    names = ["news-a", "news-b", "other"]
    for name in names:
        create(name)
    client.execute_command(*set_user("news-*", "fleet", PASSWORD))
    client.execute_command("ACL", "LOG", "RESET")
    url = url_of(redis_url, quote("news-*"), "fleet")
    try:
        with fleet("news-*", url=url), fleet("news-*", url=url):
            for name in names[:2]:
                push(client, name, BINARY)
                wait_until(lambda: n_learned(client, name))  # noqa: B023
                assert Client(name, redis_url).predict(features={"n1": 1.0}) != 0.5
        with connect(url, 1) as under_rules, pytest.raises(redis.exceptions.NoPermissionError):
            under_rules.get(Keys("other").spec)
    finally:
        refused = client.execute_command("ACL", "LOG")
        client.execute_command("ACL", "DELUSER", "news-*-fleet")
    assert [entry[entry.index(b"object") + 1] for entry in refused] == [Keys("other").spec.encode()], (
        capsys.readouterr().err
    )


def test_models_in_all_slots_of_a_cluster_are_worked_by_one_process(cluster, monkeypatch):
    monkeypatch.setattr(fleets, "CONTROL_SECONDS", 0.05)
    names = [f"fleet{i}" for i in range(6)]
    client = connect(cluster.url, 10)
    for name in names:
        assert Store(client, name).create(Model(seed=SEED).to_spec())
    assert len({str(primary(Store(client, name).client)) for name in names}) == 3
    process = Fleet(client, cluster.url, "fleet*", 10, held_seconds=math.inf, commit_seconds=0.0)
    thread = threading.Thread(target=process.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: len(process.members) == 6)
        for name in names:
            asker = Client(name, cluster.url)
            asker.push_many(BINARY, features=True)
            wait_until(lambda: asker.committed().n_examples == 50)  # noqa: B023
            assert asker.predict(features={"n1": 1.0}) != 0.5
        source = cluster.primary(names[0])
        cluster.move(slot_of(names[0]), source, next(node for node in cluster.primaries() if node is not source))
        asker = Client(names[0], cluster.url)
        asker.push_many(BINARY, features=True)
        wait_until(lambda: asker.committed().n_examples == 100)
        states = [(each["state"], each.get("code")) for each in Store(client, names[0]).status()["workers"]]
        assert set(states) == {("stopped", 0), ("running", None)}
    finally:
        process.stop()
        thread.join(60)
    assert not thread.is_alive()
    assert all(Store(client, name).ownership.read().fields.get("worker") is None for name in names)


def test_while_a_primary_of_a_cluster_hangs_models_at_the_others_learn_and_give_signs_of_life(cluster, monkeypatch):
    monkeypatch.setattr(fleets, "CONTROL_SECONDS", 0.05)
    url = f"{cluster.url}?socket_timeout=0.3"
    client, names = connect(url, 10), [f"hangs{i}" for i in range(6)]
    places = {name: cluster.primary(name) for name in names}
    for name in names:
        assert Store(client, name).create(Model(seed=SEED).to_spec())
    process = Fleet(client, url, "hangs*", 10, held_seconds=math.inf, commit_seconds=0.0, lease_seconds=0.5)
    thread = threading.Thread(target=process.run, daemon=True)
    thread.start()
    hanging = places[names[0]]
    others = [Store(client, name) for name in names if places[name] is not hanging]
    try:
        wait_until(lambda: len(process.members) == 6 and all(each.place for each in process.members.values()))
        hanging.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: process._parked)
        signs = {store: store.ownership.read().sign for store in others}
        for store in others:
            push(store.client, store.keys.model, BINARY)
        wait_until(lambda: all(store.stream.committed_position().passed == 1 for store in others))
        wait_until(lambda: all(store.ownership.read().sign != signs[store] for store in others))
        assert process._parked
        hanging.process.send_signal(signal.SIGCONT)
        for name in names:
            store = Store(client, name)
            wait_until(lambda: push(store.client, name, BINARY) or store.stream.committed_position().passed > 1)  # noqa: B023
        assert not process._parked
    finally:
        hanging.process.send_signal(signal.SIGCONT)
        process.stop()
        thread.join(60)
    assert not thread.is_alive()


def test_a_process_whose_connections_all_end_again_and_again_goes_on(client, create, fleet, monkeypatch):
    monkeypatch.setattr(
        fleets, "SPARE_CONNECTIONS", 20
    )  # each end makes two anew for each model: soon more than so many
    names = ["a", "b", "c"]
    for name in names:
        create(name)
    with fleet(most=3) as process:
        wait_until(lambda: len(process.members) == 3)
        for n in range(1, 9):
            client.client_kill_filter(_type="normal", skipme=True)
            for name in names:
                push(client, name, BINARY)
            wait_until(lambda: all(n_learned(client, name) == n for name in names))  # noqa: B023
        assert process.members.keys() == set(names)


def test_whatever_is_in_the_keys_ends_no_process_and_harms_no_other_model(client, create, fleet, capsys):
    for name in ("good", "epoch", "owner", "requests", "later"):
        create(name)
    with fleet(most=4) as process:
        wait_until(lambda: len(process.members) == 4)
        client.delete(FLEET)
        client.set(FLEET, "no hash")
        client.hset(Keys("epoch").owner, "epoch", "no number")
        for key in (Keys("owner").owner, Keys("requests").requests):
            client.delete(key)
            client.set(key, "something else")
        wait_until(lambda: "can't know of others: key learner:fleet must be" in capsys.readouterr().err)
        wait_until(lambda: not process.members.keys() & {"epoch", "owner"})
        taken = next(iter(process.members.keys() - {"requests"}))
        push(client, taken, BINARY)
        wait_until(lambda: n_learned(client, taken) == 1)
        client.delete(FLEET)


def test_a_model_whose_stream_is_bad_or_whose_questions_are_no_stream_has_few_turns(
    client, redis_url, create, fleet, capsys
):
    for name in ("good", "bad", "odd"):
        create(name)
    client.set(Keys("odd").requests, "something else")
    with fleet() as process:
        wait_until(lambda: len(process.members) == 3)
        for name in ("bad", "odd"):
            push(client, name, BINARY)
            wait_until(lambda: n_learned(client, name))  # noqa: B023
        client.delete(Keys("bad").examples)
        push(client, "bad", BINARY)
        wait_until(lambda: "trouble" in Store(client, "bad").ownership.read().fields)
        push(client, "bad", BINARY)  # neither of the two entries will be learned
        n_turns = dict.fromkeys(process.members, 0)

        def turn(name, taken):
            n_turns[name] += 1
            return taken()

        for name, member in process.members.items():
            member.turn = functools.partial(turn, name, member.turn)
        for _ in range(100):
            Client("good", redis_url).predict(features={"n1": 1.0})
        assert n_turns["good"] >= 100 > 2 * max(n_turns["bad"], n_turns["odd"])
        assert "trying again" not in capsys.readouterr().err
        client.delete(Keys("odd").requests)
        create_group(client, Keys("odd").requests)
        assert Client("odd", redis_url).predict(features={"n1": 1.0}) != 0.5


def test_a_model_that_the_server_can_not_serve_as_it_asks_is_taken_soon_after_it_can_and_status_says_why(
    client, create, fleet, monkeypatch
):
    monkeypatch.setattr(fleets, "LAST_PAUSE_SECONDS", 0.1)
    create("m")
    store = Store(client, "m")
    store.set({"durability": "failover"})  # of a server without replicas
    with fleet() as process:
        wait_until(lambda: [each["code"] for each in store.status()["workers"]] == [2])
        assert "durability 'failover' asks for more" in store.status()["workers"][0]["reason"]
        store.set({"durability": "crash"})
        wait_until(lambda: "m" in process.members)


def test_a_full_process_makes_room_where_one_of_another_pattern_has_some(client, create, fleet):
    for name in ("news-a", "news-b"):
        create(name)
    with fleet(most=2) as full:
        wait_until(lambda: len(full.members) == 2)
        with fleet("news-*") as other, fleet("nothing"):
            wait_until(lambda: len(notes(client)) == 3)
            create("shop")
            wait_until(lambda: "shop" in full.members and len(other.members) == 1)
            create("shop-2")  # it gives nothing more for a while, and nothing to those who can't take it
            wait_until(lambda: "shop-2" in full._sight._vacancies.left())
            assert (len(full.members), len(other.members)) == (2, 1)


def test_a_model_that_goes_while_it_is_taken_over_and_is_made_again_is_taken_up_at_once(
    client, create, fleet, monkeypatch, capsys
):
    create("m")
    gone, take = [], Fleet._take

    def taking(process, name, owner):
        if not gone:
            gone.extend(client.keys("learner:{m}:*"))
            client.delete(*gone)
        return take(process, name, owner)

    monkeypatch.setattr(Fleet, "_take", taking)
    with fleet() as process:
        wait_until(lambda: gone and not process._taken)
        create("m")
        wait_until(lambda: "m" in process.members)
    assert "can't be worked" not in capsys.readouterr().err


def test_a_model_that_can_neither_learn_nor_answer_is_lost(client, create, fleet, monkeypatch):
    monkeypatch.setattr(fleets.FleetHeart, "beat", lambda heart, seconds: None)  # which would find it out, too
    create("m")
    with fleet() as process:
        wait_until(lambda: "m" in process.members)
        push(client, "m", BINARY)
        wait_until(lambda: n_learned(client, "m") == 1)
        client.delete(Keys("m").owner, Keys("m").examples)
        client.set(Keys("m").owner, "no hash")
        wait_until(lambda: "m" not in process.members)


def test_an_error_while_other_models_are_answered_meanwhile_costs_only_the_model_that_has_it(
    client, redis_url, create, fleet, capsys
):
    create("flooded")
    create("broken")
    with fleet() as process:
        wait_until(lambda: len(process.members) == 2)

        def answer():
            raise ValueError("a defect")

        process.members["broken"].worker.answer_meanwhile = answer
        n = 0
        while "broken" in process.members and n < 1000:
            n += 1
            push(client, "flooded", BINARY * 40)
            client.xadd(Keys("broken").requests, {"features": msgpack.packb({"n1": 1.0})})
        wait_until(lambda: n_learned(client, "flooded") == n, 60.0)
        assert process.members.keys() == {"flooded"}
    assert "model=broken code=2" in capsys.readouterr().err


def test_the_heart_goes_on_while_the_server_is_away(client, create, fleet):
    create("m")
    with fleet(lease_seconds=0.5) as process:
        wait_until(lambda: "m" in process.members)
        heart = process.heart
        away, there = connect("redis://127.0.0.1:1", 1), heart._client
        heart._client = lambda: away
        process.members["m"].worker.store.processes._noted_at = -math.inf  # its note is due
        heart.beat(0.1)
        heart._client = there
        push(client, "m", BINARY)
        wait_until(lambda: n_learned(client, "m") == 1)


def test_notes_of_others_are_read_with_care(client):
    note = Note("a", "", "here", 1, "*", 2, 10, 0.5, 5.0)
    write_note(client, note)
    good = json.loads(client.hget(FLEET, "a"))
    odd = {"models": -1, "most": 1e3, "cost": math.nan, "lease": math.inf, "pid": 10**400, "seen": good["seen"] + 60}
    client.hset(FLEET, mapping={field: json.dumps(good | {field: value}) for field, value in odd.items()})
    client.hset(FLEET, mapping={"b": b"\xff", "c": b"[]", "d": b'{"name": 7}'})
    assert [each.name for each in notes(client)] == ["a"]
    assert client.hkeys(FLEET) == [b"a"]
    client.hset(FLEET, "old", client.hget(FLEET, "a").replace(b'"seen": ', b'"seen": -'))
    assert [each.name for each in notes(client)] == ["a"]


def test_what_is_given_back_brings_a_process_down_to_the_mean_and_never_below_it(seed):
    draw = random.Random(seed)
    for _ in range(300):
        costs = {f"m{i}": draw.expovariate(20) for i in range(draw.randrange(1, 60))}
        own = Part(len(costs), 100, sum(costs.values()))
        others = [Part(draw.randrange(100), draw.choice([50, 1000]), draw.expovariate(2)) for _ in range(3)]
        given = surplus(own, others, costs)
        rooms = [part.cost for part in others if not part.is_full]
        mean = (own.cost + sum(rooms)) / (1 + len(rooms))
        assert not given or own.cost - sum(costs[name] for name in given) >= mean - 1e-9


def test_a_fleet_leaves_questions_to_answerers_and_takes_them_up_again(client, redis_url, create, fleet, answering):
    create("a", featurizer="fields")
    create("b", featurizer="fields")
    asker = Client("a", redis_url, timeout=30.0)
    with fleet() as process:
        wait_until(lambda: len(process.members) == 2)
        for n in (1, 2):
            with answering("a") as one:
                wait_until(lambda: client.hget(Keys("a").owner, "answered_by"))
                push(client, "a", BINARY)
                wait_until(lambda n=n: one.store.commits.number >= n and n_learned(client, "a") == n)
                assert asker.ask({"features": '{"n1": 1}'})["commit"] == one.store.commits.number
                wait_until(lambda: one.counts.request_seconds.n == 1)
                wait_until(lambda: not process.members["a"].requests.is_waiting)
                assert Client("b", redis_url, timeout=30.0).predict(features={"n1": 1.0}) == 0.5
            wait_until(lambda: not client.hget(Keys("a").owner, "answered_by"))
            assert 0.0 < asker.predict(features={"n1": 1.0}) < 1.0
            wait_until(lambda n=n: process.members["a"].worker.counts.request_seconds.n == n)
