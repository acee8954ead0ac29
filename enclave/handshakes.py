"""Make and end sessions: hellos, confirmations, tickets, goodbyes, each with its receipt."""

from collections.abc import Mapping
from typing import Final

from enclave.clock import OwnClock
from enclave.counters import Counter, Counters
from enclave.kms_release import KmsDataKeys
from enclave.rates import SESSION_RATE, AgentRates
from enclave.receipt_book import ReceiptBook, plain_digest
from enclave.sessions import SessionTable
from pcrgate.envelope.materials import SecretBytes
from pcrgate.envelope.session import Role, record_session
from pcrgate.envelope.session_enclave import EnclaveHandshake, Offer
from pcrgate.envelope.session_limits import SessionGrant, SessionLimits
from pcrgate.errors import ErrorCode, ReleaseError, SessionError
from pcrgate.manifest.release import Manifest
from pcrgate.receipts.claims import Decision
from pcrgate.receipts.signer import Event
from pcrgate.wire.messages import (
    SessionConfirm,
    SessionConfirmAnswer,
    SessionEnd,
    SessionEndAnswer,
    SessionOpen,
    SessionOpenAnswer,
    SessionResume,
    SessionResumeAnswer,
)

GOODBYE: Final = b"pcrgate/goodbye/v1"
"""Content of the record with which an agent ends its session."""


class Handshakes:
    """Play the enclave's part; threads may share it."""

    def __init__(
        self,
        *,
        handshake: EnclaveHandshake,
        manifest: Manifest,
        data_keys: KmsDataKeys | None,
        limits: SessionLimits,
        sessions: SessionTable,
        receipts: ReceiptBook,
        clock: OwnClock,
        counters: Counters,
    ) -> None:
        """Take what sessions need.

        Args:
            handshake: of this boot.
            manifest: lists agents and grants.
            data_keys: from KMS; None when the manifest names no session key.
            limits: the most any session gets.
            sessions: where they are kept.
            receipts: where everything is written.
            clock: the enclave's own.
            counters: what is counted.
        """
        self._handshake: Final = handshake
        self._manifest: Final = manifest
        self._data_keys: Final = None if data_keys is None else _RatedKeys(data_keys, clock)
        self._limits: Final = limits
        self._sessions: Final = sessions
        self._receipts: Final = receipts
        self._clock: Final = clock
        self._counters: Final = counters

    def open(self, message: SessionOpen) -> SessionOpenAnswer:
        """Return the answer to a hello for a new session.

        Raises:
            SessionError: as ``EnclaveHandshake.accept`` says.
            PcrgateError: ``agent-rate``.
            ReleaseError: when KMS releases no key.
        """
        offer = self._accept(message.hello, None)
        return SessionOpenAnswer(response=offer.response, receipt=self._released(offer, message.hello))

    def resume(self, message: SessionResume) -> SessionResumeAnswer:
        """Return the answer to a hello for a session of another boot.

        Raises:
            SessionError: as ``EnclaveHandshake.accept`` says.
            PcrgateError: ``agent-rate``.
            ReleaseError: when KMS releases no key.
        """
        offer = self._accept(message.hello, message.ticket)
        return SessionResumeAnswer(response=offer.response, receipt=self._released(offer, message.hello))

    def _accept(self, hello: bytes, ticket: bytes | None) -> Offer:
        if self._data_keys is None:
            raise ReleaseError(
                ErrorCode.ENCLAVE_RELEASE, "the manifest names no session key, expected one for sessions"
            )
        return self._handshake.accept(
            hello, grants=self.grant, data_keys=self._data_keys, now_ms=self._clock.now_ms(), ticket=ticket
        )

    def _released(self, offer: Offer, hello: bytes) -> bytes:
        self._counters.add(Counter.RELEASES)
        return self._receipts.write(
            Event(
                request_digest=plain_digest(hello),
                decision=Decision.ACCEPTED,
                agent_id=offer.agent_id,
                session_id=offer.session_id,
            ),
            self._clock.now_ms(),
        )

    def confirm(self, message: SessionConfirm) -> SessionConfirmAnswer:
        """Open the session that an agent confirmed.

        Raises:
            SessionError: ``session-message``, ``session-unknown``, ``session-ticket`` or ``session-limit``.
        """
        session = self._handshake.confirm(message.ticket, now_ms=self._clock.now_ms())
        self._sessions.add(session, self._clock.now_ms())
        self._counters.add(Counter.SESSIONS_OPENED)
        receipt = self._receipts.write(
            Event(
                request_digest=plain_digest(message.ticket),
                decision=Decision.ACCEPTED,
                agent_id=session.agent_id,
                session_id=session.session_id,
            ),
            self._clock.now_ms(),
        )
        return SessionConfirmAnswer(session_id=session.session_id, receipt=receipt)

    def end(self, message: SessionEnd) -> SessionEndAnswer:
        """End a session on its agent's word: a record that holds the goodbye.

        Raises:
            SessionError: when no session opens the record, or it holds something else.
        """
        session = self._sessions.find(record_session(message.record))
        opened = session.open(message.record, now_ms=self._clock.now_ms())
        if opened.plaintext != GOODBYE:
            raise SessionError(ErrorCode.SESSION_MESSAGE, "the record holds no goodbye, expected one")
        event = Event(
            request_digest=session.content_digest(Role.AGENT, opened.sequence, opened.plaintext),
            decision=Decision.ACCEPTED,
            agent_id=session.agent_id,
            session_id=session.session_id,
        )
        self._sessions.end(session)
        self._counters.add(Counter.SESSIONS_ENDED)
        return SessionEndAnswer(receipt=self._receipts.write(event, self._clock.now_ms()))

    def grant(self, agent_id: str) -> SessionGrant | None:
        """Return what the live manifest says of an agent, None when nothing is granted to it."""
        ends = [grant.expires_ms for grant in self._manifest.grants if grant.agent == agent_id]
        agent = next((agent for agent in self._manifest.agents if agent.name == agent_id), None)
        if agent is None or not ends:
            return None
        return SessionGrant(
            agent_id=agent.name,
            public_key=agent.public_key.public_bytes,
            expires_ms=min(max(ends), self._manifest.expires_ms),
            limits=self._limits,
        )


class _RatedKeys:
    """Get data keys no more often than one agent may; asked only after the agent's signature was verified."""

    def __init__(self, data_keys: KmsDataKeys, clock: OwnClock) -> None:
        self._data_keys: Final = data_keys
        self._clock: Final = clock
        self._rates: Final = AgentRates(SESSION_RATE)

    def generate(self, context: Mapping[str, str]) -> tuple[SecretBytes, bytes]:
        self._rates.take(context["agent"], self._clock.now_ms())
        return self._data_keys.generate(context)

    def unwrap(self, blob: bytes, context: Mapping[str, str]) -> SecretBytes:
        self._rates.take(context["agent"], self._clock.now_ms())
        return self._data_keys.unwrap(blob, context)
