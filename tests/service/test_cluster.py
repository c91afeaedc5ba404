"""A real cluster: a model in one slot of it, slots that move, and primaries that fail."""

import asyncio
import json
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis

from learner import AsyncClient, Client
from learner.client.connections import Connections
from learner.client.conversations import Conversations
from learner.errors import ServerError
from learner.model import Model
from learner.service.store import Store, connection, registry
from learner.service.store.acl import set_user
from learner.service.store.cluster import towards
from learner.service.store.durability import Durability
from learner.service.store.topology import Rerouted
from learner.service.wire import MODELS, Keys
from tests.clusters import lone, slot_of
from tests.command_line import invoke, invoke_failing
from tests.conftest import SEED, state_bytes, wait_until
from worker import Worker


def create(url, name, task="binary"):
    """Make a model; returns one like it that knows nothing yet."""
    model = Model(task, seed=SEED)
    with connection.client(url) as client:
        assert Store(client, name).create(model.to_spec())
    return Model.from_spec(model.to_spec())


def owner(url, name):
    """Return a worker in this process that owns a model, and commits at the end only."""
    made = Worker(Store(connection.client(url), name), 1000.0, held_seconds=math.inf)
    assert made.wait_to_own()
    return made


def drain(made):
    """Have a worker learn what is there, as often as it takes, as a process does."""
    for _ in range(200):
        try:
            made.run(burst=True)
        except redis.ConnectionError:
            time.sleep(0.05)
        else:
            made.owning.close()
            return made.model
    raise AssertionError("it never came to an end")


@pytest.fixture(scope="module")
def one():
    """A cluster of one node, and its URL."""
    with lone() as made:
        yield made


EXAMPLES = [(i % 2, {f"w{i % 7}": 1.0, "x": float(i % 5)}) for i in range(300)]


def push(client, examples):
    assert client.push_many(examples, features=True) == len(examples)


@pytest.mark.parametrize("kind", ["url", "plain_url"])
def test_a_model_in_a_cluster_learns_the_same_as_elsewhere(cluster, kind):
    url = getattr(cluster, kind)
    for node in cluster.primaries():  # one of them is not the one that the plain URL names
        name = cluster.name_at(node)
        model = create(url, name)
        push(Client(name, url), EXAMPLES)
        drain(owner(url, name))
        for target, features in EXAMPLES:
            model.learn_one(features, target)
        assert state_bytes(Client(name, url).committed()) == state_bytes(model)
        assert node.client.exists(Keys(name).head, Keys(name).examples, Keys(name).spec) == 3


def test_models_of_all_primaries_are_listed_and_the_registry_is_put_right(cluster):
    names = {cluster.name_at(node) for node in cluster.primaries()}
    for name in names:
        create(cluster.url, name)
    with connection.client(cluster.url) as client:
        assert names <= set(registry.models(client))
        registry_client = towards(client, MODELS)
        registry_client.srem(MODELS, *names)
        registry_client.sadd(MODELS, "nosuch")
        assert names <= set(registry.models(client))
        assert names <= {name.decode() for name in registry_client.smembers(MODELS)}
        assert b"nosuch" not in registry_client.smembers(MODELS)
        assert all((registry.memory(client) or {})[name] > 0 for name in names)


def test_every_command_works_across_slots(cluster, monkeypatch, tmp_path):
    monkeypatch.setenv("REDIS_URL", cluster.plain_url)
    old, new, copy = (cluster.name_at(node) for node in cluster.primaries())
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"a": i % 7, "w": f"w{i % 3}", "target": i % 2}) + "\n" for i in range(50)))
    invoke("create", old, "--featurizer", "fields")
    invoke("set", old, "keep_predictions=1h")
    invoke("push", old, str(rows), "--target", "target")
    Client(old).redis.xadd(Keys(old).examples, {"record": "{", "target": "1"})
    drain(owner(cluster.plain_url, old))
    assert json.loads(invoke("status", old, "--json").stdout)["progress"]["rejected"] == 1
    invoke("snapshot", old, "first")
    invoke("push", old, str(rows), "--target", "target")
    drain(owner(cluster.plain_url, old))
    invoke("rollback", old, "first")
    invoke("create", "small", "--beside", old, "--max-features", "100")
    drain(owner(cluster.plain_url, old))
    invoke("delete", f"{old}/small", "--yes")
    invoke("rename", old, new)
    assert invoke_failing("status", old) == (
        f"Error: model '{old}' was renamed to '{new}': what is still pushed here, or left, goes there with 'learner rename "
        f"{old} {new}'"
    )
    invoke("copy", new, copy)
    file = str(tmp_path / "m.learner")
    invoke("export", new, file)
    invoke("delete", new, "--yes")
    invoke("import", file, new)
    invoke("erase", new, "--feature", "w=w1", "--yes")
    invoke("repair", new, "--forget")
    listed = {row["model"]: row for row in json.loads(invoke("list", "--json").stdout)}
    assert (listed[copy]["error"], listed[copy]["examples"]) == (None, 50)
    assert listed[new]["error"] is None


