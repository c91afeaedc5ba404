"""Feature templates over strings: length, substrings, ends and character classes.

Lengths count characters (Unicode code points), and case matters. A string with a lone surrogate is rejected.
"""

import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from featurizers import parameters
from featurizers.errors import FeaturizeError, shown, what
from featurizers.names import encodable
from featurizers.operations import Operation
from featurizers.template import Adder, Template

MAX_N = 32  # characters in an end or an n-gram: even with the longest prefix the name stays below 256 bytes
MAX_TEXT_BYTES = 128

PUNCTUATION = frozenset(string.punctuation)
CLASSES: dict[str, tuple[str, Callable[[str], bool]]] = {
    "alphanumeric": ("fracOfAlpha", str.isalnum),  # the lecture's name
    "letter": ("fracOfLetter", str.isalpha),
    "digit": ("fracOfDigit", str.isdigit),
    "upper": ("fracOfUpper", str.isupper),
    "lower": ("fracOfLower", str.islower),
    "space": ("fracOfSpace", str.isspace),
    "punctuation": ("fracOfPunctuation", PUNCTUATION.__contains__),  # ASCII only
    "ascii": ("fracOfAscii", str.isascii),
}


@dataclass(frozen=True)
class StringTemplate(Template):
    """A template whose value is a string."""

    def text_reader(self) -> Callable[[Any], str | None]:
        """Return the function that reads the string from a record, as text that UTF-8 can encode (None: it is missing)."""
        read, path = self.reader(), self.field

        def read_text(record: Any) -> str | None:
            value = read(record)
            if isinstance(value, str):
                return value if value.isascii() else encodable(value)
            if value is None:
                return None
            raise FeaturizeError(f"{what(path)} must be a string (got {shown(value)})")

        return read_text


@dataclass(frozen=True, kw_only=True)
class Length(StringTemplate):
    """The length of a string, as a number.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> Featurizer([Length()])("abc@gmail.com")
    {'length': 13.0}
    """

    template = "length"

    def adder(self) -> Adder:
        """Add ``length``."""
        read, name = self.text_reader(), f"{self.prefix}length"

        def add(record: Any, out: dict[str, float]) -> None:
            if text := read(record):
                out[name] = float(len(text))

        return add

    def operation(self) -> Operation:
        """Name the feature."""
        return Operation("length", (self.field,), self.optional, (f"{self.prefix}length",))


@dataclass(frozen=True, kw_only=True)
class LengthGreater(StringTemplate):
    """The length is greater than ___.

    Parameters
    ----------
    than
        One or several lengths.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> Featurizer([LengthGreater("address", than=[5, 10, 20])])({"address": "abc@gmail.com"})
    {'length>5': 1.0, 'length>10': 1.0}
    """

    template = "length_greater"
    than: int | Sequence[int]

    def check(self) -> dict[str, Any]:
        """Check the lengths."""
        return {"than": parameters.wholes(self.template, "than", self.than, 0, 1_000_000_000)}

    def adder(self) -> Adder:
        """Add ``length>N`` for every N below the length."""
        read = self.text_reader()
        named = [(n, f"{self.prefix}length>{n}") for n in parameters.many(self.than)]

        def add(record: Any, out: dict[str, float]) -> None:
            text = read(record)
            if text is not None:
                length = len(text)
                for n, name in named:
                    if length <= n:
                        break  # the lengths are sorted
                    out[name] = 1.0

        return add

    def operation(self) -> Operation:
        """List the names, and the lengths."""
        lengths = parameters.many(self.than)
        names = tuple(f"{self.prefix}length>{n}" for n in lengths)
        return Operation("length_greater", (self.field,), self.optional, names, lengths)


@dataclass(frozen=True, kw_only=True)
class Contains(StringTemplate):
    """The string contains ___.

    Parameters
    ----------
    text
        One or several substrings.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> Featurizer([Contains(text=["@", ".."])])("abc@gmail.com")
    {'contains_@': 1.0}
    """

    template = "contains"
    text: str | Sequence[str]

    def check(self) -> dict[str, Any]:
        """Check the substrings."""
        return {"text": parameters.texts(self.template, "text", self.text, MAX_TEXT_BYTES)}

    def adder(self) -> Adder:
        """Add ``contains_PART`` for every substring in the string."""
        read = self.text_reader()
        named = [(part, f"{self.prefix}contains_{part}") for part in parameters.many(self.text)]

        def add(record: Any, out: dict[str, float]) -> None:
            text = read(record)
            if text is not None:
                for part, name in named:
                    if part in text:
                        out[name] = 1.0

        return add

    def operation(self) -> Operation:
        """List the names, each followed by its substring."""
        texts = (text for part in parameters.many(self.text) for text in (f"{self.prefix}contains_{part}", part))
        return Operation("contains", (self.field,), self.optional, tuple(texts))


