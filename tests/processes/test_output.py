"""Output that can't be written: one line and exit code 2, or silence where nobody reads on."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import wait_until
from tests.streams import GOOD, KEYS

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
@pytest.mark.parametrize(
    ("command", "unbuffered"),
    [
        (("replay", "FILE"), ""),
        (("replay", "FILE", "--json"), "1"),
        (("--help",), ""),
        (("--help",), "1"),
        (("push", "--help"), ""),
        (("push", "--help"), "1"),
    ],
)
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


def pipe_without_reader():
    reading, writing = os.pipe()
    os.close(reading)
    return writing


def pipe_that_is_full():
    _, writing = os.pipe()
    os.set_blocking(writing, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    return writing  # the other end stays open: a reader that has stopped


def full_disk():
    return os.open("/dev/full", os.O_WRONLY)


@pytest.mark.parametrize("log", [pipe_without_reader, pipe_that_is_full, full_disk, None])
def test_a_log_that_cannot_be_written_stops_no_worker(client, redis_url, create, log):
    create()
    file = log() if log else None
    close = (lambda: None) if log else (lambda: os.close(2))
    command = [sys.executable, "-m", "learner", "worker", "m", "--commit-seconds", "0.01"]
    environment = {**os.environ, "REDIS_URL": redis_url}
    process = subprocess.Popen(command, env=environment, stderr=file, preexec_fn=close)
    try:
        for i in range(3):  # each has the worker say something
            client.xadd(KEYS.requests, {"record": "{}", "reply": f"nobody {i}"})
            client.xadd(KEYS.examples, {"batch": GOOD})
            wait_until(lambda: client.hget(KEYS.head, "entries") == b"%d" % (i + 1))  # noqa: B023
        wait_until(lambda: client.xlen(KEYS.requests) == 0)
        process.terminate()
        assert process.wait(10) == 0
    finally:
        process.kill()
        if file is not None:
            os.close(file)