def test_a_reply_key_outside_the_slot_harms_nobody_else(cluster, capfd):
    name = cluster.name_at(cluster.primaries()[0])
    create(cluster.url, name)
    keys, connected = Keys(name), Client(name, cluster.url).redis
    for key in ("learner:replies:me", f"{keys.replies}me"):
        connected.xadd(keys.requests, {"record": "{}", "reply": key, "id": "7"})
    made = owner(cluster.url, name)
    made.run(burst=True)
    made.owning.close()
    assert json.loads(connected.lpop(f"{keys.replies}me"))["id"] == "7"
    assert (
        f"requests with reply 'learner:replies:me' have no answer: it must start with {keys.replies}"
        in capfd.readouterr().err
    )


def test_connections_of_asyncio_serve_models_of_all_primaries(cluster):
    names = [cluster.name_at(node) for node in cluster.primaries()]
    for name in names:
        create(cluster.url, name)

    async def lags():
        connections = Connections(cluster.plain_url, 5.0)
        for name in names:
            about = Conversations(name, 5.0, Durability())
            await connections.run(about.push([{"batch": _batch({"a": 1.0})}] * 2, None))
            await connections.run(about.require_model())
        found = [await connections.run(Conversations(name, 5.0, Durability()).lag()) for name in names]
        await connections.aclose()
        return found

    assert asyncio.run(lags()) == [2, 2, 2]


def test_a_wait_that_the_server_ends_is_no_sign_that_nothing_was_done(one):
    node, url = one
    create(url, "waits")
    client = Client("waits", url, timeout=10.0, durability="failover")  # it has no replica, so it waits
    with ThreadPoolExecutor() as pool:
        pushed = pool.submit(client.push, {"a": 1}, 1)
        wait_until(lambda: node.client.info()["blocked_clients"])
        (blocked,) = [each["id"] for each in node.client.client_list() if each["cmd"] == "wait"]
        node.client.execute_command("CLIENT", "UNBLOCK", blocked, "ERROR")  # as a failover does
        with pytest.raises(Rerouted, match="a primary no more") as error:
            pushed.result()
    assert not error.value.is_undone
    assert node.client.xlen(Keys("waits").examples) == 1


# ---- slots that move ----
def moved(cluster, name, whole=True):
    """Move a model's slot to another primary; returns what ends it, unless it is moved as a whole."""
    source, slot = cluster.primary(name), slot_of(name)
    target = next(node for node in cluster.primaries() if node is not source)
    if whole:
        return cluster.move(slot, source, target)
    cluster.begin_move(slot, source, target)

    def end():
        cluster.move_keys(slot, source, target)
        cluster.end_move(slot, source, target)

    return end


def test_a_client_whose_slot_has_moved_pushes_each_example_once_without_ids(cluster):
    name = cluster.name_at(cluster.primaries()[0])
    create(cluster.url, name)
    client = Client(name, cluster.url)
    client.push({"a": 1}, 1)
    moved(cluster, name)
    client.push({"a": 1}, 1)
    moved(cluster, name)
    pipe = client.pipeline()
    for _ in range(5):
        pipe.push({"a": 1}, 1)
    assert len(set(pipe.execute())) == 5
    moved(cluster, name)
    assert client.lag() == 7

    async def more():
        async with AsyncClient(name, cluster.url) as other:
            await other.push({"a": 1}, 1)
            await asyncio.to_thread(moved, cluster, name)
            await other.push_many([(1, {"a": i}) for i in range(500)])
            return await other.lag()

    assert asyncio.run(more()) == 11


def test_while_a_slot_moves_producers_wait_for_it_and_commands_say_so(cluster, monkeypatch, tmp_path):
    monkeypatch.setenv("REDIS_URL", cluster.url)
    name = cluster.name_at(cluster.primaries()[0])
    create(cluster.url, name)
    end = moved(cluster, name, whole=False)
    source, slot = cluster.primary(name), slot_of(name)
    target = next(node for node in cluster.primaries() if node is not source)
    cluster.move_keys(slot, source, target)
    assert "the cluster is moving the model's keys (slot" in invoke_failing("export", name, str(tmp_path / "m.learner"))
    later = threading.Timer(0.3, end)
    later.start()
    Client(name, cluster.url).push({"a": 1}, 1)
    later.join()
    assert Client(name, cluster.url).lag() == 1


def test_a_worker_whose_slot_moves_goes_on_from_its_last_commit_and_learns_the_rest_once(cluster):
    name = cluster.name_at(cluster.primaries()[0])
    model = create(cluster.url, name)
    client = Client(name, cluster.url)
    made = owner(cluster.url, name)
    push(client, EXAMPLES)
    moved(cluster, name)
    drain(made)
    made = owner(cluster.url, name)
    push(client, EXAMPLES[:100])
    end = moved(cluster, name, whole=False)
    later = threading.Timer(0.3, end)
    later.start()
    drain(made)
    later.join()
    for target, features in EXAMPLES + EXAMPLES[:100]:
        model.learn_one(features, target)
    assert state_bytes(client.committed()) == state_bytes(model)


