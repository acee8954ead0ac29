"""Carry out sealed requests: open, find the workload, hold it to the manifest, seal the result, write the receipt.

A request inside a record is CBOR ``{"workload": text, "request": bytes}``. The answer inside a record is CBOR of
``{"result": bytes, "report_signature": bytes or null, "repeats": int or null}`` or ``{"problem": {"code", "detail"}}``.
Spec: docs/enclave.md, "Invocations".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from enclave.answer_cache import AnswerCache
from enclave.clock import OwnClock
from enclave.counters import Counter, Counters
from enclave.rates import INVOCATION_RATE, AgentRates
from enclave.receipt_book import CODE_UNFORESEEN, ReceiptBook, plain_digest
from enclave.sessions import SessionTable
from enclave.workloads.contract import Invocation, Outcome, StartedWorkload, malformed
from pcrgate.attestation.cbor import CborValue, decode, encode
from pcrgate.envelope.session import OpenedRecord, Role, Session, record_digest, record_session
from pcrgate.envelope.session_fields import pack
from pcrgate.envelope.session_identity import BootKeys
from pcrgate.envelope.session_signature import sign_es384
from pcrgate.errors import CborError, ErrorCode, PcrgateError
from pcrgate.manifest.verification import VerifiedManifest
from pcrgate.receipts.claims import Decision
from pcrgate.receipts.signer import Event
from pcrgate.units import Sha384
from pcrgate.wire.messages import Invoke, InvokeAnswer
from pcrgate.wire.problems import problem_of

REPORT_LABEL: Final = b"pcrgate/report/v1"
"""Domain of the receipt key's signature over a workload's report."""

ANSWERS_MAX: Final = 4_096
"""Most answers kept for records that come again."""

ANSWERS_MAX_BYTES: Final = 32 << 20
"""Most memory for them."""

EFFECTS_MAX: Final = 16_384
"""Most effects kept for requests that come again in another record."""

EFFECTS_MAX_BYTES: Final = 32 << 20
"""Most memory for them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Effect:
    """Hold what a request led to, to be told again.

    Attributes:
        answer: the answer inside the record.
        receipt: of the request that had the effect.
        session_id: of that request.
        sequence: of that request.
    """

    answer: dict[int | str, CborValue]
    receipt: bytes
    session_id: bytes
    sequence: int


