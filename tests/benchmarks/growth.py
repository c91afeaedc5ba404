"""How cost grows with the size of a model and of its examples: ``python -m tests.benchmarks.growth [--quick]``.

Four things grow, one at a time, while the others stay at 25 features an example, 240,000 names and 2 classes:

- *features an example*: from 5 to 500;
- *names*: from 10,000 to 10,000,000, in one model that grows. The features of an example are drawn by Zipf's law (exponent
  1.24, as in `tests.benchmarks.streams`), and evenly, so that nearly every feature misses the processor's caches;
- *examples an entry*: from 1 to 1,000, learned as a worker learns entries with ``batch``; no server takes part;
- *classes*: from 2 to 200, whose targets are drawn evenly, out of 10,000 names.

The cost is the CPU time of an example, the smallest of some runs, as other work on the machine only adds to it. The exponent is
the largest slope of log(cost) over log(size) between two sizes at least a factor of four apart: 0 is no growth, 1 is linear
growth, and nothing may be worse.

The model of the names shows two more figures. The *longest stop* is the CPU time of the slowest of the calls that taught it the
names, 100 examples of 25 new names each, less the median call: a stop that is due to growing is within one call. The *bytes a
name* are the growth of the process's resident memory over the number of names, which have 8 characters.

Caveats: the names are numbered, and hardly any derived features occur. A virtual machine may be slow to hand out memory that is
used for the first time.
"""

import argparse
import itertools
import json
import math
import os
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from learner.model import Model
from learner.service.acceptance import Acceptance
from learner.service.learning import Learning
from tests.benchmarks import Asked, Row

FEATURES, NAMES, CLASSES = (5, 25, 100, 500), (10_000, 100_000, 240_000, 1_000_000, 10_000_000), (2, 10, 20, 50, 200)
BATCHES = (1, 10, 100, 1000)
QUICK = {"features an example": (5, 50, 500), "names": (10_000, 100_000, 300_000), "classes": (2, 20, 100)}
WIDTH, USUAL_NAMES, CLASS_NAMES = 25, 240_000, 10_000  # features an example, and names, unless they are what grows
EXPONENT = 1.24  # of Zipf's law
N_FEATURES = 100_000  # in the examples of a run
SEED = b"sixteen bytes it"
DIGITS = 7  # of a name


class Point(NamedTuple):
    """The cost of an example at one size, in microseconds of CPU time."""

    size: int
    cost: float


Series = dict[str, list[Point]]


# ---- examples ------------------------------------------------------------------------------------------------------------
def packed(ids: NDArray[np.int64], targets: NDArray[np.int64]) -> bytes:
    """Return examples as msgpack, one a row of `ids`, of features "w0000000", ... of value 1; targets are below 128."""
    n, width = ids.shape
    examples = np.zeros((n, 5 + width * (DIGITS + 3)), np.uint8)
    examples[:, 0], examples[:, 1] = 0x92, targets
    examples[:, 2:5] = 0xDE, width >> 8, width & 255
    features = examples[:, 5:].reshape(n, width, DIGITS + 3)
    features[:, :, 0], features[:, :, 1], features[:, :, -1] = 0xA0 + DIGITS + 1, ord("w"), 1
    for digit in range(DIGITS):
        features[:, :, 2 + digit] = ord("0") + ids // 10 ** (DIGITS - 1 - digit) % 10
    return examples.tobytes()


