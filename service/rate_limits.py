"""Let each caller send so many requests a second, and some at once; whoever sends more is told when to come again."""

import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from pcrgate.errors import ErrorCode, ServiceError

CALLERS_MAX: Final = 4096
"""Most callers remembered: the one that was quiet for the longest is forgotten, and has a full bucket again."""


class RateExceededError(ServiceError):
    """A caller sent more than it may.

    Attributes:
        retry_after_s: whole seconds until it may again.
    """

    def __init__(self, retry_after_s: int) -> None:
        """Take when the caller may come again."""
        super().__init__(
            ErrorCode.SERVICE_RATE, f"too many requests of this token, expected the next in {retry_after_s} s"
        )
        self.retry_after_s: Final = retry_after_s


class RateLimits:
    """Hold a token bucket for each caller. Threads may share it."""

    def __init__(self, *, per_s: float, burst: int, clock: Callable[[], float]) -> None:
        """Begin with full buckets.

        Args:
            per_s: what flows into a bucket in a second.
            burst: what fits into it.
            clock: seconds, never going back.
        """
        self._per_s: Final = per_s
        self._burst: Final = float(burst)
        self._clock: Final = clock
        self._lock: Final = threading.Lock()
        self._buckets: Final[OrderedDict[str, tuple[float, float]]] = OrderedDict()

    def take(self, caller: str) -> None:
        """Take one request out of a caller's bucket.

        Raises:
            RateExceededError: ``service-rate``.
        """
        with self._lock:
            now = self._clock()
            level, since = self._buckets.pop(caller, (self._burst, now))
            level = min(self._burst, level + (now - since) * self._per_s)
            allowed = level >= 1
            self._buckets[caller] = (level - 1 if allowed else level, now)
            if len(self._buckets) > CALLERS_MAX:
                self._buckets.popitem(last=False)
        if not allowed:
            raise RateExceededError(math.ceil((1 - level) / self._per_s))
