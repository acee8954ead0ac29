"""Begin the flows of one agent: what the synchronous and the asynchronous client drive, each in its way."""

import time
from collections.abc import Callable, Sequence
from typing import Final

from pcrgate.client.attesting import Attested, attesting
from pcrgate.client.auditing import chain_of
from pcrgate.client.conversation import Conversation, conversing
from pcrgate.client.exchange import Flow
from pcrgate.client.ledger import Ledger
from pcrgate.client.trust import TrustPolicy
from pcrgate.client.work import Action, action_request
from pcrgate.envelope.session_agent import GrantKey
from pcrgate.envelope.session_limits import SessionLimits
from pcrgate.receipts.verification import VerifiedReceipt


def wall_clock_ms() -> int:
    """Return milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def asked_in(result_id: str, current: Conversation, earlier: Sequence[Conversation]) -> Conversation:
    """Return the conversation of a session that a result is of; the current one when it is of none."""
    return next((one for one in earlier if one.knows(result_id)), current)


class AgentFlows:
    """Hold who the agent is and what it trusts, and one ledger a boot: receipts of all its sessions are held together.

    Attributes:
        now_ms: the agent's clock, milliseconds since the epoch.
    """

    def __init__(self, *, trust: TrustPolicy, agent_id: str, key: GrantKey, now_ms: Callable[[], int]) -> None:
        """Take the trust policy, the agent's name in the manifest, its Ed25519 key, and its clock."""
        self.now_ms: Final = now_ms
        self._trust: Final = trust
        self._agent_id: Final = agent_id
        self._key: Final = key
        self._ledgers: Final[dict[bytes, Ledger]] = {}

    def attested(self) -> Flow[Attested]:
        """Return the enclave, appraised just now; see :func:`pcrgate.client.attesting.attesting`."""
        return attesting(self._trust, self.now_ms())

    def conversation(self, limits: SessionLimits | None, resumes: bytes = b"") -> Flow[Conversation]:
        """Return a session with an enclave that was appraised just now; see :func:`conversing`."""
        attested = yield from self.attested()
        return (
            yield from conversing(
                attested, self._ledger(attested), agent_id=self._agent_id, key=self._key, limits=limits,
                now_ms=self.now_ms, resumes=resumes,
            )
        )  # fmt: skip

    def receipts(self) -> Flow[tuple[VerifiedReceipt, ...]]:
        """Return the whole chain of the current boot; see :func:`pcrgate.client.auditing.chain_of`."""
        attested = yield from self.attested()
        return (yield from chain_of(self._ledger(attested)))

    def signed(self, action: Action) -> bytes:
        """Return the signed request to ``validate``."""
        return action_request(action, agent=self._agent_id, key=self._key, now_ms=self.now_ms())

    def _ledger(self, attested: Attested) -> Ledger:
        boot_id = attested.identity.statement.boot_id
        return self._ledgers.setdefault(boot_id, Ledger(attested.identity))
