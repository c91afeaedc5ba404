"""What strangers, floods and mistakes of producers can't do, on a real server."""

import json
import os
import signal
import time

import msgpack
import pytest
from click.testing import CliRunner

import worker as module
from learner.client import Client
from learner.commands import main
from learner.errors import RejectedError
from learner.packing import pack
from learner.service.store import Store, writing
from learner.service.store.attempts import Attempt, Attempts
from learner.service.store.connection import client as connect
from learner.service.store.rejected import listed, put_back
from learner.service.trial import how_it_ends
from learner.service.wire import MAX_BATCH, MAX_ENTRY_BYTES, REJECTED_BYTES, REPLIES, Keys
from tests.conftest import state_bytes, wait_until
from tests.reliability.hostile import fuzz, run_deadly
from worker import MAX_TRIALS, Worker

KEYS = Keys("m")
GOOD, BAD = msgpack.packb([1, {"a": 1}]), msgpack.packb([7, {"a": 1}])


def rejected(client):
    return [fields for _, fields in client.xrange(KEYS.rejected)]


def replies(client, key="me"):
    return [json.loads(reply) for reply in client.lrange(REPLIES + key, 0, -1)]


# ---- mutated entries -------------------------------------------------------------------------------------------------------
def test_mutated_entries_are_learned_or_rejected_as_a_strict_decoder_of_its_own_says():
    counts, examples = fuzz(1500, seed=int(time.time()) // 3600)
    assert not examples, examples[0]
    assert counts["learned"] > 300
    assert counts["rejected"] > 300
    assert counts["crash"] == counts["hang"] == counts["wrong"] == 0


# ---- what is read at once --------------------------------------------------------------------------------------------------
def test_entries_are_read_until_there_are_so_many_bytes(client, create):
    create()
    store = Store(client, "m")
    for size in (1, 700_000, 700_000, 700_000, 700_000):
        client.xadd(KEYS.examples, {"batch": bytes(size)})
    client.xadd(KEYS.requests, {"record": "{}"})
    examples, requests = store.stream.read(b"0-0", b"0-0", 1000, 1000, None)
    assert [len(fields[b"batch"]) for _, fields in examples] == [1, 700_000, 700_000, 700_000]
    assert requests == client.xrange(KEYS.requests)
    again, requests = store.stream.read(examples[-1][0], None, 1000, 1000, None)
    assert again == client.xrange(KEYS.examples)[-1:]
    assert requests == []
    nothing = store.stream.read(again[0][0], requests_after=None, n_examples=1000, n_requests=16, block_ms=None)
    assert nothing == ([], [])


def test_of_an_entry_too_large_only_its_start_is_read_and_it_is_rejected_with_its_size(client, create):
    create()
    size = 2 * MAX_ENTRY_BYTES
    large = client.xadd(KEYS.examples, {"batch": b"\x92" * size})
    client.xadd(KEYS.examples, {"batch": GOOD})
    examples, _ = Store(client, "m").stream.read(b"0-0", b"0-0", 1000, 16, None)
    assert examples[0] == (large, {b"batch": b"\x92" * REJECTED_BYTES, b"(bytes)": b"%d" % (size + 5)})
    owner = Worker(Store(client, "m"), 1000.0)
    owner.run(burst=True)
    (found,) = rejected(client)
    assert found[b"reason"].decode() == f"entry must be at most {MAX_ENTRY_BYTES} bytes (got {size + 5})"
    assert (len(found[b"data"]), found[b"bytes"]) == (REJECTED_BYTES, b"%d" % (size + 5))
    assert owner.model.n_examples == 1


def test_a_batch_of_too_many_is_learned_up_to_the_bound_and_the_rest_is_rejected_as_one(client, create, drain):
    reference = create()
    client.xadd(KEYS.examples, {"batch": GOOD * (MAX_BATCH + 3)})
    client.xadd(KEYS.examples, {"batch": b"\x00" * (MAX_BATCH + 3)})
    owner = Worker(Store(client, "m"), 1000.0, max_rejected=1.0)
    owner.run(burst=True)
    assert (owner.model.n_examples, owner.model.n_rejected) == (MAX_BATCH, 1 + MAX_BATCH + 1)
    assert rejected(client)[0][b"data"] == GOOD * 3
    assert len(rejected(client)) == 1 + module.MAX_REJECTED_AN_ENTRY
    reference.learn_packed(GOOD * MAX_BATCH)
    assert owner.model.progressive_loss == reference.progressive_loss


def test_what_was_rejected_is_committed_before_it_fills_the_memory(client, create, monkeypatch):
    create()
    monkeypatch.setattr(module, "MAX_REJECTED_BYTES", 100_000)
    for _ in range(40):
        client.xadd(KEYS.examples, {"batch": b"\xc1" + bytes(30_000)})
    owner = Worker(Store(client, "m"), 1000.0)
    owner.run(burst=True)
    assert len(rejected(client)) == 40
    assert int(client.hget(KEYS.head, "commits")) >= 2
    assert owner.rejected_bytes == 0


# ---- a stream gone bad -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("field", ["batch", "records", "features"])
def test_more_than_a_share_of_rejections_stops_the_worker_before_they_are_committed(client, create, drain, field):
    create()
    pipe = client.pipeline(transaction=False)
    for target in [1] * 60 + [7] * 100:
        if field == "features":
            pipe.xadd(KEYS.examples, {"features": pack({"a": 1}), "target": str(target)})
        else:
            pipe.xadd(KEYS.examples, {field: GOOD if target == 1 else BAD})
    pipe.execute()
    owner = Worker(Store(client, "m"), 0.0, max_rejected=0.5, rejected_window=50)
    with pytest.raises(
        RejectedError, match=r"at most a share of 0.5 \(got \d+ of the last \d\d\).*target must be -1, 0, 1"
    ):
        owner.run(burst=True)
    with pytest.raises(RejectedError):
        owner.commit()
    assert len(rejected(client)) <= 30
    assert client.xlen(KEYS.examples) >= 100
    assert b"worker" not in client.hgetall(KEYS.owner)
    again = Worker(Store(client, "m"), 1000.0, max_rejected=1.0)
    again.run(burst=True)
    assert (again.model.n_examples, again.model.n_rejected) == (60, 100)


def test_fewer_rejections_than_the_share_or_than_the_window_stop_nothing(client, create):
    create()
    client.xadd(KEYS.examples, {"batch": BAD * 49})
    for _ in range(30):
        client.xadd(KEYS.examples, {"batch": (GOOD + BAD) * 10})
    owner = Worker(Store(client, "m"), 1000.0, max_rejected=0.6, rejected_window=600)
    owner.run(burst=True)
    assert (owner.model.n_examples, owner.model.n_rejected) == (300, 349)


def test_the_command_exits_with_5_and_says_what_to_do(client, redis_url, create, start):
    create(featurizer="place")
    client.xadd(KEYS.examples, {"records": msgpack.packb([1, {"latitude": 1}]) * 300})
    process = start(redis_url, "worker", "m", "--burst", "--rejected-window", "200", "--max-rejected", "0.1")
    _, err = process.communicate(timeout=60)
    assert process.returncode == 5
    assert err.splitlines()[-1].startswith(
        "Error: examples rejected must be at most a share of 0.1 (got 300 of the last 300)"
    )
    assert "field 'lat' is required" in err
    assert "--max-rejected 1" in err
    assert client.xlen(KEYS.examples) == 1
    assert not client.exists(KEYS.rejected)


# ---- what kills ------------------------------------------------------------------------------------------------------------
def test_how_a_process_ends_is_told():
    assert how_it_ends(lambda: None, 10) is None
    assert how_it_ends(lambda: os.kill(os.getpid(), signal.SIGKILL), 10) == "SIGKILL"
    assert how_it_ends(lambda: 1 / 0, 10) == "an error that nothing caught"
    assert how_it_ends(lambda: time.sleep(60), 0.1) == "no end within 0.1 s"


def test_an_entry_that_kills_is_quarantined_after_the_second_time_and_comes_back_by_its_id_only(
    client, redis_url, create
):
    reference = create(featurizer="fields")
    client.xadd(KEYS.examples, {"record": '{"a": 1}', "target": "1"})
    deadly = client.xadd(KEYS.examples, {"record": '{"deadly": 1}', "target": "1"})
    client.xadd(KEYS.examples, {"record": '{"a": 2}', "target": "0"})
    assert [run_deadly(redis_url, "SIGKILL") for _ in range(3)] == [-9, -9, 0]
    ((rejected_id, found),) = client.xrange(KEYS.rejected)
    assert (found[b"entry"], found[b"stage"]) == (deadly, b"killed")
    assert b"SIGKILL" in found[b"reason"]
    assert msgpack.unpackb(found[b"data"]) == {"record": b'{"deadly": 1}', "target": b"1"}
    reference.learn_one({"a": 1}, 1)
    reference.count_rejected(1)
    reference.learn_one({"a": 2}, 0)
    assert state_bytes(Client("m", redis_url).committed()) == state_bytes(reference)
    store = Store(client, "m")
    assert list(put_back(store, None)) == [(rejected_id.decode(), "it killed a worker: put back only by its id")]
    assert list(put_back(store, [rejected_id.decode()])) == [(rejected_id.decode(), None)]


def test_a_request_that_kills_is_refused_the_third_time(client, redis_url, create):
    create(featurizer="fields")
    for key in ("before", "deadly", "after"):
        client.xadd(KEYS.requests, {"record": json.dumps({key: 1}), "reply": REPLIES + key})
    assert [run_deadly(redis_url, "SIGSEGV") for _ in range(3)] == [-11, -11, 0]
    assert replies(client, "before")[0]["prediction"] == replies(client, "after")[0]["prediction"] == 0.5
    assert replies(client, "deadly") == [{"error": "request must not kill the worker (it did)"}]


def test_after_a_clean_stop_nothing_is_suspected_and_after_a_crash_what_was_read_last(client, create, monkeypatch):
    reference = create()
    ids = [client.xadd(KEYS.examples, {"batch": msgpack.packb([1, {f"n{i}": 1}])}) for i in range(100)]
    first = Worker(Store(client, "m"), 1000.0)
    first.begin()
    assert (first.last, first.n_suspects) == (Attempt(), 0)
    for _ in range(2):
        examples, _ = first.store.stream.read(first.cursor, None, 16, 16, None)
        first.learn(examples)
    marked = []
    monkeypatch.setattr(Attempts, "mark", lambda self, entry_id, times: marked.append((entry_id, times)))
    second = Worker(Store(client, "m"), 1000.0)
    second.run(burst=True)
    assert second.last.reading == ids[15]
    assert marked == [(entry_id, 1) for entry_id in ids[16:]]
    for i in range(100):
        reference.learn_one({f"n{i}": 1}, 1)
    assert state_bytes(second.model) == state_bytes(reference)
    third = Worker(Store(client, "m"), 1000.0)
    third.begin()
    assert third.n_suspects == 0


def test_an_entry_that_was_begun_before_is_learned_if_it_survives_its_trial(client, create):
    create()
    ids = [client.xadd(KEYS.examples, {"batch": GOOD}) for _ in range(3)]
    client.hset(KEYS.attempt, mapping={"worker": "x", "reading": "0-0", "entry": ids[1], "times": 1})
    owner = Worker(Store(client, "m"), 1000.0)
    owner.run(burst=True)
    assert (owner.model.n_examples, owner.model.n_rejected) == (3, 0)
    client.xadd(KEYS.examples, {"batch": GOOD}, id=f"{int(ids[2].partition(b'-')[0]) + 1000}-0")
    client.hset(
        KEYS.attempt,
        mapping={"worker": "x", "entry": client.xrevrange(KEYS.examples, count=1)[0][0], "times": MAX_TRIALS},
    )
    owner = Worker(Store(client, "m"), 1000.0)
    owner.run(burst=True)
    assert (owner.model.n_examples, owner.model.n_rejected) == (3, 1)
    assert rejected(client)[0][b"reason"].endswith(b"the trials with it)")


# ---- requests --------------------------------------------------------------------------------------------------------------
def test_a_request_past_its_deadline_is_refused_and_one_before_it_answered(client, create):
    create()
    now = int(Store(client, "m").requests.now_ms())
    for i, (age, given) in enumerate([(10_000, "5000"), (9_000, "60000"), (8_000, "soon"), (7_000, None)]):
        fields = {"record": "{}", "reply": REPLIES + "me", "id": str(i)}
        client.xadd(KEYS.requests, fields | ({"deadline_ms": given} if given else {}), id=f"{now - age}-0")
    Worker(Store(client, "m"), 1000.0).run(burst=True)
    late, *answered = replies(client)
    assert late["id"] == "0"
    assert "request must be answered within its deadline_ms (it is 5" in late["error"]
    assert [reply.get("prediction") for reply in answered] == [0.5] * 3
    assert client.xlen(KEYS.requests) == 0


def test_when_too_many_wait_the_oldest_are_refused_and_all_get_an_answer(client, create, monkeypatch):
    create()
    monkeypatch.setattr(module, "MAX_WAITING", 30)
    for i in range(100):
        client.xadd(KEYS.requests, {"record": "{}", "reply": REPLIES + "me", "id": str(i)})
    Worker(Store(client, "m"), 1000.0).run(burst=True)
    found = replies(client)
    assert [reply["id"] for reply in found] == [str(i) for i in range(100)]
    errors = ["error" in reply for reply in found]
    assert errors[16:70] == [True] * 54  # those read before it was known how many there are were answered
    assert errors[70:] == [False] * 30
    assert "requests that wait must be at most 30" in found[50]["error"]


def test_more_requests_than_can_be_refused_are_dropped(client, create, monkeypatch):
    create()
    monkeypatch.setattr(module, "MAX_KEPT_WAITING", 200)
    pipe = client.pipeline(transaction=False)
    for i in range(2000):
        pipe.xadd(KEYS.requests, {"record": "{}", "reply": REPLIES + "me", "id": str(i)})
    pipe.execute()
    Worker(Store(client, "m"), 1000.0).run(burst=True)
    found = [int(reply["id"]) for reply in replies(client)]
    assert found[-200:] == list(range(1800, 2000))
    assert len(found) < 1000
    assert client.xlen(KEYS.requests) == 0


def test_while_examples_wait_answers_take_no_longer_than_learning(client, create, monkeypatch):
    create()
    for _ in range(50):
        client.xadd(KEYS.requests, {"record": "{}", "reply": REPLIES + "me"})
    owner = Worker(Store(client, "m"), 1000.0)
    _, requests = owner.store.stream.read(b"0-0", b"0-0", 100, 100, None)
    owner.waiting.extend(requests)
    monkeypatch.setattr(Worker, "reply", lambda self, fields: time.sleep(0.002) or {})
    owner.answer(examples_wait=True)
    assert len(owner.waiting) == 50
    owner.credit = 0.01
    owner.answer(examples_wait=True)
    assert 40 <= len(owner.waiting) < 50
    assert owner.credit <= 0.0
    for _ in range(20):  # each for a while
        owner.answer(examples_wait=False)
    assert not owner.waiting


def test_a_reply_explains_at_most_so_much(client, create, monkeypatch):
    create()
    monkeypatch.setattr(module, "MAX_EXPLAINED", 5)
    owner = Worker(Store(client, "m"), 1000.0)
    reply = owner.reply({b"batch": pack({"a": 1, "b": 1}) * 3, b"explain": b"1"})
    assert [found and len(found) for found in reply["contributions"]] == [3, None, None]
    assert "contributions must be at most" in reply["errors"]["2"]


def test_replies_that_nobody_fetches_are_bounded(client, create, monkeypatch):
    create()
    monkeypatch.setattr(module, "MAX_REPLIES", 10)
    for i in range(50):
        client.xadd(KEYS.requests, {"record": "{}", "reply": REPLIES + "me", "id": str(i)})
    Worker(Store(client, "m"), 1000.0).run(burst=True)
    assert [reply["id"] for reply in replies(client)] == [str(i) for i in range(40, 50)]


def test_a_reply_key_or_an_id_without_end_is_cut(client, create):
    create()
    client.xadd(KEYS.requests, {"record": "{}", "reply": REPLIES + "x" * 500})
    client.xadd(KEYS.requests, {"record": "{}", "reply": REPLIES + "me", "id": "y" * 500})
    Worker(Store(client, "m"), 1000.0).run(burst=True)
    assert [reply["id"] for reply in replies(client)] == ["y" * 256]
    assert client.keys(REPLIES + "x*") == []


# ---- lag -------------------------------------------------------------------------------------------------------------------
def test_a_producer_sees_how_many_entries_are_not_learned_and_waits_for_them(client, redis_url, create, serving):
    create()
    producer = Client("m", redis_url)
    assert producer.lag() == 0
    client.xadd(KEYS.examples, {"batch": GOOD})
    assert producer.lag() == 1
    told = []

    def on_wait(lag):
        told.append(lag)
        if len(told) % 2 == 0:
            Worker(Store(client, "m"), 1000.0).run(burst=True)

    assert producer.push_many([(1, {"a": 1})] * 8000, features=True, max_lag=0, on_wait=on_wait) == 8000
    assert told == [1, 1, 20, 20]
    assert producer.lag() == 20
    assert client.xlen(KEYS.examples) == 21  # the one at the cursor, and those after it


def test_the_command_waits_too(client, redis_url, create, start_worker, tmp_path):
    create()
    (tmp_path / "x.msgpack").write_bytes(GOOD * 10_000)
    process = start_worker(redis_url, "m", "--commit-seconds", "0.02")
    runner = CliRunner(env={"REDIS_URL": redis_url})
    result = runner.invoke(main, ["push", "m", str(tmp_path / "x.msgpack"), "--max-lag", "0", "--json"])
    assert json.loads(result.stdout)["pushed"] == 10_000
    assert Client("m", redis_url).lag() <= 20
    wait_until(lambda: Client("m", redis_url).lag() == 0)
    process.terminate()
    assert process.wait(10) == 0


# ---- the rejected stream ---------------------------------------------------------------------------------------------------
@pytest.fixture
def run(redis_url):
    def ran(*arguments, code=0):
        result = CliRunner(env={"REDIS_URL": redis_url}).invoke(main, arguments)
        assert result.exit_code == code, result.output
        return result

    return ran


def reject_some(client):
    """Push what can't be learned in every form; returns how many."""
    client.xadd(KEYS.examples, {"record": '{"lat": 91}', "target": "1"})
    client.xadd(KEYS.examples, {"record": '{"lat": 1, "lon": 2}', "target": "7", "importance": "2", "id": "once"})
    client.xadd(KEYS.examples, {"features": pack({"a": 1}), "target": "x", "\xff": "1"})
    client.xadd(KEYS.examples, {"records": msgpack.packb([1, {"lat": 92, "lon": 1}]) + GOOD})
    client.xadd(KEYS.examples, {"batch": BAD + GOOD + BAD})
    return 7


def test_what_was_rejected_is_listed_for_people_and_programs(client, create, drain, run):
    create(featurizer="place")
    n = reject_some(client)
    drain()
    lines = run("rejected", "list", "m").stdout.splitlines()
    assert len(lines) == 2 * n
    assert "featurize: field" in lines[0]
    assert '{"lat": 91}' in lines[1]
    found = [json.loads(line) for line in run("rejected", "list", "m", "-n", "2", "--json").stdout.splitlines()]
    assert [one["field"] for one in found] == ["batch", "batch"]
    assert found == listed(Store(client, "m"), 2)
    assert found[0]["bytes"] == len(BAD)
    assert "does not exist" in run("rejected", "list", "other", code=2).stderr


def test_what_was_rejected_is_put_back_once_as_it_came_and_learned_when_its_reason_is_gone(client, create, drain, run):
    create(featurizer="place")
    n = reject_some(client)
    pushed = [fields for _, fields in client.xrange(KEYS.examples)]
    drain()
    client.xtrim(KEYS.examples, maxlen=0)
    assert run("rejected", "push", "m", "--all").stdout == f"put back {n} of {n} rejected entries\n"
    back = [fields for _, fields in client.xrange(KEYS.examples)]
    del pushed[1][b"id"]  # which was seen: a second one would be left out
    assert back[:3] == pushed[:3]
    assert back[3:5] == [{b"records": msgpack.packb([1, {"lat": 92, "lon": 1}])}, {b"records": GOOD}]
    assert back[5:] == [{b"batch": BAD}] * 2
    assert client.xlen(KEYS.rejected) == 0
    assert run("rejected", "push", "m", "--all", "--json").stdout == '{"model": "m", "pushed": 0, "kept": {}}\n'
    assert len(client.xrange(KEYS.examples)) == n


def test_of_those_named_each_is_put_back_or_it_is_said_why_not(client, create, drain, run):
    create()
    client.xadd(KEYS.examples, {"batch": BAD})
    client.xadd(KEYS.examples, {"batch": b"\xc1" * (REJECTED_BYTES + 1)})
    drain()
    whole, cut = (entry_id.decode() for entry_id, _ in client.xrange(KEYS.rejected))
    result = run("rejected", "push", "m", whole, cut, "1-1", code=2)
    assert result.stdout == "put back 1 of 3 rejected entries\n"
    assert (
        f"rejected entry {cut} stays: only {REJECTED_BYTES} of its {REJECTED_BYTES + 1} bytes were kept"
        in result.stderr
    )
    assert "rejected entry 1-1 stays: it is not there" in result.stderr
    assert client.xrange(KEYS.examples)[-1][1] == {b"batch": BAD}
    assert [entry_id.decode() for entry_id, _ in client.xrange(KEYS.rejected)] == [cut]
    assert "must be ids or --all (got neither)" in run("rejected", "push", "m", code=2).stderr


def test_two_who_put_back_at_once_put_back_each_entry_once(client, redis_url, create, drain):
    import threading

    create()
    for _ in range(300):
        client.xadd(KEYS.examples, {"batch": BAD})
    drain()
    client.xtrim(KEYS.examples, maxlen=0)
    done = []

    def put():
        with connect(redis_url) as connection:
            done.extend(why for _, why in put_back(Store(connection, "m"), None))

    threads = [threading.Thread(target=put) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.xlen(KEYS.examples) == done.count(None) == 300
    assert client.xlen(KEYS.rejected) == 0


def test_the_rejected_stream_is_bounded(client, create, monkeypatch):
    create()
    monkeypatch.setattr(writing, "MAX_REJECTED", 100)
    client.xadd(KEYS.examples, {"batch": BAD * 900})
    Worker(Store(client, "m"), 1000.0).run(burst=True)
    assert 100 <= client.xlen(KEYS.rejected) < 400
