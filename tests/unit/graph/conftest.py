"""A test's own folder for machine code."""

import pytest

from learner.kernels import jit


@pytest.fixture(autouse=True)
def folder_of_machine_code(monkeypatch, tmp_path_factory):
    """Keep machine code in a new folder, so that no test finds another's."""
    folder = tmp_path_factory.mktemp("compiled")
    monkeypatch.setattr(jit, "cache_folder", lambda: folder)
