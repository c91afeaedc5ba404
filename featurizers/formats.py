"""Featurizers as text: TOML for people, JSON for programs.

A file holds a list of templates. Each names its template and the parameters that differ from their default::

    [[templates]]
    template = "ends_with"
    field = "address"
    n = [3, 4]
"""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from featurizers.errors import FeaturizerSpecError, shown
from featurizers.featurizer import Featurizer

FORMATS = ("toml", "json")
BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


def dumps(featurizer: Featurizer, format: str = "toml") -> str:  # noqa: A002 - the word that a caller would look for
    """Return a featurizer as TOML or JSON.

    Examples
    --------
    >>> from featurizers import Category, Cross
    >>> print(dumps(Featurizer([Category("hour"), Cross([Category("origin"), Category("dest")])])))
    [[templates]]
    template = "category"
    field = "hour"
    <BLANKLINE>
    [[templates]]
    template = "cross"
    templates = [
      { template = "category", field = "origin" },
      { template = "category", field = "dest" },
    ]
    <BLANKLINE>
    """
    _check(format)
    spec = featurizer.to_spec()
    if format == "json":
        return json.dumps(spec, indent=2) + "\n"
    return "\n".join(_table(template) for template in spec["templates"])


def loads(text: str, format: str = "toml") -> Featurizer:  # noqa: A002 - as in `dumps`
    r"""Return the featurizer of a text in TOML or JSON.

    Examples
    --------
    >>> f = loads('[[templates]]\ntemplate = "ends_with"\nn = 3')
    >>> f("abc@gmail.com")
    {'endsWith_com': 1.0}
    """
    _check(format)
    try:
        data = tomllib.loads(text) if format == "toml" else json.loads(text)
    except (ValueError, RecursionError) as error:  # raised by both decoders for wrong text
        raise FeaturizerSpecError(f"a featurizer must be {format.upper()} that can be read (got: {error})") from error
    return Featurizer.from_spec(data)


def load(path: str | Path) -> Featurizer:
    """Return the featurizer of a ``.toml`` or ``.json`` file.

    Raises
    ------
    FeaturizerSpecError
        If the file can't be read, or its text is no featurizer.
    """
    path = Path(path)
    _check(path.suffix[1:])
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FeaturizerSpecError(f"featurizer file '{path}' must be readable UTF-8 text (got: {error})") from error
    try:
        return loads(text, path.suffix[1:])
    except FeaturizerSpecError as error:
        raise FeaturizerSpecError(f"featurizer file '{path}': {error}") from error


def _check(name: str) -> None:
    if name not in FORMATS:
        raise FeaturizerSpecError(f"a featurizer's format must be one of {', '.join(FORMATS)} (got {shown(name)})")


def _table(template: dict[str, Any]) -> str:
    """Return one template as a TOML table; each nested template is an inline table on a line of its own."""
    lines = ["[[templates]]"]
    for key, value in template.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            lines += [f"{key} = [", *(f"  {toml_value(item)}," for item in value), "]"]
        else:
            lines.append(f"{key} = {toml_value(value)}")
    return "\n".join(lines) + "\n"


def toml_value(value: Any) -> str:
    """Return a text, a number, a list or a map as TOML on one line.

    >>> print(toml_value({"kind": "date", "two words": [1, "a"]}))
    { kind = "date", "two words" = [1, "a"] }
    """
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{toml_key(key)} = {toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    # Strings, numbers and booleans are written alike in JSON and TOML, but for DEL, which TOML wants escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def toml_key(name: str) -> str:
    """Return a name as a key of TOML, in quotes where it needs some."""
    return name if BARE_KEY.fullmatch(name) else toml_value(name)
