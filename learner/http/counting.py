"""What the server counts about itself, as Prometheus reads it: requests and their durations, by route and never by model."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator

from learner import __version__
from learner.service.counting import BOUNDS, Histogram

__all__ = ["Counts"]


class Counts:
    """Requests by method, route and status, and their durations by method and route."""

    def __init__(self) -> None:
        self._requests: Counter[tuple[str, str, int]] = Counter()
        self._seconds: defaultdict[tuple[str, str], Histogram] = defaultdict(Histogram)
        self.n_under_way = 0

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered."""
        self._requests[method, route, status] += 1
        self._seconds[method, route].observe(seconds)

    def text(self) -> str:
        """Return the metrics in Prometheus's text format."""
        return "\n".join([*self._lines(), ""])

    def _lines(self) -> Iterator[str]:
        yield from _head("learner_build_info", "gauge", "The version.")
        yield f'learner_build_info{{version="{__version__}"}} 1'
        yield from _head("learner_http_requests_under_way", "gauge", "Requests that are not answered yet.")
        yield f"learner_http_requests_under_way {self.n_under_way}"
        yield from _head("learner_http_requests_total", "counter", "Requests answered.")
        for (method, route, status), n in sorted(self._requests.items()):
            yield f'learner_http_requests_total{{method="{method}",route="{route}",status="{status}"}} {n}'
        name = "learner_http_request_seconds"
        yield from _head(name, "histogram", "How long requests took, from their head until their answer.")
        for (method, route), histogram in sorted(self._seconds.items()):
            labels = f'method="{method}",route="{route}"'
            for bound, n in zip((*BOUNDS, "+Inf"), itertools.accumulate(histogram.counts), strict=True):
                yield f'{name}_bucket{{{labels},le="{bound}"}} {n}'
            yield f"{name}_sum{{{labels}}} {histogram.sum}"
            yield f"{name}_count{{{labels}}} {histogram.n}"


def _head(name: str, kind: str, text: str) -> Iterator[str]:
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"
