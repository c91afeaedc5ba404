"""Base and deltas make the rows that they were made of."""

import json
import re
import zlib
from typing import NamedTuple

import numpy as np
import pytest

from learner.errors import StoreError
from learner.service.store.journal import STRIPE_ROWS, Change, Journal

WIDTH = 3


class Kept(NamedTuple):
    """Rows, and what a server has of them."""

    rows: np.ndarray
    journal: Journal
    base: bytes
    deltas: list[bytes]
    largest: int  # rows that one commit after the first wrote


def memory(n):
    return np.empty(n, np.uint8)


def commits(n, stripe_rows=8, new_a_commit=0, n_rows=40):
    """Commits of rows of which some change, the same ones often, and to which some are added."""
    rng = np.random.default_rng(n)
    rows, journal, base, deltas, largest = (
        rng.random((n_rows, WIDTH), np.float32),
        Journal(stripe_rows=stripe_rows),
        bytearray(),
        {},
        0,
    )
    for number in range(1, n + 1):
        new = np.arange(len(rows), len(rows) + new_a_commit)
        rows = np.concatenate([rows, rng.random((len(new), WIDTH), np.float32)])
        slots = np.unique([*(rng.random(5) ** 2 * n_rows).astype(int), *new]) if number > 1 else np.arange(len(rows))
        rows[slots] += 1.0
        change = journal.change(rows, slots, memory)
        size = 4 * WIDTH
        base[change.first * size : change.first * size + len(change.base)] = change.base
        if change.n_rows:
            deltas[number] = bytes(change.delta)
        if number > 1:
            largest = max(largest, change.n_rows + change.n_base)
        journal = journal.after(change, number)
        assert set(deltas) >= {delta.number for delta in journal.deltas}
        deltas = {delta.number: deltas[delta.number] for delta in journal.deltas}
        base = base[: journal.base_rows * size]
    return Kept(rows, journal, bytes(base), list(deltas.values()), largest)


@pytest.mark.parametrize("new_a_commit", [0, 1, 7])
@pytest.mark.parametrize("n", range(1, 70, 3))
def test_rows_are_read_as_they_were_written_whatever_the_number_of_commits(n, new_a_commit):
    kept = commits(n, new_a_commit=new_a_commit)
    again = Journal.from_json(kept.journal.to_json())
    assert again == Journal.from_json(again.to_json())
    assert np.array_equal(again.rows(len(kept.rows), WIDTH, kept.base, kept.deltas), kept.rows)
    assert sum(delta.n_rows for delta in again.deltas) <= 2 * len(kept.rows)


def test_a_commit_writes_little_more_than_what_changed_however_many_rows_there_are():
    kept = commits(400, n_rows=1000)
    assert len(kept.deltas) < 250  # a round has ended
    assert kept.largest <= 5 + 2 * 8  # the changed rows, and at most two stripes


def test_many_small_deltas_do_not_pile_up(monkeypatch):
    monkeypatch.setattr("learner.service.store.journal.MAX_DELTAS", 16)
    kept = commits(200, n_rows=100, new_a_commit=1)
    assert len(kept.journal.deltas) < 4 * 16


def test_one_stripe_is_written_whole_and_replaces_all_deltas():
    kept = commits(60, stripe_rows=64)
    lengths = {len(commits(n, stripe_rows=64).deltas) for n in range(2, 30)}
    assert (kept.journal.position, kept.journal.start, len(kept.journal.crcs)) == (0, 0, 1)
    assert min(lengths) == 0
    assert max(lengths) == 9


def test_a_base_from_before_there_were_stripes_is_read_and_then_written_in_stripes():
    rows = np.random.default_rng(1).random((20_000, WIDTH), np.float32)
    crc = zlib.crc32(rows.tobytes())
    journal = Journal.from_json(json.dumps([len(rows), crc, []]))
    assert np.array_equal(journal.rows(len(rows), WIDTH, rows.tobytes(), []), rows)
    change = journal.change(rows, np.array([3]), memory)
    assert (change.first, change.n_base, change.n_rows) == (0, len(rows), 0)
    assert len(journal.after(change, 5).crcs) == -(-20_000 // STRIPE_ROWS)
    assert Journal.from_json("[0,0,[]]") == Journal()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[17,[1,2],[],8,0,0]", "have a CRC for every 8 of 17 rows (got 2)"),
        ("[17,[1,2,3],[],8,7,1]", "be in a round up to a stripe of 8 rows (got row 7)"),
        ("[17,[1,2,3],[],8,24,1]", "be in a round up to a stripe of 8 rows (got row 24)"),
        ("[0,[],[],0,0,0]", "be in a round up to a stripe of 0 rows (got row 0)"),
        ("[17,[1,2,-3],[],8,0,0]", "be of whole numbers, for at most 2147483648 rows (got [17, 1, 2, -3, 8, 0, ...])"),
    ],
)
def test_a_journal_that_makes_no_sense_is_refused(text, message):
    with pytest.raises(ValueError, match=f"^journal must {re.escape(message)}$"):
        Journal.from_json(text)


def test_a_damaged_stripe_is_named():
    kept = commits(3)
    base = bytearray(kept.base)
    base[8 * 4 * WIDTH] ^= 1
    with pytest.raises(StoreError, match="rows of the base must have the CRC "):
        kept.journal.rows(40, WIDTH, bytes(base), kept.deltas)


def test_a_commit_that_changes_no_row_leaves_the_journal_as_it_is():
    journal = commits(3).journal
    assert journal.after(Change(0, memoryview(b""), 0, 0, memoryview(b""), False), 4) is journal


def test_a_slot_beyond_the_rows_is_refused():
    kept = commits(2)
    with pytest.raises(StoreError, match="rows of delta 2 must be among 1 "):
        kept.journal.rows(1, WIDTH, kept.base, kept.deltas)
