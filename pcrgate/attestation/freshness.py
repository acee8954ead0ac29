"""Refuse a nonce the second time.

Spec: RFC 9334, 10.2; facts checklist 19.
"""

import threading
from typing import Final

from pcrgate.errors import ErrorCode, StaleEvidenceError, UsageError
from pcrgate.units import NONCE_MIN_BYTES

SEEN_NONCES_MAX: Final = 65_536
"""Default bound of the store: at 200 documents a second, five minutes and a half; about 10 MB."""


class SeenNonces:
    """Remember the nonces of accepted documents while a replay of them could still be fresh. Threads may share it.

    A full store refuses, it does not forget: whoever could make it forget could replay.
    """

    def __init__(self, *, keep_s: int, max_nonces: int = SEEN_NONCES_MAX) -> None:
        """Keep each nonce for ``keep_s`` seconds: at least the maximum age plus the skew accepted.

        Raises:
            UsageError: ``usage-nonce`` when it would keep nothing.
        """
        if keep_s < 1 or max_nonces < 1:
            raise UsageError(ErrorCode.USAGE_NONCE, "a store of nonces keeps at least one for at least a second")
        self._keep_ms = keep_s * 1000
        self._max_nonces = max_nonces
        self._until_ms: dict[bytes, int] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._until_ms)

    def remember(self, nonce: bytes, now_ms: int) -> None:
        """Remember a nonce, or refuse it.

        Args:
            nonce: at least 16 bytes.
            now_ms: the caller's clock, milliseconds since the epoch.

        Raises:
            StaleEvidenceError: ``nonce-replayed``, also when the store is full of nonces still to be kept.
            UsageError: ``usage-nonce`` when it is too short to be unique.
        """
        if len(nonce) < NONCE_MIN_BYTES:
            raise UsageError(ErrorCode.USAGE_NONCE, f"a nonce has at least {NONCE_MIN_BYTES} bytes to be unique")
        with self._lock:
            if self._until_ms.get(nonce, now_ms) > now_ms:
                raise StaleEvidenceError(ErrorCode.NONCE_REPLAYED, "the nonce was seen before")
            if len(self._until_ms) >= self._max_nonces:
                self._until_ms = {seen: until for seen, until in self._until_ms.items() if until > now_ms}
                if len(self._until_ms) >= self._max_nonces:
                    raise StaleEvidenceError(
                        ErrorCode.NONCE_REPLAYED, f"the store holds {self._max_nonces} nonces and cannot tell a replay"
                    )
            self._until_ms[nonce] = now_ms + self._keep_ms
