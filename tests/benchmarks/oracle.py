"""The named algorithms beside Vowpal Wabbit's: ``python -m tests.benchmarks.oracle [FOLDER]``.

The progressive losses of both on the same examples: on generated data, and on every ``NAME.msgpack`` of FOLDER. Vowpal Wabbit
gets features as numbers, which it does not hash, so no two collide. A difference is our loss over its loss, less 1.

Caveats, where the definitions differ:

- Vowpal Wabbit clips predictions to the range of 0 and the labels so far, the current label included (logistic: +-50), and
  takes loss and gradient at the clipped prediction. So do we in the rows "0 and 1", for the loss by the same range; in the
  others its options widen the range for regression and hinge, and we have ``clip`` off. For the logistic loss we clip our
  scores to +-50 to compute the loss, but not the gradient.
- With labels 0 and 1 most scores are clipped. At a rate of 10, and with ``--normalized``, a clipped score that float32 and
  float64 put on different sides of a label has another step, and the losses part in the third digit.
- ``--sgd``, ``--adaptive`` and ``--normalized`` turn its importance-aware steps (``--invariant``) off. Its learning rate is
  then 10, or 0.5 with ``--adaptive --normalized``. With ``--sgd`` its t starts at 1.
- With ``--normalized``, when a feature has a new largest value, it rescales the weight after predicting; the paper, and we,
  do so before. It also leaves examples without loss out of t / N. In the generated data every feature has its largest value
  first, and the logistic and the squared loss are never 0, so these two differences have no effect. The tests that import this
  module show that there are no others.
- It computes in float32. If the weights grow without end, as with ``--sgd`` on numbers that are not scaled, the rounding errors
  grow with them. Losses above 1e9 are called diverging and are not compared.
- L1 and L2 agree for FTRL only: its gradient descent shrinks all weights at every step.
- Adam has no counterpart.
"""

import argparse
import itertools
import json
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgpack

from learner.losses import LOSSES
from learner.model import Model
from tests.benchmarks import Asked, Row

__all__ = ["PEERS", "agrees", "compare", "generated", "vw_loss"]

Example = tuple[float, dict[str, float]]
MAX_LOGISTIC_SCORE = 50.0  # Vowpal Wabbit's
DIVERGING = 1e9
FTRL_L1 = {"name": "ftrl", "alpha": 0.1, "l1": 0.5, "l2": 0.1}
PEERS: list[tuple[str, Mapping[str, Any]]] = [
    ("--sgd", {"name": "sgd"}),
    ("--sgd -l 0.02 --power_t 0", {"name": "sgd", "rate": 0.02, "power": 0}),
    ("--adaptive", {"name": "adagrad"}),
    ("--adaptive -l 0.5", {"name": "adagrad", "rate": 0.5}),
    ("--ftrl", {"name": "ftrl"}),
    ("--ftrl --ftrl_alpha 0.1 --l1 0.5 --l2 0.1", FTRL_L1),
    ("--normalized", {"name": "ng"}),
    ("--adaptive --normalized", {"name": "nag"}),
]


def agrees(row: Mapping[str, Any]) -> bool:
    """Tell whether, in a row of generated data, the definitions agree and no loss diverges."""
    return row["difference"] is not None and not (row["loss"] == "hinge" and "--normalized" in row["vw"])


def generated(loss: str, n: int, seed: int = 1) -> Iterator[Example]:
    """Yield examples of words and three numbers, the targets linear with noise; every feature's largest value comes first."""
    r = random.Random(seed)
    truth = {f"w{i}": r.gauss(0.0, 1.0) for i in range(3000)} | {"a": 1.0, "b": -0.5, "c": 2.0}
    for i in range(n):
        x = {f"w{int(r.paretovariate(0.6)) % 3000}": 1.0 for _ in range(8)}
        x |= {name: most if i == 0 else r.uniform(-most, most) for name, most in (("a", 1.0), ("b", 2.0), ("c", 0.5))}
        score = sum(truth[name] * value for name, value in x.items()) + r.gauss(0.0, 0.5)
        yield (score if LOSSES[loss].task != "binary" else 1.0 if score > 0.0 else -1.0), x


def zeros_and_ones(n: int) -> list[Example]:
    """Return the same examples with the label 1 where the target is above 0, else 0."""
    return [(float(y > 0.0), x) for y, x in generated("squared", n)]


