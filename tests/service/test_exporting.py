"""A worker's metrics, as Prometheus reads them, and the dashboard and the alert rules that use their names."""

import json
import re
import shutil
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from learner import __version__
from learner.client import Client
from learner.errors import LearnerError
from learner.service.counting import Counts
from learner.service.exporting import GAUGES, _OfAnswerer, serve_metrics
from learner.service.store import Store
from tests.conftest import url, wait_until
from tests.streams import BAD, GOOD, KEYS

prometheus_client = pytest.importorskip("prometheus_client")
parser = pytest.importorskip("prometheus_client.parser")
DEPLOY = Path(__file__).parents[2] / "deploy"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(not PROMTOOL, reason="needs promtool, of the Debian package prometheus")


def scrape(where: str) -> str:
    with urllib.request.urlopen(where, timeout=30) as answer:  # noqa: S310  (it is http)
        return answer.read().decode()


def samples(text: str) -> "dict[str, float]":
    """The samples of a scrape, by name and the labels other than the model, which all of them must have."""
    found = {}
    for family in parser.text_string_to_metric_families(text):
        for sample in family.samples:
            labels = dict(sample.labels)
            assert labels.pop("model") == "m"
            found[" ".join([sample.name, *labels.values()])] = sample.value
    return found


@pytest.fixture
def scraped(client, create, serving):
    """What is scraped of a worker that learned 40 examples and rejected 2, answered a request, and refused one."""
    create(featurizer="fields")
    counts = Counts()
    with serving(counts=counts) as owner:
        where = serve_metrics("0", "m", lambda: [(owner.store, counts)])
        client.xadd(KEYS.examples, {"batch": GOOD * 40 + BAD * 2})
        asker = Client("m", url(client), timeout=30.0)
        asker.predict({"secret": "a name"})
        with pytest.raises(LearnerError):
            asker.ask({"features": "5"})
        wait_until(lambda: Store(client, "m").status()["lag_entries"] == 0)
        wait_until(lambda: counts.figures)
        asker.predict({"a": 1}, outcome_id="one")
        later = {"late_loss": 0.5, "late_examples": 1, "answered_loss": 0.5, "expired": 3}
        counts.figures |= later
        wait_until(lambda: counts.request_seconds.n == 3)
        text = scrape(where)
        head = client.hget(KEYS.head, "time")
    return text, float(head), scrape(where)


def test_the_probes_of_the_manifests_are_answered(client):
    where = serve_metrics("0", "m", lambda: [(Store(client, "m"), Counts())])
    for path in ("/health", "/ready"):
        assert "learner_worker_state" in scrape(where.replace("/metrics", path))


def test_metrics_tell_what_the_worker_does(scraped):
    text, committed, after = scraped
    found = samples(text)
    assert found[f"learner_build_info {__version__}"] == 1
    assert [state for state in ("starting", "running", "stopped") if found[f"learner_worker_state {state}"]] == [
        "running"
    ]
    assert (found["learner_examples_total"], found["learner_rejected_total"]) == (40, 2)
    assert (found["learner_request_seconds_count"], found["learner_request_errors_total"]) == (3, 1)
    assert (found["learner_expired_total"], found["learner_kept_answers"]) == (3, 1)
    assert found["learner_commit_seconds_count"] == found["learner_commit_seconds_bucket +Inf"] >= 1
    assert found["learner_request_seconds_sum"] > 0
    assert abs(found["learner_last_commit_timestamp_seconds"] - committed) < 5
    assert found["learner_resident_bytes"] > found["learner_state_bytes"] > 0
    assert (found["learner_lag_entries"], found["learner_features"] > 0) == (0, True)
    assert "secret" not in text
    assert samples(after)["learner_worker_state stopped"] == 1


def test_an_answerer_has_metrics_of_its_own(answering, client, create):
    create(featurizer="fields")
    counts = Counts()
    with answering(counts=counts) as answerer:
        where = serve_metrics("0", "m", lambda: [(answerer.store, counts)], answers_only=True)
        Client("m", url(client), timeout=30.0).predict({"a": 1})
        wait_until(lambda: counts.request_seconds.n == 1)
        answerer.store.processes = answerer.store.answerers
        wait_until(lambda: counts.n_answerers == 1)
        text = scrape(where)
    found = samples(text)
    assert found["learner_answerer_state running"] == 1
    assert (found["learner_answerers"], found["learner_waiting_requests"]) == (1, 0)
    assert (found["learner_answering_commit"], found["learner_request_seconds_count"]) == (0, 1)
    assert not [name for name in found if name.startswith(("learner_worker_state", "learner_examples"))]


