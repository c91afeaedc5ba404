"""What a file's rows suggest: the task, its labels, the columns' kinds, and what to be warned of. Each with its reason.

Pure functions on rows that are in memory; `learner init` reads them and prints what is found.
"""

import itertools
import math
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from featurizers.columns import NUMBER_PARSERS, is_missing, parse_money, parse_number
from learner.files.profile import Profile, profiles

__all__ = ["Proposal", "propose"]

MIN_ROWS = 30  # below which nothing is said about the target
MIN_RUNS_DEVIATIONS = 6.0  # of the number of runs of equal outcomes below that of a random order
RARE, SKEWED = 0.02, 3.0  # the share of the rarer class; the skewness of a number
LEAK_CORRELATION, LEAK_SHARE = 0.9999, 0.9999
MIN_LEAK_ROWS = 3.0  # rows for each value of a column, on average, if it alone decides the outcome


class Proposal(NamedTuple):
    """What is proposed for a file.

    Attributes
    ----------
    spec : dict
        Data of a spec: ``task``, ``target``, ``labels`` if there are some, and ``columns``.
    reasons : dict
        For ``task`` and ``labels``, why.
    profiles : dict
        What each column holds, by name.
    warnings : list of str
    """

    spec: dict[str, Any]
    reasons: dict[str, str]
    profiles: dict[str, Profile]
    warnings: list[str]


def propose(rows: Sequence[Mapping[str, Any]], target: str) -> Proposal:
    """Return what some rows suggest.

    >>> rows = [{"size": str(k % 7), "late": "yes" if k % 3 else "no"} for k in range(60)]
    >>> found = propose(rows, "late")
    >>> found.spec, found.reasons["task"]
    ({'task': 'binary', 'target': 'late', 'columns': {'size': {'kind': 'number'}}}, 'outcomes that say yes or no: no, yes')
    """
    columns = profiles(rows)
    outcome = columns.pop(target)
    values = [row.get(target) for row in rows]
    task, labels, reasons = _task(target, outcome, [value for value in values if not is_missing(value)])
    places = _places(columns, rows)
    kinds = {name: places.get(name, column.column) for name, column in columns.items() if column.column}
    if task == "regression" and (outcome.column != {"kind": "number"} or _has_separators(outcome)):
        kinds[target] = outcome.column  # so that its cells are read as that
    spec = {"task": task, "target": target, **({"labels": labels} if labels else {}), "columns": kinds}
    known = [(row, value) for row, value in zip(rows, values, strict=True) if not is_missing(value)]
    warnings = [*_missing_outcomes(outcome), *_column_warnings(columns)]
    if len(known) >= MIN_ROWS:
        outcomes = _as_numbers(outcome, [value for _, value in known]) if task == "regression" else None
        if outcome.n_distinct == 1:
            return Proposal(
                spec, reasons, columns, [*warnings, f"all outcomes are {outcome.example:.60}: nothing to learn"]
            )
        warnings += _leaks(columns, known, outcomes)
        warnings += _order(values, outcomes)
        warnings += _skew(outcomes) if outcomes else _rare([value for _, value in known])
    return Proposal(spec, reasons, columns, warnings)


# ---- the task ------------------------------------------------------------------------------------------------------------
def _task(target: str, outcome: Profile, values: Sequence[Any]) -> tuple[str, list[str] | None, dict[str, str]]:
    """Return the task, the labels, and the reasons."""
    counts = Counter(str(value).strip() for value in values)
    names = sorted(counts)
    if outcome.kind == "yes_no":
        return "binary", None, {"task": f"outcomes that say yes or no: {', '.join(names)}"}
    if len(names) == 2 and {float(name) for name in names if parse_number(name) is not None} in (
        {0.0, 1.0},
        {-1.0, 1.0},
    ):
        return "binary", None, {"task": f"two outcomes: {' and '.join(names)}"}
    if len(names) == 2:
        labels = _ordered(target, counts)
        return "binary", labels, {
            "task": f"two outcomes: {' and '.join(labels)}",
            "labels": f"{labels[1]} is the positive one; exchange them if it should be {labels[0]}",
        }  # fmt: skip
    if outcome.kind in NUMBER_PARSERS:
        note = "numbers"
        if all(float(number).is_integer() for number in _as_numbers(outcome, values)):
            note += '; of counts try task = "poisson", of names try "multiclass"'
        return "regression", None, {"task": f"{len(names)} different {note}"}
    return "multiclass", None, {"task": f"{len(names)} different outcomes"}


