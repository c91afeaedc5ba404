"""Notes of what processes do: one a process, which says at last how it stopped."""

import json

import pytest

from learner.service.lease import process_name
from learner.service.store import Store
from learner.service.store.processes import GONE_SECONDS, MAX_ENDED
from tests.streams import KEYS


def test_a_process_has_one_note_which_it_changes_and_which_tells_how_it_stopped(client):
    Store(client, "m").create({"task": "binary"})
    first, second = Store(client, "m").processes, Store(client, "m").processes
    assert list(first.list()) == []
    first.note("starting")
    second.note("waiting")
    first.note("running")
    assert sorted(note["state"] for note in second.list()) == ["running", "waiting"]
    second.note("stopped", 5, "too many\nrejected")
    stopped = next(note for note in first.list() if note["state"] == "stopped")
    assert (stopped["code"], stopped["reason"]) == (5, "too many\\nrejected")


def test_silence_is_the_time_since_the_note_was_renewed_by_the_server_s_clock(client):
    processes = Store(client, "m").processes
    processes.note("running")
    now = processes.list()[0]["seen"] + 99.0
    assert processes.list(now)[0]["silent"] == 99.0
    processes.renew_if_due()  # it is not
    assert processes.list(now)[0]["silent"] == 99.0
    processes._noted_at -= 99.0
    processes.renew_if_due()
    assert processes.list(now)[0]["silent"] < 99.0


@pytest.mark.skipif(not process_name(), reason="needs Linux's /proc")
def test_an_ended_process_without_a_word_is_dead_and_the_last_ended_ones_are_kept(client):
    processes = Store(client, "m").processes
    processes.note("running")
    note = json.loads(next(iter(client.hgetall(KEYS.workers).values())))
    ended = " ".join([*process_name().split()[:2], "4194305", "1"])  # above the largest process id
    for i in range(MAX_ENDED + 2):
        client.hset(KEYS.workers, f"dead {i}", json.dumps(note | {"process": ended, "seen": note["seen"] - 50 + i}))
    client.hset(KEYS.workers, "elsewhere", json.dumps(note | {"process": "", "seen": note["seen"] - GONE_SECONDS - 1}))
    assert [each["state"] for each in processes.list()].count("dead") == MAX_ENDED + 2
    processes.note("running")
    left = {f"dead {i}".encode() for i in range(2, MAX_ENDED + 2)}
    assert client.hgetall(KEYS.workers).keys() == left | {processes.name.encode()}
