"""The ring of the last ids."""

from learner.service.recent import RecentIds
from tests.conftest import SEED


def test_ids_are_remembered_as_far_back_as_the_ring_goes_and_no_further():
    recent = RecentIds(SEED, capacity=100)
    assert all(recent.add(b"%d" % i) for i in range(250))
    assert not any(recent.add(b"%d" % i) for i in range(150, 250))
    assert recent.add(b"149")
    assert len(recent._seen) == 100
