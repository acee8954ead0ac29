"""Groups F, A and H at a running enclave: slow peers, half frames, floods, garbage, replays, injected environment."""

import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from enclave import clock, hardening
from enclave import desk as desk_module
from enclave.configuration import load_configuration
from enclave.desk import Desk
from enclave.hardening import require_environment
from pcrgate.attestation.anchors import AWS_ROOTS, Roots
from pcrgate.envelope import session_waiting
from pcrgate.errors import ErrorCode, EvidenceError, UsageError
from pcrgate.kms.nsm_messages import NsmClient
from pcrgate.twin.clients import boto_client
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.wire import messages as wire
from pcrgate.wire.frames import HEAD_BYTES, FrameType, encode_frame, parse_head
from service.enclave_link import EnclaveRefusedError
from tests.attacks.mutants import mutant
from tests.support.enclave_agent import TestAgent, query
from tests.support.enclave_stage import (
    ROOT,
    EnclaveProcess,
    EnclaveStage,
    Site,
    open_site,
    open_stage,
    running,
)
from tests.support.twin_stage import document as document_of
from tests.support.twin_stage import recipient, spki_der

pytestmark = pytest.mark.network
FORGET = "self._used.add(nonce)"
MEMORY_ALLOWED_BYTES = 96 << 20
"""What a flood may add: the budget of 48 MiB, a copy of it in flight, and what an allocator keeps."""


@pytest.fixture(scope="module")
def stage() -> Iterator[EnclaveStage]:
    with open_stage() as found:
        yield found


@pytest.fixture(scope="module")
def site(stage: EnclaveStage) -> Iterator[Site]:
    with open_site(stage) as found:
        yield found


@pytest.fixture(scope="module")
def enclave(site: Site) -> Iterator[EnclaveProcess]:
    with running(site) as process:
        assert process.wait("live").failure is None
        yield process
        assert process.stop() == (b"", b"")


@pytest.fixture(scope="module")
def agent(enclave: EnclaveProcess) -> TestAgent:
    return agent_at(enclave.site, enclave.ask).open()


def agent_at(site: Site, ask: Any) -> TestAgent:
    roots = Roots.pinned(site.stage.twin.pki.root_fingerprint)
    return TestAgent(ask, roots=roots, pcr0=site.stage.measured())


def dial(site: Site) -> socket.socket:
    endpoint = socket.socket(socket.AF_UNIX)
    endpoint.settimeout(20)
    try:
        endpoint.connect(str(site.socket))
    except BaseException:
        endpoint.close()
        raise
    return endpoint


def served(agent: TestAgent) -> None:
    """An honest agent is answered."""
    assert "result" in agent.invoke("validate", agent.action(*query())).inner


def head(kind: int, length: int) -> bytes:
    return length.to_bytes(4, "big") + bytes((1, kind))


def test_h1_slow_peers_and_half_frames_make_room_for_honest_ones(
    enclave: EnclaveProcess, site: Site, agent: TestAgent
) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(150):
            endpoint = stack.enter_context(dial(site))
            with contextlib.suppress(OSError):
                endpoint.sendall(head(FrameType.INVOKE, 1 << 20)[: number % 7] + b"x" * (number % 3))
            if number % 30 == 0:
                served(agent)
        served(agent)
    assert enclave.status().counters["connections_evicted"] >= 64


def test_h4_declared_lengths_are_charged_before_memory_is_taken(
    enclave: EnclaveProcess, site: Site, agent: TestAgent
) -> None:
    before = enclave.memory_bytes()
    with contextlib.ExitStack() as stack:
        for _ in range(120):
            endpoint = stack.enter_context(dial(site))
            with contextlib.suppress(OSError):
                endpoint.sendall(head(FrameType.INVOKE, 1 << 20) + bytes(200_000))
        served(agent)
        assert enclave.memory_bytes() < before + MEMORY_ALLOWED_BYTES
    with dial(site) as endpoint:
        endpoint.sendall(head(FrameType.INVOKE, 0xFFFFFFFF))
        assert answered(endpoint).code == "wire-frame"
    assert enclave.memory_bytes() < before + MEMORY_ALLOWED_BYTES


