"""The feature template over places: latitude is in [...] and longitude is in [...].

Cells are squares in degrees, and their corners are multiples of their size. A cell includes its lower edges and
excludes its upper edges. At the edges of the world:

- The last cell includes latitude 90.
- -180 and 180 are one meridian, which belongs to the cells that start at -180.
- At a pole all longitudes are one place, so each pole is a cell of its own, with longitude in [-180,180].
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from math import floor
from typing import Any

from featurizers import parameters
from featurizers.errors import FeaturizeError, shown, what
from featurizers.names import fit
from featurizers.numbers import number_reader
from featurizers.operations import Operation
from featurizers.template import Adder, Template, join

MIN_SIZE = 1e-6  # about 11 cm
CACHED_PLACES = 16_384
MAX_DIGITS, EXACT = 12, 2**53  # of a size in a program: then all of its numbers are exact


@dataclass(frozen=True, kw_only=True)
class Cells(Template):
    """Latitude is in [___, ___] and longitude is in [___, ___], at one or several resolutions.

    Parameters
    ----------
    field
        The map that holds the latitude and the longitude (None: the record).
    size
        One or several sizes of cells in degrees. Each must divide 90, so that no cell reaches over a pole.
    lat, lon
        The fields of latitude and longitude in degrees, within [-90, 90] and [-180, 180].
    parse
        Whether strings are read as numbers.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> f = Featurizer([Cells(size=[10, 0.1])])
    >>> for name in f({"lat": 37.4068176, "lon": -122.1715122}):
    ...     print(name)
    lat in [30,40] lon in [-130,-120]
    lat in [37.4,37.5] lon in [-122.2,-122.1]
    >>> f({"lat": 91.2, "lon": 0})
    Traceback (most recent call last):
    featurizers.errors.FeaturizeError: field 'lat' must be within [-90, 90] (got 91.2)
    """

    template = "cells"
    size: float | Sequence[float]
    lat: str = "lat"
    lon: str = "lon"
    parse: bool = False

    def check(self) -> dict[str, Any]:
        """Check the sizes and the fields."""
        size = parameters.finites(self.template, "size", self.size)
        if not all(MIN_SIZE <= degrees <= 90 and 90 % _exact(degrees) == 0 for degrees in size):
            parameters.refuse(self.template, "size", f"degrees within [{MIN_SIZE}, 90] that divide 90", self.size)
        parameters.texts(self.template, "lat", [self.lat], 64)
        parameters.texts(self.template, "lon", [self.lon], 64)
        parameters.flag(self.template, "parse", self.parse)
        return {"size": tuple(sorted(size, reverse=True))}

    def naming(self) -> dict[str, Any]:
        """Return what the names depend on: not the fields of latitude and longitude."""
        return {key: value for key, value in super().naming().items() if key not in ("lat", "lon")}

    def adder(self) -> Adder:
        """Add ``lat in [A,B] lon in [C,D]`` at every resolution."""
        lat_path, lon_path = join(self.field, self.lat), join(self.field, self.lon)
        read_lat = number_reader(lat_path, self.optional, self.parse)
        read_lon = number_reader(lon_path, self.optional, self.parse)
        intervals = [interval(size) for size in parameters.many(self.size)]
        prefix = self.prefix

        # Places recur (airports, shops, homes), and a look-up is faster than computing the cells.
        @lru_cache(CACHED_PLACES)
        def names(lat: float, lon: float) -> list[str]:
            if not -90.0 <= lat <= 90.0:
                raise FeaturizeError(f"{what(lat_path)} must be within [-90, 90] (got {shown(lat)})")
            if not -180.0 <= lon <= 180.0:
                raise FeaturizeError(f"{what(lon_path)} must be within [-180, 180] (got {shown(lon)})")
            pole = abs(lat) == 90.0
            east = -180.0 if lon == 180.0 else lon
            return [
                fit(f"{prefix}lat in [{of(lat, 90)}] lon in [{'-180,180' if pole else of(east, 180)}]")
                for of in intervals
            ]

        def add(record: Any, out: dict[str, float]) -> None:
            lat = read_lat(record)
            lon = read_lon(record)
            if lat is not None and lon is not None:
                for name in names(lat, lon):
                    out[name] = 1.0

        return add

    def operation(self) -> Operation | None:
        """Give parts of the names; of each size p / q these two, its digits after the point, and it without the point."""
        numbers: list[float] = []
        for size in parameters.many(self.size):
            exact = _exact(size)
            n_digits = max(-int(Decimal(repr(size)).as_tuple().exponent), 0)
            if n_digits > MAX_DIGITS or 180 * exact.denominator > EXACT:
                return None
            numbers += exact.numerator, exact.denominator, n_digits, int(exact * 10**n_digits)
        fields = (join(self.field, self.lat), join(self.field, self.lon))
        texts = (f"{self.prefix}lat in [", "] lon in [", "-180,180")
        return Operation("cells", fields, self.optional, texts, tuple(numbers), parses=self.parse)


def interval(size: float) -> Callable[[float, int], str]:
    """Return the function that writes the interval of a given size that holds a coordinate within [-limit, limit].

    Examples
    --------
    >>> of = interval(0.1)
    >>> of(37.4068176, 90), of(37.4, 90), of(-0.0, 90), of(-1e-9, 90), of(90.0, 90)
    ('37.4,37.5', '37.4,37.5', '0,0.1', '-0.1,0', '89.9,90')
    """
    exact = _exact(size)
    p, q = exact.numerator, exact.denominator

    @lru_cache(CACHED_PLACES)
    def text(index: int) -> str:
        return ",".join(f"{(Decimal(i * p) / Decimal(q)).normalize() + 0:f}" for i in (index, index + 1))

    def of(degrees: float, limit: int) -> str:
        index = floor(degrees * q / p)
        # The product is rounded, so at an edge the index may be off by one. The edge itself, p * i / q, is exact: it is
        # the same float that the edge's decimal text is parsed to.
        if degrees < p * index / q:
            index -= 1
        elif degrees >= p * (index + 1) / q:
            index += 1
        return text(min(index, limit * q // p - 1))

    return of


def _exact(size: float) -> Fraction:
    """Return a size exactly as its decimal text has it: 0.1 is one tenth, not the nearest float."""
    return Fraction(repr(size))
