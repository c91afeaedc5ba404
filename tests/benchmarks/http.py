"""Questions over HTTP beside the same over the wire: ``python -m tests.benchmarks.http [--json]``.

16 threads ask 2,000 times, each over a connection that it keeps: over HTTP of a process of ``learner serve``, and with one
`Client` on the wire. One worker answers both, on the embedded server. The runs come in pairs; ratios are medians over pairs.
The CPU time is that of the server's process, from /proc, an answered request each.

Caveats: the threads that ask take a processor themselves, and share two with the worker and the servers.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from learner import Client
from learner.service.store.embedded import temporary
from tests.benchmarks import Asked, Row
from tests.benchmarks.web import REQUESTS, WARM_UP, Ask, load, over_http, worker

PAIRS = 5
PATH = "/models/web/predict"


def main() -> None:
    """Run it, and print the figures."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.http", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    found = measure()
    print(json.dumps(found) if options.json else "  ".join(f"{name} {value:g}" for name, value in found.items()))


def measure(n: int = REQUESTS, n_pairs: int = PAIRS) -> dict[str, float]:
    """Return the figures of `n_pairs` pairs of `n` requests each."""
    with temporary() as url, worker(url), served(url) as (port, pid):
        client = Client("web", url, timeout=60)

        @contextmanager
        def on_the_wire() -> Iterator[Ask]:
            yield lambda record: bool(0.0 < client.predict(record) < 1.0)

        def over_the_web() -> Any:
            return over_http(port, PATH, lambda record: {"record": record})

        for each in (over_the_web, on_the_wire):
            load(each, WARM_UP)
        pairs, cpu = [], []
        for _ in range(n_pairs):
            before = cpu_seconds(pid)
            over = load(over_the_web, n)
            cpu.append((cpu_seconds(pid) - before) / over["requests"])
            pairs.append((over, load(on_the_wire, n)))
    ratios = [over["per_second"] / wire["per_second"] for over, wire in pairs]
    return {
        "requests": sum(over["requests"] for over, _ in pairs),
        "failures": sum(over["failures"] for over, _ in pairs),
        "http_per_second": statistics.median(over["per_second"] for over, _ in pairs),
        "wire_per_second": statistics.median(wire["per_second"] for _, wire in pairs),
        "ratio": round(statistics.median(ratios), 3),
        "cpu_ms": round(1e3 * statistics.median(cpu), 3),
    }


def page_rows(asked: Asked) -> Iterator[Row]:
    """Yield the rows of the page."""
    found = measure(*((WARM_UP, 1) if asked.quick else (REQUESTS, PAIRS)))
    over, wire = found["http_per_second"], found["wire_per_second"]
    yield Row(
        "questions over 16 connections to `learner serve`: failures of 10,000; a second, beside as many threads on the wire",
        f"{found['failures']:.0f}; {over:,.0f} / {wire:,.0f} = {found['ratio']:.2f}",
        "no failure",
    )
    yield Row("CPU time of `learner serve` for a question with its answer, ms", f"{found['cpu_ms']:.2f}")


@contextmanager
def served(url: str) -> Iterator[tuple[int, int]]:
    """Run ``learner serve`` as a process; its port and its number."""
    command = [sys.executable, "-m", "learner", "serve", "--listen", "0"]
    process = subprocess.Popen(command, env={**os.environ, "REDIS_URL": url}, stderr=subprocess.PIPE, text=True)
    try:
        found = re.search(r"url=http://[\d.]+:(\d+)", process.stderr.readline())  # type: ignore[union-attr]
        yield int(found[1]), process.pid  # type: ignore[index]
    finally:
        process.terminate()
        process.communicate()


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process took so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
