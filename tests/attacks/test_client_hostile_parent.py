"""A parent that lies to the agent: whatever it changes, swaps, replays or withholds, it can only deny service."""

import asyncio
import base64
import gzip
import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import replace
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pcrgate.attestation.anchors import AWS_ROOTS
from pcrgate.client import async_client
from pcrgate.client.async_client import AsyncClient
from pcrgate.client.client import Client
from pcrgate.client.outcome import PendingError
from pcrgate.client.transport import TRIES
from pcrgate.client.trust import TrustedManifests, TrustedPublisher, TrustPolicy
from pcrgate.client.work import Action
from pcrgate.envelope.session_identity import BootKeys, parse_identity
from pcrgate.errors import ClientError, ErrorCode, PcrgateError
from pcrgate.kms.nsm_messages import NsmClient
from pcrgate.twin.nsm import SoftwareNsm
from pcrgate.units import PcrIndex, Sha384
from tests.support.client_stage import ClientStage, open_client_stage
from tests.support.enclave_stage import AGENT, PUBLISHER, verifying

pytestmark = pytest.mark.network

QUERY = Action(tool="database.query", arguments={"table": "orders", "rows": 10}, purpose="report")
Change = Callable[[httpx.Request, httpx.Response], httpx.Response | None]


class HostileParent(httpx.BaseTransport):
    """Carry requests, and let somebody change what comes back."""

    def __init__(self, change: Change) -> None:
        self._inner = httpx.HTTPTransport()
        self._change = change
        self.sent: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.sent.append(request)
        answer = self._inner.handle_request(request)
        answer.read()
        made = self._change(request, answer) or answer
        kept = {
            name: made.headers[name]
            for name in ("Retry-After", "Location", "Set-Cookie", "Content-Encoding")
            if name in made.headers
        }
        return httpx.Response(made.status_code, headers=kept, stream=httpx.ByteStream(made.content))

    def close(self) -> None:
        self._inner.close()

    def paths(self) -> list[tuple[str, str]]:
        return [(request.method, request.url.path) for request in self.sent]


@pytest.fixture(scope="module")
def stage() -> Iterator[ClientStage]:
    with open_client_stage() as found:
        yield found


def honest(_request: httpx.Request, _answer: httpx.Response) -> None:
    return None


def changing(path: str, **members: Any) -> Change:
    """Return a parent that changes members of the answers to one path; a callable gets the old value."""

    def change(request: httpx.Request, answer: httpx.Response) -> httpx.Response | None:
        if not request.url.path.endswith(path):
            return None
        body = json.loads(answer.content)
        for name, value in members.items():
            body[name] = value(body[name]) if callable(value) else value
        return httpx.Response(answer.status_code, json=body)

    return change


def flipped(text: str) -> str:
    """Flip one bit in the last byte of base64."""
    data = bytearray(base64.b64decode(text))
    data[-1] ^= 1
    return base64.b64encode(data).decode()


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def refusal(stage: ClientStage, change: Change, trust: TrustPolicy | None = None) -> tuple[ErrorCode, HostileParent]:
    """Return why an agent stopped behind a parent, and what it had sent until then."""
    parent = HostileParent(change)
    with pytest.raises(PcrgateError) as caught, stage.client(trust=trust, transport=parent) as client:
        with client.session() as session:
            session.validate(QUERY)
        client.receipts()
    return caught.value.code, parent


def test_an_honest_parent_is_believed(stage: ClientStage) -> None:
    with stage.client(transport=HostileParent(honest)) as client, client.session() as session:
        session.validate(QUERY)


def test_nothing_is_sent_before_evidence_was_appraised(stage: ClientStage) -> None:
    """Evidence of another image: the agent has asked for it, and says nothing more."""
    code, parent = refusal(stage, honest, stage.trust(pcr0=(Sha384(b"x" * 48),)))
    assert code is ErrorCode.PCR_MISMATCH
    assert parent.paths() == [("GET", "/v1/evidence")]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (changing("/v1/evidence", document=flipped), ErrorCode.SIGNATURE_INVALID),
        (changing("/v1/evidence", identity=flipped), ErrorCode.PCR_MISMATCH),
        (changing("/v1/evidence", document="not base64"), ErrorCode.CLIENT_ANSWER),
        (changing("/v1/evidence", document=7), ErrorCode.CLIENT_ANSWER),
        (changing("/v1/evidence", document=""), ErrorCode.INPUT_EMPTY),
        (changing("/v1/evidence", identity=""), ErrorCode.SESSION_MESSAGE),
    ],
)
def test_changed_evidence_ends_it(stage: ClientStage, change: Change, expected: ErrorCode) -> None:
    code, parent = refusal(stage, change)
    assert code is expected
    assert parent.paths() == [("GET", "/v1/evidence")]


