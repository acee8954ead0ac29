"""Check several ES384 signatures at once: the library releases the interpreter lock, so two cores halve the wait.

Spec: RFC 9053, 2.1; FIPS 186-4, 6.4.
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA384

from pcrgate.errors import EvidenceError

ES384: Final = ECDSA(SHA384())
"""The one signature algorithm of certificates and documents."""

THREADS: Final = 2
"""Default number of threads, the caller's own counted, and the most: a cold document has five signatures."""


@dataclass(frozen=True, slots=True)
class SignatureClaim:
    """Claim that a key signed these bytes.

    Attributes:
        key: whose signature it is said to be, P-384.
        signature: DER ECDSA-Sig-Value.
        data: what is said to be signed.
        refusal: the error to raise when it is not so.
    """

    key: EllipticCurvePublicKey
    signature: bytes
    data: bytes
    refusal: EvidenceError


def verify_signatures(claims: Sequence[SignatureClaim], threads: int = THREADS) -> None:
    """Return once every claim holds; what was not checked, for whatever reason, does not hold.

    One helper a process takes claims from the caller, if it wakes in time; the caller waits for it only while it works
    on one. A process that was forked gets its own.

    Args:
        claims: in the order in which their refusals take precedence.
        threads: 1 to leave everything to the caller's thread.

    Raises:
        EvidenceError: the refusal of the first claim that does not hold.
    """
    batch = _Batch(claims)
    if threads > 1 and len(claims) > 1:
        _call_helper(batch)
    batch.work()
    if None in batch.verdicts:
        batch.left.wait()
    for claim, holds in zip(claims, batch.verdicts, strict=True):
        if holds is not True:
            raise claim.refusal


class _Batch:
    """Hold the claims of one call, open to the caller and the helper.

    Attributes:
        verdicts: whether each claim holds, None while nobody has said.
        left: set once the helper has nothing more to do with it.
    """

    __slots__ = ("_open", "left", "verdicts")

    def __init__(self, claims: Sequence[SignatureClaim]) -> None:
        self.verdicts: list[bool | None] = [None] * len(claims)
        self.left: Final = threading.Event()
        self._open: Final = deque(enumerate(claims))

    def work(self) -> None:
        """Check claims until none is open."""
        while True:
            try:
                index, claim = self._open.popleft()
            except IndexError:  # every claim is taken, by this thread or the other
                return
            try:
                claim.key.verify(claim.signature, claim.data, ES384)
            except InvalidSignature:
                self.verdicts[index] = False
            else:
                self.verdicts[index] = True


class _Helper(threading.Thread):
    """Sleep until there is a batch."""

    def __init__(self) -> None:
        super().__init__(name="pcrgate-signatures", daemon=True)
        self.batches: Final[SimpleQueue[_Batch]] = SimpleQueue()

    def run(self) -> None:
        """Work for as long as the process lives."""
        while True:
            batch = self.batches.get()
            try:
                batch.work()
            finally:
                batch.left.set()


_helpers: Final[list[_Helper]] = []
"""The helper, once there is one. Callers who find none at the same moment each start one, and the last stays in use."""


def _call_helper(batch: _Batch) -> None:
    """Hand a batch to the helper; where the system has no thread left, the caller does all the work."""
    if not _helpers or not _helpers[-1].is_alive():  # a fork copies the object, not the thread
        helper = _Helper()
        try:
            helper.start()
        except RuntimeError:
            return
        _helpers[:] = [helper]
    _helpers[-1].batches.put(batch)
