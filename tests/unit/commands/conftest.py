"""Fixtures of the tests of commands that need no server."""

import pytest

from tests.command_line import file  # noqa: F401
from tests.conftest import SEED
from tests.plotting import figures, picture_folder  # noqa: F401


@pytest.fixture(autouse=True)
def one_seed(monkeypatch):
    """Let models of files have the tests' seed: the order in which held examples are learned depends on it."""
    for module in ("compare", "replay"):
        monkeypatch.setattr(f"learner.commands.{module}.FILE_SEED", SEED)
