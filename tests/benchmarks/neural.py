"""The neural head beside its peers: ``python -m tests.benchmarks.neural [LEAGUE_FOLDER]``.

1. Speed on a generated stream (200,000 examples, 25 features, about 240,000 names), with 16 hidden units. Ours is the whole
   model, beside the linear experts and alone: from msgpack bytes with names to updated weights, one example at a time. PyTorch
   (an EmbeddingBag, tanh and a Linear layer, Adagrad, batches of 64) learns the first 40,000 examples as indices that were
   looked up beforehand, so it handles neither names nor bytes. Each runs on one thread, in turn.
2. With LEAGUE_FOLDER, loss and speed on the league's streams: ours with ``neural=[16]`` over Vowpal Wabbit's ``--nn 16``, and
   over ours without a neural head.

Caveats: PyTorch learns in batches, so it predicts with weights that are up to 63 examples old; its loss is not compared. The
time of Vowpal Wabbit is that of its process, less that of its process on an empty file.
"""

import argparse
import importlib.util
import json
import math
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack
import numpy as np

from learner.model import Model
from tests.benchmarks import Asked, Row
from tests.benchmarks.league import load_streams
from tests.benchmarks.streams import write_zipf

HIDDEN, BATCH = 16, 64


def ours(data: bytes, task: str = "binary", **options: Any) -> tuple[float, float]:
    """Return our examples a second and progressive loss."""
    model = Model(task, **options)
    model.warm()
    start = time.perf_counter()
    model.learn_packed(data)
    return model.n_examples / (time.perf_counter() - start), model.progressive_loss


def torch_rate(ids: list[np.ndarray], targets: np.ndarray, n_names: int) -> float:
    """Return PyTorch's examples a second."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(1)
    bag = torch.nn.EmbeddingBag(n_names, HIDDEN, mode="sum", sparse=True)
    top = torch.nn.Linear(HIDDEN, 1)
    optimizer = torch.optim.Adagrad([*bag.parameters(), *top.parameters()], lr=0.1)
    loss_of = torch.nn.BCEWithLogitsLoss()
    y = torch.from_numpy((targets > 0).astype(np.float32))
    start = time.perf_counter()
    for first in range(0, len(ids), BATCH):
        batch = ids[first : first + BATCH]
        offsets = torch.from_numpy(np.cumsum([0] + [len(row) for row in batch[:-1]]))
        score = top(torch.tanh(bag(torch.from_numpy(np.concatenate(batch)), offsets))).squeeze(1)
        optimizer.zero_grad()
        loss_of(score, y[first : first + BATCH]).backward()
        optimizer.step()
    return len(ids) / (time.perf_counter() - start)


def speed(pairs: int) -> dict[str, Any]:
    """Time both on the generated stream."""
    with tempfile.TemporaryDirectory() as folder:
        data = write_zipf(Path(folder))[0].read_bytes()
    unpacker = msgpack.Unpacker(max_buffer_size=len(data))
    unpacker.feed(data)
    numbers: dict[str, int] = {}
    targets, ids = [], []
    for y, x in unpacker:
        targets.append(y)
        ids.append(np.array([numbers.setdefault(name, len(numbers)) for name in x]))
    y = np.array(targets)
    heads = {"beside": [HIDDEN], "alone": {"hidden": [HIDDEN], "alone": True}}
    rates: dict[str, list[float]] = {"beside": [], "alone": [], "torch": []}
    for _ in range(pairs):
        for name, head in heads.items():
            rates[name].append(ours(data, neural=head)[0])
        if importlib.util.find_spec("torch"):
            rates["torch"].append(torch_rate(ids[:40_000], y[:40_000], len(numbers)))
    result: dict[str, Any] = {name: round(statistics.median(values)) for name, values in rates.items() if values}
    if rates["torch"]:
        for name in heads:
            ratios = [a / b for a, b in zip(rates[name], rates["torch"], strict=True)]
            result[f"{name} / torch"] = round(statistics.median(ratios), 2)
    return result


def vw(path: Path, regression: bool) -> tuple[float, float]:
    """Return the loss and the seconds of ``vw --nn 16``."""
    loss = [] if regression else ["--loss_function", "logistic"]
    command = [sys.executable, "-m", "vowpalwabbit", "-b", "22", "--nn", str(HIDDEN), *loss, "-d", str(path)]
    start = time.perf_counter()
    run = subprocess.run(command, check=True, capture_output=True, text=True)
    match = re.search(r"average loss = ([0-9.e+-]+)", run.stderr + run.stdout)
    return float(match[1]) if match else math.nan, time.perf_counter() - start


def league(folder: Path) -> dict[str, Any]:
    """Compare losses and speed on the league's streams."""
    streams = load_streams(folder)
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        empty = Path(place) / "empty.vw"
        empty.write_text("")
        for stream in streams.STREAMS:
            text, packed, regression = Path(place) / "stream.vw", [], stream.__name__ in streams.REGRESSION
            with text.open("w") as file:
                for y, x in stream():
                    if x:
                        packed.append(msgpack.packb((y, x)))
                        named = (k if v == 1 else f"{k}:{v:.9g}" for k, v in x.items())
                        file.write(f"{y:g} | {' '.join(named)}\n")
            data, task = b"".join(packed), "regression" if regression else "binary"
            rate, loss = ours(data, task, neural=[HIDDEN])
            plain = ours(data, task)[1]
            peer, seconds = vw(text, regression)
            seconds -= vw(empty, regression)[1]
            root = math.sqrt if regression else float
            result[stream.__name__] = {
                "loss": root(loss),
                "without": root(plain),
                "ratio": root(loss / plain),
                "vw_nn": root(peer),
                "loss / vw": root(loss) / root(peer),
                "speed / vw": rate / (len(packed) / seconds),
            }
    return result


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the rows of the page for which PyTorch, or the league's folder, is there."""
    if importlib.util.find_spec("torch"):
        ratios = speed(1 if asked.quick else 3)
        yield Row(
            "neural head of 16, examples/s over PyTorch's: beside the linear experts (alone)",
            f"{ratios['beside / torch']:.1f} ({ratios['alone / torch']:.1f})",
        )
    if asked.folder:
        worst = max(row["loss / vw"] for row in league(asked.folder).values())
        yield Row(
            "neural head of 16, loss over Vowpal Wabbit's `--nn 16`, six streams: worst", f"{worst:.3f}", "", "FOLDER"
        )


def main() -> None:
    """Print both tables, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result: dict[str, Any] = {"speed": speed(options.pairs)}
    if options.folder:
        result["league"] = league(options.folder)
    if options.json:
        print(json.dumps(result))
        return
    for name, value in result["speed"].items():
        print(f"{name:16} {value:12,}")
    for name, row in result.get("league", {}).items():
        print(f"{name:12} " + "  ".join(f"{key} {value:.4f}" for key, value in row.items()))


if __name__ == "__main__":
    main()
