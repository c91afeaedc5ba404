"""Learning without a server: no entries stop the line, and a strict decoder of its own agrees on what is learned."""

import time

import hypothesis
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learner.model import Model
from learner.service.acceptance import Acceptance
from learner.service.learning import Learning
from tests.conftest import SEED
from tests.reliability.hostile import fuzz
from tests.unit.service.strategies import entry

SINGLE = {b"record": b'{"lat": 1, "lon": 2}', b"target": b"spam"}


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(entry, min_size=1, max_size=4))
@hypothesis.example([{b"batch": b"\x92\x01" + b"\x91" * 1023 + b"\x01"}])
@hypothesis.example([{b"features": b"\x81\x90\x01", b"target": b"1"}])
def test_no_entries_at_all_stop_the_line(entries):
    model = Model("binary", featurizer="place", labels=["ham", "spam"], seed=SEED)
    learning = Learning(model, Acceptance(), lambda: False)
    numbered = [(b"%d-0" % i, fields) for i, fields in enumerate([SINGLE, *entries, SINGLE], 1)]
    learning.learn(numbered)
    assert learning.cursor == numbered[-1][0]
    assert model.n_examples >= 2
    assert model.n_rejected == len(learning.rejected)
    refused = {entry_id for entry_id, _ in learning.rejected}
    assert refused.isdisjoint({numbered[0][0], numbered[-1][0]})
    n_singles = sum(not fields.keys() & {b"batch", b"records"} for _, fields in numbered)
    n_refused = sum(not dict(numbered)[entry_id].keys() & {b"batch", b"records"} for entry_id in refused)
    assert model.n_examples >= n_singles - n_refused
    assert np.isfinite(model.progressive_loss)
    assert np.isfinite(model.score_one({"lat": 1, "lon": 2}))


def test_mutated_entries_are_learned_or_rejected_as_a_strict_decoder_of_its_own_says():
    counts, examples = fuzz(1500, seed=int(time.time()) // 3600)
    assert not examples, examples[0]
    assert counts["learned"] > 300
    assert counts["rejected"] > 300
    assert counts["crash"] == counts["hang"] == counts["wrong"] == 0
