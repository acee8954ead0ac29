"""Play the enclave's part of the handshake: open a hello, get a data key, answer, and wait for the confirmation.

What is remembered between the steps is bounded, and forgetting only ever refuses. Times are the enclave's own.

Spec: docs/protocol.md, "Handshake" and "Tickets".
"""

import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from pcrgate.envelope.materials import SecretBytes
from pcrgate.envelope.session import Role, Session
from pcrgate.envelope.session_identity import BootKeys
from pcrgate.envelope.session_keys import DATA_KEY_BYTES, key_commitment, session_keys
from pcrgate.envelope.session_limits import GrantLookup, SessionGrant, SessionLimits
from pcrgate.envelope.session_messages import (
    SESSION_ID_BYTES,
    Hello,
    HelloBody,
    Response,
    hello_info,
    parse_hello_body,
    response_info,
    response_signed,
    sized_blob,
    transcript,
)
from pcrgate.envelope.session_signature import sign_es384
from pcrgate.envelope.session_ticket import (
    Ticket,
    refused_ticket,
    session_context,
    signature_holds,
    verify_commitment,
    verify_ticket,
)
from pcrgate.envelope.session_waiting import WAITING_LIFE_MS, Nonces, WaitingHandshake, WaitingHandshakes
from pcrgate.errors import ErrorCode, SessionError


class DataKeySource(Protocol):
    """Gets data keys from KMS, attested. Implementations raise our own errors."""

    def generate(self, context: Mapping[str, str]) -> tuple[SecretBytes, bytes]:
        """Return a fresh 32-byte data key and the same key wrapped by KMS under the context."""
        ...

    def unwrap(self, blob: bytes, context: Mapping[str, str]) -> SecretBytes:
        """Return the data key in a wrapped key, once KMS has opened it under the context."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Hold an answer to send.

    Attributes:
        session_id: which session it offers, 16 bytes.
        agent_id: to whom.
        resumed: whether the session began on another boot.
        response: the message.
    """

    session_id: bytes
    agent_id: str
    resumed: bool
    response: bytes


