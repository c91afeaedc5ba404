"""Whatever somebody wrote into a model's keys, commands say so in one line and open no file; `repair --forget` mends it."""

import contextlib
import json
import random

import pytest
from click.testing import CliRunner

from learner import layout
from learner.commands import main
from learner.errors import LearnerError, StoreError
from learner.service.store import Store
from tests.command_line import invoke
from tests.streams import GOOD, KEYS

JUNK = [
    b"",
    b"x",
    b"-1",
    b"1.5",
    b"nan",
    b"9" * 30,
    b"\xff",
    b"[]",
    b"{}",
    b"null",
    b"[0,0,[[1,2]]]",
    b"[1e9,0,[]]",
    b"\x1b[2J",
]
FIELDS = [
    "cursor",
    "entries",
    "format",
    "layout",
    "fingerprint",
    "features",
    "name_bytes",
    "arrays",
    "journal",
    "commits",
]
FIELDS += ["checksums", "n_ids", "late", "time", "totals"]
COMMANDS = [("status", "m"), ("status", "m", "--json"), ("weights", "m"), ("repair", "m")]
COMMANDS += [
    ("push", "m", "-", "--format", "jsonl"),
    ("rejected", "list", "m"),
    ("save", "m", "/nonexistent/m.learner"),
]


@pytest.fixture
def learned(client, create, drain, redis_url, monkeypatch):
    """A model of one example, whose server the commands find."""
    monkeypatch.setenv("REDIS_URL", redis_url)
    create(featurizer="fields")
    client.xadd(KEYS.examples, {"batch": GOOD})
    worker = drain()
    worker.owning.close()
    return client


def require_one_line(*arguments):
    """Run a command, which may succeed, or end with one line and code 2; return what it said."""
    result = CliRunner().invoke(main, arguments, input=b'{"a": 1, "target": 1}\n')
    assert result.exception is None or isinstance(result.exception, SystemExit), (arguments, result.exception)
    if result.exit_code:
        assert result.exit_code == 2
        assert len(result.stderr.splitlines()) <= 1
        assert result.stderr.isprintable() or result.stderr[:-1].isprintable()
    return result


@pytest.mark.parametrize("field", FIELDS)
def test_a_damaged_field_of_the_head_is_said_in_one_line(learned, committed, drain, field, seed):
    whole = learned.hget(KEYS.head, field) or b""
    draw = random.Random(seed)
    for junk in [*JUNK, whole[:-1], bytes(draw.randrange(256) for _ in whole)]:
        learned.hset(KEYS.head, field, junk)
        for arguments in draw.sample(COMMANDS, 3):
            require_one_line(*arguments)
        with contextlib.suppress(LearnerError):  # no other error; some junk can be loaded, as the time of the commit
            committed()
    invoke("repair", "m", "--forget")
    assert learned.keys(f"{KEYS.state}*") == [KEYS.head.encode()]
    drain()


def test_a_head_without_one_of_its_fields_is_said(learned, committed):
    whole = learned.hgetall(KEYS.head)
    for field in whole.keys() - {b"format", b"layout", b"late", b"time"}:
        learned.hdel(KEYS.head, field)
        with contextlib.suppress(
            StoreError
        ):  # no other error; without names or commits the model is as before its first
            committed()
        learned.hset(KEYS.head, field, whole[field])
    assert committed().n_examples == 1


SPECS = [b"", b"{", b"[" * 100_000, b"\xff", b"7", b"[]", b"{}", b'{"task": "\\u001b[2J", "outcomes": "late"}']
SPECS += [
    b'{"task": "binary", "outcomes": "late", "parts": [{}]}',
    b'{"task": "binary", "outcomes": "late", "rates": {}}',
]


@pytest.mark.parametrize("spec", SPECS)
def test_a_damaged_spec_is_said_in_one_line(learned, drain, spec):
    learned.set(KEYS.spec, spec)
    with pytest.raises(LearnerError):
        drain()
    for arguments in [*COMMANDS, ("rejected", "push", "m", "--all")]:
        if b"parts" not in spec and b"rates" not in spec:  # which only those look at that make a model of it
            assert require_one_line(*arguments).exit_code == 2
        require_one_line(*arguments)


def test_a_spec_on_a_server_opens_no_file(learned, drain, tmp_path, monkeypatch):
    spec = json.loads(learned.get(KEYS.spec))
    (tmp_path / "f.toml").write_text('[[templates]]\ntemplate = "length"\n')
    monkeypatch.chdir(tmp_path)
    for featurizer in (str(tmp_path / "f.toml"), "f.toml", "/dev/stdin.json", "email"):
        learned.set(KEYS.spec, json.dumps(spec | {"featurizer": featurizer}))
        with pytest.raises(LearnerError, match="featurizer of a stored spec must be a map of its templates"):
            drain()
        assert "must be a map of its templates" in require_one_line("weights", "m").stderr


def test_notes_and_owners_that_something_else_wrote_harm_nobody(learned, drain):
    for note in (b"{", b"[]", b"{}", b'{"process": 7}', b"\xff"):
        learned.hset(KEYS.workers, note, note)
    assert [worker["state"] for worker in Store(learned, "m").status()["workers"]] == ["stopped"]  # of the fixture
    require_one_line("status", "m")
    learned.hset(KEYS.attempt, mapping={"times": "x", "reading": "0-0"})
    drain()
    learned.hset(KEYS.owner, mapping={"worker": "w", "since": "x"})
    assert require_one_line("status", "m").exit_code == 2
    with pytest.raises(StoreError, match="owner of 'm' was damaged or written by something else"):
        drain()
    learned.hset(KEYS.progress + "x", "a", "b")
    learned.xadd(KEYS.progress, {"loss": "x"})
    assert require_one_line("plot", "progress", "m").exit_code == 2


def test_a_state_that_was_learned_with_other_constants_is_refused(learned, committed, monkeypatch):
    assert learned.hget(KEYS.head, "layout").decode() == layout.digest()
    for name in ("N_BINS", "MAX_BINNED", "N_SAMPLES", "MAX_DENSE", "N_TOTALS", "TARGET_SUM"):
        with monkeypatch.context() as patch:
            patch.setattr(layout, name, getattr(layout, name) + 1)
            with pytest.raises(
                StoreError, match=r"must have the layout [0-9a-f]{16} \(got [0-9a-f]{16}\): .* other const"
            ):
                committed()
    learned.hdel(KEYS.head, "layout")  # as it was written before there were others
    assert layout.digest() != layout.FIRST_DIGEST or committed().n_examples == 1
    for bound in ("MAX_LABELS", "BAD_WIDTH"):  # which give no number its meaning
        monkeypatch.setattr(layout, bound, 12345)
    learned.hset(KEYS.head, "layout", layout.digest())
    assert committed().n_examples == 1
