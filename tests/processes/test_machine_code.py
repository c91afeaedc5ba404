"""Machine code in processes of its own: made anew when a source changes, kept privately, and said while it is made."""

import json
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from learner import kernels
from learner.compiling import TARGET
from learner.kernels import jit
from tests.streams import KEYS

ROOT = Path(__file__).parent.parent.parent

pytestmark = pytest.mark.skipif(not kernels.JIT, reason="needs the JIT")

# A program with a door of its own to one loss: small, so that it compiles in a second or two.
PROGRAM = """
import json
from learner.kernels import jit, losses
from learner.kernels.records import Loss

@jit.door
def logistic(s, y):
    return losses.value(Loss(1, 0.5), s, y)

compiled = []
with jit.listening(lambda name: None, lambda name, seconds: compiled.append(name)):
    value = logistic(0.0, 1.0)
print(json.dumps([value, compiled, str(jit.machine_code_folder())]))
"""

# One of our commands, and then the doors that it has used.
USED = """
import gc, json, sys
from learner.commands import main
try:
    main()
except SystemExit as end:
    if end.code:
        raise
from learner.kernels.jit import Door
doors = [door for door in gc.get_objects() if type(door) is Door and door._dispatcher is not None]
print(json.dumps([(door.__name__, str(types)) for door in doors for types in door._dispatcher.signatures]))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """A copy of the package in a folder of its own, with the program."""
    folder = tmp_path_factory.mktemp("package")
    for name in ("learner", "featurizers"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "worker.py", folder)
    (folder / "program.py").write_text(PROGRAM)
    return folder


def start(package, cache, *command, prefix=()):
    return subprocess.Popen(
        [*prefix, sys.executable, *(command or ("program.py",))],
        cwd=package, env=os.environ | {"LEARNER_CACHE": str(cache)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out)


def run(package, cache):
    """Return the program's value, the names of what it compiled, and the folder of its machine code."""
    return finish(start(package, cache))


@pytest.fixture(scope="module")
def first_run(package, tmp_path_factory):
    """A cache that the program filled, and what it printed then."""
    cache = tmp_path_factory.mktemp("filled") / "cache"
    return cache, run(package, cache)


@pytest.fixture
def filled(first_run, tmp_path):
    """A copy of the filled cache, and the folder of machine code in it."""
    cache, (_, _, folder) = first_run
    shutil.copytree(cache, tmp_path / "cache")
    return tmp_path / "cache", tmp_path / "cache" / Path(folder).relative_to(cache)


def test_the_program_compiles_its_door_into_a_folder_of_the_users_own(package, first_run):
    cache, (value, compiled, folder) = first_run
    assert (value, compiled) == (pytest.approx(np.log(2)), ["logistic"])
    assert Path(folder).parent == cache / "compiled"
    assert stat.S_IMODE((cache / "compiled").stat().st_mode) == 0o700
    assert not [path for path in (package / "learner").rglob("*") if path.suffix in {".nbi", ".nbc"}]


def test_an_edit_of_a_loss_is_compiled_and_taking_it_back_finds_the_old_machine_code(package, first_run, filled):
    _, (value, _, _) = first_run
    cache, folder = filled
    source = package / "learner" / "losses" / "logistic.py"
    before = source.read_text()
    try:
        source.write_text(before.replace("return math.log1p(math.exp(-m))", "return 7.0 + math.log1p(math.exp(-m))"))
        edited, compiled, other_folder = run(package, cache)
    finally:
        source.write_text(before)
    assert (edited, compiled) == (pytest.approx(7.0 + value), ["logistic"])
    assert other_folder != str(folder)
    assert run(package, cache) == [value, [], str(folder)]


def test_two_processes_that_compile_at_once_do_no_harm(package, tmp_path):
    both = [start(package, tmp_path / "cache"), start(package, tmp_path / "cache")]
    first, second = map(finish, both)
    assert first[0] == second[0] == pytest.approx(np.log(2))
    assert run(package, tmp_path / "cache")[1] == []


