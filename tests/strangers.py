"""What strangers bring, and what is right: ``python -m tests.strangers``.

Each case writes the few lines of a file and runs a command on it, in this process and without a server. The program prints a
line for each; it exits with 1 if one is not as wanted. `tests/unit/commands/test_strangers.py` runs the same cases.
"""

import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from click.testing import CliRunner

from learner.commands import main as learner

__all__ = ["CASES", "Case", "trouble"]

YES_NO = "".join(f"{k % 3},{'Yes' if k % 3 else 'No'}\n" for k in range(30))


class Case(NamedTuple):
    """A case.

    Attributes
    ----------
    name : str
        What the stranger brings.
    content : bytes
        Of the file, ``FILE`` in the command, whose name ends with `ending`.
    command : str
        Without ``learner``; words are separated by blanks.
    code : int
        The exit code wanted.
    figures : dict
        What the JSON that is printed must have, with ``--json``.
    words : tuple of str
        Regular expressions that the output must match, in any order.
    """

    name: str
    content: bytes
    ending: str
    command: str
    code: int = 0
    figures: dict[str, Any] = {}  # noqa: RUF012 -- never changed
    words: tuple[str, ...] = ()


def table(text: str, ending: str = ".csv") -> tuple[bytes, str]:
    """Return a table's bytes, and the ending of its name."""
    return text.encode(), ending


LEARNED_2 = {"examples": 2, "rejected": 0}
REPLAY = "replay FILE --json"
CASES = [
    Case(
        "hexadecimal ids",
        *table("id,target\n720299e3,1\n65578e91,0\n1234567,1\n"),
        REPLAY,
        0,
        {"examples": 3},
        ("category id",),
    ),
    Case("zip codes", *table("zip,target\n02139,1\n10001,0\n"), REPLAY, 0, LEARNED_2, ("category zip",)),
    Case("thousands", *table('a,target\n"1,234",1\n"5,000.5",0\n'), REPLAY, 0, LEARNED_2, ("number a",)),
    Case("decimal commas", *table("a;target\n1,5;1\n2,25;0\n"), REPLAY, 0, LEARNED_2, ("number a",)),
    Case("money", *table('a,target\n"$1,234.00",1\n$5.99,0\n'), REPLAY, 0, LEARNED_2, ("money a",)),
    Case("percentages", *table("a,target\n15%,1\n3.5 %,0\n"), REPLAY, 0, LEARNED_2, ("percentage a",)),
    Case("dates", *table("a,target\n31.12.2026,1\n01.02.2027,0\n"), REPLAY, 0, LEARNED_2, ("date a",)),
    Case(
        "cousins of NA", *table("a,target\n1,1\nNA,0\nn/a,1\nNULL,0\n,1\n"), REPLAY, 0, {"examples": 5}, ("number a",)
    ),
    Case("a kind that is overruled", *table("a,target\n7,1\n8,0\n"), f"{REPLAY} --category a", 0, {"features": 3}),
    Case("no header", *table("1,x,1\n2,y,0\n"), REPLAY, 2, {}, (r"looks like data: add --no-header or --columns",)),
    Case("no header, names given", *table("1,x,1\n2,y,0\n"), f"{REPLAY} --columns a,b,target", 0, LEARNED_2),
    Case("no header, said so", *table("1,x,1\n2,y,0\n"), f"{REPLAY} --no-header --target c3", 0, LEARNED_2),
    Case("labels 1 and 2", *table("a,target\n1,1\n0,2\n"), f"{REPLAY} --labels 1,2", 0, LEARNED_2),
    Case("labels 1 and 2, not said", *table("a,target\n1,1\n0,2\n"), REPLAY, 3, {"examples": 1}, ("add --labels 1,2",)),
    Case("labels of libsvm", b"1 3:1\n2 4:1\n", ".svm", f"{REPLAY} --labels 1,2", 0, LEARNED_2),
    Case("booleans", *table("a,target\n1,True\n2,False\n"), REPLAY, 0, LEARNED_2),
    Case(
        "yes and no",
        *table("a,target\n" + YES_NO),
        REPLAY,
        0,
        {"examples": 30, "rejected": 0},
        ("a word for yes is 1",),
    ),
    Case("two other words", *table("a,target\n1,late\n2,early\n"), REPLAY, 2, {}, ("add --labels early,late",)),
    Case("three words", *table("a,target\n1,red\n2,blue\n3,green\n"), REPLAY, 2, {}, ("--task multiclass",)),
    Case(
        "a target in capitals",
        *table("a,Target\n1,1\n2,0\n"),
        REPLAY,
        2,
        {},
        (r"a, Target \(got 'target'; did you mean 'Target'\?\)",),
    ),
    Case("a mark of byte order", b"\xef\xbb\xbfa,target\n1,1\n2,0\n", ".csv", REPLAY, 0, LEARNED_2, ("number a",)),
    Case("semicolons", *table("a;b;target\n1;x;1\n2;y;0\n"), REPLAY, 0, LEARNED_2, ("category b",)),
    Case(
        "blanks", *table("a b target\n1 x 1\n2 y 0\n"), REPLAY, 2, {}, (r"divided by a comma, .* \(got 'a b target'\)",)
    ),
    Case("sep=", *table("sep=;\na;b;target\n1;x;1\n2;y;0\n"), REPLAY, 0, LEARNED_2),
    Case("tabs in a csv", *table("a\tb\ttarget\n1\tx\t1\n2\ty\t0\n"), REPLAY, 0, LEARNED_2),
    Case(
        "a quotation mark that is not closed",
        *table('a,target\n1,1\n"2,0\n3,1\n4,0\n'),
        REPLAY,
        3,
        {"examples": 3, "rejected": 1},
        ("line 3: ",),
    ),
    Case("line breaks in quotes", *table('a,target\n"x\ny",1\nz,0\n'), REPLAY, 0, LEARNED_2),
    Case("names that come twice", *table("a,a,target\n1,2,1\n3,4,0\n"), REPLAY, 0, LEARNED_2, (r"called a\.2",)),
    Case(
        "Latin-1", "a,target\nOrléans,1\nNice,0\n".encode("latin-1"), ".csv", REPLAY, 2, {}, ("try --encoding latin-1",)
    ),
    Case(
        "Latin-1, said so",
        "a,target\nOrléans,1\nNice,0\n".encode("latin-1"),
        ".csv",
        f"{REPLAY} --encoding latin-1",
        0,
        LEARNED_2,
    ),
    Case("UTF-16", "a,target\nx,1\ny,0\n".encode("utf-16"), ".csv", REPLAY, 0, LEARNED_2),
    Case("lines of old Macs", b"a,target\rx,1\ry,0\r", ".csv", REPLAY, 0, LEARNED_2),
    Case(
        "the file's own lines",
        b"\n1 | a\n\n7 | b\n-1 | c\n",
        ".vw",
        REPLAY,
        3,
        {"examples": 2, "rejected": 1},
        ("line 4: ",),
    ),
    Case("text values of VW", b"1 |n city:Lyon\n-1 |n city:Nice\n", ".vw", REPLAY, 0, LEARNED_2),
    Case("null and NaN", b'{"a": null, "target": 1}\n{"a": 2.5, "target": 0}\n', ".jsonl", REPLAY, 0, LEARNED_2),
    Case("a JSON array", b'[{"a": 1, "target": 1}, {"a": 2, "target": 0}]', ".json", REPLAY, 0, LEARNED_2),
    Case(
        "a JSON array that breaks off",
        b'[{"a": 1, "target": 1}, {"a": 2, "tar',
        ".json",
        REPLAY,
        3,
        {"examples": 1, "rejected": 1},
        ("row 2: must be whole JSON",),
    ),
    Case("labels with leading zeros", *table("a,target\n1,01\n2,02\n"), f"{REPLAY} --labels 01,02", 0, LEARNED_2),
    Case(
        "a number and a word",
        *table("a,target\n1,1\n2,many\n3,0\n"),
        f"{REPLAY} --labels 1,many",
        3,
        {"examples": 2, "rejected": 1},
    ),
    Case(
        "no such key",
        b'{"a": 1, "late": 1}\n',
        ".jsonl",
        REPLAY,
        2,
        {},
        (r"target must be a key of the objects: a, late",),
    ),
    Case("a Redis URL's option", b"", ".csv", "status m --redis-url redis://localhost/0?nosuch=1", 2, {}, ("nosuch",)),
    Case(
        "a database that is a name", b"", ".csv", "status m --redis-url redis://localhost/abc", 2, {}, ("abc|number",)
    ),
]


