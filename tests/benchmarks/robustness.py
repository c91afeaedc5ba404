"""What spoilt data does to the default learner: ``python -m tests.benchmarks.robustness FOLDER``.

FOLDER is as in `tests.benchmarks.league`. Each stream is learned as it is; with every value multiplied by 1e-6 and by 1e6; with
1,000 added to every value; with 1% of the targets flipped (in a regression: mirrored at their mean); with 0.1% of the values
multiplied by 1e9; and sorted by target, so that all examples of one class come first. The figures are progressive losses. The
last column is the best constant's loss on the flipped targets: flipped targets can't be predicted, so any loss is higher there.

Caveats: adding 1,000 turns an indicator's 1 into 1,001, which says the same; but a zero that was written out is no longer zero.
When a stream is sorted by target, what was learned from its first half does not fit the second.
"""

import argparse
import itertools
import json
import math
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import msgpack

from learner.model import Model
from tests.benchmarks import Asked, Row
from tests.benchmarks.league import load_streams

Example = tuple[float, dict[str, float]]


def each_value(change: Callable[[random.Random, float], float]) -> Callable[[list[Example]], list[Example]]:
    """Return a function that changes every value of a stream."""

    def changed(examples: list[Example]) -> list[Example]:
        r = random.Random(1)
        return [(y, {name: change(r, x) for name, x in features.items()}) for y, features in examples]

    return changed


def flipped(examples: list[Example]) -> list[Example]:
    """Flip 1% of the targets."""
    r = random.Random(1)
    regression = any(y not in (-1, 1) for y, _ in examples)
    mean = sum(y for y, _ in examples) / len(examples) if regression else 0.0
    return [(2 * mean - y if r.random() < 0.01 else y, features) for y, features in examples]


SPOILT: dict[str, Callable[[list[Example]], list[Example]]] = {
    "as it is": lambda examples: examples,
    "x 1e-6": each_value(lambda r, x: x * 1e-6),
    "x 1e6": each_value(lambda r, x: x * 1e6),
    "+ 1000": each_value(lambda r, x: x + 1000),
    "1% flipped": flipped,
    "0.1% x 1e9": each_value(lambda r, x: x * 1e9 if r.random() < 0.001 else x),
    "sorted by target": lambda examples: sorted(examples, key=lambda example: example[0]),
}


def measure(folder: Path, n_examples: int) -> Iterator[tuple[str, dict[str, float]]]:
    """Yield the names and the losses of a folder's streams."""
    streams = load_streams(folder)
    for stream in streams.STREAMS:
        examples = list(itertools.islice((example for example in stream() if example[1]), n_examples))
        regression = stream.__name__ in streams.REGRESSION
        root = math.sqrt if regression else float
        row: dict[str, float] = {}
        for name, spoil in SPOILT.items():
            model = Model("regression" if regression else "binary")
            model.learn_packed(b"".join(map(msgpack.packb, spoil(examples))))
            row[name] = root(model.progressive_loss)
            if spoil is flipped:
                constant = root(model.constant_loss)
        yield stream.__name__, row | {"constant, flipped": constant}


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the row of the page, if the league's folder is there."""
    if asked.folder:
        rows = [row for _, row in measure(asked.folder, 5000 if asked.quick else 50_000)]
        spoilt = ("x 1e-6", "x 1e6", "+ 1000", "1% flipped", "0.1% x 1e9")
        yield Row(
            "progressive loss on spoilt data over the loss as it is, worst of six streams: values x 1e-6, x 1e6, + 1000, "
            "1% of targets flipped, 0.1% of values x 1e9",
            ", ".join(f"{max(row[name] / row['as it is'] for row in rows):.2f}" for name in spoilt),
            arguments="FOLDER",
        )


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--examples", type=int, default=50_000, help="of each stream, at most")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    table: dict[str, dict[str, float]] = {}
    if not options.json:
        print(f"{'stream':14}" + "".join(f"{name:>18}" for name in [*SPOILT, "constant, flipped"]))
    for name, row in measure(options.folder, options.examples):
        table[name] = row
        if not options.json:
            print(f"{name:14}" + "".join(f"{loss:18.5f}" for loss in row.values()), flush=True)
    if options.json:
        print(json.dumps(table))


if __name__ == "__main__":
    main()
