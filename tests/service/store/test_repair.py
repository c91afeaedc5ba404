"""A stream that no longer fits what was learned from it: found, explained, and gone on with only as somebody chose."""

import json
import os
import socket
import time

import pytest
from click.testing import CliRunner

from learner.client import Client
from learner.commands import main
from learner.commands.show import status_lines
from learner.errors import FencedError, StoreError, StreamError
from learner.packing import pack
from learner.service import checking
from learner.service.liveness import live, ready
from learner.service.owning import own_without_worker
from learner.service.store import Store
from learner.service.store.repair import CHOICES, repair
from learner.service.wire import Keys
from tests.command_line import invoke, invoke_failing
from tests.conftest import state_bytes, url, wait_until
from tests.streams import BAD, zipf_examples

KEYS = Keys("m")
EXAMPLES = zipf_examples(40, 5, 1)
EMPTY = pack({})


def push(client, examples=EXAMPLES) -> None:
    """Push an entry an example; the client may be a transaction."""
    for example in examples:
        client.xadd(KEYS.examples, {"batch": example})


@pytest.fixture
def learned(client, create, drain):
    """A model that has learned the first 20 of the examples, an entry each."""
    model = create()
    push(client, EXAMPLES[:20])
    drain()
    model.learn_packed(b"".join(EXAMPLES[:20]))
    return model


def deleted(client) -> None:
    client.delete(KEYS.examples)


def made_again_with_fewer(client) -> None:
    client.delete(KEYS.examples)
    push(client, EXAMPLES[20:30])


def made_again_with_more(client) -> None:
    client.delete(KEYS.examples)
    push(client, EXAMPLES)


def trimmed_unlearned(client) -> None:
    push(client, EXAMPLES[20:])
    client.xtrim(KEYS.examples, maxlen=10, approximate=False)


def removed_unlearned(client) -> None:
    ids = [client.xadd(KEYS.examples, {"batch": data}) for data in EXAMPLES[20:]]
    client.xdel(KEYS.examples, ids[3])


def numbered_before_the_cursor(client) -> None:
    """What a promoted replica does whose clock is behind, and which had not seen the last entries."""
    client.delete(KEYS.examples)
    client.xgroup_create(KEYS.examples, "learner", "0", mkstream=True)
    for i in range(20):
        client.xadd(KEYS.examples, {"batch": EXAMPLES[i]}, id=f"5-{i}")
    client.xtrim(KEYS.examples, maxlen=1, approximate=False)
    push(client, EXAMPLES[20:22])
    cursor = client.xrevrange(KEYS.examples, count=1)[0][0]
    client.hset(KEYS.head, mapping={"cursor": cursor, "entries": 20})


EVENTS = [deleted, made_again_with_fewer, made_again_with_more, trimmed_unlearned, removed_unlearned]
EVENTS += [numbered_before_the_cursor]
WORDS = {deleted: "deleted", made_again_with_fewer: "deleted", made_again_with_more: "deleted"}


@pytest.fixture(autouse=True)
def checked_often(monkeypatch):
    """Workers look at once, in a pause, whether the stream fits."""
    monkeypatch.setattr(checking, "CHECK_SECONDS", 0.0)


def owner_fields(client) -> "dict[str, str]":
    return Store(client, "m").ownership.read().fields


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_what_does_not_fit_stops_a_worker_in_a_burst(client, learned, drain, event):
    event(client)
    with pytest.raises(StreamError, match=r"nothing is learned until that is settled with 'learner repair m'"):
        drain()
    assert WORDS.get(event, "before they were learned") in Store(client, "m").stream.committed_position().trouble
    assert "worker" not in owner_fields(client)


@pytest.mark.parametrize("event", [deleted, made_again_with_fewer, made_again_with_more, trimmed_unlearned])
def test_what_does_not_fit_any_more_stops_a_worker_that_runs_where_that_is_wanted(client, learned, serving, event):
    head = client.hgetall(KEYS.head)
    with pytest.raises(StreamError, match="nothing is learned until"), serving(stop_on_trouble=True):  # noqa: PT012
        Client("m", url(client)).predict(features={})  # it runs
        event_at_once(client, event)
        wait_until(lambda: "worker" not in owner_fields(client))
    assert client.hgetall(KEYS.head) == head


