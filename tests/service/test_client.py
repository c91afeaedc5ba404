"""The Python client against a running worker."""

import datetime as dt
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction

import msgpack
import numpy as np
import pytest

from learner import Client, Model
from learner.client import BATCH_EXAMPLES, PIPELINE_ENTRIES
from learner.errors import ExampleError, LearnerError, SpecError, StoreError
from learner.packing import pack
from learner.service.lease import process_name
from learner.service.store import Store
from learner.service.store.position import stream_id
from learner.service.wire import Keys
from tests.conftest import state_bytes, wait_until

KEYS = Keys("m")
RECORDS = [{"a": i % 7, "word": f"w{i % 5}"} for i in range(50)]


@pytest.fixture
def ours(redis_url) -> Client:
    return Client("m", redis_url)


def learned(client, n: int) -> None:
    """Wait until so many entries are committed."""
    wait_until(lambda: int(client.hget(KEYS.head, "entries") or 0) == n)


def answered_by(client, reply: "dict", late: float = 0.0) -> threading.Thread:
    """Answer the next request by hand, as a worker would."""

    def answer() -> None:
        (_, ((_, fields),)), *_ = client.xread({KEYS.requests: "0-0"}, block=5000, count=1)
        time.sleep(late)
        client.rpush(fields[b"reply"], json.dumps({"id": fields[b"id"].decode(), **reply}))

    thread = threading.Thread(target=answer)
    thread.start()
    return thread


def test_what_is_pushed_is_learned_and_predicted_as_by_a_model(client, ours, create, serving):
    reference = create(featurizer="fields")
    with serving():
        ids = [ours.push(record, i % 2) for i, record in enumerate(RECORDS)]
        learned(client, 50)
        for i, record in enumerate(RECORDS):
            reference.learn_one(record, i % 2)
        assert ours.predict(RECORDS[3]) == reference.predict_proba_one(RECORDS[3])[1]
        assert ours.predict_many(RECORDS) == [reference.predict_proba_one(record)[1] for record in RECORDS]
        explained = ours.explain(RECORDS[3])
    assert sorted(ids, key=stream_id) == ids
    assert [tuple(row) for row in explained["contributions"]] == reference.explain_one(RECORDS[3])
    assert explained["score"] == reference.score_one(RECORDS[3])
    assert state_bytes(ours.committed()) == state_bytes(reference)


def test_the_weights_are_those_of_the_last_commit_the_largest_first(client, ours, create, drain):
    reference = create(featurizer="fields")
    assert ours.weights() == {}
    ours.push_many((i % 2, record) for i, record in enumerate(RECORDS))
    drain()
    for i, record in enumerate(RECORDS):
        reference.learn_one(record, i % 2)
    found = ours.weights()
    assert found == dict(reference.weights)
    assert list(map(abs, found.values())) == sorted(map(abs, found.values()), reverse=True)
    assert list(ours.weights(n=2)) == list(found)[:2]
    assert list(ours.weights("word=")) == [name for name in found if name.startswith("word=")]
    assert len(ours.weights("word=", 3)) == 3
    assert ours.weights("nothing starts so") == {}


def test_a_generator_of_many_goes_into_few_entries_and_none_is_lost(client, ours, create, drain):
    reference = create(featurizer="fields")
    n = BATCH_EXAMPLES * PIPELINE_ENTRIES + 3 * BATCH_EXAMPLES + 7
    assert ours.push_many((i % 2, {"a": i % 10}) for i in range(n)) == n
    assert client.xlen(KEYS.examples) == PIPELINE_ENTRIES + 4
    for i in range(n):
        reference.learn_one({"a": i % 10}, i % 2)
    assert state_bytes(drain().model) == state_bytes(reference)


