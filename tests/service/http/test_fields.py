"""What the page asks for beside the commands' figures: the fields of a record, and the files of the page itself."""

import json

import msgpack
import pytest

from learner.service.wire import Keys
from tests.service.http.conftest import serve

KEYS = Keys("m")
RECORD = {"city": "Lyon", "more": {"price": 3}}


@pytest.mark.parametrize(
    "fields",
    [
        {"record": json.dumps(RECORD), "target": 1},
        {"record": msgpack.packb(RECORD), "target": 1},
        {"records": msgpack.packb([1, RECORD]) + msgpack.packb([0, {"city": "Nice"}])},
    ],
)
def test_the_last_record_is_there_in_whatever_form_it_was_pushed(http, client, create, fields):
    create(featurizer="fields")
    client.xadd(KEYS.examples, fields)
    client.xadd(KEYS.examples, {"learn": "held"})
    client.xadd(KEYS.examples, {"records": b"\xc1"})
    client.xadd(KEYS.examples, {"record": "[1", "target": 1})
    found = http("GET", "/models/m/fields").data
    assert found == {"model": "m", "target": None, "fields": {}, "record": RECORD}


def test_the_fields_are_those_of_the_columns_or_of_the_templates(http, create):
    create(
        columns={"lat": {"kind": "place", "with": "lon"}, "n": "number", "note": "ignore", "key": "id"},
        featurizer="fields",
    )
    assert http("GET", "/models/m/fields").data["fields"] == {"lat": "place", "lon": "place", "n": "number"}
    create("mail", featurizer="email")
    assert http("GET", "/models/mail/fields").data["fields"] == {"address": None}
    assert http("GET", "/models/no/fields").status == 404


def test_only_an_administrator_gets_the_record(client, create, redis_url, tmp_path):
    create(featurizer="fields")
    client.xadd(KEYS.examples, {"record": json.dumps(RECORD), "target": 1})
    file = tmp_path / "tokens"
    roles = {
        "token-of-an-asker": ["asker"],
        "token-of-a-monitor": ["monitor"],
        "token-of-both": ["asker", "administrator"],
    }
    names = [f"the-{name}" for name in roles]
    rows = [f'[[token]]\ntoken = "the-{name}"\nroles = {json.dumps(may)}\n' for name, may in roles.items()]
    file.write_text("".join(rows))
    file.chmod(0o600)
    process, http = serve(redis_url, "--tokens", str(file))
    answers = [http("GET", "/models/m/fields", headers={"authorization": f"Bearer {name}"}) for name in names]
    page = http("GET", "/")
    process.terminate()
    process.communicate(timeout=30)
    assert [answer.status for answer in answers] == [200, 403, 200]
    assert (answers[0].data["record"], answers[2].data["record"]) == (None, RECORD)
    assert page.status == 200  # it asks for the token


def test_the_page_comes_with_a_policy_and_nothing_else_is_served(http):
    page = http("GET", "/")
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert page.headers["content-security-policy"].startswith("default-src 'self'; ")
    assert "unsafe" not in page.headers["content-security-policy"]
    assert http("GET", "/page/app.js").headers["content-type"].startswith("text/javascript")
    for path in ("/page/README.md", "/page/..%2Fasking.py", "/page/../asking.py", "/page/", "/page/no.js"):
        assert http("GET", path).status == 404


def test_the_models_come_with_their_recent_losses(http, client, create):
    create()
    for n, loss in ((100, 0.5), (200, 0.4)):
        client.xadd(KEYS.progress, {"examples": n, "loss": loss})
    (row,) = http("GET", "/models").data
    assert row["recent_loss"] == pytest.approx([0.3])
