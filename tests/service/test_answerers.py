"""Answerers beside a worker, on a real server: what they answer, whose turn it is, and that each question is answered once."""

import json
import time

import pytest

from learner.client import Client
from learner.errors import LearnerError
from learner.model import Model
from learner.packing import pack
from learner.service import answering as answering_module
from learner.service import liveness, sharing
from learner.service.answerer import Answerer
from learner.service.lease import process_name
from learner.service.store import Store, contents
from learner.service.store.connection import client as connect
from learner.service.wire import ANSWERERS, Keys
from tests.conftest import commit, state_bytes, wait_until
from tests.streams import KEYS, zipf_examples

REPLY = KEYS.replies + "me"


def ask(client, **fields):
    """Add a request; return its id."""
    return client.xadd(KEYS.requests, {"features": '{"n1": 1}', "reply": REPLY, **fields})


def replies(client):
    return [json.loads(reply) for reply in client.lrange(REPLY, 0, -1)]


def answered(client, n):
    """Wait until there are n replies, and nothing waits; return the replies."""
    wait_until(lambda: client.llen(REPLY) >= n and client.xlen(KEYS.requests) == 0)
    assert client.llen(REPLY) == n
    return replies(client)


def left(client):
    """Whether the worker leaves questions to answerers."""
    return client.hget(KEYS.owner, "answered_by") is not None


@pytest.fixture
def shared(redis_url, create):
    """Make a model and answerers of it that do nothing by themselves; they count as dead, as they give no sign of life."""
    create(featurizer="fields")

    def made(lives=False):
        answerer = Answerer(Store(connect(redis_url), "m"))
        answerer.tailing.look()
        answerer.tailing.catch_up()
        answerer.answering.may = True
        if lives:
            answerer.store.answerers.note("running")
        return answerer

    return made


# ---- what is answered ----
def test_each_answer_is_that_of_the_commit_that_it_names(client, redis_url, create, answering):
    model = create()
    owner, data = Store(client, "m"), zipf_examples(400, 8, 1)
    owner.ownership.take_over()
    owner.ownership.note_leaving(True)
    features = {f"n{i}": 1.0 for i in range(1, 6)}
    expected = {0: Model.from_spec(model.to_spec()).answer(pack(features))["score"]}
    with answering(), answering():
        asker = Client("m", redis_url, timeout=30.0)
        for i in range(40):
            model.learn_packed(b"".join(data[10 * i : 10 * i + 10]))
            commit(owner, model, b"0-0", 0)
            loaded = Client("m", redis_url).committed()
            expected[owner.commits.number] = loaded.answer(pack(features))["score"]
            for _ in range(3):
                reply = asker.ask({"features": json.dumps(features)})
                assert reply["score"] == expected[reply["commit"]]
    assert reply["commit"] > 30
    assert len(set(expected.values())) > 20


def test_a_reply_to_many_is_that_of_one_commit(client, shared, monkeypatch):
    """Where it takes long, the next commit waits for it; what has not begun waits for the commit."""
    answerer = shared()
    queue, model = answerer.answering, Model.from_spec(answerer.tailing.spec)
    slow = queue.model.answer

    def slowly(packed, explain=False):
        time.sleep(0.002)
        return slow(packed, explain)

    monkeypatch.setattr(queue.model, "answer", slowly)
    monkeypatch.setattr(queue.model, "answer_each", lambda packed: map(slowly, packed))
    batch = pack({"a": 1.0}) * 120
    for name in ("begun", "later"):
        client.xadd(KEYS.requests, {"batch": batch, "reply": REPLY, "id": name})
    owner = Store(client, "m")
    owner.ownership.take_over()
    owner.ownership.note_leaving(True)
    requests = queue.read(1)
    queue.take(requests[:1])
    assert queue.many[0].reply.seconds > 0.0
    model.learn_packed(b"".join(zipf_examples(40, 8, 1)))
    commit(owner, model, b"0-0", 0)
    assert answerer.tailing.look()
    assert not queue.is_between()
    queue.take(requests[1:])
    ask(client, id="single", features='{"a": 1}')
    queue.take(queue.sharing.read(None))
    while not queue.is_between():
        queue.take([])
    assert [reply["id"] for reply in replies(client)] == ["single", "begun"]
    answerer.tailing.catch_up()
    queue.go_on()
    while not queue.is_idle:
        queue.take([])
    single, begun, later = replies(client)
    assert (single["commit"], begun["commit"], later["commit"]) == (0, 0, 1)
    assert set(begun["scores"]) == {0.0}
    assert set(later["scores"]) == {model.answer(pack({"a": 1.0}))["score"]} != {0.0}


