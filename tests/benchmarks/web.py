"""Requests to a web application whose threads share one client: ``python -m tests.benchmarks.web [--json]``.

16 threads send 2,000 requests to `tests.web` over connections that they keep; a worker process answers on the embedded server.
Prints the failures, and the 50th and 99th percentile of the time from request to response.
"""

import argparse
import http.client
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import numpy as np

from learner import Client, Model
from learner.service.store import Store, connection
from learner.service.store.embedded import temporary
from tests.benchmarks import Asked, Row
from tests.web import application

THREADS, REQUESTS, WARM_UP = 16, 2000, 200


def main() -> None:
    """Run it, and print the figures."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.web", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    found = measure()
    print(json.dumps(found) if options.json else "  ".join(f"{name} {value:g}" for name, value in found.items()))


def measure(n: int = REQUESTS) -> dict[str, float]:
    """Return the failures and the times of `n` requests."""
    with temporary() as url, worker(url), served(Client("web", url, timeout=60)) as port:
        load(lambda: over_http(port), WARM_UP)
        return load(lambda: over_http(port), n)


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the row of the page."""
    found = measure(WARM_UP if asked.quick else REQUESTS)
    yield Row(
        "requests of 16 threads to a threaded web application that shares one client: failures; 50th, 99th percentile, ms",
        f"{found['failures']:.0f}; {found['p50_ms']:.0f}, {found['p99_ms']:.0f}",
        "no failure",
    )


@contextmanager
def worker(url: str) -> Iterator[None]:
    """Run the worker of a model that has learned a little, as a process."""
    client = Client("web", url, timeout=60)
    Store(connection.client(url), "web").create(Model(featurizer="fields").to_spec())
    client.push_many((i % 3 > 0, {"price": i % 7 + 0.5, "city": f"c{i % 5}"}) for i in range(1000))
    process = subprocess.Popen([sys.executable, "-m", "learner", "worker", "web"], env={**os.environ, "REDIS_URL": url})
    try:
        client.predict({"price": 1.5})
        yield
    finally:
        process.terminate()
        process.wait()


@contextmanager
def served(client: Client) -> Iterator[int]:
    """Run the application in a thread; its port."""
    server = application(client)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


Ask = Callable[[dict[str, Any]], bool]  # asks about a record; tells whether the answer was right


def load(connected: Callable[[], AbstractContextManager[Ask]], n: int) -> dict[str, float]:
    """Ask from many threads, each with what `connected` gives it; return the failures and the times."""
    started = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as threads:
        found = list(threads.map(lambda thread: _requests(connected, n // THREADS, thread), range(THREADS)))
    seconds = time.perf_counter() - started
    times = [time for thread in found for time in thread if time is not None]
    n_sent = sum(map(len, found))
    p50, p99 = np.percentile(times, [50, 99]) * 1e3
    return {
        "requests": n_sent,
        "failures": n_sent - len(times),
        "per_second": round(n_sent / seconds),
        "p50_ms": round(float(p50), 2),
        "p99_ms": round(float(p99), 2),
    }


def _requests(connected: Callable[[], AbstractContextManager[Ask]], n: int, thread: int) -> list[float | None]:
    """Ask again and again; return the seconds that each answer took, None where there was none."""
    times: list[float | None] = []
    with connected() as ask:
        for i in range(n):
            started = time.perf_counter()
            is_right = ask({"price": i % 7 + 0.5, "city": f"c{thread % 5}"})
            times.append(time.perf_counter() - started if is_right else None)
    return times


@contextmanager
def over_http(port: int, path: str = "/", body: Callable[[Any], Any] = lambda record: record) -> Iterator[Ask]:
    """Ask over one connection, which is kept."""
    sending = http.client.HTTPConnection("127.0.0.1", port, timeout=90)

    def ask(record: dict[str, Any]) -> bool:
        sending.request("POST", path, json.dumps(body(record)), {"content-type": "application/json"})
        response = sending.getresponse()
        answer = json.loads(response.read())
        return response.status == 200 and 0.0 < answer["prediction"] < 1.0

    yield ask
    sending.close()


if __name__ == "__main__":
    main()
