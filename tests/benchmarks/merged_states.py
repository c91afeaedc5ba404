"""Merging states of our own default learner, for `tests.benchmarks.merging`; the learners must have come from one state.

The state is that of `learner.model.Model.state`, laid out as `learner.layout` says. For rows that the common state has, what
the learners have changed since is put together: weights and sums of squared gradients by the rule; means and variances in
proportion to updates; counts and the Bayes expert's sums are added; a scale is the largest one, and weights are converted to
it. Rows that are new are found again by their hashes, and get slots of their own: names and the parents of derived features are
renumbered. The sums among the totals are added. The mixer, the dense filter and the other totals are averaged. The places of
dense features, the pairs that are chosen, and the bounds of bins are those of one learner: so the learners share a stream only
after its first examples, when these are settled.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learner import layout
from learner.kernels.experts import bayes, column_of, kalman

__all__ = ["State", "copied", "merged"]

Array = NDArray[Any]
State = Mapping[str, Array]
Shares = Callable[[Array, Array], tuple[Array, Array]]  # of a rule of `tests.benchmarks.merging`

N_RATES = 2
WEIGHTS = [*range(layout.HEADER, layout.HEADER + N_RATES)]
SQUARES = [column + N_RATES for column in WEIGHTS]
KALMAN, VARIANCE = column_of(kalman, N_RATES), column_of(kalman, N_RATES) + 1
BAYES = [column_of(bayes, N_RATES), column_of(bayes, N_RATES) + 1]
LEARNED = [*WEIGHTS, *SQUARES, KALMAN, *BAYES]  # columns that start at 0
SUMS = [
    layout.EXAMPLES, layout.REJECTED, layout.IMPORTANCE_SUM, layout.LOSS_SUM, layout.CONSTANT_LOSS_SUM, layout.SCALE_SUM,
    layout.RESIDUAL_SUM, layout.TARGET_SUM, layout.TARGET_SQUARES, layout.BAYES_SQUARES, layout.DERIVED_SUM, layout.UPDATES,
    layout.RELATIVE_SUM,
]  # fmt: skip
PLACES = [
    layout.CONSTANT_ROW, layout.N_DENSE, layout.N_SWITCHES,
    *range(layout.DENSE_SLOTS, layout.DENSE_SLOTS + layout.MAX_DENSE + 1),
]  # fmt: skip


def copied(state: State) -> dict[str, Array]:
    """Return a copy of a state."""
    return {name: array.copy() for name, array in state.items()}


def merged(before: State, states: Sequence[State], shares: Shares) -> dict[str, Array]:
    """Return the state that learners' states, which all came from the state `before`, are merged into."""
    states, names, new = renumbered(before, states)
    n_old, width = before["rows"].shape
    first = np.zeros((n_old + len(new), width), np.float32)
    first[:n_old], first[n_old:] = before["rows"], new
    first[n_old:, LEARNED] = 0.0
    words(first)[n_old:, layout.COUNT] = 0
    rows = np.repeat(first[None], len(states), axis=0)
    for own, state in zip(rows, states, strict=True):
        own[state["slots"]] = state["rows"]
    leader = max(states, key=lambda state: float(state["totals"][layout.N_DENSE]))  # the one whose places are taken
    after = copied(leader)
    after |= {name: np.mean([state[name] for state in states], axis=0) for name in ("mixer", "newton", "interactions")}
    after["interactions"][0, 1:] = leader["interactions"][0, 1:]  # codes of pairs, of which a mean means nothing
    n_examples = np.array([state["totals"][layout.UPDATES] for state in states]) - before["totals"][layout.UPDATES]
    after |= {
        "rows": merged_rows(first, rows, n_examples, shares),
        "names": names,
        "totals": merged_totals(before, states, leader),
    }
    del after["slots"]
    return after


def words(rows: Array) -> Array:
    """Return rows as uint32."""
    return rows.view(np.uint32)


