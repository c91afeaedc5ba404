"""The README's examples, run as they stand."""

import doctest
import importlib.util
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import redis

import featurizers
from learner.commands import main
from learner.service.store import embedded

README = Path(__file__).resolve().parent.parent / "README.md"
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
pytestmark = pytest.mark.skipif(not README.exists(), reason="the README is not installed with the package")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


def matches(wanted: str, got: str) -> bool:
    return doctest.OutputChecker().check_output(wanted, got, FLAGS)


def test_python_examples_print_what_the_readme_shows():
    examples = [block for block in blocks("python") if block.startswith(">>>")]
    assert examples
    for example in examples:
        adapted = re.search(r"from learner\.adapters\.(\w+)", example)
        if adapted and importlib.util.find_spec(adapted[1]) is None:
            continue  # the library of an extra
        test = doctest.DocTestParser().get_doctest(example, {}, "README.md", str(README), 0)
        failures, tried = doctest.DocTestRunner(optionflags=FLAGS, verbose=False).run(test)
        assert tried > 0
        assert failures == 0


def test_toml_examples_are_featurizers():
    for block in blocks("toml"):
        assert featurizers.loads(block, format="toml").templates


@pytest.fixture
def session(tmp_path):
    """A shell with the commands on its path, and an embedded server of its own."""
    home = tmp_path / "home"
    environment = {
        **os.environ,
        "LEARNER_HOME": str(home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    environment.pop("REDIS_URL", None)
    background: list[subprocess.Popen] = []
    yield tmp_path, environment, background
    for process in background:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
    embedded.Embedded(home / "server").stop()


def test_a_session_in_the_shell_prints_what_the_readme_shows_and_so_do_the_clients(session):
    """The console blocks in order; then the client's example and the plain Redis commands, on the same worker."""
    folder, environment, background = session
    addresses = blocks("console")[0].partition("addresses.jsonl\n")[2].partition("$")[0]
    (folder / "addresses.jsonl").write_text(addresses)
    for block in blocks("console"):
        for step in block.removeprefix("$ ").split("\n$ "):
            command, _, wanted = step.partition("\n")
            if command.endswith("&"):
                background.append(subprocess.Popen(shlex.split(command.removesuffix("&")), cwd=folder, env=environment))
                continue
            for _ in range(20):  # the worker takes a moment to start, to learn and to commit
                run = subprocess.run(
                    shlex.split(command), cwd=folder, env=environment, capture_output=True, text=True, check=False
                )
                if run.returncode == 0 and matches(wanted, run.stdout):
                    break
                time.sleep(0.5)
            assert run.returncode == 0, (command, run.stderr)
            assert matches(wanted, run.stdout), (command, run.stdout)

    url = subprocess.run(
        ["learner", "server", "--url"], env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()
    for block in blocks("python"):
        if not block.startswith(">>>"):
            subprocess.run([sys.executable, "-c", block], env=environment, check=True, timeout=60)
    client = redis.Redis.from_url(url)
    for block in blocks("redis"):
        for line in block.splitlines():
            reply = client.execute_command(*shlex.split(line))
        answer = json.loads(reply[1])
        assert answer["id"] == "7"
        assert 0 < answer["prediction"] < 1


def test_every_command_is_in_the_readme():
    text = README.read_text()
    for name in main.list_commands(None):
        if name not in ("warm",):
            assert f"learner {name}" in text or f"learner/{name}" in text, name
