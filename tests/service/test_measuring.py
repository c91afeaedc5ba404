"""The late loss of a worker: in the commits and in ``learner status``, after a restart, and never at the cost of an entry."""

import msgpack
import pytest

from learner.model import Model
from learner.service import measuring
from tests.command_line import invoke, strictly
from tests.conftest import SEED, state_bytes, wait_until
from tests.streams import KEYS


def grouped(n):
    """Return packed examples whose targets come in runs of 200."""
    return [msgpack.packb([i // 200 % 2, {f"w={i * 7919 % 50}": 1}]) for i in range(n)]


def push(client, examples, n_together=1):
    for first in range(0, len(examples), n_together):
        client.xadd(KEYS.examples, {"batch": b"".join(examples[first : first + n_together])})


def reference(examples):
    model = Model(seed=SEED)
    model.learn_packed(b"".join(examples))
    return model


def test_the_late_loss_is_committed_shown_and_kept_over_a_restart(
    client, redis_url, create, drain, committed, monkeypatch
):
    monkeypatch.setenv("REDIS_URL", redis_url)
    create()
    examples = grouped(7000)
    push(client, examples[:1000], 100)
    drain(late_every=0).owning.close()
    push(client, examples[1000:5000], 100)
    owner = drain(late_every=1)
    late = owner.learning.late
    assert late.examples >= 1000
    owner.owning.close()
    found = strictly(invoke("status", "m", "--json").stdout)["progress"]
    assert (found["late_loss"], found["late_examples"]) == (pytest.approx(late.mean), late.examples)
    assert found["late_importance"] == late.importance
    assert found["late_loss_sum"] == pytest.approx(late.loss_sum)
    text = invoke("status", "m").stdout
    assert f"late loss         {late.mean:.6f} (of {late.examples} examples)" in text
    assert "The order of this stream predicts its outcomes" in text
    push(client, examples[5000:], 100)
    again = drain(late_every=0)
    assert again.learning.late == late
    assert state_bytes(committed()) == state_bytes(reference(examples))


@pytest.mark.parametrize("n_together", [1, 7, 1500])
def test_measuring_changes_nothing_that_is_learned_and_a_stop_loses_nothing(
    client, create, serving, drain, committed, n_together
):
    create()
    examples = grouped(4200)
    push(client, examples[:1000], n_together)
    with serving(late_every=1) as worker:
        wait_until(lambda: worker.model.n_examples == 1000)
        push(client, examples[1000:2500], n_together)
        wait_until(lambda: worker.measuring.collected or worker.learning.late.examples)
    n = worker.model.n_examples
    assert state_bytes(committed()) == state_bytes(worker.model) == state_bytes(reference(examples[:n]))
    push(client, examples[2500:], n_together)
    drain(late_every=3)
    assert state_bytes(committed()) == state_bytes(reference(examples))


def test_a_worker_that_dies_with_a_block_held_back_leaves_it_to_the_next(client, create, own, drain, committed):
    create()
    examples = grouped(1600)
    push(client, examples[:1200])
    owner = own(commit_seconds=0.0, late_every=1)
    reads = []

    def dies(wait, read=owner._read):
        if owner.measuring.collected:
            reads.append(len(owner.measuring.collected))
            if len(reads) == 2:
                raise SystemExit
        return read(wait)

    owner._read = dies
    with pytest.raises(SystemExit):
        owner.run()
    owner.committing.settle()
    owner.owning.close()
    note = client.hget(KEYS.attempt, "reading")
    assert note == owner.learning.cursor < owner.measuring.collected[-1][0]  # what is collected is still suspected
    client.delete(KEYS.lease)
    push(client, examples[1200:])
    drain(late_every=1)
    assert state_bytes(committed()) == state_bytes(reference(examples))


def test_requests_are_answered_while_a_block_is_held_back(client, redis_url, create, serving):
    from learner.client import Client

    create()
    examples = grouped(1400)
    push(client, examples[:1000], 100)
    with serving(late_every=1) as worker:
        wait_until(lambda: worker.model.n_examples == 1000)
        push(client, examples[1000:], 100)
        wait_until(lambda: worker.measuring.collected)
        assert 0.0 < Client("m", redis_url).predict(features={"w=1": 1}) < 1.0
        assert worker.measuring.collected


def test_a_block_that_is_held_back_too_long_is_learned(client, create, serving, monkeypatch):
    monkeypatch.setattr(measuring, "COLLECT_SECONDS", 0.2)
    create()
    examples = grouped(1400)
    push(client, examples[:1000], 100)
    with serving(late_every=1) as worker:
        wait_until(lambda: worker.model.n_examples == 1000)
        push(client, examples[1000:])
        wait_until(lambda: worker.model.n_examples == 1400)
    assert 0 < worker.learning.late.examples <= 400
