"""What an invocation costs from REST to the enclave's process and back, beside a bare FastAPI echo of the same sizes.

Requests are sealed before the clock runs and answers are opened, receipts and all, after it has stopped: the client's
cryptography is not the service's cost, and both sides are asked by the same lean code.
"""

import asyncio
import math
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import partial

import httpx
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA384

from pcrgate.client.client import Client, Session
from pcrgate.client.exchange import Flow, Request
from pcrgate.client.outcome import Outcome
from pcrgate.client.work import Action
from service.state_store import Role
from tests.bench.figure import Figure, interleaved
from tests.load.connection import Timed, all_sent, head_and_body
from tests.support.commands import started, wait_until
from tests.support.enclave_stage import ROOT
from tests.support.process_stage import AGENTS, ProcessStage, agent_key, open_process_stage
from tests.unit.envelope.session_stage import Stage

QUERY = Action(tool="database.query", arguments={"table": "orders", "rows": 10}, purpose="report")
CLIENTS = (1, 16, 64)
ROUNDS = 5
SAMPLE_S = 1.1
"""How long a sample of either side lasts: the scheduler keeps what runs for a tenth of a second on one processor, which
counts against the side that is done sooner."""

STARTS = 3
"""How often ``make dev`` is started."""

PROBED = 192
"""Requests of the first round that says how many a sample needs."""


class Fleet:
    """Hold one session a client, spread over agents."""

    def __init__(self, stage: ProcessStage, stack: ExitStack, clients: int) -> None:
        self.stage = stage
        made = [stack.enter_context(stage.client(f"load-{one}", agent_key(one))) for one in range(AGENTS)]
        self._pairs: list[tuple[Client, Session]] = []
        for number in range(clients):
            client = made[number % AGENTS]
            self._pairs.append((client, client.session()))

    def sealed(self, each: int) -> list[list[tuple[Flow[Outcome], Request]]]:
        """Return so many requests for each client, sealed, with what judges their answers."""
        return [[begun(client, session) for _ in range(each)] for client, session in self._pairs]


def begun(client: Client, session: Session) -> tuple[Flow[Outcome], Request]:
    """Return an invocation up to its first request."""
    flow = session._conversation.invoke(
        "validate", client._flows.signed(QUERY), now_ms=client._flows.now_ms(), deadline_s=60
    )
    return flow, next(flow)


def judged(flow: Flow[Outcome], answer: Timed) -> Outcome:
    """Return the outcome, verified with its receipt and report, or raise."""
    try:
        flow.send(answer.reply)
    except StopIteration as ended:
        outcome: Outcome = ended.value
        return outcome
    raise RuntimeError("the answer was not final")


@contextmanager
def echoing(answer_characters: int) -> Iterator[int]:
    """Run the echo as a process and yield its port."""
    with closing(socket.socket()) as endpoint:
        endpoint.bind(("127.0.0.1", 0))
        port: int = endpoint.getsockname()[1]
        command = [sys.executable, "-m", "tests.support.echo_service", str(endpoint.fileno()), str(answer_characters)]
        with subprocess.Popen(command, cwd=ROOT, pass_fds=(endpoint.fileno(),), env=dict(os.environ)) as process:
            try:
                wait_until(lambda: answers(port))
                yield port
            finally:
                process.terminate()


