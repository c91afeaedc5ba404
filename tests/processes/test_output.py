"""Output that can't be written: one line and exit code 2, or silence where nobody reads on."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FULL = "Error: output can't be written (No space left on device)"


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "x.vw"
    path.write_text("".join(f"{i % 2 * 2 - 1} | a:{i % 7} w{i % 5}\n" for i in range(300)))
    return str(path)


def run(*arguments, unbuffered, **streams):
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    return subprocess.Popen(
        [sys.executable, "-m", "learner", *arguments], env=environment, stderr=subprocess.PIPE, text=True, **streams
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("command", [("replay", "FILE"), ("replay", "FILE", "--json"), ("--help",), ("push", "--help")])
def test_a_full_disk_is_one_line(data, command, unbuffered):
    command = [data if argument == "FILE" else argument for argument in command]
    with Path("/dev/full").open("w") as full:
        process = run(*command, unbuffered=unbuffered, stdout=full)
        _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert [line for line in err.splitlines() if "compil" not in line] == [FULL]


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_pipe_that_was_closed_is_a_silent_end(data, unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    process = run("replay", data, unbuffered=unbuffered, stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 141
    assert [line for line in err.splitlines() if "compil" not in line] == []


def test_an_error_of_a_file_is_not_taken_for_one_of_the_output(tmp_path):
    process = run("replay", str(tmp_path / "missing.vw"), unbuffered="", stdout=subprocess.PIPE)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "missing.vw" in err
    assert "output" not in err
