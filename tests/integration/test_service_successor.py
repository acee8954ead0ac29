"""Kill the enclave under the service, and the service under load: sessions go on, nothing acknowledged is lost."""

import asyncio
import json
import signal
import socket
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from functools import partial

import httpx
import pytest

from pcrgate.client.async_client import AsyncClient
from pcrgate.client.client import Client, Session
from pcrgate.client.exchange import RemoteRefusalError, SessionLostError
from pcrgate.client.outcome import Outcome
from pcrgate.client.work import inference_request
from pcrgate.errors import ErrorCode, PcrgateError
from service.state_store import Role
from tests.integration.test_service_client import QUERY, floats
from tests.support.commands import wait_until
from tests.support.enclave_stage import AGENT
from tests.support.process_stage import ProcessStage, agent_key, open_process_stage

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def stage() -> Iterator[ProcessStage]:
    with open_process_stage(drain_s=20) as found:
        yield found


@pytest.fixture
def client(stage: ProcessStage) -> Iterator[Client]:
    with stage.client() as found:
        yield found


def status(stage: ProcessStage) -> tuple[int, str]:
    answer = httpx.get(f"{stage.url}/readyz", trust_env=False, timeout=30)
    return answer.status_code, answer.json()["status"]


def another_boot(stage: ProcessStage) -> None:
    stage.kill_enclave()
    assert status(stage) == (503, ErrorCode.WIRE_LINK.code)  # noticed, and told
    stage.start_enclave()
    assert status(stage) == (200, "ok")


def test_a_session_goes_on_on_the_successor(stage: ProcessStage, client: Client) -> None:
    with client.session() as session:
        before = session.validate(QUERY)
        named, boot = session.session_id, session.receipts[0].claims.attested.boot_id
        another_boot(stage)
        after = session.validate(QUERY)
        assert session.session_id == named
        assert after.receipt.claims.attested.boot_id != boot
        assert {one.claims.attested.boot_id for one in session.receipts} == {after.receipt.claims.attested.boot_id}
        assert session.result(before.result_id) == before  # also what the dead enclave has sealed
        assert session.result(after.result_id) == after
        (output,) = session.infer("adder", {"x": floats(1, 1, 1, 1)}).values()
        assert output.shape == (4,)
    with stage.http() as http:  # the receipts of the dead boot outlive it
        kept = http.get("/v1/receipts", params={"boot": boot.hex()}).json()["receipts"]
        assert before.receipt.digest.hex() in {one["receipt_id"] for one in kept}


def test_an_asynchronous_session_goes_on_too(stage: ProcessStage) -> None:
    async def told() -> None:
        token = stage.tokens[Role.CALLER]
        async with (
            AsyncClient(stage.url, trust=stage.trust(), agent_id="one", agent_key=AGENT, token=token) as client,
            await client.session() as session,
        ):
            before = await session.validate(QUERY)
            named = session.session_id
            await asyncio.to_thread(another_boot, stage)
            with pytest.raises(SessionLostError) as caught:
                await session.invoke("infer", inference_request("adder", {"x": floats(1, 1, 1, 1)}))
            assert caught.value.receipt is not None
            assert await session.infer("adder", {"x": floats(1, 1, 1, 1)})
            await session.resume()  # on the same boot as well
            assert await session.validate(QUERY) != before
            assert session.session_id == named
            assert await session.result(before.result_id) == before

    asyncio.run(told())


def test_what_cannot_go_on_says_why(stage: ProcessStage, client: Client) -> None:
    lost, forged, foreign = client.session(), client.session(), client.session()
    with closing(sqlite3.connect(stage.state_folder() / "state.db", timeout=10)) as state, state:
        state.execute("DELETE FROM sessions WHERE session_id = ?", (lost.session_id,))
        state.execute(
            "UPDATE sessions SET ticket = (SELECT ticket FROM sessions WHERE session_id = ?) WHERE session_id = ?",
            (foreign.session_id, forged.session_id),
        )
    another_boot(stage)
    for session, code in ((lost, ErrorCode.SERVICE_NOT_FOUND), (forged, ErrorCode.SESSION_TICKET)):
        with pytest.raises(RemoteRefusalError) as caught:
            session.validate(QUERY)
        assert caught.value.code is code
    client._flows._trust = stage.trust().__class__(  # type: ignore[misc]  # an agent that trusts the first boot's image only
        roots=stage.trust().roots, pcr0=(stage.pcr0.__class__(bytes([9]) * 48),), manifest=stage.trust().manifest
    )
    with pytest.raises(PcrgateError) as refused:
        foreign.validate(QUERY)
    assert refused.value.code is ErrorCode.PCR_MISMATCH  # nothing moves to an enclave that is not appraised


