"""A stream that no longer fits what was learned from it: found, explained, and gone on with only as somebody chose."""

import json

import pytest
from click.testing import CliRunner

from learner.client import Client
from learner.commands import main
from learner.errors import StoreError
from learner.service.store import Store
from learner.service.store.repair import CHOICES, repair
from learner.service.wire import Keys
from tests.conftest import state_bytes, url, wait_until
from tests.streams import zipf_examples

KEYS = Keys("m")
EXAMPLES = zipf_examples(40, 5, 1)


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


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.__name__)
def test_what_does_not_fit_stops_a_worker_at_its_start(client, learned, own, event):
    event(client)
    with pytest.raises(StoreError, match=r"nothing is learned until that is settled with 'learner repair m'"):
        own()
    found = Store(client, "m").stream.committed_position()
    assert WORDS.get(event, "unlearned") in found.trouble


@pytest.mark.parametrize("event", [deleted, made_again_with_fewer, made_again_with_more, trimmed_unlearned])
def test_what_does_not_fit_any_more_stops_a_worker_that_runs(client, learned, serving, event):
    head = client.hgetall(KEYS.head)
    with pytest.raises(StoreError, match="nothing is learned until"), serving(lease_seconds=0.05) as owner:  # noqa: PT012
        Client("m", url(client)).predict(features={})  # it runs
        with client.pipeline() as pipe:  # at once, so that the worker can't learn in between
            event(pipe)
            pipe.execute()
        wait_until(
            lambda: owner.owning.heartbeat.problem or (owner.committing.writing and owner.committing.writing.error)
        )
    assert client.hgetall(KEYS.head) == head


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
    repair(client, KEYS, "forget")
    assert committed().n_examples == 0
    drain()
    fresh = type(learned).from_spec(learned.to_spec())
    fresh.learn_packed(b"".join(EXAMPLES[20:30]))
    assert state_bytes(committed()) == state_bytes(fresh)


def test_a_stream_that_ends_before_the_cursor_can_not_be_continued(client, learned):
    deleted(client)
    Store(client, "m").ownership.take_over()
    with pytest.raises(StoreError, match="'continue' must have a stream that reaches"):
        repair(client, KEYS, "continue")


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
