"""Write a receipt for everything that was released or refused, and keep the latest for whoever collects them."""

import hashlib
import threading
from collections import deque
from dataclasses import replace
from typing import Final

from pcrgate.receipts.claims import Decision
from pcrgate.receipts.signer import Event, IssuedReceipt, ReceiptSigner
from pcrgate.units import Sha384
from pcrgate.wire.limits import RECEIPTS_MAX

KEPT_MAX: Final = 8_192
"""Receipts kept for collection, about 6 MB; whoever comes later sees the gap in their numbers."""

CODE_UNFORESEEN: Final = "internal"


class ReceiptBook:
    """Issue and keep receipts. Safe to share between threads.

    Attributes:
        policy_hash: SHA-384 of the key policy as KMS told it at boot, written into every receipt; None where it may not
            be read.
    """

    def __init__(self, signer: ReceiptSigner) -> None:
        """Take the signer of this boot."""
        self._signer: Final = signer
        self._lock: Final = threading.Lock()
        self._kept: Final[deque[IssuedReceipt]] = deque(maxlen=KEPT_MAX)
        self.policy_hash: Sha384 | None = None

    def write(self, event: Event, now_ms: int) -> bytes:
        """Return the receipt of an event, after it was appended."""
        with self._lock:
            issued = self._signer.issue(replace(event, policy_hash=self.policy_hash), now_ms=now_ms)
            self._kept.append(issued)
            return issued.receipt

    def refuse(self, message: bytes, code: str, now_ms: int) -> bytes:
        """Return the receipt of a refusal of something that no session vouches for.

        Args:
            message: what came.
            code: of the error.
            now_ms: the enclave's own time.
        """
        return self.write(Event(request_digest=plain_digest(message), decision=Decision.REFUSED, code=code), now_ms)

    def since(self, first: int) -> tuple[bytes, ...]:
        """Return up to 128 kept receipts in order, from the number ``first`` on."""
        with self._lock:
            found = [issued.receipt for issued in self._kept if issued.sequence >= first]
        return tuple(found[:RECEIPTS_MAX])


def plain_digest(message: bytes) -> Sha384:
    """Return the SHA-384 of what came from outside every session."""
    return Sha384(hashlib.sha384(message).digest())
