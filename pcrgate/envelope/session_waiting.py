"""Remember what a handshake needs between its steps: nonces that evidence was made for, answers not yet confirmed.

Both tables are bounded in number and time, and forgetting only ever refuses.

Spec: docs/protocol.md, "Handshake".
"""

import threading
from dataclasses import dataclass
from typing import Final

from pcrgate.envelope.session_keys import SessionKeys
from pcrgate.envelope.session_limits import SessionGrant, SessionLimits
from pcrgate.envelope.session_messages import sized_nonce
from pcrgate.errors import ErrorCode, SessionError
from pcrgate.units import Sha384

NONCE_LIFE_MS: Final = 300_000
"""How long after its document a nonce may begin a handshake: as long as an agent takes evidence for fresh."""

NONCES_MAX: Final = 8_192
"""Most nonces remembered; the oldest goes first, and whoever held it asks for evidence again."""

WAITING_LIFE_MS: Final = 60_000
"""How long an answer waits for its confirmation: far above a round trip."""

WAITING_MAX: Final = 1_024
"""Most handshakes waiting for their confirmation; about 2 MB."""

WAITING_PER_AGENT_MAX: Final = 32
"""Most of them of one agent, so that one cannot keep the others out."""


class Nonces:
    """Let each nonce that evidence was made for begin one handshake. Threads may share it."""

    def __init__(self) -> None:
        self._until_ms: dict[bytes, int] = {}
        self._used: set[bytes] = set()
        self._lock: Final = threading.Lock()

    def attested(self, nonce: bytes, now_ms: int) -> None:
        """Remember that a document with this nonce was made.

        Raises:
            SessionError: ``session-message`` when no hello could carry it: 16 to 64 bytes; ``session-nonce`` when a
                hello has used it in the last 300 seconds.
        """
        sized_nonce(nonce)
        with self._lock:
            if nonce in self._used and self._until_ms[nonce] > now_ms:
                raise _stale()
            self._forget(nonce)
            self._until_ms[nonce] = now_ms + NONCE_LIFE_MS
            if len(self._until_ms) > NONCES_MAX:
                self._forget(next(iter(self._until_ms)))

    def require(self, nonce: bytes, now_ms: int) -> None:
        """Refuse a nonce for which no document was made in the last 300 seconds, or that was used.

        Raises:
            SessionError: ``session-nonce``.
        """
        if self._until_ms.get(nonce, now_ms) <= now_ms or nonce in self._used:
            raise _stale()

    def use(self, nonce: bytes, now_ms: int) -> None:
        """Use the nonce up.

        Raises:
            SessionError: ``session-nonce``.
        """
        with self._lock:
            self.require(nonce, now_ms)
            self._used.add(nonce)

    def _forget(self, nonce: bytes) -> None:
        self._until_ms.pop(nonce, None)
        self._used.discard(nonce)


def _stale() -> SessionError:
    return SessionError(
        ErrorCode.SESSION_NONCE, "no evidence was made for the nonce lately, or it was used, expected a fresh one"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingHandshake:
    """Hold a handshake whose answer is not confirmed.

    Attributes:
        grant: of the agent that must confirm.
        transcript: hash of the exchange.
        commitment: to the data key, 48 bytes.
        blob: the wrapped data key.
        keys: the record keys, wiped when nobody confirms.
        limits: what was granted.
        expires_ms: end of the session.
        until_ms: until when it waits.
    """

    grant: SessionGrant
    transcript: Sha384
    commitment: bytes
    blob: bytes
    keys: SessionKeys
    limits: SessionLimits
    expires_ms: int
    until_ms: int


class WaitingHandshakes:
    """Hold the handshakes that wait, by session id. Threads may share it."""

    def __init__(self) -> None:
        self._waiting: dict[bytes, WaitingHandshake] = {}
        self._lock: Final = threading.Lock()

    def __len__(self) -> int:
        return len(self._waiting)

    def keep(self, session_id: bytes, handshake: WaitingHandshake, now_ms: int) -> None:
        """Keep a handshake; one that waited under the same id is dropped.

        Raises:
            SessionError: ``session-limit`` when too many wait; the keys are wiped then.
        """
        with self._lock:
            self._drop_late(now_ms)
            self._drop(session_id)
            of_agent = sum(other.grant.agent_id == handshake.grant.agent_id for other in self._waiting.values())
            if len(self._waiting) >= WAITING_MAX or of_agent >= WAITING_PER_AGENT_MAX:
                handshake.keys.wipe()
                raise SessionError(
                    ErrorCode.SESSION_LIMIT,
                    f"too many handshakes wait, limits {WAITING_PER_AGENT_MAX} an agent, {WAITING_MAX} in all",
                )
            self._waiting[session_id] = handshake

    def find(self, session_id: bytes, now_ms: int) -> WaitingHandshake:
        """Return the handshake that waits under the id, which stays.

        Raises:
            SessionError: ``session-unknown``.
        """
        with self._lock:
            self._drop_late(now_ms)
            return self._require(session_id)

    def take(self, session_id: bytes, handshake: WaitingHandshake) -> None:
        """Remove the handshake, which now belongs to the caller.

        Raises:
            SessionError: ``session-unknown`` when somebody else took it first.
        """
        with self._lock:
            if self._require(session_id) is not handshake:
                raise _unknown()
            del self._waiting[session_id]

    def _require(self, session_id: bytes) -> WaitingHandshake:
        found = self._waiting.get(session_id)
        if found is None:
            raise _unknown()
        return found

    def _drop_late(self, now_ms: int) -> None:
        for session_id in [key for key, waiting in self._waiting.items() if waiting.until_ms <= now_ms]:
            self._drop(session_id)

    def _drop(self, session_id: bytes) -> None:
        dropped = self._waiting.pop(session_id, None)
        if dropped is not None:
            dropped.keys.wipe()


def _unknown() -> SessionError:
    return SessionError(ErrorCode.SESSION_UNKNOWN, "no handshake waits for this confirmation")