class Invocations:
    """Carry out requests on one boot; threads may share it."""

    def __init__(
        self,
        *,
        boot: BootKeys,
        manifest: VerifiedManifest,
        workloads: Mapping[str, StartedWorkload],
        once: frozenset[str],
        sessions: SessionTable,
        receipts: ReceiptBook,
        clock: OwnClock,
        counters: Counters,
    ) -> None:
        """Take what the requests need.

        Args:
            boot: signs reports.
            manifest: grants and rules.
            workloads: started, by name.
            once: names of those that do the same request only once.
            sessions: the open ones.
            receipts: where everything is written.
            clock: the enclave's own.
            counters: what is counted.
        """
        self._boot: Final = boot
        self._manifest: Final = manifest
        self._workloads: Final = workloads
        self._once: Final = once
        self._sessions: Final = sessions
        self._receipts: Final = receipts
        self._clock: Final = clock
        self._counters: Final = counters
        self._rates: Final = AgentRates(INVOCATION_RATE)
        self._answers: Final = AnswerCache[Sha384, InvokeAnswer](
            entries_max=ANSWERS_MAX,
            bytes_max=ANSWERS_MAX_BYTES,
            size=lambda answer: len(answer.record) + len(answer.receipt),
        )
        self._effects: Final = AnswerCache[tuple[str, str, Sha384], _Effect](
            entries_max=EFFECTS_MAX,
            bytes_max=EFFECTS_MAX_BYTES,
            size=lambda effect: len(encode(effect.answer)) + len(effect.receipt),
            keep=lambda effect: "result" in effect.answer,
        )

    def invoke(self, message: Invoke) -> InvokeAnswer:
        """Return the sealed answer to a sealed request; the same record again gets the same answer.

        Raises:
            SessionError: when no session opens the record.
        """
        session = self._sessions.find(record_session(message.record))
        return self._answers.once(record_digest(message.record), lambda: self._open_and_answer(session, message.record))

    def _open_and_answer(self, session: Session, record: bytes) -> InvokeAnswer:
        opened = session.open(record, now_ms=self._clock.now_ms())
        self._counters.add(Counter.INVOCATIONS)
        try:
            self._rates.take(session.agent_id, self._clock.now_ms())
            name, request = parse_request(opened.plaintext)
        except PcrgateError as error:
            effect = self._refused(session, opened, None, error)
        else:
            if name in self._once:
                key = (session.agent_id, name, plain_digest(request))
                effect = self._effects.once(key, lambda: self._carried_out(session, opened, name, request))
            else:
                effect = self._carried_out(session, opened, name, request)
        answer = dict(effect.answer)
        if "result" in answer and (effect.session_id, effect.sequence) != (session.session_id, opened.sequence):
            answer["repeats"] = effect.sequence
        sealed = session.seal(encode(answer), now_ms=self._clock.now_ms(), answers=opened.sequence)
        return InvokeAnswer(record=sealed.record, receipt=effect.receipt)

    def _carried_out(self, session: Session, opened: OpenedRecord, name: str, request: bytes) -> _Effect:
        try:
            outcome = self._run(session, name, request)
        except PcrgateError as error:
            return self._refused(session, opened, name, error)
        except Exception:  # noqa: BLE001 - a workload crashed: contained, told, written down, nothing of it shown
            self._counters.add(Counter.WORKLOADS_FAILED)
            failed = PcrgateError(ErrorCode.WORKLOAD_FAILED, "the workload ended in an error of its own")
            return self._refused(session, opened, name, failed)
        signature = None
        if outcome.report is not None:
            signature = sign_es384(self._boot.receipt_key, pack(REPORT_LABEL, outcome.report))
        receipt = self._receipts.write(
            Event(
                request_digest=session.content_digest(Role.AGENT, opened.sequence, opened.plaintext),
                result_digest=session.content_digest(Role.ENCLAVE, opened.sequence, outcome.result),
                decision=Decision.ACCEPTED,
                agent_id=session.agent_id,
                session_id=session.session_id,
                workload=name,
                secret_epochs=dict(outcome.secrets),
            ),
            self._clock.now_ms(),
        )
        return _Effect(
            answer={"result": outcome.result, "report_signature": signature, "repeats": None},
            receipt=receipt,
            session_id=session.session_id,
            sequence=opened.sequence,
        )

    def _run(self, session: Session, name: str, request: bytes) -> Outcome:
        workload = self._workloads.get(name)
        if workload is None:
            raise PcrgateError(ErrorCode.WORKLOAD_UNKNOWN, "no such workload in this enclave")
        now_ms = self._clock.now_ms()
        manifest = self._manifest.manifest
        agent = manifest.agent(session.agent_id)
        return workload.carry_out(
            Invocation(
                request=request,
                agent=agent.name,
                agent_key=agent.public_key,
                grant=manifest.grant(agent.name, workload=name, now_ms=now_ms),
                rules=manifest.rules_of(name),
                manifest_digest=self._manifest.digest,
                now_ms=now_ms,
            )
        )

    def _refused(self, session: Session, opened: OpenedRecord, name: str | None, error: PcrgateError) -> _Effect:
        self._counters.add(Counter.REFUSALS)
        problem = problem_of(error)
        receipt = self._receipts.write(
            Event(
                request_digest=session.content_digest(Role.AGENT, opened.sequence, opened.plaintext),
                decision=Decision.REFUSED,
                code=problem.code or CODE_UNFORESEEN,
                agent_id=session.agent_id,
                session_id=session.session_id,
                workload=name if name in self._workloads else None,
            ),
            self._clock.now_ms(),
        )
        return _Effect(
            answer={"problem": {"code": problem.code, "detail": problem.detail}},
            receipt=receipt,
            session_id=session.session_id,
            sequence=opened.sequence,
        )


def parse_request(plaintext: bytes) -> tuple[str, bytes]:
    """Return the workload's name and its request.

    Raises:
        WireError: ``workload-request``.
    """
    try:
        value = decode(plaintext)
    except CborError as error:
        raise malformed(f"the content of a record is not CBOR ({error.code.code})") from error
    if type(value) is not dict or value.keys() != {"workload", "request"}:
        raise malformed("the content of a record is not a map of workload and request")
    name, request = value["workload"], value["request"]
    if type(name) is not str or type(request) is not bytes:
        raise malformed("workload is not text, or request not bytes")
    return name, request
