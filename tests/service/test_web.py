"""A web application with threads, all of which share one client."""

import http.client
import json

from learner import Client
from tests.benchmarks.web import load, over_http, served


def test_every_request_of_16_threads_is_answered(redis_url, create, serving):
    create(featurizer="fields")
    with serving(), served(Client("m", redis_url, timeout=30)) as port:
        found = load(lambda: over_http(port), 208)
    assert (found["requests"], found["failures"]) == (208, 0)


def test_without_a_worker_each_request_is_answered_with_the_error(redis_url, create):
    create(featurizer="fields")
    with served(Client("m", redis_url, timeout=0.1)) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", "/", "{}")
        response = connection.getresponse()
        assert response.status == 503
        assert "no worker runs" in json.loads(response.read())["error"]
        connection.close()
