"""The durable part of the suite under other versions of redis-py and on other servers."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from learner.service.store import embedded
from tests.reliability import Row, Test, row
from tests.reliability.machinery import ROOT

TESTS = [  # in tests/
    "service",
    "unit/service",
    *(
        f"processes/test_{name}.py"
        for name in ("durability", "kills", "lease", "owning", "reconnecting", "recovery", "stopping")
    ),
]


def _suite(paths: list[str], folders: list[str]) -> str:
    """Run the tests with the packages in `paths` and the programs in `folders`; return ``passes``, or what failed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *paths])}
    environment["PATH"] = os.pathsep.join([*folders, environment["PATH"]])
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "not twenty_kills and not fakeredis",
    ]
    done = subprocess.run(
        [*command, *(f"tests/{name}" for name in TESTS)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    failed = re.findall(r"^FAILED (\S+)", done.stdout, re.MULTILINE)
    return "passes" if done.returncode == 0 else f"{len(failed)} failed ({', '.join(failed)[:150]}){done.stderr[-100:]}"


def _row(name: str, got: str | None) -> Row:
    test = f"the suite's durable part with {name}"
    if got is None:
        return Row(test, "passes", "only in the full run", None)
    return Row(test, "passes", got, got == "passes")


def _under(major: int) -> Test:
    def test(quick: bool) -> Row:
        if quick:
            return _row(f"redis-py {major}", None)
        with tempfile.TemporaryDirectory(prefix="reliability-") as folder:
            command = [sys.executable, "-m", "pip", "install", "-q", "--target", folder]
            done = subprocess.run([*command, f"redis>={major},<{major + 1}"], capture_output=True, text=True)
            if done.returncode:
                return Row(
                    f"the suite's durable part with redis-py {major}", "passes", "it could not be installed", None
                )
            (package,) = Path(folder).glob("redis-*.dist-info")
            return _row(f"redis-py {package.name.removesuffix('.dist-info').partition('-')[2]}", _suite([folder], []))

    test.__doc__ = f"Run the tests under the last redis-py {major}, installed into a folder of its own."
    return row(test)


redis_py_5, redis_py_6, redis_py_7, redis_py_8 = map(_under, (5, 6, 7, 8))


@row
def redis_server(quick: bool) -> Row:
    """Run the tests on a Redis server, if there is one: in the folder that RELIABILITY_REDIS names, or on the PATH."""
    folder = os.environ.get("RELIABILITY_REDIS", "")
    paths = [Path(name) / "redis-server" for name in [folder, *os.environ["PATH"].split(os.pathsep)] if name]
    binary = next((path for path in paths if path.exists()), None)
    if binary is None:
        return Row("the suite's durable part on Redis 7.0", "passes", "there is none on this machine", None)
    version = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout
    name = "Redis " + (re.findall(r"v=(\S+)", version) or ["?"])[0]
    return _row(name, None if quick else _suite([], [str(binary.parent)]))


@row
def valkey_server(quick: bool) -> Row:
    """Run the tests on the server that the embedded one uses on this machine."""
    version = subprocess.run([embedded.find_binary(), "--version"], capture_output=True, text=True).stdout
    name = " ".join((re.findall(r"(\w+) server v=(\S+)", version) or [("?", "?")])[0])
    return _row(name, None if quick else _suite([], []))
