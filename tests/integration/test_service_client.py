"""An agent, its client, a service and an enclave as a process: the main job over real sockets, every proof checked."""

import asyncio
import struct
from collections.abc import Iterator

import pytest

from pcrgate.attestation.cbor import CborValue, decode
from pcrgate.client.async_client import AsyncClient
from pcrgate.client.client import Client
from pcrgate.client.exchange import RemoteRefusalError, Reply, Request
from pcrgate.client.outcome import PendingError, WorkloadRefusalError
from pcrgate.client.work import Action, Tensor
from pcrgate.errors import ErrorCode, PcrgateError
from pcrgate.receipts.claims import Decision
from service.state_store import Role
from tests.support.client_stage import ClientStage, open_client_stage
from tests.support.enclave_stage import AGENT, OTHER_AGENT, WEIGHTS

pytestmark = pytest.mark.network

QUERY = Action(tool="database.query", arguments={"table": "orders", "rows": 10}, purpose="report")


@pytest.fixture(scope="module")
def stage() -> Iterator[ClientStage]:
    with open_client_stage() as found:
        yield found


@pytest.fixture
def client(stage: ClientStage) -> Iterator[Client]:
    with stage.client() as found:
        yield found


def payment(units: int) -> Action:
    amount: CborValue = {"currency": "EUR", "minor_units": units}
    return Action(tool="payments.transfer", arguments={"to": "DE00", "amount": amount}, purpose="invoice")


def floats(*values: float) -> Tensor:
    return Tensor(type="float32", shape=(len(values),), data=struct.pack(f"<{len(values)}f", *values))


def test_attest_says_what_was_compared(client: Client, stage: ClientStage) -> None:
    attested = client.attest()
    assert {index for index, _ in attested.result.matched} == {0, 16}
    assert client.attest().nonce != attested.nonce


def test_an_action_within_its_grant_is_reported(client: Client) -> None:
    with client.session() as session:
        outcome = session.validate(QUERY)
        report = decode(outcome.result)
        assert isinstance(report, dict)
        assert (report["agent"], report["decision"], report["tool"]) == ("one", "admitted", "database.query")
        assert outcome.report_signature is not None
        observed = outcome.receipt.claims.observed
        assert (observed.decision, observed.workload, observed.agent_id) == (Decision.ACCEPTED, "validate", "one")
        assert len(session.receipts) >= 3  # of the release, the confirmation and the action
    with pytest.raises(PcrgateError) as caught:
        session.validate(QUERY)
    assert caught.value.code is ErrorCode.SESSION_ENDED


def test_an_action_beyond_its_grant_is_refused_with_a_receipt(client: Client) -> None:
    with client.session() as session:
        session.validate(payment(100))
        with pytest.raises(WorkloadRefusalError) as caught:
            session.validate(payment(10_001))
        observed = caught.value.receipt.claims.observed
        assert (observed.decision, observed.code) == (Decision.REFUSED, caught.value.code.code)
        session.validate(payment(100))


def test_a_model_infers(client: Client) -> None:
    with client.session() as session:
        outputs = session.infer("adder", {"x": floats(1, 1, 1, 1)})
        (output,) = outputs.values()
        assert struct.unpack("<4f", output.data) == tuple(1 + weight for weight in WEIGHTS)
        assert dict(session.receipts[-1].claims.attested.secret_epochs) == {"adder": 3}


def test_the_chain_of_the_boot_is_complete(client: Client, stage: ClientStage) -> None:
    with client.session() as session:
        session.validate(QUERY)
    chain = client.receipts()
    assert [receipt.claims.observed.sequence for receipt in chain] == list(range(1, len(chain) + 1))
    assert {receipt.digest for receipt in session.receipts} <= {receipt.digest for receipt in chain}
    with stage.service.client() as http:
        entry = http.get(f"/v1/receipts/{chain[-1].digest}")
        assert entry.json()["sequence"] == len(chain)
        same = http.get(f"/v1/receipts/{chain[-1].digest}", headers={"If-None-Match": entry.headers["etag"]})
        assert same.status_code == 304
        page = http.get("/v1/receipts", params={"limit": 2, "after": 1}).json()
        assert [one["sequence"] for one in page["receipts"]] == [2, 3]


def test_a_result_that_is_late_is_asked_for_again(client: Client) -> None:
    with client.session() as session:
        try:
            outcome = session.validate(QUERY, wait_s=0)
        except PendingError as pending:
            outcome = session.result(pending.result_id)
        assert session.result(outcome.result_id) == outcome
        with pytest.raises(PcrgateError) as caught:
            session.result("f" * 32)
        assert caught.value.code is ErrorCode.CLIENT_ANSWER


def test_another_agents_key_opens_no_session(stage: ClientStage) -> None:
    with stage.client(key=OTHER_AGENT) as client, pytest.raises(RemoteRefusalError) as caught:
        client.session()
    assert caught.value.code is ErrorCode.SESSION_HELLO
    assert caught.value.receipt is not None


