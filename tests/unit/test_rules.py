"""Who may import whom, and what happens at import: held by reading the source, and by looking at what was loaded."""

import ast
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
FILES = sorted([*(ROOT / "learner").rglob("*.py"), *(ROOT / "featurizers").rglob("*.py"), ROOT / "worker.py"])
MODULES = {".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}
TREES = {name: ast.parse(path.read_text(encoding="utf-8")) for name, path in MODULES.items()}
FEATURIZERS = [name for name in MODULES if name.partition(".")[0] == "featurizers"]


def within(package):
    """Return a package and the modules in it."""
    return {name for name in MODULES if name == package or name.startswith(f"{package}.")}


COMPILER = within("learner.kernels")
REDIS = within("learner.service.store") | {
    "learner.client.conversations",  # these know its errors only
    "learner.service.answerer",
    "learner.service.owning",
    "learner.service.committing",
    "learner.service.reconnecting",
    "learner.service.stopping",
    "learner.service.working",
    *within("learner.service.fleet"),
    "learner.commands.probes",
}
MATHS = {
    "learner.tasks",
    "learner.metrics",
    "learner.confidence",
    "learner.optimizers",
} & set(MODULES)
MATHS |= within("learner.losses") | within("learner.kernels") | within("learner.graph") | within("learner.learners")
NO_MATHS = {
    "io",
    "os",
    "pathlib",
    "socket",
    "redis",
    "click",
    "sys",
    "subprocess",
    "tempfile",
    "shutil",
    "urllib",
    "http",
    "rich",
    "platformdirs",
}
KEEPS = {  # machine code and its source, on disk
    "learner.kernels.jit": {"os", "pathlib", "sys", "tempfile", "platformdirs"},
    "learner.graph.loader": {"os", "pathlib", "sys"},
    "learner.learners.weights": {"os"},  # asks how much memory the machine has
    "learner.learners.ahead": {"os"},  # and this one how many processors
}
UNSAFE_IMPORTS = {"pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "cloudpickle", "code", "runpy"}
UNSAFE_CALLS = {"eval", "exec", "compile", "__import__", "execfile"}
GENERATED = {"learner.graph.loader": {"exec", "compile"}}  # a graph's own code, made of our table of operations
TOLD = {"learner.kernels.jit": {"learner.compiling"}}  # what is told, when it compiles, that knows whom to tell
BY_NAME = {"learner.commands": ["COMMANDS[name].module"]}  # what importlib.import_module may be given, and where


def each(modules):
    """Have a rule, a function of a module's name, checked for each of some modules in one test."""

    def as_test(rule):
        def test():
            for module in modules:
                rule(module)

        test.__name__, test.__doc__ = rule.__name__, rule.__doc__
        return test

    return as_test


every_module = each(MODULES)


@functools.cache
def imports(module, tree=None):
    """Return the dotted names that a module imports anywhere, functions and TYPE_CHECKING too; relative ones made absolute."""
    found = set()
    for node in ast.walk(TREES[module] if tree is None else tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = module if MODULES.get(module, Path()).name == "__init__.py" else module.rpartition(".")[0]
            parents = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            found |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return found


def packages(module):
    return {name.partition(".")[0] for name in imports(module)}


def needed(module, tree):
    """Return the modules of ours that run before a module's imports in a tree are done.

    A module is imported with the packages that it lies in. Those that the importing one lies in run already: it needs them only
    where it takes a name of theirs that is no module, and of the topmost one that isn't looked at.
    """
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = imports(module, ast.Module([node], []))
            if isinstance(node, ast.ImportFrom):
                base = min(names, key=len)
                names = {name if name in MODULES else base for name in names - {base}}
            for name in names & MODULES.keys():
                found |= {name} | (parents(name) - parents(module) - {module})
    return found - {module.partition(".")[0]}


def parents(module):
    """Return the packages that a module lies in."""
    return {module.rsplit(".", n)[0] for n in range(1, module.count(".") + 1)}


def at_import(tree):
    """Yield every node that runs when the module is imported: all but the bodies of functions, and TYPE_CHECKING."""
    todo = list(tree.body)
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            todo += [
                *node.decorator_list,
                *node.args.defaults,
                *(default for default in node.args.kw_defaults if default),
            ]
        elif isinstance(node, ast.Lambda):
            todo += [*node.args.defaults, *(default for default in node.args.kw_defaults if default)]
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            todo += node.orelse
        else:
            todo += ast.iter_child_nodes(node)


def test_the_rules_are_about_files_that_are_there():
    assert COMPILER | REDIS | BY_NAME.keys() | GENERATED.keys() <= set(MODULES)
    assert TOLD.keys() <= COMPILER
    assert KEEPS.keys() | GENERATED.keys() <= MATHS
    assert len(FEATURIZERS) > 5
    assert {"learner.losses", "learner.learners.weights", "learner.learners.mixture"} <= MATHS
    assert {"learner.kernels", "learner.kernels.jit", "learner.kernels.tasks.binary"} <= COMPILER <= MATHS
    assert {"learner.losses.links", "learner.losses.squared"} <= MATHS


@every_module
def test_every_module_says_what_it_is(module):
    assert (ast.get_docstring(TREES[module]) or "").strip()


@each(FEATURIZERS)
def test_featurizers_know_nobody(module):
    """The standard library and one another."""
    assert packages(module) - set(sys.stdlib_module_names) <= {"featurizers"}


@every_module
def test_nobody_imports_the_worker(module):
    assert "worker" not in packages(module)


@every_module
def test_only_the_kernels_know_the_compiler(module):
    if module not in COMPILER:
        assert not packages(module) & {"numba", "llvmlite"}


@every_module
def test_only_these_modules_know_redis(module):
    if module not in REDIS:
        assert not packages(module) & {"redis", "hiredis", "valkey", "fakeredis"}


@each(sorted(within("learner.service")))
def test_the_service_knows_nothing_of_commands(module):
    assert not any(name.startswith("learner.commands") for name in imports(module))


@each(sorted(within("learner.service.wire")))
def test_the_protocol_knows_no_server_and_no_model(module):
    ours = {name for name in imports(module) if name in MODULES} - {"learner", "learner.service"}
    others = {"learner.layout", "learner.errors", "learner.packing", "learner.decoding"}
    assert ours <= within("learner.service.wire") | others


@every_module
def test_only_adapters_know_the_libraries_they_adapt_to(module):
    if not module.startswith("learner.adapters."):
        assert not packages(module) & {"river", "sklearn", "scipy", "pandas"}
        assert not any(name.startswith("learner.adapters") for name in imports(module))


@each(sorted(MATHS))
def test_mathematics_does_no_input_or_output(module):
    assert not packages(module) & NO_MATHS - KEEPS.get(module, set())
    calls = {ast.unparse(node.func) for node in ast.walk(TREES[module]) if isinstance(node, ast.Call)}
    assert not calls & {"open", "print", "input"}


@each(sorted(MATHS | set().union(*TOLD.values())))
def test_mathematics_knows_nothing_of_the_service(module):
    """Nor do the modules that are told of its compiling."""
    ours = {name for name in imports(module) if name in MODULES} - {"learner"}
    data = {"learner.layout", "learner.errors", "learner.spec", "learner.packing", "learner.messages"}
    assert ours <= MATHS | data | TOLD.get(module, set())


@every_module
def test_nothing_is_opened_or_asked_at_import(module):
    """No environment, no file, no connection, no process."""
    for node in at_import(TREES[module]):
        text = ast.unparse(node) if isinstance(node, (ast.Attribute, ast.Call)) else ""
        assert text not in {"os.environ", "os.getcwd"}, node.lineno
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            last = called.rpartition(".")[2]
            assert last not in {
                "open",
                "getenv",
                "read_text",
                "read_bytes",
                "mkdir",
                "mkdtemp",
                "connect",
                "create_connection",
            }, text
            assert called.partition(".")[0] not in {
                "subprocess",
                "socket",
                "redis",
                "tempfile",
                "platformdirs",
                "connection",
                "embedded",
            }, text


@every_module
def test_data_is_never_run(module):
    """No pickle, no eval or exec, and no module imported by a name that comes from outside."""
    assert not packages(module) & UNSAFE_IMPORTS
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in UNSAFE_CALLS - GENERATED.get(module, set()), node.lineno
            if called.rpartition(".")[2] == "import_module":
                assert [ast.unparse(argument) for argument in node.args] == BY_NAME.get(module), node.lineno
            if called.rpartition(".")[2] in {"find_spec", "spec_from_file_location"}:
                assert all(isinstance(argument, ast.Constant) for argument in node.args), node.lineno
            if called.rpartition(".")[2] in {"load", "save"} and called.startswith(("np.", "numpy.")):
                keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
                assert keywords.get("allow_pickle") == "False", node.lineno


@functools.cache
def needed_at_import(module):
    """Return the modules of ours that run before the import of a module is done."""
    nodes = [node for node in at_import(TREES[module]) if isinstance(node, (ast.Import, ast.ImportFrom))]
    return needed(module, ast.Module(nodes, []))


@every_module
def test_imports_of_our_own_go_in_one_direction(module):
    """Nothing that is imported at import time leads back to where it came from."""
    todo, seen = [module], set()
    while todo:
        name = todo.pop()
        following = needed_at_import(name) - seen
        assert module not in following, name
        seen |= following
        todo += following


def test_a_way_back_is_seen_through_packages():
    """The rule before, on imports that are made up: what counts for a module of a package, for the package, and outside."""
    kernels, inside, outside = "learner.kernels", "learner.kernels.classes", "learner.learners.mixture"
    for module, line, expected in (
        (kernels, "from learner.kernels import classes", {inside}),
        (kernels, "from . import classes", {inside}),
        (inside, "from learner.kernels import learn", {kernels}),
        (inside, "from learner.kernels import jit, learn", {kernels, "learner.kernels.jit"}),
        (inside, "from learner.kernels.jit import door", {"learner.kernels.jit"}),
        (inside, "from learner.kernels.tasks import binary", {"learner.kernels.tasks.binary", "learner.kernels.tasks"}),
        (outside, "from learner.kernels import classes", {kernels, inside}),
        (outside, "import learner.kernels.classes as c", {kernels, inside}),
        (outside, "from learner import kernels, layout", {kernels, "learner.layout"}),
    ):
        assert needed(module, ast.parse(line)) == expected, (module, line)


WITHOUT_CONNECTIONS = """
import socket

def refuse(*arguments):
    raise AssertionError("a connection at import")

socket.socket.connect = refuse
import worker, learner.commands, learner.client, learner.service.store, learner.files
import learner.learners.mixture, learner.kernels.jit as jit
assert not jit.cache_folder.cache_info().currsize
"""


def test_importing_makes_no_folder_and_no_connection(tmp_path):
    """Where machine code is kept is asked for when a first door is called, and a server when a command needs one."""
    folders = {"LEARNER_CACHE": "compiled", "XDG_CACHE_HOME": "user", "LEARNER_HOME": "home"}
    environment = os.environ | {name: str(tmp_path / folder) for name, folder in folders.items()}
    environment["REDIS_URL"] = "redis://127.0.0.1:1/0"
    subprocess.run([sys.executable, "-c", WITHOUT_CONNECTIONS], check=True, cwd=ROOT, env=environment)
    assert not [*tmp_path.iterdir()]


LOADED = "import json, sys; {}; print(json.dumps(sorted({{name.partition('.')[0] for name in sys.modules}})))"
HELP = "from click.testing import CliRunner; from learner.commands import main; "
HELP += "assert CliRunner().invoke(main, ['--help']).exit_code == 0"


@pytest.mark.parametrize(
    ("statement", "unwanted"),
    [
        (
            "import learner.commands",
            {"numba", "llvmlite", "redis", "numpy", "msgpack", "rich", "worker", "featurizers"},
        ),
        (HELP, {"numba", "llvmlite", "redis", "numpy", "msgpack", "rich", "worker", "featurizers"}),
        ("import learner", {"numba", "llvmlite", "redis", "numpy", "click"}),
        ("from learner import Client", {"numba", "llvmlite", "numpy", "click", "worker"}),
        ("import learner.graph", {"numba", "llvmlite", "redis", "msgpack", "click", "worker", "featurizers"}),
        ("import learner.files", {"numba", "llvmlite", "redis", "numpy", "click", "rich", "worker"}),
        ("from learner.spec import Spec; Spec()", {"numba", "llvmlite", "redis", "click"}),
        ("import worker", {"numba", "llvmlite"}),
        ("import featurizers", {"numba", "llvmlite", "numpy", "redis", "click", "learner"}),
    ],
)
def test_what_starts_at_once_loads_nothing_heavy(statement, unwanted):
    done = subprocess.run(
        [sys.executable, "-c", LOADED.format(statement)], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert not set(json.loads(done.stdout)) & unwanted
