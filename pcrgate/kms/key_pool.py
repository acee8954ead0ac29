"""Give each KMS call a fresh recipient key; a pool makes some ahead, so that no call waits for prime numbers."""

import threading
from collections import deque
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Protocol, Self

from pcrgate.envelope.recipient import RECIPIENT_KEY_DEFAULT_BITS, RecipientKey
from pcrgate.errors import ErrorCode, UsageError

POOL_MAX_KEYS: Final = 256
"""Most keys kept ready: more would only lie about in memory."""


class RecipientKeys(Protocol):
    """Give recipient keys that nobody has seen before."""

    def take(self) -> RecipientKey:
        """Return a fresh key."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FreshKeys:
    """Make each key when it is asked for.

    Attributes:
        bits: 2048, 3072 or 4096.
    """

    bits: int = RECIPIENT_KEY_DEFAULT_BITS

    def take(self) -> RecipientKey:
        """Return a fresh key, tens of milliseconds later."""
        return RecipientKey.generate(self.bits)


class RecipientKeyPool:
    """Keep up to ``capacity`` keys ready, made by one background thread; each is given out once.

    An empty pool makes the key at once, as without a pool. Keys not taken are erased on close.
    """

    def __init__(self, *, capacity: int = 8, bits: int = RECIPIENT_KEY_DEFAULT_BITS) -> None:
        """Start filling.

        Args:
            capacity: 1 to 256.
            bits: 2048, 3072 or 4096.

        Raises:
            UsageError: ``usage-recipient-key`` for another capacity.
        """
        if not 1 <= capacity <= POOL_MAX_KEYS:
            raise UsageError(ErrorCode.USAGE_RECIPIENT_KEY, f"a pool keeps 1 to {POOL_MAX_KEYS} keys")
        self._capacity = capacity
        self._bits = bits
        self._keys: deque[RecipientKey] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._fill, name="recipient-key-pool", daemon=True)
        self._thread.start()

    def take(self) -> RecipientKey:
        """Return a key that nobody has seen before.

        Raises:
            UsageError: ``usage-recipient-key`` when the pool was closed.
        """
        with self._changed:
            if self._closed:
                raise UsageError(ErrorCode.USAGE_RECIPIENT_KEY, "the key pool was closed, expected it to be open")
            key = self._keys.popleft() if self._keys else None
            self._changed.notify_all()
        return RecipientKey.generate(self._bits) if key is None else key

    def ready(self) -> int:
        """Return how many keys are ready."""
        with self._changed:
            return len(self._keys)

    def wait_full(self, timeout_s: float) -> bool:
        """Wait until the pool is full, and return whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: len(self._keys) >= self._capacity, timeout_s)

    def close(self) -> None:
        """Stop the thread and erase the keys; closing twice is fine."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._thread.join()
        with self._changed:
            while self._keys:
                self._keys.popleft().erase()

    def _fill(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or len(self._keys) < self._capacity)
                if self._closed:
                    return
            key = RecipientKey.generate(self._bits)
            with self._changed:
                self._keys.append(key)
                self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
