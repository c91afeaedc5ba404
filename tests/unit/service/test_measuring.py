"""Measuring in the service: which entries are held back, what is measured of them, and that the same is learned."""

import math
import random

import msgpack
import numpy as np
import pytest

from learner.late import LateLoss
from learner.model import Model
from learner.packing import pack_example
from learner.service import measuring
from learner.service.acceptance import Acceptance
from learner.service.learning import Learning
from learner.service.measuring import Measuring
from tests.conftest import SEED, state_bytes

BLOCK = measuring.BLOCK_EXAMPLES
READ = 37  # entries at a time


def example(i):
    """Return an example as an entry of one or, once in a while, of a batch, and packed."""
    r = random.Random(i)
    y, x = i // 50 % 2, {f"w={r.randrange(30)}": 1, "a": r.gauss(0, 1)}
    return {b"features": msgpack.packb(x), b"target": b"%d" % y}, pack_example(y, msgpack.packb(x), 1.0)


def entries(n, ms=1, first=0):
    """Return entries of one example, some milliseconds apart, and the examples packed."""
    pairs = [example(i) for i in range(first, first + n)]
    return [(b"%d-%d" % (i * ms + 1, i), fields) for i, (fields, _) in enumerate(pairs, first)], [p for _, p in pairs]


@pytest.fixture
def worker(monkeypatch):
    """Make a `Learning`, a `Measuring` and a function that takes entries as a worker does, some at a time."""
    monkeypatch.setattr(measuring, "COLLECT_SECONDS", math.inf)  # however long compiling takes

    def made(one_in=16, stopping=lambda: False):
        learning = Learning(Model(seed=SEED), Acceptance(1.0), stopping)
        measured = Measuring(learning, one_in)
        measured.begin()

        def take(stream, end=True, n_together=READ):
            for first in range(0, len(stream), n_together):
                learn(stream[first : first + n_together], False)
            if end:
                learn([], True)

        def learn(read, no_more):
            if ready := measured.take(read, no_more):
                learning.learn(ready)
                measured.learned()

        return learning, measured, take

    return made


def late_loss(packed, first, last):
    """Return the sums of examples that a model scores after it has learned all examples before the first one."""
    model, late = Model(seed=SEED), LateLoss()
    model.learn_packed(b"".join(packed[:first]))
    late.add(*model.losses_packed(b"".join(packed[first:last])))
    return late


@pytest.mark.parametrize("n_together", [1, 37, 1000])
def test_the_first_block_is_the_one_after_a_thousand_examples_and_then_one_in_sixteen_is_measured(worker, n_together):
    learning, _, take = worker()
    stream, packed = entries(19_000)
    take(stream, n_together=n_together)
    first = -(-BLOCK // n_together) * n_together  # blocks begin with what is read next
    after = -(-(first + BLOCK) // n_together) * n_together
    second = -(-(after + 15 * BLOCK) // n_together) * n_together
    late = late_loss(packed, first, first + BLOCK)
    late.add_sums(late_loss(packed, second, second + BLOCK))
    assert learning.late.examples == 2 * BLOCK
    assert learning.late.mean == pytest.approx(late.mean, rel=1e-12)
    reference = Model(seed=SEED)
    reference.learn_packed(b"".join(packed))
    assert state_bytes(learning.model) == state_bytes(reference)


@pytest.mark.parametrize("one_in", [0, 1, 3])
def test_the_same_is_learned_however_often_it_is_measured(worker, one_in):
    learning, _, take = worker(one_in)
    stream, packed = entries(4000)
    take(stream)
    reference = Model(seed=SEED)
    reference.learn_packed(b"".join(packed))
    assert state_bytes(learning.model) == state_bytes(reference)
    assert learning.cursor == stream[-1][0]
    assert (learning.late.examples > 0) == (one_in > 0)


def test_a_block_ends_after_ten_seconds_of_the_stream(worker):
    learning, measured, take = worker(one_in=1)
    stream, packed = entries(1000)
    take(stream)
    slow, more = entries(30, ms=1000, first=1000)
    take(slow[:10], end=False, n_together=1)
    assert len(measured.collected) == 10
    assert learning.cursor == stream[-1][0]
    take(slow[10:11], end=False, n_together=1)  # ten seconds after the first one: it is not in the block
    assert measured.collected == []
    assert learning.cursor == slow[10][0]
    assert learning.late == late_loss([*packed, *more], 1000, 1010)


def test_a_block_of_which_no_more_comes_is_learned_after_a_while(worker, monkeypatch):
    learning, measured, take = worker()
    take(entries(1000)[0])
    stream, _ = entries(5, first=1000)
    take(stream, end=False)
    assert learning.model.n_examples == 1000
    monkeypatch.setattr(measuring, "COLLECT_SECONDS", 0.0)
    (ready,) = [measured.take([], no_more=False)]
    assert ready == stream


def test_a_block_of_large_entries_ends_before_they_fill_the_memory(worker, monkeypatch):
    _, measured, take = worker()
    take(entries(1000)[0])
    monkeypatch.setattr(measuring, "READ_BYTES", 200)
    take(entries(50, first=1000)[0], end=False, n_together=1)
    assert sum(measuring.size_of(fields) for _, fields in measured.collected) < 200


def test_a_batch_is_measured_by_itself_and_what_is_learned_once_is_measured_once(worker):
    learning, _, take = worker()
    stream, packed = entries(1000)
    take(stream)
    _, more = entries(90, first=1000)
    broken = {b"batch": b"".join(more[:40]) + b"\x92\x01"}
    named = example(1040)[0] | {b"id": b"x"}
    bad = {b"features": b"{", b"target": b"1"}
    tail = [broken, named, bad, named, {b"batch": b"".join(more[41:])}]
    take([(b"%d-0" % (2000 + i), fields) for i, fields in enumerate(tail)])
    late = late_loss([*packed, *more], 1000, 1090)
    assert learning.late.examples == late.examples == 90
    assert learning.late.mean == pytest.approx(late.mean, rel=1e-12)
    assert (learning.model.n_examples, learning.model.n_rejected, learning.n_repeated) == (1090, 2, 1)


def test_a_block_that_is_not_learned_to_its_end_is_not_counted(worker):
    stop = []
    learning, measured, take = worker(stopping=lambda: bool(stop))
    take(entries(1000)[0])
    stream, _ = entries(100, first=1000)
    take(stream, end=False)
    stop.append(True)
    take([])
    assert learning.model.n_examples == 1000
    assert learning.late.examples == 0
    measured.begin()
    assert measured.collected == []


def test_a_worker_that_starts_on_a_model_with_examples_waits_for_its_sixteenth_block(worker):
    learning, measured, take = worker()
    take(entries(900)[0])
    take(entries(200, first=900)[0])
    learning.late = LateLoss()
    measured.begin()
    take(entries(1000, first=1100)[0])
    assert learning.late.examples == 0
    later = [(b"%d-0" % (200_000 + i), fields) for i, (_, fields) in enumerate(entries(10)[0])]
    take(later)
    assert learning.late.examples == 10


def test_the_losses_are_finite(worker):
    learning, _, take = worker(one_in=1)
    take(entries(3000)[0])
    assert np.isfinite(list(learning.late.summary().values())).all()