def _has_separators(outcome: Profile) -> bool:
    """Tell whether numbers are written with separators of thousands, which only the column's kind reads."""
    return outcome.kind == "number" and "with separators" in outcome.reason


def _ordered(target: str, counts: Counter[str]) -> list[str]:
    """Return two labels, the positive one last: the larger number, or the one that denies nothing.

    If that decides nothing, it is what the target is called, or the rarer one.
    """
    if all(parse_number(name) is not None for name in counts):
        return sorted(counts, key=lambda name: parse_number(name) or 0.0)
    words = set(_WORD.findall(target.lower()))

    def rank(name: str) -> tuple[Any, ...]:
        of_name = set(_WORD.findall(name.lower()))
        return not of_name & DENIALS, bool(words & of_name), -counts[name], name

    return sorted(counts, key=rank)


DENIALS = frozenset((
    "no", "not", "non", "none", "never", "without", "off", "negative", "false", "nein", "kein", "nicht", "não", "nao", "nie",
    "nee", "niet", "nej", "inte", "ei", "ne", "нет", "не", "hayır", "否",
))  # fmt: skip
_WORD = re.compile(r"[^\W_]+")


def _as_numbers(outcome: Profile, values: Sequence[Any]) -> list[float]:
    """Return outcomes as numbers; those that are none are left out."""
    parse = NUMBER_PARSERS.get(outcome.kind, parse_number)
    decimal = outcome.column.get("decimal", ".")
    numbers = (parse(value, decimal) if isinstance(value, str) else float(value) for value in values)
    return [number for number in numbers if number is not None]


