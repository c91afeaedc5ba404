"""Settings on a real server: they take effect while a worker runs, and its own options win."""

import pytest

from learner.errors import LearnerError, RejectedError, ServerError, StoreError
from learner.service import following
from learner.service.store import Store
from tests.conftest import wait_until
from tests.service.store.test_repair import owner_fields
from tests.streams import BAD, GOOD, KEYS, push_batches


@pytest.fixture(autouse=True)
def always_read(monkeypatch):
    monkeypatch.setattr(following, "READ_SECONDS", 0.0)


def test_a_worker_begins_with_the_settings_of_its_model_and_its_options_win(client, create, own):
    create()
    Store(client, "m").set({"max_rejected": 0.25, "rejected_window": 20, "history": "1h"})
    owner = own()
    acceptance = owner.learning.acceptance
    assert (acceptance.share, acceptance.window, owner.store.commits.history) == (0.25, 20, 3600.0)
    owner.owning.release()
    acceptance = own(max_rejected=1.0).learning.acceptance
    assert (acceptance.share, acceptance.window) == (1.0, 20)


def test_a_change_takes_effect_while_the_worker_runs_and_the_log_says_so(client, create, serving, capsys):
    create()
    store = Store(client, "m")
    with serving(rejected_window=30) as worker:
        store.set({"max_rejected": 0.9, "rejected_window": 10, "history": "2h", "durability": "power"})
        wait_until(lambda: owner_fields(client)["durability"] == "power")
        client.hset(KEYS.settings, "history", "soon")
        wait_until(lambda: "settings stay as they were" in capsys.readouterr().err)
        store.set({"history": "3h"})
        wait_until(lambda: worker.store.commits.history == 10_800.0)
        acceptance = worker.learning.acceptance
        assert (acceptance.share, acceptance.window) == (0.9, 30)
        store.set({"durability": "failover"})
        wait_until(lambda: worker.following.values["durability"] == "failover")
        assert owner_fields(client)["durability"] == "power"
    err = capsys.readouterr().err
    assert "settings changed: history=10800.0" in err
    assert "durability stays power: server: durability 'failover' asks for more" in err


def test_a_worker_refuses_a_server_that_lacks_what_the_setting_asks_for(client, create, own):
    create()
    Store(client, "m").set({"durability": "failover", "replicas": 3})
    with pytest.raises(ServerError, match="replicas must be at least 3"):
        own()
    own(durability="crash")


def test_learning_goes_on_when_the_bound_on_rejections_is_raised(client, create, own, serving):
    create()
    Store(client, "m").set({"max_rejected": 0.1, "rejected_window": 20})
    push_batches(client, "batch", [GOOD, BAD] * 50, 1)
    with pytest.raises(RejectedError):
        own().run(burst=True)
    with serving() as worker:
        wait_until(lambda: "trouble" in owner_fields(client))
        Store(client, "m").set({"max_rejected": 1})
        wait_until(lambda: Store(client, "m").status()["lag_entries"] == 0)
        assert "trouble" not in owner_fields(client)
        assert worker.model.n_examples == 50


@pytest.mark.parametrize("value", ["a text", {b"\xff": b"1"}, {"history": b"\xff"}])
def test_settings_that_are_none_are_named_and_a_worker_that_runs_goes_on(client, create, own, value):
    create()
    owner = own()
    client.set(KEYS.settings, value) if isinstance(value, str) else client.hset(KEYS.settings, mapping=value)
    assert owner.following.follow(owner.learning.acceptance) == set()
    assert owner.keeping.settings()["keep_predictions"] == 0.0
    assert Store(client, "m").status()["history"]["seconds"] is None
    for read in (owner.store.settings, owner.store.setting_texts):
        with pytest.raises(StoreError, match=f"delete {KEYS.settings}"):
            read()


@pytest.mark.parametrize("text", ["9" * 400, "1" + "0" * 300 + "d", "36501d"])
def test_a_time_is_at_most_a_hundred_years(client, create, drain, text):
    create()
    for name in ("history", "keep_predictions"):
        with pytest.raises(LearnerError, match="at most 36500d"):
            Store(client, "m").set({name: text})
    Store(client, "m").set({"history": "36500d", "keep_predictions": "36500d"})
    push_batches(client, "batch", [GOOD], 1)
    drain()
    assert client.xlen(KEYS.examples) == 1
