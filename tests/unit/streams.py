"""Streams of examples, how they are packed, and the models that learn them, for tests."""

import math
import random

import msgpack
import numpy as np

from learner import kernels
from learner.layout import CONSTANT_HASH
from learner.losses import LOSSES
from learner.model import Model
from tests.reference.learner import Reference

SEED = b"sixteen bytes it"
LEVEL = 0.8  # of the quantile loss


def indicators(r, i):
    return {f"w{int(r.paretovariate(0.7))}": 1 for _ in range(8)}


def odd_numbers(r, i):
    """Dense, on scales and with offsets far from each other."""
    return {
        "a": r.gauss(0, 1e-6),
        "b": r.gauss(1e3, 5),
        "c": r.gauss(3, 1e6),
        "d": r.randint(0, 3),
        "e": r.choice([2, 2, 5]),
    }


def mixed(r, i):
    """Sparse words with several values, one dense number and one that is there about every second time."""
    words = {f"w{r.randint(0, 30)}": r.choice([1, 1, 0.5, -2]) for _ in range(5)}
    return words | {"x": r.gauss(5, 2)} | ({"y": r.random()} if r.random() < 0.5 else {})


def growing(r, i):
    """Three new names an example, and one old."""
    return {f"new {i}.{k}": r.choice([1, 0.25]) for k in range(3)} | {f"new {r.randint(0, i)}.0": 1}


def huge_values(r, i):
    return {
        "a": r.gauss(0, 1) * (1e6 if r.random() < 0.02 else 1),
        f"w{r.randint(0, 30)}": r.expovariate(1) * (1e7 if r.random() < 0.02 else 1),
        "k": 1 if r.random() < 0.98 else 1e9,
    }


def wide(r, i):
    """More dense numbers than the mixer has places."""
    return {f"d{k}": r.gauss(k, 1) for k in range(40)}


def gaps(r, i):
    """Numbers that are missing in part of the examples, and say so; and names that end like it."""
    numbers = {"a": r.gauss(3, 1), "b": r.gauss(-20, 5), "c": r.gauss(0, 1)}
    missing = {f"{name}_missing": 1 for name in numbers if r.random() < (0.7 if name == "c" else 0.25)}
    said = missing if r.random() < 0.9 else {"rare_missing": 1, "_missing": 1, "a_missing": 1, f"{i % 7}_missing": 1}
    there = {name: x for name, x in numbers.items() if f"{name}_missing" not in missing}
    return there | said | {f"w{r.randint(0, 30)}": r.uniform(0.5, 1.0)}  # no two are equal: the hinge loss has a kink


STREAMS = [indicators, odd_numbers, mixed, growing, huge_values, wide, gaps]
EXPERTS = {  # rates, decays, parts; each number of rates is compiled anew, which takes its time
    1: ([0.5], [1.0], ()),
    2: (None, None, None),
    "two alone": ([0.5, 16], [1, 0.9], ()),
    "two with cells": ([0.1, 32], [1, 0.99], ("kalman", "cells")),
    3: ([0.1, 2, 32], [1, 0.9, 0.99], ("kalman", "cells")),
}


def stream(make, loss, n, seed=1):
    """Yield (target, features, importance), the targets noisy sums of a thing a name and a thing a value."""
    r = random.Random(seed)
    for i in range(n):
        x = make(r, i)
        s = sum((sum(name.encode()) % 7 - 3) * math.atan(value) for name, value in x.items()) + r.gauss(0, 1)
        yield target_of(loss, s), x, r.choice([1, 1, 1, 0.5, 3, 0])


def target_of(loss, s):
    if LOSSES[loss].task == "binary":
        return 1 if s > 0 else -1
    return max(0, round(5 + 3 * s)) if loss == "poisson" else 1000 + 100 * s


def pack(*examples):
    return b"".join(msgpack.packb(example) for example in examples)


def packed(examples):
    """Each example packed by itself."""
    return [msgpack.packb(example) for example in examples]


def pack_weighed(examples):
    """Pack (features, target, importance) one after another."""
    return b"".join(msgpack.packb([y, x, importance]) for x, y, importance in examples)


