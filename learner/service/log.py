r"""The worker's log: one line an event, on standard error, as key=value pairs or as JSON.

A line has the time (UTC), a level (info, warning, error), the event's name, the model, the event's figures and a message.
It holds no password and no record. A line that can't be written stops nobody (see `learner.messages.tell`).
"""

import json
import re
import time
from typing import Any

from learner.messages import MAX_TOLD, one_line, tell

__all__ = ["choose_format", "choose_kind", "event", "line"]

_is_json = False
_kind = "worker"


def choose_format(name: str) -> None:
    """Have this process write ``json`` or ``text`` from now on; text is key=value pairs."""
    global _is_json
    _is_json = name == "json"


def choose_kind(name: str) -> None:
    """Have this process call itself a ``worker`` or an ``answerer`` in its messages."""
    global _kind
    _kind = name


def event(model: str, name: str, text: str, level: str = "info", **figures: Any) -> None:
    """Write the line of an event.

    Parameters
    ----------
    model : str
        The model's name.
    name : str
        The event's, such as ``start``.
    text : str
        What happened, in words; a message that is too long for a line is cut.
    level : str
        ``info``; ``warning``: somebody should look; ``error``: somebody must.
    figures : numbers and strings
        What programs may want to know.
    """
    _write(name, f"{_kind} of {model}: {text}", level, {"model": model, **figures})


def line(name: str, text: str, level: str = "info", **figures: Any) -> None:
    """Write the line of an event that no model has, such as of a server for all of them: see `event`."""
    _write(name, text, level, figures)


def _write(name: str, text: str, level: str, figures: dict[str, Any]) -> None:
    now = time.time()
    when = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now % 1 * 1000):03d}Z"
    fields = {"time": when, "level": level, "event": name, **figures}
    room = MAX_TOLD
    while len(text_line := _line(fields | {"message": one_line(text, room)})) > MAX_TOLD:
        room = room * 3 // 4
    tell(text_line)


def _line(fields: dict[str, Any]) -> str:
    r"""Return fields as one line.

    >>> _line({"level": "info", "examples": 12, "rate": 0.1 + 0.2, "message": 'it said "no"'})
    'level=info examples=12 rate=0.3 message="it said \\"no\\""'
    """
    fields = {name: round(value, 6) if isinstance(value, float) else value for name, value in fields.items()}
    if _is_json:
        return json.dumps(fields, ensure_ascii=False)
    return " ".join(f"{name}={_quoted(str(value))}" for name, value in fields.items())


def _quoted(value: str) -> str:
    return value if re.fullmatch(r'[^\s"=\\]+', value) else json.dumps(value, ensure_ascii=False)
