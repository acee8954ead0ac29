"""Dial an enclave as a hostile parent does: raw bytes on its socket, and what comes back."""

import contextlib
import socket
from pathlib import Path
from typing import Any

from enclave.desk import Desk
from pcrgate.attestation.anchors import Roots
from pcrgate.receipts.verification import VerifiedReceipt, verify_receipt
from pcrgate.wire import messages as wire
from pcrgate.wire.frames import HEAD_BYTES, parse_head
from service.enclave_link import EnclaveRefusedError
from tests.support.enclave_agent import Ask, TestAgent, query
from tests.support.enclave_stage import EnclaveProcess, Site

PATIENCE_S = 30.0
"""How long an answer may take on a busy machine."""


def agent_at(site: Site, ask: Any, **options: Any) -> TestAgent:
    """Return an agent that trusts the stage's measurement and root."""
    roots = Roots.pinned(site.stage.twin.pki.root_fingerprint)
    return TestAgent(ask, roots=roots, pcr0=site.stage.measured(), **options)


def asking(desk: Desk) -> Ask:
    """Return how to ask an enclave that was booted in this process; its refusals are raised as a link raises them."""

    def ask(message: wire.Message, expected: Any) -> Any:
        answer = desk.answer(message)
        if isinstance(answer, wire.Problem):
            raise EnclaveRefusedError(answer)
        assert isinstance(answer, expected)
        return answer

    return ask


def agent_of_desk(site: Site, desk: Desk) -> TestAgent:
    """Return an agent of an enclave that was booted in this process."""
    return agent_at(site, asking(desk))


def dial(path: Path, timeout_s: float = PATIENCE_S) -> socket.socket:
    """Connect to an enclave's socket."""
    endpoint = socket.socket(socket.AF_UNIX)
    endpoint.settimeout(timeout_s)
    try:
        endpoint.connect(str(path))
    except BaseException:
        endpoint.close()
        raise
    return endpoint


def head(kind: int, length: int, version: int = 1) -> bytes:
    """Return a frame's head, whether it is right or not."""
    return length.to_bytes(4, "big") + bytes((version, kind))


def served(agent: TestAgent) -> None:
    """See that an honest agent is answered."""
    assert "result" in agent.invoke("validate", agent.action(*query())).inner


def answer_over(endpoint: socket.socket) -> wire.Message | None:
    """Return the message that comes, None when the connection ends instead; TimeoutError when neither happens."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while len(received) < HEAD_BYTES or len(received) < HEAD_BYTES + parse_head(received[:6]).payload_bytes:
            piece = endpoint.recv(65536)
            if not piece:
                return None
            received += piece
        return wire.decode_message(parse_head(received[:HEAD_BYTES]), received[HEAD_BYTES:])
    return None


def code_over(endpoint: socket.socket) -> str:
    """Return the code of the problem that comes."""
    problem = answer_over(endpoint)
    assert isinstance(problem, wire.Problem)
    return problem.code


def receipts_of(enclave: EnclaveProcess) -> list[bytes]:
    """Return every receipt of the boot."""
    found: list[bytes] = []
    while more := enclave.ask(wire.ReceiptsRequest(first=len(found) + 1), wire.ReceiptsAnswer).receipts:
        found += more
    return found


def verified(agent: TestAgent, receipts: list[bytes]) -> list[VerifiedReceipt]:
    """Return receipts as an auditor reads them who appraised the same enclave."""
    assert agent.identity is not None
    return [verify_receipt(receipt, agent.identity) for receipt in receipts]
