"""Settings of a model: how it is served. They may change at any time, and nothing that is learned depends on them.

They stand in the hash ``settings`` beside the spec, in the table ``[service]`` of a model file, and in ``learner set``.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from learner.errors import LearnerError, show

__all__ = ["LEVELS", "SETTINGS", "Setting", "parse", "read"]

SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}  # in a unit of time
MAX_SECONDS = 36_500 * 86_400.0  # of a time: a hundred years
MAX_TARGET_BYTES = 256  # as in an entry
LEVELS = ("crash", "power", "failover")


class Setting(NamedTuple):
    """One setting.

    Parameters
    ----------
    parse : function of str
        Returns the value that a text says; raises `ValueError` for one that breaks the rule.
    default : object
        Its value until it is set.
    rule : str
        What a value must be, in words.
    meaning : str
        What it does, in one line.
    """

    parse: Callable[[str], Any]
    default: Any
    rule: str
    meaning: str


def seconds(text: str) -> float:
    """Return a time in seconds.

    >>> seconds("90"), seconds("1.5h"), seconds("7d")
    (90.0, 5400.0, 604800.0)
    """
    match = re.fullmatch(r"([0-9]+(?:\.[0-9]*)?) ?([smhd]?)", text)
    if match is None or (value := float(match[1]) * SECONDS[match[2]]) > MAX_SECONDS:
        raise ValueError(text)
    return value


def _share(text: str) -> float:
    if not 0.0 <= (value := float(text)) <= 1.0:
        raise ValueError(text)
    return value


def _count(text: str) -> int:
    if (value := int(text)) < 1:
        raise ValueError(text)
    return value


def _target(text: str) -> str:
    if not 1 <= len(text.encode()) <= MAX_TARGET_BYTES:
        raise ValueError(text)
    return text


def _level(text: str) -> str:
    if text not in LEVELS:
        raise ValueError(text)
    return text


TIME = "a time: seconds, or a number with s, m, h or d, at most 36500d, as 6h"

SETTINGS = {
    "keep_predictions": Setting(
        seconds, 86_400.0, TIME, "how long the features of a request with an outcome_id wait for its outcome"
    ),
    "default_outcome": Setting(
        _target, None, "a number or a label", "the outcome that is learned for a request whose outcome never came"
    ),
    "history": Setting(seconds, 0.0, TIME, "how long entries stay in the stream after they were learned"),
    "max_rejected": Setting(
        _share, 0.5, "a share from 0 to 1", "learning ends when more than this share of the last examples was rejected"
    ),
    "rejected_window": Setting(_count, 1000, "a whole number from 1", "how many examples those are"),
    "durability": Setting(_level, "crash", f"one of {', '.join(LEVELS)}", "what an acknowledged commit must outlive"),
    "replicas": Setting(_count, 1, "a whole number from 1", "how many replicas must have it, with failover"),
}


def parse(data: Mapping[str, Any]) -> dict[str, str]:
    """Return settings as texts, each checked.

    Parameters
    ----------
    data : mapping of str to str, int or float
        Settings by name, as a model file or a command has them; an empty text stands for the default.

    Raises
    ------
    LearnerError
        When a name is unknown, or a value breaks its rule.

    >>> parse({"history": "7d", "max_rejected": 0.1})
    {'history': '7d', 'max_rejected': '0.1'}
    >>> parse({"history": "long"})
    Traceback (most recent call last):
    learner.errors.LearnerError: history must be a time: seconds, or a number with s, m, h or d, at most 36500d, as 6h
    (got 'long')
    """
    if not isinstance(data, Mapping):
        raise LearnerError(f"service must be a table of settings (got {show(data)})")
    for name, value in data.items():
        if name not in SETTINGS:
            raise LearnerError(f"setting must be one of {', '.join(SETTINGS)} (got {show(name)})")
        if value != "":
            _value(name, str(value), value)
    return {name: str(value) for name, value in data.items()}


def read(texts: Mapping[str, str]) -> dict[str, Any]:
    """Return the value of every setting: what the texts say, or its default; names of a newer release are left out.

    Raises
    ------
    LearnerError
        When a value breaks its rule.

    >>> read({"history": "7d"})["history"], read({})["history"]
    (604800.0, 0.0)
    """
    return {
        name: _value(name, texts[name], texts[name]) if name in texts else setting.default
        for name, setting in SETTINGS.items()
    }


def _value(name: str, text: str, came: Any) -> Any:
    setting = SETTINGS[name]
    try:
        return setting.parse(text)
    except ValueError:
        raise LearnerError(f"{name} must be {setting.rule} (got {show(came)})") from None
