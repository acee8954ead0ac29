"""Derive the keys of a session from KMS's data key, the agent's secret and the transcript.

Both secrets are needed for the record keys: who could make KMS unwrap the data key still lacks the agent's, which only
ever travels sealed to the attested enclave. The commitment needs the data key alone, so that another enclave can check
it before it has met the agent.

Spec: RFC 5869 (HKDF, with SHA-384); docs/protocol.md, "Key schedule".
"""

from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pcrgate.envelope.materials import SecretBytes
from pcrgate.envelope.session_labels import (
    KEY_AGENT_TO_ENCLAVE,
    KEY_COMMITMENT,
    KEY_DIGEST,
    KEY_ENCLAVE_TO_AGENT,
)
from pcrgate.errors import ErrorCode, SessionError
from pcrgate.units import Sha384

DATA_KEY_BYTES: Final = 32
"""Length of the data key that KMS makes for a session (AES_256)."""

AGENT_SECRET_BYTES: Final = 32
"""Length of the secret an agent puts into its hello."""

COMMITMENT_BYTES: Final = 48
"""Length of the commitment: a whole SHA-384, so that two keys with the same one cannot be found."""

RECORD_KEY_BYTES: Final = 32
"""AES-256."""

RECORD_IV_BYTES: Final = 12
"""Length of the GCM nonce, and of the value that the sequence number is combined with."""


DIGEST_KEY_BYTES: Final = 48
"""Length of the key for digests of contents: as long as what HMAC-SHA384 gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectionKey:
    """Hold what seals one direction.

    Attributes:
        secret: 32 bytes of AES key, then the 12 bytes that each sequence number is XORed into.
    """

    secret: SecretBytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionKeys:
    """Hold the keys of one session on one boot.

    Attributes:
        agent_to_enclave: seals requests.
        enclave_to_agent: seals results.
        digest: 48 bytes; keys the digests of contents that receipts carry, so that nobody else can try contents out.
    """

    agent_to_enclave: DirectionKey
    enclave_to_agent: DirectionKey
    digest: SecretBytes

    def wipe(self) -> None:
        """Overwrite all of them."""
        self.digest.wipe()
        self.agent_to_enclave.secret.wipe()
        self.enclave_to_agent.secret.wipe()


def key_commitment(data_key: SecretBytes, transcript: Sha384) -> bytes:
    """Return the 48 bytes that commit to the data key under the transcript, and tell nothing of it.

    Raises:
        SessionError: ``session-open`` for a data key of another length.
    """
    with _derive(_sized(data_key), transcript, KEY_COMMITMENT, COMMITMENT_BYTES) as commitment:
        return commitment.reveal()


def session_keys(data_key: SecretBytes, agent_secret: SecretBytes, transcript: Sha384) -> SessionKeys:
    """Return the record keys and the key of digests.

    Args:
        data_key: 32 bytes from KMS.
        agent_secret: 32 bytes from the hello.
        transcript: hash of the handshake so far, which holds identity, boot and every granted limit.

    Raises:
        SessionError: ``session-open`` for a data key of another length.
    """
    joined = bytearray(DATA_KEY_BYTES + AGENT_SECRET_BYTES)
    with SecretBytes(joined) as both, _sized(data_key).view() as first, agent_secret.view() as second:
        joined[:DATA_KEY_BYTES] = first
        joined[DATA_KEY_BYTES:] = second
        length = RECORD_KEY_BYTES + RECORD_IV_BYTES
        return SessionKeys(
            agent_to_enclave=DirectionKey(secret=_derive(both, transcript, KEY_AGENT_TO_ENCLAVE, length)),
            enclave_to_agent=DirectionKey(secret=_derive(both, transcript, KEY_ENCLAVE_TO_AGENT, length)),
            digest=_derive(both, transcript, KEY_DIGEST, DIGEST_KEY_BYTES),
        )


def _sized(data_key: SecretBytes) -> SecretBytes:
    if len(data_key) != DATA_KEY_BYTES:
        raise SessionError(ErrorCode.SESSION_OPEN, "a data key was refused")
    return data_key


def _derive(secret: SecretBytes, salt: Sha384, label: bytes, length: int) -> SecretBytes:
    derived = bytearray(length)
    with secret.view() as material:
        HKDF(algorithm=SHA384(), length=length, salt=salt.digest, info=label).derive_into(material, derived)
    return SecretBytes(derived)
