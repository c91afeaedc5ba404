"""Commits: what is in them, also when their answer is lost."""

import pytest
import redis

from learner.service import committing
from tests.conftest import state_bytes
from tests.streams import KEYS, push_batches, rejected, zipf_examples


def test_a_commit_whose_answer_was_lost_keeps_what_is_learned_before_it_is_repeated(
    client, create, own, monkeypatch, committed
):
    examples = zipf_examples(600, 10, 3)
    reference = create()
    owner = own(commit_seconds=0.0)
    execute = redis.client.Pipeline.execute

    def lost(self, *args, **kwargs):
        monkeypatch.setattr(redis.client.Pipeline, "execute", execute)
        execute(self, *args, **kwargs)
        raise redis.ConnectionError("lost")

    client.xadd(KEYS.examples, {"batch": b"".join(examples[:200])})
    monkeypatch.setattr(redis.client.Pipeline, "execute", lost)
    with pytest.raises(redis.ConnectionError):
        owner.run(burst=True)
    client.xadd(KEYS.examples, {"batch": b"".join(examples[200:400])})  # learned before the commit is repeated
    owner.run(burst=True)
    assert owner.wait_to_own()
    client.xadd(KEYS.examples, {"batch": examples[400]})
    owner.run(burst=True)
    reference.learn_packed(b"".join(examples[:401]))
    assert state_bytes(owner.model) == state_bytes(reference)
    assert state_bytes(committed()) == state_bytes(reference)
    assert client.hget(KEYS.head, "entries") == b"3"


def test_a_stop_in_the_middle_of_what_was_read_commits_up_to_there(client, create, own, committed):
    reference = create()
    examples = zipf_examples(300, 5, 2)
    owner = own()
    push_batches(client, "batch", examples, 10)
    learn_packed = owner.model.learn_packed

    def then_stopped(*arguments):
        owner.stopping = owner.model.n_examples >= 100
        return learn_packed(*arguments)

    owner.model.learn_packed = then_stopped
    owner.run()
    n = committed().n_examples
    assert 100 <= n < 300
    reference.learn_packed(b"".join(examples[:n]))
    assert state_bytes(committed()) == state_bytes(reference)
    assert client.hget(KEYS.head, "entries") == b"%d" % (n // 10)


def test_what_was_rejected_is_committed_before_it_fills_the_memory(client, create, drain, monkeypatch):
    create()
    monkeypatch.setattr(committing, "MAX_REJECTED_BYTES", 100_000)
    for _ in range(40):
        client.xadd(KEYS.examples, {"batch": b"\xc1" + bytes(30_000)})
    owner = drain()
    assert len(rejected(client)) == 40
    assert int(client.hget(KEYS.head, "commits")) >= 2
    assert owner.learning.rejected_bytes == 0
