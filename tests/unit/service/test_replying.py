"""Replies, worked out part by part."""

import gc
import weakref

import msgpack
import pytest

from learner.model import Model
from learner.service.replying import Reply


@pytest.mark.parametrize("fields", [{b"record": b'{"a": 1}'}, {b"records": msgpack.packb({"a": 1}) * 3}])
def test_a_reply_that_is_done_does_not_wait_for_the_garbage_collector(fields):
    model = Model(featurizer="fields")
    reply = Reply(model, fields, model.pack)
    gc.disable()
    try:
        assert reply.work(10.0)
        is_there = weakref.ref(reply)
        del reply
        assert is_there() is None
    finally:
        gc.enable()
