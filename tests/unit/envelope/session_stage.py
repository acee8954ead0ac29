"""A boot, an agent, and a wrapping key that works like KMS: everything for a handshake, nothing simulated in between."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from pcrgate.envelope.hpke import HpkeSuite
from pcrgate.envelope.materials import SecretBytes
from pcrgate.envelope.session import Session
from pcrgate.envelope.session_agent import AgentHandshake, Established
from pcrgate.envelope.session_enclave import EnclaveHandshake, Offer
from pcrgate.envelope.session_identity import BootKeys, VerifiedIdentity, verify_identity
from pcrgate.envelope.session_limits import SessionGrant, SessionLimits
from pcrgate.errors import ErrorCode, PcrgateError, ReleaseError
from pcrgate.units import Sha384

AGENT_MS = 1_700_000_000_000
ENCLAVE_MS = 1_800_000_000_000
MANIFEST = Sha384(hashlib.sha384(b"manifest").digest())
AGENT = "agent-1"


class WrappingKey:
    """Wraps under an encryption context with AES-GCM, as KMS does; ``encrypt`` is what a parent may have the right to."""

    def __init__(self) -> None:
        self._cipher = AESGCM(secrets.token_bytes(32))
        self.calls: list[tuple[str, dict[str, str]]] = []

    def encrypt(self, plaintext: bytes, context: Mapping[str, str]) -> bytes:
        nonce = secrets.token_bytes(12)
        return nonce + self._cipher.encrypt(nonce, plaintext, _canonical(context))

    def generate(self, context: Mapping[str, str]) -> tuple[SecretBytes, bytes]:
        self.calls.append(("generate", dict(context)))
        data_key = secrets.token_bytes(32)
        return SecretBytes(data_key), self.encrypt(data_key, context)

    def unwrap(self, blob: bytes, context: Mapping[str, str]) -> SecretBytes:
        self.calls.append(("unwrap", dict(context)))
        try:
            return SecretBytes(self._cipher.decrypt(blob[:12], blob[12:], _canonical(context)))
        except InvalidTag as error:
            raise ReleaseError(ErrorCode.KMS_RESPONSE, "the answer of KMS was refused") from error


def _canonical(context: Mapping[str, str]) -> bytes:
    return json.dumps(dict(context), sort_keys=True).encode()


@dataclass
class Stage:
    """One key in KMS, one agent in the manifest, any number of boots."""

    kms: WrappingKey = field(default_factory=WrappingKey)
    grant_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    limits: SessionLimits = field(default_factory=SessionLimits)
    grant_expires_ms: int = ENCLAVE_MS + 86_400_000

    def grant(self, agent_id: str) -> SessionGrant | None:
        if agent_id != AGENT:
            return None
        return SessionGrant(
            agent_id=AGENT,
            public_key=self.grant_key.public_key().public_bytes_raw(),
            expires_ms=self.grant_expires_ms,
            limits=self.limits,
        )

    def boot(self, *, manifest: Sha384 = MANIFEST, limits: SessionLimits | None = None) -> "Boot":
        keys = BootKeys.generate(manifest)
        return Boot(
            stage=self,
            keys=keys,
            identity=appraised(keys),
            handshake=EnclaveHandshake(keys, limits=limits or SessionLimits()),
        )


def appraised(keys: BootKeys) -> VerifiedIdentity:
    """What an agent holds after it appraised evidence of the boot."""
    statement = keys.statement
    return verify_identity(statement.encode(), user_data=statement.digest.digest, public_key=statement.receipt_key)


@dataclass
class Boot:
    """One running enclave, as it and as the agent see it."""

    stage: Stage
    keys: BootKeys
    identity: VerifiedIdentity
    handshake: EnclaveHandshake

    def attest(self) -> bytes:
        """Return a fresh nonce for which a document was made."""
        nonce = secrets.token_bytes(32)
        self.handshake.attested(nonce, now_ms=ENCLAVE_MS)
        return nonce

    def agent(
        self,
        *,
        nonce: bytes | None = None,
        suite: HpkeSuite = HpkeSuite.X25519,
        resumes: bytes = b"",
        limits: SessionLimits | None = None,
        agent_id: str = AGENT,
        grant_key: Ed25519PrivateKey | None = None,
        identity: VerifiedIdentity | None = None,
    ) -> AgentHandshake:
        return AgentHandshake(
            identity=identity or self.identity,
            nonce=self.attest() if nonce is None else nonce,
            agent_id=agent_id,
            grant_key=grant_key or self.stage.grant_key,
            now_ms=AGENT_MS,
            suite=suite,
            resumes=resumes,
            limits=limits,
        )

    def accept(self, hello: bytes, *, ticket: bytes | None = None, now_ms: int = ENCLAVE_MS) -> Offer:
        return self.handshake.accept(
            hello, grants=self.stage.grant, data_keys=self.stage.kms, now_ms=now_ms, ticket=ticket
        )

    def establish(
        self, agent: AgentHandshake | None = None, *, ticket: bytes | None = None
    ) -> tuple[Established, Session]:
        """Play the whole handshake and return both ends."""
        agent = agent or self.agent()
        established = agent.finish(self.accept(agent.hello, ticket=ticket).response)
        return established, self.handshake.confirm(established.ticket, now_ms=ENCLAVE_MS)


def talk(established: Established, enclave: Session) -> None:
    """Send a request and its answer, and see both arrive."""
    request = established.session.seal(b"request", now_ms=AGENT_MS)
    opened = enclave.open(request.record, now_ms=ENCLAVE_MS)
    assert (opened.plaintext, opened.sequence) == (b"request", request.sequence)
    answer = enclave.seal(b"result", now_ms=ENCLAVE_MS, answers=opened.sequence)
    result = established.session.open(answer.record, now_ms=AGENT_MS)
    assert (result.plaintext, result.answers) == (b"result", request.sequence)


def refusal(call: object) -> ErrorCode | None:
    """Return the code a call without arguments is refused with, or None."""
    assert callable(call)
    try:
        call()
    except PcrgateError as error:
        return error.code
    return None


def hkdf_sha384(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 from the standard library alone, to check the key schedule against."""
    prk = hmac.digest(salt, secret, "sha384")
    block, out, counter = b"", b"", 1
    while len(out) < length:
        block = hmac.digest(prk, block + info + bytes((counter,)), "sha384")
        out += block
        counter += 1
    return out[:length]
