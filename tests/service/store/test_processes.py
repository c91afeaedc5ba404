"""Notes of what processes do: one a process, gone when it says so."""

from learner.service.store import Store


def test_a_process_has_one_note_which_it_changes_and_removes(client):
    first, second = Store(client, "m").processes, Store(client, "m").processes
    assert list(first.list()) == []
    first.note("starting")
    second.note("waiting")
    first.note("running")
    assert sorted(note["state"] for note in second.list()) == ["running", "waiting"]
    second.note(None)
    assert [note["state"] for note in first.list()] == ["running"]