def test_evidence_for_another_nonce_is_a_replay(stage: ClientStage) -> None:
    with stage.client() as client:
        old = client.attest()
    code, parent = refusal(
        stage, changing("/v1/evidence", document=encoded(old.document), identity=encoded(old.statement))
    )
    assert code is ErrorCode.NONCE_MISMATCH
    assert parent.paths() == [("GET", "/v1/evidence")]


def test_a_development_root_is_not_amazons(stage: ClientStage) -> None:
    assert refusal(stage, honest, stage.trust(roots=AWS_ROOTS))[0] is ErrorCode.ROOT_UNPINNED


def test_another_enclave_of_the_same_image_cannot_stand_in_the_middle(stage: ClientStage) -> None:
    """Group C: valid evidence of a second enclave, same measurements, own keys; its session is not the first one's."""
    twin = stage.site.stage.twin
    nsm = NsmClient(SoftwareNsm(pki=twin.pki, pcrs={0: stage.site.stage.measured()}), roots=stage.trust().roots)
    with stage.client() as client:
        manifest = client.attest().identity.statement.manifest_digest
    nsm.extend_pcr(PcrIndex(16), manifest.digest)
    nsm.lock_pcr(PcrIndex(16))
    other = BootKeys.generate(manifest)

    def middle(request: httpx.Request, _answer: httpx.Response) -> httpx.Response | None:
        if request.url.path != "/v1/evidence":
            return None
        made = nsm.attestation(
            public_key=other.statement.receipt_key,
            user_data=other.statement.digest.digest,
            nonce=bytes.fromhex(request.url.params["nonce"]),
        )
        body = {"document": encoded(made.document), "identity": encoded(other.statement.encode())}
        return httpx.Response(200, json=body)

    code, parent = refusal(stage, middle)
    assert code is ErrorCode.SESSION_IDENTITY  # the genuine enclave refuses a hello for another identity
    assert all("invocations" not in path for _, path in parent.paths())


def test_an_identity_without_its_key_in_the_evidence_is_refused(stage: ClientStage) -> None:
    """Evidence that commits to the statement, but speaks for another key or for none."""
    twin = stage.site.stage.twin
    nsm = NsmClient(SoftwareNsm(pki=twin.pki, pcrs={0: stage.site.stage.measured()}), roots=stage.trust().roots)
    with stage.client() as client:
        attested = client.attest()
    statement = parse_identity(attested.statement)
    nsm.extend_pcr(PcrIndex(16), statement.manifest_digest.digest)
    nsm.lock_pcr(PcrIndex(16))

    def without(request: httpx.Request, _answer: httpx.Response) -> httpx.Response | None:
        if request.url.path != "/v1/evidence":
            return None
        made = nsm.attestation(
            public_key=None,
            user_data=statement.digest.digest,
            nonce=bytes.fromhex(request.url.params["nonce"]),
        )
        return httpx.Response(200, json={"document": encoded(made.document), "identity": encoded(attested.statement)})

    assert refusal(stage, without)[0] is ErrorCode.PUBLIC_KEY_MISMATCH


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (changing("/v1/sessions", response=flipped), ErrorCode.SESSION_RESPONSE),
        (changing("/v1/sessions", receipt=flipped), ErrorCode.RECEIPT_SIGNATURE),
        (changing("/invocations", record=flipped), ErrorCode.SESSION_OPEN),
        (changing("/invocations", receipt=flipped), ErrorCode.RECEIPT_SIGNATURE),
        (changing("/invocations", receipt=None), ErrorCode.CLIENT_ANSWER),
        (changing("/invocations", state="refused"), ErrorCode.CLIENT_ANSWER),
        (changing("/invocations", result_id="../../v1/enclaves"), ErrorCode.CLIENT_ANSWER),
        (changing("/v1/receipts", receipts=lambda all_of: all_of[1:]), ErrorCode.RECEIPT_GAP),
        (changing("/v1/receipts", receipts=lambda all_of: all_of[:1] + all_of[2:]), ErrorCode.RECEIPT_GAP),
        (changing("/v1/receipts", receipts=lambda all_of: all_of[:1] * 2), ErrorCode.RECEIPT_CHAIN),
        (changing("/v1/receipts", receipts=lambda all_of: all_of[::-1]), ErrorCode.RECEIPT_GAP),
        (changing("/v1/receipts", receipts=[]), ErrorCode.RECEIPT_GAP),
        (changing("/v1/receipts", receipts="none"), ErrorCode.CLIENT_ANSWER),
    ],
)
def test_changed_answers_are_refused(stage: ClientStage, change: Change, expected: ErrorCode) -> None:
    code, _ = refusal(stage, change)
    # The last byte of an ES384 signature may also leave the range that its form has.
    allowed = {ErrorCode.RECEIPT_FORM, expected} if expected is ErrorCode.RECEIPT_SIGNATURE else {expected}
    assert code in allowed


