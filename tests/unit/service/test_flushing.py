"""When a worker adds the entry that has held examples learned, by a clock of the test's own."""

import math
from types import SimpleNamespace

import pytest

from learner.service import flushing
from learner.service.flushing import Flushing


class Stage:
    """A stream that counts what is added, a model that holds some examples, and a clock."""

    def __init__(self) -> None:
        self.now, self.n_added = 1000.0, 0
        self.model = SimpleNamespace(n_held=5)
        self.learning = SimpleNamespace(model=self.model, cursor=b"0-0")
        self.flushing: Flushing

    def add(self, entries) -> bytes:
        self.n_added += 1
        return b"%d-0" % self.n_added

    def after(self, seconds: float, came: bool = False) -> int:
        """Let time go by and the worker look; return how many entries it has added in all."""
        self.now += seconds
        self.flushing.flush_if_due(came)
        return self.n_added


@pytest.fixture
def stage(monkeypatch):
    stage = Stage()
    monkeypatch.setattr(flushing, "time", SimpleNamespace(monotonic=lambda: stage.now))
    stage.flushing = Flushing(stage, stage.learning)
    return stage


def test_one_is_added_when_nothing_came_for_five_seconds(stage):
    assert [stage.after(4.9), stage.after(0.2)] == [0, 1]


def test_none_is_added_while_nothing_is_held(stage):
    stage.model.n_held = 0
    assert stage.after(1000.0) == 0
    stage.model.n_held = 1
    assert [stage.after(0.0, came=True), stage.after(4.9), stage.after(0.2)] == [0, 0, 1]


def test_while_examples_come_one_is_added_a_minute(stage):
    for n in range(3):
        assert [stage.after(1.0, came=True) for _ in range(59)] == [n] * 59
        assert stage.after(1.0, came=True) == n + 1
        stage.learning.cursor = b"%d-0" % (n + 1)


def test_none_is_added_while_the_last_one_is_still_to_come(stage):
    assert stage.after(60.0, came=True) == 1
    assert stage.after(60.0, came=True) == 1
    stage.learning.cursor = b"1-0"
    assert stage.after(0.0, came=True) == 2


def test_one_that_the_server_lost_is_added_again_when_nothing_comes(stage):
    assert [stage.after(5.0), stage.after(4.9), stage.after(0.2)] == [1, 1, 2]


def test_none_is_ever_added_when_examples_may_be_held_for_ever(stage):
    stage.flushing = Flushing(stage, stage.learning, math.inf)
    assert (stage.after(1e9), stage.flushing.flush()) == (0, False)
