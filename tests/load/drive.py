"""Drive many sessions at once through REST, service and enclave; verify every receipt; watch both processes' memory."""

import asyncio
import collections
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from pcrgate.client.agent_flows import wall_clock_ms
from pcrgate.client.attesting import attesting
from pcrgate.client.conversation import Conversation, conversing
from pcrgate.client.exchange import Flow, RemoteRefusalError, Reply, Request
from pcrgate.client.ledger import Ledger
from pcrgate.client.trust import TrustedManifests
from pcrgate.client.work import Action, action_request
from pcrgate.errors import ErrorCode
from pcrgate.manifest.verification import manifest_digest
from service.state_store import Role
from tests.load.connection import Connection, head_and_body
from tests.support.process_stage import AGENTS, ProcessStage, agent_key

_T = TypeVar("_T")

QUERY = Action(tool="database.query", arguments={"table": "orders", "rows": 10}, purpose="report")
OPENING_AT_ONCE = 8
"""Sessions that are being opened at the same time: the twin and all agents share one process here."""

LATER = frozenset({429, 503})
"""What a service that has too much to do may answer, with the time to come again."""

LATER_CODES = frozenset({ErrorCode.WIRE_BUSY, ErrorCode.SERVICE_BUSY})
"""What an invocation may end with when the enclave stayed busy for all tries."""


@dataclass(slots=True, kw_only=True)
class Measured:
    """Hold what a run came to.

    Attributes:
        sessions: how many at once.
        seconds: how long they invoked.
        done: invocations that ended with a verified result and receipt.
        opened_s: how long it took to open all sessions.
        later: 429 and 503 with Retry-After, by code.
        faults: everything that was neither.
        latencies_ms: of each invocation, repeats included.
        memory: resident bytes of service and enclave before the load, after warming up, and after it.
    """

    sessions: int
    seconds: float = 0.0
    done: int = 0
    opened_s: float = 0.0
    later: collections.Counter[str] = field(default_factory=collections.Counter)
    faults: list[str] = field(default_factory=list)
    latencies_ms: list[float] = field(default_factory=list)
    memory: dict[str, dict[str, int]] = field(default_factory=dict)

    def table(self) -> dict[str, object]:
        """Return what is told of it."""
        cuts = statistics.quantiles(self.latencies_ms, n=100) if len(self.latencies_ms) > 1 else [0.0] * 99
        told = asdict(self)
        del told["latencies_ms"]
        return {
            **told,
            "later": dict(self.later),
            "per_second": round(self.done / self.seconds, 1) if self.seconds else 0.0,
            "p50_ms": round(cuts[49], 1),
            "p99_ms": round(cuts[98], 1),
        }


class Driver:
    """Own the run."""

    def __init__(self, stage: ProcessStage, sessions: int, now_ms: Callable[[], int] = wall_clock_ms) -> None:
        self.stage, self.now_ms = stage, now_ms
        self.measured = Measured(sessions=sessions)
        self.token = stage.tokens[Role.CALLER]
        # By its digest: to verify the manifest anew in each session would be the agents' work, not the service's.
        digests = frozenset({manifest_digest(stage.site.signed)})
        self.trust = replace(stage.trust(), manifest=TrustedManifests(digests=digests))
        self.ledgers: dict[bytes, Ledger] = {}
        self.opening = asyncio.Semaphore(OPENING_AT_ONCE)

    async def run(self, seconds: float) -> Measured:
        """Open all sessions, invoke in each of them for so long, and return what it came to."""
        port: int = self.stage.endpoint.getsockname()[1]
        self.remember("before")
        connections = [await Connection.open(port) for _ in range(self.measured.sessions)]
        begun = time.monotonic()
        conversations = await asyncio.gather(
            *(self.opened(connection, number) for number, connection in enumerate(connections))
        )
        self.measured.opened_s = round(time.monotonic() - begun, 2)
        begun = time.monotonic()
        watching = asyncio.create_task(self.watch(begun + seconds / 2))
        await asyncio.gather(
            *(
                self.invoking(connection, conversation, number, begun + seconds)
                for number, (connection, conversation) in enumerate(zip(connections, conversations, strict=True))
                if conversation is not None
            )
        )
        self.measured.seconds = round(time.monotonic() - begun, 2)
        await watching
        self.remember("after")
        for connection in connections:
            connection.close()
        return self.measured

    async def watch(self, half: float) -> None:
        await asyncio.sleep(max(0.0, half - time.monotonic()))
        self.remember("half")

    def remember(self, moment: str) -> None:
        """Note how much memory both processes hold."""
        assert self.stage.service is not None
        assert self.stage.enclave is not None
        pids = {"service": self.stage.service.pid, "enclave": self.stage.enclave.process.pid}
        self.measured.memory[moment] = {name: resident_bytes(pid) for name, pid in pids.items()}

    async def opened(self, connection: Connection, number: int) -> Conversation | None:
        async with self.opening:
            return await self.tried(connection, number % AGENTS)

    async def tried(self, connection: Connection, agent: int) -> Conversation | None:
        for _ in range(60):
            try:
                attested = await self.carried(connection, attesting(self.trust, self.now_ms()))
                ledger = self.ledgers.setdefault(attested.identity.statement.boot_id, Ledger(attested.identity))
                return await self.carried(
                    connection,
                    conversing(
                        attested, ledger, agent_id=f"load-{agent}", key=agent_key(agent), limits=None,
                        now_ms=self.now_ms,
                    ),
                )  # fmt: skip
            except RemoteRefusalError as error:
                if error.code not in LATER_CODES:
                    self.measured.faults.append(f"session: {error.code.code}")
                    return None
                await asyncio.sleep(0.25)  # a hello counts once, so a new one is made
        self.measured.faults.append("session: busy for ever")
        return None

    async def invoking(self, connection: Connection, conversation: Conversation, number: int, until: float) -> None:
        agent = number % AGENTS
        while time.monotonic() < until:
            request = action_request(QUERY, agent=f"load-{agent}", key=agent_key(agent), now_ms=self.now_ms())
            begun = time.perf_counter()
            try:
                await self.carried(
                    connection, conversation.invoke("validate", request, now_ms=self.now_ms(), deadline_s=60)
                )
            except RemoteRefusalError as error:
                if error.code in LATER_CODES:
                    self.measured.later[error.code.code] += 1
                else:
                    self.measured.faults.append(error.code.code)
            except Exception as error:
                self.measured.faults.append(repr(error)[:200])
                return
            else:
                self.measured.done += 1
                self.measured.latencies_ms.append((time.perf_counter() - begun) * 1e3)

    async def carried(self, connection: Connection, flow: Flow[_T]) -> _T:
        """Drive a flow of the client; what it may repeat is repeated when the service says when."""
        try:
            request = next(flow)
            while True:
                request = flow.send(await self.answered(connection, request))
        except StopIteration as ended:
            value: _T = ended.value
            return value

    async def answered(self, connection: Connection, request: Request) -> Reply:
        raw = head_and_body(request, self.token)
        while True:
            reply = (await connection.send(raw)).reply
            if reply.status in LATER:
                if reply.retry_after_s is None:
                    self.measured.faults.append(f"{reply.status} without Retry-After")
                self.measured.later[str(reply.status)] += 1
            elif reply.status >= 400:
                self.measured.faults.append(f"{request.method} {reply.status}")
            if reply.status not in LATER or not request.repeatable:
                return reply
            await asyncio.sleep(min(reply.retry_after_s or 1.0, 2.0))


def resident_bytes(pid: int) -> int:
    """Return the resident memory of a process."""
    line = next(one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024