def answers(port: int) -> bool:
    try:
        return httpx.post(f"http://127.0.0.1:{port}/echo", json={"record": ""}, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


def percentile_ms(samples: Sequence[float], of_hundred: int) -> float:
    return statistics.quantiles(samples, n=100)[of_hundred - 1] * 1e3


def sample_size(ask: Callable[[int], tuple[float, list[float]]], clients: int) -> int:
    """Return how many requests each client sends in a sample, after two rounds that are not counted."""
    each = PROBED // clients
    for lasting_s in (SAMPLE_S / 2, SAMPLE_S):
        each = math.ceil(ask(each)[0] * lasting_s / clients)
    return each


def asked_of_service(port: int, token: str, fleet: Fleet, each: int) -> tuple[float, list[float]]:
    """Return requests a second, and the seconds of each, where every client of a fleet sends so many."""
    batch = fleet.sealed(each)
    queues = [[head_and_body(request, token) for _, request in queue] for queue in batch]
    seconds, timed = asyncio.run(all_sent(port, queues))
    for queue, got in zip(batch, timed, strict=True):
        for (flow, _), answer in zip(queue, got, strict=True):
            judged(flow, answer)
    latencies = [answer.seconds for got in timed for answer in got]
    return len(latencies) / seconds, latencies


def asked_of_echo(port: int, raw: bytes, clients: int, each: int) -> tuple[float, list[float]]:
    """Return requests a second, and the seconds of each, where so many clients send so many each."""
    seconds, echoed = asyncio.run(all_sent(port, [[raw] * each] * clients))
    if any(answer.reply.status != 200 for got in echoed for answer in got):
        raise RuntimeError("the echo refused")
    return each * clients / seconds, [answer.seconds for got in echoed for answer in got]


def ready_s() -> float:
    """Return how long the command of ``make dev`` takes until it says that it is ready; the median of some starts."""
    taken = []
    for _ in range(STARTS):
        begun_s = time.perf_counter()
        with started("dev", "--port", "0", "--json") as dev:
            dev.object()
            taken.append(time.perf_counter() - begun_s)
            dev.end(signal.SIGINT)
    return statistics.median(taken)


def figures() -> list[Figure]:
    """Return rates, latencies, the ratio to the echo and to the cryptography, and the time to ready."""
    found = [Figure.plain("make dev: from its start to ready", ready_s(), "s")]
    with ExitStack() as stack:
        stage = stack.enter_context(open_process_stage())
        fleets = {clients: Fleet(stage, stack, clients) for clients in CLIENTS}
        port, token = stage.endpoint.getsockname()[1], stage.tokens[Role.CALLER]
        flow, request = fleets[1].sealed(1)[0][0]
        _, [[first]] = asyncio.run(all_sent(port, [[head_and_body(request, token)]]))
        judged(flow, first)
        echo_port = stack.enter_context(echoing(len(first.reply.body) - len('{"text":""}')))
        asked = Request(method="POST", path="/echo", body=request.body, headers=request.headers)
        echo_raw = head_and_body(asked, token)
        cryptography_s = cryptography()
        for clients, fleet in fleets.items():
            of_service = partial(asked_of_service, port, token, fleet)
            of_echo = partial(asked_of_echo, echo_port, echo_raw, clients)
            serving = sample_size(of_service, clients)
            answering = sample_size(of_echo, clients)
            rates: dict[str, list[float]] = {"service": [], "echo": []}
            latencies: list[float] = []
            for _ in range(ROUNDS):
                per_s, seconds = of_service(serving)
                rates["service"].append(per_s)
                latencies += seconds
                rates["echo"].append(of_echo(answering)[0])
            per_s = statistics.median(rates["service"])
            ratio = per_s / statistics.median(rates["echo"])
            named = f"validate, {clients} clients" if clients > 1 else "validate, 1 client"
            found += [
                Figure.plain(f"{named}", per_s, "/s"),
                Figure.plain(f"{named}, p50", percentile_ms(latencies, 50), "ms"),
                Figure.plain(f"{named}, p99", percentile_ms(latencies, 99), "ms"),
                Figure.plain(f"{named}: its cost / its cryptography", 1 / per_s / cryptography_s, "x"),
                Figure.at_least(f"{named}: its rate / a bare FastAPI echo's", ratio, "x", LEAST)
                if clients == 16
                else Figure.plain(f"{named}: its rate / a bare FastAPI echo's", ratio, "x"),
            ]
    return found


LEAST = 0.35


def cryptography() -> float:
    """Return the seconds of what an invocation cannot do without: two seals opened and made, three signatures."""
    boot = Stage().boot()
    key, nonce, content = AESGCM(os.urandom(32)), bytes(12), os.urandom(400)
    sealed = key.encrypt(nonce, content, b"")
    agent = Ed25519PrivateKey.generate()
    signature, public = agent.sign(content), agent.public_key()
    algorithm = ECDSA(SHA384(), deterministic_signing=True)

    def once() -> None:
        key.decrypt(nonce, sealed, b"")
        public.verify(signature, content)
        boot.keys.receipt_key.sign(content, algorithm)  # the report
        boot.keys.receipt_key.sign(content, algorithm)  # the receipt
        key.encrypt(nonce, content, b"")

    return interleaved({"once": once})["once"]
