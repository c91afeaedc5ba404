"""When an array of features is faster than a map: ``python -m tests.benchmarks.arrays``.

The learner learns images of 784 pixels, one at a time. A share of the pixels, the *density*, is not zero; which pixels these
are is random for each image. The columns:

- ``array`` and ``map``: from msgpack bytes in memory to updated weights, as a worker learns. The array holds all pixels as
  float32s, the map those that are not zero. ``array bytes`` and ``map bytes`` are the sizes of an example.
- ``array one`` and ``map one``: `Model.learn_one` on a numpy array: directly, or converted to a map first.
- ``numpy``: for comparison, logistic regression by plain SGD on the array, ``w -= rate * g * x``, in a Python loop: one
  weight for each pixel, one learning rate, no names, no statistics of values, no mixture.

The forms run one after the other; the figures are medians, of ratios too. All forms end with the same bits.

Caveats: if more than half of the pixels are set, the learner centres them, and a pixel that is zero counts as well: below
that density the work decreases with it, above it doesn't.
"""

import argparse
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from learner.model import Model
from learner.packing import pack
from tests.benchmarks import Asked, Row

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
    """Return the examples a second, and the bytes of the learned state."""
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
    """Return the figures for one density: examples a second, ratios, and bytes an example."""
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
    speeds: dict[str, list[float]] = {name: [] for name in [*ways, "numpy"]}
    for _ in range(pairs):
        states = set()
        for name, learn in ways.items():
            per_second, state = learned(rates, learn)
            speeds[name].append(per_second)
            states.add(state)
        if len(states) != 1:
            raise AssertionError("the forms must end with the same bits")
        speeds["numpy"].append(numpy_rate(x, targets))
    result = {"density": density} | {name: round(statistics.median(values)) for name, values in speeds.items()}
    for form, other in (("array", "map"), ("array one", "map one"), ("array", "numpy")):
        ratios = [a / b for a, b in zip(speeds[form], speeds[other], strict=True)]
        result[f"{form} / {other}"] = round(statistics.median(ratios), 2)
    return result | {"array bytes": len(arrays) // n, "map bytes": len(maps) // n}


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the row of the page."""
    rows = [measure(density, None, *((300, 1) if asked.quick else (3000, 3))) for density in (1.0, 0.2, 0.01)]
    yield Row(
        "images of 784 pixels: examples/s as arrays over maps; all, a fifth, 1% of the pixels set: from Python (from bytes)",
        ", ".join(f"{row['array one / map one']:.1f} ({row['array / map']:.1f})" for row in rows),
    )


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