def test_every_module_that_the_kernels_import_is_among_the_sources():
    code = (
        "import sys, learner.kernels; print(*(m.__file__ for n, m in sys.modules.items() if n.startswith('learner')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    compiled = {Path(file).resolve() for file in done.stdout.split()}
    elsewhere = {"__init__.py", "compiling.py", "errors.py", "messages.py"}  # nothing of them is compiled
    learner = Path(jit.__file__).parent.parent
    assert {path for path in compiled if path not in {learner / name for name in elsewhere}} <= set(jit.sources())


def test_without_such_a_folder_machine_code_lies_in_a_temporary_one_that_goes(package, tmp_path):
    (tmp_path / "cache").write_text("no folder")
    _, compiled, folder = run(package, tmp_path / "cache")
    assert compiled == ["logistic"]
    assert not Path(folder).is_relative_to(package)
    assert not Path(folder).is_relative_to(tmp_path)
    assert not Path(folder).exists()


def doubled(x):
    return 2.0 * x


@pytest.mark.parametrize("damage", ["emptied", "cut", "overwritten"])
@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
def test_damaged_machine_code_is_made_anew(monkeypatch, tmp_path, ending, damage):
    """As after a loss of power: the next start must work, and the one after it finds machine code that is whole."""
    monkeypatch.setattr(jit, "cache_folder", lambda: tmp_path)

    def started():
        """Call a new door, as a new process does, and return the names of what it compiled."""
        compiled, door = [], jit.door(doubled)
        with jit.listening(lambda name: None, lambda name, seconds: compiled.append(name)):
            assert door(1.5) == 3.0
        return compiled

    assert (started(), started()) == (["doubled"], [])
    damaged = [*tmp_path.rglob(f"*doubled*{ending}")]
    assert damaged
    for path in damaged:
        content = path.read_bytes()
        middle = len(content) // 2
        path.write_bytes({"emptied": b"", "cut": content[:100]}.get(damage, content[:9] + b"\xff" * middle))
    assert (started(), started()) == (["doubled"], [])


def test_machine_code_that_cannot_be_kept_is_made_all_the_same(package, filled):
    cache, folder = filled
    shutil.rmtree(folder)
    folder.write_text("no folder")
    assert run(package, cache)[:2] == [pytest.approx(np.log(2)), ["logistic"]]


@pytest.fixture
def read_only(filled):
    """Have a command run where the filled cache can't be written to."""
    cache, _ = filled
    if os.getuid():  # nothing stops root but the file system
        for path in [*cache.rglob("*"), cache]:
            path.chmod(path.stat().st_mode & ~0o222)
        return []
    script = 'mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" && exec "$@"'
    prefix = ["unshare", "--mount", "sh", "-c", script, str(cache)]
    if not shutil.which("unshare") or subprocess.run([*prefix, "true"], capture_output=True).returncode:
        pytest.skip("root needs a mount namespace for this")
    return prefix


def test_machine_code_in_a_read_only_folder_is_used_and_what_is_missing_is_made_in_memory(package, filled, read_only):
    """As in a container whose root is read-only: the image has the machine code."""
    cache, folder = filled
    value = pytest.approx(np.log(2))
    assert finish(start(package, cache, prefix=read_only)) == [value, [], str(folder)]
    program = (package / "program.py").read_text()
    (package / "other.py").write_text(program.replace("def logistic", "def another").replace("logistic(0", "another(0"))
    files = sorted(cache.rglob("*"))
    assert finish(start(package, cache, "other.py", prefix=read_only)) == [value, ["another"], str(folder)]
    assert sorted(cache.rglob("*")) == files


def used(*arguments):
    """Run one of our commands; return the doors that it called or made ready, with the types of their arguments."""
    done = subprocess.run(
        [sys.executable, "-c", USED, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return {tuple(door) for door in json.loads(done.stdout.splitlines()[-1])}


@pytest.mark.slow
def test_a_worker_uses_no_loop_that_learner_warm_does_not_compile(client, redis_url, create):
    """As in a container, whose image has the cache."""
    create(featurizer="fields")
    client.xadd(KEYS.examples, {"record": '{"a": 1, "b": "x"}', "target": "1"})
    client.xadd(KEYS.requests, {"record": '{"a": 1}', "reply": KEYS.replies + "me", "explain": "1"})
    warm, worker = used("warm"), used("worker", "m", "--burst", "--redis-url", redis_url)
    assert client.llen(KEYS.replies + "me") == 1
    assert {name for name, _ in worker} >= {"learn", "predict", "featurize"}
    assert worker <= warm


@pytest.mark.slow
def test_a_command_that_compiles_says_so_once_and_how_long_it_took(package, tmp_path):
    (tmp_path / "examples.jsonl").write_text('{"a": 1, "target": 1}\n' * 3)
    command = ("-m", "learner", "replay", str(tmp_path / "examples.jsonl"), "--optimizer", "sgd")
    cold = start(package, tmp_path / "cache", *command)
    _, errors = cold.communicate(timeout=300)
    assert cold.returncode == 0, errors
    assert errors.count("compiling the loops for this machine") == 1
    assert str(tmp_path / "cache") in errors
    assert "compiled learn_by_algorithm in " in errors
    assert "compiled predict_by_algorithm in " in errors
    warm = start(package, tmp_path / "cache", *command)
    assert warm.communicate(timeout=300)[1] == ""


def test_our_own_processes_compile_for_a_common_processor_and_a_users_for_its_own(monkeypatch):
    from learner import compiling

    monkeypatch.delenv("NUMBA_CPU_NAME", raising=False)
    monkeypatch.delenv("NUMBA_CPU_FEATURES", raising=False)
    monkeypatch.setattr(compiling.platform, "machine", lambda: "x86_64")
    compiling.choose_target()
    assert os.environ["NUMBA_CPU_NAME"] == TARGET
    monkeypatch.setenv("NUMBA_CPU_NAME", "skylake")
    compiling.choose_target()
    assert os.environ["NUMBA_CPU_NAME"] == "skylake"
    code = "import os, learner.model; print('NUMBA_CPU_NAME' in os.environ)"
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_CPU_NAME"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["False"], done.stderr
