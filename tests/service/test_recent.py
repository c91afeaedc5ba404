"""Entries that are pushed again under their id: learned once, through crashes."""

import json

import pytest
import redis
from click.testing import CliRunner

from learner.client import Client
from learner.commands import main
from tests.conftest import state_bytes
from tests.streams import BAD, GOOD, KEYS, rejected, zipf_examples


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


@pytest.mark.parametrize(
    ("bad", "good"),
    [
        ({"features": '{"a": "x"}', "target": "1"}, {"features": '{"a": 1}', "target": "1"}),
        ({"record": '{"a": NaN}', "target": "1"}, {"record": '{"a": 1}', "target": "1"}),
        ({"batch": BAD + BAD}, {"batch": GOOD}),
        ({"records": BAD + BAD}, {"records": GOOD}),
    ],
)
def test_an_id_counts_as_seen_once_something_was_learned_under_it(client, create, drain, bad, good):
    create()
    for fields in (bad, good, good, bad):  # all read at once
        client.xadd(KEYS.examples, {**fields, "id": "order-1"})
    owner = drain()
    assert (owner.model.n_examples, owner.learning.n_repeated) == (1, 2)
    client.xadd(KEYS.examples, {**good, "id": "order-1"})
    assert drain().model.n_examples == 1


def test_an_entry_learned_in_part_is_a_repeat_when_it_comes_again(client, create, drain):
    create()
    for _ in range(2):
        client.xadd(KEYS.examples, {"batch": BAD + GOOD, "id": "one"})
        client.xadd(KEYS.examples, {"records": BAD + GOOD, "id": "two"})
    owner = drain()
    assert (owner.model.n_examples, owner.model.n_rejected, owner.learning.n_repeated) == (2, 2, 2)


def test_ids_are_remembered_in_one_order_however_entries_are_read(client, create, own, committed):
    create()
    for i in range(40):
        fields = {"features": '{"a": 1}', "target": "1"} if i % 3 else {"batch": GOOD if i % 2 else BAD}
        client.xadd(KEYS.examples, {**fields, "id": f"id-{i % 17}"})
    rings = []
    for n in (1, 7, 40):
        owner = own(lease_seconds=0.1)
        while entries := owner.store.stream.read(owner.learning.cursor, None, n, n, None)[0]:
            owner.learning.learn(entries)
        rings.append((owner.learning.recent.ring.tobytes(), owner.learning.recent.count, owner.model.n_examples))
        owner.owning.close()
    assert rings[0] == rings[1] == rings[2]


def test_an_id_that_is_too_long_is_a_reason_for_rejection(client, create, drain):
    create()
    for field, value in {"batch": GOOD, "features": b'{"a": 1}'}.items():
        client.xadd(KEYS.examples, {field: value, "target": "1", "id": "x" * 257})
    client.xadd(KEYS.examples, {"batch": GOOD, "id": "x" * 256})
    owner = drain()
    assert (owner.model.n_examples, owner.model.n_rejected) == (1, 2)
    assert {fields[b"reason"] for fields in rejected(client)} == {b"id must be at most 256 bytes (got 257)"}


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
    pushed = 0
    for name, learned in (("one", 1000), ("one", 1000), ("two", 2000)):
        result = CliRunner().invoke(main, ["push", "m", str(path), "--id", name, "--redis-url", redis_url])
        assert result.exit_code == 0, result.output
        assert (", 1000 of them repeats, not learned again" in result.output) == (learned < pushed + 1000)
        pushed = learned
        assert drain().model.n_examples == learned
    shown = CliRunner().invoke(main, ["status", "m", "--redis-url", redis_url]).output
    assert "repeated" not in shown  # by the last worker


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


def test_repeats_stand_in_the_status(client, redis_url, create, drain):
    create()
    for _ in range(3):
        client.xadd(KEYS.examples, {"batch": GOOD, "id": "a"})
    drain()
    shown = CliRunner().invoke(main, ["status", "m", "--redis-url", redis_url]).output
    assert "1 and 0 rejected, 2 entries repeated since the worker started, not learned again" in shown


def test_a_producer_whose_rules_forbid_to_look_pushes_under_an_id_as_ever(roles):
    result = CliRunner().invoke(
        main, ["push", "m", "-", "--format", "vw", "--id", "a", "--redis-url", roles["producer"]], "1 | a\n"
    )
    assert (result.exit_code, "repeats" in result.output) == (0, False), result.output


def test_the_id_of_a_push_leaves_room_for_the_numbers_of_its_entries(redis_url, create):
    create()
    result = CliRunner().invoke(
        main, ["push", "m", "-", "--format", "vw", "--id", "é" * 117, "--redis-url", redis_url], "1 | a\n"
    )
    assert (result.exit_code, result.output.splitlines()[-1]) == (2, "Error: --id must be at most 232 bytes (got 234)")


def test_a_line_that_is_too_large_is_left_out_alone(client, redis_url, create, drain):
    create()
    lines = [f'{{"features": {{"a": {i}}}, "target": {i % 2}}}\n' for i in range(150)]
    names = {f"{'x' * 200}{i}": 1 for i in range(21_000)}
    huge = [{"record": {"t": "x" * (1 << 20)}, "target": 1}, {"features": names, "target": 1}]
    text = "".join([*lines[:100], *(json.dumps(line) + "\n" for line in huge), *lines[100:]])
    result = CliRunner().invoke(main, ["push", "m", "-", "--format", "jsonl", "--redis-url", redis_url], text)
    assert result.exit_code == 3
    assert "Error: line 101: record must be at most 1048576 bytes (got 10485" in result.output
    assert "Error: line 102: features must be at most 4193280 bytes" in result.output
    assert result.output.splitlines()[-1].endswith(", left out 2 bad ones")
    owner = drain()
    assert (owner.model.n_examples, owner.model.n_rejected) == (150, 0)
    Client("m", redis_url).push_many([(1, {"a": 1}), (1, {"t": "x" * (1 << 22)}), (1, {"a": 1})])
    owner = drain()
    assert (owner.model.n_examples, owner.model.n_rejected) == (152, 1)