def test_single_pushes_of_a_pipeline_go_together_and_those_with_an_id_are_learned_once(client, ours, create, drain):
    create(featurizer="fields")
    pipe = ours.pipeline()
    for i in range(3):
        pipe.push({"a": i}, i % 2, id=f"order-{i}")
    pipe.push(features={"x": 1.0}, target=1, importance=2.0)
    assert (len(pipe), client.xlen(KEYS.examples)) == (4, 0)
    ids = pipe.execute()
    assert [entry_id.decode() for entry_id, _ in client.xrange(KEYS.examples)] == ids
    assert (len(ids), len(pipe), pipe.execute()) == (4, 0, [])
    assert ours.pipeline().push({"a": 0}, 0, id="order-0").push({"a": 9}, 1, id="order-9").execute()
    assert drain().model.n_examples == 5


def test_a_pipeline_to_no_model_says_so(ours):
    with pytest.raises(LearnerError, match="does not exist"):
        ours.pipeline().push({"a": 1}, 1).execute()


def test_none_pushed_is_none(client, ours, create):
    create()
    assert ours.push_many([]) == 0
    assert ours.push_many(iter([]), features=True) == 0
    assert client.xlen(KEYS.examples) == 0


def test_large_records_do_not_pile_up_in_one_entry(client, ours, create):
    create()
    ours.push_many((1, {"text": "x" * 100_000}) for _ in range(10))
    assert client.xlen(KEYS.examples) == 4


def test_features_and_importances_are_learned_as_they_are(client, ours, create, drain):
    reference = create(featurizer="email")
    ours.push(features={"x": 2.0}, target=1)
    ours.push(features={"x": 1.0}, target=-1, importance=2.5)
    ours.push({"address": "a@b.de"}, 1, importance=0.5)
    ours.push_many([(1, {"x": 3}), (0, {"y": 1}, 4.0)], features=True)
    ours.push_many([(1, {"address": "c@d.de"}, 2)])
    reference.learn_packed(pack([1, {"x": 2.0}]) + pack([-1, {"x": 1.0}, 2.5]))
    reference.learn_one({"address": "a@b.de"}, 1, 0.5)
    reference.learn_packed(pack([1, {"x": 3}]) + pack([0, {"y": 1}, 4.0]))
    reference.learn_one({"address": "c@d.de"}, 1, 2)
    assert state_bytes(drain().model) == state_bytes(reference)
    assert client.xlen(KEYS.rejected) == 0


def test_features_are_asked_for_as_they_are(ours, create, serving):
    create(featurizer="email")
    with serving():
        assert ours.predict(features={"x": 1.0}) == 0.5
        assert ours.predict_many([{"x": 1.0}, {}], features=True) == [0.5, 0.5]
        assert {row[0] for row in ours.explain(features={"x": 1.0})["contributions"]} == {"(constant)", "x"}


def test_numpy_numbers_are_numbers(client, ours, create, drain):
    create(task="regression")
    ours.push({"a": np.float32(2), "b": np.int64(3)}, np.float64(7.5))
    assert drain().model.n_examples == 1


def test_values_of_other_libraries_are_learned_and_asked_about_as_by_a_model(client, ours, create, serving):
    values = [Decimal("1.5"), np.float32(2.5), dt.date(2026, 11, 22), float("nan"), np.True_, None, Fraction(1, 4)]
    reference = create(featurizer="fields")
    with serving():
        for i, value in enumerate(values):
            ours.push({"v": value}, i % 2)
            reference.learn_one({"v": value}, i % 2)
        learned(client, len(values))
        assert int(client.hget(KEYS.head, "entries")) == reference.n_examples == len(values)
        for value in values:
            assert ours.predict({"v": value}) == reference.predict_proba_one({"v": value})[1]


def test_a_lone_surrogate_is_refused_by_the_worker_with_the_words_of_the_model(client, ours, create, drain):
    """As JSON it can be sent; a client's msgpack has no form for it."""
    create(featurizer="fields")
    client.xadd(KEYS.examples, {"record": '{"city": "a\\ud83d"}', "target": "1"})
    drain()
    ((_, rejected),) = client.xrange(KEYS.rejected)
    assert b"text must have no lone surrogates (got " in rejected[b"reason"]
    with pytest.raises(ExampleError, match=r"text must have no lone surrogates \(got "):
        ours.push({"city": "a\ud83d"}, 1)