class EnclaveHandshake:
    """Make sessions on one boot. Threads may share it; ``accept`` calls KMS and blocks meanwhile."""

    def __init__(
        self, boot: BootKeys, *, limits: SessionLimits, randomness: Callable[[int], bytes] = secrets.token_bytes
    ) -> None:
        """Take the boot's keys.

        Args:
            boot: keys and statement.
            limits: the most that any session gets, whatever its grant says.
            randomness: returns as many random bytes as asked; session ids come from it.
        """
        self._boot: Final = boot
        self._identity: Final = boot.statement.digest
        self._limits: Final = limits
        self._randomness: Final = randomness
        self._nonces: Final = Nonces()
        self._waiting: Final = WaitingHandshakes()

    def attested(self, nonce: bytes, *, now_ms: int) -> None:
        """Remember that a document with this nonce was made; one hello may follow within 300 seconds.

        Raises:
            SessionError: ``session-message`` when no hello could carry the nonce: 16 to 64 bytes.
        """
        self._nonces.attested(nonce, now_ms)

    def accept(
        self,
        message: bytes,
        *,
        grants: GrantLookup,
        data_keys: DataKeySource,
        now_ms: int,
        ticket: bytes | None = None,
    ) -> Offer:
        """Return the answer to a hello.

        Args:
            message: the hello.
            grants: looks agents up in the live manifest.
            data_keys: gets the data key from KMS; called only after everything the agent signed has been checked.
            now_ms: the enclave's own time, milliseconds since the epoch.
            ticket: what the parent kept, when the hello resumes a session.

        Raises:
            SessionError: ``session-message``, ``session-identity``, ``session-nonce``, ``session-open``,
                ``session-hello``, ``session-ticket``, ``session-expired`` or ``session-limit``.
            PcrgateError: what ``data_keys`` raises.
        """
        hello = Hello.parse(message)
        # (1) the agent appraised this boot
        if hello.identity != self._identity:
            raise SessionError(
                ErrorCode.SESSION_IDENTITY, "the hello names another identity, expected that of this boot"
            )
        # (2) with evidence that this boot made for its nonce, lately
        self._nonces.require(hello.nonce, now_ms)
        # (3) it opens for this boot, nonce and suite
        info = hello_info(hello.suite, hello.identity, hello.nonce)
        opened = self._boot.hpke_keys[hello.suite].open(hello.sealed, info=info)
        # (4) the manifest lists the agent, and its grant key signed all of it
        body, grant = _verify_body(opened, hello, info, grants, now_ms)
        limits = body.limits.within(grant.limits).within(self._limits)
        expires_ms = min(now_ms + limits.lifetime_s * 1000, grant.expires_ms)
        # (5) a ticket is there exactly when it is needed, and its session is this agent's
        earlier = self._verify_resumed(body, grant, ticket, now_ms)
        if earlier is not None:
            expires_ms = min(expires_ms, earlier.expires_ms)
        # (6) the nonce counts once
        self._nonces.use(hello.nonce, now_ms)
        # (7) the data key, under a context that the enclave chose or the agent signed
        if earlier is None:
            session_id = self._randomness(SESSION_ID_BYTES)
            context = session_context(session_id, grant.agent_id, self._boot.statement.manifest_digest)
            data_key, blob = data_keys.generate(context)
        else:
            session_id, blob = earlier.session_id, earlier.blob
            data_key = data_keys.unwrap(blob, earlier.context)
        with data_key, SecretBytes(body.secret) as agent_secret:
            if len(data_key) != DATA_KEY_BYTES:
                raise SessionError(ErrorCode.SESSION_OPEN, "a data key was refused")
            if earlier is not None:
                # (8) it is the one that the agent confirmed
                verify_commitment(verify_ticket(earlier, grant), data_key)
            limits = SessionLimits(
                lifetime_s=max(1, (expires_ms - now_ms) // 1000),
                max_records=limits.max_records,
                max_bytes=limits.max_bytes,
            )
            hashed = transcript(
                message, body, session_id=session_id, blob=sized_blob(blob), limits=limits, expires_ms=expires_ms
            )
            waiting = WaitingHandshake(
                grant=grant,
                transcript=hashed,
                commitment=key_commitment(data_key, hashed),
                blob=blob,
                keys=session_keys(data_key, agent_secret, hashed),
                limits=limits,
                expires_ms=expires_ms,
                until_ms=now_ms + WAITING_LIFE_MS,
            )
            sealed = body.response_key.seal(data_key.reveal(), info=response_info(hashed))
        self._waiting.keep(session_id, waiting, now_ms)
        response = Response(
            session_id=session_id,
            blob=blob,
            limits=limits,
            expires_ms=expires_ms,
            sealed=sealed,
            signature=sign_es384(self._boot.receipt_key, response_signed(hashed, sealed)),
        )
        return Offer(
            session_id=session_id,
            agent_id=grant.agent_id,
            resumed=earlier is not None,
            response=response.encode(),
        )

    def confirm(self, message: bytes, *, now_ms: int) -> Session:
        """Return the session once the agent has confirmed its key; the message is the ticket for the parent to keep.

        Args:
            message: the ticket that the agent signed.
            now_ms: the enclave's own time, milliseconds since the epoch.

        Raises:
            SessionError: ``session-message``, ``session-unknown`` or ``session-ticket``.
        """
        ticket = Ticket.parse(message)
        waiting = self._waiting.find(ticket.session_id, now_ms)
        # (1) the agent's grant key signed it
        verified = verify_ticket(ticket, waiting.grant).ticket
        # (2) it is about this handshake, field by field
        expected = Ticket(
            session_id=ticket.session_id,
            agent_id=waiting.grant.agent_id,
            manifest_digest=self._boot.statement.manifest_digest,
            boot_id=self._boot.statement.boot_id,
            transcript=waiting.transcript,
            expires_ms=waiting.expires_ms,
            blob=waiting.blob,
            commitment=waiting.commitment,
        )
        if not hmac.compare_digest(expected.signed(), verified.signed()):
            raise refused_ticket()
        self._waiting.take(ticket.session_id, waiting)
        return Session(
            role=Role.ENCLAVE,
            session_id=ticket.session_id,
            agent_id=waiting.grant.agent_id,
            boot_id=self._boot.statement.boot_id,
            keys=waiting.keys,
            limits=waiting.limits,
            expires_ms=waiting.expires_ms,
        )

    def _verify_resumed(self, body: HelloBody, grant: SessionGrant, ticket: bytes | None, now_ms: int) -> Ticket | None:
        """Return the ticket of the session to resume once the agent's confirmation holds, or None for a new one."""
        if not body.resumes and ticket is None:
            return None
        if not body.resumes or ticket is None:
            raise refused_ticket()
        verified = verify_ticket(Ticket.parse(ticket), grant).ticket
        if verified.session_id != body.resumes or verified.manifest_digest != self._boot.statement.manifest_digest:
            raise refused_ticket()
        if verified.expires_ms <= now_ms:
            raise SessionError(ErrorCode.SESSION_EXPIRED, "the session has expired, expected a new one")
        return verified


def _verify_body(
    opened: bytes, hello: Hello, info: bytes, grants: GrantLookup, now_ms: int
) -> tuple[HelloBody, SessionGrant]:
    """Return the body and the grant of the agent that signed it; every refusal is the same."""
    refusal = SessionError(ErrorCode.SESSION_HELLO, "the hello was refused")
    try:
        body, signature = parse_hello_body(opened, hello.suite)
    except SessionError as error:
        raise refusal from error
    grant = grants(body.agent_id)
    if (
        grant is None
        or grant.agent_id != body.agent_id
        or grant.expires_ms <= now_ms
        or not signature_holds(grant.public_key, signature, body.signed(info))
    ):
        raise refusal
    return body, grant
