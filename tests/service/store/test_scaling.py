"""What KEDA can see of the questions that wait: keda.yaml in deploy/ has it count them by XLEN, and not by the group's lag."""

from typing import TYPE_CHECKING

import pytest

from learner.service.store import Store
from learner.service.store.connection import client as connect
from tests.streams import KEYS

if TYPE_CHECKING:
    import redis

GROUP = "answerers"


class Questions:
    """A model's questions: each may be taken by an answerer, in order, and answered, in any order."""

    def __init__(self, client: "redis.Redis") -> None:
        self.client, self.store = client, Store(client, "m")
        self.store.create({})
        self.unanswered: list[bytes] = []

    def ask(self, n: int) -> None:
        self.unanswered += [self.client.xadd(KEYS.requests, {"record": "{}"}) for _ in range(n)]

    def take(self, n: int) -> list[bytes]:
        ((_, entries),) = self.client.xreadgroup(GROUP, "one", {KEYS.requests: ">"}, count=n)
        return [entry_id for entry_id, _ in entries]

    def answer(self, ids: list[bytes]) -> None:
        self.client.xack(KEYS.requests, GROUP, *ids)
        self.client.xdel(KEYS.requests, *ids)
        self.unanswered = [each for each in self.unanswered if each not in ids]

    def lag(self) -> int | None:
        """What the server calls the group's lag; the stream's length is the number of questions without an answer."""
        assert self.client.xlen(KEYS.requests) == len(self.unanswered)
        (group,) = (each for each in self.client.xinfo_groups(KEYS.requests) if each["name"] == GROUP.encode())
        return group["lag"]


@pytest.fixture
def questions(client) -> Questions:
    return Questions(client)


def test_the_lag_is_unknown_as_soon_as_a_later_question_is_answered_first(questions):
    questions.client.xgroup_create(KEYS.requests, GROUP, "0")
    questions.ask(10)
    first, second = questions.take(3), questions.take(3)
    assert questions.lag() == 4
    questions.answer(second)
    assert questions.lag() is None
    questions.answer(first)
    questions.answer(questions.take(4))
    assert questions.lag() == 0


def test_the_lag_counts_questions_that_the_worker_has_answered(questions):
    questions.client.xgroup_create(KEYS.requests, GROUP, "0")
    questions.ask(1)
    questions.answer(questions.take(1))
    questions.ask(10)
    questions.store.requests.answer([], questions.unanswered[-1])
    questions.unanswered.clear()
    assert questions.lag() == 10


def test_a_group_that_is_created_late_takes_all_questions_that_wait(questions):
    questions.ask(10)
    questions.store.requests.answer([], questions.unanswered[3])
    del questions.unanswered[:4]
    questions.client.xgroup_create(KEYS.requests, GROUP, "0")
    questions.answer(questions.take(2))
    assert questions.lag() == 4
    assert questions.take(99) == questions.unanswered


def test_a_monitor_may_ask_for_the_length(roles):
    with connect(roles["monitor"]) as connection:
        assert connection.ping()
        assert connection.xlen(KEYS.requests) == 0
