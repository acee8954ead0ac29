"""An agent for tests: appraises evidence, makes a session, signs actions, reads sealed answers and receipts."""

import hashlib
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from enclave.handshakes import GOODBYE
from enclave.workloads.validate import action_signed
from pcrgate.attestation.anchors import Roots
from pcrgate.attestation.appraisal import appraise
from pcrgate.attestation.cbor import decode, encode
from pcrgate.attestation.policy import EnclavePolicy, Equal, OneOf, ReferenceValue
from pcrgate.attestation.verifier import Live, verify
from pcrgate.envelope.session import OpenedRecord, SealedRecord
from pcrgate.envelope.session_agent import AgentHandshake, Established
from pcrgate.envelope.session_identity import VerifiedIdentity, parse_identity, verify_identity
from pcrgate.receipts.verification import VerifiedReceipt, verify_receipt
from pcrgate.units import Sha384
from pcrgate.wire import messages as wire
from tests.support.enclave_stage import AGENT, now_ms

Ask = Callable[[wire.Message, Any], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Hold an opened answer, its receipt and both records."""

    inner: Mapping[str, Any]
    receipt: VerifiedReceipt
    request: SealedRecord
    opened: OpenedRecord
    raw: wire.InvokeAnswer


class TestAgent:
    """Speak with one enclave."""

    __test__ = False

    def __init__(self, ask: Ask, *, roots: Roots, pcr0: Sha384, name: str = "one", key: Ed25519PrivateKey = AGENT):
        self.ask = ask
        self.roots = roots
        self.pcr0 = pcr0
        self.name = name
        self.key = key
        self.identity: VerifiedIdentity | None = None
        self.established: Established | None = None

    def appraised(self, nonce: bytes, answer: wire.EvidenceAnswer) -> VerifiedIdentity:
        """Return who the enclave is, or raise."""
        evidence = verify(answer.document, self.roots, Live(now_ms=now_ms()))
        policy = EnclavePolicy(
            pcr0=OneOf(values=(ReferenceValue(name="laptop", value=self.pcr0),)),
            nonce=Equal(value=nonce),
            user_data=Equal(value=hashlib.sha384(answer.identity).digest()),
            public_key=Equal(value=parse_identity(answer.identity).receipt_key),
        )
        appraise(evidence, policy)
        return verify_identity(answer.identity, user_data=evidence.user_data, public_key=evidence.public_key)

    def open(self) -> "TestAgent":
        """Appraise and make a session."""
        nonce = os.urandom(32)
        self.identity = self.appraised(nonce, self.ask(wire.EvidenceRequest(nonce=nonce), wire.EvidenceAnswer))
        handshake = self.handshake(nonce)
        offered = self.ask(wire.SessionOpen(hello=handshake.hello), wire.SessionOpenAnswer)
        self.established = handshake.finish(offered.response)
        self.ask(wire.SessionConfirm(ticket=self.established.ticket), wire.SessionConfirmAnswer)
        return self

    def handshake(self, nonce: bytes, resumes: bytes = b"") -> AgentHandshake:
        assert self.identity is not None
        return AgentHandshake(
            identity=self.identity,
            nonce=nonce,
            agent_id=self.name,
            grant_key=self.key,
            now_ms=now_ms(),
            resumes=resumes,
        )

    @property
    def session(self) -> Any:
        assert self.established is not None
        return self.established.session

    def seal(self, workload: str, request: bytes) -> SealedRecord:
        sealed: SealedRecord = self.session.seal(encode({"workload": workload, "request": request}), now_ms=now_ms())
        return sealed

    def invoke(self, workload: str, request: bytes) -> Answer:
        """Seal a request, have it carried out, open the answer."""
        record = self.seal(workload, request)
        return self.opened(record, self.ask(wire.Invoke(record=record.record), wire.InvokeAnswer))

    def opened(self, record: SealedRecord, answer: wire.InvokeAnswer) -> Answer:
        assert self.identity is not None
        opened = self.session.open(answer.record, now_ms=now_ms())
        inner: Any = decode(opened.plaintext)
        return Answer(
            inner=inner,
            receipt=verify_receipt(answer.receipt, self.identity),
            request=record,
            opened=opened,
            raw=answer,
        )

    def action(self, tool: str, arguments: dict[str, Any], purpose: str | None, **changes: Any) -> bytes:
        """Return a signed action."""
        fields: dict[int | str, Any] = {
            "agent": self.name,
            "tool": tool,
            "arguments": arguments,
            "purpose": purpose,
            "nonce": os.urandom(16),
            "expires_ms": now_ms() + 60_000,
        }
        fields.update(changes)
        raw = encode(fields)
        return encode({"action": raw, "signature": self.key.sign(action_signed(raw))})

    def goodbye(self) -> bytes:
        """End the session and return the receipt."""
        record = self.session.seal(GOODBYE, now_ms=now_ms())
        answer = self.ask(wire.SessionEnd(record=record.record), wire.SessionEndAnswer)
        receipt: bytes = answer.receipt
        return receipt


def query(rows: int = 10) -> tuple[str, dict[str, Any], str]:
    """Return an action that both agents may do."""
    return "database.query", {"table": "orders", "rows": rows}, "report"


def payment(units: int = 100, to: str = "DE00") -> tuple[str, dict[str, Any], str]:
    """Return an action that agent one may do."""
    return "payments.transfer", {"to": to, "amount": {"currency": "EUR", "minor_units": units}}, "invoice"


def vector(*values: float) -> bytes:
    """Return a request to the adding model."""
    data = struct.pack(f"<{len(values)}f", *values)
    return encode({"model": "adder", "inputs": {"x": {"type": "float32", "shape": [len(values)], "data": data}}})


def floats(tensor: Mapping[str, Any]) -> tuple[float, ...]:
    """Return the numbers of a float tensor."""
    data: bytes = tensor["data"]
    return struct.unpack(f"<{len(data) // 4}f", data)
