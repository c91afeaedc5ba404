"""The feature template over the words of a text."""

import re
from collections import Counter
from dataclasses import dataclass
from itertools import chain
from math import log1p
from typing import Any

from featurizers import parameters
from featurizers.names import SAFE_CHARACTERS, bounded, fit
from featurizers.operations import Operation
from featurizers.strings import StringTemplate
from featurizers.template import Adder

MAX_N = 5
MAX_TOKEN_BYTES = 256
VALUES = ("presence", "count", "log")
DEFAULT_TOKEN = r"[^\W_]+(?:['’][^\W_]+)*"  # noqa: S105 - the pattern of a word, not a password
MAX_COUNTED = 256  # times that a word occurs in a text, in a program


@dataclass(frozen=True, kw_only=True)
class Words(StringTemplate):
    """The text contains the word ___, or the words ___ in a row, up to n words.

    Parameters
    ----------
    n
        The longest run of words, at most 5.
    lower
        Whether case is ignored.
    value
        ``presence``: 1. ``count``: the number of times that the words occur. ``log``: ln(1 + count).
    token
        The regular expression of a word; a word is the whole match. The default takes letters and digits of any script,
        with apostrophes inside. It runs on every text, so it must not backtrack without bound.

    Examples
    --------
    >>> from featurizers import Featurizer
    >>> Featurizer([Words("text", n=2)])({"text": "Don't call, don't!"})
    {"word_don't": 1.0, 'word_call': 1.0, "word_don't call": 1.0, "word_call don't": 1.0}
    >>> Featurizer([Words(value="log")])("free free free")
    {'word_free': 1.386...}
    """

    template = "words"
    n: int = 1
    lower: bool = True
    value: str = "presence"
    token: str = DEFAULT_TOKEN

    def check(self) -> dict[str, Any]:
        """Check the run length, the kind of value and the pattern."""
        parameters.whole(self.template, "n", self.n, 1, MAX_N)
        parameters.flag(self.template, "lower", self.lower)
        parameters.choice(self.template, "value", self.value, VALUES)
        parameters.text(self.template, "token", self.token, MAX_TOKEN_BYTES)
        try:
            re.compile(self.token)
        except (re.error, OverflowError, RecursionError):
            parameters.refuse(self.template, "token", "a regular expression", self.token)
        return {}

    def adder(self) -> Adder:
        """Add ``word_WORDS`` for every word and run of words."""
        read, head, lower, value = self.text_reader(), f"{self.prefix}word_", self.lower, self.value
        lengths = range(2, self.n + 1)
        token = re.compile(self.token)

        def named(words: str) -> str:
            name = head + words
            return name if len(name) <= SAFE_CHARACTERS else fit(name)

        def add(record: Any, out: dict[str, float]) -> None:
            text = read(record)
            if text is None:
                return
            # a pattern may match an empty string, which is no word; groups in a pattern do not matter
            words = [word for match in token.finditer(text.lower() if lower else text) if (word := match[0])]
            n_runs = len(words) + sum(max(len(words) - n + 1, 0) for n in lengths)
            runs = (" ".join(words[i : i + n]) for n in lengths for i in range(len(words) - n + 1))
            names = bounded(map(named, chain(words, runs)), n_runs, "words and runs of words")
            if value == "presence":
                out.update(dict.fromkeys(names, 1.0))
                return
            for name, count in Counter(names).items():
                out[name] = float(count) if value == "count" else log1p(count)

        return add

    def operation(self) -> Operation | None:
        """Give the head of the names, the parameters, and the value for each count but 0; for another token there is none."""
        if self.token != DEFAULT_TOKEN:
            return None
        of_count = {"presence": lambda count: 1.0, "count": float, "log": log1p}[self.value]
        numbers = (self.n, self.lower, *map(of_count, range(1, MAX_COUNTED + 1)))
        return Operation("words", (self.field,), self.optional, (f"{self.prefix}word_",), numbers)
