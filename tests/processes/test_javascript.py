"""The JavaScript client in deploy/ asks a worker, and gets the same numbers as Python."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from learner.client import Client
from learner.errors import LearnerError
from learner.service.store.embedded import Embedded
from tests.conftest import wait_until

FOLDER = Path(__file__).parent.parent.parent / "deploy" / "javascript"
RECORD = {"address": "Grüße\r\n€@gmail.com"}

PUSH = """
import { Client } from "%s/learner.mjs";
const m = new Client("m"), record = JSON.parse(process.argv[1]);
await m.push(record, 1, { id: "once" });
await m.push(record, 1, { id: "once" });
for (let i = 0; i < 50; i++) await m.push({ address: `${i}${i %% 3 ? "@" : "."}gmail.com` }, i %% 3 ? 1 : 0, { importance: 2 });
m.close();
"""

ASK = """
import { Client } from "%s/learner.mjs";
const m = new Client("m"), record = JSON.parse(process.argv[1]);
const many = await Promise.all(Array.from({ length: 50 }, (_, i) => m.predict({ address: `${i}@gmail.com` })));
const error = await m.ask({ address: 5 }).catch((error) => error.message);
const one = await m.predict(record, { outcomeId: "later" });
console.log(JSON.stringify({ many, one, explained: await m.explain(record), error }));
m.close();
"""

OUTCOME = """
import { Client } from "%s/learner.mjs";
const m = new Client("m");
await m.outcome("later", 1);
m.close();
"""

pytestmark = pytest.mark.skipif(not shutil.which("node"), reason="needs node")


def node(url, *arguments):
    done = subprocess.run(
        ["node", *arguments], env={**os.environ, "REDIS_URL": url}, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_javascript_gets_the_same_numbers_as_python(create, redis_url, serving):
    create(featurizer="email", outcomes="at_once")
    client = Client("m", redis_url)
    with serving() as worker:
        node(redis_url, "--input-type=module", "-e", PUSH % FOLDER, json.dumps(RECORD))
        wait_until(lambda: worker.model.n_examples == 51)
        got = json.loads(node(redis_url, "--input-type=module", "-e", ASK % FOLDER, json.dumps(RECORD)))
        assert got["many"] == [client.predict({"address": f"{i}@gmail.com"}) for i in range(50)]
        assert got["one"] == client.predict(RECORD)
        assert [list(part.values()) for part in got["explained"]] == client.explain(RECORD)["contributions"]
        with pytest.raises(LearnerError, match=re.escape(got["error"])):
            client.predict({"address": 5})
        node(redis_url, "--input-type=module", "-e", OUTCOME % FOLDER)
        wait_until(lambda: worker.model.n_examples == 52)
        assert worker.learning.answered.examples == 1


def test_the_example_runs_as_it_is_also_on_the_embedded_server(tmp_path, start, start_worker):
    """Its address is that of a socket, with a password."""
    embedded = Embedded(tmp_path / "server")
    url = embedded.start()
    try:
        assert start(url, "create", "spam", "--featurizer", "email").wait(60) == 0
        worker = start_worker(url, "spam")
        lines = node(url, str(FOLDER / "example.mjs")).splitlines()
        worker.terminate()
        assert worker.wait(30) == 0
    finally:
        embedded.stop()
    assert 0.0 < float(lines[0]) < 1.0
    assert len(lines) == 4
    assert all(" adds " in line for line in lines[1:])
