"""Speak with one appraised enclave: make a session, seal requests, open results, match receipts, end it.

What the parent hands over is believed only as far as a key of the enclave speaks for it.
Spec: docs/protocol.md, "Handshake", "Records" and "Receipts".
"""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from pcrgate.attestation.cbor import encode
from pcrgate.client.attesting import Attested
from pcrgate.client.exchange import Flow, Reply, Request, fields_of, octets, refusal_of, to_base64
from pcrgate.client.ledger import Ledger
from pcrgate.client.outcome import Outcome, PendingError, WorkloadRefusalError
from pcrgate.client.work import read_map
from pcrgate.envelope.session import Role
from pcrgate.envelope.session_agent import AgentHandshake, Established, GrantKey
from pcrgate.envelope.session_fields import pack
from pcrgate.envelope.session_limits import SessionLimits
from pcrgate.envelope.session_signature import verify_es384
from pcrgate.errors import CborError, ClientError, ErrorCode, ReceiptError
from pcrgate.receipts.claims import Decision
from pcrgate.receipts.verification import VerifiedReceipt, match_receipt
from pcrgate.units import Sha384

GOODBYE: Final = b"pcrgate/goodbye/v1"
"""Content of the record that ends a session."""

REPORT_LABEL: Final = b"pcrgate/report/v1"
"""Domain of the enclave's signature over a workload's report."""

WAIT_S: Final = 30
"""How long the service is asked to wait with an answer for a result."""