class Worker:
    """Validate for ever in one session, and keep what was acknowledged."""

    def __init__(self, stage: ProcessStage, number: int, *ended: Outcome) -> None:
        self.client = stage.client(f"load-{number}", agent_key(number))
        self.session: Session = self.client.session()
        self.ended = list(ended)
        self.failed: list[Exception] = []
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self) -> None:
        while not self.stopping.is_set():
            try:
                self.ended.append(self.session.validate(QUERY))
            except Exception as error:
                self.failed.append(error)
                return

    def stop(self) -> None:
        self.stopping.set()
        self.thread.join(120)
        assert not self.thread.is_alive()
        self.client.close()


def ended(workers: list[Worker], least: int) -> bool:
    """Say whether so many invocations have ended."""
    return sum(len(worker.ended) for worker in workers) >= least


def test_a_kill_of_the_parent_under_load_loses_nothing_acknowledged(stage: ProcessStage) -> None:
    workers = [Worker(stage, number) for number in range(4)]
    for worker in workers:
        worker.thread.start()
    for kills in (1, 2):
        wait_until(partial(ended, workers, 20 * kills))
        stage.kill_service()
        stage.start_service()
    wait_until(partial(ended, workers, 60))
    for worker in workers:
        worker.stop()
    assert [error for worker in workers for error in worker.failed] == []  # the client's repeats bridge a restart
    outcomes = [outcome for worker in workers for outcome in worker.ended]
    with stage.http() as http:
        for outcome in outcomes:
            answer = http.get(f"/v1/results/{outcome.result_id}").json()
            assert answer["state"] == "done"
            assert http.get(f"/v1/receipts/{outcome.receipt.digest.hex()}").status_code == 200
        assert http.get("/v1/manifests/current").content == stage.site.signed
    with stage.client() as client:
        chain = {receipt.digest for receipt in client.receipts()}
    assert {outcome.receipt.digest for outcome in outcomes} <= chain


def sealed_post(stage: ProcessStage, session: Session, client: Client) -> bytes:
    """Return a whole request that invokes, as bytes."""
    flow = session._conversation.invoke(
        "validate", client._flows.signed(QUERY), now_ms=client._flows.now_ms(), deadline_s=30
    )
    request = next(flow)
    body = json.dumps(dict(request.body or {})).encode()
    lines = [
        f"POST {request.path} HTTP/1.1", "Host: x", f"Authorization: Bearer {stage.tokens[Role.CALLER]}",
        "Content-Type: application/json", "Prefer: wait=30", f"Content-Length: {len(body)}",
    ]  # fmt: skip
    return "\r\n".join([*lines, "", ""]).encode() + body


def invocations(stage: ProcessStage, session: Session) -> dict[str, int]:
    """Return how many invocations of a session are in each state."""
    with closing(sqlite3.connect(stage.state_folder() / "state.db", timeout=10)) as state:
        rows = state.execute(
            "SELECT state, count(*) FROM invocations WHERE session_id = ? GROUP BY state", (session.session_id,)
        )
        return dict(rows.fetchall())


def test_callers_that_vanish_harm_nobody(stage: ProcessStage, client: Client) -> None:
    with client.session() as session:
        for part in (0.3, 0.95, 1.0):
            raw = sealed_post(stage, session, client)
            with socket.create_connection(stage.endpoint.getsockname()) as connection:
                connection.sendall(raw[: int(len(raw) * part)])
        # what came whole was taken, and is carried out though nobody waits
        wait_until(lambda: invocations(stage, session) == {"done": 1})
        session.validate(QUERY)
    with stage.http(Role.OPERATOR) as http:
        wait_until(lambda: "pcrgate_requests_in_progress 1.0" in http.get("/metrics").text)  # this one


def test_sigterm_lets_what_was_taken_end(stage: ProcessStage, client: Client) -> None:
    session = client.session()
    count = 12
    answers: list[bytes] = []

    def ask(raw: bytes) -> None:
        with socket.create_connection(stage.endpoint.getsockname(), timeout=60) as connection:
            connection.sendall(raw)
            answers.append(connection.makefile("rb").read())

    threads = [threading.Thread(target=ask, args=(sealed_post(stage, session, client),)) for _ in range(count)]
    for thread in threads:
        thread.start()
    wait_until(lambda: sum(invocations(stage, session).values()) >= count)
    assert stage.service is not None
    stage.service.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(60)
    assert stage.service.wait(60) in {0, -signal.SIGTERM}
    assert [answer.split(b"\r\n")[0] for answer in answers] == [b"HTTP/1.1 200 OK"] * count
    assert invocations(stage, session) == {"done": count}
    stage.start_service()
    session.validate(QUERY)  # and the next process goes on with the same enclave
    session.end()
