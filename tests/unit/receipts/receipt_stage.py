"""A boot with a signer, and evidence of a software NSM that commits to it."""

import hashlib
from collections.abc import Mapping

from pcrgate.envelope.session_identity import BootKeys, VerifiedIdentity
from pcrgate.receipts.bundle import UnverifiedBundle
from pcrgate.receipts.claims import Decision
from pcrgate.receipts.signer import Event, IssuedReceipt, ReceiptSigner
from pcrgate.units import Sha384
from tests.unit.attestation.documents import NOW_MS, document
from tests.unit.envelope.session_stage import MANIFEST, appraised

SESSION = b"\5" * 16


def sha384(data: bytes) -> Sha384:
    return Sha384(hashlib.sha384(data).digest())


def event(name: str = "request", **changes: object) -> Event:
    values: dict[str, object] = {
        "request_digest": sha384(name.encode()),
        "decision": Decision.ACCEPTED,
        "result_digest": sha384(b"result of " + name.encode()),
        "agent_id": "agent-1",
        "session_id": SESSION,
        "workload": "validate",
        "secret_epochs": {"weights": 3},
        **changes,
    }
    return Event(**values)  # type: ignore[arg-type]


class Book:
    """One boot's receipts."""

    def __init__(self, count: int = 0) -> None:
        self.keys = BootKeys.generate(MANIFEST)
        self.identity: VerifiedIdentity = appraised(self.keys)
        self.signer = ReceiptSigner(self.keys)
        self.issued: list[IssuedReceipt] = [self.issue(f"request {number}") for number in range(count)]

    def issue(self, name: str = "request", *, now_ms: int = NOW_MS, **changes: object) -> IssuedReceipt:
        return self.signer.issue(event(name, **changes), now_ms=now_ms)

    def refuse(self, name: str = "request") -> IssuedReceipt:
        return self.issue(name, decision=Decision.REFUSED, code="session-hello", result_digest=None)

    @property
    def receipts(self) -> list[bytes]:
        return [issued.receipt for issued in self.issued]

    def bundle(
        self, receipts: list[bytes] | None = None, *, committed: Mapping[str, bytes | None] | None = None
    ) -> bytes:
        statement = self.keys.statement
        fields = {"user_data": statement.digest.digest, "public_key": statement.receipt_key, **(committed or {})}
        return UnverifiedBundle(
            document=document(None, **fields),
            identity=statement.encode(),
            receipts=tuple(self.receipts if receipts is None else receipts),
        ).encode()
