"""Entries that are pushed again under their id: learned once, through crashes."""

import pytest
import redis
from click.testing import CliRunner

from learner.client import Client
from learner.commands import main
from tests.conftest import state_bytes
from tests.streams import KEYS, zipf_examples


def test_an_entry_pushed_again_under_its_id_is_learned_once_also_after_a_crash(client, create, drain, committed):
    reference = create()
    for example in ("a", "b", "a"):
        client.xadd(KEYS.examples, {"features": f'{{"{example}": 1}}', "target": "1", "id": f"id-{example}"})
    drain()
    client.xadd(KEYS.examples, {"features": '{"b": 1}', "target": "1", "id": "id-b"})
    client.xadd(KEYS.examples, {"features": '{"b": 1}', "target": "1"})
    assert drain().learning.n_repeated == 1
    for name in ("a", "b", "b"):
        reference.learn_one({name: 1.0}, 1)
    assert state_bytes(committed()) == state_bytes(reference)
    assert client.hget(KEYS.head, "entries") == b"5"


def test_a_push_whose_answer_was_lost_is_repeated_by_itself_if_it_has_an_id(
    client, redis_url, create, drain, monkeypatch
):
    create()
    execute = redis.client.Pipeline.execute
    lost = []

    def losing(self, *args, **kwargs):
        result = execute(self, *args, **kwargs)
        if len(lost) < 2:
            lost.append(1)
            raise redis.TimeoutError("lost")
        return result

    spam = Client("m", redis_url)
    monkeypatch.setattr(redis.client.Pipeline, "execute", losing)
    spam.push(features={"a": 1.0}, target=1, id="order-1")
    monkeypatch.setattr(redis.client.Pipeline, "execute", execute)
    assert (len(lost), client.xlen(KEYS.examples)) == (2, 3)
    assert drain().model.n_examples == 1
    lost.clear()
    monkeypatch.setattr(redis.client.Pipeline, "execute", losing)
    with pytest.raises(redis.TimeoutError):
        spam.push(features={"a": 1.0}, target=1)  # without: it may or may not be there, and is left to the caller


def test_a_file_pushed_again_under_its_name_adds_nothing(redis_url, create, drain, tmp_path):
    create(featurizer="fields")
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(f'{{"a": {i}, "target": {i % 2}}}\n' for i in range(1000)))
    for name, learned in (("one", 1000), ("one", 1000), ("two", 2000)):
        result = CliRunner().invoke(main, ["push", "m", str(path), "--id", name, "--redis-url", redis_url])
        assert result.exit_code == 0, result.output
        assert drain().model.n_examples == learned


def test_examples_pushed_again_in_part_are_learned_once(redis_url, create, drain):
    create()
    examples = zipf_examples(1000, 4, 1)
    spam = Client("m", redis_url)
    pushed = spam.push_packed(iter(examples[:450]), features=True, id="run")
    assert sum(pushed) == 450
    assert drain().model.n_examples == 450
    assert sum(spam.push_packed(iter(examples), features=True, id="run")) == 1000
    owner = drain()
    # the first two entries were whole; the third, cut short then, has the name of one that is learned
    assert owner.model.n_examples == 450 + 400
