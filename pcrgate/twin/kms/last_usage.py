"""Remember when each key was last used; in memory only, because a write per Decrypt would cost too much."""

import threading
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """Hold one use of a key.

    Attributes:
        operation: API name.
        at_ms: milliseconds since 1970.
    """

    operation: str
    at_ms: int


class LastUsage:
    """Map key ARN to its last use since the twin began."""

    def __init__(self) -> None:
        self._uses: dict[str, Use] = {}
        self._lock = threading.Lock()

    def note(self, arn: str, operation: str, at_ms: int) -> None:
        """Remember a use."""
        with self._lock:
            self._uses[arn] = Use(operation=operation, at_ms=at_ms)

    def of(self, arn: str) -> Use | None:
        """Return the last use, or None."""
        with self._lock:
            return self._uses.get(arn)
