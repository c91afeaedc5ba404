"""After a crash: what is suspected, and what survives its trial."""

import msgpack

from learner.service import recovery
from learner.service.store.attempts import Attempt, Attempts
from tests.conftest import state_bytes
from tests.streams import GOOD, KEYS, rejected


def test_after_a_clean_stop_nothing_is_suspected_and_after_a_crash_what_was_read_last(client, create, own, monkeypatch):
    reference = create()
    ids = [client.xadd(KEYS.examples, {"batch": msgpack.packb([1, {f"n{i}": 1}])}) for i in range(100)]
    first = own(lease_seconds=0.1)
    first.recovery.begin()
    assert (first.recovery.last, first.recovery.n_suspects) == (Attempt(), 0)
    for _ in range(2):
        examples, _ = first.store.stream.read(first.learning.cursor, None, 16, 16, None)
        first.learning.learn(examples)
    first.owning.close()  # it died
    marked = []
    monkeypatch.setattr(Attempts, "mark", lambda self, entry_id, times: marked.append((entry_id, times)))
    second = own()
    second.run(burst=True)
    assert second.recovery.last.reading == ids[15]
    assert marked == [(entry_id, 1) for entry_id in ids[16:]]
    for i in range(100):
        reference.learn_one({f"n{i}": 1}, 1)
    assert state_bytes(second.model) == state_bytes(reference)
    third = own()
    third.recovery.begin()
    assert third.recovery.n_suspects == 0


def test_an_entry_that_was_begun_before_is_learned_if_it_survives_its_trial(client, create, drain):
    create()
    ids = [client.xadd(KEYS.examples, {"batch": GOOD}) for _ in range(3)]
    client.hset(KEYS.attempt, mapping={"worker": "x", "reading": "0-0", "entry": ids[1], "times": 1})
    owner = drain()
    assert (owner.model.n_examples, owner.model.n_rejected) == (3, 0)
    client.xadd(KEYS.examples, {"batch": GOOD}, id=f"{int(ids[2].partition(b'-')[0]) + 1000}-0")
    client.hset(
        KEYS.attempt,
        mapping={"worker": "x", "entry": client.xrevrange(KEYS.examples, count=1)[0][0], "times": recovery.MAX_TRIALS},
    )
    owner = drain()
    assert (owner.model.n_examples, owner.model.n_rejected) == (3, 1)
    assert rejected(client)[0][b"reason"].endswith(b"the trials with it)")
