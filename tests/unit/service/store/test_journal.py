"""Base and deltas make the rows that they were made of."""

import numpy as np
import pytest

from learner.errors import StoreError
from learner.service.store.journal import Change, Journal

WIDTH = 3


def commits(n: int) -> "tuple[np.ndarray, Journal, bytes, list[bytes]]":
    """Rows that changed n times, the journal of those commits, and the base and the deltas that they wrote."""
    rng = np.random.default_rng(n)
    rows, journal, base, deltas = rng.random((40, WIDTH), np.float32), Journal(), b"", []
    for number in range(1, n + 1):
        slots = rng.choice(40, 5, replace=False) if number > 1 else np.arange(40)
        rows[slots] += 1.0
        change = journal.change(rows, slots, np.empty(rows.nbytes + 4 * len(rows), np.uint8))
        base, deltas = (bytes(change.data), []) if change.whole else (base, [*deltas, bytes(change.data)])
        journal = journal.after(change, number)
    return rows, journal, base, deltas


@pytest.mark.parametrize("n", range(1, 20))
def test_rows_are_read_as_they_were_written_whatever_the_number_of_commits(n):
    rows, journal, base, deltas = commits(n)
    again = Journal.from_json(journal.to_json())
    assert np.array_equal(again.rows(40, WIDTH, base, deltas), rows)
    assert sum(delta.n_rows for delta in again.deltas) <= again.base_rows == 40


def test_a_commit_that_changes_no_row_leaves_the_journal_as_it_is():
    _, journal, _, _ = commits(3)
    assert journal.after(Change(False, 0, memoryview(b"")), 4) is journal


def test_a_slot_beyond_the_rows_is_refused():
    _, journal, base, deltas = commits(2)
    with pytest.raises(StoreError, match="rows of delta 2 must be among 1 "):
        journal.rows(1, WIDTH, base, deltas)
