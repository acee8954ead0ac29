"""The twin's clock: the machine's, shifted on request, or frozen at one instant until told to advance."""

import threading
import time
from datetime import UTC, datetime
from typing import Self

from pcrgate.errors import ErrorCode, UsageError


class TwinClock:
    """Tell the twin's time in milliseconds; calling the clock is the same as :meth:`now_ms`.

    Everything the twin judges by time asks this clock: the age of documents, key deletion, propagation of policy
    changes. Signatures are the exception, as clients sign with the machine's clock.
    """

    def __init__(self, *, frozen_ms: int | None = None) -> None:
        self._lock = threading.Lock()
        self._frozen_ms = frozen_ms
        self._shift_ms = 0

    @classmethod
    def running(cls) -> Self:
        """Follow the machine's clock."""
        return cls()

    @classmethod
    def frozen(cls, at_ms: int) -> Self:
        """Stand still at ``at_ms`` (Unix time in milliseconds) until advanced."""
        return cls(frozen_ms=at_ms)

    @property
    def is_frozen(self) -> bool:
        """Whether time only moves by :meth:`advance`."""
        return self._frozen_ms is not None

    def now_ms(self) -> int:
        """Return the Unix time in milliseconds."""
        with self._lock:
            base = self._frozen_ms if self._frozen_ms is not None else time.time_ns() // 1_000_000
            return base + self._shift_ms

    def advance(self, seconds: float) -> int:
        """Move time forward and return the new Unix time in milliseconds.

        Raises:
            UsageError: ``usage-time`` when ``seconds`` is negative: nothing in KMS has to bear time running backwards.
        """
        if not 0 <= seconds <= _MAX_ADVANCE_S:
            raise UsageError(ErrorCode.USAGE_TIME, f"the clock advances by 0 to {_MAX_ADVANCE_S} seconds")
        with self._lock:
            self._shift_ms += round(seconds * 1000)
        return self.now_ms()

    def now(self) -> datetime:
        """Return the time as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.now_ms() / 1000, UTC)

    def __call__(self) -> int:
        """Return the Unix time in milliseconds."""
        return self.now_ms()


_MAX_ADVANCE_S = 10 * 366 * 24 * 3600
"""Furthest jump, in seconds: ten years, longer than any deletion window or rotation period, short of overflow."""