def test_what_the_parent_sees_of_the_enclave(stage: ClientStage, client: Client) -> None:
    attested = client.attest()
    with stage.service.client() as http:
        (entry,) = http.get("/v1/enclaves").json()["enclaves"]
        assert entry["phase"] == "live"
        assert entry["boot_id"] == attested.identity.statement.boot_id.hex()
        assert entry["unverified_pcrs"]["0"] == stage.site.stage.measured().hex()
        assert entry["manifest_epoch"] == stage.site.stage.manifest.epoch
        assert http.get("/readyz").json() == {"status": "ok"}


def test_what_the_enclave_counts_is_told_to_the_operator(stage: ClientStage, client: Client) -> None:
    with client.session() as session:
        session.validate(QUERY)
    with stage.service.client(Role.OPERATOR) as http:
        said = dict(line.rsplit(" ", 1) for line in http.get("/metrics").text.splitlines() if "_enclave_" in line)
    assert said["pcrgate_enclave_up"] == "1.0"
    for event in ("invocations", "releases", "sessions_opened"):
        assert float(said[f'pcrgate_enclave_events_total{{event="{event}"}}']) >= 1


def test_results_and_sessions_are_shown_to_their_caller_only(stage: ClientStage, client: Client) -> None:
    stranger = stage.service.maker.make(Role.CALLER, "stranger", now_ms=1)
    with (
        client.session() as session,
        stage.service.client(None, authorization=f"Bearer {stranger}") as http,
    ):
        outcome = session.validate(QUERY)
        assert http.get(f"/v1/results/{outcome.result_id}").status_code == 404
        path = f"/v1/sessions/{session.session_id.hex()}"
        assert http.post(f"{path}/invocations", json={"record": "AAAA"}).status_code == 404
        assert http.request("DELETE", path, json={"record": "AAAA"}).status_code == 404
        assert http.put(path, json={"ticket": "AAAA"}).status_code == 409
        own = stage.service.client()
        answer = own.get(f"/v1/results/{outcome.result_id}", headers={"Prefer": "wait=1"})
        assert answer.json()["state"] == "done"
        assert answer.headers["preference-applied"] == "wait=1"
        own.close()


def test_the_same_key_gives_the_same_result_and_no_second_effect(stage: ClientStage, client: Client) -> None:
    seen: list[bytes] = []
    with client.session() as session, stage.service.client() as http:
        original = client._once

        def twice(request: Request) -> Reply:
            first = original(request)
            if request.path.endswith("/invocations"):
                again = original(request)
                seen.extend([first.body, again.body])
            return first

        client._once = twice  # type: ignore[method-assign]  # the same request, sent twice
        before = len(client.receipts())
        session.validate(payment(50))
        assert seen[0] == seen[1]
        assert len(client.receipts()) == before + 1
        headers = {"Idempotency-Key": "one key"}
        path = f"/v1/sessions/{session.session_id.hex()}/invocations"
        refused = http.post(path, json={"record": "AAAA"}, headers=headers)
        assert refused.json()["code"] == ErrorCode.SERVICE_REQUEST.code
        taken = http.post(path, json={"record": "AAAA"}, headers={"Idempotency-Key": "k", "Prefer": "wait=20"})
        assert taken.json()["state"] == "refused"
        other = http.post(path, json={"record": "AAAB"}, headers={"Idempotency-Key": "k"})
        assert (other.status_code, other.json()["code"]) == (422, ErrorCode.SERVICE_IDEMPOTENCY.code)


def test_the_parent_holds_no_plaintext(stage: ClientStage) -> None:
    """The canaries are in this process, which plays the agent too; so what the parent stored and logged is searched."""
    canary = "canary-of-a-purpose-that-nobody-else-has"
    with stage.client() as client, client.session() as session, pytest.raises(WorkloadRefusalError):
        session.validate(Action(tool="database.query", arguments={"table": canary, "rows": 1}, purpose="report"))
    folder = stage.service.shelf.manifest.parents[1]
    stored = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert len(stored) > 10_000
    assert canary.encode() not in stored
    assert canary not in stage.service.log.getvalue()


def test_the_asynchronous_client_does_the_same(stage: ClientStage) -> None:
    async def told() -> None:
        async with AsyncClient(
            stage.service.url,
            trust=stage.trust(),
            agent_id="one",
            agent_key=AGENT,
            token=stage.service.tokens[Role.CALLER],
        ) as client:
            async with await client.session() as session:
                outcome = await session.validate(QUERY)
                assert await session.result(outcome.result_id) == outcome
                outputs = await session.infer("adder", {"x": floats(1, 1, 1, 1)})
                assert outputs
                own = session.receipts
            chain = await client.receipts()
            assert {receipt.digest for receipt in own} <= {receipt.digest for receipt in chain}

    asyncio.run(told())
