"""Count, under names that are all listed here: no secret, caller, session or artifact is ever a label.

Durations are not told: to whoever reads the metrics they would say what somebody else's request cost.
"""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

ROUTES: Final = (
    "artifacts", "enclaves", "evidence", "health", "invocations", "manifests", "metrics", "other", "receipts",
    "results", "sessions",
)  # fmt: skip
"""The values of the label ``route``."""

CLASSES: Final = ("2xx", "3xx", "4xx", "5xx")
"""The values of the label ``status``."""

ENDS: Final = ("done", "refused")
"""The values of the label ``end``."""


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

    def text(self) -> bytes:
        """Return all of it in Prometheus's text format."""
        return generate_latest(self._registry)


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
