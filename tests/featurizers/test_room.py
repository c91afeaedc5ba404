"""The package's place in the house: it knows nobody."""

import ast
import sys
from pathlib import Path

import featurizers

SOURCES = sorted(Path(featurizers.__file__).parent.glob("*.py"))


def test_imports_are_the_standard_library_and_itself():
    """No module imports another package of the project or of anybody else."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] in {*sys.stdlib_module_names, "featurizers"}, f"{path.name} imports {name}"
                assert name not in {"pickle", "importlib"}
