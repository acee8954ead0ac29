"""Keep a session where the parent can: wrapped key, public transcript, and the agent's word that it is its session.

A ticket is no secret and proves nothing by itself. What it says is accepted because the agent's grant key signed all of
it, and its wrapped key because the agent's commitment fits what KMS unwraps. So whoever can mint wrapped keys
(``kms:Encrypt``) still cannot mint a session.

Spec: docs/protocol.md, "Tickets".
"""

import hmac
from dataclasses import dataclass, replace
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from pcrgate.envelope.materials import SecretBytes
from pcrgate.envelope.session_fields import digest, number, pack, sized, unpack
from pcrgate.envelope.session_identity import BOOT_ID_BYTES
from pcrgate.envelope.session_keys import COMMITMENT_BYTES, DATA_KEY_BYTES, key_commitment
from pcrgate.envelope.session_labels import CONFIRMATION, TICKET
from pcrgate.envelope.session_limits import SessionGrant
from pcrgate.envelope.session_messages import ED25519_BYTES, SESSION_ID_BYTES, agent_name, sized_blob
from pcrgate.errors import ErrorCode, SessionError
from pcrgate.units import SHA384_BYTES, Sha384

CONTEXT_CLASS: Final = "session"
"""The class in the encryption context of session keys; the key policies of kms_policies demand it."""


def session_context(session_id: bytes, agent_id: str, manifest_digest: Sha384) -> dict[str, str]:
    """Return the KMS encryption context of a session's data key."""
    return {
        "class": CONTEXT_CLASS,
        "session": session_id.hex(),
        "agent": agent_id,
        "manifest": manifest_digest.hex(),
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """Hold what a ticket says; nobody has checked it.

    Attributes:
        session_id: 16 bytes.
        agent_id: whose session it is.
        manifest_digest: the manifest under which it began.
        boot_id: the boot whose answer the agent confirmed, 32 bytes.
        transcript: hash of that handshake.
        expires_ms: end of the session by the enclave's own time.
        blob: the wrapped data key.
        commitment: to the data key under the transcript, 48 bytes.
        signature: Ed25519 by the agent's grant key over all of it, 64 bytes.
    """

    session_id: bytes
    agent_id: str
    manifest_digest: Sha384
    boot_id: bytes
    transcript: Sha384
    expires_ms: int
    blob: bytes
    commitment: bytes
    signature: bytes = b""

    def _fields(self) -> tuple[bytes | int, ...]:
        return (
            self.session_id,
            self.agent_id.encode(),
            self.manifest_digest.digest,
            self.boot_id,
            self.transcript.digest,
            self.expires_ms,
            self.blob,
            self.commitment,
        )

    def signed(self) -> bytes:
        """Return what the grant key signs: the confirmation."""
        return pack(CONFIRMATION, *self._fields())

    def signed_by(self, signature: bytes) -> Self:
        """Return the same with a signature, 64 bytes."""
        return replace(self, signature=signature)

    def encode(self) -> bytes:
        """Return the ticket."""
        return pack(TICKET, *self._fields(), self.signature)

    @property
    def context(self) -> dict[str, str]:
        """The encryption context that the fields claim."""
        return session_context(self.session_id, self.agent_id, self.manifest_digest)

    @property
    def digest(self) -> Sha384:
        """SHA-384 of the encoding."""
        return digest(self.encode())

    @classmethod
    def parse(cls, message: bytes) -> Self:
        """Take a ticket apart.

        Raises:
            SessionError: ``session-message``.
        """
        session_id, agent_id, manifest_digest, boot_id, transcript, expires_ms, blob, commitment, signature = unpack(
            message, TICKET, 9
        )
        return cls(
            session_id=sized(session_id, SESSION_ID_BYTES),
            agent_id=agent_name(agent_id),
            manifest_digest=Sha384(sized(manifest_digest, SHA384_BYTES)),
            boot_id=sized(boot_id, BOOT_ID_BYTES),
            transcript=Sha384(sized(transcript, SHA384_BYTES)),
            expires_ms=number(expires_ms),
            blob=sized_blob(blob),
            commitment=sized(commitment, COMMITMENT_BYTES),
            signature=sized(signature, ED25519_BYTES),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedTicket:
    """Hold a ticket that the agent signed. Only :func:`verify_ticket` makes one."""

    ticket: Ticket


def verify_ticket(ticket: Ticket, grant: SessionGrant) -> VerifiedTicket:
    """Return the ticket once the agent's confirmation holds.

    Args:
        ticket: from :meth:`Ticket.parse`.
        grant: what the live manifest says of the agent that the ticket names.

    Raises:
        SessionError: ``session-ticket``.
    """
    # (1) the grant is that of the agent the ticket names
    if ticket.agent_id != grant.agent_id:
        raise refused_ticket()
    # (2) its grant key signed every field
    if not signature_holds(grant.public_key, ticket.signature, ticket.signed()):
        raise refused_ticket()
    return VerifiedTicket(ticket=ticket)


def verify_commitment(verified: VerifiedTicket, data_key: SecretBytes) -> None:
    """Refuse a data key that is not the one the agent confirmed.

    Raises:
        SessionError: ``session-ticket``.
    """
    ticket = verified.ticket
    if len(data_key) != DATA_KEY_BYTES or not hmac.compare_digest(
        key_commitment(data_key, ticket.transcript), ticket.commitment
    ):
        raise refused_ticket()


def signature_holds(public_key: bytes, signature: bytes, signed: bytes) -> bool:
    """Whether the Ed25519 signature is the key's; a key that cannot be read signs nothing."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def refused_ticket() -> SessionError:
    """Return the one refusal of tickets."""
    return SessionError(ErrorCode.SESSION_TICKET, "the ticket was refused")
