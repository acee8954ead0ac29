"""Answer messages: what may be answered in this phase goes to the part for it, and every refusal gets a receipt."""

from dataclasses import dataclass
from typing import Final

from enclave.clock import OwnClock
from enclave.counters import Counters
from enclave.handshakes import Handshakes
from enclave.identity import Identity
from enclave.invocations import Invocations
from enclave.phases import Phase, PhaseMachine
from enclave.receipt_book import CODE_UNFORESEEN, ReceiptBook
from pcrgate.errors import ErrorCode, NsmError, PcrgateError, WireError
from pcrgate.wire.messages import (
    Drain,
    DrainAnswer,
    EvidenceRequest,
    Invoke,
    Message,
    ReceiptsAnswer,
    ReceiptsRequest,
    SessionConfirm,
    SessionEnd,
    SessionOpen,
    SessionResume,
    StatusAnswer,
    StatusRequest,
    encode_message,
)
from pcrgate.wire.problems import problem_of

DECIDED: Final = (SessionOpen, SessionResume, SessionConfirm, SessionEnd, Invoke)
"""Requests about which something is decided: whatever becomes of them, there is a receipt."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attested:
    identity: Identity
    receipts: ReceiptBook
    clock: OwnClock


@dataclass(frozen=True, slots=True, kw_only=True)
class _Live:
    handshakes: Handshakes
    invocations: Invocations


class Desk:
    """Answer one message at a time; threads may share it."""

    def __init__(self, phases: PhaseMachine, counters: Counters) -> None:
        """Begin with nothing but the phase to tell."""
        self._phases: Final = phases
        self._counters: Final = counters
        self._attested: _Attested | None = None
        self._live: _Live | None = None

    def attested(self, identity: Identity, receipts: ReceiptBook, clock: OwnClock) -> None:
        """Take the parts that answer from the attested phase on."""
        self._attested = _Attested(identity=identity, receipts=receipts, clock=clock)

    def live(self, handshakes: Handshakes, invocations: Invocations) -> None:
        """Take the parts that answer from the live phase on."""
        self._live = _Live(handshakes=handshakes, invocations=invocations)

    def answer(self, message: Message) -> Message:
        """Return the answer to a request of the parent; refusals of what is decided are answers with a receipt.

        Raises:
            PcrgateError: refusals before there is anything to sign with, and of requests that decide nothing.
        """
        attested = self._attested
        if attested is None or not isinstance(message, DECIDED):
            return self._answer(message)
        try:
            return self._answer(message)
        except PcrgateError as error:
            return self._refused(message, error, attested)
        except Exception as error:  # noqa: BLE001 - also what nobody foresaw is refused with a receipt
            return self._refused(message, error, attested)

    def _refused(self, message: Message, error: Exception, attested: _Attested) -> Message:
        code = error.code.code if isinstance(error, PcrgateError) else CODE_UNFORESEEN
        receipt = attested.receipts.refuse(encode_message(message), code, attested.clock.now_ms())
        return problem_of(error, receipt)

    def _answer(self, message: Message) -> Message:
        self._phases.require(message.KIND)
        if isinstance(message, StatusRequest):
            failure = self._phases.failure
            return StatusAnswer(
                phase=self._phases.phase.value,
                failure=None if failure is None else failure.code,
                counters=self._counters.declared(),
            )
        attested, live = self._attested, self._live
        if attested is not None:
            if isinstance(message, EvidenceRequest):
                return self._evidence(message, attested)
            if isinstance(message, ReceiptsRequest):
                return ReceiptsAnswer(receipts=attested.receipts.since(message.first))
        if live is not None:
            return self._answer_live(message, live)
        raise WireError(ErrorCode.WIRE_MESSAGE, "not a request of a parent, expected one")

    def _evidence(self, message: EvidenceRequest, attested: _Attested) -> Message:
        try:
            return attested.identity.evidence(message)
        except NsmError as error:
            if error.code is ErrorCode.ENCLAVE_CLOCK:
                self._phases.fail(error.code)  # without a time of its own nothing can expire
            raise

    def _answer_live(self, message: Message, live: _Live) -> Message:
        match message:
            case SessionOpen():
                return live.handshakes.open(message)
            case SessionResume():
                return live.handshakes.resume(message)
            case SessionConfirm():
                return live.handshakes.confirm(message)
            case SessionEnd():
                return live.handshakes.end(message)
            case Invoke():
                return live.invocations.invoke(message)
            case Drain():
                if self._phases.phase is Phase.LIVE:
                    self._phases.advance(Phase.DRAINING)
                return DrainAnswer()
            case _:
                raise WireError(ErrorCode.WIRE_MESSAGE, "not a request of a parent, expected one")
