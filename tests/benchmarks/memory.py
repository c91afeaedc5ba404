"""What bounded memory costs: ``python -m tests.benchmarks.memory [FOLDER]``.

FOLDER holds streams as NAME.msgpack, examples one after another; a stream with other targets than 0, 1 and -1 is a regression.
For each stream are printed: the number of features and the progressive loss without a cap (in a regression the root of the
mean squared error); then, with a cap of a half and of a tenth of these features, the loss and the seconds over those without a
cap, and evictions over the cap.

Without FOLDER the stream is generated. Then there is a second test: a stranger adds a million names that never come again
to the examples. It prints the loss over that of the same examples without these names, the bytes for each feature of the cap,
and the speed.
"""

import argparse
import json
import math
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgpack

from learner.model import Model
from tests.benchmarks import Asked, Row
from tests.benchmarks.streams import write_zipf

SHARES = (0.5, 0.1)
SEED = b"sixteen bytes it"
CAP, N_STRANGERS, NAMES_EACH = 100_000, 1_000_000, 10


def task_of(data: bytes) -> str:
    """Return the task that a stream's first targets suggest."""
    unpacker = msgpack.Unpacker()
    unpacker.feed(data[: 1 << 20])
    targets = {example[0] for _, example in zip(range(100), unpacker, strict=False)}
    return "binary" if targets <= {-1, 0, 1} else "regression"


def run(data: bytes, **options: Any) -> tuple[Model, float]:
    """Learn a stream; return the model and the seconds it took."""
    model = Model(seed=SEED, **options)
    model.warm()
    start = time.perf_counter()
    model.learn_packed(data)
    return model, time.perf_counter() - start


def loss_of(model: Model) -> float:
    """Return the progressive loss, or its root in a regression."""
    return math.sqrt(model.progressive_loss) if model.task == "regression" else model.progressive_loss


def strangers(data: bytes) -> bytes:
    """Return examples with names that never come again among their features."""
    r = random.Random(1)
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    examples = []
    for (target, features), _ in zip(unpacker, range(N_STRANGERS // NAMES_EACH), strict=False):
        strange = {f"stranger {r.getrandbits(64):x}": 1 for _ in range(NAMES_EACH)}
        examples.append(msgpack.packb([target, features | strange]))
    return b"".join(examples)


def capped(data: bytes) -> dict[str, Any]:
    """Return the figures of a stream without and with caps."""
    full, seconds = run(data, task=task_of(data))
    row: dict[str, Any] = {"features": full.n_features, "loss": loss_of(full), "caps": {}}
    for share in SHARES:
        cap = max(round(full.n_features * share), 100)
        model, capped_seconds = run(data, task=full.task, max_features=cap)
        row["caps"][share] = {
            "max_features": cap, "loss_ratio": loss_of(model) / row["loss"],
            "evicted_per_row": model.memory()["evicted"] / cap, "seconds_ratio": capped_seconds / seconds,
        }  # fmt: skip
    return row


def measure(folder: Path | None, streams: list[str], n_examples: int = 200_000) -> dict[str, Any]:
    """Return the figures of a folder's streams, or of the generated ones."""
    with tempfile.TemporaryDirectory() as place:
        if folder is None:
            write_zipf(Path(place), n_examples)
        paths = [
            path for path in sorted((folder or Path(place)).glob("*.msgpack")) if path.stem in (streams or path.stem)
        ]
        result = {path.stem: capped(path.read_bytes()) for path in paths}
        if folder is None:
            result["a million strange names"] = undisturbed_and_disturbed((Path(place) / "zipf.msgpack").read_bytes())
    return result


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the rows of the page."""
    result = measure(None, [], 20_000 if asked.quick else 200_000)
    half, tenth = result["zipf"]["caps"].values()
    yield Row(
        "progressive loss with at most a half (a tenth) of the features over the loss with all, names by Zipf's law",
        f"{half['loss_ratio']:.3f} ({tenth['loss_ratio']:.3f})",
    )
    disturbed = result["a million strange names"]
    yield Row(
        "a million names that never come again, ten an example, at most 100,000 features: loss over the loss without them",
        f"{disturbed['loss_ratio']:.3f}",
        "at most 1.01",
    )
    yield Row("the same: bytes a feature", f"{disturbed['bytes_per_feature']:.0f}", "at most 130")


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("streams", nargs="*")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = measure(options.folder, options.streams)
    if not result:
        sys.exit("no streams there")
    if options.json:
        print(json.dumps(result))
        return
    print(f"{'stream':18} {'features':>9} {'loss':>9}   at most a half: loss, evicted, seconds   a tenth: the same")
    for name, row in result.items():
        if "caps" not in row:
            print(f"{name}: " + ", ".join(f"{key} {value:.6g}" for key, value in row.items()))
            continue
        caps = "   ".join(
            f"{c['loss_ratio']:14.4f} {c['evicted_per_row']:8.1f} {c['seconds_ratio']:8.2f}"
            for c in row["caps"].values()
        )
        print(f"{name:18} {row['features']:9,} {row['loss']:9.5f} {caps}")


def undisturbed_and_disturbed(data: bytes) -> dict[str, float]:
    """Return the figures of the same examples with and without a stranger's names, under the same cap."""
    disturbed_data = strangers(data)
    n = N_STRANGERS // NAMES_EACH
    unpacker = msgpack.Unpacker()
    unpacker.feed(data)
    plain = b"".join(msgpack.packb(example) for example, _ in zip(unpacker, range(n), strict=False))
    undisturbed, seconds = run(plain, max_features=CAP)
    disturbed, disturbed_seconds = run(disturbed_data, max_features=CAP)
    return {
        "max_features": CAP,
        "loss_ratio": disturbed.progressive_loss / undisturbed.progressive_loss,
        "bytes_per_feature": disturbed.nbytes / CAP,
        "examples_per_second": n / disturbed_seconds,
        "undisturbed_examples_per_second": n / seconds,
        **disturbed.memory(),
    }


if __name__ == "__main__":
    main()