def test_a_record_that_is_a_small_number_of_numpy_is_asked_about(ours, create, serving):
    create(featurizer={"templates": [{"template": "number"}]})
    with serving():
        assert ours.predict(np.int64(5)) == ours.predict(5) == 0.5


def test_a_record_without_an_answer_among_many_has_an_error_in_its_place(ours, create, serving):
    create(featurizer="place")
    with serving():
        records = [{"lat": lat, "lon": 0} for lat in (1, 91, 2)] + [{"lat": object()}, {"lat": "x" * (1 << 20)}]
        first, bad, second, unpacked, large = ours.predict_many(records)
        assert ours.predict_many([]) == []
        assert all(isinstance(each, ExampleError) for each in ours.predict_many([{"lat": object()}]))
    assert (first, second) == (0.5, 0.5)
    assert "field 'lat' must be within [-90, 90] (got 91.0)" in str(bad)
    assert "value must be" in str(unpacked)
    assert "record must be at most 1048576 bytes" in str(large)
    assert {type(each) for each in (bad, unpacked, large)} == {ExampleError}


def test_more_than_a_request_holds_is_asked_in_several(client, ours, create, serving):
    create(featurizer="fields")
    with serving():
        assert ours.predict_many({"a": i} for i in range(2500)) == [0.5] * 2500
    assert client.info("commandstats")["cmdstat_rpush"]["calls"] >= 3


def test_a_bad_record_s_error_is_raised_and_the_next_question_answered(ours, create, serving):
    create(featurizer="place")
    with serving():
        with pytest.raises(LearnerError, match=r"must be .*91"):
            ours.predict({"lat": 91, "lon": 0})
        with pytest.raises(LearnerError, match="record must be a map"):
            ours.predict(7)
        with pytest.raises(LearnerError, match="feature 'x' must be a number"):
            ours.explain(features={"x": "text"})
        assert ours.predict({"lat": 1, "lon": 0}) == 0.5


def test_what_msgpack_has_no_form_for_is_refused_before_it_is_sent(client, ours, create):
    create()
    for push in (lambda: ours.push({"a": {1}}, 1), lambda: ours.push(features={"a": object()}, target=1)):
        with pytest.raises(ExampleError, match="value must be"):
            push()
    with pytest.raises(ExampleError):
        ours.push_many([(1, {"a": 1 << 70})])
    assert client.xlen(KEYS.examples) == 0


def test_names_and_outcomes_that_utf_8_has_no_form_for_are_refused_before_they_are_sent(client, ours, create):
    create()
    bad = "\ud800"
    pipeline = ours.pipeline().push({"a": 1}, 1, id=bad).push({"a": 1}, 1)
    for send in (
        lambda: ours.push({"a": 1}, 1, id=bad),
        lambda: ours.push_many([(1, {"a": 1})], id=bad),
        pipeline.execute,
        lambda: ours.outcome(bad, 1),
        lambda: ours.outcome("order-1", bad),
        lambda: ours.predict({"a": 1}, outcome_id=bad),
        lambda: ours.ask({"record": '{"a": "%s"}' % bad}),  # noqa: UP031
    ):
        with pytest.raises(ExampleError, match=r"must have no lone surrogates \(got '.*\\ud800"):
            send()
    assert client.xlen(KEYS.examples) == client.xlen(KEYS.requests) == 0


def test_without_an_answer_the_error_names_what_to_do(redis_url, create):
    create()
    with pytest.raises(
        LearnerError, match=r"did not answer within 0.2 s: no worker runs: start one with 'learner worker m'"
    ):
        Client("m", redis_url, timeout=0.2).predict({"a": 1})


def test_a_late_answer_to_a_request_given_up_is_ignored(client, redis_url, create):
    create()
    asking = Client("m", redis_url, timeout=0.3)
    late = answered_by(client, {"prediction": 0.111}, late=0.6)
    with pytest.raises(LearnerError, match="did not answer"):
        asking.predict({"a": 1})
    late.join()
    client.xtrim(KEYS.requests, maxlen=0)
    answer = answered_by(client, {"prediction": 0.222})
    assert asking.predict({"a": 1}) == 0.222
    answer.join()


