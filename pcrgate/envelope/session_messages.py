"""Take handshake messages apart and put them together: forms only, no judgement.

Spec: docs/protocol.md, "Handshake".
"""

from dataclasses import dataclass
from typing import Final, Self

from pcrgate.envelope.hpke import HpkePublicKey, HpkeSuite
from pcrgate.envelope.session_fields import digest, number, pack, sized, unpack
from pcrgate.envelope.session_keys import AGENT_SECRET_BYTES
from pcrgate.envelope.session_labels import (
    HELLO,
    HELLO_BODY,
    HELLO_INFO,
    HELLO_SIGNATURE,
    RESPONSE,
    RESPONSE_INFO,
    RESPONSE_SIGNATURE,
    TRANSCRIPT,
)
from pcrgate.envelope.session_limits import AGENT_ID_MAX_BYTES, SessionLimits
from pcrgate.errors import ErrorCode, SessionError, UsageError
from pcrgate.units import NONCE_MIN_BYTES, SHA384_BYTES, Sha384

SESSION_ID_BYTES: Final = 16
"""Length of a session id: random, chosen by the first enclave, kept when another resumes."""

NONCE_MAX_BYTES: Final = 64
"""Longest nonce of an agent: a whole SHA-512; below what a document carries."""

ED25519_BYTES: Final = 64
"""Length of an Ed25519 signature. Spec: RFC 8032, 5.1.6."""

ES384_BYTES: Final = 96
"""Length of an ES384 signature: r then s. Spec: RFC 9053, 2.1."""

BLOB_MAX_BYTES: Final = 6_144
"""Longest wrapped data key. Spec: KMS API Reference, Decrypt, CiphertextBlob."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """Hold what anyone may see of a hello.

    Attributes:
        suite: whose key it is sealed to, and of which the answer's key is.
        identity: digest of the identity statement the agent appraised.
        nonce: the agent's, for which the evidence was made, 16 to 64 bytes.
        sealed: the body, sealed with :attr:`info`.
    """

    suite: HpkeSuite
    identity: Sha384
    nonce: bytes
    sealed: bytes

    def encode(self) -> bytes:
        """Return the message."""
        return pack(HELLO, self.suite.kem_id, self.identity.digest, self.nonce, self.sealed)

    @classmethod
    def parse(cls, message: bytes) -> Self:
        """Take a hello apart.

        Raises:
            SessionError: ``session-message``.
        """
        kem_id, identity, nonce, sealed = unpack(message, HELLO, 4)
        return cls(
            suite=HpkeSuite.from_id(number(kem_id)),
            identity=Sha384(sized(identity, SHA384_BYTES)),
            nonce=sized_nonce(nonce),
            sealed=sealed,
        )


def sized_nonce(nonce: bytes) -> bytes:
    """Return the nonce once its length is in range.

    Raises:
        SessionError: ``session-message``.
    """
    if not NONCE_MIN_BYTES <= len(nonce) <= NONCE_MAX_BYTES:
        raise SessionError(
            ErrorCode.SESSION_MESSAGE,
            f"a nonce has {len(nonce)} bytes, expected {NONCE_MIN_BYTES} to {NONCE_MAX_BYTES}",
        )
    return nonce


def hello_info(suite: HpkeSuite, identity: Sha384, nonce: bytes) -> bytes:
    """Return what a hello's body is sealed with: it opens for this boot, nonce and suite only."""
    return pack(HELLO_INFO, suite.kem_id, identity.digest, nonce)


@dataclass(frozen=True, slots=True, kw_only=True)
class HelloBody:
    """Hold what only the enclave sees of a hello.

    Attributes:
        agent_id: the agent's name in the manifest.
        resumes: id of the session to go on with, or empty for a new one.
        response_key: the answer is sealed to it; ephemeral.
        limits: what the agent asks for.
        secret: 32 random bytes that go into the record keys.
    """

    agent_id: str
    resumes: bytes
    response_key: HpkePublicKey
    limits: SessionLimits
    secret: bytes

    def fields(self) -> tuple[bytes | int, ...]:
        """Return what is sealed and signed, without the signature."""
        return (
            self.agent_id.encode(),
            self.resumes,
            self.response_key.encoded,
            *limit_fields(self.limits),
            self.secret,
        )

    def encode(self, signature: bytes) -> bytes:
        """Return the body with the grant key's signature."""
        return pack(HELLO_BODY, *self.fields(), signature)

    def signed(self, info: bytes) -> bytes:
        """Return what the grant key signs: the body and what it is sealed with."""
        return pack(HELLO_SIGNATURE, info, *self.fields())

    def __repr__(self) -> str:
        return "HelloBody(hidden)"


