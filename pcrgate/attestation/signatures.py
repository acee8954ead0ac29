"""Check several ES384 signatures at once: the library releases the interpreter lock, so two cores halve the wait.

Spec: RFC 9053, 2.1; FIPS 186-4, 6.4.
"""

import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA384

from pcrgate.errors import EvidenceError

ES384: Final = ECDSA(SHA384())
"""The one signature algorithm of certificates and documents."""

THREADS: Final = 2
"""Default number of threads, the caller's own counted: a cold document has five signatures, a warm one has one."""


_WORTH_A_THREAD: Final = 2
"""Claims a thread must find to be started: waking an idle core takes about as long as checking one."""


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

    Threads live for this call only: there is no pool that a fork could break. Below four claims none is started.

    Args:
        claims: in the order in which their refusals take precedence.
        threads: most threads to use, the caller's own counted.

    Raises:
        EvidenceError: the refusal of the first claim that does not hold.
    """
    open_claims = deque(enumerate(claims))
    valid = [False] * len(claims)

    def work() -> None:
        while True:
            try:
                index, claim = open_claims.popleft()
            except IndexError:  # every claim is taken, by this thread or another
                return
            try:
                claim.key.verify(claim.signature, claim.data, ES384)
            except InvalidSignature:
                continue
            valid[index] = True

    helpers = [
        threading.Thread(target=work, daemon=True) for _ in range(min(threads, len(claims) // _WORTH_A_THREAD) - 1)
    ]
    started = [helper for helper in helpers if _start(helper)]
    work()
    for helper in started:
        helper.join()
    for claim, holds in zip(claims, valid, strict=True):
        if not holds:
            raise claim.refusal


def _start(helper: threading.Thread) -> bool:
    """Start a helper; where the system has no thread left, the caller's own does all the work."""
    try:
        helper.start()
    except RuntimeError:
        return False
    return True
