"""Feature templates over moments in time.

A moment is a string in ISO 8601 (``2013-01-01``, ``2013-01-01T05:15:00-05:00``) or a number of seconds since 1970-01-01
UTC. All features are in UTC: a moment with an offset is converted, and a moment without an offset is taken as UTC. For
the hour on the wall, send the wall's time without an offset.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain
from math import cos, pi, sin
from numbers import Real
from typing import Any

from featurizers import parameters
from featurizers.errors import FeaturizeError, shown, what
from featurizers.numbers import number
from featurizers.operations import Operation
from featurizers.template import Adder, Template
from featurizers.values import plain

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
DAY_SECONDS = 86_400

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
PARTS: dict[str, Callable[[datetime], str]] = {
    "hour": lambda moment: f"hour={moment.hour}",
    "weekday": lambda moment: f"weekday={WEEKDAYS[moment.weekday()]}",
    "weekend": lambda moment: "weekend" if moment.weekday() >= 5 else "",
    "day": lambda moment: f"day={moment.day}",
    "month": lambda moment: f"month={moment.month}",
    "year": lambda moment: f"year={moment.year}",
}


def _day(moment: datetime) -> float:
    """Return the fraction of the day that is over."""
    return (moment.hour * 3600 + moment.minute * 60 + moment.second + moment.microsecond * 1e-6) / DAY_SECONDS


def _year(moment: datetime) -> float:
    """Return the fraction of the year that is over; a leap year has 366 days, so the fraction stays below 1."""
    year = moment.year
    days = 366 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 365
    return (moment.timetuple().tm_yday - 1 + _day(moment)) / days


CYCLES: dict[str, Callable[[datetime], float]] = {
    "day": _day,
    "week": lambda moment: (moment.weekday() + _day(moment)) / 7,
    "year": _year,
}


# ---- moments in a program: it reads some of the forms that Python reads ---------------------------------------------------
TIMES = ("", *(f"{mark}%H:%M{rest}{zone}" for mark in "T " for rest in ("", ":%S", ":%S.%f") for zone in ("", "%z")))
ISO_FORMS = tuple(f"%Y-%m-%d{time}" for time in TIMES)
DIRECTIVES = "YymdHMSfz%"


def can_program(form: str) -> bool:
    """Tell whether a program can read moments in a format of `datetime.strptime`.

    >>> can_program("%d.%m.%Y %H:%M"), can_program("%d %b %Y")
    (True, False)
    """
    letters = re.findall("%(.?)", form, re.DOTALL)
    return form.isascii() and set(letters) <= set(DIRECTIVES) and not {"Y", "y"} <= set(letters)


def moment_of(value: Any, path: str | None) -> datetime:
    """Return a moment as a datetime in UTC.

    Examples
    --------
    >>> print(moment_of("2013-01-01T05:15:00-05:00", "at"), moment_of(0, "at"))
    2013-01-01 10:15:00+00:00 1970-01-01 00:00:00+00:00
    >>> moment_of("New Year", "at")
    Traceback (most recent call last):
    featurizers.errors.FeaturizeError: field 'at' must be an ISO 8601 date or time, or unix seconds (got 'New Year')
    """
    if not isinstance(value, str) and isinstance(text := plain(value), str):  # a date of Python, numpy or pandas
        value = text
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        if isinstance(value, Real) and not isinstance(value, bool):
            return EPOCH + timedelta(seconds=number(value, path) or 0.0)
    except OverflowError:
        raise FeaturizeError(f"{what(path)} must be within the years 1 to 9999 (got {shown(value)})") from None
    except FeaturizeError:
        raise
    except ValueError:  # raised by fromisoformat; the error below names the field
        pass
    raise FeaturizeError(f"{what(path)} must be an ISO 8601 date or time, or unix seconds (got {shown(value)})")


@dataclass(frozen=True)
class MomentTemplate(Template):
    """A template whose value is a moment in time."""

    def moment_reader(self) -> Callable[[Any], datetime | None]:
        """Return the function that reads the moment from a record (None: it is missing)."""
        read, path = self.reader(), self.field

        def read_moment(record: Any) -> datetime | None:
            value = read(record)
            return None if value is None else moment_of(value, path)

        return read_moment


@dataclass(frozen=True, kw_only=True)
class TimeParts(MomentTemplate):
    """A part of the moment equals ___, in UTC.

    Parameters
    ----------
    of
        One or several of: hour, weekday, weekend, day, month, year.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> Featurizer([TimeParts("at", of=["hour", "weekday", "weekend"])])({"at": "2026-11-22T09:30:00"})
    {'hour=9': 1.0, 'weekday=Sun': 1.0, 'weekend': 1.0}
    """

    template = "time_parts"
    of: str | Sequence[str]

    def check(self) -> dict[str, Any]:
        """Check the parts."""
        return {"of": parameters.choices(self.template, "of", self.of, tuple(PARTS))}

    def adder(self) -> Adder:
        """Add ``PART=VALUE`` for every part, and plain ``weekend`` on Saturdays and Sundays."""
        read, prefix, parts = self.moment_reader(), self.prefix, [PARTS[name] for name in parameters.many(self.of)]

        def add(record: Any, out: dict[str, float]) -> None:
            moment = read(record)
            if moment is not None:
                for part in parts:
                    if name := part(moment):
                        out[prefix + name] = 1.0

        return add

    def operation(self) -> Operation:
        """Give the names, or heads of them, the weekdays and the forms of moments; the places of the parts in `PARTS`."""
        of = parameters.many(self.of)
        heads = (f"{self.prefix}{part}" if part == "weekend" else f"{self.prefix}{part}=" for part in of)
        places = tuple(map([*PARTS].index, of))
        return Operation("time_parts", (self.field,), self.optional, (*heads, *WEEKDAYS, *ISO_FORMS), places)


@dataclass(frozen=True, kw_only=True)
class TimeCycles(MomentTemplate):
    """Where the moment is in the day, week or year, as cosine and sine, in UTC.

    Parameters
    ----------
    of
        One or several of: day, week (from Monday), year.
    harmonics
        The number of waves: with 3, there are features of one, two and three waves a cycle.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> Featurizer([TimeCycles("at", of=["day"])])({"at": "2026-11-22T03:00:00"})
    {'cos(2πday)': 0.707..., 'sin(2πday)': 0.707...}
    """

    template = "time_cycles"
    of: str | Sequence[str]
    harmonics: int = 1

    def check(self) -> dict[str, Any]:
        """Check the cycles and the number of waves."""
        parameters.whole(self.template, "harmonics", self.harmonics, 1, 100)
        return {"of": parameters.choices(self.template, "of", self.of, tuple(CYCLES))}

    def adder(self) -> Adder:
        """Add ``cos(2πCYCLE)``, ``sin(2πCYCLE)``, ``cos(4πCYCLE)`` and so on."""
        read = self.moment_reader()
        waves = [(CYCLES[cycle], turn, cos_name, sin_name) for cycle, turn, cos_name, sin_name in self._waves()]

        def add(record: Any, out: dict[str, float]) -> None:
            moment = read(record)
            if moment is None:
                return
            for part, turn, cos_name, sin_name in waves:
                angle = turn * part(moment)
                if c := cos(angle):
                    out[cos_name] = c
                if s := sin(angle):
                    out[sin_name] = s

        return add

    def operation(self) -> Operation:
        """Give the names of each wave's cosine and sine, and the forms of moments; of each wave its cycle and frequency."""
        waves = self._waves()
        names = chain(*((cos_name, sin_name) for _, _, cos_name, sin_name in waves))
        numbers = chain(*(([*CYCLES].index(cycle), turn) for cycle, turn, _, _ in waves))
        return Operation("time_cycles", (self.field,), self.optional, (*names, *ISO_FORMS), tuple(numbers))

    def _waves(self) -> list[tuple[str, float, str, str]]:
        """Return the cycle, the frequency and the names of cosine and sine of each wave."""
        waves = []
        for cycle in parameters.many(self.of):
            for k in range(1, self.harmonics + 1):
                wave = f"{2 * k}π{cycle}"
                waves.append((cycle, 2 * pi * k, f"{self.prefix}cos({wave})", f"{self.prefix}sin({wave})"))
        return waves