def test_a_candidate_is_never_answered_for(shared):
    from click.testing import CliRunner

    from learner.commands import main

    result = CliRunner().invoke(main, ["answer", "m/new"])
    assert (result.exit_code, "must be one of its own" in result.output) == (2, True)


# ---- whose turn it is ----
def test_the_worker_leaves_questions_while_answerers_live_and_takes_them_up_again(client, create, serving, answering):
    create(featurizer="fields")
    with serving() as worker:
        for n in (1, 2, 3):  # that the worker has answered
            wait_until(lambda: not left(client))
            ask(client)
            answered(client, 2 * n - 1)
            wait_until(lambda n=n: worker.counts.request_seconds.n == n)
            with answering() as one:
                wait_until(lambda: left(client))
                ask(client)
                answered(client, 2 * n)
                wait_until(lambda: one.counts.request_seconds.n == 1)
                assert worker.counts.n_answerers == 1
            assert worker.counts.request_seconds.n == n


@pytest.mark.parametrize("learned", [False, True])
def test_answers_go_on_while_no_worker_runs(client, create, drain, answering, learned):
    create(featurizer="fields")
    if learned:
        client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": "1"})
        drain()
    with answering():
        ask(client)
        (reply,) = answered(client, 1)
    assert reply["commit"] == learned
    assert "notice" not in reply


def test_a_dead_owner_s_questions_are_answered_after_its_lease(client, create, answering):
    create(featurizer="fields")
    owner = Store(client, "m")
    owner.ownership.take_over(0.3)  # it gives no sign of life
    asked = time.monotonic()
    with answering():
        ask(client)
        answered(client, 1)
        assert time.monotonic() - asked > 0.2
        owner.ownership.beat()
        wait_until(lambda: not answering_now(client))


def answering_now(client):
    """Whether a question is answered within a moment; it is removed otherwise."""
    before = client.llen(REPLY)
    request = ask(client)
    time.sleep(0.1)
    client.xdel(KEYS.requests, request)
    return client.llen(REPLY) > before


def test_an_owner_that_died_on_this_machine_is_known_to_be_dead(client, create, answering):
    create(featurizer="fields")
    Store(client, "m").ownership.take_over()
    client.hset(KEYS.owner, "process", process_name().rpartition(" ")[0] + " 1")
    with answering():
        ask(client)
        answered(client, 1)


def test_the_next_owner_decides_anew(client, create, own, answering):
    """A note that was left leaves nothing unanswered, and one that fits leaves no gap."""
    create(featurizer="fields")
    client.hset(KEYS.owner, "answered_by", "answerers")
    ask(client)
    own().run(burst=True)
    answered(client, 1)
    assert not left(client)
    client.hset(KEYS.owner, "answered_by", "answerers")
    with answering():
        ask(client)
        own().run(burst=True)
        assert left(client)
        answered(client, 2)


def test_a_worker_that_only_answers_leaves_questions_too_and_replies_say_that_learning_has_ended(
    client, create, serving, answering
):
    create(featurizer="fields")
    client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": "1"})
    with serving() as worker:
        wait_until(lambda: client.hget(KEYS.head, "entries") == b"1")
        client.delete(KEYS.examples)
        wait_until(lambda: client.hget(KEYS.owner, "trouble"))
        with answering():
            wait_until(lambda: left(client))
            before = worker.counts.request_seconds.n
            ask(client)
            (reply,) = answered(client, 1)
            assert worker.counts.request_seconds.n == before
        wait_until(lambda: not left(client))
        ask(client)
        assert "learning has ended" in answered(client, 2)[1]["notice"]
    assert reply["notice"].endswith("answers are those of commit 1")


# ---- once ----
def test_a_frozen_answerer_sends_nothing_that_another_one_has_answered(client, shared):
    frozen, other = shared(), shared()
    for i in range(3):
        ask(client, id=str(i))
    frozen.answering.waiting.extend(frozen.answering.read(1))
    time.sleep(sharing.IDLE_MS / 1e3 + 0.1)
    other.answering.take(other.answering.read(1))
    assert [reply["id"] for reply in answered(client, 3)] == ["0", "1", "2"]
    frozen.answering.take([])
    assert frozen.answering.is_idle
    answered(client, 3)
    assert (frozen.counts.request_seconds.n, other.counts.request_seconds.n) == (0, 3)
    assert client.xpending(KEYS.requests, ANSWERERS)["pending"] == 0


def test_a_frozen_answerer_sends_nothing_once_the_worker_answers_again(client, shared, own):
    frozen = shared()
    ask(client, id="0")
    frozen.answering.waiting.extend(frozen.answering.read(1))
    owner = own()
    frozen.answering.take([])
    assert (replies(client), frozen.answering.may, client.xlen(KEYS.requests)) == ([], False, 1)
    owner.run(burst=True)
    answered(client, 1)


