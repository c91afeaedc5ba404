"""The rejected stream: listed, put back, and bounded."""

import json
import threading

import msgpack
import pytest
from click.testing import CliRunner

from learner.commands import main
from learner.packing import pack
from learner.service.store import Store, writing
from learner.service.store.connection import client as connect
from learner.service.store.rejected import listed, put_back
from learner.service.wire import REJECTED_BYTES
from tests.streams import BAD, GOOD, KEYS


@pytest.fixture
def run(redis_url):
    def ran(*arguments, code=0):
        result = CliRunner(env={"REDIS_URL": redis_url}).invoke(main, arguments)
        assert result.exit_code == code, result.output
        return result

    return ran


def reject_some(client):
    """Push what can't be learned in every form; returns how many."""
    client.xadd(KEYS.examples, {"record": '{"lat": 91}', "target": "1"})
    client.xadd(KEYS.examples, {"record": '{"lat": 1, "lon": 2}', "target": "7", "importance": "2", "id": "once"})
    client.xadd(KEYS.examples, {"features": pack({"a": 1}), "target": "x", "\xff": "1"})
    client.xadd(KEYS.examples, {"records": msgpack.packb([1, {"lat": 92, "lon": 1}]) + GOOD})
    client.xadd(KEYS.examples, {"batch": BAD + GOOD + BAD})
    return 7


def test_what_was_rejected_is_listed_for_people_and_programs(client, create, drain, run):
    create(featurizer="place")
    n = reject_some(client)
    drain()
    lines = run("rejected", "list", "m").stdout.splitlines()
    assert len(lines) == 2 * n
    assert "featurize: field" in lines[0]
    assert '{"lat": 91}' in lines[1]
    found = [json.loads(line) for line in run("rejected", "list", "m", "-n", "2", "--json").stdout.splitlines()]
    assert [one["field"] for one in found] == ["batch", "batch"]
    assert found == listed(Store(client, "m"), 2)
    assert found[0]["bytes"] == len(BAD)
    assert "does not exist" in run("rejected", "list", "other", code=2).stderr


def test_what_was_rejected_is_put_back_once_as_it_came_and_learned_when_its_reason_is_gone(client, create, drain, run):
    create(featurizer="place")
    n = reject_some(client)
    pushed = [fields for _, fields in client.xrange(KEYS.examples)]
    drain()
    client.xtrim(KEYS.examples, maxlen=0)
    assert run("rejected", "push", "m", "--all").stdout == f"put back {n} of {n} rejected entries\n"
    back = [fields for _, fields in client.xrange(KEYS.examples)]
    del pushed[1][b"id"]  # which was seen: a second one would be left out
    assert back[:3] == pushed[:3]
    assert back[3:5] == [{b"records": msgpack.packb([1, {"lat": 92, "lon": 1}])}, {b"records": GOOD}]
    assert back[5:] == [{b"batch": BAD}] * 2
    assert client.xlen(KEYS.rejected) == 0
    assert run("rejected", "push", "m", "--all", "--json").stdout == '{"model": "m", "pushed": 0, "kept": {}}\n'
    assert len(client.xrange(KEYS.examples)) == n


def test_of_those_named_each_is_put_back_or_it_is_said_why_not(client, create, drain, run):
    create()
    client.xadd(KEYS.examples, {"batch": BAD})
    client.xadd(KEYS.examples, {"batch": b"\xc1" * (REJECTED_BYTES + 1)})
    drain()
    whole, cut = (entry_id.decode() for entry_id, _ in client.xrange(KEYS.rejected))
    result = run("rejected", "push", "m", whole, cut, "1-1", code=2)
    assert result.stdout == "put back 1 of 3 rejected entries\n"
    assert (
        f"rejected entry {cut} stays: only {REJECTED_BYTES} of its {REJECTED_BYTES + 1} bytes were kept"
        in result.stderr
    )
    assert "rejected entry 1-1 stays: it is not there" in result.stderr
    assert client.xrange(KEYS.examples)[-1][1] == {b"batch": BAD}
    assert [entry_id.decode() for entry_id, _ in client.xrange(KEYS.rejected)] == [cut]
    assert "must be ids or --all (got neither)" in run("rejected", "push", "m", code=2).stderr


def test_two_who_put_back_at_once_put_back_each_entry_once(client, redis_url, create, drain):
    create()
    for _ in range(300):
        client.xadd(KEYS.examples, {"batch": BAD})
    drain()
    client.xtrim(KEYS.examples, maxlen=0)
    done = []

    def put():
        with connect(redis_url) as connection:
            done.extend(why for _, why in put_back(Store(connection, "m"), None))

    threads = [threading.Thread(target=put) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert client.xlen(KEYS.examples) == done.count(None) == 300
    assert client.xlen(KEYS.rejected) == 0


def test_the_rejected_stream_is_bounded(client, create, drain, monkeypatch):
    create()
    monkeypatch.setattr(writing, "MAX_REJECTED", 100)
    client.xadd(KEYS.examples, {"batch": BAD * 900})
    drain()
    assert 100 <= client.xlen(KEYS.rejected) < 400


# ---- what something else wrote there ----
def nested(depth):
    return b"\x91" * depth + b"\x90"


JUNK = [
    {"": ""},
    {"bytes": "x", "data": "\xff", "field": "entry"},
    {
        "bytes": "9" * 30,
        "data": GOOD,
        "field": "batch",
        "reason": "\x1b]0;owned\x07",
        "stage": "\x9b2J",
        "entry": "\r\x1b[2J",
    },
    *({"data": data, "field": "entry"} for data in (b"", b"\xc1", b"\x07", b"\x90", b"\x81\x01\x02", b"\x81\xa1a\xc0")),
    *({"data": nested(depth), "field": field} for depth in (100, 300, 500, 900) for field in ("entry", "records")),
    {
        "data": msgpack.packb({"record": b'{"a": "\\ud800\\u009b"}', "\x1b[2J": b"\x9b"}),
        "field": "entry",
        "stage": "killed",
    },
    {"data": b"\x81\xc4\x00\x80", "field": "entry"},
]


def test_forged_entries_are_listed_harmlessly_and_stay_if_they_are_nothing_to_push(client, create, run):
    create()
    ids = [client.xadd(KEYS.rejected, fields).decode() for fields in JUNK]
    for options in ([], ["--json"]):
        text = run("rejected", "list", "m", "-n", "100", *options).stdout
        assert [line for line in text.split("\n") if not line.isprintable()] == []
        assert text.encode()
    assert len(listed(Store(client, "m"), 100)) == len(JUNK)
    client.xadd(KEYS.rejected, {"field": "batch", "data": GOOD})
    result = run("rejected", "push", "m", "--all", code=2)
    stay = [entry_id for entry_id, fields in zip(ids, JUNK, strict=True) if fields.get("field") != "records"]
    assert all(f"rejected entry {entry_id} stays: " in result.stderr for entry_id in stay)
    assert client.xrange(KEYS.examples)[-1][1] == {b"batch": GOOD}
    assert all(fields.keys() <= {b"records", b"batch"} for _, fields in client.xrange(KEYS.examples))
    assert "Invalid stream ID" in run("rejected", "push", "m", "nonsense", code=2).stderr