def test_a_result_of_another_request_is_refused(stage: ClientStage) -> None:
    kept: list[httpx.Response] = []

    def replay(request: httpx.Request, answer: httpx.Response) -> httpx.Response | None:
        if not request.url.path.endswith("/invocations"):
            return None
        kept.append(answer)
        return None if len(kept) == 1 else httpx.Response(200, content=kept[0].content)

    with stage.client(transport=HostileParent(replay)) as client, client.session() as session:
        session.validate(QUERY)
        with pytest.raises(PcrgateError) as caught:
            session.validate(QUERY)
        assert caught.value.code is ErrorCode.RECEIPT_MISMATCH


def test_a_record_that_was_opened_before_is_refused(stage: ClientStage) -> None:
    """The earlier result under a new name: the record itself says that it is old."""
    kept: list[dict[str, Any]] = []

    def rename(request: httpx.Request, answer: httpx.Response) -> httpx.Response | None:
        if not request.url.path.endswith("/invocations"):
            return None
        kept.append(json.loads(answer.content))
        return httpx.Response(200, json={**kept[0], "result_id": f"{len(kept):032x}"})

    with stage.client(transport=HostileParent(rename)) as client, client.session() as session:
        session.validate(QUERY)
        with pytest.raises(PcrgateError) as caught:
            session.validate(QUERY)
        assert caught.value.code is ErrorCode.SESSION_REPLAYED


def test_a_receipt_of_another_request_is_refused(stage: ClientStage) -> None:
    """The record is genuine; its receipt is genuine too, and about something else."""
    kept: list[str] = []

    def swap(request: httpx.Request, answer: httpx.Response) -> httpx.Response | None:
        if not request.url.path.endswith("/invocations"):
            return None
        body = json.loads(answer.content)
        kept.append(body["receipt"])
        return httpx.Response(200, json={**body, "receipt": kept[0]})

    with stage.client(transport=HostileParent(swap)) as client, client.session() as session:
        session.validate(QUERY)
        with pytest.raises(PcrgateError) as caught:
            session.validate(QUERY)
        assert caught.value.code is ErrorCode.RECEIPT_MISMATCH


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (httpx.Response(200, content=b"x" * ((2 << 20) + 1)), ErrorCode.CLIENT_ANSWER),
        (httpx.Response(200, content=b"[]"), ErrorCode.CLIENT_ANSWER),
        (httpx.Response(200, content=b"{"), ErrorCode.CLIENT_ANSWER),
        (httpx.Response(200, content=b"[" * 100_000), ErrorCode.CLIENT_ANSWER),
        (httpx.Response(302, headers={"Location": "http://127.0.0.1:1/"}, content=b"{}"), ErrorCode.CLIENT_ANSWER),
        (httpx.Response(403, json={"code": "session-hello", "detail": "\x1b[31mred"}), ErrorCode.SESSION_HELLO),
        (httpx.Response(403, json={"code": "made-up", "detail": 7, "receipt": "AAAA"}), ErrorCode.CLIENT_ANSWER),
    ],
)
def test_answers_of_no_form_are_refused(stage: ClientStage, answer: httpx.Response, expected: ErrorCode) -> None:
    def other(_request: httpx.Request, _answer: httpx.Response) -> httpx.Response:
        return answer

    parent = HostileParent(other)
    with pytest.raises(PcrgateError) as caught, stage.client(transport=parent) as client:
        client.attest()
    assert caught.value.code is expected
    assert caught.value.message.isprintable()
    assert len(parent.sent) == 1  # no redirect was followed


def test_a_parent_has_no_cookie_to_mark_an_agent_with(stage: ClientStage) -> None:
    def marking(_request: httpx.Request, answer: httpx.Response) -> httpx.Response:
        return httpx.Response(answer.status_code, headers={"Set-Cookie": "mark=7; Path=/"}, content=answer.content)

    parent = HostileParent(marking)
    with stage.client(transport=parent) as client:
        client.attest()
        client.attest()
    assert len(parent.sent) == 4
    assert not [request for request in parent.sent if "cookie" in request.headers]


def test_a_body_is_never_unpacked(stage: ClientStage) -> None:
    """What would be a problem of a known code once unpacked is not even JSON as it came."""
    packed = gzip.compress(json.dumps({"code": "session-hello", "detail": "unpacked"}).encode())

    def bomb(_request: httpx.Request, _answer: httpx.Response) -> httpx.Response:
        made = httpx.Response(403, content=packed)
        made.headers["Content-Encoding"] = "gzip"
        return made

    assert refusal(stage, bomb)[0] is ErrorCode.CLIENT_ANSWER