def vw_loss(examples: Iterable[Example], loss: str, arguments: str, clip: bool = False) -> float:
    """Return Vowpal Wabbit's progressive loss."""
    from vowpalwabbit import Workspace

    wide = "" if loss == "logistic" or clip else "--min_prediction -1e9 --max_prediction 1e9"
    vw = Workspace(f"{arguments} {wide} --loss_function {loss} -b 22 --holdout_off --no_stdin --quiet")
    numbers: dict[str, int] = {}
    for y, x in examples:
        features = " ".join(f"{numbers.setdefault(name, len(numbers) + 1)}:{value!r}" for name, value in x.items())
        vw.learn(f"{y!r} | {features}")
    mean = vw.get_sum_loss() / vw.get_weighted_examples()
    vw.finish()
    return float(mean)


def our_loss(examples: Iterable[Example], loss: str, optimizer: Mapping[str, Any], clip: bool = False) -> float:
    """Return our progressive loss, of scores that are clipped as Vowpal Wabbit clips them."""
    most = MAX_LOGISTIC_SCORE if loss == "logistic" else 0.0 if clip else math.inf
    least = -most
    model = Model(LOSSES[loss].task, loss=loss, optimizer={**optimizer, "clip": clip})
    value = LOSSES[loss].value
    total, n = 0.0, 0
    packed = (msgpack.packb(example) for example in examples)
    while block := list(itertools.islice(packed, 1000)):
        scores = model.learn_packed(b"".join(block)).scores.tolist()
        for score, example in zip(scores, block, strict=True):
            y = msgpack.unpackb(example)[0]
            least, most = min(least, y), max(most, y)
            total += value(min(max(score, least), most), y)
        n += len(block)
    return total / n


def compare(name: str, examples: list[Example], loss: str, clip: bool = False) -> Iterator[dict[str, Any]]:
    """Yield a row for each algorithm."""
    for arguments, optimizer in PEERS:
        theirs, ours = vw_loss(examples, loss, arguments, clip), our_loss(examples, loss, optimizer, clip)
        yield {
            "data": name, "loss": loss, "vw": arguments, "optimizer": dict(optimizer), "vw_loss": theirs, "our_loss": ours,
            "difference": ours / theirs - 1.0 if theirs < DIVERGING else None,
        }  # fmt: skip


def generated_streams(n_examples: int) -> list[tuple[str, list[Example], str, bool]]:
    """Return the generated streams: their names, examples and losses, and whether scores are clipped."""
    losses = [loss for loss in LOSSES if loss != "poisson"]
    streams = [(f"generated, {loss}", list(generated(loss, n_examples)), loss, False) for loss in losses]
    return [*streams, ("0 and 1, squared", zeros_and_ones(n_examples), "squared", True)]


def largest_difference(rows: Iterable[Mapping[str, Any]]) -> float:
    """Return the largest difference on generated data, where the definitions agree."""
    return max(abs(row["difference"]) for row in rows if row["data"].startswith("generated") and agrees(row))


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the row of the page."""
    streams = generated_streams(2000 if asked.quick else 20_000)
    largest = largest_difference(row for stream in streams for row in compare(*stream))
    yield Row(
        "named algorithms, progressive loss over Vowpal Wabbit's, less 1, on generated data: the largest where they agree",
        f"{largest:.0e}",
    )


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--examples", type=int, default=20_000, help="of each stream at most")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    streams = generated_streams(options.examples)
    for path in sorted(options.folder.glob("*.msgpack")) if options.folder else []:
        with path.open("rb") as file:
            unpacker = msgpack.Unpacker(file)
            examples = [(float(y), dict(x)) for y, x, *_ in itertools.islice(unpacker, options.examples)]
        binary = {y for y, _ in examples} <= {-1.0, 0.0, 1.0}
        examples = [(1.0 if y > 0 else -1.0, x) for y, x in examples] if binary else examples
        streams.append((path.stem, examples, "logistic" if binary else "squared", False))
    rows: list[dict[str, Any]] = []
    if not options.json:
        print(f"{'data':20} {'Vowpal Wabbit':42} {'ours':28} {'its loss':>12} {'our loss':>12} {'difference':>11}")
    for name, examples, loss, clip in streams:
        for row in compare(name, examples, loss, clip):
            rows.append(row)
            if not options.json:
                optimizer = dict(row["optimizer"])
                parameters = ",".join(f"{key}={value:g}" for key, value in optimizer.items() if key != "name")
                difference = "diverging" if row["difference"] is None else f"{row['difference']:+.1e}"
                print(
                    f"{name:20} {row['vw']:42} {optimizer['name'] + (':' + parameters if parameters else ''):28} "
                    f"{row['vw_loss']:12.6g} {row['our_loss']:12.6g} {difference:>11}",
                    flush=True,
                )
    largest = largest_difference(rows)
    if options.json:
        print(json.dumps({"rows": rows, "largest": largest}))
    else:
        print(f"largest difference on generated data, where the definitions agree: {largest:.1e}")


if __name__ == "__main__":
    main()