POLL_LEAST_S: Final = 0.25
"""Shortest pause before a result that was pending is asked for again, whatever the service says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sent:
    """Hold what was sealed into a request."""

    sequence: int
    content: bytes = field(repr=False)


class Conversation:
    """Hold one session, and what was asked in it. Threads may share it."""

    def __init__(self, attested: Attested, established: Established, agent_id: str, ledger: Ledger) -> None:
        """Take a session that was confirmed."""
        self._attested: Final = attested
        self._established: Final = established
        self._agent_id: Final = agent_id
        self._ledger: Final = ledger
        self._lock: Final = threading.Lock()
        self._sent: Final[dict[str, _Sent]] = {}
        self._outcomes: Final[dict[str, Outcome | WorkloadRefusalError]] = {}

    @property
    def session_id(self) -> bytes:
        """The session's id, 16 bytes."""
        return self._established.session_id

    @property
    def ledger(self) -> Ledger:
        """The agent's receipts of the boot."""
        return self._ledger

    def knows(self, result_id: str) -> bool:
        """Whether a result is of this conversation."""
        with self._lock:
            return result_id in self._sent or result_id in self._outcomes

    def forget(self) -> None:
        """Wipe the keys, without a word to anybody: results that are still to come cannot be opened any more."""
        self._established.session.end()

    def invoke(self, workload: str, request: bytes, *, now_ms: int, deadline_s: float) -> Flow[Outcome]:
        """Return what came of a request.

        Args:
            workload: its name.
            request: as the workload defines it.
            now_ms: the agent's clock, milliseconds since the epoch.
            deadline_s: how long to wait for the result.

        Raises:
            WorkloadRefusalError: with the enclave's code, when it refused.
            RemoteRefusalError: with the service's code; whether the enclave saw the request is not known then.
            PendingError: ``client-pending``.
            ReceiptError: when the receipt is not about this request and result.
            SessionError: when the record is not the enclave's.
        """
        content = encode({"workload": workload, "request": request})
        sealed = self._established.session.seal(content, now_ms=now_ms)
        reply = yield Request(
            method="POST",
            path=f"/v1/sessions/{self.session_id.hex()}/invocations",
            body={"record": to_base64(sealed.record)},
            # The same record has one effect, however often it comes; so it may be sent again.
            headers={"Idempotency-Key": secrets.token_hex(16), "Prefer": f"wait={_wait_s(deadline_s)}"},
            repeatable=True,
        )
        answer = fields_of(reply, "result_id", "state")
        result_id = _result_id(answer["result_id"])
        with self._lock:
            if result_id in self._sent or result_id in self._outcomes:
                raise ReceiptError(
                    ErrorCode.RECEIPT_MISMATCH, "the result is that of an earlier request, expected a new one"
                )
            self._sent[result_id] = _Sent(sequence=sealed.sequence, content=content)
        return (yield from self._until_ended(result_id, reply, answer, now_ms, deadline_s))

    def result(self, result_id: str, *, now_ms: int, deadline_s: float) -> Flow[Outcome]:
        """Return what came of an earlier request of this session.

        Raises:
            ClientError: ``client-answer`` for an id that is not of this session.
            PcrgateError: as :meth:`invoke`.
        """
        with self._lock:
            ended = self._outcomes.get(result_id)
            known = result_id in self._sent
        if isinstance(ended, Outcome):
            return ended
        if ended is not None:
            raise ended
        if not known:
            raise ClientError(ErrorCode.CLIENT_ANSWER, "no such result in this session, expected an id of one")
        reply = yield _ask_result(result_id, deadline_s)
        return (yield from self._until_ended(result_id, reply, fields_of(reply, "state"), now_ms, deadline_s))

    def _until_ended(
        self, result_id: str, reply: Reply, answer: dict[str, Any], now_ms: int, deadline_s: float
    ) -> Flow[Outcome]:
        end = time.monotonic() + deadline_s
        while answer["state"] == "pending":
            left = end - time.monotonic()
            if left <= 0:
                raise PendingError(result_id)
            pause_s = min(max(reply.retry_after_s or 0.0, POLL_LEAST_S), left)
            reply = yield _ask_result(result_id, left - pause_s, pause_s)
            answer = fields_of(reply, "state")
        if answer["state"] == "done":
            return self._opened(result_id, answer, now_ms)
        problem = answer.get("problem")
        raise refusal_of({**(problem if type(problem) is dict else {}), "receipt": answer.get("receipt")})

    def _opened(self, result_id: str, answer: dict[str, Any], now_ms: int) -> Outcome:
        record, receipt = octets(answer.get("record"), "record"), octets(answer.get("receipt"), "receipt")
        with self._lock:
            ended = self._outcomes.get(result_id)
            if ended is None:
                ended = self._judged(result_id, record, receipt, now_ms)
                self._outcomes[result_id] = ended
                del self._sent[result_id]
        if isinstance(ended, Outcome):
            return ended
        raise ended

    def _judged(self, result_id: str, record: bytes, receipt: bytes, now_ms: int) -> Outcome | WorkloadRefusalError:
        sent, session = self._sent[result_id], self._established.session
        # (1) sealed by the enclave, in this session, on this boot, for this very request
        opened = session.open(record, now_ms=now_ms)
        if opened.answers != sent.sequence:
            raise ReceiptError(ErrorCode.RECEIPT_MISMATCH, "the result answers another request than the one sent")
        # (2) the receipt is authentic, and fits the others
        verified = self._ledger.take(receipt)
        # (3) it is about this request, and about this result or refusal
        refused = _refusal_in(opened.plaintext)
        if refused is not None:
            decision = self._matched(verified, sent, sent.sequence, None)
            if decision is not Decision.REFUSED or verified.claims.observed.code != refused[0].code:
                raise ReceiptError(ErrorCode.RECEIPT_MISMATCH, "the receipt tells another end than the record")
            return WorkloadRefusalError(*refused, verified)
        inner = read_map(opened.plaintext, {"result", "report_signature", "repeats"})
        result, signature, repeats = inner["result"], inner["report_signature"], inner["repeats"]
        if not isinstance(result, bytes) or not isinstance(signature, bytes | None):
            raise ClientError(ErrorCode.CLIENT_ANSWER, "the content of a record is of another type")
        first = repeats if type(repeats) is int else sent.sequence
        if self._matched(verified, sent, first, result) is not Decision.ACCEPTED:
            raise ReceiptError(ErrorCode.RECEIPT_MISMATCH, "the receipt tells another end than the record")
        # (4) a report carries the attested key's signature, for whoever is shown it
        if signature is not None:
            verify_es384(
                self._attested.identity.receipt_key,
                signature,
                pack(REPORT_LABEL, result),
                ReceiptError(ErrorCode.RECEIPT_SIGNATURE, "the report is not signed by the attested key"),
            )
        return Outcome(result=result, receipt=verified, report_signature=signature, result_id=result_id)

    def _matched(self, receipt: VerifiedReceipt, sent: _Sent, sequence: int, result: bytes | None) -> Decision:
        session = self._established.session
        return match_receipt(
            receipt,
            request_digest=session.content_digest(Role.AGENT, sequence, sent.content),
            result_digest=None if result is None else session.content_digest(Role.ENCLAVE, sequence, result),
            session_id=self.session_id,
            agent_id=self._agent_id,
        )

    def end(self, *, now_ms: int) -> Flow[VerifiedReceipt]:
        """End the session, wipe its keys, and return the enclave's receipt.

        Raises:
            PcrgateError: the refusal; the keys are wiped all the same.
        """
        session = self._established.session
        try:
            sealed = session.seal(GOODBYE, now_ms=now_ms)
            digest = session.content_digest(Role.AGENT, sealed.sequence, GOODBYE)
        finally:
            session.end()
        reply = yield Request(
            method="DELETE",
            path=f"/v1/sessions/{self.session_id.hex()}",
            body={"record": to_base64(sealed.record)},
        )
        receipt = self._ledger.take(octets(fields_of(reply, "receipt")["receipt"], "receipt"))
        _accepted(receipt, digest, self.session_id, self._agent_id)
        return receipt


