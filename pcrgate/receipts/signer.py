"""Issue the receipts of one boot, each after the one before it."""

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from pcrgate.envelope.session_identity import BootKeys
from pcrgate.receipts.claims import Attested, Claims, Decision, HostClaimed, Observed
from pcrgate.receipts.envelope import sign_receipt
from pcrgate.receipts.wire import encode_claims
from pcrgate.units import Sha384


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Hold what became of one request, accepted or refused.

    Attributes:
        request_digest: from ``Session.content_digest``, or the SHA-384 of what came when no session opened it.
        decision: what became of it.
        code: the error code of a refusal.
        result_digest: from ``Session.content_digest``.
        agent_id: whose grant key was verified.
        session_id: 16 bytes.
        workload: which workload was asked.
        secret_epochs: epochs of the secrets that took part, by name.
        policy_hash: SHA-384 of the live key policy.
        host_claimed: what the parent said.
    """

    request_digest: Sha384
    decision: Decision
    code: str | None = None
    result_digest: Sha384 | None = None
    agent_id: str | None = None
    session_id: bytes | None = None
    workload: str | None = None
    secret_epochs: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    policy_hash: Sha384 | None = None
    host_claimed: HostClaimed = field(default_factory=HostClaimed)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedReceipt:
    """Hold a receipt that was issued.

    Attributes:
        sequence: its number in the boot.
        receipt: the signed bytes.
        digest: SHA-384 of them, which the next receipt names.
    """

    sequence: int
    receipt: bytes
    digest: Sha384


class ReceiptSigner:
    """Chain receipts under the attested receipt key. Threads may share it; they take turns."""

    def __init__(self, boot: BootKeys) -> None:
        """Begin a chain: the first receipt follows the identity statement."""
        self._key: Final = boot.receipt_key
        self._statement: Final = boot.statement
        self._identity: Final = boot.statement.digest
        self._lock: Final = threading.Lock()
        self._previous = self._identity
        self._sequence = 0
        self._issued_s = 0

    def issue(self, event: Event, *, now_ms: int) -> IssuedReceipt:
        """Return the next receipt.

        Args:
            event: what to say.
            now_ms: the enclave's own time, milliseconds since the epoch; receipts never go back behind the last.

        Raises:
            UsageError: ``usage-receipt`` for fields that cannot be meant; no number is used up then.
        """
        attested = Attested(
            boot_id=self._statement.boot_id,
            identity=self._identity,
            manifest_digest=self._statement.manifest_digest,
            secret_epochs=event.secret_epochs,
        )
        with self._lock:
            issued_s = max(self._issued_s, now_ms // 1000)
            observed = Observed(
                issued_s=issued_s,
                sequence=self._sequence + 1,
                previous=self._previous,
                request_digest=event.request_digest,
                result_digest=event.result_digest,
                decision=event.decision,
                code=event.code,
                agent_id=event.agent_id,
                session_id=event.session_id,
                workload=event.workload,
                policy_hash=event.policy_hash,
            )
            claims = Claims(attested=attested, observed=observed, host_claimed=event.host_claimed)
            receipt = sign_receipt(encode_claims(claims), self._key)
            self._previous = Sha384(hashlib.sha384(receipt).digest())
            self._sequence += 1
            self._issued_s = issued_s
            return IssuedReceipt(sequence=self._sequence, receipt=receipt, digest=self._previous)