# ---- primaries that fail ----
def test_what_a_dead_primary_alone_had_is_never_committed_though_as_much_took_its_place(cluster):
    name = cluster.name_at(cluster.primaries()[0])
    model = create(cluster.url, name)
    client, keys = Client(name, cluster.url), Keys(name)
    dead, replica = cluster.primary(name), cluster.replica(name)
    push(client, EXAMPLES[:10])
    client.redis.execute_command("WAIT", 1, 5000)
    cluster.cut_off(replica, name)
    client.push(features={"lost": 1.0}, target=1)
    made = owner(cluster.url, name)
    seen = made.store.stream.read(b"0-0", None, 100, 1, None)[0]
    made._learn(made._collect(seen, no_more=True))  # not committed yet
    assert made.learning.n_entries == 2
    dead.kill()
    cluster.promote(replica, dead)
    ms, number = seen[0][0].decode().split("-")  # its clock is behind: before the lost entry's id
    replica.client.xadd(keys.examples, {"batch": _batch({"new": 1.0})}, id=f"{ms}-{int(number) + 1}")
    learned = drain(made)
    for target, features in EXAMPLES[:10]:
        model.learn_one(features, target)
    model.learn_one({"new": 1.0}, 1)
    assert "lost" not in learned.weights
    assert state_bytes(client.committed()) == state_bytes(model)


def _batch(features):
    from learner.packing import pack, pack_example

    return pack_example(1, pack(features), 1.0)


def test_a_commit_that_a_dead_primary_alone_had_is_written_again(cluster):
    name = cluster.name_at(cluster.primaries()[1])
    model = create(cluster.url, name)
    client = Client(name, cluster.url)
    dead, replica = cluster.primary(name), cluster.replica(name)
    made = owner(cluster.url, name)
    push(client, EXAMPLES)
    client.redis.execute_command("WAIT", 1, 5000)
    cluster.cut_off(replica, name)
    made._learn(made._collect(made.store.stream.read(b"0-0", None, 100, 1, None)[0], no_more=True))
    made.committing.commit()
    assert made.store.commits.number == 1
    dead.kill()
    cluster.promote(replica, dead)
    assert not replica.client.exists(Keys(name).head)
    drain(made)
    for target, features in EXAMPLES:
        model.learn_one(features, target)
    assert state_bytes(client.committed()) == state_bytes(model)


# ---- in words ----
def test_a_url_of_a_cluster_must_name_nodes_of_one(redis_url):
    told = r"must be a node of a cluster \(got .*cluster support disabled"
    with (
        connection.client(redis_url.replace("redis://", "redis+cluster://")) as client,
        pytest.raises(ServerError, match=told),
    ):
        client.ping()


def test_a_slot_that_no_node_has_is_named():
    with lone(with_slots=False) as (node, url):
        with connection.client(url) as client, pytest.raises(Rerouted, match="has no primary for the model's keys"):
            client.ping()
        node.command("ADDSLOTSRANGE", 0, 100)
        store = Store(connection.client(url), "m")
        with pytest.raises(Rerouted, match=f"slot {slot_of('m')} belongs to no node"):
            store.spec()
        assert connection.passing_trouble(Rerouted("why", "what")) == "why"


def test_roles_may_ask_for_the_slots_and_a_node_that_cannot_be_reached_is_named(one, monkeypatch):
    node, url = one
    create(url, "m")
    for role in ("producer", "worker"):
        node.client.execute_command(*set_user("m", role, "pw"))
    place = url.partition("@")[2]
    Client("m", f"redis+cluster://m-producer:pw@{place}").push(features={"a": 1.0}, target=1)
    learned = drain(owner(f"redis+cluster://m-worker:pw@{place}", "m"))
    assert learned.n_examples == 1
    node.client.execute_command("ACL", "SETUSER", "m-producer", "-cluster|slots")
    with pytest.raises(ServerError, match="must let this user send CLUSTER SLOTS"):
        Client("m", f"redis+cluster://m-producer:pw@{place}/").push(features={"a": 1.0}, target=1)
    node.client.config_set("cluster-announce-port", 1)  # as behind an address that is good inside only
    monkeypatch.setenv("REDIS_URL", url)
    told = invoke_failing("create", "other")
    assert "no connection to the primary of the model's keys (the cluster says that it is at 127.0.0.1:1: " in told
    node.client.config_set("cluster-announce-port", 0)


def test_an_address_that_is_down_is_no_reason_to_fail(cluster):
    url = cluster.url.replace("@", "@127.0.0.1:1,")
    with connection.client(url) as client:
        assert client.ping()