def event_at_once(client, event) -> None:
    """Have it happen in one transaction, so that a worker can't learn in between."""
    with client.pipeline() as pipe:
        event(pipe)
        pipe.execute()


def no_stream(client) -> None:
    client.delete(KEYS.examples)
    client.set(KEYS.examples, "x")


def ahead_of_the_stream(client) -> None:
    client.hset(KEYS.head, "cursor", "99999999999999-0")


@pytest.mark.parametrize("event", [deleted, made_again_with_fewer, made_again_with_more, trimmed_unlearned, no_stream])
def test_a_stream_gone_bad_ends_learning_and_not_answering(client, learned, serving, event, capsys):
    expected = learned.answer(EMPTY)["prediction"]
    asker = Client("m", url(client), timeout=30.0)
    with serving() as owner:
        assert "notice" not in asker.ask({"features": "{}"})
        event_at_once(client, event)
        wait_until(lambda: "trouble" in owner_fields(client))
        reply = asker.ask({"features": "{}"})
        assert (reply["prediction"], reply["notice"][:18]) == (expected, "learning has ended")
        assert owner.answering.notice == reply["notice"]
        status = Store(client, "m").status()
        assert status["owner"]["trouble"] == f"{status['trouble']}; settle that with 'learner repair m'"
        assert [worker["state"] for worker in status["workers"]] == [
            "stopped",
            "answering_only",
        ]  # one learned, then this
        assert live(status)[0]
        assert ready(status, None, 60.0)[1].startswith(
            f"process {os.getpid()} on {socket.gethostname()} only answers: "
        )
        lines = "\n".join(status_lines(status | {"task": "binary", "loss": "logistic"}))
        assert f"only answers      {status['trouble']}" in lines
    assert capsys.readouterr().err.count("learning has ended") == 1
    assert "worker" not in owner_fields(client)


@pytest.mark.parametrize("event", [trimmed_unlearned, ahead_of_the_stream], ids=lambda event: event.__name__)
def test_a_worker_that_starts_on_a_stream_gone_bad_answers_and_learns_on_after_a_repair(
    client, learned, serving, committed, event
):
    event(client)
    with serving():
        reply = Client("m", url(client), timeout=30.0).ask({"features": "{}"})
        assert "notice" in reply
        invoke("repair", "m", "--from-start", "--redis-url", url(client))
        wait_until(lambda: "trouble" not in owner_fields(client))
        push(client, EXAMPLES[:3])
        wait_until(lambda: Store(client, "m").status()["lag_entries"] == 0)
        assert "notice" not in Client("m", url(client), timeout=30.0).ask({"features": "{}"})
    then = EXAMPLES[30:] if event is trimmed_unlearned else EXAMPLES[19:20]
    learned.learn_packed(b"".join([*then, *EXAMPLES[:3]]))
    assert state_bytes(committed()) == state_bytes(learned)


def test_a_stream_that_comes_back_is_learned_on(client, learned, serving, committed):
    with serving():
        client.rename(KEYS.examples, "elsewhere")
        wait_until(lambda: "trouble" in owner_fields(client))
        client.rename("elsewhere", KEYS.examples)
        wait_until(lambda: "trouble" not in owner_fields(client))
        push(client, EXAMPLES[20:])
        wait_until(lambda: Store(client, "m").status()["lag_entries"] == 0)
    learned.learn_packed(b"".join(EXAMPLES[20:]))
    assert state_bytes(committed()) == state_bytes(learned)


