"""Our commands run in this process, and the files of examples that they read: for the tests of commands."""

import gzip
import json

import msgpack
import pytest
from click.testing import CliRunner, Result

from learner.commands import main
from learner.files import read
from learner.model import Model
from tests.conftest import SEED

ROWS = [(1 if i % 3 else 0, {"a": i % 7 + 0.5, "w": f"w{i % 5}"}) for i in range(60)]


FILES = {
    "jsonl": "".join(json.dumps({**record, "target": target}) + "\n" for target, record in ROWS).encode(),
    "json": b"".join(json.dumps({**record, "target": target}).encode() + b"\n" for target, record in ROWS),
    "csv": b"a,w,target\n" + b"".join(b"%g,%s,%d\n" % (x["a"], x["w"].encode(), y) for y, x in ROWS),
    "tsv": b"a\tw\ttarget\n" + b"".join(b"%g\t%s\t%d\n" % (x["a"], x["w"].encode(), y) for y, x in ROWS),
    "vw": b"".join(b"%d |f a:%g %s\n" % (2 * y - 1, x["a"], x["w"].encode()) for y, x in ROWS),
    "libsvm": b"".join(b"%d 1:%g %d:1\n" % (y, x["a"], int(x["w"][1:]) + 2) for y, x in ROWS),
    "msgpack": b"".join(msgpack.packb([y, {"a": x["a"], x["w"]: 1}]) for y, x in ROWS),
}


BAD_LINE = {
    "jsonl": b"{nope\n",
    "json": b"5\n",
    "csv": b"1,2,3,4\n",
    "tsv": b"1\t2\t3\t4\n",
    "vw": b"1 no bar\n",
    "libsvm": b"1 nocolon\n",
    "msgpack": msgpack.packb({"a": 1}),
}


def errors(result: Result) -> list[str]:
    """What a command said on standard error, but for what it decided about a file's columns."""
    return [line for line in result.stderr.splitlines() if not line.startswith("Note: ")]


def strictly(text: str) -> dict:
    """JSON as every other language reads it: without NaN."""

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    return json.loads(text, parse_constant=refuse)


def invoke(*arguments: str, code: int = 0, stdin: "bytes | None" = None) -> Result:
    """Run a command in this process; it must exit with the code expected."""
    result = CliRunner().invoke(main, arguments, input=stdin)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def invoke_failing(*arguments: str, stdin: "bytes | None" = None) -> str:
    """Run a command that must fail with one line on standard error and exit code 2; returns the line."""
    result = invoke(*arguments, code=2, stdin=stdin)
    lines = [line for line in result.stderr.splitlines() if line]
    if lines[0].startswith("Usage: "):  # click's own two lines before it
        lines = lines[2:]
    assert len(lines) == 1, lines
    assert lines[0].startswith("Error: ")
    return lines[0]


@pytest.fixture
def file(tmp_path):
    """Write a file of examples; returns its path."""

    def written(name: str, content: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        return str(path)

    return written


def reference(form: str, path: str, **options) -> Model:
    """The model that learned a file example by example."""
    model = Model(options.pop("task", "binary"), featurizer=options.pop("featurizer", "fields"), seed=SEED, **options)
    for example in read(path, form):
        if example.kind == "features":
            model.learn_packed(example.data)
        else:
            target, record, *importance = msgpack.unpackb(example.data)
            model.learn_one(record, target, *importance)
    return model
