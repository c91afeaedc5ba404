"""A generated stream for the benchmarks: sparse binary features whose names follow Zipf's law."""

from pathlib import Path

import msgpack
import numpy as np

__all__ = ["write_zipf"]


def write_zipf(
    folder: Path, n_examples: int = 200_000, n_features: int = 25, exponent: float = 1.24
) -> tuple[Path, Path]:
    """Write the same examples as msgpack and as Vowpal Wabbit's text; return both paths.

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
