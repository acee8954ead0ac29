"""Keep the open sessions of this boot: a bounded table, found by id, wiped at their end."""

import threading
from typing import Final

from pcrgate.envelope.session import Session
from pcrgate.errors import ErrorCode, SessionError

SESSIONS_MAX: Final = 2_048
"""Most open sessions."""

SESSIONS_PER_AGENT_MAX: Final = 64
"""Most of one agent, so that one cannot keep the others out."""


class SessionTable:
    """Hold sessions. Safe to share between threads."""

    def __init__(self) -> None:
        """Begin empty."""
        self._lock: Final = threading.Lock()
        self._open: Final[dict[bytes, Session]] = {}

    def add(self, session: Session, now_ms: int) -> None:
        """Keep a session; one of the same id that was open before is wiped.

        Raises:
            SessionError: ``session-limit`` when there are too many; the session is wiped.
        """
        with self._lock:
            for late in [key for key, one in self._open.items() if one.ended or one.expires_ms <= now_ms]:
                self._open.pop(late).end()
            replaced = self._open.pop(session.session_id, None)
            if replaced is not None:
                replaced.end()
            of_agent = sum(one.agent_id == session.agent_id for one in self._open.values())
            if len(self._open) >= SESSIONS_MAX or of_agent >= SESSIONS_PER_AGENT_MAX:
                session.end()
                raise SessionError(
                    ErrorCode.SESSION_LIMIT,
                    f"too many sessions are open, expected at most {SESSIONS_PER_AGENT_MAX} an agent",
                )
            self._open[session.session_id] = session

    def find(self, session_id: bytes) -> Session:
        """Return a session.

        Raises:
            SessionError: ``session-unknown``.
        """
        with self._lock:
            session = self._open.get(session_id)
        if session is None:
            raise SessionError(ErrorCode.SESSION_UNKNOWN, "no such session is open on this boot, expected a new one")
        return session

    def end(self, session: Session) -> None:
        """Wipe a session and forget it."""
        with self._lock:
            if self._open.get(session.session_id) is session:
                del self._open[session.session_id]
        session.end()

    def end_all(self) -> None:
        """Wipe every session."""
        with self._lock:
            for session in self._open.values():
                session.end()
            self._open.clear()

    def __len__(self) -> int:
        with self._lock:
            return len(self._open)
