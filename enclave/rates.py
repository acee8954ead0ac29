"""Hold each agent to a rate, so that one leaves room for the others.

An agent is charged only for what it sealed or signed itself: whoever relays cannot use up another's share.
"""

import threading
from dataclasses import dataclass
from typing import Final

from pcrgate.errors import ErrorCode, PcrgateError

_WHOLE: Final = 1_000
"""One request, in the thousandths that a millisecond adds at one a second."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Say how often.

    Attributes:
        per_s: requests that come back each second.
        burst: requests that may come at once after a pause.
    """

    per_s: int
    burst: int


INVOCATION_RATE: Final = Rate(per_s=500, burst=1_000)
"""Records of one agent that are carried out: more than an agent that waits for its answers can send, and no more than
two processors carry out of the cheapest, so that others find a place beside one that floods."""

SESSION_RATE: Final = Rate(per_s=1, burst=64)
"""Session keys that KMS makes or opens for one agent: all the sessions that it may have, and then one a second. Each
costs the enclave an RSA key, and the account a share of KMS's quota."""


class AgentRates:
    """Know what each agent has left. Safe to share between threads.

    There is an entry for each agent that the manifest lists and that was heard of, so the table is bounded.
    """

    def __init__(self, rate: Rate) -> None:
        """Begin with a full burst for everybody."""
        self._rate: Final = rate
        self._lock: Final = threading.Lock()
        self._left: Final[dict[str, tuple[int, int]]] = {}

    def take(self, agent_id: str, now_ms: int) -> None:
        """Charge one request.

        Args:
            agent_id: whose request it is, known for certain.
            now_ms: the enclave's own time.

        Raises:
            PcrgateError: ``agent-rate`` when the agent has none left; nothing is charged then.
        """
        full = self._rate.burst * _WHOLE
        with self._lock:
            left, since_ms = self._left.get(agent_id, (full, now_ms))
            left = min(full, left + max(0, now_ms - since_ms) * self._rate.per_s)
            if left < _WHOLE:
                raise PcrgateError(
                    ErrorCode.AGENT_RATE,
                    f"more requests of one agent than its rate, expected {self._rate.per_s} a second, "
                    f"{self._rate.burst} at once",
                )
            self._left[agent_id] = (left - _WHOLE, max(now_ms, since_ms))
