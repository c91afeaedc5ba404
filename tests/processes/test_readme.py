"""The pages' sessions in the shell, run as they stand, and the clients' examples beside them."""

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

from learner.service.store.embedded import Embedded
from tests.pages import PAGES, ROOT, blocks, matches

SESSIONS = [page for page in PAGES if blocks(page, "console")]
SERVED = "127.0.0.1:8080"  # the default of `learner serve`
ATTEMPTS = 20  # half a second apart: the worker takes a moment to start, to learn and to commit


@pytest.fixture
def session(tmp_path):
    """A shell with the commands on its path, and an embedded server of its own."""
    home = tmp_path / "home"
    environment = {
        **os.environ,
        "LEARNER_HOME": str(home),
        "PYTHONPATH": str(ROOT),  # an installed copy would be compiled anew
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    environment.pop("REDIS_URL", None)
    with socket.create_server(("127.0.0.1", 0)) as free:  # in place of the default, as others may use that
        environment["LEARNER_LISTEN"] = f"127.0.0.1:{free.getsockname()[1]}"
    background: list[subprocess.Popen] = []
    yield tmp_path, environment, background
    for process in background:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
    Embedded(home / "server").stop()


@pytest.mark.parametrize("page", SESSIONS)
def test_a_session_in_the_shell_prints_what_the_page_shows_and_so_do_the_clients(page, session):
    """The console blocks in order; then the client's examples and the plain Redis commands, on the same worker."""
    if "curl " in "".join(blocks(page, "console")):
        pytest.importorskip("uvicorn", reason="needs the extra serve")
        if not shutil.which("curl"):
            pytest.skip("needs curl")
    folder, environment, background = session
    for block in blocks(page, "console"):
        for step in block.removeprefix("$ ").split("\n$ "):
            command, _, wanted = step.partition("\n")
            command = command.replace(SERVED, environment["LEARNER_LISTEN"])
            words = shlex.split(command.removesuffix("&"))
            if words[0] == "cat" and not (folder / words[1]).exists():
                (folder / words[1]).write_text(wanted.rstrip("\n") + "\n")
            if command.endswith("&"):
                background.append(subprocess.Popen(words, cwd=folder, env=environment))
                continue
            for _ in range(ATTEMPTS):
                run = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
                if run.returncode == 0 and matches(wanted, run.stdout):
                    break
                time.sleep(0.5)
            assert run.returncode == 0, (command, run.stderr)
            assert matches(wanted, run.stdout), (command, run.stdout)

    for block in blocks(page, "python"):
        if not block.startswith(">>>"):
            subprocess.run([sys.executable, "-c", block], env=environment, check=True, timeout=60)
    if commands := [line for block in blocks(page, "redis") for line in block.splitlines()]:
        url = subprocess.run(
            ["learner", "server", "--url"], env=environment, capture_output=True, text=True, check=True
        )
        answers(redis.Redis.from_url(url.stdout.strip()), commands)


def answers(client, commands):
    """Run plain Redis commands; a reply that is waited for must answer the request before it."""
    asked = []
    for line in commands:
        words = shlex.split(line)
        reply = client.execute_command(*words)
        if words[0] == "XADD" and "reply" in words:
            asked.append(words)
        elif words[0] == "BLPOP":
            answer, request = json.loads(reply[1]), asked[-1]
            assert answer["id"] == request[request.index("id") + 1]
            assert 0 < answer["prediction"] < 1
            assert ("contributions" in answer) == ("explain" in request)
    assert asked
