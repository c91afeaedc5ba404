"""Where the time of an example goes, in nanoseconds: ``python -m tests.benchmarks.costs [--quick] [--json]``.

CPU time of one thread, without reading ahead, on the streams of `tests.benchmarks.core`. Steps that can be called alone are
measured alone; a part of the mixture is measured by leaving it out. All of a round run in turn, and the figures are medians
over the rounds of an example's time, or of the difference within a round.

Reading, by `learner.kernels.scan_block` (of arrays, which it doesn't read, there is none):

- ``walk``: to find where each example ends, and nothing else;
- ``read``: to read msgpack, check it, and hash the names;
- ``look up``: on top of that, to find the rows of a model that has learned the stream. What `read` prefetched hides most of it.

Learning, from bytes to updated weights:

- ``one rate``: AdaGrad with one rate, its outcomes at once: reading, look-up, scaling, scores, loss, evaluation, update;
- ``default``: the default model; then how much less it takes without one of its parts, or with fewer rates;
- ``holding``: how much more it takes because examples are held until others' outcomes would be known.

Caveats: parts share cache misses, so the differences don't add up to the whole. Without a part the weights differ, and with
them how many updates are made.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from learner import kernels
from learner.kernels.ahead import new_block
from learner.kernels.records import CHUNK
from learner.layout import PARTS
from learner.learners import ahead, protocol
from learner.model import Model
from tests.benchmarks import Asked, Row
from tests.benchmarks.core import WRITERS, machine, progress_bar, table
from tests.conftest import SEED

LATE_PARTS = tuple(part for part in PARTS if part != "trends")  # those of a default model
TWO_RATES: dict[str, Any] = {"rates": Model("binary").spec.rates, "decays": Model("binary").spec.decays}


def models() -> dict[str, dict[str, Any]]:
    """Return the options of the models by name."""
    without = {f"without {part}": [each for each in LATE_PARTS if each != part] for part in LATE_PARTS}
    return {
        "one rate": {"rates": [0.5], "outcomes": "at_once"},
        "one rate, held": {"rates": [0.5]},
        "default": {},
        "default, at once": TWO_RATES | {"parts": LATE_PARTS, "outcomes": "at_once"},
        **{name: TWO_RATES | {"parts": parts} for name, parts in without.items()},
        "only the rates": TWO_RATES | {"parts": ()},
    }


def scanned(buffer: np.ndarray, model: Model) -> None:
    """Scan all examples of a buffer into blocks."""
    block, position = new_block(), 0
    while position < len(buffer):
        position = ahead.scan(buffer, position, CHUNK, model.learner.task_code, model.learner.weight_dict, block)


def nanoseconds(call: Callable[[], Any], n: int) -> float:
    """Return the CPU time of a call, for each of n examples."""
    start = time.process_time()
    call()
    return (time.process_time() - start) / n * 1e9


def measure(stream: str, n: int, rounds: int, step: Callable[[str], None]) -> dict[str, float]:
    """Return the nanoseconds of each step and part on a stream."""
    with tempfile.TemporaryDirectory() as folder:
        data = WRITERS[stream](Path(folder), n)[0].read_bytes()
    buffer, ends = np.frombuffer(data, np.uint8), np.zeros(n, np.int64)
    empty, full = (Model("binary", rates=[0.5], seed=SEED) for _ in range(2))
    empty.warm()
    full.learn_packed(data)
    taken: dict[str, list[float]] = {}
    for _ in range(rounds):
        step(stream)
        one = {"walk": nanoseconds(lambda: kernels.boundaries(buffer, ends), n)}
        if stream == "sparse":
            one["read"] = nanoseconds(lambda: scanned(buffer, empty), n)
            one["look up"] = nanoseconds(lambda: scanned(buffer, full), n) - one["read"]
        for name, options in models().items():
            model = Model("binary", seed=SEED, **options)
            model.warm()
            one[name] = nanoseconds(lambda model=model: model.learn_packed(data), n)  # type: ignore[misc]
        one["holding"] = one["default"] - one.pop("default, at once")
        one["holding, of one rate"] = one.pop("one rate, held") - one["one rate"]
        for name in [f"without {part}" for part in LATE_PARTS]:
            one[name.removeprefix("without ")] = one["default"] - one.pop(name)
        one["all parts"] = one["default"] - one.pop("only the rates")
        for name, value in one.items():
            taken.setdefault(name, []).append(value)
    return {name: round(statistics.median(values)) for name, values in taken.items()}


def measure_all(quick: bool) -> dict[str, dict[str, float]]:
    """Return the figures of both streams."""
    n, rounds = (5_000, 1) if quick else (200_000, 5)
    pays, protocol.pays = protocol.pays, lambda n_bytes: False
    progress, step = progress_bar(rounds * len(WRITERS))
    try:
        with progress:
            return {stream: measure(stream, n, rounds, step) for stream in WRITERS}
    finally:
        protocol.pays = pays


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the rows of the page."""
    for stream, of in measure_all(asked.quick).items():
        parts = ", ".join(f"{part} {of[part]}" for part in (*LATE_PARTS, "holding"))
        reading = f"reading {of['read']}, looking up {of['look up']}; " if stream == "sparse" else ""
        yield Row(
            f"nanoseconds of CPU time an example, {stream}: reading; one rate, at once; default; of that each part",
            f"{reading}one rate {of['one rate']}; default {of['default']}; {parts}",
        )


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure_all(options.quick)
    if options.json:
        print(json.dumps({"machine": machine("numba", "numpy"), "nanoseconds": result}))
        return
    names = list(result["sparse"])
    print("{processor}, {processors} processors, {system}; Python {python}, numba {numba}\n".format(**machine("numba")))
    print(
        table(
            ["ns an example", *result],
            [[name, *(f"{of[name]:,}" if name in of else "" for of in result.values())] for name in names],
        )
    )


if __name__ == "__main__":
    main()
