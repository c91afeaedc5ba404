"""Learning without a server: no entries stop the line, and a strict decoder of its own agrees on what is learned."""

import json
import time

import hypothesis
import msgpack
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learner.model import Model
from learner.service.acceptance import Acceptance
from learner.service.learning import Learning
from tests.conftest import SEED, state_bytes
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


def both_ways(entries, featurizer):
    """Learn entries with the featurizer's program and without it; return the states' bytes, and what was rejected, twice."""
    results = []
    for has_program in (True, False):
        model = Model("binary", featurizer=featurizer, labels=["ham", "spam"], seed=SEED)
        assert model.program
        if not has_program:
            model.program = None
        learning = Learning(model, Acceptance(), lambda: False)
        learning.learn([(b"%d-0" % i, fields) for i, fields in enumerate(entries, 1)])
        results.append((state_bytes(model), learning.rejected))
    return results


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(entry, min_size=1, max_size=4))
@hypothesis.example([{b"records": b""}])
def test_with_a_program_the_same_is_learned_and_rejected(entries):
    one, other = both_ways([SINGLE, *entries, SINGLE], "place")
    assert one == other


def test_with_a_program_records_that_it_leaves_to_the_templates_stay_in_their_places():
    texts = ["Win a prize", "ΣΑΣ", "x" * 300, 7, None, "win", "Été, l'été", ["win"], "a" * 9000, "prize"]
    odd = [msgpack.packb(["spam", {"text": text}]) for text in texts]
    odd += [msgpack.packb(each) for each in (["spam", {}], [1], ["eggs", {"text": "a"}], ["ham", {"text": "b"}, -1])]
    entries = [{b"records": b"".join(odd)}, {b"records": b"".join(odd * 3) + b"\xc1" + odd[0]}]
    entries += [{b"records": each} for each in odd]
    entries += [{b"record": json.dumps({"text": text}).encode(), b"target": b"spam"} for text in [*texts, "\ud800"]]
    one, other = both_ways(entries, "text")
    assert one == other
    assert len(one[1]) > 10


def test_mutated_entries_are_learned_or_rejected_as_a_strict_decoder_of_its_own_says():
    counts, examples = fuzz(1500, seed=int(time.time()) // 3600)
    assert not examples, examples[0]
    assert counts["learned"] > 300
    assert counts["rejected"] > 300
    assert counts["crash"] == counts["hang"] == counts["wrong"] == 0
