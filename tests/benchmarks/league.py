"""Our loss over that of the best peer, picked in hindsight: ``python -m tests.benchmarks.league FOLDER``.

FOLDER holds ``streams.py`` (a list STREAMS of functions that yield (target, {name: value}), and a set REGRESSION of their
names) and ``peers.json`` (for each stream and peer: progressive loss, seconds). The figure is our progressive loss at default
settings over the smallest loss of the peers: log loss for binary targets, root mean squared error for regression. River's runs
were stopped after 30,000 examples, so they count only on streams that are not longer.

``--without`` adds what each part of the mixture is worth: the same with each expert and each kind of derived feature left out
in turn, with one fixed rate, and with each named algorithm at its defaults.
"""

import argparse
import importlib.util
import itertools
import json
import math
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgpack

from learner.layout import PARTS
from learner.model import Model
from learner.optimizers import OPTIMIZERS
from learner.spec import DECAYS
from learner.tasks import TASKS

RATES = TASKS["binary"].rates

RIVER_EXAMPLES = 30_000
BLOCK = 1000


def load(folder: Path) -> tuple[ModuleType, dict[str, dict[str, list[float | None]]]]:
    """Return the folder's streams, as a module, and the peers' figures."""
    spec = importlib.util.spec_from_file_location("streams", folder / "streams.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"no streams.py in {folder}")
    streams = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(streams)
    return streams, json.loads((folder / "peers.json").read_text())


def learn(examples: Iterable[tuple[float, dict[str, float]]], task: str, **options: Any) -> tuple[Model, float]:
    """Learn a stream in one pass; return the model and the seconds of learning, without reading."""
    model = Model(task, **options)
    model.warm()
    seconds = 0.0
    packed = (msgpack.packb(example) for example in examples if example[1])
    while block := b"".join(itertools.islice(packed, BLOCK)):
        start = time.perf_counter()
        model.learn_packed(block)
        seconds += time.perf_counter() - start
    return model, seconds


def alternatives() -> dict[str, dict[str, Any]]:
    """Return the models that show what the parts of the mixture are worth, by name."""
    models: dict[str, dict[str, Any]] = {"default": {}}
    for part in PARTS:
        models[f"without {part}"] = {"parts": [other for other in PARTS if other != part]}
    models["without derived"] = {"parts": [part for part in PARTS if part not in ("bins", "cells", "crosses")]}
    models[f"without rate {RATES[0]:g}"] = {
        "rates": [RATES[1], RATES[1]],
        "decays": [DECAYS[1]] * 2,
        "parts": list(PARTS),
    }
    models[f"without rate {RATES[1]:g}"] = {
        "rates": [RATES[0], RATES[0]],
        "decays": [DECAYS[0]] * 2,
        "parts": list(PARTS),
    }
    models["rates alone"] = {"parts": []}
    models |= {f"one rate, {rate:g}": {"rates": [rate]} for rate in (0.5, 2.0, 8.0)}
    return models | {name: {"optimizer": name} for name in OPTIMIZERS}


def compare_alternatives(streams: ModuleType, best: dict[str, float], as_json: bool) -> None:
    """Print, for every alternative, its loss over the best peer's on every stream, and its time over the default's."""
    packed = {
        stream.__name__: [msgpack.packb(example) for example in stream() if example[1]]
        for stream in streams.STREAMS
        if stream.__name__ in best
    }
    table: dict[str, dict[str, float]] = {}
    if not as_json:
        print(f"\n{'':18}" + "".join(f"{name:>11}" for name in packed) + f"{'mean':>9}{'worst':>9}{'time':>7}")
    for name, options in alternatives().items():
        row: dict[str, float] = {}
        seconds = 0.0
        for stream, examples in packed.items():
            regression = stream in streams.REGRESSION
            model = Model("regression" if regression else "binary", **options)
            model.warm()
            start = time.perf_counter()
            model.learn_packed(b"".join(examples))
            seconds += time.perf_counter() - start
            loss = math.sqrt(model.progressive_loss) if regression else model.progressive_loss
            row[stream] = loss / best[stream]
        ratios = [*row.values()]
        row["mean"] = math.exp(sum(map(math.log, ratios)) / len(ratios))
        row["worst"] = max(ratios)
        row["seconds"] = seconds
        table[name] = row
        if not as_json:
            cells = "".join(f"{row[stream]:11.4f}" for stream in packed)
            time_ratio = seconds / table["default"]["seconds"]
            print(f"{name:18}{cells}{row['mean']:9.4f}{row['worst']:9.4f}{time_ratio:7.2f}", flush=True)
    if as_json:
        print(json.dumps(table))


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("streams", nargs="*")
    parser.add_argument("--without", action="store_true", help="also with each part left out, and single algorithms")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    streams, peers = load(options.folder)
    result: dict[str, Any] = {}
    if not options.json:
        print(
            f"{'stream':18} {'examples':>9} {'ours':>9} {'best peer':>9} {'which':>20} {'ratio':>7} {'examples/s':>11}"
        )
    for stream in streams.STREAMS:
        name = stream.__name__
        if options.streams and name not in options.streams:
            continue
        regression = name in streams.REGRESSION
        model, seconds = learn(stream(), "regression" if regression else "binary")
        loss = math.sqrt(model.progressive_loss) if regression else model.progressive_loss
        fair = {
            peer: figures[0]
            for peer, figures in peers.get(name, {}).items()
            if peer != "constant" and figures[0] is not None
            and (not peer.startswith("river") or model.n_examples <= RIVER_EXAMPLES)
        }  # fmt: skip
        best = min(fair, key=fair.__getitem__) if fair else None
        ratio = loss / fair[best] if best else math.nan
        result[name] = {"loss": loss, "peer": best, "peer_loss": fair.get(best), "ratio": ratio}
        if not options.json:
            print(
                f"{name:18} {model.n_examples:9,} {loss:9.5f} {fair.get(best, math.nan):9.5f} {best or '':>20} {ratio:7.4f} "
                f"{model.n_examples / seconds:11,.0f}",
                flush=True,
            )
    ratios = [row["ratio"] for row in result.values() if row["peer"]]
    if not ratios:
        sys.exit("no stream has figures of peers")
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    if options.json:
        print(json.dumps({"streams": result, "mean": mean, "worst": max(ratios)}))
    else:
        print(f"geometric mean {mean:.4f}, worst {max(ratios):.4f}")
    if options.without:
        best = {name: row["peer_loss"] for name, row in result.items() if row["peer"]}
        compare_alternatives(streams, best, options.json)


if __name__ == "__main__":
    main()