def parse_hello_body(body: bytes, suite: HpkeSuite) -> tuple[HelloBody, bytes]:
    """Return the body and its signature, which nobody has checked.

    Raises:
        SessionError: ``session-message``.
    """
    agent_id, resumes, response_key, *limits, secret, signature = unpack(body, HELLO_BODY, 8)
    if resumes:
        sized(resumes, SESSION_ID_BYTES)
    return (
        HelloBody(
            agent_id=agent_name(agent_id),
            resumes=resumes,
            response_key=HpkePublicKey(suite=suite, encoded=response_key),
            limits=read_limits(limits),
            secret=sized(secret, AGENT_SECRET_BYTES),
        ),
        sized(signature, ED25519_BYTES),
    )


def agent_name(field: bytes) -> str:
    """Return an agent id: printable UTF-8 of 1 to 128 bytes.

    Raises:
        SessionError: ``session-message``.
    """
    try:
        name = field.decode()
    except UnicodeDecodeError as error:
        raise SessionError(ErrorCode.SESSION_MESSAGE, "an agent id is not UTF-8") from error
    if not 1 <= len(field) <= AGENT_ID_MAX_BYTES or not name.isprintable():
        raise SessionError(
            ErrorCode.SESSION_MESSAGE, f"an agent id is not 1 to {AGENT_ID_MAX_BYTES} bytes of printable text"
        )
    return name


def limit_fields(limits: SessionLimits) -> tuple[int, int, int]:
    """Return the three numbers of the limits."""
    return limits.lifetime_s, limits.max_records, limits.max_bytes


def read_limits(fields: list[bytes]) -> SessionLimits:
    """Return the limits in three fields.

    Raises:
        SessionError: ``session-message`` when one is out of range.
    """
    lifetime_s, max_records, max_bytes = (number(field) for field in fields)
    try:
        return SessionLimits(lifetime_s=lifetime_s, max_records=max_records, max_bytes=max_bytes)
    except UsageError as error:
        raise SessionError(ErrorCode.SESSION_MESSAGE, error.message) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """Hold the enclave's answer to a hello; only the data key in it is secret.

    Attributes:
        session_id: 16 bytes.
        blob: the data key as KMS wrapped it, for the ticket.
        limits: what is granted.
        expires_ms: when the session ends by the enclave's own time, milliseconds since the epoch.
        sealed: the data key, sealed to the hello's response key.
        signature: ES384 by the receipt key over transcript and ``sealed``, 96 bytes.
    """

    session_id: bytes
    blob: bytes
    limits: SessionLimits
    expires_ms: int
    sealed: bytes
    signature: bytes

    def encode(self) -> bytes:
        """Return the message."""
        return pack(
            RESPONSE,
            self.session_id,
            self.blob,
            *limit_fields(self.limits),
            self.expires_ms,
            self.sealed,
            self.signature,
        )

    @classmethod
    def parse(cls, message: bytes) -> Self:
        """Take an answer apart.

        Raises:
            SessionError: ``session-message``.
        """
        session_id, blob, lifetime_s, max_records, max_bytes, expires_ms, sealed, signature = unpack(
            message, RESPONSE, 8
        )
        return cls(
            session_id=sized(session_id, SESSION_ID_BYTES),
            blob=sized_blob(blob),
            limits=read_limits([lifetime_s, max_records, max_bytes]),
            expires_ms=number(expires_ms),
            sealed=sealed,
            signature=sized(signature, ES384_BYTES),
        )


def sized_blob(blob: bytes) -> bytes:
    """Return the wrapped key once its length is one that KMS takes.

    Raises:
        SessionError: ``session-message``.
    """
    if not 1 <= len(blob) <= BLOB_MAX_BYTES:
        raise SessionError(
            ErrorCode.SESSION_MESSAGE, f"a wrapped key has {len(blob)} bytes, expected 1 to {BLOB_MAX_BYTES}"
        )
    return blob


def transcript(
    hello: bytes, body: HelloBody, *, session_id: bytes, blob: bytes, limits: SessionLimits, expires_ms: int
) -> Sha384:
    """Return the hash of everything both sides know before the answer is sealed.

    The hello holds the digest of the identity statement, hence boot id, manifest and keys; the body what was signed.
    """
    return digest(
        pack(TRANSCRIPT, hello, pack(HELLO_BODY, *body.fields()), session_id, blob, *limit_fields(limits), expires_ms)
    )


def response_info(transcript_hash: Sha384) -> bytes:
    """Return what the data key is sealed with: it opens in this handshake only."""
    return pack(RESPONSE_INFO, transcript_hash.digest)


def response_signed(transcript_hash: Sha384, sealed: bytes) -> bytes:
    """Return what the receipt key signs in an answer."""
    return pack(RESPONSE_SIGNATURE, transcript_hash.digest, sealed)
