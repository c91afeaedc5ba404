"""Learning without a server: no entries stop the line, and a strict decoder of its own agrees on what is learned."""

import json
import random
import time

import hypothesis
import msgpack
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learner.model import Model
from learner.packing import pack_example
from learner.service import learning
from learner.service.acceptance import Acceptance
from learner.service.featurizing import Several
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
    own = Learning(model, Acceptance(), lambda: False)
    numbered = [(b"%d-0" % i, fields) for i, fields in enumerate([SINGLE, *entries, SINGLE], 1)]
    own.learn(numbered)
    assert own.cursor == numbered[-1][0]
    assert model.n_examples >= 2
    assert model.n_rejected == len(own.rejected)
    refused = {entry_id for entry_id, _ in own.rejected}
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
        own = Learning(model, Acceptance(), lambda: False)
        own.learn([(b"%d-0" % i, fields) for i, fields in enumerate(entries, 1)])
        results.append((state_bytes(model), own.rejected))
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


ODD = [
    b'{"text": "win", "text": "prize"}', b'{"text": "a:b", "more": {"deep": [1, {"x": 2}]}}', b'{"text": NaN}',
    b'{"n": 1e999}', b'{"n": 12345678901234567890123}', b'{"text": "\\ud800"}', b'{"text": "\xff"}', b' {"text": "win"}',
    b"{", b"", b"[1]", b"null", b'{"text": "win"},{"text": "prize"}', b'{"text": [1', b"2]}", b"[" * 40 + b"]" * 40,
    b'{"text": "win"}],[{"text": "win"}', b'{"text": "win"},5', b'{"text": "', b'x"}', b'{"text": "win"', b'{"text": "win"}}',
    b'\xef\xbb\xbf{"text": "win"}', b'{"text": -Infinity}', b'{"text": "win"}\n', b'{"text": "win"}]', b'{"text": "win"},',
    b'{"a":' * 40 + b"1" + b"}" * 40, '{"text": "ΣαΣ"}'.encode(), b'{"text": "' + b"x" * 5000 + b'"}',
    msgpack.packb({"text": "win"}), b"\x81\xa1a",
]  # fmt: skip
OTHERS = [
    {b"learn": b"held"}, {b"batch": pack_example("spam", b"\x81\xa1a\x01") * 3}, {b"target": b"spam"},
    {b"features": b'{"a": 1}', b"target": b"ham"}, {b"records": b""}, {b"records": b"\x92\xa4spam"},
    {b"records": b"\x80\x92\x01"}, {b"records": b"\xc1"}, {b"records": pack_example("spam", b"\x81\xa4text\xa3win")},
    {b"records": pack_example("ham", b"\x81\xa4text\xa1a") * 2}, {b"records": b"\x91" * 1500 + b"\x01"},
    {b"batch": pack_example("ham", b"\x81\xa1a\x02")}, {b"batch": pack_example("eggs", b"\x81\xa1a\x02")},
    {b"batch": b"\x07"}, {b"batch": b""}, {b"batch": pack_example(9, b"\x81\xa1a", -1.0)}, {b"batch": b"\x92\x01\xc0"},
    {b"features": b"\x82\xa1a\x01\xa1b\x03", b"target": b"spam"}, {b"features": b"\x81\xa1a\xa1x", b"target": b"ham"},
    {b"features": b"\x81\xa1a\x01\x02", b"target": b"spam"}, {b"features": b'{"a": 1, "a": 2}', b"target": b"spam"},
    {b"features": b'{"a": [1]}', b"target": b"ham"}, {b"features": b"\xc8\x00\x08\x04" + bytes(8), b"target": b"ham"},
    {b"target": b"9" * 100, b"features": b"\x81\xa1a\x01"}, {b"target": b"ham", b"record": b"\x81\xa4text\xa3win"},
    {b"record": b"\x82\xa4text\xa3win\xa4text\xa3win", b"target": b"ham"},
    {b"record": b"\x81\xa4text" + b"\x91" * 40 + b"\x01", b"target": b"ham"},
]  # fmt: skip


def a_mix(r, n):
    """Return n entries: most of small JSON records, some with ids that may repeat, some odd ones."""
    entries = []
    for i in range(n):
        words = " ".join(r.choices(["win", "a", "prize", "12:30", "Été", "{", "now"], k=r.randrange(6)))
        fields = {
            b"record": json.dumps({"text": words}).encode(),
            b"target": r.choice([b"spam", b"ham", b"1", b"eggs"]),
        }
        fields = fields | {b"record": r.choice(ODD)} if r.random() < 0.1 else fields
        fields = r.choice(OTHERS) if r.random() < 0.1 else fields
        more = {b"importance": r.choice([b"2", b"-1", b"x" * 300])} if r.random() < 0.1 else {}
        names = [b"%d" % r.randrange(n // 10), b"%d" % i, b"", b"x" * 300]
        more |= {b"id": r.choices(names, [3, 6, 1, 1])[0]} if r.random() < 0.3 else {}
        more |= {b"note": b""} if r.random() < 0.02 else {}
        entries.append((b"%d-0" % (i + 1), fields | more))
    return entries


@pytest.mark.parametrize("featurizer", ["text", "fields"])
def test_entries_that_are_taken_together_are_learned_and_rejected_as_each_alone(featurizer, seed, monkeypatch):
    r = random.Random(seed)
    entries = a_mix(r, 3000)
    learned = []
    for is_together, at_once in ((True, 700), (False, 700), (False, 1)):
        if not is_together:
            monkeypatch.setattr(learning, "together", lambda entries, *_: (Several([entry], []) for entry in entries))
        model = Model("binary", featurizer=featurizer, labels=["ham", "spam"], seed=SEED)
        own = Learning(model, Acceptance(1.0), lambda: False)
        for first in range(0, len(entries), at_once):
            own.learn(entries[first : first + at_once])
        learned.append(
            (own.rejected, state_bytes(model), own.recent.count, own.recent.ring.tobytes(), own.n_repeated, own.cursor)
        )
    for rejected, *_ in learned:  # what is decoded together is rejected before what is learned together
        rejected.sort(key=lambda kept: int(kept[0].partition(b"-")[0]))
    for other in learned[1:]:
        assert [pair for pair in zip(learned[0][0], other[0], strict=True) if pair[0] != pair[1]] == []
        assert learned[0][1:] == other[1:]
    assert len(learned[0][0]) > 300
    assert learned[0][4] > 30


def test_mutated_entries_are_learned_or_rejected_as_a_strict_decoder_of_its_own_says():
    counts, examples = fuzz(1500, seed=int(time.time()) // 3600)
    assert not examples, examples[0]
    assert counts["learned"] > 300
    assert counts["rejected"] > 300
    assert counts["crash"] == counts["hang"] == counts["wrong"] == 0
