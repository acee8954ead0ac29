"""The desk by itself: refusals that nobody foresaw, parts that are not there yet, a module that fails after the boot."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from enclave.clock import OwnClock
from enclave.counters import Counter, Counters
from enclave.desk import Desk
from enclave.handshakes import Handshakes
from enclave.identity import Identity
from enclave.phases import Phase, PhaseMachine
from enclave.receipt_book import ReceiptBook
from enclave.sessions import SessionTable
from pcrgate.attestation.anchors import Roots
from pcrgate.attestation.cbor import encode
from pcrgate.envelope.session_enclave import EnclaveHandshake
from pcrgate.envelope.session_identity import BootKeys
from pcrgate.envelope.session_limits import SessionLimits
from pcrgate.errors import ErrorCode, PcrgateError
from pcrgate.kms.nsm_messages import NsmClient
from pcrgate.receipts.claims import Decision
from pcrgate.receipts.envelope import parse_receipt
from pcrgate.receipts.signer import ReceiptSigner
from pcrgate.receipts.wire import parse_claims
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.twin.pki import DevPki
from pcrgate.units import Sha384
from pcrgate.wire import messages as wire

PKI = DevPki(b"seed of the desk's tests")
NOW = 1_700_000_000_000
BOOT = BootKeys.generate(Sha384(bytes(48)))
LIMITS = SessionLimits()


class Module:
    """A software NSM that can be made to fail, and whose time can be set."""

    def __init__(self) -> None:
        self.now_ms = NOW
        self.refusal: bytes | None = None
        self.inner = SoftwareNsm(pki=PKI, pcrs={0: Sha384(bytes([1]) * 48)}, clock=lambda: self.now_ms)

    def request(self, data: bytes) -> bytes:
        return self.refusal or self.inner.request(data)


class Crashing:
    """Stand where invocations are carried out, and crash with a secret in the error."""

    def invoke(self, message: wire.Invoke) -> wire.InvokeAnswer:
        raise ZeroDivisionError(f"at {message.record!r}")


class Opened:
    """A desk with its parts, and what a test looks at."""

    def __init__(self, *phases: Phase) -> None:
        self.phases, self.counters, self.module = PhaseMachine(), Counters(), Module()
        for phase in phases:
            self.phases.advance(phase)
        self.desk = Desk(self.phases, self.counters)
        self.clock = OwnClock(NOW, monotonic=lambda: 0)
        self.receipts = ReceiptBook(ReceiptSigner(BOOT))
        self.handshake = EnclaveHandshake(BOOT, limits=LIMITS)
        nsm = NsmClient(self.module, roots=Roots.pinned(PKI.root_fingerprint))
        self.identity = Identity(nsm, BOOT, self.handshake, self.clock, self.counters)

    def attested(self) -> "Opened":
        self.desk.attested(self.identity, self.receipts, self.clock)
        return self

    def live(self) -> "Opened":
        nobody: Any = None  # nothing here comes so far as to look an agent up
        invocations: Any = Crashing()
        handshakes = Handshakes(
            handshake=self.handshake,
            manifest=nobody,
            data_keys=None,
            limits=LIMITS,
            sessions=SessionTable(),
            receipts=self.receipts,
            clock=self.clock,
            counters=self.counters,
        )
        self.desk.live(handshakes, invocations)
        return self


LIVE = (Phase.ATTESTED, Phase.RELEASING, Phase.LIVE)


def refusal(call: Callable[[], object]) -> ErrorCode:
    with pytest.raises(PcrgateError) as refused:
        call()
    return refused.value.code


def test_what_nobody_foresaw_is_refused_with_a_receipt_and_tells_nothing() -> None:
    opened = Opened(*LIVE).attested().live()
    answer = opened.desk.answer(wire.Invoke(record=b"a secret of the agent"))
    assert isinstance(answer, wire.Problem)
    assert answer.code == "internal"
    assert "secret" not in answer.detail
    assert answer.receipt is not None
    observed = parse_claims(parse_receipt(answer.receipt).payload).observed
    assert (observed.decision, observed.code, observed.sequence) == (Decision.REFUSED, "internal", 1)
    assert opened.receipts.since(1) == (answer.receipt,)


@pytest.mark.parametrize("message", [wire.SessionOpen(hello=b"x"), wire.SessionResume(hello=b"x", ticket=b"y")])
def test_without_a_session_key_in_the_manifest_there_are_no_sessions(message: wire.Message) -> None:
    answer = Opened(*LIVE).attested().live().desk.answer(message)
    assert isinstance(answer, wire.Problem)
    assert answer.code == "enclave-release"
    assert answer.receipt is not None


@pytest.mark.parametrize("code", ["session-unknown", "session-message"])
def test_a_confirmation_or_goodbye_of_nobody_is_refused(code: str) -> None:
    desk = Opened(*LIVE).attested().live().desk
    message = wire.SessionEnd(record=os.urandom(200)) if code == "session-unknown" else wire.SessionConfirm(ticket=b"x")
    answer = desk.answer(message)
    assert isinstance(answer, wire.Problem)
    assert (answer.code, answer.receipt is not None) == (code, True)


REQUESTS: tuple[wire.Message, ...] = (
    wire.EvidenceRequest(nonce=bytes(16)),
    wire.ReceiptsRequest(first=1),
    wire.SessionOpen(hello=b"x"),
    wire.Invoke(record=b"x"),
    wire.Drain(),
)


@pytest.mark.parametrize("message", REQUESTS, ids=lambda message: message.KIND.name)
def test_a_phase_without_its_parts_answers_nothing(message: wire.Message) -> None:
    """The phase is advanced after the parts are there; should the two ever be out of step, nothing is answered."""
    assert refusal(lambda: Opened(*LIVE).desk.answer(message)) is ErrorCode.WIRE_MESSAGE


@pytest.mark.parametrize("message", REQUESTS[:2], ids=lambda message: message.KIND.name)
def test_nothing_is_attested_by_the_parts_that_work(message: wire.Message) -> None:
    assert refusal(lambda: Opened(*LIVE).live().desk.answer(message)) is ErrorCode.WIRE_MESSAGE


@pytest.mark.parametrize("message", [wire.ManifestRequest(), wire.CredentialsRequest(), wire.DrainAnswer()])
def test_what_a_parent_never_asks_is_refused(message: wire.Message) -> None:
    assert refusal(lambda: Opened(*LIVE).attested().live().desk.answer(message)) is ErrorCode.ENCLAVE_PHASE


def test_a_module_that_refuses_once_ends_nothing() -> None:
    opened = Opened(*LIVE).attested().live()
    request = wire.EvidenceRequest(nonce=bytes(16))
    opened.module.refusal = encode({"Error": "InternalError"})
    assert refusal(lambda: opened.desk.answer(request)) is ErrorCode.NSM_REFUSED
    assert opened.phases.phase is Phase.LIVE
    opened.module.refusal = None
    assert isinstance(opened.desk.answer(request), wire.EvidenceAnswer)
    assert opened.counters.exact(Counter.DOCUMENTS) == 1


def test_a_module_whose_time_goes_back_ends_the_enclave() -> None:
    opened = Opened(*LIVE).attested().live()
    opened.module.now_ms -= 60_001
    request = wire.EvidenceRequest(nonce=bytes(16))
    assert refusal(lambda: opened.desk.answer(request)) is ErrorCode.ENCLAVE_CLOCK
    assert (opened.phases.phase, opened.phases.failure) == (Phase.FAILED, ErrorCode.ENCLAVE_CLOCK)
    assert refusal(lambda: opened.desk.answer(request)) is ErrorCode.ENCLAVE_PHASE
    status = opened.desk.answer(wire.StatusRequest())
    assert isinstance(status, wire.StatusAnswer)
    assert (status.phase, status.failure) == ("failed", "enclave-clock")
    late = opened.desk.answer(wire.Invoke(record=b"x"))  # what is decided has its receipt even now
    assert isinstance(late, wire.Problem)
    assert (late.code, late.receipt is not None) == ("enclave-phase", True)


def test_draining_twice_is_fine_and_nothing_leads_back() -> None:
    opened = Opened(*LIVE).attested().live()
    for _ in range(2):
        assert isinstance(opened.desk.answer(wire.Drain()), wire.DrainAnswer)
    assert opened.phases.phase is Phase.DRAINING
    answer = opened.desk.answer(wire.SessionOpen(hello=b"x"))
    assert isinstance(answer, wire.Problem)
    assert answer.code == "enclave-phase"
