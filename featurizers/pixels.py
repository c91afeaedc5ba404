"""The feature template over images: pixel intensity at row ___, column ___ and channel ___."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from featurizers import parameters
from featurizers.errors import FeaturizeError, shown, what
from featurizers.names import MAX_FEATURES
from featurizers.numbers import number
from featurizers.operations import Operation
from featurizers.template import Adder, Template

CACHED_SIZES = 4  # the images of one stream mostly have the same size


@dataclass(frozen=True, kw_only=True)
class Pixels(Template):
    """The intensity of a pixel at row ___, column ___ and channel ___, as it is.

    An image is a list of rows, and a row a list of pixels. A pixel is a number, or a list with a number for each
    channel. An array with a method ``tolist``, such as numpy's, will do. An image has at most 10,000 numbers.

    Parameters
    ----------
    channels
        The names of the channels, for pixels that are lists.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> Featurizer([Pixels("image")])({"image": [[0.8, 0], [0.5, 0.25]]})
    {'pixel(0,0)': 0.8, 'pixel(1,0)': 0.5, 'pixel(1,1)': 0.25}
    >>> Featurizer([Pixels()])([[[0.8, 0, 0.1]]])
    {'pixel(0,0,red)': 0.8, 'pixel(0,0,blue)': 0.1}
    """

    template = "pixels"
    channels: str | Sequence[str] = ("red", "green", "blue")

    def check(self) -> dict[str, Any]:
        """Check the channels."""
        return {"channels": parameters.texts(self.template, "channels", self.channels, 64)}

    def adder(self) -> Adder:
        """Add ``pixel(ROW,COLUMN)`` or ``pixel(ROW,COLUMN,CHANNEL)`` for every pixel that is not 0."""
        read, path, head, channels = self.reader(), self.field, f"{self.prefix}pixel(", parameters.many(self.channels)

        @lru_cache(CACHED_SIZES)
        def names(rows: int, columns: int, deep: bool) -> list[list[str]]:
            ends = [f",{channel})" for channel in channels] if deep else [")"]
            return [[f"{head}{row},{column}{end}" for column in range(columns) for end in ends] for row in range(rows)]

        def add(record: Any, out: dict[str, float]) -> None:
            image = read(record)
            if image is None:
                return
            rows = image.tolist() if hasattr(image, "tolist") else image
            if not _is_list(rows) or not all(map(_is_list, rows)):
                raise FeaturizeError(f"{what(path)} must be a list of rows of pixels (got {shown(rows)})")
            columns = len(rows[0]) if rows else 0
            deep = columns > 0 and _is_list(rows[0][0])
            size = len(rows) * columns * (len(channels) if deep else 1)
            if size > MAX_FEATURES:
                raise FeaturizeError(f"{what(path)} must have at most {MAX_FEATURES} numbers (got {size})")
            for index, (row, row_names) in enumerate(zip(rows, names(len(rows), columns, deep), strict=True)):
                if len(row) != columns:
                    raise FeaturizeError(f"{what(path)} must have {columns} pixels in row {index} (got {len(row)})")
                values = _flat(row, index, path, len(channels)) if deep else row
                for name, value in zip(row_names, values, strict=True):
                    if type(value) is not float or value - value != 0.0:
                        parsed = number(value, f"{path or 'image'}[{index}]")
                        if parsed is None:
                            raise FeaturizeError(f"field '{path or 'image'}[{index}]' must be a number (got None)")
                        value = parsed
                    if value:
                        out[name] = value

        return add

    def operation(self) -> Operation:
        """Give the head of the names, and their ends: of a pixel that is a number, then of each channel."""
        ends = (f",{channel})" for channel in parameters.many(self.channels))
        return Operation("pixels", (self.field,), self.optional, (f"{self.prefix}pixel(", ")", *ends))


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _flat(row: Sequence[Any], index: int, path: str | None, n_channels: int) -> list[Any]:
    """Return the numbers of a row, pixel after pixel, channel after channel."""
    for pixel in row:
        if not _is_list(pixel) or len(pixel) != n_channels:
            raise FeaturizeError(
                f"{what(path)} must have {n_channels} channels a pixel in row {index} (got {shown(pixel)})"
            )
    return [value for pixel in row for value in pixel]
