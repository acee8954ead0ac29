"""Keep the enclave's own time: the module's timestamp and a monotonic clock; nobody outside is asked.

Every document that the module makes carries its time. Between two documents the monotonic clock counts on, so time
never goes back, and a pause of the whole enclave shows at the next document.
"""

import threading
import time
from collections.abc import Callable
from typing import Final

from pcrgate.errors import ErrorCode, NsmError

SKEW_MAX_MS: Final = 60_000
"""How far the module's time may lie behind our own before something is wrong: oscillators differ by far less."""

Monotonic = Callable[[], int]


def monotonic_ms() -> int:
    """Return milliseconds of a clock that nobody can set."""
    return time.monotonic_ns() // 1_000_000


class OwnClock:
    """Tell the time. Safe to share between threads."""

    def __init__(self, timestamp_ms: int, *, monotonic: Monotonic = monotonic_ms) -> None:
        """Begin at the time of the first document.

        Args:
            timestamp_ms: the document's, milliseconds since the epoch.
            monotonic: counts milliseconds.
        """
        self._lock: Final = threading.Lock()
        self._monotonic: Final = monotonic
        self._anchor_ms = timestamp_ms
        self._counted_from = monotonic()

    def now_ms(self) -> int:
        """Return milliseconds since the epoch, never less than before."""
        with self._lock:
            return self._anchor_ms + self._monotonic() - self._counted_from

    def observe(self, timestamp_ms: int) -> None:
        """Take the time of a newer document: forward at once, never back.

        Raises:
            NsmError: ``enclave-clock`` when the module's time lies more than 60 s behind.
        """
        with self._lock:
            now_ms = self._anchor_ms + self._monotonic() - self._counted_from
            if timestamp_ms < now_ms - SKEW_MAX_MS:
                raise NsmError(
                    ErrorCode.ENCLAVE_CLOCK, f"the module's time went back by {now_ms - timestamp_ms} ms, limit 60000"
                )
            if timestamp_ms > now_ms:
                self._anchor_ms, self._counted_from = timestamp_ms, self._monotonic()
