"""Entry ids."""

from learner.service.store.position import stream_id


def test_entry_ids_compare_as_the_stream_does():
    ids = [b"0-0", b"9-3", b"10-2", b"10-11", "11-0"]
    assert sorted(ids, key=stream_id) == ids
    assert stream_id("7") == (7, 0)