# ---- slots ---------------------------------------------------------------------------------------------------------------
def renumbered(before: State, states: Sequence[State]) -> tuple[list[dict[str, Array]], Array, Array]:
    """Return states with ``slots``, the places of their rows in the merged one; all names; and the rows that are new there."""
    n_old = len(before["rows"])
    names = bytearray(before["names"].tobytes())
    places: dict[int, int] = {}
    new: list[Array] = []
    found = []
    for state in states:
        rows, slots = state["rows"].copy(), np.arange(len(state["rows"]))
        for slot in range(n_old, len(rows)):
            row, name = rows[slot], int(rows[slot].view(np.uint64)[layout.HASH])
            header = words(row)
            is_derived = header[layout.DENSE] >= layout.DERIVED
            if is_derived:  # its parents have smaller slots
                header[layout.NAME], header[layout.MEAN] = slots[header[layout.NAME]], slots[header[layout.MEAN]]
            if name not in places:
                places[name] = n_old + len(new)
                if not is_derived:
                    header[layout.NAME] = add_name(names, state["names"], int(header[layout.NAME]))
                new.append(row.copy())
            elif not is_derived:
                header[layout.NAME] = words(new[places[name] - n_old])[layout.NAME]
            slots[slot] = places[name]
        found.append({**state, "rows": rows, "slots": slots})
    width = before["rows"].shape[1]
    return found, np.frombuffer(bytes(names), np.uint8).copy(), np.array(new, np.float32).reshape(-1, width)


def add_name(names: bytearray, of: Array, start: int) -> int:
    """Append a name, which begins with its length in two bytes; return where it starts."""
    length = int(of[start]) | int(of[start + 1]) << 8
    names += of[start : start + 2 + length].tobytes()
    return len(names) - 2 - length


# ---- numbers -------------------------------------------------------------------------------------------------------------
def merged_rows(first: Array, rows: Array, n_examples: Array, shares: Shares) -> Array:
    """Return rows, (n, width), of the learners' rows, (learners, n, width), since `first`, (n, width), `n_examples` ago."""
    counts = words(rows)[:, :, layout.COUNT].astype(float)
    updates = np.maximum(counts - words(first)[:, layout.COUNT], 0.0)
    after = first.copy()
    changed = words(rows)[:, :, layout.DENSE] != words(first)[:, layout.DENSE]
    words(after)[:, layout.DENSE] = words(rows)[changed.argmax(axis=0), np.arange(len(first)), layout.DENSE]
    words(after)[:, layout.COUNT] = words(first)[:, layout.COUNT] + updates.sum(axis=0)
    updates[:, 0] = n_examples  # of the constant, which has no count
    plain = words(after)[:, layout.DENSE] < layout.DERIVED
    first, rows = to_scale(first, rows, plain)

    def put_together(columns: list[int], share: Array) -> Array:
        moves = np.nan_to_num(rows[:, :, columns]) - np.nan_to_num(first[:, columns])
        return first[:, columns] + np.einsum("pn,pnc->nc", share, moves)

    squares = np.maximum(rows[:, :, SQUARES[0]] - first[:, SQUARES[0]], 0.0)
    of_weights, of_squares = shares(updates, squares)
    of_means = updates / np.maximum(updates.sum(axis=0), 1.0)
    for columns, share in (
        ([*WEIGHTS, KALMAN], of_weights), (SQUARES, of_squares), ([VARIANCE], of_means), (BAYES, np.ones_like(updates)),
    ):  # fmt: skip
        after[:, columns] = put_together(columns, share)
    header = [layout.MEAN, layout.DEVIATION]
    after[:, header] = np.where(plain[:, None], put_together(header, of_means), after[:, header])
    after[:, layout.SCALE] = first[:, layout.SCALE]
    return after


def to_scale(first: Array, rows: Array, plain: Array) -> tuple[Array, Array]:
    """Return rows with each plain feature's largest scale, and what depends on it converted."""
    everything = np.concatenate([first[None], rows])
    scales = everything[:, :, layout.SCALE]
    factors = np.where(plain & (scales > 0.0), scales.max(axis=0) / np.where(scales > 0.0, scales, 1.0), 1.0)[
        :, :, None
    ]
    everything[:, :, [*WEIGHTS, KALMAN]] *= factors
    everything[:, :, SQUARES] /= factors**2
    everything[:, :, [VARIANCE]] *= factors**2
    everything[:, :, layout.SCALE] = np.where(plain, scales.max(axis=0), scales)
    return everything[0], everything[1:]


def merged_totals(before: State, states: Sequence[State], leader: State) -> Array:
    """Return the totals, with the places of one of the states."""
    each = np.array([state["totals"] for state in states])
    after: Array = each.mean(axis=0)
    after[SUMS] = before["totals"][SUMS] + (each - before["totals"])[:, SUMS].sum(axis=0)
    after[PLACES] = leader["totals"][PLACES]
    dense = layout.DENSE_SLOTS + 1 + np.arange(int(after[layout.N_DENSE]))
    after[dense] = leader["slots"][after[dense].astype(np.int64)]
    after[layout.TARGET_MIN], after[layout.TARGET_MAX] = (
        each[:, layout.TARGET_MIN].min(),
        each[:, layout.TARGET_MAX].max(),
    )
    return after