def test_a_frozen_worker_sends_nothing_that_an_answerer_has_answered(client, shared, own):
    owner, queue = own(lease_seconds=0.2), None
    owner.leaving.look_if_due()
    ask(client, id="0")
    queue = owner.answering
    queue.waiting.extend(queue.store.stream.read_requests(b"0-0"))
    owner.owning.close()  # no sign of life any more
    answerer = shared()
    while not answerer.answering.dead:
        answerer._looked_at = -1.0
        answerer._look_if_due()
    answerer.answering.take(answerer.answering.read(1))
    answered(client, 1)
    queue.answer(examples_wait=False)
    answered(client, 1)
    assert queue.is_idle


def test_what_an_answerer_let_go_is_not_lost(client, shared, own):
    """It had read the questions before the worker took them up, and the worker leaves them again without having read them."""
    answerer = shared(lives=True)
    for i in range(3):
        ask(client, id=str(i))
    answerer.answering.waiting.extend(answerer.answering.read(1))
    owner = own()
    answerer.answering.take([])
    answerer.answering.drop()
    owner.leaving.look_if_due()
    assert left(client)
    time.sleep(sharing.IDLE_MS / 1e3 + 0.1)
    answerer.answering.take(answerer.answering.read(1))
    assert [reply["id"] for reply in answered(client, 3)] == ["0", "1", "2"]


def test_what_takes_long_is_not_taken_over_from_an_answerer_that_lives(client, shared):
    busy, other = shared(lives=True), shared(lives=True)
    ask(client)
    busy.answering.waiting.extend(busy.answering.read(1))
    time.sleep(sharing.IDLE_MS / 1e3 + 0.1)
    assert other.answering.read(1) == []
    busy.answering._hold_if_due()
    assert other.answering.sharing.pending(sharing.IDLE_MS) == []


def test_a_question_that_kills_is_tried_alone_and_then_refused_in_words(client, shared, monkeypatch):
    monkeypatch.setattr(sharing, "IDLE_MS", 0)
    for i in range(4):
        ask(client, id=str(i))
    taken = [shared().answering.read(1) for _ in range(2)]  # each dies with what it has
    assert [len(each) for each in taken] == [4, 4]
    third = shared().answering
    alone = third.read(1)
    assert [fields[b"id"] for _, fields in alone] == [b"0"]
    assert third.read(1) == []  # not before that one is answered; it dies, too
    last = shared().answering
    for _ in range(8):
        last.take(last.read(1))
    refused, *others = answered(client, 4)
    assert refused["error"] == "request must not kill the answerer (it did)"
    assert [reply["id"] for reply in others] == ["1", "2", "3"]
    assert all("score" in reply for reply in others)


def test_the_last_possible_id_ends_nothing(client, create, answering):
    create(featurizer="fields")
    last = "18446744073709551615-18446744073709551615"
    with answering():
        for i in range(3):
            client.xadd(KEYS.requests, {"features": "{}", "reply": REPLY}, id=last)
            wait_until(lambda n=i + 1: client.llen(REPLY) == n)
        client.xadd(KEYS.requests, {"features": "{}", "reply": REPLY}, id=last, maxlen=0)
        wait_until(lambda: client.xinfo_stream(KEYS.requests)["last-generated-id"] != last.encode())
        ask(client)
        answered(client, 4)


def test_a_stream_that_is_gone_or_something_else_is_survived(client, create, answering, capsys):
    create(featurizer="fields")
    with answering():
        ask(client)
        answered(client, 1)
        client.delete(KEYS.requests)
        time.sleep(0.05)
        client.set(KEYS.requests, "1")
        time.sleep(0.05)
        client.delete(KEYS.requests)
        ask(client)
        answered(client, 2)
    assert "must hold a stream" in capsys.readouterr().err


def test_a_group_that_somebody_destroys_loses_nothing(client, shared, monkeypatch):
    monkeypatch.setattr(sharing, "HOLD_SECONDS", -1.0)
    queue = shared(lives=True).answering
    for i in range(3):
        ask(client, id=str(i))
    queue.waiting.extend(queue.read(1))
    client.xgroup_destroy(KEYS.requests, ANSWERERS)
    assert queue._orphans_if_due() == []
    queue._hold_if_due()
    assert queue.sharing.claim([b"1-0"], 0) == []
    ask(client, id="3")
    other = shared(lives=True).answering
    other.take(other.read(1))
    queue.take([])
    assert [reply["id"] for reply in answered(client, 4)] == ["0", "1", "2", "3"]


