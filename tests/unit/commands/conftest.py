"""Fixtures of the tests of commands that need no server."""

import pytest

from tests.command_line import file  # noqa: F401
from tests.conftest import SEED
from tests.plotting import figures, picture_folder  # noqa: F401


@pytest.fixture(autouse=True)
def one_secret(monkeypatch):
    """Let every model draw the same secret: the order in which held examples are learned depends on it."""
    monkeypatch.setattr("learner.spec.secrets.token_bytes", lambda n: SEED)
