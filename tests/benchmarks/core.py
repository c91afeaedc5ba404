"""Speed and memory of the learner alone, beside Vowpal Wabbit on the same examples: ``python -m tests.benchmarks.core``.

Ours goes from msgpack bytes in memory to updated weights, on one core. Vowpal Wabbit goes from its text file to updated
weights, in a process of its own (its start, about 0.05 s, is measured on an empty file and taken off), on its two threads. Runs
are taken in pairs, one of each after the other, and the median of the pairs' ratios is quoted.

Caveats: text costs Vowpal Wabbit its parsing, as msgpack costs us ours: each is given the format it is made for. Vowpal
Wabbit keeps no names and hashes into 2^24 weights without looking for collisions.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from learner.model import Model
from tests.benchmarks.streams import write_zipf


def seconds_of_ours(data: bytes, rates: list[float] | None) -> tuple[float, Model]:
    """Return how long one pass took, and the model."""
    model = Model("binary", rates=rates)
    model.linear.warm()
    start = time.perf_counter()
    model.learn_packed(data)
    return time.perf_counter() - start, model


def seconds_of_vw(path: Path) -> float:
    """Return how long Vowpal Wabbit took for one pass at its default settings."""
    command = [
        sys.executable,
        "-m",
        "vowpalwabbit",
        "-b",
        "24",
        "--loss_function",
        "logistic",
        "--quiet",
        "-d",
        str(path),
    ]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - start


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        packed, text = write_zipf(Path(folder))
        empty = Path(folder) / "empty.vw"
        empty.write_text("")
        data = packed.read_bytes()
        result = {}
        for name, rates in (("default", None), ("--rates 0.5", [0.5])):
            ours, peers = [], []
            seconds_of_ours(data, rates)
            seconds_of_vw(text)
            for _ in range(options.pairs):
                seconds, model = seconds_of_ours(data, rates)
                ours.append(model.n_examples / seconds)
                peers.append(model.n_examples / (seconds_of_vw(text) - seconds_of_vw(empty)))
            result[name] = {
                "examples_per_second": round(statistics.median(ours)),
                "vw_examples_per_second": round(statistics.median(peers)),
                "ratio": round(statistics.median(a / b for a, b in zip(ours, peers, strict=True)), 3),
                "features": model.n_features,
                "bytes_per_feature": round(model.nbytes / model.n_features, 1),
                "progressive_loss": round(model.progressive_loss, 5),
            }
    if options.json:
        print(json.dumps(result))
        return
    print(
        f"{'settings':12} {'examples/s':>11} {'VW':>9} {'ratio':>6} {'features':>9} {'bytes each':>10} {'log loss':>9}"
    )
    for name, row in result.items():
        print(
            f"{name:12} {row['examples_per_second']:11,} {row['vw_examples_per_second']:9,} {row['ratio']:6.2f} "
            f"{row['features']:9,} {row['bytes_per_feature']:10} {row['progressive_loss']:9.5f}"
        )


if __name__ == "__main__":
    main()
