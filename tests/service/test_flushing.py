"""What a model holds back is learned at the entry that says so, whoever adds it; the owner of a stream that pauses does."""

import itertools
import time

import pytest

from learner.client import Client
from learner.errors import FencedError
from learner.service.flushing import IDLE_SHARE
from learner.service.store import Store
from learner.service.wire import LEARN_HELD
from tests.conftest import state_bytes, wait_until
from tests.streams import KEYS, push_batches, rejected, zipf_examples

KINDS = {
    "mixture": {},
    "regression": {"task": "regression"},
    "classes": {"task": "multiclass"},
    "head": {"neural": [5, 4]},
    "at once": {"outcomes": "at_once"},
    "optimizer": {"optimizer": "sgd"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", ["batch", "records"])
def test_what_is_held_is_learned_between_the_entries_around_the_one_that_says_so(
    client, create, drain, committed, field, kind
):
    reference = create(**KINDS[kind])
    examples = zipf_examples(900, 6, 4)
    for piece in (examples[:300], examples[300:350], examples[350:]):
        push_batches(client, field, piece, 10)
        client.xadd(KEYS.examples, {"learn": "held"})
        reference.learn_packed(b"".join(piece))
        assert (reference.n_held > 0) == (kind not in ("at once", "optimizer"))
        reference.learn_held()
    owner = drain()
    assert state_bytes(committed()) == state_bytes(owner.model) == state_bytes(reference)
    assert (owner.model.n_examples, owner.model.n_rejected, owner.model.n_held, rejected(client)) == (900, 0, 0, [])
    status = Store(client, "m").status()
    assert (status["lag_entries"], status["trouble"], status["progress"]["held"]) == (0, None, 0)
    assert client.hget(KEYS.head, "entries") == b"93"


def test_it_is_no_example_and_harms_no_model_that_knows_nothing(client, create, drain):
    create()
    for fields in ({"learn": "held"}, {"learn": "held", "id": "x"}, {"learn": "held", "id": "x"}):
        client.xadd(KEYS.examples, fields)
    owner = drain(rejected_window=2, max_rejected=0.0)
    assert (owner.model.n_examples, owner.model.n_rejected, owner.learning.n_repeated) == (0, 0, 1)
    assert Store(client, "m").status()["lag_entries"] == 0


@pytest.mark.parametrize("fields", [{"learn": "all"}, {"learn": "held", "target": "1"}])
def test_another_entry_with_that_field_is_rejected(client, create, drain, fields):
    create()
    client.xadd(KEYS.examples, fields)
    owner = drain()
    assert owner.model.n_rejected == 1
    assert rejected(client)[0][b"stage"] == b"decode"


def test_an_example_with_that_field_is_an_example(client, create, drain):
    create()
    client.xadd(KEYS.examples, {"features": '{"a": 1}', "target": "1", "learn": "held"})
    assert drain().model.n_examples == 1


def test_when_a_stream_pauses_its_owner_has_all_learned_and_adds_no_more(client, redis_url, create, serving, committed):
    reference = create()
    examples = zipf_examples(400, 6, 5)
    with serving(held_seconds=6.0):
        push_batches(client, "batch", examples, 20)
        wait_until(lambda: client.hget(KEYS.head, "entries") == b"21")
        time.sleep(1.2)
        status = Store(client, "m").status()
    assert (status["progress"]["examples"], status["progress"]["held"], status["lag_entries"]) == (400, 0, 0)
    assert (client.hget(KEYS.head, "entries"), status["trouble"]) == (b"21", None)
    reference.learn_packed(b"".join(examples))
    reference.learn_held()
    assert state_bytes(committed()) == state_bytes(reference)


def test_a_worker_that_learns_what_is_there_and_exits_holds_nothing_back(client, create, drain, committed):
    reference = create()
    for n, seed in ((400, 5), (30, 6)):
        examples = zipf_examples(n, 6, seed)
        push_batches(client, "batch", examples, 20)
        assert drain(held_seconds=60.0).model.n_held == 0
        reference.learn_packed(b"".join(examples))
        reference.learn_held()
    assert state_bytes(committed()) == state_bytes(reference)
    assert client.xinfo_stream(KEYS.examples)["entries-added"] == 22 + 2
    drain(held_seconds=60.0)
    assert client.xinfo_stream(KEYS.examples)["entries-added"] == 22 + 2


def test_while_few_examples_come_one_is_added_now_and_then(client, create, serving):
    create()
    push_batches(client, "batch", zipf_examples(400, 6, 6), 20)
    with serving(held_seconds=1.2) as owner:
        wait_until(lambda: owner.model.n_examples >= 400)
        assert owner.model.n_held > 0
        n_before = client.xinfo_stream(KEYS.examples)["entries-added"]
        times = [time.monotonic()]
        for example in zipf_examples(100, 6, 7):
            client.xadd(KEYS.examples, {"batch": example})
            time.sleep(0.02)
            times.append(time.monotonic())
        n_added = client.xinfo_stream(KEYS.examples)["entries-added"] - n_before - 100
    n_pauses = sum(after - before > 0.9 * IDLE_SHARE * 1.2 for before, after in itertools.pairwise(times))
    assert 1 <= n_added <= (times[-1] - times[0]) / 1.2 + n_pauses + 1  # a busy machine may pause, too


def test_a_model_whose_outcomes_come_at_once_needs_none(client, create, serving):
    create(outcomes="at_once")
    with serving(held_seconds=0.1):
        push_batches(client, "batch", zipf_examples(100, 6, 8), 20)
        wait_until(lambda: client.hget(KEYS.head, "entries") == b"5")
        time.sleep(0.3)
    assert client.xinfo_stream(KEYS.examples)["entries-added"] == 5


def test_a_worker_that_was_replaced_adds_none(client, create, own):
    create()
    first = own()
    Store(client, "m").ownership.take_over()
    with pytest.raises(FencedError):
        first.store.stream.add([LEARN_HELD])
    assert client.xlen(KEYS.examples) == 0


def test_a_stream_that_is_gone_is_not_made_by_it(client, create, own):
    create()
    owner = own()
    client.delete(KEYS.examples)
    assert owner.store.stream.add([LEARN_HELD]) is None
    assert not client.exists(KEYS.examples)


def test_after_a_crash_it_is_learned_as_a_suspect_even_in_a_trial(client, create, drain):
    reference = create()
    examples = zipf_examples(300, 6, 9)
    push_batches(client, "batch", examples[:200], 20)
    entry_id = client.xadd(KEYS.examples, {"learn": "held"})
    push_batches(client, "batch", examples[200:], 20)
    client.hset(KEYS.attempt, mapping={"worker": "x", "reading": "0-0", "entry": entry_id, "times": 1})
    owner = drain()
    reference.learn_packed(b"".join(examples[:200]))
    reference.learn_held()
    reference.learn_packed(b"".join(examples[200:]))
    assert state_bytes(owner.model) == state_bytes(reference)
    assert rejected(client) == []


def test_clients_read_and_push_on_beside_it(client, redis_url, create, serving):
    create(featurizer="fields")
    m = Client("m", redis_url)
    with serving(held_seconds=1.2):
        assert m.push_many([(i % 2, {"a": i}) for i in range(500)], max_lag=1) == 500
        wait_until(lambda: Store(client, "m").status()["progress"].get("held") == 0)
        m.push({"a": 1}, 1)
        wait_until(lambda: m.lag() == 0)
        assert 0.0 < m.predict({"a": 1}) < 1.0
    assert rejected(client) == []