def conversing(
    attested: Attested,
    ledger: Ledger,
    *,
    agent_id: str,
    key: GrantKey,
    limits: SessionLimits | None,
    now_ms: Callable[[], int],
    resumes: bytes = b"",
) -> Flow[Conversation]:
    """Return a session with an enclave that was appraised; its evidence is used up.

    Args:
        attested: fresh.
        ledger: of the boot.
        agent_id: the agent's name in the manifest.
        key: its Ed25519 key.
        limits: what to ask for; the most there is when None.
        now_ms: the agent's clock, milliseconds since the epoch.
        resumes: id of a session of another boot to go on with, 16 bytes; empty for a new one.

    Raises:
        SessionError: when the answer is not the appraised enclave's.
        ReceiptError: when its receipts are not about this handshake.
        RemoteRefusalError: with the service's code.
    """
    handshake = AgentHandshake(
        identity=attested.identity,
        nonce=attested.nonce,
        agent_id=agent_id,
        grant_key=key,
        now_ms=now_ms(),
        limits=limits,
        resumes=resumes,
    )
    body = {"hello": to_base64(handshake.hello), **({"resumes": resumes.hex()} if resumes else {})}
    reply = yield Request(method="POST", path="/v1/sessions", body=body)
    answer = fields_of(reply, "response", "receipt")
    established = handshake.finish(octets(answer["response"], "response"))
    released = ledger.take(octets(answer["receipt"], "receipt"))
    _accepted(released, _digest(handshake.hello), established.session_id, agent_id)
    reply = yield Request(
        method="PUT",
        path=f"/v1/sessions/{established.session_id.hex()}",
        body={"ticket": to_base64(established.ticket)},
    )
    confirmed = ledger.take(octets(fields_of(reply, "receipt")["receipt"], "receipt"))
    _accepted(confirmed, _digest(established.ticket), established.session_id, agent_id)
    return Conversation(attested, established, agent_id, ledger)


def _accepted(receipt: VerifiedReceipt, digest: Sha384, session_id: bytes, agent_id: str) -> None:
    decision = match_receipt(
        receipt, request_digest=digest, result_digest=None, session_id=session_id, agent_id=agent_id
    )
    if decision is not Decision.ACCEPTED:
        raise ReceiptError(ErrorCode.RECEIPT_MISMATCH, "the receipt tells of a refusal, expected an acceptance")


def _refusal_in(plaintext: bytes) -> tuple[ErrorCode, str] | None:
    """Return code and detail of a refusal that the enclave sealed, or None for a result."""
    try:
        problem = read_map(plaintext, {"problem"})["problem"]
    except (ClientError, CborError):
        return None
    if not isinstance(problem, dict):
        raise ClientError(ErrorCode.CLIENT_ANSWER, "a problem is not a map")
    refusal = refusal_of({str(name): value for name, value in problem.items()})
    return refusal.code, refusal.message


def _ask_result(result_id: str, wait_s: float, pause_s: float = 0.0) -> Request:
    headers = {"Prefer": f"wait={_wait_s(wait_s)}"}
    return Request(method="GET", path=f"/v1/results/{result_id}", headers=headers, repeatable=True, pause_s=pause_s)


def _wait_s(deadline_s: float) -> int:
    return max(0, min(WAIT_S, int(deadline_s)))


def _result_id(value: Any) -> str:
    if type(value) is not str or not 1 <= len(value) <= 64 or not value.isalnum() or not value.isascii():
        raise ClientError(ErrorCode.CLIENT_ANSWER, "result_id is not 1 to 64 letters and digits")
    return value


def _digest(message: bytes) -> Sha384:
    return Sha384(hashlib.sha384(message).digest())
