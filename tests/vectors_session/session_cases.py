"""One whole handshake with every intermediate value, and what must be refused of each of its messages."""

import dataclasses
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pcrgate.envelope.hpke import HpkeSuite
from pcrgate.envelope.session_fields import pack
from pcrgate.envelope.session_labels import (
    KEY_AGENT_TO_ENCLAVE,
    KEY_COMMITMENT,
    KEY_DIGEST,
    KEY_ENCLAVE_TO_AGENT,
    RECORD,
)
from pcrgate.envelope.session_limits import SessionLimits
from pcrgate.envelope.session_messages import (
    Hello,
    HelloBody,
    Response,
    hello_info,
    response_info,
    response_signed,
    transcript,
)
from pcrgate.envelope.session_signature import sign_es384
from pcrgate.envelope.session_ticket import Ticket
from tests.unit.envelope.session_stage import hkdf_sha384
from tests.vectors_session.fixed_keys import AGENT, GRANT_KEY, MANIFEST, NOW_MS, RESPONSE_KEY, boot, octets, seal

Vector = dict[str, Any]
LIMITS = SessionLimits(lifetime_s=600, max_records=1_000, max_bytes=1_000_000)
SUITE = HpkeSuite.X25519


class Exchange:
    """Every value of one handshake, computed from fixed seeds."""

    def __init__(self) -> None:
        self.boot = boot("boot 1")
        self.statement = self.boot.statement.encode()
        self.identity = self.boot.statement.digest
        self.nonce = octets("nonce", 32)
        self.body = HelloBody(
            agent_id=AGENT,
            resumes=b"",
            response_key=RESPONSE_KEY.public_key,
            limits=LIMITS,
            secret=octets("agent secret", 32),
        )
        self.info = hello_info(SUITE, self.identity, self.nonce)
        self.signature = GRANT_KEY.sign(self.body.signed(self.info))
        self.hello = self.hello_of(self.body.encode(self.signature))
        self.session_id, self.blob = octets("session id", 16), octets("blob", 184)
        self.data_key, self.expires_ms = octets("data key", 32), NOW_MS + 600_000
        self.transcript = transcript(
            self.hello,
            self.body,
            session_id=self.session_id,
            blob=self.blob,
            limits=LIMITS,
            expires_ms=self.expires_ms,
        )
        salt, both = self.transcript.digest, self.data_key + self.body.secret
        self.commitment = hkdf_sha384(self.data_key, salt, KEY_COMMITMENT, 48)
        self.to_enclave = hkdf_sha384(both, salt, KEY_AGENT_TO_ENCLAVE, 44)
        self.to_agent = hkdf_sha384(both, salt, KEY_ENCLAVE_TO_AGENT, 44)
        self.digest_key = hkdf_sha384(both, salt, KEY_DIGEST, 48)
        self.sealed = seal(
            RESPONSE_KEY.public_key.encoded, "response ephemeral", self.data_key, response_info(self.transcript)
        )
        self.response = Response(
            session_id=self.session_id,
            blob=self.blob,
            limits=LIMITS,
            expires_ms=self.expires_ms,
            sealed=self.sealed,
            signature=sign_es384(self.boot.receipt_key, response_signed(self.transcript, self.sealed)),
        ).encode()
        unsigned = Ticket(
            session_id=self.session_id,
            agent_id=AGENT,
            manifest_digest=MANIFEST,
            boot_id=self.boot.statement.boot_id,
            transcript=self.transcript,
            expires_ms=self.expires_ms,
            blob=self.blob,
            commitment=self.commitment,
        )
        self.ticket = unsigned.signed_by(GRANT_KEY.sign(unsigned.signed()))

    def hello_of(self, body: bytes) -> bytes:
        enclave_key = self.boot.statement.hpke_keys[SUITE].encoded
        sealed = seal(enclave_key, "hello ephemeral", body, self.info)
        return Hello(suite=SUITE, identity=self.identity, nonce=self.nonce, sealed=sealed).encode()

    def record(self, secret: bytes, direction: int, sequence: int, answers: int, plaintext: bytes) -> bytes:
        header = self.session_id + bytes((direction,)) + sequence.to_bytes(8, "big") + answers.to_bytes(8, "big")
        nonce = (int.from_bytes(secret[32:], "big") ^ sequence).to_bytes(12, "big")
        associated = pack(RECORD, header, self.boot.statement.boot_id)
        return header + AESGCM(secret[:32]).encrypt(nonce, plaintext, associated)


