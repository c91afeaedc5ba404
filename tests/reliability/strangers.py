"""Examples of a stranger among those of everyone else: odd targets, numbers that never come again, labels without end."""

import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator

import msgpack
import numpy as np
from numpy.typing import NDArray

from learner.client import Client
from learner.model import Model
from learner.service.store import Store
from learner.service.store.connection import client as connect
from learner.service.store.embedded import temporary
from tests.conftest import SEED
from tests.reliability import Row, row

TASKS = "regression", "quantile", "poisson"
ODD = 1e6, 1e30
PLACES = [[0], [1], [2], [3], [9], [0, 5, 9], [2, 40, 1000, 2000], [3000]]  # of the odd targets in the stream
MOST_SECONDS = 60.0


def packed(examples: Iterable[object]) -> bytes:
    """Return examples in msgpack."""
    return b"".join(map(msgpack.packb, examples))


def errors(task: str, odd: float, places: list[int]) -> NDArray[np.float64]:
    """Return the sizes of the errors of 4,000 predictions, with some targets that are odd."""
    r = np.random.default_rng(1)
    x = r.random(4000)
    y = r.poisson(2 + 4 * x).astype(float) if task == "poisson" else 3 + 2 * x + r.random(4000)
    learned = y.copy()
    learned[places] = odd
    model = Model(task, seed=SEED)
    rows = ([target, {"x": value}] for target, value in zip(learned.tolist(), x.tolist(), strict=True))
    scores = model.learn_packed(packed(rows)).scores
    return np.abs((np.exp(scores) if task == "poisson" else scores) - y)


@row
def odd_targets(quick: bool) -> Row:
    """One to four targets of a million and more, at the start and later: the errors a hundred examples after the last."""
    worst = 0.0
    for task in TASKS:
        clean = errors(task, 0.0, [])
        for odd in ODD[-1:] if quick else (*ODD, *(-odd for odd in ODD if task != "poisson")):
            for places in PLACES[1::3] if quick else PLACES:
                after = slice(places[-1] + 101, places[-1] + 901)
                worst = max(worst, float(errors(task, odd, places)[after].mean() / clean[after].mean()))
    test = "one to four targets of 1e6 or 1e30, of numbers about 5, in any place"
    wanted = "a hundred examples later errors at most 1.1 times those without them"
    return Row(test, wanted, f"at most {worst:.2f} times", worst <= 1.1)


def numbers(n: int, n_strange: int) -> Iterator[object]:
    """Yield ten examples of many numbers, then some of two numbers whose targets are an interaction."""
    r = random.Random(1)
    for _ in range(10 if n_strange else 0):
        yield r.randrange(2), {f"strange{k}": r.gauss(0, 1) for k in range(n_strange)}
    r = random.Random(2)
    for _ in range(n):
        a, b = r.uniform(-3, 3), r.uniform(-3, 3)
        yield int(r.random() < 1 / (1 + math.exp(-3 * math.sin(3 * a) * b))), {"a": a, "b": b}


@row
def strange_numbers(quick: bool) -> Row:
    """Ten examples of many numbers at the start must not cost the later ones their bins."""
    n, widths = 16_000, (70,) if quick else (40, 64, 70, 2000)
    losses = [Model(seed=SEED).learn_packed(packed(numbers(n, width))).losses[-4000:].mean() for width in (0, *widths)]
    got = f"log loss {losses[0]:.2f} without, {', '.join(f'{loss:.2f}' for loss in losses[1:])} with"
    test = f"ten examples of {', '.join(map(str, widths))} numbers, then {n:,} of two other numbers"
    return Row(test, "log loss at most 0.05 above", got, max(losses) <= losses[0] + 0.05)


@row
def strange_labels(quick: bool) -> Row:
    """A batch with a new label in each example, then one with a new name in each, to a worker."""
    n = 300 if quick else 1000
    with temporary() as url, connect(url) as client:
        store, model = Store(client, "m"), Model("multiclass", seed=SEED)
        store.create(model.to_spec())
        model.warm()  # compiled before the clock runs
        for batch in (
            packed((f"label{i}", {"a": 1.0}) for i in range(n + 500 * (not quick))),
            packed(("label0", {f"name{i}": 1.0}) for i in range(n)),
        ):
            client.xadd(store.keys.examples, {"batch": batch})
        started = time.monotonic()
        command = [sys.executable, "-m", "learner", "worker", "m", "--burst"]
        subprocess.run(command, env={**os.environ, "REDIS_URL": url}, capture_output=True, timeout=600, check=False)
        seconds = time.monotonic() - started
        model = Client("m", url).committed()
    size = sum(array.nbytes for array in model.state().values()) / 1e6
    right = (len(model.classes), model.n_features) == (n, 3 * n)
    got = f"{seconds:.1f} s with the start, {len(model.classes):,} labels, {model.n_features:,} features, {size:.1f} MB"
    test = f"{n if quick else 1500:,} labels, then {n:,} names of one label, in two entries"
    wanted = f"{n:,} labels, a row a name; at most {MOST_SECONDS:.0f} s and 30 MB"
    return Row(test, wanted, got, right and seconds <= MOST_SECONDS and size <= 30.0)
