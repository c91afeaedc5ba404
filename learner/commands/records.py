"""Records on the command line: one or a list in JSON, or else the name of a file."""

import json
from typing import Any

from learner.errors import FormatError, show

__all__ = ["are_records", "is_json", "parsed"]


def is_json(text: str) -> bool:
    """Tell whether a command's RECORD is JSON rather than the name of a file."""
    return text.lstrip()[:1] in ("{", '"', "[")


def parsed(text: str) -> Any:
    """Return the value of a record in JSON.

    Raises
    ------
    FormatError
        When it is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"record must be JSON (got {show(text)}: {error})") from error


def are_records(value: Any) -> bool:
    """Tell whether a value is a list of records; a list of numbers or of lists is one record, such as an image."""
    return isinstance(value, list) and (not value or any(isinstance(item, dict | str) for item in value))