def test_h1_floods_from_several_threads_leave_the_others_working(
    enclave: EnclaveProcess, site: Site, agent: TestAgent
) -> None:
    before = enclave.memory_bytes()
    stop = threading.Event()
    frame = encode_frame(FrameType.INVOKE, random.Random(5).randbytes(100_000))

    def flood() -> None:
        while not stop.is_set():
            with contextlib.suppress(OSError), dial(site) as endpoint:
                endpoint.sendall(frame * 3)

    threads = [threading.Thread(target=flood) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            served(agent)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert enclave.memory_bytes() < before + MEMORY_ALLOWED_BYTES
    served(agent)


def answered(endpoint: socket.socket) -> wire.Problem:
    """Return the problem that comes, and see the connection end."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := endpoint.recv(65536):
            received += piece
    parsed = parse_head(received[:HEAD_BYTES])
    problem = wire.decode_message(parsed, received[HEAD_BYTES:])
    assert isinstance(problem, wire.Problem)
    return problem


def test_h3_garbage_is_refused_and_nothing_else_happens(enclave: EnclaveProcess, site: Site, agent: TestAgent) -> None:
    rng = random.Random(20260)
    kinds = [*(int(kind) for kind in FrameType), 0, 0x7E]
    for _ in range(400):
        payload = rng.randbytes(rng.randrange(60))
        raw = head(rng.choice(kinds), len(payload)) + payload if rng.random() < 0.8 else rng.randbytes(40)
        with contextlib.suppress(OSError), dial(site) as endpoint:
            endpoint.sendall(raw)
            endpoint.shutdown(socket.SHUT_WR)
            endpoint.recv(4096)
    served(agent)
    assert enclave.status().counters["internal_errors"] == 0


def test_f6_there_is_no_frame_that_sets_the_time(enclave: EnclaveProcess, site: Site, agent: TestAgent) -> None:
    taken = {int(kind) for kind in FrameType if kind < 0x20}
    for kind in set(range(256)) - taken:
        with dial(site) as endpoint:
            endpoint.sendall(head(kind, 9) + b"\x1b" + time.time_ns().to_bytes(8, "big"))
            endpoint.shutdown(socket.SHUT_WR)
            assert answered(endpoint).code == "wire-frame"
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


def test_f2_f3_recorded_evidence_does_not_answer_a_new_nonce(enclave: EnclaveProcess, agent: TestAgent) -> None:
    recorded = enclave.ask(wire.EvidenceRequest(nonce=os.urandom(32)), wire.EvidenceAnswer)
    with pytest.raises(EvidenceError) as refused:
        agent.appraised(os.urandom(32), recorded)
    assert refused.value.code is ErrorCode.NONCE_MISMATCH


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
    assert receipt in all_receipts(enclave)

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


def all_receipts(enclave: EnclaveProcess) -> list[bytes]:
    found: list[bytes] = []
    while more := enclave.ask(wire.ReceiptsRequest(first=len(found) + 1), wire.ReceiptsAnswer).receipts:
        found += more
    return found


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
    assert process.process.returncode == 1
    assert out == b""
    assert f"refused: enclave-environment: {name} is set".encode() in err


@pytest.mark.parametrize("name", INJECTED)
def test_a7_variables_of_loaders_tls_and_tools_are_refused(name: str) -> None:
    with pytest.raises(UsageError) as refused:
        require_environment({"PATH": "/bin", name: INJECTED[name]})
    assert refused.value.code is ErrorCode.ENCLAVE_ENVIRONMENT
    with mutant(hardening, "name not in ENVIRONMENT_ALLOWED and name not in also_allowed", "False"):
        require_environment({name: INJECTED[name]})


def test_h6_no_core_is_dumped_and_no_secret_is_in_the_arguments(enclave: EnclaveProcess) -> None:
    limits = Path(f"/proc/{enclave.process.pid}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert line.split()[4:6] == ["0", "0"]
    status = Path(f"/proc/{enclave.process.pid}/status").read_text()
    if "CoreDumping" in status:
        assert "CoreDumping:\t0" in status


def test_h15_production_refuses_what_belongs_to_a_laptop(stage: EnclaveStage) -> None:
    with pytest.raises(UsageError, match="development_roots"):
        load_configuration(stage.configuration, production=True)
    # Nor is there a way to say it: the production root takes no argument and no variable, and knows hardware only.
    code = "import sys, enclave.__main__; print([m for m in sys.modules if m.partition('.')[0] in {'local', 'moto'} or m.startswith('pcrgate.twin')])"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, timeout=60)
    assert run.stdout.strip() == b"[]"
    text = (ROOT / "enclave" / "__main__.py").read_text()
    assert "argv" not in text
    assert "argparse" not in text


def test_h15_a_document_of_the_development_root_is_refused_by_production(stage: EnclaveStage) -> None:
    nsm = SoftwareNsm(pki=stage.twin.pki, pcrs={0: stage.measured()})
    with pytest.raises(Exception, match="nsm-document"):
        NsmClient(nsm, roots=AWS_ROOTS).attestation()


def test_h2_records_for_one_enclave_do_not_open_in_another(site: Site, agent: TestAgent) -> None:
    desk = site.boot()[1]
    record = agent.seal("validate", agent.action(*query()))
    answer = desk.answer(wire.Invoke(record=record.record))
    assert isinstance(answer, wire.Problem)
    assert answer.code == "session-unknown"
