"""Count what may be known outside, and nothing else: a fixed list of names, values in coarse buckets."""

import threading
from enum import Enum
from typing import Final


class Counter(Enum):
    """List every counter that may leave the enclave; none names an agent, a secret or a workload."""

    CONNECTIONS = "connections"
    CONNECTIONS_EVICTED = "connections_evicted"
    CONNECTIONS_REFUSED = "connections_refused"
    FRAMES_REFUSED = "frames_refused"
    FRAMES_HALF = "frames_half"
    DEADLINES_MISSED = "deadlines_missed"
    BUSY = "busy"
    REQUESTS = "requests"
    REFUSALS = "refusals"
    INTERNAL_ERRORS = "internal_errors"
    DOCUMENTS = "documents"
    RELEASES = "releases"
    SESSIONS_OPENED = "sessions_opened"
    SESSIONS_ENDED = "sessions_ended"
    INVOCATIONS = "invocations"
    WORKLOADS_FAILED = "workloads_failed"


def bucket(value: int) -> int:
    """Return the largest power of two that is not above the value, and 0 for 0: how much, not exactly how often."""
    return 1 << (value.bit_length() - 1) if value else 0


class Counters:
    """Count; threads may share it."""

    def __init__(self) -> None:
        """Begin at zero."""
        self._lock: Final = threading.Lock()
        self._values: Final = dict.fromkeys(Counter, 0)

    def add(self, counter: Counter) -> None:
        """Count one more."""
        with self._lock:
            self._values[counter] += 1

    def exact(self, counter: Counter) -> int:
        """Return a value as it is; for use inside only."""
        with self._lock:
            return self._values[counter]

    def declared(self) -> dict[str, int]:
        """Return what may leave: every counter by name, its value as a bucket."""
        with self._lock:
            return {counter.value: bucket(value) for counter, value in self._values.items()}
