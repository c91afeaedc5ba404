"""Fixtures of the tests of commands that need a server."""

import pytest

from tests.command_line import file, invoke, invoke_failing  # noqa: F401
from tests.plotting import figures, picture_folder  # noqa: F401


@pytest.fixture
def run(redis_url, monkeypatch):
    """Run a command in this process, on the session's server; it must exit with the code expected."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    return invoke


@pytest.fixture
def fails(run):
    """Run a command on the session's server that must fail with one line and exit code 2; returns the line."""
    return invoke_failing
