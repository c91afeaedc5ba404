"""What commands print of strangers' texts: no line has anything that a terminal obeys, or UTF-8 has no form for."""

import json

import pytest
from click.testing import CliRunner

from learner.commands import main

EVIL = "a\x1b[2J\x9b\r\nb\u202e\u2028"  # escapes, line breaks, the other direction of writing


def lines_of(*arguments, **options):
    result = CliRunner().invoke(main, arguments, **options)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.output
    assert result.output
    return result.output.split("\n")


@pytest.mark.parametrize("as_json", [(), ("--json",)])
@pytest.mark.parametrize("command", [("replay", "--task", "multiclass"), ("init",), ("featurize",)])
def test_what_a_file_holds_is_printed_on_lines_that_are_printable(tmp_path, command, as_json):
    path = tmp_path / "rows.jsonl"
    rows = [{EVIL: f"{EVIL}{i}", "target": f"{EVIL}{i % 2}"} for i in range(30)]
    bad = [f'{{"{EVIL}"', json.dumps({"features": {"x": EVIL}}), json.dumps({EVIL: 1, "record": {}}), '{"\\ud800": 1}']
    path.write_text("\n".join([*map(json.dumps, rows), *bad]))
    name, *options = command
    featurizer = ("fields",) if name == "featurize" else ()
    to = ("--out", str(tmp_path / "m.toml")) if name == "init" else ()
    for line in lines_of(name, *featurizer, str(path), *options, *to, *as_json):
        assert line.isprintable(), line


def test_long_messages_are_cut(tmp_path):
    path = tmp_path / "rows.vw"
    path.write_text("1 2 " + "3" * 100_000 + " x | a\n1 | a:1\n")
    assert max(map(len, lines_of("replay", str(path)))) < 1000
    path = tmp_path / "rows.csv"
    path.write_text(",".join(f"{'x' * 5000}{i}" for i in range(30)) + "\n")
    assert max(map(len, lines_of("replay", str(path), "--target", "y"))) < 3000
