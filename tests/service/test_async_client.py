"""The client for asyncio: what it says is what `Client` says, one conversation at a time or many."""

import asyncio

import pytest
import redis

from learner import AsyncClient, Client
from learner.client import conversations
from learner.errors import ExampleError, LearnerError
from tests.conftest import state_bytes

RECORDS = [{"a": i % 7, "word": f"w{i % 5}"} for i in range(50)]


def test_it_has_the_methods_of_the_client():
    public = {name for name in dir(Client) if not name.startswith("_")}
    assert {name for name in dir(AsyncClient) if not name.startswith("_")} == public | {"aclose"}


def test_it_pushes_and_is_answered_as_the_client_is(redis_url, create, drain, serving):
    create(featurizer="fields", labels=["ham", "spam"])

    async def push():
        async with AsyncClient("m", redis_url) as model:
            await model.require_model()
            await model.push(RECORDS[0], 1, id="first")
            await model.push(RECORDS[0], 1, id="first")
            assert await model.push_many((i % 2, record) for i, record in enumerate(RECORDS)) == 50
            assert len(await model.pipeline().push(RECORDS[0], 1, id="first").push(RECORDS[1], 0).execute()) == 2
            return await model.lag()

    assert asyncio.run(push()) == 5
    drained = drain().model
    assert drained.n_examples == 52

    async def ask():
        async with AsyncClient("m", redis_url) as model:
            record = RECORDS[3]
            return [
                await model.predict(record),
                await model.predict_label(record),
                await model.predict_proba(record),
                await model.predict_many(RECORDS),
                (await model.explain(record))["contributions"],
                await model.ask_many(RECORDS, probabilities=True),
                await model.weights(n=2),
            ], await model.committed()

    with serving():
        found, committed = asyncio.run(ask())
        ours, record = Client("m", redis_url), RECORDS[3]
        assert found == [
            ours.predict(record),
            ours.predict_label(record),
            ours.predict_proba(record),
            ours.predict_many(RECORDS),
            ours.explain(record)["contributions"],
            ours.ask_many(RECORDS, probabilities=True),
            ours.weights(n=2),
        ]
    assert state_bytes(committed) == state_bytes(drained)


def test_many_tasks_share_one_client(redis_url, create, serving):
    create(featurizer="place")

    async def ask():
        async with AsyncClient("m", redis_url, timeout=20) as model:
            records = [{"lat": i, "lon": 0} for i in range(1, 92)] * 3
            return await asyncio.gather(*(model.predict(record) for record in records), return_exceptions=True)

    with serving():
        found = asyncio.run(ask())
    assert len(found) == 273
    assert [i % 91 for i, answer in enumerate(found) if answer != 0.5] == [90] * 3
    assert isinstance(found[90], LearnerError)


def test_errors_are_the_client_s(redis_url, create):
    async def ask():
        async with AsyncClient("m", redis_url, timeout=0.1) as model:
            await model.predict({"a": 1})

    with pytest.raises(LearnerError, match="model 'm' does not exist"):
        asyncio.run(ask())
    create()
    with pytest.raises(LearnerError, match=r"did not answer within 0.1 s: no worker runs"):
        asyncio.run(ask())


def test_a_push_with_an_id_is_tried_again_while_the_server_does_not_answer(redis_url, create, monkeypatch):
    create()
    monkeypatch.setattr(conversations, "FIRST_PAUSE_SECONDS", 0.01)

    async def push():
        async with AsyncClient("m", redis_url) as model:
            await model.redis.ping()
            read, calls = model.redis.connection_pool.connection_class.read_response, []

            async def lost_once(self, *args, **kwargs):
                answer = await read(self, *args, **kwargs)
                calls.append(answer)
                if len(calls) == 1:
                    raise redis.ConnectionError("lost")
                return answer

            monkeypatch.setattr(model.redis.connection_pool.connection_class, "read_response", lost_once)
            with pytest.raises(ExampleError):
                await model.push({"a": object()}, 1)
            return await model.push({"a": 1}, 1, id="once")

    assert asyncio.run(push())
    monkeypatch.undo()
    with Client("m", redis_url).redis as connection:
        assert connection.xlen("learner:{m}:examples") == 2  # the worker learns one of them