def trouble(case: Case, folder: Path) -> str:
    """Run a case; return what is not as wanted, "" if all is."""
    path = folder / f"file{case.ending}"
    path.write_bytes(case.content)
    words = [str(path) if word == "FILE" else word for word in case.command.split()]
    result = CliRunner().invoke(learner, words)
    if result.exception and not isinstance(result.exception, SystemExit):
        return f"raised {result.exception!r}"
    if result.exit_code != case.code:
        return f"exit code {result.exit_code} in place of {case.code}: {result.output}"
    if case.figures:
        found = json.loads(result.stdout)
        if wrong := {name: found.get(name) for name, value in case.figures.items() if found.get(name) != value}:
            return f"{wrong} in place of {case.figures}"
    if case.code == 2 and len(result.stderr.splitlines()) > 12:  # ten bad lines, a note and what is to be done
        return f"more than a line: {result.stderr}"
    missing = [pattern for pattern in case.words if not re.search(pattern, result.output + result.stderr)]
    return f"nothing like {missing} in: {result.output}" if missing else ""


def main() -> None:
    """Print a line for each case; exit with 1 if one is not as wanted."""
    n_wrong = 0
    for case in CASES:
        with tempfile.TemporaryDirectory() as folder:
            found = trouble(case, Path(folder))
        n_wrong += bool(found)
        print(f"{'WRONG' if found else 'right':6} {case.name}{': ' if found else ''}{found}", flush=True)
    sys.exit(1 if n_wrong else 0)


if __name__ == "__main__":
    main()