def test_a_commit_that_is_being_written_is_no_trouble(client, create, own, committed):
    model = create()
    push(client)
    owner = own(commit_seconds=0.0)
    done = owner.store.commits._done

    def slowly(*args):
        time.sleep(0.2)
        done(*args)

    owner.store.commits._done = slowly
    owner.run(burst=True)
    model.learn_packed(b"".join(EXAMPLES))
    assert state_bytes(committed()) == state_bytes(model)


def test_requests_that_are_no_stream_end_answering_and_not_learning(client, learned, serving, capsys):
    client.delete(KEYS.requests)
    client.set(KEYS.requests, "x")
    with serving():
        push(client, EXAMPLES[20:])
        wait_until(lambda: Store(client, "m").status()["lag_entries"] == 0)
        assert f"key {KEYS.requests} must hold a stream" in Store(client, "m").status()["trouble"]
        client.delete(KEYS.requests)
        client.xgroup_create(KEYS.requests, "learner", "0", mkstream=True)
        Client("m", url(client), timeout=30.0).predict(features={})
    assert capsys.readouterr().err.count("nothing is answered") == 1


def test_an_emptied_server_stops_a_worker_that_runs_with_the_right_words(client, learned, serving):
    words = "server lost everything of this model"
    with pytest.raises(StoreError, match=words), serving(lease_seconds=0.05) as owner:  # noqa: PT012
        Client("m", url(client)).predict(features={})  # it runs
        client.flushall()
        wait_until(lambda: owner.owning.heartbeat.problem)
    assert client.keys("*") == []


def test_removing_what_is_learned_already_harms_nobody(client, learned, drain, committed):
    client.xtrim(KEYS.examples, maxlen=0, approximate=False)
    push(client, EXAMPLES[20:])
    drain()
    learned.learn_packed(b"".join(EXAMPLES[20:]))
    assert state_bytes(committed()) == state_bytes(learned)


@pytest.mark.parametrize(
    ("event", "choice", "then"),
    [
        (deleted, "from-start", []),
        (made_again_with_fewer, "from-start", range(20, 30)),
        (made_again_with_fewer, "skip", []),
        (made_again_with_more, "from-start", range(40)),
        (made_again_with_more, "continue", range(40)),  # its ids all come after the cursor
        (trimmed_unlearned, "continue", range(30, 40)),
        (trimmed_unlearned, "skip", []),
        (removed_unlearned, "continue", [i for i in range(20, 40) if i != 23]),
        (numbered_before_the_cursor, "continue", []),
    ],
)
def test_after_a_repair_a_worker_goes_on_as_chosen(client, learned, drain, committed, event, choice, then):
    event(client)
    result = CliRunner().invoke(
        main, ["repair", "m", f"--{choice}", "--json", "--redis-url", url(client)], catch_exceptions=False
    )
    assert result.exit_code == 0
    assert json.loads(result.stdout)["trouble"] is None
    drain()
    assert Store(client, "m").status()["lag_entries"] == 0
    push(client, EXAMPLES[:3])
    drain()
    learned.learn_packed(b"".join(EXAMPLES[i] for i in [*then, 0, 1, 2]))
    assert state_bytes(committed()) == state_bytes(learned)
    assert Store(client, "m").stream.committed_position().trouble is None


def test_forgetting_starts_anew_on_what_there_is(client, learned, create, drain, committed):
    made_again_with_fewer(client)
    store = Store(client, "m")
    own_without_worker(store, "a repair")
    repair(store, "forget")
    store.ownership.release()
    assert committed().n_examples == 0
    drain()
    fresh = type(learned).from_spec(learned.to_spec())
    fresh.learn_packed(b"".join(EXAMPLES[20:30]))
    assert state_bytes(committed()) == state_bytes(fresh)


def test_a_stream_that_ends_before_the_cursor_can_not_be_continued(client, learned):
    deleted(client)
    store = Store(client, "m")
    own_without_worker(store, "a repair")
    with pytest.raises(StoreError, match="'continue' must have a stream that reaches"):
        repair(store, "continue")


