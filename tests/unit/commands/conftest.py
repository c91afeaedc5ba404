"""Fixtures of the tests of commands that need no server."""

from tests.command_line import file  # noqa: F401
from tests.plotting import figures, picture_folder  # noqa: F401
