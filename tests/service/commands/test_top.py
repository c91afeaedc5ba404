"""``learner top`` where there is no terminal, and how it reads the server."""

import pytest

from learner.commands.screens import SORTS, graph, order, table
from learner.service.store import Store
from learner.service.store.listing import Board
from tests.command_line import strictly


def commit(client, name, n, loss, late=None):
    """Add an entry of progress, as a commit does."""
    figures = {"examples": n, "loss": loss, "constant_loss": 0.7, "rate": 5, "rejected": 3}
    figures |= {} if late is None else {"late_loss": late, "late_importance": n / 10, "late_examples": n / 10}
    client.xadd(Store(client, name).keys.progress, figures)


@pytest.fixture
def board(client, create):
    create("m")
    create("other")
    return Board(client)


def test_without_a_terminal_it_prints_all_models_once(run, client, board):
    for n, loss in ((100, 0.6), (200, 0.5), (300, 0.4)):
        commit(client, "m", n, loss, late=loss)
    m, other = strictly(run("top", "--json").stdout)
    (listed, _) = strictly(run("list", "--json").stdout)
    assert listed.items() <= m.items()
    assert m["recent_loss"] == m["recent_late_loss"] == pytest.approx([0.4, 0.2])
    assert (m["constant_loss"], m["rejected"], other["recent_loss"]) == (0.7, 3.0, [])
    titles, first, second = run("top", "--once").stdout.splitlines()
    assert titles.split()[:4] == ["model", "task", "state", "lag"]
    assert first.split()[:3] == ["m", "binary", "none"]
    assert "0.4000" in first
    assert second.split()[0] == "other"


def test_a_look_costs_few_commands_a_model_and_takes_in_what_is_new(client, board):
    for n in range(1, 31):
        commit(client, "m", 100 * n, 0.5)
    board.look()
    assert len(board.rows[0]["recent_loss"]) == 29

    def n_commands():
        return sum(each["calls"] for each in client.info("commandstats").values())

    before = n_commands()
    board.look()
    assert n_commands() - before <= 2 * 11 + 5
    commit(client, "m", 6000, 0.6)
    board.look()
    assert board.rows[0]["recent_loss"][-1] == pytest.approx((0.6 * 6000 - 0.5 * 3000) / 3000)
    for n in range(3):
        commit(client, "m", 7000 + 1000 * n, 0.6)
    board.look()
    assert len(board.rows[0]["recent_loss"]) == 32
    client.delete(Store(client, "m").keys.progress)
    commit(client, "m", 10, 0.5)
    board.look()
    assert board.rows[0]["recent_loss"] == []


def test_a_commit_between_two_replies_does_not_make_it_wrong(client, create, drain, monkeypatch):
    create("m")
    store = Store(client, "m")
    client.xadd(store.keys.examples, {"record": '{"a": 1}', "target": 1})
    board = Board(client)
    replies = Board._replies

    def with_a_commit_between(self, stores):
        for each, reply in replies(self, stores):
            yield each, reply._replace(head=[b"0-0", b"0", None])

    drain("m")
    monkeypatch.setattr(Board, "_replies", with_a_commit_between)
    (row,) = board.read()
    assert row["lag_entries"] == 0


def test_every_width_has_its_columns_and_every_column_sorts():
    row = dict.fromkeys(["task", "lag_entries", "rate", "progressive_loss", "constant_loss", "late_loss", "bytes"])
    row |= dict.fromkeys(["rejected", "drift_examples", "error", "requests_waiting", "answerers"])
    row |= {"state": "none", "recent_loss": [], "recent_late_loss": []}
    large = {"model": "b", "progressive_loss": 1e12, "bytes": 2e15, "rejected": 5}
    rows = [row | {"model": "a" * 64, "rate": 1e9}, row | large]
    for width in range(30, 200):
        lines = [line.plain for line in table(rows, width)]
        assert {len(line) for line in lines} == {len(lines[0])}
        assert len(lines[0]) <= max(width, 45)
    assert "drift at" in table(rows)[0].plain
    assert all({row["model"] for row in order(rows, by)} == {"a" * 64, "b"} for by in SORTS)
    assert order(rows, "loss")[0]["model"] == "b"
    assert [row["model"] for row in order(rows, "model", "B")] == ["b"]
    assert graph([1.0, 2.0], 4, "01234567") == "  07"
