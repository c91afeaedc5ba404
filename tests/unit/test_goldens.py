"""The goldens leave no kind of model out, and a digest sees every byte."""

import numba
import numpy as np
import pytest

from learner.layout import PARTS
from learner.losses import LOSSES
from learner.model import Model
from learner.optimizers import OPTIMIZERS
from learner.tasks import TASKS
from tests import goldens
from tests.goldens import DUMPS, FOLDER, KINDS, STREAMS

SEEDED = {"seed": goldens.SEED}


def test_every_task_loss_part_and_optimizer_is_among_the_kinds():
    tasks = [options.get("task", "binary") for options in KINDS.values()]
    assert set(tasks) == set(TASKS)
    assert {options.get("loss", TASKS[task].loss) for options, task in zip(KINDS.values(), tasks, strict=True)} == set(
        LOSSES
    )
    assert set(goldens.PARTS) == set(PARTS)
    for task in ("binary", "regression"):
        every = [
            options.get("optimizer", {}) for options, its in zip(KINDS.values(), tasks, strict=True) if its == task
        ]
        assert {one if isinstance(one, str) else one.get("name") for one in every} == {*OPTIMIZERS, None}
    assert {path.name for path in FOLDER.iterdir()} == {goldens.path_of(name).name for name in DUMPS}


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="some ten thousand examples")
def test_the_program_prints_a_line_a_stream_and_the_same_again():
    printed = list(goldens.lines(["optimizer.ftrl.capped"]))
    assert [line[:2] for line in printed] == [("optimizer.ftrl.capped", stream) for stream in STREAMS]
    assert len({digest for line in printed for digest in line[2:]}) == 2 * len(STREAMS)
    assert list(goldens.lines(["optimizer.ftrl.capped"])) == printed


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="some ten thousand examples")
@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream_is_learned_but_for_what_is_wrong_in_it(stream):
    options = KINDS["optimizer.ftrl"]
    model = Model(**options, **SEEDED)
    reasons = {
        rejection.reason
        for piece in goldens.pieces(options, stream)
        for rejection in model.learn_packed(piece).rejections
    }
    assert model.n_examples == STREAMS[stream][1]
    assert model.n_rejected == len(goldens.NOT_FEATURES) + 5
    assert len(reasons) > 12


def test_a_digest_sees_every_byte_name_type_and_shape():
    state = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(3, np.uint8)}
    digests = {goldens.digest(state)}
    for name, array in state.items():
        for place in range(array.nbytes):
            changed = array.copy()
            changed.reshape(-1).view(np.uint8)[place] ^= 1
            digests.add(goldens.digest(state | {name: changed}))
    assert len(digests) == 1 + 24 + 3
    a = state["a"]
    digests |= {goldens.digest(state | {"a": other}) for other in (a.T.reshape(3, 2), a.view(np.int32), a.ravel())}
    digests |= {goldens.digest({"a": a}), goldens.digest({"a": a, "c": state["b"]})}
    assert len(digests) == 1 + 24 + 3 + 3 + 2
    assert all(len(digest) == goldens.N_DIGITS for digest in digests)
