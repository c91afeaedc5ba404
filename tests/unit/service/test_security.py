"""Passwords that stay where they are, and what the page says of bounds."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from featurizers import names
from learner import layout, settings
from learner.commands import main
from learner.errors import ServerError
from learner.service import answering, hanging, keeping, replying, wire
from learner.service.store import requests, writing
from learner.service.store.connection import client as connect

PAGE = Path(__file__).parents[3] / "learner" / "service" / "README.md"
SECRET = "s3cr3t-of-nobody"  # noqa: S105


def credentials(url):
    options = connect(url).connection_pool.connection_kwargs
    return options.get("username"), options.get("password")


def test_a_url_without_a_password_takes_it_from_the_environment_or_a_file(monkeypatch, tmp_path):
    assert credentials("redis://h/0") == (None, None)
    (tmp_path / "password").write_text("from a file\n")
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(tmp_path / "password"))
    assert credentials("redis://h/0") == (None, "from a file")
    monkeypatch.setenv("REDIS_PASSWORD", "of the environment")
    monkeypatch.setenv("REDIS_USERNAME", "ann")
    assert credentials("rediss://h/0") == ("ann", "of the environment")
    assert credentials("unix:///s") == ("ann", "of the environment")
    assert credentials("redis://bob:own@h/0") == ("bob", "own")
    assert credentials("redis://:own@h/0") == (None, "own")
    assert credentials("unix:///s?password=own") == (None, "own")
    monkeypatch.delenv("REDIS_PASSWORD")
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(tmp_path / "missing"))
    with pytest.raises(ServerError, match="REDIS_PASSWORD_FILE: must be a file with the password"):
        connect("redis://h/0")


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{SECRET}@127.0.0.1:1/0",
        f"redis://ann:{SECRET}@127.0.0.1:1/0",
        f"rediss://:{SECRET}@127.0.0.1:1/0",
        f"unix:///nosuch.sock?password={SECRET}",
        f"http://:{SECRET}@127.0.0.1",
        f"redis://:{SECRET}@127.0.0.1:port/0",
    ],
)
@pytest.mark.parametrize(
    "command",
    [
        ["status", "m"],
        ["push", "m", "-"],
        ["predict", "m", "{}"],
        ["worker", "m", "--burst"],
        ["rejected", "list", "m"],
    ],
)
def test_no_message_shows_a_password(url, command, monkeypatch):
    monkeypatch.setenv("REDIS_URL", url)
    result = CliRunner().invoke(main, command, input="")
    assert result.exit_code == 2
    assert SECRET not in result.output
    assert SECRET not in str(result.exception)


def test_a_password_on_the_command_line_is_warned_of():
    result = CliRunner().invoke(main, ["status", "m", "--redis-url", f"redis://:{SECRET}@127.0.0.1:1/0"])
    assert "every user of this machine sees a password on the command line" in result.stderr
    result = CliRunner().invoke(main, ["status", "m", "--redis-url", "redis://127.0.0.1:1/0"])
    assert "command line" not in result.stderr


BOUNDS = {
    "an entry or a request": (wire.MAX_ENTRY_BYTES, "bytes"),
    "a record, or features in JSON": (wire.MAX_VALUE_BYTES, "bytes"),
    "maps and lists in one another": (wire.MAX_DEPTH, ""),
    "examples in an entry, or feature maps in a request": (wire.MAX_BATCH, ""),
    "features in an example": (layout.MAX_FEATURES, ""),
    "a feature's name, a target, an importance, an id, an `outcome_id`": (layout.MAX_NAME_BYTES, "bytes"),
    "an answer that waits for its outcome": (keeping.MAX_ANSWER_BYTES, "bytes"),
    "answers that wait for their outcomes": (keeping.MAX_KEPT, ""),
    "answers that wait for their outcomes, together": (keeping.MAX_KEPT_BYTES, "bytes"),
    "contributions in a reply": (replying.MAX_EXPLAINED, ""),
    "probabilities in a reply": (replying.MAX_PROBABILITIES, ""),
    "n-grams, or runs of words, in a text": (names.MAX_RUNS, ""),
    "requests for many that wait": (answering.MAX_MANY_BYTES, "bytes"),
    "of a rejected entry kept": (wire.REJECTED_BYTES, "bytes"),
    "rejected entries kept": (writing.MAX_REJECTED, ""),
    "requests that wait": (answering.MAX_WAITING, ""),
    "replies that nobody fetches, a key": (requests.MAX_REPLIES, ""),
}


@pytest.mark.skipif(not PAGE.exists(), reason="the page is not installed with the package")
def test_the_page_s_bounds_are_the_constants():
    text = PAGE.read_text().partition("## Hostile input")[2].partition("\n## ")[0]
    table = dict(re.findall(r"^\| (.*?) \| ([\d,]+(?: bytes)?) \|$", text, re.MULTILINE))
    assert table == {what: f"{n:,} {unit}".strip() for what, (n, unit) in BOUNDS.items()}
    values = settings.read({})
    assert wire.MAX_SHORT_BYTES == layout.MAX_NAME_BYTES
    assert f"for {hanging.RECORD_SECONDS:g} seconds on the features" in text
    assert f"after {replying.REQUEST_SECONDS:g} seconds of work" in text
    for number in (layout.MAX_NUMBER, layout.MAX_IMPORTANCE):
        assert f"{number:g}".replace("+", "") in text
    share, window = values["max_rejected"], values["rejected_window"]
    assert f"share of {share:g} of the last {window:,}" in text
