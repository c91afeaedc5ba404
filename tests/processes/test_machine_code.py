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


@pytest.fixture
def copy(tmp_path):
    """A copy of the package in a folder of its own, with a program that runs it, and a cache."""
    for package in ("learner", "featurizers"):
        shutil.copytree(ROOT / package, tmp_path / package, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "program.py").write_text(PROGRAM)
    return tmp_path


def start(copy, *command, **environment):
    environment = {**os.environ, "LEARNER_CACHE": str(copy / "cache"), **environment}
    return subprocess.Popen(
        [sys.executable, *(command or ("program.py",))],
        cwd=copy, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finish(process):
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return json.loads(out)


def test_an_edit_of_a_loss_is_compiled_and_taking_it_back_finds_the_old_machine_code(copy):
    source = copy / "learner" / "losses" / "logistic.py"
    before = source.read_text()
    value, compiled, folder = finish(start(copy))
    assert (value, compiled) == (pytest.approx(np.log(2)), ["logistic"])
    assert finish(start(copy)) == [value, [], folder]

    source.write_text(before.replace("return math.log1p(math.exp(-m))", "return 7.0 + math.log1p(math.exp(-m))"))
    edited, compiled, other_folder = finish(start(copy))
    assert (edited, compiled) == (pytest.approx(7.0 + value), ["logistic"])
    assert other_folder != folder

    source.write_text(before)
    assert finish(start(copy)) == [value, [], folder]


def test_two_processes_that_compile_at_once_do_no_harm(copy):
    both = [start(copy), start(copy)]
    first, second = map(finish, both)
    assert first[0] == second[0] == pytest.approx(np.log(2))
    assert finish(start(copy))[1] == []


def test_every_module_that_the_kernels_import_is_among_the_sources():
    code = (
        "import sys, learner.kernels; print(*(m.__file__ for n, m in sys.modules.items() if n.startswith('learner')))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    compiled = {Path(file).resolve() for file in done.stdout.split()}
    elsewhere = {"__init__.py", "compiling.py", "errors.py"}  # nothing of them is compiled
    learner = Path(jit.__file__).parent.parent
    assert {path for path in compiled if path not in {learner / name for name in elsewhere}} <= set(jit.sources())


def test_machine_code_lies_in_a_folder_of_the_users_own(copy):
    cache = copy / "cache" / "compiled"
    _, _, folder = finish(start(copy))
    assert Path(folder).parent == cache
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert not [path for path in (copy / "learner").rglob("*") if path.suffix in {".nbi", ".nbc"}]


def test_without_such_a_folder_machine_code_lies_in_a_temporary_one_that_goes(copy):
    (copy / "cache").write_text("no folder")
    _, compiled, folder = finish(start(copy))
    assert compiled == ["logistic"]
    assert not Path(folder).is_relative_to(copy)
    assert not Path(folder).exists()


@pytest.mark.parametrize("damage", ["emptied", "cut", "overwritten"])
@pytest.mark.parametrize("ending", [".nbi", ".nbc"])
def test_damaged_machine_code_is_made_anew(copy, ending, damage):
    """As after a loss of power: the next start must work, and the one after it finds machine code that is whole."""
    value, _, folder = finish(start(copy))
    for path in Path(folder).rglob(f"*logistic*{ending}"):
        content = path.read_bytes()
        middle = len(content) // 2
        path.write_bytes({"emptied": b"", "cut": content[:100]}.get(damage, content[:9] + b"\xff" * middle))
    assert finish(start(copy))[:2] == [value, ["logistic"]]
    assert finish(start(copy))[:2] == [value, []]


def test_machine_code_that_cannot_be_kept_is_made_all_the_same(copy):
    _, _, folder = finish(start(copy))
    shutil.rmtree(folder)
    Path(folder).write_text("no folder")
    assert finish(start(copy))[:2] == [pytest.approx(np.log(2)), ["logistic"]]


def test_a_command_that_compiles_says_so_once_and_how_long_it_took(copy):
    (copy / "examples.jsonl").write_text('{"a": 1, "target": 1}\n' * 3)
    command = ("-m", "learner", "replay", "examples.jsonl", "--optimizer", "sgd")
    cold = start(copy, *command)
    _, told = cold.communicate(timeout=300)
    assert cold.returncode == 0, told
    assert told.count("compiling the loops for this machine") == 1
    assert str(copy / "cache") in told
    assert "compiled learn_by_algorithm in " in told
    assert "compiled predict_by_algorithm in " in told
    warm = start(copy, *command)
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