def drawn(n: int, width: int, n_names: int, evenly: bool, seed: int = 1) -> NDArray[np.int64]:
    """Return n sets of different names' numbers, drawn evenly or by Zipf's law."""
    rng = np.random.default_rng(seed)
    if evenly:  # one of each of as many ranges
        return rng.integers(0, n_names // width, (n, width)) + np.arange(width) * (n_names // width)
    chances = np.cumsum(np.arange(1, n_names + 1) ** -EXPONENT)
    ids = np.searchsorted(chances / chances[-1], rng.random((n, 4 * width)))
    sets = [row[np.sort(np.unique(row, return_index=True)[1])[:width]] for row in ids]
    return np.array([names for names in sets if len(names) == width])


def examples_of(ids: NDArray[np.int64], n_classes: int = 2, seed: int = 2) -> bytes:
    """Return examples with random targets."""
    return packed(ids, np.random.default_rng(seed).integers(0, n_classes, len(ids)))


def new(n_names: int, **options: Any) -> Model:
    """Return a model that knows some names."""
    model = Model(seed=SEED, **options)
    model.warm()
    for ids in in_order(0, n_names):
        model.learn_packed(examples_of(ids))
    return model


def in_order(first: int, last: int, n: int = 400) -> Iterator[NDArray[np.int64]]:
    """Yield all names from one number to another, some examples at a time."""
    for start in range(first, last, n * WIDTH):
        yield np.arange(start, min(start + n * WIDTH, last) // WIDTH * WIDTH).reshape(-1, WIDTH)


# ---- what grows ----------------------------------------------------------------------------------------------------------
def cost(learn: Callable[[], Any], n_examples: int, n_runs: int = 5) -> float:
    """Return the microseconds of CPU time an example."""
    seconds = []
    for _ in range(n_runs):
        started = time.process_time()
        learn()
        seconds.append(time.process_time() - started)
    return 1e6 * min(seconds) / n_examples


def by_features(sizes: Sequence[int]) -> Iterator[Point]:
    """Yield the cost for each number of features an example."""
    model = new(USUAL_NAMES)
    for width in sizes:
        ids = drawn(N_FEATURES // width, width, USUAL_NAMES, evenly=True)
        data = examples_of(ids)
        yield Point(width, cost(lambda data=data: model.learn_packed(data), len(ids)))  # type: ignore[misc]


def by_names(sizes: Sequence[int]) -> tuple[Series, dict[str, float]]:
    """Return the costs for each number of names, and how the model of the most names grew."""
    model = new(0)
    model.learn_packed(examples_of(np.arange(WIDTH).reshape(1, -1)))
    before, calls, series = resident(), [], Series()
    for first, last in itertools.pairwise((0, *sizes)):
        for ids in in_order(first, last, 100):
            data = examples_of(ids)
            started = time.thread_time()
            model.learn_packed(data)
            calls.append(time.thread_time() - started)
        bytes_a_name = (resident() - before) / model.n_features
        for name, evenly in (("names by Zipf's law", False), ("names drawn evenly", True)):
            ids = drawn(N_FEATURES // WIDTH, WIDTH, last, evenly)
            data = examples_of(ids)
            point = Point(last, cost(lambda data=data: model.learn_packed(data), len(ids)))  # type: ignore[misc]
            series.setdefault(name, []).append(point)
    stop = max(calls) - statistics.median(calls)
    return series, {"names": len(model.weights), "longest_stop_ms": 1e3 * stop, "bytes_a_name": bytes_a_name}


def by_batch(sizes: Sequence[int]) -> Iterator[Point]:
    """Yield the cost for each number of examples an entry."""
    model = new(USUAL_NAMES)
    ids = drawn(N_FEATURES // WIDTH // 2, WIDTH, USUAL_NAMES, evenly=False)
    for n in sizes:
        batches = [{b"batch": examples_of(ids[i : i + n])} for i in range(0, len(ids), n)]
        entries = [(b"%d-1" % i, fields) for i, fields in enumerate(batches, 1)]
        learning = Learning(model, Acceptance(), lambda: False)
        yield Point(n, cost(lambda of=learning, entries=entries: of.learn(entries), len(ids)))  # type: ignore[misc]


def by_classes(sizes: Sequence[int]) -> Iterator[Point]:
    """Yield the cost for each number of classes."""
    for n in sizes:
        model = Model("multiclass", seed=SEED)
        ids = drawn(max(N_FEATURES // WIDTH // n, 4 * n), WIDTH, CLASS_NAMES, evenly=False)
        data = packed(ids, np.arange(len(ids)) % n) if n <= 128 else labelled(ids, n)
        model.learn_packed(data)
        yield Point(n, cost(lambda model=model, data=data: model.learn_packed(data), len(ids), 2))  # type: ignore[misc]


def labelled(ids: NDArray[np.int64], n_classes: int) -> bytes:
    """Return examples of more than 128 classes: their labels have another byte."""
    one_each = (packed(row.reshape(1, -1), np.zeros(1, np.int64)) for row in ids)
    return b"".join(b"\x92\xcc%c%s" % (i % n_classes, example[2:]) for i, example in enumerate(one_each))


def resident() -> int:
    """Return the process's resident memory, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def exponent(points: Sequence[Point]) -> float:
    """Return the largest slope of log(cost) over log(size) between two sizes at least a factor of four apart."""
    pairs = [(a, b) for a, b in itertools.combinations(points, 2) if b.size >= 4 * a.size]
    return max(math.log(b.cost / a.cost) / math.log(b.size / a.size) for a, b in pairs)


# ---- the output ----------------------------------------------------------------------------------------------------------
def measure(quick: bool) -> dict[str, Any]:
    """Return all figures."""
    sizes = {"features an example": FEATURES, "names": NAMES, "classes": CLASSES} | (QUICK if quick else {})
    names, growth = by_names(sizes["names"])
    series = {
        "features an example": list(by_features(sizes["features an example"])),
        **names,
        "examples an entry": list(by_batch(BATCHES)),
        "classes": list(by_classes(sizes["classes"])),
    }
    return {
        "microseconds": {name: [point._asdict() for point in points] for name, points in series.items()},
        "exponents": {name: exponent(points) for name, points in series.items()},
        "growth": growth,
    }


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the rows of the page."""
    result = measure(asked.quick)
    ratios = []
    for name in ("names by Zipf's law", "names drawn evenly"):
        costs = {point["size"]: point["cost"] for point in result["microseconds"][name]}
        usual = max(size for size in costs if size <= USUAL_NAMES)
        ratios.append(costs[usual] / costs[max(costs)])
    yield Row(
        "10,000,000 names: examples/s of CPU time over the rate with 240,000; drawn by Zipf's law (evenly)",
        f"{ratios[0]:.2f} ({ratios[1]:.2f})",
        "at least 0.5",
    )
    growth = result["growth"]
    yield Row(
        "the same: bytes of resident memory a name, of 8 characters", f"{growth['bytes_a_name']:.0f}", "at most 130"
    )
    yield Row("the same: longest stop of growing, ms of CPU time", f"{growth['longest_stop_ms']:.0f}", "at most 50")
    yield Row(
        "exponent of an example's cost, 1 is linear: features an example; names; names evenly; examples an entry; classes",
        ", ".join(f"{slope:.2f}" for slope in result["exponents"].values()),
        "at most 1",
    )


def show(result: dict[str, Any], console: Console) -> None:
    """Print the table."""
    table = Table("what grows", "sizes", "examples/s of CPU time", "exponent")
    for name, points in result["microseconds"].items():
        sizes, rates = ((f"{number:,.0f}" for number in numbers) for numbers in zip(
            *((point["size"], 1e6 / point["cost"]) for point in points), strict=True
        ))  # fmt: skip
        table.add_row(name, "\n".join(sizes), "\n".join(rates), f"{result['exponents'][name]:.2f}")
    console.print(table)
    growth = result["growth"]
    console.print(
        f"A model of {growth['names']:,} names: longest stop of growing {growth['longest_stop_ms']:.1f} ms, "
        f"{growth['bytes_a_name']:.0f} bytes a name"
    )


def draw(result: dict[str, Any], path: str) -> None:
    """Write a picture: the cost over the size, both on a log scale, each over its value at the smallest size."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 5.0), dpi=150, layout="constrained")
    axes = figure.add_subplot(
        xscale="log", yscale="log", xlabel="size / smallest size", ylabel="cost of an example / first"
    )
    for (name, points), marker in zip(result["microseconds"].items(), "os^vD", strict=True):
        x, y = ([point[key] / points[0][key] for point in points] for key in ("size", "cost"))
        axes.plot(x, y, marker=marker, label=f"{name}, from {points[0]['size']:,}")
    ends = [1.0, 100.0]
    axes.plot(ends, ends, color="#666666", linestyle=":", label="linear")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path)


def main() -> None:
    """Print the table, or JSON; draw the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller sizes")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--picture", metavar="FILE", help="a .png or .svg to draw")
    options = parser.parse_args()
    result = measure(options.quick)
    if options.json:
        print(json.dumps(result))
    else:
        show(result, Console())
    if options.picture:
        draw(result, options.picture)


if __name__ == "__main__":
    main()