def new(loss="logistic", n_rates=2, labels=None, outcomes="late"):
    rates, decays, parts = EXPERTS[n_rates]
    level = LEVEL if loss == "quantile" else None
    return Model(
        LOSSES[loss].task, loss=loss, level=level, rates=rates, decays=decays, parts=parts, outcomes=outcomes, seed=SEED,
        labels=labels,
    )  # fmt: skip


def reference_of(model, holds=True):
    """Return the slow reference for a model; without pools of its own for a class of a multi-class model."""
    spec = model.spec
    key = int(model.learner.keys[CONSTANT_HASH]) if spec.outcomes == "late" and holds else None
    return Reference(
        spec.loss,
        list(spec.rates),
        list(spec.decays),
        spec.parts,
        spec.level,
        spec.l1,
        spec.l2,
        key,
        of_class=not holds,
    )


def long_tail(n, seed=1):
    """Numbers, frequent words that are crossed, and words of a long tail that moves on."""
    r = random.Random(seed)
    for i in range(n):
        words = [f"w{min(int(r.paretovariate(0.6)), 300) + i // 10}" for _ in range(6)]
        frequent = {f"day={r.randint(0, 3)}": 1, f"carrier={r.randint(0, 3)}": 1}
        x = r.gauss(5, 2)
        yield int(x + r.gauss(0, 1) > 5), dict.fromkeys(words, 1) | frequent | {"x": x, "y": r.random()}


def scaled_words(loss, n, seed=1):
    """Yield (features, target, importance) of words, some of them new, and numbers whose scale grows."""
    r = random.Random(seed)
    for i in range(n):
        x = {f"w{int(r.paretovariate(0.7)) % 500}": r.choice([1.0, 1.0, 0.5, -2.0]) for _ in range(5)}
        x |= {"a": r.gauss(0.0, 1.0), "b": r.gauss(1.0, 0.5) * (1.0 + i / n)}
        s = sum((sum(name.encode()) % 7 - 3) * math.atan(value) for name, value in x.items()) + r.gauss(0.0, 1.0)
        number = float(s > 0) if loss == "poisson" else s
        y = number if LOSSES[loss].task != "binary" else 1.0 if s > 0 else -1.0
        yield x, y, r.choice([1.0, 1.0, 1.0, 0.5, 3.0, 0.0])


LABELS = ["cat", "dog", 7, "größer"]


def labelled(n, seed=1, n_labels=4):
    """Yield (label, features, importance): words of the label's own and others, and a number; the last labels come later."""
    r = random.Random(seed)
    for i in range(n):
        k = r.randrange(n_labels if i > n // 4 else 2)
        x = {f"w{k}.{r.randrange(5)}": 1.0, f"n{r.randrange(20)}": 1.0, "x": k + r.gauss(0, 1)}
        yield LABELS[k], x, r.uniform(0.5, 2.0)


def pixels(n=300 if kernels.JIT else 40, width=12, dtype=np.float32, seed=1):
    """Yield (array, target): the first columns dense, the others mostly zero."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        x = rng.normal(3, 2, width) * (rng.random(width) < np.linspace(1.2, 0.1, width))
        yield (abs(x) if dtype in (np.uint8, np.bool_) else x).astype(dtype), int(x[:5].sum() > 9) if i else 1


def by_position(x):
    """Return the array as a map: what it is to be the same as."""
    return {str(i): float(value) for i, value in enumerate(x) if value}


def products(n, seed=1, n_names=300):
    """Binary examples whose truth has a product of features in it."""
    draw = random.Random(seed)
    rows = []
    for _ in range(n):
        x = {f"w{int(draw.paretovariate(0.8)) % n_names}": 1.0 for _ in range(8)}
        x |= {"a": draw.gauss(3.0, 2.0), "b": draw.choice([-1.0, 1.0])}
        y = 1 if (x["a"] - 3.0) * x["b"] + 0.3 * draw.gauss(0, 1) > 0 else -1
        rows.append(msgpack.packb([y, x]))
    return rows