def _places(columns: Mapping[str, Profile], rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return the columns that are a latitude, each with the column of its longitude, by name."""
    found = {}
    for name, column in columns.items():
        for latitude, longitude in (("latitude", "longitude"), ("lat", "lon"), ("lat", "lng"), ("lat", "long")):
            other = name.lower().replace(latitude, longitude)
            match = next((each for each in columns if each.lower() == other and each != name), None)
            if match and column.kind == columns[match].kind == "number" and _within(rows, name, match):
                found[name] = {"kind": "place", "with": match}
                break
    return found


def _within(rows: Sequence[Mapping[str, Any]], latitude: str, longitude: str) -> bool:
    """Tell whether all values are degrees."""

    def degrees(name: str, most: float) -> bool:
        values = (row.get(name) for row in rows)
        numbers = (
            parse_number(value) if isinstance(value, str) else value for value in values if not is_missing(value)
        )
        return all(number is None or abs(number) <= most for number in numbers)

    return degrees(latitude, 90.0) and degrees(longitude, 180.0)


# ---- warnings ------------------------------------------------------------------------------------------------------------
def _missing_outcomes(outcome: Profile) -> list[str]:
    if not outcome.n_missing:
        return []
    return [f"{outcome.n_missing} of {outcome.n} rows have no outcome: they are left out"]


def _column_warnings(columns: Mapping[str, Profile]) -> list[str]:
    """Warn of columns that tell nothing."""
    warnings = []
    for name, column in columns.items():
        if column.kind == "id":
            warnings.append(f"{name}: {column.reason}: an id, left out; if it means something, give it another kind")
        elif column.n_distinct == 1 and not column.n_missing:
            warnings.append(f"{name}: always {column.example:.60}")
    return warnings


def _leaks(
    columns: Mapping[str, Profile], known: Sequence[tuple[Mapping[str, Any], Any]], outcomes: list[float] | None
) -> list[str]:
    """Warn of columns that alone decide the outcome: they are probably known only with it."""
    return [
        f"{name}: it alone decides the outcome: is it known beforehand? If not, it leaks: --ignore {name}"
        for name, column in columns.items()
        if column.n_distinct > 1
        and (_correlates(name, column, known) if outcomes is not None else _decides(name, column, known))
    ]


def _decides(name: str, column: Profile, known: Sequence[tuple[Mapping[str, Any], Any]]) -> bool:
    """Tell whether each value of a column goes with one outcome, or a number's order separates the outcomes."""
    by_value: dict[str, Counter[str]] = defaultdict(Counter)
    for row, outcome in known:
        by_value[str(row.get(name))][str(outcome)] += 1
    n = len(known)
    if n >= MIN_LEAK_ROWS * len(by_value):
        return sum(counts.most_common(1)[0][1] for counts in by_value.values()) >= LEAK_SHARE * n
    if (parse := NUMBER_PARSERS.get(column.kind)) is None:
        return False
    pairs = [
        (parse(value) if isinstance(value, str) else value, str(outcome))
        for row, outcome in known
        if not is_missing(value := row.get(name))
    ]
    numbers = sorted((number, outcome) for number, outcome in pairs if number is not None)
    changes = sum(a[1] != b[1] for a, b in itertools.pairwise(numbers))
    return len(numbers) >= MIN_ROWS and changes == len({outcome for _, outcome in numbers}) - 1 > 0


def _correlates(name: str, column: Profile, known: Sequence[tuple[Mapping[str, Any], Any]]) -> bool:
    """Tell whether a number is the outcome in other units."""
    if (parse := NUMBER_PARSERS.get(column.kind)) is None:
        return False
    pairs = [(_number(parse, row.get(name)), _number(parse_money, outcome)) for row, outcome in known]
    both = [(x, y) for x, y in pairs if x is not None and y is not None]
    if len(both) < MIN_ROWS or len({x for x, _ in both}) == 1 or len({y for _, y in both}) == 1:
        return False
    return abs(statistics.correlation(*zip(*both, strict=True))) >= LEAK_CORRELATION


def _number(parse: Any, value: Any) -> float | None:
    if is_missing(value):
        return None
    return parse(value) if isinstance(value, str) else float(value)


def _order(values: Sequence[Any], outcomes: list[float] | None) -> list[str]:
    """Warn if outcomes come in runs.

    The number of runs is compared with that of a random order (Wald and Wolfowitz, 1940, "On a test whether two samples are
    from the same population").
    """
    if outcomes is not None:
        median = statistics.median(outcomes)
        signs = [outcome > median for outcome in outcomes if outcome != median]
    else:
        common = Counter(map(str, values)).most_common(1)[0][0]
        signs = [str(value) == common for value in values]
    n, positive = len(signs), sum(signs)
    negative = n - positive
    if not positive or not negative:
        return []
    runs = 1 + sum(a != b for a, b in itertools.pairwise(signs))
    mean = 1 + 2 * positive * negative / n
    deviation = math.sqrt(max((mean - 1) * (mean - 2) / (n - 1), 1e-9))
    if runs - mean > -MIN_RUNS_DEVIATIONS * deviation:
        return []
    order = f"{runs} in {n} rows, {mean:.0f} in a random order"
    return [f"outcomes come in runs ({order}): judge by the late loss, the loss on the next row flatters"]


def _rare(values: Sequence[Any]) -> list[str]:
    name, n = Counter(map(str, values)).most_common()[-1]
    if n >= RARE * len(values):
        return []
    return [f"only {n} of {len(values)} outcomes are {name}: compare the loss with the best constant's"]


def _skew(outcomes: list[float]) -> list[str]:
    mean, deviation = statistics.fmean(outcomes), statistics.pstdev(outcomes)
    if not deviation or statistics.fmean(((y - mean) / deviation) ** 3 for y in outcomes) < SKEWED:
        return []
    return ['a few outcomes are much larger than the others; if their ratios matter, try task = "poisson"']
