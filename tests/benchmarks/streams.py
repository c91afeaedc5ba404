"""Generated streams for the benchmarks, each written both as msgpack and as Vowpal Wabbit's text.

Caveats: the streams are drawn from known distributions, and nothing drifts in them. They serve to measure time and memory;
`tests.benchmarks.league` measures how good the predictions are on real data.
"""

from pathlib import Path

import msgpack
import numpy as np

__all__ = ["write_dense", "write_zipf"]


def write_zipf(
    folder: Path, n_examples: int = 200_000, n_features: int = 25, exponent: float = 1.24
) -> tuple[Path, Path]:
    """Write sparse binary features whose names follow Zipf's law; return the paths of the msgpack and of the text.

    With the defaults about 240,000 names occur. Targets are drawn from a logistic model over half of the names.
    """
    rng = np.random.default_rng(1)
    n_names = 1_000_000
    ranks = np.arange(1, n_names + 1) ** -exponent
    drawn = np.searchsorted(np.cumsum(ranks / ranks.sum()), rng.random((n_examples, 3 * n_features)))
    truth = rng.normal(0.0, 1.0, n_names + 1) * (rng.random(n_names + 1) < 0.5)
    packed, text = folder / "zipf.msgpack", folder / "zipf.vw"
    with packed.open("wb") as binary, text.open("w") as lines:
        for row in drawn:
            ids = list(dict.fromkeys(row.tolist()))[:n_features]
            target = 1 if rng.random() < 1.0 / (1.0 + np.exp(-0.6 * truth[ids].sum())) else -1
            names = [f"w={i}" for i in ids]
            binary.write(msgpack.packb((target, dict.fromkeys(names, 1.0))))
            lines.write(f"{target} | {' '.join(names)}\n")
    return packed, text


def write_dense(folder: Path, n_examples: int = 200_000, n_features: int = 30) -> tuple[Path, Path]:
    """Write dense numbers, as arrays of float32 in the msgpack and as ``x0:1.234`` in the text; return the two paths.

    Each feature has a mean and a spread of its own, and is written with four digits. Targets are drawn from a logistic model.
    """
    rng = np.random.default_rng(1)
    spreads = 10.0 ** rng.uniform(-1.0, 1.0, n_features)
    numbers = spreads * (rng.normal(size=(n_examples, n_features)) + rng.normal(size=n_features))
    scores = (numbers - numbers.mean(axis=0)) / spreads @ rng.normal(0.0, 0.4, n_features)
    targets = np.where(rng.random(n_examples) < 1.0 / (1.0 + np.exp(-scores)), 1, -1)
    packed, text = folder / "dense.msgpack", folder / "dense.vw"
    with packed.open("wb") as binary, text.open("w") as lines:
        for target, row in zip(targets.tolist(), numbers.tolist(), strict=True):
            digits = [f"{number:.4g}" for number in row]
            array = np.array([float(number) for number in digits], "<f4")
            binary.write(msgpack.packb((target, msgpack.ExtType(4, array.tobytes()))))
            lines.write(f"{target} | {' '.join(f'x{i}:{number}' for i, number in enumerate(digits))}\n")
    return packed, text