def test_the_dashboard_and_the_rules_use_the_names_that_there_are_and_all_of_them(scraped, client):
    store = Store(client, "m")
    of_answerer = [
        metric.name for metric in _OfAnswerer(prometheus_client.core, "m", lambda: [(store, Counts())]).collect()
    ]
    others = {name for name in of_answerer if not name.startswith("learner_request_")}
    names = {name.split()[0] for name in samples(scraped[0])} | others
    assert {f"learner_{name}" for name, _ in GAUGES.values()} <= names
    dashboard, rules = ((DEPLOY / name).read_text() for name in ("grafana-dashboard.json", "alerts.yaml"))
    assert json.loads(dashboard)["title"] == "learner"
    shown, watched = (set(re.findall(r"learner_[a-z_]+", text)) for text in (dashboard, rules))
    assert shown <= names
    assert watched <= names
    bases = {re.sub("_(bucket|sum|count)$", "", name) for name in shown}
    assert bases == {re.sub("_(bucket|sum|count)$", "", name) for name in names}


@needs_promtool
def test_prometheus_has_nothing_to_say_about_the_metrics(scraped):
    done = subprocess.run([PROMTOOL, "check", "metrics"], input=scraped[0], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


FIRING = """
rule_files: [alerts.yaml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'learner_worker_state{model="m",state="answering_only"}', values: '1x20'}
      - {series: 'learner_worker_state{model="n",state="running"}', values: '0x20'}
      - {series: 'learner_worker_state{model="n",state="waiting"}', values: '1x20'}
      - {series: 'learner_lag_entries{model="m"}', values: '20000x20'}
      - {series: 'learner_lag_entries{model="n"}', values: '0x20'}
      - {series: 'learner_last_commit_timestamp_seconds{model="m"}', values: '0x20'}
      - {series: 'learner_last_commit_timestamp_seconds{model="n"}', values: '0x20'}
      - {series: 'learner_examples_total{model="m"}', values: '0+90x20'}
      - {series: 'learner_rejected_total{model="m"}', values: '0+10x20'}
      - {series: 'learner_examples_total{model="n"}', values: '0+99x20'}
      - {series: 'learner_rejected_total{model="n"}', values: '0+1x20'}
    promql_expr_test:
      - expr: ALERTS{alertstate="firing"}
        eval_time: 20m
        exp_samples:
"""
FIRED = {  # in the story above
    "LearnerBehind": ("m", "warning"),
    "LearnerCommitsStopped": ("m", "critical"),
    "LearnerNobodyWorks": ("n", "critical"),
    "LearnerRejects": ("m", "warning"),
}


@needs_promtool
def test_the_rules_are_right_and_fire_when_they_should(tmp_path):
    shutil.copy(DEPLOY / "alerts.yaml", tmp_path)
    labels = """'ALERTS{{alertname="{}",alertstate="firing",model="{}",severity="{}"{}}}'"""
    sample = f"          - labels: {labels}\n            value: 1\n"
    wanted = [(name, model, severity, "") for name, (model, severity) in FIRED.items()]
    wanted += [("LearnerOnlyAnswers", "m", "critical", ',state="answering_only"')]
    (tmp_path / "test.yaml").write_text(FIRING + "".join(sample.format(*each) for each in wanted))
    for command in (["check", "rules", "alerts.yaml"], ["test", "rules", "test.yaml"]):
        done = subprocess.run([PROMTOOL, *command], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("address", ["x", "host:", "127.0.0.1:99999", "a:b:1"])
def test_an_address_must_be_one(client, address):
    with pytest.raises(LearnerError, match=r"--metrics must be HOST:PORT or PORT \(got '"):
        serve_metrics(address, "m", list)


def test_a_port_that_is_taken_is_named(client):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(LearnerError, match=rf"that is free \(got {address}: Address already in use\)"):
            serve_metrics(address, "m", list)


def test_without_the_extra_the_error_names_it(client, monkeypatch):
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(LearnerError, match=r"pip install 'streaming-learner\[metrics\]'"):
        serve_metrics("0", "m", list)
