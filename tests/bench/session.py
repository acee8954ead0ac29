"""What a sealed request with its receipt costs, in units of the primitives it cannot do without."""

import secrets

from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384

from pcrgate.envelope.session import Role
from pcrgate.envelope.session_limits import SessionLimits
from pcrgate.receipts.claims import Decision
from pcrgate.receipts.signer import Event, ReceiptSigner
from pcrgate.receipts.verification import verify_receipt
from tests.bench.figure import Figure, interleaved
from tests.unit.envelope.session_stage import AGENT_MS, ENCLAVE_MS, Stage

REPETITIONS = 31
REQUEST_BYTES = 4_096
"""A payload with its arguments; contents weigh little beside the signature up to some 100 KiB."""


def figures() -> list[Figure]:
    """Measure the enclave's part of one request: open it, issue its receipt, seal the result."""
    boot = Stage(limits=SessionLimits()).boot()
    established, enclave = boot.establish()
    agent = established.session
    signer = ReceiptSigner(boot.keys)
    request, result = secrets.token_bytes(REQUEST_BYTES), secrets.token_bytes(REQUEST_BYTES)
    # Records open once, so they are made beforehand, with and without the cost of sealing them.
    key, nonce = AESGCM(secrets.token_bytes(32)), bytes(12)
    sealed = key.encrypt(nonce, request, b"associated data")
    algorithm = ECDSA(SHA384(), deterministic_signing=True)
    payload = secrets.token_bytes(450)

    def primitives() -> None:
        key.decrypt(nonce, sealed, b"associated data")
        boot.keys.receipt_key.sign(payload, algorithm)
        key.encrypt(nonce, result, b"associated data")

    def seal_only() -> None:
        agent.seal(request, now_ms=AGENT_MS)

    def served() -> None:
        record = agent.seal(request, now_ms=AGENT_MS).record
        opened = enclave.open(record, now_ms=ENCLAVE_MS)
        receipt = signer.issue(
            Event(
                request_digest=enclave.content_digest(Role.AGENT, opened.sequence, opened.plaintext),
                result_digest=enclave.content_digest(Role.ENCLAVE, opened.sequence, result),
                decision=Decision.ACCEPTED,
                agent_id=enclave.agent_id,
                session_id=enclave.session_id,
                workload="validate",
                secret_epochs={"weights": 3},
            ),
            now_ms=ENCLAVE_MS,
        )
        enclave.seal(result + receipt.receipt, now_ms=ENCLAVE_MS, answers=opened.sequence)

    receipt = signer.issue(Event(request_digest=boot.identity.digest, decision=Decision.ACCEPTED), now_ms=0).receipt
    seconds = interleaved(
        {
            "primitives": primitives,
            "seal": seal_only,
            "served": served,
            "verify": lambda: verify_receipt(receipt, boot.identity),
            "handshake": lambda: boot.establish(boot.agent()),
        },
        REPETITIONS,
    )
    one = seconds["primitives"]
    # The sealing of the request is the agent's part, but it is counted against us: the bound holds all the same.
    return [
        Figure.at_most("sealed request with receipt / its primitives", seconds["served"] / one, "x", 2.5),
        Figure.plain("the same without the agent's sealing", (seconds["served"] - seconds["seal"]) / one, "x"),
        Figure.plain("sealed request with receipt", seconds["served"] * 1e6, "us"),
        Figure.plain("AEAD twice and one ES384 signature", one * 1e6, "us"),
        Figure.plain("receipt verified", seconds["verify"] * 1e6, "us"),
        Figure.plain("whole handshake, both sides, X25519", seconds["handshake"] * 1e6, "us"),
    ]