@dataclass(frozen=True, kw_only=True)
class StartsWith(StringTemplate):
    """The first n characters equal ___. A string with fewer characters gives no feature.

    Parameters
    ----------
    n
        One or several numbers of characters, at most 32.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> Featurizer([StartsWith(n=[1, 3])])("abc@gmail.com")
    {'startsWith_a': 1.0, 'startsWith_abc': 1.0}
    """

    template = "starts_with"
    n: int | Sequence[int]

    def check(self) -> dict[str, Any]:
        """Check the numbers of characters."""
        return {"n": parameters.wholes(self.template, "n", self.n, 1, MAX_N)}

    def adder(self) -> Adder:
        """Add ``startsWith_HEAD`` for every n."""
        read, head, lengths = self.text_reader(), f"{self.prefix}startsWith_", parameters.many(self.n)

        def add(record: Any, out: dict[str, float]) -> None:
            text = read(record)
            if text is not None:
                for n in lengths:
                    if n <= len(text):
                        out[head + text[:n]] = 1.0

        return add

    def operation(self) -> Operation:
        """Give the head of the names, and the numbers of characters."""
        head = f"{self.prefix}startsWith_"
        return Operation("starts_with", (self.field,), self.optional, (head,), parameters.many(self.n))


@dataclass(frozen=True, kw_only=True)
class EndsWith(StringTemplate):
    """The last n characters equal ___. A string with fewer characters gives no feature.

    Parameters
    ----------
    n
        One or several numbers of characters, at most 32.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> Featurizer([EndsWith(n=[1, 3])])("abc@gmail.com")
    {'endsWith_m': 1.0, 'endsWith_com': 1.0}
    """

    template = "ends_with"
    n: int | Sequence[int]

    def check(self) -> dict[str, Any]:
        """Check the numbers of characters."""
        return {"n": parameters.wholes(self.template, "n", self.n, 1, MAX_N)}

    def adder(self) -> Adder:
        """Add ``endsWith_TAIL`` for every n."""
        read, head, lengths = self.text_reader(), f"{self.prefix}endsWith_", parameters.many(self.n)

        def add(record: Any, out: dict[str, float]) -> None:
            text = read(record)
            if text is not None:
                for n in lengths:
                    if n <= len(text):
                        out[head + text[-n:]] = 1.0

        return add

    def operation(self) -> Operation:
        """Give the head of the names, and the numbers of characters."""
        head = f"{self.prefix}endsWith_"
        return Operation("ends_with", (self.field,), self.optional, (head,), parameters.many(self.n))


@dataclass(frozen=True, kw_only=True)
class Fraction(StringTemplate):
    """The fraction of the string's characters that belong to a class. An empty string gives no feature.

    Parameters
    ----------
    of
        One or several of: alphanumeric (named fracOfAlpha, as in the lecture), letter, digit, upper, lower, space,
        punctuation (of ASCII), ascii.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> Featurizer([Fraction(of=["alphanumeric", "digit", "punctuation"])])("abc@gmail.com")
    {'fracOfAlpha': 0.846..., 'fracOfPunctuation': 0.153...}
    """

    template = "fraction"
    of: str | Sequence[str]

    def check(self) -> dict[str, Any]:
        """Check the classes."""
        return {"of": parameters.choices(self.template, "of", self.of, tuple(CLASSES))}

    def adder(self) -> Adder:
        """Add ``fracOfCLASS`` for every class that has characters in the string."""
        read = self.text_reader()
        named = [(self.prefix + CLASSES[kind][0], CLASSES[kind][1]) for kind in parameters.many(self.of)]

        def add(record: Any, out: dict[str, float]) -> None:
            if text := read(record):
                for name, belongs in named:
                    if n := sum(map(belongs, text)):
                        out[name] = n / len(text)

        return add

    def operation(self) -> Operation:
        """List the names, and the places of the classes in `CLASSES`."""
        kinds = parameters.many(self.of)
        names = tuple(self.prefix + CLASSES[kind][0] for kind in kinds)
        places = tuple(list(CLASSES).index(kind) for kind in kinds)
        return Operation("fraction", (self.field,), self.optional, names, places)