def session_vectors() -> list[Vector]:
    """Return every vector of the folder ``session``."""
    e = Exchange()
    return [*_identity(e), *_hello(e), *_response(e), *_ticket(e), *_records(e)]


def _vector(name: str, kind: str, description: str, expect: str, **fields: object) -> Vector:
    shown = {key: value.hex() if isinstance(value, bytes) else value for key, value in fields.items()}
    return {"name": name, "kind": kind, "description": description, "expect": expect, **shown}


def _flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def _identity(e: Exchange) -> list[Vector]:
    good = {"statement": e.statement, "user_data": e.identity.digest, "public_key": e.boot.statement.receipt_key}
    other = boot("boot 2").statement
    cases: list[tuple[str, str, str, dict[str, bytes]]] = [
        ("accept-identity", "evidence commits to the statement", "accepted", {}),
        ("reject-identity-flipped", "one bit of the boot id", "session-identity", {"statement": _flip(e.statement, 50)}),
        ("reject-identity-other-boot", "evidence of another boot", "session-identity",
         {"user_data": other.digest.digest, "public_key": other.receipt_key}),
        ("reject-identity-other-key", "another public key in the evidence", "session-identity",
         {"public_key": other.receipt_key}),
        ("reject-identity-truncated", "the last byte is missing", "session-identity",
         {"statement": e.statement[:-1]}),
    ]  # fmt: skip
    return [_vector(name, "identity", text, expect, **{**good, **more}) for name, text, expect, more in cases]


def _hello(e: Exchange) -> list[Vector]:
    good: dict[str, object] = {
        "boot": "boot 1",
        "now_ms": NOW_MS,
        "attested_nonce": e.nonce,
        "grant_public_key": GRANT_KEY.public_key().public_bytes_raw(),
        "grant_expires_ms": NOW_MS + 86_400_000,
        "session_id": e.session_id,
        "data_key": e.data_key,
        "blob": e.blob,
        "hello": e.hello,
    }
    derived = {
        "transcript": e.transcript.digest,
        "commitment": e.commitment,
        "agent_to_enclave": e.to_enclave,
        "enclave_to_agent": e.to_agent,
        "digest_key": e.digest_key,
    }
    unsigned = e.hello_of(e.body.encode(bytes(64)))
    renamed = dataclasses.replace(e.body, agent_id="agent-2")
    cases: list[tuple[str, str, str, dict[str, object]]] = [
        ("accept-hello", "a hello and everything derived from it", "accepted", dict(derived)),
        ("reject-hello-other-boot", "sealed to another boot", "session-identity", {"boot": "boot 2"}),
        ("reject-hello-nonce", "no evidence was made for the nonce", "session-nonce", {"attested_nonce": bytes(32)}),
        ("reject-hello-sealed-flipped", "one bit of the sealed body", "session-open",
         {"hello": _flip(e.hello, len(e.hello) - 1)}),
        ("reject-hello-signature", "the grant key did not sign", "session-hello", {"hello": unsigned}),
        ("reject-hello-unknown-agent", "an agent that the manifest does not list", "session-hello",
         {"hello": e.hello_of(renamed.encode(GRANT_KEY.sign(renamed.signed(e.info))))}),
        ("reject-hello-expired-grant", "the grant has expired", "session-hello", {"grant_expires_ms": NOW_MS}),
        ("reject-hello-trailing", "a byte too many", "session-message", {"hello": e.hello + b"\0"}),
    ]  # fmt: skip
    return [_vector(name, "hello", text, expect, **{**good, **more}) for name, text, expect, more in cases]


