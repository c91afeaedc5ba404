"""Where machine code is kept: in a folder that is the user's alone."""

import os
import stat

import numba
import pytest

from learner.kernels import jit


@pytest.fixture
def chosen_folder(monkeypatch):
    """Choose where machine code is kept, as a process does once; what is temporary goes with the test."""
    temporary = []
    monkeypatch.setattr(jit, "_temporary", temporary)
    yield jit.cache_folder.__wrapped__
    for folder in temporary:
        folder.cleanup()


def is_private(folder):
    """Whether a folder is ours alone: numba reads a pickle there, and runs what it finds."""
    return folder.stat().st_uid == os.getuid() and stat.S_IMODE(folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("mode", [None, 0o755, 0o777])
def test_machine_code_is_kept_where_it_is_said(mode, chosen_folder, monkeypatch, tmp_path):
    chosen = tmp_path / "chosen" / "folder"
    if mode is not None:  # it is there already, and others may write there: it stays as it is
        chosen.mkdir(parents=True)
        chosen.chmod(mode)
    monkeypatch.setenv("LEARNER_CACHE", str(chosen))
    assert chosen_folder() == chosen / "compiled"
    assert is_private(chosen / "compiled")
    assert mode is None or stat.S_IMODE(chosen.stat().st_mode) == mode
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LEARNER_CACHE", "chosen/folder")
    assert chosen_folder() == chosen / "compiled"


def test_a_folder_that_others_could_have_written_to_is_never_used(chosen_folder, monkeypatch, tmp_path):
    """What they left there would be run: it is not made private and then trusted."""
    (tmp_path / "compiled").mkdir()
    (tmp_path / "compiled").chmod(0o770)
    monkeypatch.setenv("LEARNER_CACHE", str(tmp_path))
    folder = chosen_folder()
    assert not folder.is_relative_to(tmp_path / "compiled")
    assert is_private(folder)
    assert stat.S_IMODE((tmp_path / "compiled").stat().st_mode) == 0o770


def test_machine_code_is_kept_among_the_users_caches_by_default(chosen_folder, monkeypatch, tmp_path):
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("LEARNER_CACHE", "")
    for _ in range(2):
        folder = chosen_folder()
        assert folder.is_relative_to(tmp_path)
        assert folder.parts[-2:] == ("learner", "compiled")
        assert is_private(folder)
        monkeypatch.delenv("LEARNER_CACHE", raising=False)


@pytest.mark.parametrize("case", ["a file", "below a file", "of another user", "not ours to write to"])
def test_machine_code_is_kept_in_a_folder_of_the_process_where_no_other_is_ours(
    case, chosen_folder, monkeypatch, tmp_path
):
    chosen = tmp_path / "chosen"
    if case in ("a file", "below a file"):
        chosen.touch()
        chosen = chosen / "folder" if case == "below a file" else chosen
    else:
        chosen.mkdir(mode=0o755)
    if case == "of another user":
        another = os.getuid() + 1
        monkeypatch.setattr(os, "getuid", lambda: another)
    if case == "not ours to write to":
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    monkeypatch.setenv("LEARNER_CACHE", str(chosen))
    folder = chosen_folder()
    monkeypatch.undo()
    assert not folder.is_relative_to(tmp_path)
    assert folder.is_dir()
    assert is_private(folder)
    if case in ("of another user", "not ours to write to"):
        assert stat.S_IMODE(chosen.stat().st_mode) == 0o755
        assert not [*(chosen / "compiled").iterdir()]
    elif case == "a file":
        assert chosen.is_file()


def test_decorating_leaves_numbas_settings_as_they_were():
    before = numba.config.CACHE_DIR

    @jit.door
    def twice(x):
        return x + x

    assert twice(2.0) == 4.0
    assert before == numba.config.CACHE_DIR
