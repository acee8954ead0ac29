"""Groups F, A and H at a running enclave: time, replays, evidence put to another use, injected environment, refusals."""

import os
import socket
import time
from typing import Any

import pytest

from enclave import clock, hardening
from enclave import desk as desk_module
from enclave.desk import Desk
from enclave.hardening import require_environment
from pcrgate.envelope import session_waiting
from pcrgate.errors import ErrorCode, UsageError
from pcrgate.twin.clients import boto_client
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.wire import messages as wire
from pcrgate.wire.frames import FrameType
from service.enclave_link import EnclaveRefusedError
from tests.attacks.hostile_peer import agent_at, code_over, dial, head, receipts_of, served
from tests.attacks.mutants import mutant
from tests.support.enclave_agent import TestAgent
from tests.support.enclave_stage import (
    EnclaveProcess,
    EnclaveStage,
    Site,
)
from tests.support.twin_stage import document as document_of
from tests.support.twin_stage import recipient, spki_der

pytestmark = pytest.mark.network
FORGET = "self._used.add(nonce)"


def test_f6_there_is_no_frame_that_sets_the_time(enclave: EnclaveProcess, site: Site, agent: TestAgent) -> None:
    taken = {int(kind) for kind in FrameType if kind < 0x20}
    for kind in set(range(256)) - taken:
        with dial(site.socket) as endpoint:
            endpoint.sendall(head(kind, 9) + b"\x1b" + time.time_ns().to_bytes(8, "big"))
            endpoint.shutdown(socket.SHUT_WR)
            assert code_over(endpoint) == "wire-frame"
    served(agent)


def test_f6_a_module_whose_time_goes_back_ends_the_enclave(site: Site) -> None:
    """The clock that every expiry is read from is the module's; when it is turned back, nothing is answered any more."""
    offset = [0]
    nsm = SoftwareNsm(
        pki=site.stage.twin.pki,
        pcrs={0: site.stage.measured()},
        clock=lambda: time.time_ns() // 1_000_000 + offset[0],
    )
    phases, desk = site.boot(nsm=nsm)
    desk.answer(wire.EvidenceRequest(nonce=os.urandom(16)))
    offset[0] = 3_600_000  # forward is a pause of the whole enclave: taken at once
    desk.answer(wire.EvidenceRequest(nonce=os.urandom(16)))
    offset[0] = 3_500_000
    with mutant(clock, "timestamp_ms < now_ms - SKEW_MAX_MS", "False"):
        desk.answer(wire.EvidenceRequest(nonce=os.urandom(16)))
    with pytest.raises(Exception, match="enclave-clock"):
        desk.answer(wire.EvidenceRequest(nonce=os.urandom(16)))
    assert phases.phase.value == "failed"


def test_f2_a_recorded_hello_opens_nothing(site: Site, enclave: EnclaveProcess) -> None:
    def hello(ask: Any) -> wire.SessionOpen:
        found = agent_at(site, ask)
        nonce = os.urandom(32)
        found.identity = found.appraised(nonce, ask(wire.EvidenceRequest(nonce=nonce), wire.EvidenceAnswer))
        return wire.SessionOpen(hello=found.handshake(nonce).hello)

    recorded = hello(enclave.ask)
    enclave.ask(recorded, wire.SessionOpenAnswer)
    with pytest.raises(EnclaveRefusedError) as refused:
        enclave.ask(recorded, wire.SessionOpenAnswer)
    assert refused.value.code is ErrorCode.SESSION_NONCE
    assert refused.value.problem.receipt is not None

    desk = site.boot()[1]
    recorded = hello(lambda message, _: desk.answer(message))
    assert isinstance(desk.answer(recorded), wire.SessionOpenAnswer)
    with mutant(session_waiting, FORGET, "pass"):
        recorded = hello(lambda message, _: desk.answer(message))
        assert isinstance(desk.answer(recorded), wire.SessionOpenAnswer)
        assert isinstance(desk.answer(recorded), wire.SessionOpenAnswer)


def test_f1_evidence_for_agents_is_no_recipient_at_kms(stage: EnclaveStage, enclave: EnclaveProcess) -> None:
    """The parent has KMS credentials and every document an agent gets: neither opens anything."""
    kms = boto_client(stage.twin, "kms", credentials=stage.parent_credentials)
    document = enclave.ask(wire.EvidenceRequest(nonce=os.urandom(32)), wire.EvidenceAnswer).document
    attacker = SoftwareNsm(pki=stage.twin.pki, pcrs={0: stage.measured()})

    def release(found: bytes) -> Any:
        return kms.generate_data_key(
            KeyId=str(stage.session_key),
            KeySpec="AES_256",
            EncryptionContext={"class": "session"},
            Recipient=recipient(found),
        )

    with pytest.raises(Exception, match="ValidationException"):
        release(document)
    # What the P-384 key prevents: with an RSA key of the parent's in it, the same document would be one.
    assert release(document_of(attacker, spki_der()))["CiphertextForRecipient"]


def test_h17_every_refusal_is_receipted(site: Site, enclave: EnclaveProcess) -> None:
    garbage = wire.Invoke(record=os.urandom(100))
    with pytest.raises(EnclaveRefusedError) as refused:
        enclave.ask(garbage, wire.InvokeAnswer)
    receipt = refused.value.problem.receipt
    assert receipt is not None
    assert receipt in receipts_of(enclave)

    def hidden(desk: Desk) -> bool:
        answer = desk.answer(garbage)
        assert isinstance(answer, wire.Problem)
        return answer.receipt is None

    desk = site.boot()[1]
    assert not hidden(desk)
    with mutant(
        desk_module, "attested.receipts.refuse(encode_message(message), code, attested.clock.now_ms())", "None"
    ):
        assert hidden(desk)


INJECTED = {
    "LD_PRELOAD": "/nonexistent.so",
    "PYTHONPATH": "/tmp",
    "PYTHONSTARTUP": "/tmp/x.py",
    "AWS_ENDPOINT_URL": "https://attacker",
    "SSLKEYLOGFILE": "/tmp/keys",
    "OPENSSL_CONF": "/tmp/openssl.cnf",
    "HTTPS_PROXY": "http://attacker",
    "GLIBC_TUNABLES": "glibc.malloc.check=3",
    "MALLOC_CONF": "x",
}


@pytest.mark.parametrize("name", ["LD_PRELOAD", "AWS_ENDPOINT_URL"])
def test_a7_an_injected_variable_keeps_the_enclave_from_starting(site: Site, name: str) -> None:
    process = EnclaveProcess(site, environment={name: INJECTED[name]})
    out, err = process.process.communicate(timeout=60)
    assert process.process.returncode > 0
    assert out == b""
    assert f"refused: enclave-environment: {name} is set".encode() in err


@pytest.mark.parametrize("name", INJECTED)
def test_a7_variables_of_loaders_tls_and_tools_are_refused(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        require_environment({"PATH": "/bin", name: INJECTED[name]})
    assert refused.value.code is ErrorCode.ENCLAVE_ENVIRONMENT
    with mutant(hardening, "name not in ENVIRONMENT_ALLOWED and name not in also_allowed", "False"):
        require_environment({name: INJECTED[name]})
