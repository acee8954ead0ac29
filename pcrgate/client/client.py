"""The client of agents, synchronous: attest, make sessions, validate, infer, audit.

Everything that decides is in flows; here they are driven over HTTP.
"""

import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar

import httpx

from pcrgate.client.agent_flows import AgentFlows, asked_in, wall_clock_ms
from pcrgate.client.attesting import Attested
from pcrgate.client.conversation import Conversation
from pcrgate.client.exchange import Flow, Reply, Request, SessionLostError
from pcrgate.client.outcome import Outcome
from pcrgate.client.transport import Gathered, Tries, headers_for, http_options
from pcrgate.client.trust import TrustPolicy
from pcrgate.client.work import Action, Tensor, inference_request, read_outputs
from pcrgate.envelope.session_agent import GrantKey
from pcrgate.envelope.session_limits import SessionLimits
from pcrgate.receipts.verification import VerifiedReceipt

RESULT_WAIT_S: Final = 60.0
"""How long a result is waited for unless told otherwise."""

_T = TypeVar("_T")


class Runner(Protocol):
    """Drive a flow to its end."""

    def __call__(self, flow: Flow[_T], /) -> _T:
        """Return what the flow returns."""
        ...


class Client:
    """Speak with an enclave through a service that nobody trusts. A context manager; one thread at a time."""

    def __init__(
        self,
        url: str,
        *,
        trust: TrustPolicy,
        agent_id: str,
        agent_key: GrantKey,
        token: str,
        transport: httpx.BaseTransport | None = None,
        verify: bool | str = True,
        now_ms: Callable[[], int] = wall_clock_ms,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take whom to speak with and what must hold; nothing is sent yet.

        Args:
            url: of the service; https, or http to this machine.
            trust: what is trusted; there is no default.
            agent_id: the agent's name in the manifest.
            agent_key: its Ed25519 key, or whatever signs for it.
            token: for the service.
            transport: of httpx; its own when None.
            verify: as httpx takes it: True, or a file of CA certificates. TLS keeps the token; the enclave is verified
                by its evidence.
            now_ms: the agent's clock, milliseconds since the epoch.
            sleep: waits so many seconds between tries.

        Raises:
            UsageError: ``usage-arguments`` for an address that cannot be used.
        """
        self._flows: Final = AgentFlows(trust=trust, agent_id=agent_id, key=agent_key, now_ms=now_ms)
        self._token: Final = token
        self._sleep: Final = sleep
        self._http: Final = httpx.Client(transport=transport, **http_options(url, verify=verify))

    def attest(self) -> Attested:
        """Return the enclave behind the service, once fresh evidence of it holds against the trust policy.

        Raises:
            EvidenceError: whatever the evidence is refused with, ``trust-manifest`` among it.
            PcrgateError: see :func:`pcrgate.client.attesting.attesting`.
        """
        return self._run(self._flows.attested())

    def session(self, limits: SessionLimits | None = None) -> "Session":
        """Return a session with an enclave that was appraised just now.

        Args:
            limits: what to ask for; the most there is when None.

        Raises:
            PcrgateError: as :meth:`attest`, or see :func:`pcrgate.client.conversation.conversing`.
        """
        conversation = self._run(self._flows.conversation(limits))
        return Session(conversation, run=self._run, flows=self._flows, limits=limits)

    def receipts(self) -> tuple[VerifiedReceipt, ...]:
        """Return every receipt of the current boot, once they are one chain without a gap.

        Raises:
            ReceiptError: ``receipt-gap``, ``receipt-chain``, or what a receipt is refused with.
        """
        return self._run(self._flows.receipts())

    def close(self) -> None:
        """Close connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _run(self, flow: Flow[_T]) -> _T:
        try:
            request = next(flow)
            while True:
                request = flow.send(self._carry(request))
        except StopIteration as ended:
            value: _T = ended.value
            return value

    def _carry(self, request: Request) -> Reply:
        tries = Tries(request)
        if request.pause_s:
            self._sleep(request.pause_s)
        while True:
            try:
                reply = self._once(request)
            except (httpx.HTTPError, httpx.InvalidURL) as error:
                pause = tries.failed(error)
            else:
                again = tries.answered(reply)
                if again is None:
                    return reply
                pause = again
            self._sleep(pause)

    def _once(self, request: Request) -> Reply:
        headers = headers_for(request, self._token)
        body = None if request.body is None else dict(request.body)
        with self._http.stream(
            request.method, request.path, params=dict(request.query), json=body, headers=headers
        ) as answer:
            gathered = Gathered(answer.status_code, answer.headers)
            for piece in answer.iter_raw():
                gathered.add(piece)
        return gathered.reply()


class Session:
    """Ask an enclave in one session. A context manager that ends it."""

    def __init__(
        self,
        conversation: Conversation,
        *,
        run: Runner,
        flows: AgentFlows,
        limits: SessionLimits | None,
    ) -> None:
        """Take a session that is open; :meth:`Client.session` makes it."""
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

    def resume(self) -> None:
        """Go on with the session on the enclave that is there now, once that was appraised as the first one was.

        Results of earlier requests can still be asked for. Which of them had an effect is for their workload to say.

        Raises:
            EvidenceError: whatever the new enclave's evidence is refused with; nothing moves then.
            RemoteRefusalError: ``session-ticket`` or ``session-expired`` when the session is over for good, and
                ``service-not-found`` when the service has no ticket; a new session is the way on.
            PcrgateError: as :meth:`Client.session`.
        """
        conversation = self._run(self._flows.conversation(self._limits, self.session_id))
        self._earlier.append(self._conversation)
        self._conversation = conversation

    def validate(self, action: Action, *, wait_s: float = RESULT_WAIT_S) -> Outcome:
        """Return the enclave's signed report that an action is within the agent's grant.

        A session that the enclave does not know is resumed once, and the same signed action sent again: on one boot its
        nonce counts once.

        Raises:
            WorkloadRefusalError: with the code of the rule that it breaks.
            PcrgateError: see :meth:`pcrgate.client.conversation.Conversation.invoke`.
        """
        return self._repeated("validate", self._flows.signed(action), wait_s)

    def infer(self, model: str, inputs: Mapping[str, Tensor], *, wait_s: float = RESULT_WAIT_S) -> dict[str, Tensor]:
        """Return what a model makes of inputs; the receipt is the last of ``receipts``.

        A session that the enclave does not know is resumed once, and the inputs sent again: a model keeps nothing.

        Raises:
            WorkloadRefusalError: with the code of the rule that it breaks.
            PcrgateError: see :meth:`pcrgate.client.conversation.Conversation.invoke`.
        """
        return read_outputs(self._repeated("infer", inference_request(model, inputs), wait_s).result)

    def _repeated(self, workload: str, request: bytes, wait_s: float) -> Outcome:
        try:
            return self.invoke(workload, request, wait_s=wait_s)
        except SessionLostError:
            self.resume()
            return self.invoke(workload, request, wait_s=wait_s)

    def invoke(self, workload: str, request: bytes, *, wait_s: float = RESULT_WAIT_S) -> Outcome:
        """Return what any workload makes of a request; it is sent in this session only.

        Raises:
            SessionLostError: when the enclave does not know the session; :meth:`resume` goes on with it.
            PcrgateError: see :meth:`pcrgate.client.conversation.Conversation.invoke`.
        """
        return self._run(self._conversation.invoke(workload, request, now_ms=self._flows.now_ms(), deadline_s=wait_s))

    def result(self, result_id: str, *, wait_s: float = RESULT_WAIT_S) -> Outcome:
        """Return what came of a request whose result was not there in time.

        Raises:
            PcrgateError: see :meth:`pcrgate.client.conversation.Conversation.result`.
        """
        of = asked_in(result_id, self._conversation, self._earlier)
        return self._run(of.result(result_id, now_ms=self._flows.now_ms(), deadline_s=wait_s))

    def end(self) -> VerifiedReceipt:
        """End the session; its keys are wiped on both sides.

        Raises:
            PcrgateError: the refusal; this side's keys are wiped all the same.
        """
        for one in self._earlier:
            one.forget()
        return self._run(self._conversation.end(now_ms=self._flows.now_ms()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.end()