def _response(e: Exchange) -> list[Vector]:
    good: dict[str, object] = {
        "statement": e.statement,
        "nonce": e.nonce,
        "hello": e.hello,
        "response": e.response,
    }
    parsed = Response.parse(e.response)
    longer = dataclasses.replace(parsed, expires_ms=parsed.expires_ms + 1).encode()
    other_key = dataclasses.replace(
        parsed, signature=sign_es384(boot("boot 2").receipt_key, response_signed(e.transcript, e.sealed))
    ).encode()
    cases = [
        ("accept-response", "the answer to accept-hello, and the ticket", "accepted", {"ticket": e.ticket.encode()}),
        ("reject-response-expiry", "another end of the session", "session-response", {"response": longer}),
        ("reject-response-key", "signed by another boot", "session-response", {"response": other_key}),
        ("reject-response-flipped", "one bit of the wrapped key", "session-response", {"response": _flip(e.response, 60)}),
    ]  # fmt: skip
    return [_vector(name, "response", text, expect, **{**good, **more}) for name, text, expect, more in cases]


def _ticket(e: Exchange) -> list[Vector]:
    good: dict[str, object] = {
        "grant_public_key": GRANT_KEY.public_key().public_bytes_raw(),
        "data_key": e.data_key,
        "ticket": e.ticket.encode(),
    }
    minted_key = octets("a key the parent knows", 32)
    minted = dataclasses.replace(
        e.ticket,
        blob=octets("minted", 184),
        commitment=hkdf_sha384(minted_key, e.transcript.digest, KEY_COMMITMENT, 48),
    )
    cases = [
        ("accept-ticket", "signed by the agent, and the data key fits", "accepted", {}),
        ("reject-ticket-minted", "the parent wrapped a key it knows and committed to it", "session-ticket",
         {"ticket": minted.encode(), "data_key": minted_key}),
        ("reject-ticket-data-key", "KMS unwraps another key", "session-ticket", {"data_key": minted_key}),
        ("reject-ticket-flipped", "one bit of the session id", "session-ticket", {"ticket": _flip(e.ticket.encode(), 30)}),
    ]  # fmt: skip
    return [_vector(name, "ticket", text, expect, **{**good, **more}) for name, text, expect, more in cases]


def _records(e: Exchange) -> list[Vector]:
    good: dict[str, object] = {
        "session_id": e.session_id,
        "boot_id": e.boot.statement.boot_id,
        "data_key": e.data_key,
        "agent_secret": e.body.secret,
        "transcript": e.transcript.digest,
        "opener": "enclave",
        "seen": [],
        "record": e.record(e.to_enclave, 1, 7, 0, b"request"),
    }
    answer = e.record(e.to_agent, 2, 3, 7, b"result")
    cases: list[tuple[str, str, str, dict[str, object]]] = [
        ("accept-record-request", "the seventh request", "accepted", {"plaintext": b"request", "sequence": 7, "answers": 0}),
        ("accept-record-result", "the third result, of the seventh request", "accepted",
         {"opener": "agent", "record": answer, "plaintext": b"result", "sequence": 3, "answers": 7}),
        ("reject-record-flipped", "one bit of the ciphertext", "session-open", {"record": _flip(_bytes(good["record"]), 40)}),
        ("reject-record-sequence", "another sequence number", "session-open", {"record": _flip(_bytes(good["record"]), 24)}),
        ("reject-record-direction", "a result offered to the enclave", "session-open", {"record": answer}),
        ("reject-record-boot", "another boot id", "session-open", {"boot_id": bytes(32)}),
        ("reject-record-replayed", "the same record again", "session-replayed", {"seen": [e.record(e.to_enclave, 1, 7, 0, b"request").hex()]}),
        ("reject-record-too-late", "1024 behind the newest", "session-replayed", {"seen": [e.record(e.to_enclave, 1, 7 + 1024, 0, b"x").hex()]}),
        ("accept-record-late", "1023 behind the newest", "accepted",
         {"seen": [e.record(e.to_enclave, 1, 7 + 1023, 0, b"x").hex()], "plaintext": b"request", "sequence": 7, "answers": 0}),
    ]  # fmt: skip
    return [_vector(name, "record", text, expect, **{**good, **more}) for name, text, expect, more in cases]


def _bytes(value: object) -> bytes:
    assert isinstance(value, bytes)
    return value
