"""The scripts that the server runs: each is a file beside this module, with a comment at its top."""

import functools
from importlib import resources

__all__ = ["script"]


@functools.cache
def script(name: str) -> str:
    """Return the text of a script, for EVAL."""
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
