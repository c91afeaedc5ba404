"""Examples that another thread scans ahead: the same is learned, whatever stands between them and whatever happens then."""

import os
import random
import signal
from concurrent.futures import ThreadPoolExecutor

import msgpack
import numpy as np
import pytest

from learner import kernels, layout
from learner.kernels.ahead import N_SCANNED, new_block
from learner.kernels.records import CHUNK
from learner.learners import ahead, protocol
from learner.learners.ahead import ReadAhead, pays
from learner.model import Model
from learner.packing import pack
from tests.conftest import state_bytes
from tests.unit.broken import BAD
from tests.unit.streams import SEED

N = 3 * CHUNK if kernels.JIT else 4 * ahead.N_FIRST


@pytest.fixture(autouse=True)
def always(monkeypatch):
    monkeypatch.setattr(protocol, "pays", bool)


def words(n, seed, growing=True):
    """Packed examples, about a third of whose names are new."""
    draw = random.Random(seed)
    data = []
    for i in range(n):
        x = {f"w{int(draw.paretovariate(0.7))}": draw.choice([1.0, 2, -0.5, 0]) for _ in range(6)}
        x |= {f"new {i}": 1.0, "number": draw.gauss(3, 1)} if growing else {}
        data.append(msgpack.packb([draw.choice([-1, 1]), x, *[draw.random()] * draw.randint(0, 1)]))
    return data


def both(data, **options):
    """Learn the same bytes with and without reading ahead; return both models, and what was learned with it."""
    models = Model("binary", **options, seed=SEED), Model("binary", **options, seed=SEED)
    learned = [model.learn_packed(data) for model in models[:1]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "pays", lambda n: False)
        learned.append(models[1].learn_packed(data))
    assert state_bytes(models[0]) == state_bytes(models[1])
    assert learned[0].rejections == learned[1].rejections
    assert learned[0].scores.tobytes() == learned[1].scores.tobytes()
    return *models, learned[0]


@pytest.mark.parametrize("options", [{"rates": [0.5]}, {"max_features": 500}, {}], ids=["one rate", "swept", "default"])
def test_the_bits_are_the_same_while_the_table_grows_or_is_swept(options, seed):
    model, _, learned = both(b"".join(words(N, seed)), **options)
    assert len(model.feature_names) > (100 if options.get("max_features") else N)
    assert not learned.rejections


def test_broken_examples_anywhere_are_rejected_as_ever(seed):
    draw, data = random.Random(seed), words(N // 4, seed)
    whole = [bad for _, bad, _ in BAD if kernels.skip(np.frombuffer(bad, np.uint8), 0) == len(bad)]
    for bad in whole:
        data.insert(draw.randrange(len(data)), bad)
    for cut in (b"", BAD[0][1]):
        _, _, learned = both(b"".join(data) + cut)
        assert len(learned.rejections) == len(whole) + (cut != b"")


def test_arrays_and_numbers_that_are_said_to_be_missing_are_read_in_their_turn(seed):
    draw, data = random.Random(seed), words(N // 4, seed, growing=False)
    for i in range(0, len(data), 3):
        data[i] = msgpack.packb([1, {"a": draw.gauss(0, 1)}])
        data[i + 1] = msgpack.packb([-1, {"a_missing": 1}])
    both(b"".join(data))
    arrays = [b"\x92\x01" + pack(np.float64([draw.random(), draw.random()])) for _ in data]
    both(b"".join(arrays))
    both(b"".join(each for pair in zip(data, arrays, strict=True) for each in pair))


def test_the_widest_examples_fill_blocks_before_they_have_many():
    wide = msgpack.packb([1, {f"w{i}": 1.0 for i in range(layout.MAX_FEATURES)}])
    both(wide * 6 + b"".join(words(50, 1)), rates=[0.5])


def test_a_block_holds_whole_examples_and_says_where_the_next_one_begins():
    data = words(10, 1)
    buffer, model = np.frombuffer(b"".join(data), np.uint8), Model("binary", rates=[0.5], seed=SEED)
    block = new_block()
    end = ahead.scan(buffer, 0, 4, model.learner.task_code, model.learner.weight_dict, block)
    assert (end, block[0][0, N_SCANNED]) == (sum(map(len, data[:4])), 4)
    end = ahead.scan(buffer, end, 100, model.learner.task_code, model.learner.weight_dict, block)
    assert (end, block[0][0, N_SCANNED]) == (len(buffer), 6)


def test_learning_may_end_in_the_middle(monkeypatch):
    data = words(N, 2)
    model, other = (Model("binary", rates=[0.5], seed=SEED) for _ in range(2))

    def give_up():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        model.learn_packed(b"".join(data), between=give_up)
    n = int(model.n_examples)
    assert 0 < n < N
    other.learn_packed(b"".join(data[:n]))
    for each in (model, other):
        assert len(each.learn_packed(b"".join(data), most=10).scores) == 11
    assert state_bytes(model) == state_bytes(other)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_if_a_scan_fails_the_learner_reads_the_rest_itself(monkeypatch, n):
    scan, calls = ahead.scan, []

    def fails(*arguments):
        calls.append(arguments)
        if len(calls) > n:
            raise MemoryError
        return scan(*arguments)

    monkeypatch.setattr(ahead, "scan", fails)
    both(b"".join(words(N, 3)), rates=[0.5])
    assert len(calls) == n + 1


def test_several_learners_share_the_thread():
    data = b"".join(words(N, 5))
    expected, _, _ = both(data, rates=[0.5])
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda _: learned(data), range(8)))
    assert [state_bytes(model) for model in models] == 8 * [state_bytes(expected)]


def learned(data):
    model = Model("binary", rates=[0.5], seed=SEED)
    model.learn_packed(data)
    return model


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_process_has_a_thread_of_its_own():
    data = b"".join(words(N, 6))
    before = state_bytes(learned(data))
    if (child := os.fork()) == 0:
        signal.alarm(60)  # if it waits for a thread that it hasn't
        os._exit(int(state_bytes(learned(data)) != before))
    assert os.waitpid(child, 0)[1] == 0


def test_it_pays_only_for_many_bytes_on_several_processors(monkeypatch):
    monkeypatch.setattr(ahead, "n_processors", lambda: 2)
    assert [pays(1000), pays(10_000_000)] == [False, True]
    monkeypatch.setattr(ahead, "n_processors", lambda: 1)
    assert not pays(10_000_000)


def test_the_learner_is_given_blocks_up_to_the_last_byte():
    data = words(300, 4)
    buffer, learner = np.frombuffer(b"".join(data), np.uint8), Model("binary", rates=[0.5], seed=SEED).learner
    reading, position, n = ReadAhead(buffer, learner.task_code, learner.weight_dict), 0, 0
    while position < len(buffer):
        some, block = reading.at(position)
        n += int(block[0][0, N_SCANNED])
        position = len(some)
    assert (n, reading.at(position)[0].tobytes()) == (300 - ahead.N_FIRST, buffer.tobytes())
    reading.close()
