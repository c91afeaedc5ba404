"""``learner top`` on a terminal: keys are pressed, and the screen is read."""

import contextlib
import fcntl
import os
import pty
import re
import select
import shlex
import signal
import struct
import subprocess
import sys
import termios
import time

import pytest

from learner.service.store import Store
from learner.service.store.embedded import Embedded
from tests.conftest import wait_until

SIZE = {"COLUMNS": "80", "LINES": "24"}  # as some shells export it
TOP = [sys.executable, "-m", "learner", "top", "--every", "0.2"]


class Terminal:
    """A terminal on which the command runs."""

    def __init__(self, url: str, columns: int = 80, rows: int = 24, command: "list[str]" = TOP) -> None:
        self.master, slave = pty.openpty()
        self.resize(columns, rows)
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            command,
            env={**os.environ, "REDIS_URL": url, "TERM": "xterm", "PYTHONIOENCODING": "utf-8"} | SIZE,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.slave, self.written = slave, b""

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        os.write(self.master, keys)

    def _read(self, seconds: float) -> None:
        if select.select([self.master], [], [], seconds)[0]:
            with contextlib.suppress(OSError):
                self.written += os.read(self.master, 1 << 16)

    def screen(self) -> list[str]:
        """The lines of the last whole frame."""
        frames = self.written.decode(errors="replace").split("\x1b[H")
        frame = frames[-2] if len(frames) > 1 else ""
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", frame).splitlines()

    def wait_for(self, text: str, seconds: float = 60.0) -> list[str]:
        """Wait until a text is on the screen; returns its lines."""
        deadline = time.monotonic() + seconds
        while not any(text in line for line in self.screen()):
            assert time.monotonic() < deadline, "\n".join(self.screen())
            self._read(0.1)
        return self.screen()

    def end(self) -> int:
        """Wait until the command ends, with the terminal as it was; returns the exit code."""
        deadline = time.monotonic() + 30
        while self.process.poll() is None:
            assert time.monotonic() < deadline, "it does not end"
            self._read(0.1)
        self._read(0.1)
        assert termios.tcgetattr(self.slave)[:4] == self.before[:4]
        assert self.written.rfind(b"\x1b[?1049l") > self.written.rfind(b"\x1b[?1049h")  # the other screen is left
        assert self.written.rfind(b"\x1b[?25h") > self.written.rfind(b"\x1b[?25l")  # the cursor is back
        return self.process.returncode


@pytest.fixture
def terminal():
    """Start it on a terminal; returns the terminal."""
    started = []

    def start(url, *size, **options):
        started.append(Terminal(url, *size, **options))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()
        os.close(each.master)
        os.close(each.slave)


def test_keys_select_sort_filter_and_open_a_model(terminal, client, create, drain, redis_url):
    create("spam")
    create("other", task="regression")
    store = Store(client, "spam")
    for i in range(300):
        client.xadd(store.keys.examples, {"record": f'{{"\\u001b[2J{i % 2}": 1, "b": {i % 7}}}', "target": i % 2})
    client.xadd(store.keys.examples, {"record": "[bad\x1b[2J", "target": 1})
    drain("spam", commit_seconds=0.0)
    shown = terminal(redis_url)
    lines = shown.wait_for("spam")
    assert [line.split()[:2] for line in lines[1:4]] == [["model", "state"], ["other", "none"], ["spam", "stopped"]]
    assert "2 models, by model" in lines[0]
    assert len(lines) == 24
    assert {len(line) for line in lines} == {80}
    shown.press(b"s")
    shown.wait_for("2 models, by state")
    shown.press(b"/xspam\x7f\x7f\x7f\x7f\x7fpa")
    shown.wait_for("filter: pa_")
    shown.press(b"\r")
    shown.wait_for("1 models")
    assert not any("other" in line for line in shown.screen())
    shown.press(b"\x1b[B\r")
    shown.wait_for("loss between commits")
    shown.resize(120, 60)
    shown.wait_for("decode: record must be JSON or msgpack")
    lines = shown.wait_for("  '\\x1b[2J")  # the names of features, with escapes
    assert (len(lines), len(lines[0])) == (60, 120)
    assert any(re.match(r" +[+-][0-9.e-]+ +[+-][0-9.e-]+  '\\x1b\[2J[01]'", line) for line in lines)
    assert any("progressive loss" in line for line in lines)
    assert b"\x1b[2J0" not in shown.written
    shown.press(b"\x1b")
    shown.wait_for("1 models")
    shown.press(b"\x1b")
    shown.resize(30, 8)
    shown.wait_for("2 models")
    wait_until(lambda: shown._read(0.1) or {len(line) for line in shown.screen()} == {30})
    shown.press(b"\x03")
    assert shown.end() == 0


def test_ctrl_z_gives_the_shell_its_terminal_and_fg_comes_back(terminal, redis_url):
    shown = terminal(redis_url, command=["bash", "--norc", "-i"])
    shown.press(f"{shlex.join(TOP)}\n".encode())
    shown.wait_for("models, by model")
    shown.press(b"\x1a")
    wait_until(lambda: shown._read(0.1) or b"Stopped" in shown.written)
    assert b"\x1b[?1049l" in shown.written
    shown.written = b""
    shown.press(b"fg\n")
    shown.wait_for("models, by model")
    shown.press(b"s")
    shown.wait_for("models, by state")
    shown.press(b"q")
    wait_until(lambda: shown._read(0.1) or b"\x1b[?1049l" in shown.written)
    shown.press(b"exit 3\n")
    assert shown.end() == 3


def test_while_the_server_is_away_it_says_so_and_goes_on_afterwards(terminal, tmp_path):
    embedded = Embedded(tmp_path)
    try:
        shown = terminal(embedded.start())
        shown.wait_for("no models: make one")
        embedded.stop()
        shown.wait_for("server: no connection, trying again; this is of ")
        embedded.start()
        shown.wait_for("0 models, by model")
        shown.process.send_signal(signal.SIGTERM)
        assert shown.end() == 128 + signal.SIGTERM
    finally:
        embedded.stop()


def test_an_error_that_trying_again_would_not_help_is_one_line_after_the_screen_is_left(terminal, redis_url, client):
    client.execute_command("ACL", "SETUSER", "nobody", "on", ">secret", "+ping")
    shown = terminal(redis_url.replace("//:", "//nobody:").replace(redis_url.split(":")[2].split("@")[0], "secret"))
    assert shown.end() == 2
    after = shown.written.rpartition(b"\x1b[?1049l")[2]
    assert b"Error: server: " in after
    assert after.count(b"\n") == 1
    client.execute_command("ACL", "DELUSER", "nobody")
