"""Count, under names that are all listed here: no secret, caller, session or artifact is ever a label.

Durations are not told: to whoever reads the metrics they would say what somebody else's request cost.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

ROUTES: Final = (
    "artifacts", "enclaves", "evidence", "health", "invocations", "manifests", "metrics", "other", "receipts",
    "results", "sessions",
)  # fmt: skip
"""The values of the label ``route``."""

CLASSES: Final = ("2xx", "3xx", "4xx", "5xx")
"""The values of the label ``status``."""

ENDS: Final = ("done", "refused")
"""The values of the label ``end``."""

EVENTS: Final = (
    "busy", "connections", "connections_evicted", "connections_refused", "deadlines_missed", "documents",
    "frames_half", "frames_refused", "internal_errors", "invocations", "refusals", "releases", "requests",
    "sessions_ended", "sessions_opened", "workloads_failed",
)  # fmt: skip
"""The values of the label ``event``: what an enclave declares; whatever else it says is left out."""


class Metrics:
    """Hold the counters of one service."""

    def __init__(self) -> None:
        """Begin at zero, with every series there from the start."""
        self._registry: Final = CollectorRegistry()
        self._requests: Final = Counter(
            "pcrgate_requests", "Requests answered.", ("route", "status"), registry=self._registry
        )
        self._in_progress: Final = Gauge("pcrgate_requests_in_progress", "Requests begun.", registry=self._registry)
        self._invocations: Final = Counter(
            "pcrgate_invocations", "Invocations ended.", ("end",), registry=self._registry
        )
        self._artifacts: Final = Counter("pcrgate_artifacts", "Artifacts completed.", registry=self._registry)
        for route in ROUTES:
            for status in CLASSES:
                self._requests.labels(route, status)
        for end in ENDS:
            self._invocations.labels(end)

    def begun(self) -> None:
        """Count a request that begins."""
        self._in_progress.inc()

    def ended(self, route: str, status: int) -> None:
        """Count a request that ended.

        Args:
            route: one of ``ROUTES``; anything else counts as ``other``.
            status: HTTP status.
        """
        self._in_progress.dec()
        self._requests.labels(route if route in ROUTES else "other", f"{status // 100}xx").inc()

    def invocation(self, *, done: bool) -> None:
        """Count an invocation that ended."""
        self._invocations.labels("done" if done else "refused").inc()

    def artifact(self) -> None:
        """Count an artifact that is complete."""
        self._artifacts.inc()

    def text(self, enclave: Mapping[str, int] | None) -> bytes:
        """Return all of it in Prometheus's text format.

        Args:
            enclave: what the enclave counts, by name; None when it does not answer.
        """
        return generate_latest(self._registry) + generate_latest(_Told(enclave))


class _Told(Collector):
    """Give what the enclave said, for one answer; nothing of it is kept."""

    def __init__(self, counters: Mapping[str, int] | None) -> None:
        self._counters: Final = counters

    def collect(self) -> Iterator[Metric]:
        """Give whether it answers, and what it counts."""
        counters = self._counters
        yield GaugeMetricFamily("pcrgate_enclave_up", "Whether the enclave answers.", value=float(counters is not None))
        if counters is not None:
            told = CounterMetricFamily(
                "pcrgate_enclave_events", "Events in the enclave since its boot, rounded down.", labels=("event",)
            )
            for event in EVENTS:
                if event in counters:
                    told.add_metric((event,), counters[event])
            yield told


def route_of(path: str) -> str:
    """Return the label of a path: its first word after the version, never a name out of it."""
    words = path.strip("/").split("/")
    if words[0] in {"healthz", "readyz"}:
        return "health"
    if words[0] == "metrics":
        return "metrics"
    if len(words) == 4 and words[3] == "invocations":
        return "invocations"
    return words[1] if len(words) > 1 and words[0] == "v1" and words[1] in ROUTES else "other"