def test_two_clients_never_get_each_other_s_answers(redis_url, create, serving):
    reference = create(featurizer="fields")
    wrong: list[object] = []
    with serving() as worker:
        for i in range(20):
            worker.model.learn_one({"n": i}, i % 2)
            reference.learn_one({"n": i}, i % 2)
        expected = [reference.predict_proba_one({"n": i, "w": f"x{i}"})[1] for i in range(20)]

        def ask(own: int) -> None:
            asking = Client("m", redis_url)
            for i in range(60):
                i = (7 * i + own) % 20
                if asking.predict({"n": i, "w": f"x{i}"}) != expected[i]:
                    wrong.append((own, i))

        threads = [threading.Thread(target=ask, args=(own,)) for own in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_each_call_has_a_list_of_its_own_for_the_answer_in_the_model_s_slot(client, redis_url, create):
    create()
    asking = Client("m", redis_url, timeout=0.1)
    for _ in range(3):
        with pytest.raises(LearnerError):
            asking.predict({"a": 1})
    lists = {fields[b"reply"].decode() for _, fields in client.xrange(KEYS.requests)}
    assert len(lists) == 3
    assert all(name.startswith("learner:{m}:replies:") for name in lists)


def test_a_client_of_a_wrong_name_or_without_a_model_is_told_so(redis_url):
    with pytest.raises(SpecError, match="model name"):
        Client("a b", redis_url)
    with pytest.raises(StoreError, match="does not exist"):
        Client("m", redis_url).weights()


def test_a_push_is_not_repeated_when_its_answer_is_lost(client, ours, create, monkeypatch):
    create()
    connection_class = ours.redis.connection_pool.connection_class
    read, calls = connection_class.read_response, []

    def lost(self, *args, **kwargs):
        answer = read(self, *args, **kwargs)
        calls.append(answer)
        raise ConnectionResetError("lost")

    ours.redis.ping()
    monkeypatch.setattr(connection_class, "read_response", lost)
    with pytest.raises(ConnectionError):
        ours.push({"a": 1}, 1)
    monkeypatch.undo()
    assert len(calls) == 1
    assert client.xlen(KEYS.examples) == 1


def test_a_pushed_single_record_is_one_msgpack_pair(client, ours, create):
    create()
    ours.push({"a": 1}, -1)
    ((_, fields),) = client.xrange(KEYS.examples)
    assert msgpack.unpackb(fields[b"records"]) == [-1, {"a": 1}]


def test_pushing_does_not_import_numba(redis_url, create):
    create()
    code = "import sys, os; from learner import Client; Client('m', os.environ['REDIS_URL']).push({'a': 1}, 1)\n"
    code += "assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "REDIS_URL": redis_url})


def test_a_regression_predicts_numbers(client, ours, create, serving):
    reference = create(task="regression", featurizer="fields")
    assert isinstance(reference, Model)
    with serving():
        assert isinstance(ours.predict({"a": 1}), float)
        for i in range(30):
            ours.push({"a": i % 5}, 2.0 * (i % 5))
            reference.learn_one({"a": i % 5}, 2.0 * (i % 5))
        learned(client, 30)
        assert ours.predict({"a": 2}) == reference.predict_one({"a": 2})


# ---- answers of each kind ----
def test_two_classes_are_a_probability_a_label_and_both_probabilities(ours, create, serving):
    create(featurizer="fields", labels=["ham", "spam"])
    with serving() as worker:
        for i in range(30):
            worker.model.learn_one({"a": i % 2}, i % 2)
        p = worker.model.predict_proba_one({"a": 0})
        assert ours.predict({"a": 0}) == p["spam"]
        assert ours.predict_label({"a": 0}) == worker.model.predict_one({"a": 0}) == "ham"
        assert ours.predict_proba({"a": 0}) == p
        assert ours.predict_many([{"a": 0}]) == [p["spam"]]


def test_two_classes_without_labels_are_minus_and_plus_one(ours, create, serving):
    create(featurizer="fields")
    with serving() as worker:
        for _ in range(9):
            worker.model.learn_one({"a": 1}, 1)
        assert ours.predict_label({"a": 1}) == 1
        assert ours.predict_proba({"a": 1}) == worker.model.predict_proba_one({"a": 1})


def test_many_classes_are_a_label_and_its_probabilities(ours, create, serving):
    create(task="multiclass", featurizer="fields")
    with serving() as worker:
        assert ours.predict({"a": 1}) is None
        assert ours.predict_proba({"a": 1}) == {}
        assert ours.predict_many([{"a": 1}]) == [None]
        for _ in range(20):
            for color, label in (("red", "apple"), ("green", "kiwi"), ("blue", "plum")):
                worker.model.learn_one({"color": color}, label)
        assert ours.predict({"color": "green"}) == ours.predict_label({"color": "green"}) == "kiwi"
        assert ours.predict_many([{"color": "blue"}, {"color": [1]}, {"color": "red"}])[::2] == ["plum", "apple"]
        expected = worker.model.predict_proba_one({"color": "red"})
        assert ours.predict_proba({"color": "red"}) == expected
        assert ours.ask_many([{"color": "red"}], probabilities=True)[0]["probabilities"] == expected
        assert "probabilities" not in ours.ask_many([{"color": "red"}])[0]


def test_numbers_have_no_label(ours, create, serving):
    create(task="poisson", featurizer="fields")
    with serving():
        assert isinstance(ours.predict({"a": 1}), float)
        for ask in (ours.predict_label, ours.predict_proba):
            with pytest.raises(LearnerError, match=r"must be asked of a model of classes \(this one is a poisson\)"):
                ask({"a": 1})


# ---- threads ----
def test_threads_that_share_a_client_get_their_own_answers(ours, create, serving):
    create(featurizer="fields")
    with serving() as worker:
        for i in range(60):
            worker.model.learn_one({"n": i % 20}, i % 3 > 0)
        expected = [worker.model.predict_proba_one({"n": i})[1] for i in range(20)]
        with ThreadPoolExecutor(16) as threads:
            found = list(threads.map(lambda i: ours.predict({"n": i % 20}), range(200)))
    assert len(set(expected)) > 10
    assert found == expected * 10


# ---- what is known when nobody answers ----
def silence(redis_url) -> str:
    with pytest.raises(LearnerError) as caught:
        Client("m", redis_url, timeout=0.1).predict({"a": 1})
    return str(caught.value).removeprefix("model 'm' did not answer within 0.1 s: ")


def test_a_worker_that_is_starting_is_said_to_be(client, redis_url, create):
    create()
    Store(client, "m").processes.note("starting")
    assert silence(redis_url).startswith(f"its worker is starting (process {os.getpid()} on ")


def test_a_worker_that_is_behind_is_said_to_be_and_by_how_much(redis_url, create, own, ours):
    create()
    own()  # which does nothing
    assert "gave no answer, and 1 requests wait" in silence(redis_url)
    for _ in range(3):
        ours.push({"a": 1}, 1)
    assert "is behind by 3 entries, and 2 requests wait" in silence(redis_url)


def test_a_worker_that_ended_is_not_running(client, redis_url, create, own):
    create()
    own()
    client.hset(KEYS.owner, "process", process_name().rpartition(" ")[0] + " 1")  # another process had our number
    assert "no worker runs: start one with 'learner worker m'" in silence(redis_url)


def test_a_model_deleted_meanwhile_does_not_exist(client, redis_url, create):
    create()
    client.delete(KEYS.spec)
    assert "does not exist: make it with 'learner create m'" in silence(redis_url)


def test_who_may_not_look_is_asked_whether_it_runs(roles):
    assert silence(roles["asker"]) == "is its worker running? (learner worker m)"
