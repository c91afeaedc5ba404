"""Where an array of features is quicker than a map of them: ``python -m tests.benchmarks.dense``.

Images of 784 pixels, of which some share is not zero (where, is drawn anew for each image), learned one at a time:

- ``array`` and ``map``: from msgpack bytes in memory to updated weights, as the worker learns: float32s, and the map
  of the pixels that are not zero. ``bytes`` are what the stream carries of an example.
- ``array one`` and ``map one``: from a numpy array in Python through `Model.learn_one`: as it is, and made into a map first.
- ``numpy``: the floor: logistic regression by plain SGD on the array, ``w -= rate * g * x``, in a Python loop: one weight a
  pixel, one learning rate, no names, no statistics of values, no mixture.

The two forms are run in pairs, one after the other; the median of the pairs' ratios is quoted. Both end with the same bits.

Caveats: with more than half of the pixels set, the learner centres them, and one left out counts as well: the work an example
no longer falls with the density.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from learner.model import Model
from learner.packing import pack

WIDTH = 784
DENSITIES = (0.01, 0.05, 0.1, 0.2, 0.5, 1.0)


def images(n: int, density: float) -> tuple[np.ndarray, list[int]]:
    """Return images as (n, 784) float32 within [0, 1], and targets that depend on them linearly."""
    rng = np.random.default_rng(1)
    x = rng.random((n, WIDTH), np.float32) * (rng.random((n, WIDTH)) < density)
    scores = x @ rng.normal(size=WIDTH)
    return x, np.where(scores > np.median(scores), 1, -1).tolist()


def as_map(x: np.ndarray) -> dict[str, float]:
    """Return an image as a map of the pixels that are not zero."""
    places = x.nonzero()[0]
    return dict(zip(map(str, places.tolist()), x[places].tolist(), strict=True))


def learned(rates: list[float] | None, learn: Callable[[Model], Any]) -> tuple[float, bytes]:
    """Return the examples a second, and the bytes of what was learned."""
    model = Model(rates=rates, seed=b"sixteen bytes it")
    model.warm()
    start = time.perf_counter()
    learn(model)
    seconds = time.perf_counter() - start
    return model.n_examples / seconds, b"".join(array.tobytes() for array in model.state().values())


def numpy_rate(x: np.ndarray, targets: list[int]) -> float:
    """Return the examples a second of plain SGD on arrays."""
    w, b, rate = np.zeros(WIDTH, np.float32), 0.0, 0.1
    start = time.perf_counter()
    for row, y in zip(x, targets, strict=True):
        g = -y / (1.0 + math.exp(y * (float(w @ row) + b)))
        w -= np.float32(rate * g) * row
        b -= rate * g
    return len(x) / (time.perf_counter() - start)


def measure(density: float, rates: list[float] | None, n: int, pairs: int) -> dict[str, float]:
    """Return the figures of one density: examples a second, and bytes an example."""
    x, targets = images(n, density)
    examples = list(zip(x, targets, strict=True))
    arrays = b"".join(pack([y, row]) for row, y in examples)
    maps = b"".join(pack([y, as_map(row)]) for row, y in examples)
    ways: dict[str, Callable[[Model], Any]] = {
        "array": lambda model: model.learn_packed(arrays),
        "map": lambda model: model.learn_packed(maps),
        "array one": lambda model: [model.learn_one(row, y) for row, y in examples],
        "map one": lambda model: [model.learn_one(as_map(row), y) for row, y in examples],
    }
    found: dict[str, list[float]] = {name: [] for name in [*ways, "numpy"]}
    for _ in range(pairs):
        states = set()
        for name, learn in ways.items():
            per_second, state = learned(rates, learn)
            found[name].append(per_second)
            states.add(state)
        if len(states) != 1:
            raise AssertionError("the forms must end with the same bits")
        found["numpy"].append(numpy_rate(x, targets))
    result = {"density": density} | {name: round(statistics.median(values)) for name, values in found.items()}
    for one, other in (("array", "map"), ("array one", "map one"), ("array", "numpy")):
        ratios = [a / b for a, b in zip(found[one], found[other], strict=True)]
        result[f"{one} / {other}"] = round(statistics.median(ratios), 2)
    return result | {"array bytes": len(arrays) // n, "map bytes": len(maps) // n}


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--examples", type=int, default=3000)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = {
        name: [measure(density, rates, options.examples, options.pairs) for density in DENSITIES]
        for name, rates in (("default", None), ("--rates 0.5", [0.5]))
    }
    if options.json:
        print(json.dumps(result))
        return
    for name, rows in result.items():
        print(f"{name}, examples/s")
        print("  ".join(f"{key:>{max(9, len(key))}}" for key in rows[0]))
        for row in rows:
            print("  ".join(f"{value:>{max(9, len(key))},}" for key, value in row.items()))


if __name__ == "__main__":
    main()
