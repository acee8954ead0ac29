"""Let every sequence number through once, in any order within a window.

Spec: RFC 4303, 3.4.3 (anti-replay window); docs/protocol.md, "Records".
"""

from typing import Final

from pcrgate.errors import ErrorCode, SessionError

REPLAY_WINDOW_RECORDS: Final = 1_024
"""How far behind the newest a record may arrive: more than any number of requests in flight that we allow a session."""


class ReplayWindow:
    """Remember which of the last 1024 sequence numbers were seen. The owner serialises access."""

    __slots__ = ("_highest", "_seen")

    def __init__(self) -> None:
        self._highest = 0
        self._seen = 0  # bit n: the number highest - n was seen

    def require_new(self, sequence: int) -> None:
        """Refuse a number that was seen, or that lies behind the window.

        Raises:
            SessionError: ``session-replayed``.
        """
        behind = self._highest - sequence
        if behind >= REPLAY_WINDOW_RECORDS or (behind >= 0 and self._seen >> behind & 1):
            raise SessionError(
                ErrorCode.SESSION_REPLAYED,
                f"record {sequence} was seen before or is {REPLAY_WINDOW_RECORDS} or more behind, expected a new one",
            )

    def mark(self, sequence: int) -> None:
        """Remember the number of a record that was authentic.

        Raises:
            SessionError: ``session-replayed`` when it has been marked in the meantime.
        """
        self.require_new(sequence)
        if sequence > self._highest:
            shift = min(sequence - self._highest, REPLAY_WINDOW_RECORDS)
            self._seen = (self._seen << shift) & ((1 << REPLAY_WINDOW_RECORDS) - 1)
            self._highest = sequence
        self._seen |= 1 << (self._highest - sequence)
