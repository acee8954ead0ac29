"""Play the agent's part of the handshake: hello to an appraised enclave, judge its answer, confirm.

The agent has appraised evidence before any of this: :class:`VerifiedIdentity` cannot be had otherwise. To resume on
another boot it appraises that boot's evidence and makes a hello that names the session; the new boot's id goes into the
associated data of every record from then on, because the new identity does.

Spec: docs/protocol.md, "Handshake" and "Tickets".
"""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from pcrgate.envelope.hpke import HpkePrivateKey, HpkeSuite
from pcrgate.envelope.materials import SecretBytes
from pcrgate.envelope.session import Role, Session
from pcrgate.envelope.session_identity import VerifiedIdentity
from pcrgate.envelope.session_keys import AGENT_SECRET_BYTES, key_commitment, session_keys
from pcrgate.envelope.session_limits import SessionLimits
from pcrgate.envelope.session_messages import (
    Hello,
    HelloBody,
    Response,
    agent_name,
    hello_info,
    response_info,
    response_signed,
    sized_nonce,
    transcript,
)
from pcrgate.envelope.session_signature import verify_es384
from pcrgate.envelope.session_ticket import Ticket
from pcrgate.errors import ErrorCode, SessionError

PREFERRED_SUITE: Final = HpkeSuite.MLKEM768_X25519
"""What agents use unless told otherwise."""


class GrantKey(Protocol):
    """Signs with the agent's Ed25519 key; ``Ed25519PrivateKey`` is one, a key in hardware may be another."""

    def sign(self, data: bytes, /) -> bytes:
        """Return the 64-byte signature."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Established:
    """Hold an agent's side after the handshake.

    Attributes:
        session: seals requests, opens results.
        ticket: the confirmation to send; without it the enclave opens nothing. Keep its bytes to resume.
        session_id: 16 bytes.
        enclave_expires_ms: end of the session by the enclave's time; the session's own is by the agent's clock.
    """

    session: Session
    ticket: bytes
    session_id: bytes
    enclave_expires_ms: int


class AgentHandshake:
    """Make one session with one appraised enclave."""

    def __init__(
        self,
        *,
        identity: VerifiedIdentity,
        nonce: bytes,
        agent_id: str,
        grant_key: GrantKey,
        now_ms: int,
        suite: HpkeSuite = PREFERRED_SUITE,
        limits: SessionLimits | None = None,
        resumes: bytes = b"",
        randomness: Callable[[int], bytes] = secrets.token_bytes,
        response_key: HpkePrivateKey | None = None,
    ) -> None:
        """Make the hello.

        Args:
            identity: of the enclave whose evidence the agent appraised.
            nonce: the one in that evidence, 16 to 64 bytes.
            agent_id: the agent's name in the manifest.
            grant_key: its Ed25519 key.
            now_ms: the agent's clock, milliseconds since the epoch.
            suite: which of the enclave's keys to seal to.
            limits: what to ask for; the most there is when None.
            resumes: id of a session to go on with, 16 bytes, or empty.
            randomness: returns as many random bytes as asked; the agent's secret comes from it.
            response_key: ephemeral key of the suite; a fresh one when None.

        Raises:
            SessionError: ``session-message`` for a nonce or agent id out of range.
        """
        self._identity: Final = identity
        self._grant_key: Final = grant_key
        self._made_ms: Final = now_ms
        self._key: Final = response_key or HpkePrivateKey.generate(suite)
        self._body: Final = HelloBody(
            agent_id=agent_name(agent_id.encode()),
            resumes=resumes,
            response_key=self._key.public_key,
            limits=limits or SessionLimits(),
            secret=randomness(AGENT_SECRET_BYTES),
        )
        info = hello_info(suite, identity.digest, sized_nonce(nonce))
        body = self._body.encode(grant_key.sign(self._body.signed(info)))
        sealed = identity.statement.hpke_keys[suite].seal(body, info=info)
        self.hello: Final = Hello(suite=suite, identity=identity.digest, nonce=nonce, sealed=sealed).encode()

    def finish(self, message: bytes) -> Established:
        """Return the session and its confirmation, once the answer is the appraised enclave's answer to this hello.

        Raises:
            SessionError: ``session-message``, ``session-response`` or ``session-open``.
        """
        response = Response.parse(message)
        hashed = transcript(
            self.hello,
            self._body,
            session_id=response.session_id,
            blob=response.blob,
            limits=response.limits,
            expires_ms=response.expires_ms,
        )
        # (1) the attested receipt key signed exactly this exchange
        verify_es384(
            self._identity.receipt_key,
            response.signature,
            response_signed(hashed, response.sealed),
            SessionError(ErrorCode.SESSION_RESPONSE, "the answer is not signed by the attested enclave for this hello"),
        )
        # (2) it grants no more than was asked for, of the session that was asked for
        if response.limits.within(self._body.limits) != response.limits:
            raise SessionError(ErrorCode.SESSION_RESPONSE, "the answer grants more than was asked for")
        if self._body.resumes not in (b"", response.session_id):
            raise SessionError(ErrorCode.SESSION_RESPONSE, "the answer is about another session than the one to resume")
        # (3) the data key is sealed to this handshake
        data_key = SecretBytes(bytearray(self._key.open(response.sealed, info=response_info(hashed))))
        with data_key, SecretBytes(self._body.secret) as agent_secret:
            commitment = key_commitment(data_key, hashed)
            keys = session_keys(data_key, agent_secret, hashed)
        # (4) confirm it
        statement = self._identity.statement
        unsigned = Ticket(
            session_id=response.session_id,
            agent_id=self._body.agent_id,
            manifest_digest=statement.manifest_digest,
            boot_id=statement.boot_id,
            transcript=hashed,
            expires_ms=response.expires_ms,
            blob=response.blob,
            commitment=commitment,
        )
        return Established(
            session=Session(
                role=Role.AGENT,
                session_id=response.session_id,
                agent_id=self._body.agent_id,
                boot_id=statement.boot_id,
                keys=keys,
                limits=response.limits,
                expires_ms=self._made_ms + response.limits.lifetime_s * 1000,
            ),
            ticket=unsigned.signed_by(self._grant_key.sign(unsigned.signed())).encode(),
            session_id=response.session_id,
            enclave_expires_ms=response.expires_ms,
        )