def test_without_a_choice_the_situation_and_the_choices_are_shown_and_nothing_changes(client, learned):
    runner = CliRunner()
    fits = runner.invoke(main, ["repair", "m", "--redis-url", url(client)])
    assert (fits.exit_code, "20 entries learned up to" in fits.output) == (0, True)
    made_again_with_fewer(client)
    before = (client.keys("*"), client.hgetall(KEYS.head), client.xinfo_stream(KEYS.examples))
    result = runner.invoke(main, ["repair", "m", "--redis-url", url(client)])
    assert result.exit_code == 2
    assert "deleted" in result.output
    assert all(f"learner repair m --{choice}" in result.output for choice in CHOICES)
    assert (client.keys("*"), client.hgetall(KEYS.head), client.xinfo_stream(KEYS.examples)) == before


def test_a_repair_leaves_a_worker_that_learns_alone(client, learned, own, monkeypatch):
    monkeypatch.setenv("REDIS_URL", url(client))
    owner = own(lease_seconds=0.2)
    error = invoke_failing("repair", "m", "--skip")
    assert error.startswith("Error: model 'm' must have no worker that learns during a repair: stop process ")
    owner.owning.require()
    owner.owning.close()  # silent from now on
    invoke("repair", "m", "--skip")
    push(client, EXAMPLES[:1])
    with pytest.raises(FencedError):
        owner.run(burst=True)


def test_a_repair_whose_place_is_taken_meanwhile_changes_nothing(client, learned, monkeypatch):
    store, other = Store(client, "m"), Store(client, "m")
    own_without_worker(store, "a repair")
    before = client.hgetall(KEYS.head)
    other.ownership.take_over()
    with pytest.raises(FencedError):
        repair(store, "forget")
    assert client.hgetall(KEYS.head) == before


def test_an_entry_can_be_skipped_and_is_kept_among_the_rejected(client, learned, drain, committed, monkeypatch):
    monkeypatch.setenv("REDIS_URL", url(client))
    ids = [client.xadd(KEYS.examples, {"batch": data}) for data in EXAMPLES[20:]]
    for skipped in (ids[0], ids[5]):
        result = invoke("repair", "m", "--skip-entry", skipped.decode(), "--json")
        assert json.loads(result.stdout)["trouble"] is None
    for wrong in (ids[5].decode(), "x", "0-1", client.hget(KEYS.head, "cursor").decode()):
        error = invoke_failing("repair", "m", "--skip-entry", wrong)
        assert error.startswith(f"Error: entry must be one of {KEYS.examples} after ")
    drain()
    learned.learn_packed(b"".join(EXAMPLES[i] for i in range(21, 40) if i != 25))
    assert state_bytes(committed()) == state_bytes(learned)
    kept = [fields for _, fields in client.xrange(KEYS.rejected)]
    assert [(fields[b"entry"], fields[b"stage"]) for fields in kept] == [(ids[0], b"killed"), (ids[5], b"killed")]
    invoke("rejected", "push", "m", client.xrange(KEYS.rejected)[0][0].decode())
    drain()
    learned.learn_packed(EXAMPLES[20])
    assert state_bytes(committed()) == state_bytes(learned)


def test_too_many_rejections_end_learning_and_not_answering(client, learned, serving, committed, monkeypatch):
    monkeypatch.setenv("REDIS_URL", url(client))
    with serving(rejected_window=50):
        head = client.hgetall(KEYS.head)
        push(client, [BAD] * 100)
        wait_until(lambda: "trouble" in owner_fields(client))
        assert "examples rejected must be at most a share of 0.5" in owner_fields(client)["trouble"]
        reply = Client("m", url(client), timeout=30.0).ask({"features": "{}"})
        assert "rejected" not in reply["notice"]  # it may tell what others pushed
        assert client.hgetall(KEYS.head)[b"entries"] >= head[b"entries"]
        invoke("repair", "m", "--skip")
        push(client, EXAMPLES[20:])
        wait_until(lambda: Store(client, "m").status()["lag_entries"] == 0)
    assert committed().n_examples == 40
