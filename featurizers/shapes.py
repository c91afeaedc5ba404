"""Feature templates over the make-up of a string: its shape, and its character n-grams."""

import re
import string
from collections import Counter
from dataclasses import dataclass
from typing import Any

from featurizers import parameters
from featurizers.names import bounded, fit
from featurizers.operations import Operation
from featurizers.strings import MAX_N, StringTemplate
from featurizers.template import Adder

START, END = "⊢", "⊣"  # the boundary marks: no keyboard has them, so real text hardly contains them

SHAPE = str.maketrans(
    {**dict.fromkeys(string.ascii_lowercase, "a"), **dict.fromkeys(string.ascii_uppercase, "A")}
    | dict.fromkeys(string.digits, "9")
)
RUN = re.compile(r"([aA9])\1+")


@dataclass(frozen=True, kw_only=True)
class Shape(StringTemplate):
    """The shape of a string: a, A and 9 for runs of ASCII letters and digits; other characters stay.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> Featurizer([Shape()])("Jane.Doe42@gmail.com")
    {'shape_Aa.Aa9@a.a': 1.0}
    """

    template = "shape"

    def adder(self) -> Adder:
        """Add ``shape_SHAPE``."""
        read, head = self.text_reader(), f"{self.prefix}shape_"

        def add(record: Any, out: dict[str, float]) -> None:
            text = read(record)
            if text is not None:
                out[fit(head + shape(text))] = 1.0

        return add

    def operation(self) -> Operation:
        """Give the head of the name."""
        return Operation("shape", (self.field,), self.optional, (f"{self.prefix}shape_",))


@dataclass(frozen=True, kw_only=True)
class CharacterNgrams(StringTemplate):
    """The string contains the n characters ___ in a row, for n from low to high.

    Parameters
    ----------
    low, high
        The shortest and the longest n-gram, in characters, at most 32.
    marks
        Whether the two ends of the string count as characters, written ``⊢`` and ``⊣``.
    shapes
        Whether to take n-grams of the string's shape (see `Shape`) rather than of the string. Their names start with
        ``shapes_``.
    count
        Whether the value is the number of times that an n-gram occurs, rather than 1.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> Featurizer([CharacterNgrams(low=2, high=2)])("a..b")
    {'chars_⊢a': 1.0, 'chars_a.': 1.0, 'chars_..': 1.0, 'chars_.b': 1.0, 'chars_b⊣': 1.0}
    >>> Featurizer([CharacterNgrams(low=1, high=1, marks=False, shapes=True, count=True)])("Abc.def")
    {'shapes_A': 1.0, 'shapes_a': 2.0, 'shapes_.': 1.0}
    """

    template = "character_ngrams"
    low: int
    high: int
    marks: bool = True
    shapes: bool = False
    count: bool = False

    def check(self) -> dict[str, Any]:
        """Check the lengths and the switches."""
        low = parameters.whole(self.template, "low", self.low, 1, MAX_N)
        parameters.whole(self.template, "high", self.high, low, MAX_N)
        for name in ("marks", "shapes", "count"):
            parameters.flag(self.template, name, getattr(self, name))
        return {}

    def adder(self) -> Adder:
        """Add ``chars_NGRAM`` or ``shapes_NGRAM`` for every n-gram."""
        read, head = self.text_reader(), f"{self.prefix}{'shapes' if self.shapes else 'chars'}_"
        marks, shapes, count, lengths = self.marks, self.shapes, self.count, range(self.low, self.high + 1)

        def add(record: Any, out: dict[str, float]) -> None:
            text = read(record)
            if text is None:
                return
            if shapes:
                text = shape(text)
            if marks:
                text = f"{START}{text}{END}"
            n_runs = sum(max(len(text) - n + 1, 0) for n in lengths)
            names = bounded(
                (head + text[i : i + n] for n in lengths for i in range(len(text) - n + 1)), n_runs, "n-grams"
            )
            if not count:
                out.update(dict.fromkeys(names, 1.0))
                return
            for name, times in Counter(names).items():
                out[name] = float(times)

        return add

    def operation(self) -> Operation:
        """Give the head of the names, the marks, the lengths and the switches."""
        texts = (
            f"{self.prefix}{'shapes' if self.shapes else 'chars'}_",
            START if self.marks else "",
            END if self.marks else "",
        )
        numbers = (self.low, self.high, self.shapes, self.count)
        return Operation("character_ngrams", (self.field,), self.optional, texts, numbers)


def shape(text: str) -> str:
    """Return the shape of a string.

    Examples
    --------
    >>> shape("Jane.Doe42@gmail.com")
    'Aa.Aa9@a.a'
    """
    return RUN.sub(r"\1", text.translate(SHAPE))
