"""The ids of entries, which whoever adds an entry may choose: the last possible one, and times that are still to come."""

import json

import msgpack
import pytest
import redis

from learner.client import Client
from learner.commands.show import status_lines
from learner.service import checking, measuring
from learner.service.owning import own_without_worker
from learner.service.store import Store
from learner.service.store.position import LAST
from learner.service.store.repair import renew
from tests.command_line import invoke
from tests.conftest import state_bytes, url, wait_until
from tests.service.store.conftest import losing
from tests.streams import KEYS, zipf_examples

EXAMPLES = zipf_examples(60, 5, 1)
YEAR_9999 = 253_370_764_800_000  # in ms


@pytest.fixture(autouse=True)
def environment_of_commands(redis_url, monkeypatch):
    """Our commands find the server, and workers look at once, in a pause, whether the stream fits."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    monkeypatch.setattr(checking, "CHECK_SECONDS", 0.0)


def push(client, examples, **options) -> None:
    for example in examples:
        client.xadd(KEYS.examples, {"batch": example}, **options)


def lag(client) -> int:
    return Store(client, "m").status()["lag_entries"]


def replies(client, key="learner:replies:me"):
    return [json.loads(reply) for reply in client.lrange(key, 0, -1)]


@pytest.mark.parametrize(
    "last", [LAST, b"18446744073709551615-18446744073709551613", b"18446744073709551614-18446744073709551615"]
)
def test_the_last_ids_sent_by_a_producer_end_nothing(client, create, serving, committed, last, capsys):
    """Also with many entries in the stream, which are read by a script."""
    model = create()
    push(client, EXAMPLES[:30])
    with serving():
        wait_until(lambda: lag(client) == 0)
        client.xadd(KEYS.examples, {"batch": EXAMPLES[30]}, id=last)
        for example in EXAMPLES[31:]:
            wait_until(lambda data=example: pushed(client, data))
        assert Client("m", url(client), timeout=30.0).predict(features={}) is not None
        wait_until(lambda: lag(client) == 0)
    model.learn_packed(b"".join(EXAMPLES))
    assert state_bytes(committed()) == state_bytes(model)
    assert Store(client, "m").status()["ends"] == []
    assert ("begins anew" in capsys.readouterr().err) == (last != b"18446744073709551614-18446744073709551615")


def pushed(client, example) -> bool:
    try:
        client.xadd(KEYS.examples, {"batch": example})
    except redis.ResponseError as error:
        assert "last possible ID" in str(error)  # noqa: PT017
        return False
    return True


def test_a_burst_and_held_examples_end_with_the_ids_too(client, create, drain, committed):
    create()
    push(client, EXAMPLES)
    client.xadd(KEYS.examples, {"learn": "held"}, id=LAST)
    owner = drain(held_seconds=60.0)
    assert owner.model.n_held == 0
    assert committed().n_examples == 60
    push(client, EXAMPLES)
    owner = drain(held_seconds=60.0)
    assert (owner.model.n_examples, owner.model.n_held) == (120, 0)


@pytest.mark.parametrize("after", [False, True])
def test_a_renewal_whose_answer_is_lost_happens_once(client, create, drain, own, committed, monkeypatch, after):
    model = create()
    push(client, EXAMPLES[:20])
    client.xadd(KEYS.examples, {"batch": EXAMPLES[20]}, id=LAST)
    owner = own()
    renewal = owner.store.stream.renew

    def lost():
        losing(monkeypatch, after)
        return renewal()

    monkeypatch.setattr(owner.store.stream, "renew", lost)
    with pytest.raises(redis.ConnectionError):
        owner.run(burst=True)
    monkeypatch.setattr(owner.store.stream, "renew", renewal)
    if after:
        push(client, EXAMPLES[21:])
    owner.run(burst=True)
    if not after:
        push(client, EXAMPLES[21:])
        drain()
    model.learn_packed(b"".join(EXAMPLES))
    assert state_bytes(committed()) == state_bytes(model)


def test_a_server_that_lost_every_commit_is_not_taken_for_a_renewal(client, create, own, committed):
    model = create()
    push(client, EXAMPLES[:20])
    owner = own(commit_seconds=0.0)
    owner._learn(owner._read(wait=False).examples)
    owner.committing.commit()
    client.delete(KEYS.head)
    push(client, EXAMPLES[20:])
    owner.run(burst=True)
    model.learn_packed(b"".join(EXAMPLES))
    assert state_bytes(committed()) == state_bytes(model)


def test_the_last_id_sent_by_an_asker_ends_nothing(client, create, serving, committed):
    model = create()
    with serving():
        for i in range(3):
            client.xadd(KEYS.requests, {"features": "{}", "reply": "learner:replies:me", "id": str(i)}, id=LAST)
            wait_until(lambda n=i: len(replies(client)) == n + 1)
        client.xadd(KEYS.requests, {"features": "{}", "reply": "learner:replies:me"}, id="5-18446744073709551615")
        wait_until(lambda: len(replies(client)) == 4)
        wait_until(lambda: client.xlen(KEYS.requests) == 0)
        assert Client("m", url(client), timeout=30.0).predict(features={}) == 0.5
        push(client, EXAMPLES)
        wait_until(lambda: lag(client) == 0)
    model.learn_packed(b"".join(EXAMPLES))
    assert state_bytes(committed()) == state_bytes(model)
    assert all("score" in reply for reply in replies(client))


@pytest.mark.parametrize("trims", [{"maxlen": 0}, {"minid": LAST.decode()}])
def test_a_last_id_that_is_trimmed_at_once_ends_nothing_either(client, create, serving, committed, trims):
    model = create()
    with serving(commit_seconds=0.0):
        push(client, EXAMPLES[:20])
        wait_until(lambda: lag(client) == 0)
        client.xadd(KEYS.requests, {"features": "{}"}, id=LAST, approximate=False, maxlen=0)
        wait_until(lambda: asked(client))
        client.xadd(KEYS.examples, {"batch": EXAMPLES[20]}, id=LAST, approximate=False, **trims)
        if "maxlen" in trims:
            wait_until(lambda: "trouble" in client_owner(client))
            invoke("repair", "m", "--continue", code=2)  # it fits, but is at its end
        wait_until(lambda: pushed(client, EXAMPLES[21]))
        wait_until(lambda: lag(client) == 0)
    model.learn_packed(b"".join(EXAMPLES[:20] + EXAMPLES[20 + ("maxlen" in trims) : 22]))
    assert state_bytes(committed()) == state_bytes(model)


def asked(client) -> bool:
    """Tell whether a question is answered; the stream of requests may be at its end."""
    try:
        return Client("m", url(client), timeout=30.0).predict(features={}) is not None
    except redis.ResponseError as error:
        assert "last possible ID" in str(error)  # noqa: PT017
        return False


def client_owner(client) -> "dict[str, str]":
    return Store(client, "m").ownership.read().fields


def test_status_and_repair_name_an_end_and_repair_renews_what_is_not_learned(client, create, drain, committed):
    model = create()
    push(client, EXAMPLES[:20])
    drain()
    push(client, EXAMPLES[20:40])
    client.xadd(KEYS.examples, {"batch": EXAMPLES[40], "id": "x"}, id=LAST)
    client.xadd(KEYS.requests, {"features": "{}"}, id=LAST)
    status = Store(client, "m").status() | {"task": "binary", "loss": "logistic"}
    assert [end.split()[1] for end in status["ends"]] == [KEYS.examples, KEYS.requests]
    assert sum(line.startswith("end  ") for line in status_lines(status)) == 2
    assert "'learner repair m --renew' now" in invoke("repair", "m", code=2).stdout
    head = client.hgetall(KEYS.head)
    assert json.loads(invoke("repair", "m", "--renew", "--json").stdout)["end"] is None
    assert lag(client) == Client("m", url(client)).lag() == 21
    assert client.hgetall(KEYS.head) == head | {b"cursor": b"0-0", b"entries": b"0"}
    assert int(client.xinfo_stream(KEYS.examples)["last-generated-id"].partition(b"-")[0]) < YEAR_9999
    push(client, EXAMPLES[41:])
    drain()
    model.learn_packed(b"".join(EXAMPLES))
    assert state_bytes(committed()) == state_bytes(model)
    assert client.keys("*renewed*") == []
    invoke("repair", "m")


def test_what_is_pushed_during_a_renewal_is_renewed_too(client, create, drain, committed, monkeypatch):
    model = create()
    push(client, EXAMPLES[:10])
    drain()
    client.xadd(KEYS.examples, {"batch": EXAMPLES[10]}, id=f"{YEAR_9999}-0")
    store, more = Store(client, "m"), iter(EXAMPLES[11:15])
    own_without_worker(store, "a repair")
    beat = store.ownership.beat

    def beaten():
        push(client, [next(more, EXAMPLES[-1])] if more else [])
        beat()

    beats = iter([beaten, beaten, beat])
    monkeypatch.setattr(store.ownership, "beat", lambda: next(beats, beat)())
    renew(store)
    store.ownership.release()
    drain()
    model.learn_packed(b"".join(EXAMPLES[:13]))
    assert state_bytes(committed()) == state_bytes(model)


def test_a_stream_that_lost_entries_is_not_renewed(client, create):
    create()
    push(client, EXAMPLES)
    client.xtrim(KEYS.examples, maxlen=10, approximate=False)
    assert (
        "50 entries of stream learner:{m}:examples were deleted before they were learned"
        in invoke("repair", "m", "--renew", code=2).stderr
    )


def test_a_deadline_is_counted_from_when_a_request_is_read_where_its_id_is_still_to_come(client, create, own):
    create()
    fields = {"features": "{}", "reply": "learner:replies:me"}
    for i, deadline in enumerate([60_000, -1]):
        client.xadd(KEYS.requests, fields | {"id": i, "deadline_ms": deadline}, id=f"{YEAR_9999}-{i}")
    own().run(burst=True)
    assert ["score" in reply for reply in replies(client)] == [True, False]
    assert "deadline_ms" in replies(client)[1]["error"]


def test_late_blocks_are_measured_by_the_server_s_clock_where_ids_are_still_to_come(client, create, own, monkeypatch):
    monkeypatch.setattr(measuring, "BLOCK_MS", 1)
    create()
    client.xadd(KEYS.examples, {"batch": b"".join(zipf_examples(1000, 3, 2))})
    owner = own(late_every=16)
    for number in (1, 2):  # 15 blocks of a millisecond each pass in between
        push(client, [msgpack.packb([1, {"a": 1}])], id=f"{YEAR_9999}-{number}")
        owner.run(burst=True)
        owner = own(late_every=16)
    assert owner.measuring._next_ms < YEAR_9999
    assert owner.answering.clock.came_ms(b"%d-1" % YEAR_9999) < YEAR_9999
