"""The client of agents, asynchronous: the flows of :mod:`pcrgate.client.client`, driven by ``httpx.AsyncClient``."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

import httpx

from pcrgate.client.agent_flows import AgentFlows, asked_in, wall_clock_ms
from pcrgate.client.attesting import Attested
from pcrgate.client.client import RESULT_WAIT_S
from pcrgate.client.conversation import Conversation
from pcrgate.client.exchange import Flow, Reply, Request, SessionLostError
from pcrgate.client.outcome import Outcome
from pcrgate.client.transport import ANSWER_TIMEOUT_S, Gathered, Tries, headers_for, http_options
from pcrgate.client.trust import TrustPolicy
from pcrgate.client.work import Action, Tensor, inference_request, read_outputs
from pcrgate.envelope.session_agent import GrantKey
from pcrgate.envelope.session_limits import SessionLimits
from pcrgate.receipts.verification import VerifiedReceipt

_T = TypeVar("_T")


class AsyncRunner(Protocol):
    """Drive a flow to its end."""

    async def __call__(self, flow: Flow[_T], /) -> _T:
        """Return what the flow returns."""
        ...


class AsyncClient:
    """Speak with an enclave through a service that nobody trusts. An asynchronous context manager."""

    def __init__(
        self,
        url: str,
        *,
        trust: TrustPolicy,
        agent_id: str,
        agent_key: GrantKey,
        token: str,
        transport: httpx.AsyncBaseTransport | None = None,
        verify: bool | str = True,
        now_ms: Callable[[], int] = wall_clock_ms,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Take what :class:`pcrgate.client.client.Client` takes; nothing is sent yet.

        Raises:
            UsageError: ``usage-arguments`` for an address that cannot be used.
        """
        self._flows: Final = AgentFlows(trust=trust, agent_id=agent_id, key=agent_key, now_ms=now_ms)
        self._token: Final = token
        self._sleep: Final = sleep
        self._http: Final = httpx.AsyncClient(transport=transport, **http_options(url, verify=verify))

    async def attest(self) -> Attested:
        """Return the enclave, as :meth:`pcrgate.client.client.Client.attest`."""
        return await self._run(self._flows.attested())

    async def session(self, limits: SessionLimits | None = None) -> "AsyncSession":
        """Return a session, as :meth:`pcrgate.client.client.Client.session`."""
        conversation = await self._run(self._flows.conversation(limits))
        return AsyncSession(conversation, run=self._run, flows=self._flows, limits=limits)

    async def receipts(self) -> tuple[VerifiedReceipt, ...]:
        """Return the whole chain, as :meth:`pcrgate.client.client.Client.receipts`."""
        return await self._run(self._flows.receipts())

    async def close(self) -> None:
        """Close connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _run(self, flow: Flow[_T]) -> _T:
        try:
            request = next(flow)
            while True:
                request = flow.send(await self._carry(request))
        except StopIteration as ended:
            value: _T = ended.value
            return value

    async def _carry(self, request: Request) -> Reply:
        tries = Tries(request)
        if request.pause_s:
            await self._sleep(request.pause_s)
        while True:
            try:
                reply = await self._in_time(request)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                pause = tries.failed(error)
            else:
                again = tries.answered(reply)
                if again is None:
                    return reply
                pause = again
            await self._sleep(pause)

    async def _in_time(self, request: Request) -> Reply:
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                return await self._once(request)
        except TimeoutError as error:
            raise httpx.ReadTimeout("the whole of an answer") from error

    async def _once(self, request: Request) -> Reply:
        headers = headers_for(request, self._token)
        body = None if request.body is None else dict(request.body)
        async with self._http.stream(
            request.method, request.path, params=dict(request.query), json=body, headers=headers
        ) as answer:
            gathered = Gathered(answer.status_code, answer.headers)
            async for piece in answer.aiter_raw():
                gathered.add(piece)
        return gathered.reply()


class AsyncSession:
    """Ask an enclave in one session. An asynchronous context manager that ends it."""

    def __init__(
        self,
        conversation: Conversation,
        *,
        run: AsyncRunner,
        flows: AgentFlows,
        limits: SessionLimits | None,
    ) -> None:
        """Take a session that is open; :meth:`AsyncClient.session` makes it."""
        self._conversation = conversation
        self._earlier: Final[list[Conversation]] = []
        self._run: Final = run
        self._flows: Final = flows
        self._limits: Final = limits

    @property
    def session_id(self) -> bytes:
        """The session's id, 16 bytes."""
        return self._conversation.session_id

    @property
    def receipts(self) -> tuple[VerifiedReceipt, ...]:
        """The agent's own receipts of this boot, verified, in order."""
        return self._conversation.ledger.receipts

    async def resume(self) -> None:
        """Go on with the session on another boot, as :meth:`pcrgate.client.client.Session.resume`."""
        conversation = await self._run(self._flows.conversation(self._limits, self.session_id))
        self._earlier.append(self._conversation)
        self._conversation = conversation

    async def validate(self, action: Action, *, wait_s: float = RESULT_WAIT_S) -> Outcome:
        """Return the report on an action, as :meth:`pcrgate.client.client.Session.validate`."""
        return await self._repeated("validate", self._flows.signed(action), wait_s)

    async def infer(
        self, model: str, inputs: Mapping[str, Tensor], *, wait_s: float = RESULT_WAIT_S
    ) -> dict[str, Tensor]:
        """Return outputs of a model, as :meth:`pcrgate.client.client.Session.infer`."""
        return read_outputs((await self._repeated("infer", inference_request(model, inputs), wait_s)).result)

    async def _repeated(self, workload: str, request: bytes, wait_s: float) -> Outcome:
        try:
            return await self.invoke(workload, request, wait_s=wait_s)
        except SessionLostError:
            await self.resume()
            return await self.invoke(workload, request, wait_s=wait_s)

    async def invoke(self, workload: str, request: bytes, *, wait_s: float = RESULT_WAIT_S) -> Outcome:
        """Return what any workload makes of a request, as :meth:`pcrgate.client.client.Session.invoke`."""
        flow = self._conversation.invoke(workload, request, now_ms=self._flows.now_ms(), deadline_s=wait_s)
        return await self._run(flow)

    async def result(self, result_id: str, *, wait_s: float = RESULT_WAIT_S) -> Outcome:
        """Return a late result, as :meth:`pcrgate.client.client.Session.result`."""
        of = asked_in(result_id, self._conversation, self._earlier)
        return await self._run(of.result(result_id, now_ms=self._flows.now_ms(), deadline_s=wait_s))

    async def end(self) -> VerifiedReceipt:
        """End the session, as :meth:`pcrgate.client.client.Session.end`."""
        for one in self._earlier:
            one.forget()
        return await self._run(self._conversation.end(now_ms=self._flows.now_ms()))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            await self.end()
