"""Answering without a server: every request has a reply in JSON."""

import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from learner.model import Model
from learner.packing import pack
from learner.service import replying
from learner.service.answering import Answering
from learner.service.wire import encode_reply
from tests.conftest import SEED
from tests.unit.service.strategies import entry, one


def answering_alone(**options) -> Answering:
    """What answers of a model that knows nothing yet, without a server or a crash."""
    return Answering(None, Model("binary", seed=SEED, **options), None)


ANSWERING = answering_alone(featurizer="place", labels=["ham", "spam"])


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from([b"record", b"features", b"explain", b"id"]), one, max_size=3) | entry)
def test_no_request_at_all_is_without_an_answer_in_json(fields):
    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    reply = json.loads(encode_reply(ANSWERING.reply(fields)), parse_constant=refuse)
    assert {"prediction", "predictions", "error"} & reply.keys()


def test_a_reply_explains_at_most_so_much(monkeypatch):
    monkeypatch.setattr(replying, "MAX_EXPLAINED", 5)
    reply = answering_alone().reply({b"batch": pack({"a": 1, "b": 1}) * 3, b"explain": b"1"})
    assert [rows and len(rows) for rows in reply["contributions"]] == [3, None, None]
    assert "contributions must be at most" in reply["errors"]["2"]