def test_a_result_that_stays_pending_is_not_asked_for_in_a_loop(stage: ClientStage) -> None:
    pending = {"result_id": "5f" * 16, "state": "pending"}

    def later(request: httpx.Request, _answer: httpx.Response) -> httpx.Response | None:
        asks = request.url.path.endswith("/invocations") or "/v1/results/" in request.url.path
        return httpx.Response(202, json=pending) if asks else None

    parent = HostileParent(later)
    with stage.client(transport=parent, sleep=time.sleep) as client, pytest.raises(PendingError):
        client.session().validate(QUERY, wait_s=0.6)
    assert sum("/v1/results/" in path for _, path in parent.paths()) <= 3


def test_only_what_is_safe_to_repeat_is_repeated(stage: ClientStage) -> None:
    def busy(_request: httpx.Request, _answer: httpx.Response) -> httpx.Response:
        return httpx.Response(503, json={"code": "service-busy", "detail": "later"}, headers={"Retry-After": "1"})

    code, parent = refusal(stage, busy)
    assert code is ErrorCode.SERVICE_BUSY
    assert parent.paths() == [("GET", "/v1/evidence")] * 4

    def busy_session(request: httpx.Request, answer: httpx.Response) -> httpx.Response | None:
        return busy(request, answer) if request.url.path == "/v1/sessions" else None

    code, parent = refusal(stage, busy_session)
    assert code is ErrorCode.SERVICE_BUSY
    assert parent.paths().count(("POST", "/v1/sessions")) == 1


def test_a_connection_that_breaks_is_told(stage: ClientStage) -> None:
    def broken(_request: httpx.Request, _answer: httpx.Response) -> httpx.Response:
        raise httpx.ReadError("canary-of-a-cause")

    code, parent = refusal(stage, broken)
    assert code is ErrorCode.CLIENT_TRANSPORT
    assert len(parent.sent) == 4


def test_manifests_that_are_not_trusted(stage: ClientStage) -> None:
    trusted = stage.trust()
    assert isinstance(trusted.manifest, TrustedPublisher)
    epoch = trusted.manifest.floor_epoch
    stranger = Ed25519PrivateKey.from_private_bytes(b"the key of some other publisher!")
    for manifest in (
        TrustedPublisher(keys=(verifying(PUBLISHER),), floor_epoch=epoch + 1),
        TrustedPublisher(keys=(verifying(stranger),), floor_epoch=epoch),
        TrustedManifests(digests=frozenset({Sha384(b"m" * 48)})),
    ):
        code, parent = refusal(stage, honest, replace(trusted, manifest=manifest))
        assert code is ErrorCode.TRUST_MANIFEST
        assert all(method == "GET" for method, _ in parent.paths())
    with stage.client() as client:
        digest = client.attest().identity.statement.manifest_digest
    exact = replace(trusted, manifest=TrustedManifests(digests=frozenset({digest})))
    with stage.client(trust=exact) as client:
        client.attest()

    def other_manifest(request: httpx.Request, answer: httpx.Response) -> httpx.Response | None:
        if not request.url.path.startswith("/v1/manifests/"):
            return None
        return httpx.Response(200, content=answer.content + b"\0")

    assert refusal(stage, other_manifest)[0] is ErrorCode.TRUST_MANIFEST


def test_the_address_is_https_unless_it_is_this_machine(stage: ClientStage) -> None:
    for url in ("http://10.0.0.1", "ftp://127.0.0.1", "https://", "http://127.0.0.1?x=1"):
        with pytest.raises(PcrgateError) as caught:
            Client(url, trust=stage.trust(), agent_id="one", agent_key=PUBLISHER, token="t")
        assert caught.value.code is ErrorCode.USAGE_ARGUMENTS


def test_a_head_that_drips_holds_no_asynchronous_agent(stage: ClientStage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes well within the longest silence, the head never ends."""
    monkeypatch.setattr(async_client, "ANSWER_TIMEOUT_S", 0.2)
    asked = 0

    async def dripping(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        with closing(writer), suppress(ConnectionError):
            writer.write(b"HTTP/1.1 200 OK\r\nX-Long: ")
            while not writer.is_closing():
                writer.write(b"a")
                await writer.drain()
                await asyncio.sleep(0.02)

    async def no_pause(_seconds: float) -> None:
        await asyncio.sleep(0)

    async def attested() -> None:
        server = await asyncio.start_server(dripping, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with (
            server,
            AsyncClient(url, trust=stage.trust(), agent_id="one", agent_key=AGENT, token="t", sleep=no_pause) as client,
        ):
            await client.attest()

    with pytest.raises(ClientError) as caught:
        asyncio.run(asyncio.wait_for(attested(), 30))
    assert (caught.value.code, asked) == (ErrorCode.CLIENT_TRANSPORT, TRIES)
