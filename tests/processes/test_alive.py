"""Probes, the log and the metrics of real processes."""

import json
import urllib.request

import pytest

from learner.model import Model
from learner.service.store import Store
from learner.service.store.connection import client as connect
from tests.conftest import SEED


def test_a_probe_of_a_server_that_hangs_ends_by_itself_with_one_line(hanging, start):
    url, hang = hanging
    with connect(url) as client:
        Store(client, "m").create(Model("binary", seed=SEED).to_spec())
    hang()
    probes = [start(url, "status", "m", "--check", check) for check in ("live", "ready")]
    for probe, check in zip(probes, ("live", "ready"), strict=True):
        out, err = probe.communicate(timeout=30)
        assert (probe.returncode, err) == (1, "")
        assert out == f"not {check}: no answer of the server within 4 s\n"


def test_a_probe_loads_no_numpy(redis_url, create, start):
    create()
    code = "import sys; sys.argv = ['learner', 'status', 'm', '--check']; from learner.commands import main\n"
    code += "try: main()\nexcept SystemExit: print([m for m in ('numpy', 'numba', 'rich') if m in sys.modules])"
    out, err = start(redis_url, program=("-c", code)).communicate(timeout=30)
    assert out.splitlines() == ["not ready: no worker owns the model", "[]"], err


def test_the_log_is_json_where_that_is_wanted_and_names_where_the_metrics_are(redis_url, create, start):
    pytest.importorskip("prometheus_client")
    create()
    worker = start(redis_url, "worker", "m", "--metrics", "0", "--log-format", "json")
    events = [json.loads(worker.stderr.readline())]
    while events[-1]["event"] != "start":
        events.append(json.loads(worker.stderr.readline()))
    assert events[-1]["message"] == "worker of m: epoch 1, 0 examples learned up to 0-0"
    where = next(event["url"] for event in events if event["event"] == "metrics")
    with urllib.request.urlopen(where, timeout=30) as page:  # noqa: S310  (it is http)
        assert 'learner_worker_state{model="m",state="running"} 1.0' in page.read().decode()
    address = where.removeprefix("http://").removesuffix("/metrics")
    out, err = start(redis_url, "worker", "m", "--metrics", address).communicate(timeout=60)
    assert (out, err) == (
        "",
        f"Error: --metrics must be an address of this machine that is free (got {address}: Address already in use)\n",
    )
    worker.terminate()
    out, err = worker.communicate(timeout=10)
    last = json.loads(err.splitlines()[-1])
    assert (last["event"], last["level"], last["code"], worker.returncode) == ("stop", "info", 0, 0)