# ---- as a worker answers ----
def test_answers_are_kept_until_their_outcomes_come(client, create, serving, answering):
    model = create(featurizer="fields")
    with serving() as worker, answering() as one:
        wait_until(lambda: left(client))
        for name in ("one", "two", "one"):
            ask(client, outcome_id=name)
        answered(client, 3)
        assert client.zcard(KEYS.kept) == 2
        client.xadd(KEYS.examples, {"outcome": "one", "target": "1"})
        wait_until(lambda: client.hget(KEYS.head, "entries") == b"1")
        model.learn_one({"n1": 1.0}, 1)
        assert state_bytes(worker.model) == state_bytes(Model._restored(model.to_spec(), model.state()))
        wait_until(lambda: client.zcard(KEYS.kept) == 1)
        wait_until(lambda: one.store.commits.number == 1)
        for name in ("three", "one"):  # after the outcome of one
            ask(client, outcome_id=name)
        answered(client, 5)
        assert client.zrange(KEYS.kept, 0, -1) == [b"two", b"three"]


def test_what_is_late_or_too_much_is_refused(client, create, answering, monkeypatch):
    create(featurizer="fields")
    monkeypatch.setattr(answering_module, "MAX_WAITING", 30)
    monkeypatch.setattr(sharing, "BOUND_SECONDS", -1.0)
    for i in range(100):
        ask(client, id=str(i))
    ask(client, deadline_ms="-1000")
    with answering():
        *found, late = answered(client, 101)
    errors = ["error" in reply for reply in found]
    assert errors[:16] == [False] * 16  # those read before it was known how many there are
    assert sum(errors) == 55  # so that 30 are left
    assert not any(errors[71:])
    assert "its deadline_ms" in late["error"]


def test_requests_for_many_have_fair_turns(client, create, answering):
    create()
    with answering():
        client.xadd(KEYS.requests, {"batch": b"\x80" * 9000, "reply": REPLY, "id": "huge", "explain": "1"})
        ask(client, id="one")
        found = answered(client, 2)
    assert {reply["id"] for reply in found} == {"huge", "one"}
    assert len(next(reply for reply in found if reply["id"] == "huge")["predictions"]) == 9000


def test_an_answerer_with_much_in_hand_takes_no_more(client, shared, monkeypatch):
    monkeypatch.setattr(sharing, "MAX_HELD_BYTES", 100)
    monkeypatch.setattr(answering_module, "ANSWER_SECONDS", 0.0)
    first, second = shared(lives=True).answering, shared(lives=True).answering
    client.xadd(KEYS.requests, {"batch": b"\x80" * 500, "reply": REPLY, "id": "many"})
    first.take(first.read(1))
    ask(client, id="one")
    assert first.read(1) == []
    assert len(second.read(1)) == 1
    assert not first.is_between() or not first.many
    first.go_on()
    monkeypatch.setattr(answering_module, "ANSWER_SECONDS", 1.0)
    first.take([])
    assert (first.is_idle, first._n_many_bytes) == (True, 0)


# ---- what is seen of it ----
def test_status_and_list_show_answerers_their_commit_and_its_age(client, create, drain, answering):
    from learner.commands.show import status_lines
    from learner.service.store.listing import rows

    create()
    client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": "1"})
    drain()
    store = Store(client, "m")
    with answering(), answering():
        wait_until(lambda: all(each.get("commit") == 1 for each in store.status()["answerers"]))
        ask(client)
        answered(client, 1)
        status = store.described()
        (row,) = rows(client)
        assert liveness.answering(status)[0]
    assert [each["lives"] for each in status["answerers"]] == [True, True]
    assert all(0.0 <= each["age"] < 60.0 for each in status["answerers"])
    assert "answerers         2 live, from commit 1 on, made" in "\n".join(status_lines(status))
    assert (row["answerers"], row["requests_waiting"]) == (2, 0)
    assert "answerers         0 live" in "\n".join(status_lines(store.described()))
    assert liveness.answering(store.described()) == (False, "no answerer works for the model")


def test_another_model_takes_the_place_of_the_one_that_is_followed(client, create, answering, drain):
    create(featurizer="fields")
    with answering() as one:
        client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": "3"})
        Store(client, "n").create(Model("regression").to_spec())
        client.rename(Keys("n").spec, KEYS.spec)  # in one step: an answerer ends when its model is gone
        drain()
        wait_until(lambda: one.tailing.model.task == "regression")
        ask(client)
        (reply,) = answered(client, 1)
    assert reply["task"] == "regression"


def test_a_model_that_is_deleted_ends_its_answerers_and_keeps_no_key(client, create, answering):
    create()

    def delete_it():
        with answering() as one:
            store = Store(client, "m")
            store.ownership.take_over()
            contents.delete(store)
            wait_until(lambda: one.tailing._has is None)

    with pytest.raises(LearnerError, match="does not exist"):
        delete_it()
    assert client.keys("*") == []
