"""The publisher's side of REST over a real socket: uploads in parts, manifests, tokens, limits, refusals."""

import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pcrgate.client.exchange import RemoteRefusalError
from pcrgate.client.publisher import Publisher
from pcrgate.errors import ErrorCode
from pcrgate.manifest.release import Manifest
from pcrgate.manifest.signature import sign_manifest
from pcrgate.units import Sha384
from service.settings import BODY_MAX_BYTES
from service.state_store import Role
from tests.support.service_stage import ServiceStage, running_service

pytestmark = pytest.mark.network

KEY = Ed25519PrivateKey.from_private_bytes(b"publisher key for tests, 32 byte")
LIMIT = 3 << 20


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceStage]:
    with running_service(tmp_path_factory.mktemp("service"), artifact_max_bytes=LIMIT, body_timeout_s=0.5) as found:
        yield found


@pytest.fixture(scope="module")
def publisher(stage: ServiceStage) -> Iterator[httpx.Client]:
    with stage.client(Role.PUBLISHER) as client:
        yield client


def path_of(content: bytes) -> str:
    return f"/v1/artifacts/{hashlib.sha384(content).hexdigest()}"


def refused(answer: httpx.Response, code: ErrorCode, status: int) -> dict[str, Any]:
    """Check that an answer is a problem with this code, and return it."""
    problem: dict[str, Any] = answer.json()
    assert (problem["code"], answer.status_code, problem["status"]) == (code.code, status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"urn:pcrgate:error:{code.code}"
    assert problem["instance"] == f"urn:pcrgate:request:{answer.headers['x-request-id']}"
    assert answer.headers["cache-control"] == "no-store"
    return problem


def signed(epoch: int, lifetime_ms: int = 1000) -> bytes:
    now = time.time_ns() // 1_000_000
    return sign_manifest(Manifest(epoch=epoch, issued_ms=now, expires_ms=now + lifetime_ms), KEY)


def test_a_file_is_put_whole(stage: ServiceStage, publisher: httpx.Client) -> None:
    content = os.urandom((2 << 20) + 5)
    assert publisher.head(path_of(content)).headers["upload-offset"] == "0"
    answer = publisher.put(path_of(content), content=content)
    assert answer.status_code == 201
    digest = hashlib.sha384(content).hexdigest()
    assert answer.json() == {"digest": digest, "header_digest": None, "size_bytes": len(content)}
    assert answer.headers["location"] == path_of(content)
    again = publisher.put(path_of(content), content=content)
    assert again.status_code == 200
    assert again.headers["etag"] == answer.headers["etag"] == f'"{digest}"'
    head = publisher.head(path_of(content))
    assert (head.status_code, head.headers["upload-offset"]) == (200, str(len(content)))


def test_a_file_is_put_in_parts_of_any_length(publisher: httpx.Client) -> None:
    content = os.urandom((2 << 20) + 77)
    offset, requests = 0, 0
    while True:
        piece = content[offset : offset + 1_500_000]
        answer = publisher.put(
            path_of(content),
            content=piece,
            headers={"Content-Range": f"bytes {offset}-{offset + len(piece) - 1}/{len(content)}"},
        )
        requests += 1
        if answer.status_code == 201:
            break
        assert answer.status_code == 202
        offset = answer.json()["received_bytes"]
        assert publisher.head(path_of(content)).headers["upload-offset"] == str(offset)
    assert requests == 2
    assert answer.json()["size_bytes"] == len(content)


def test_an_upload_that_breaks_off_goes_on(stage: ServiceStage, publisher: httpx.Client) -> None:
    content = os.urandom((2 << 20) + 1)
    head = (
        f"PUT {path_of(content)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stage.tokens[Role.PUBLISHER]}\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", stage.port)) as connection:
        connection.sendall(head.encode() + content[: (1 << 20) + 9])
    deadline = time.monotonic() + 10
    while (offset := int(publisher.head(path_of(content)).headers["upload-offset"])) == 0:
        assert time.monotonic() < deadline
    assert offset == 1 << 20
    while True:  # the request that broke off may still hold the file
        answer = publisher.put(
            path_of(content),
            content=content[offset:],
            headers={"Content-Range": f"bytes {offset}-{len(content) - 1}/{len(content)}"},
        )
        if answer.status_code != 409:
            break
        assert time.monotonic() < deadline
    assert answer.status_code == 201


def test_a_file_with_all_its_bytes_is_finished_by_asking(stage: ServiceStage, publisher: httpx.Client) -> None:
    """A process that was killed between the last part and the end leaves exactly this."""
    content = b"all bytes are there"
    stage.artifacts.append(stage_digest(content), 0, content)
    answer = publisher.put(path_of(content), headers={"Content-Range": f"bytes */{len(content)}"})
    assert answer.status_code == 201


def stage_digest(content: bytes) -> Any:
    from pcrgate.units import Sha384

    return Sha384(hashlib.sha384(content).digest())


def test_other_bytes_than_promised_are_refused_and_dropped(publisher: httpx.Client) -> None:
    refused(publisher.put(path_of(b"promised"), content=b"delivered"), ErrorCode.SERVICE_DIGEST, 422)
    assert publisher.head(path_of(b"promised")).headers["upload-offset"] == "0"


def test_parts_must_follow_each_other(publisher: httpx.Client) -> None:
    answer = publisher.put(path_of(b"later"), content=b"er", headers={"Content-Range": "bytes 3-4/5"})
    refused(answer, ErrorCode.SERVICE_UPLOAD_OFFSET, 409)
    assert answer.headers["upload-offset"] == "0"


@pytest.mark.parametrize(
    ("content_range", "content"),
    [
        ("bytes 0-1/1", b"ab"),
        ("bytes 0-1/5", b"abc"),
        ("bytes 0-9/20", b"abc"),
        ("bytes 5-2/9", b""),
        ("bytes */0", b""),
        ("bytes */9", b"x"),
        ("octets 0-1/2", b"ab"),
        ("bytes 0-1/*", b"ab"),
        ("bytes 0-1/9999999999999999", b"ab"),
    ],
)
def test_headers_that_do_not_fit_are_refused(publisher: httpx.Client, content_range: str, content: bytes) -> None:
    answer = publisher.put(path_of(b"any"), content=content, headers={"Content-Range": content_range})
    refused(answer, ErrorCode.SERVICE_REQUEST, 400)


def test_the_length_is_needed_and_bounded(publisher: httpx.Client) -> None:
    refused(publisher.put(path_of(b"x"), content=iter([b"x"])), ErrorCode.SERVICE_LENGTH_REQUIRED, 411)
    refused(publisher.put(path_of(b""), content=b""), ErrorCode.SERVICE_REQUEST, 400)
    content = bytes(LIMIT)
    assert publisher.put(path_of(content), content=content).status_code == 201
    longer = {"Content-Range": f"bytes 0-0/{LIMIT + 1}"}
    refused(publisher.put(path_of(b"y"), content=b"y", headers=longer), ErrorCode.SERVICE_TOO_LARGE, 413)


@pytest.mark.parametrize("digest", ["ab", "AB" * 48, "zz" * 48, "ab" * 49])
def test_a_name_is_a_digest(publisher: httpx.Client, digest: str) -> None:
    refused(publisher.put(f"/v1/artifacts/{digest}", content=b"x"), ErrorCode.SERVICE_REQUEST, 400)


def test_one_file_is_uploaded_once_at_a_time(stage: ServiceStage, publisher: httpx.Client) -> None:
    content = b"two at once"
    head = (
        f"PUT {path_of(content)} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {stage.tokens[Role.PUBLISHER]}\r\n"
        f"Content-Length: {len(content)}\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", stage.port)) as connection:
        connection.sendall(head.encode() + content[:3])
        deadline = time.monotonic() + 5
        while not stage.app.state.parts.uploads._busy:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        refused(publisher.put(path_of(content), content=content), ErrorCode.SERVICE_CONFLICT, 409)
        # The first one stops sending and meets its deadline, and the file is free again.
        assert b" 408 " in connection.recv(4096)
    assert publisher.put(path_of(content), content=content).status_code == 201


def test_manifests_go_forward(stage: ServiceStage, publisher: httpx.Client) -> None:
    refused(publisher.get("/v1/manifests/current"), ErrorCode.SERVICE_NOT_FOUND, 404)
    five, other = signed(5), signed(5, lifetime_ms=999)
    answer = publisher.put("/v1/manifests/5", content=five)
    assert answer.status_code == 201
    assert answer.json() == {"epoch": 5, "digest": hashlib.sha384(five).hexdigest()}
    assert publisher.put("/v1/manifests/5", content=five).status_code == 201
    refused(publisher.put("/v1/manifests/5", content=other), ErrorCode.SERVICE_CONFLICT, 409)
    refused(publisher.put("/v1/manifests/4", content=signed(4)), ErrorCode.SERVICE_PRECONDITION, 412)
    refused(publisher.put("/v1/manifests/7", content=signed(6)), ErrorCode.SERVICE_REQUEST, 400)
    with stage.client() as caller:
        current = caller.get("/v1/manifests/current")
        assert current.content == five
        assert current.headers["etag"] == answer.headers["etag"]
        same = caller.get("/v1/manifests/current", headers={"If-None-Match": current.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")
    six = signed(6)
    stale = {"If-Match": '"' + "0" * 96 + '"'}
    refused(publisher.put("/v1/manifests/6", content=six, headers=stale), ErrorCode.SERVICE_PRECONDITION, 412)
    matching = {"If-Match": current.headers["etag"]}
    assert publisher.put("/v1/manifests/6", content=six, headers=matching).status_code == 201
    assert stage.shelf.manifest.read_bytes() == six


def test_what_is_no_manifest_is_refused(publisher: httpx.Client) -> None:
    refused(publisher.put("/v1/manifests/9", content=b"{}"), ErrorCode.MANIFEST_ENVELOPE, 422)
    refused(publisher.put("/v1/manifests/9", content=b""), ErrorCode.MANIFEST_SIZE, 422)
    refused(publisher.put("/v1/manifests/nine", content=signed(9)), ErrorCode.SERVICE_REQUEST, 400)


def test_bodies_are_bounded(publisher: httpx.Client) -> None:
    refused(publisher.put("/v1/manifests/9", content=bytes(BODY_MAX_BYTES)), ErrorCode.MANIFEST_SIZE, 422)
    over = bytes(BODY_MAX_BYTES + 1)
    refused(publisher.put("/v1/manifests/9", content=over), ErrorCode.SERVICE_TOO_LARGE, 413)
    refused(publisher.put("/v1/manifests/9", content=iter([over])), ErrorCode.SERVICE_TOO_LARGE, 413)


def test_a_body_that_stops_coming_is_not_waited_for(stage: ServiceStage) -> None:
    with socket.create_connection(("127.0.0.1", stage.port), timeout=20) as connection:
        connection.sendall(b"PUT /v1/manifests/9 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf")
        assert b" 408 " in connection.recv(4096)


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Basic eDp5", "Bearer pcrgate_0123456789abcdef_" + "A" * 43, "Bearer nonsense", "bearer  x"],
)
def test_without_a_token_nothing_is_done(stage: ServiceStage, authorization: str) -> None:
    with stage.client(None, authorization=authorization) as client:
        answer = client.get("/v1/manifests/current")
        refused(answer, ErrorCode.SERVICE_CREDENTIALS, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")


def test_roles_do_their_own_work_only(stage: ServiceStage, publisher: httpx.Client) -> None:
    with stage.client(Role.CALLER) as caller, stage.client(Role.OPERATOR) as operator:
        for client in (caller, operator):
            refused(client.put(path_of(b"z"), content=b"z"), ErrorCode.SERVICE_ROLE, 403)
            refused(client.put("/v1/manifests/9", content=signed(9)), ErrorCode.SERVICE_ROLE, 403)
        for client in (publisher, operator):
            refused(client.post("/v1/sessions", json={"hello": "AAAA"}), ErrorCode.SERVICE_ROLE, 403)
        for client in (publisher, caller):
            refused(client.get("/metrics"), ErrorCode.SERVICE_ROLE, 403)


def test_a_revoked_token_counts_no_more(stage: ServiceStage) -> None:
    token = stage.maker.make(Role.CALLER, "soon-gone", now_ms=1)
    with stage.client(None, authorization=f"Bearer {token}") as client:
        assert client.get("/v1/receipts").status_code == 200
        assert stage.state.revoke_token(token.split("_")[1])
        refused(client.get("/v1/receipts"), ErrorCode.SERVICE_CREDENTIALS, 401)


def test_unknown_paths_and_methods(publisher: httpx.Client) -> None:
    refused(publisher.get("/v2/anything"), ErrorCode.SERVICE_NOT_FOUND, 404)
    answer = publisher.patch("/healthz")
    refused(answer, ErrorCode.SERVICE_METHOD, 405)
    assert "GET" in answer.headers["allow"]


def test_request_ids(publisher: httpx.Client) -> None:
    given = publisher.get("/healthz", headers={"X-Request-Id": "trace-1"})
    assert given.headers["x-request-id"] == "trace-1"
    made = publisher.get("/healthz", headers={"X-Request-Id": "bad id"})
    assert len(made.headers["x-request-id"]) == 16


def test_no_other_site_may_read(publisher: httpx.Client) -> None:
    answer = publisher.get("/healthz", headers={"Origin": "https://elsewhere.example"})
    assert not [name for name in answer.headers if name.startswith("access-control-")]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_health_and_readiness_without_an_enclave(stage: ServiceStage) -> None:
    with stage.client(None) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()) == (503, {"status": ErrorCode.WIRE_LINK.code})
    with stage.client() as caller:
        refused(caller.get("/v1/enclaves"), ErrorCode.WIRE_LINK, 503)
        refused(caller.get("/v1/evidence", params={"nonce": "ab" * 16}), ErrorCode.WIRE_LINK, 503)


@pytest.mark.parametrize(("length", "status"), [(15, 400), (16, 503), (64, 503), (65, 400)])
def test_nonces_are_bounded(stage: ServiceStage, length: int, status: int) -> None:
    with stage.client() as caller:
        assert caller.get("/v1/evidence", params={"nonce": "ab" * length}).status_code == status


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/v1/receipts?afterr=3", "each of after, boot, limit once at most"),
        ("/v1/receipts?limit=2&limit=1", "each of after, boot, limit once at most"),
        ("/v1/receipts?after=0&=", "each of after, boot, limit once at most"),
        ("/v1/evidence?canary=1", "each of nonce once at most"),  # and not that the nonce is missing
        (f"/v1/evidence?nonce={'ab' * 16}&Nonce={'ab' * 16}", "each of nonce once at most"),
        ("/v1/manifests/current?x", "expected none"),
        (f"/v1/results/{'5f' * 16}?wait=3", "expected none"),
    ],
)
def test_query_parameters_that_are_unknown_or_stand_twice(stage: ServiceStage, target: str, expected: str) -> None:
    with stage.client() as caller:
        answer = caller.get(target)
        refused(answer, ErrorCode.SERVICE_QUERY, 400)
        assert answer.json()["detail"].endswith(expected)
        assert "canary" not in answer.text
        assert caller.get("/v1/receipts?limit=1&after=0").status_code == 200
        assert caller.get("/v1/receipts?").status_code == 200
    with stage.client(Role.OPERATOR) as operator:
        refused(operator.get("/metrics?format=json"), ErrorCode.SERVICE_QUERY, 400)


def test_an_invocation_takes_no_query(stage: ServiceStage) -> None:
    with stage.client() as caller:
        answer = caller.post(f"/v1/sessions/{'5f' * 16}/invocations?wait=3", json={"record": "AAAA"})
        refused(answer, ErrorCode.SERVICE_QUERY, 400)


def test_rates(tmp_path: Path) -> None:
    with running_service(tmp_path, rate_burst=3, rate_per_s=0.01) as stage, stage.client() as caller:
        assert [caller.get("/v1/receipts").status_code for _ in range(3)] == [200] * 3
        answer = caller.get("/v1/receipts")
        refused(answer, ErrorCode.SERVICE_RATE, 429)
        assert 90 <= int(answer.headers["retry-after"]) <= 100
        with stage.client(Role.PUBLISHER) as other:
            assert other.get("/v1/receipts").status_code == 200
        with stage.client(None) as nobody:
            codes = [nobody.get("/v1/receipts").status_code for _ in range(4)]
        assert codes == [401, 401, 401, 429]


def test_a_publisher_comes_again_when_the_service_says_and_sends_all_of_it(tmp_path: Path) -> None:
    content = os.urandom(100_000)
    (tmp_path / "sealed").write_bytes(content)
    now, asked = [0.0], []

    def pause(seconds: float) -> None:
        asked.append(seconds)
        now[0] += seconds

    with (
        running_service(tmp_path, clock=lambda: now[0], rate_burst=1, rate_per_s=0.5) as stage,
        Publisher(stage.url, token=stage.tokens[Role.PUBLISHER], sleep=pause) as publisher,
        (tmp_path / "sealed").open("rb") as file,
    ):
        digest = publisher.put_artifact(file)
        assert b"".join(stage.artifacts.read(Sha384(bytes.fromhex(digest)))) == content
        statuses = [json.loads(line)["status"] for line in stage.log.getvalue().splitlines() if '"artifacts"' in line]
    assert statuses.count(429) == len(asked) >= 1  # each time it came again it was let in
    assert all(2 <= seconds <= 3 for seconds in asked)


def test_a_publisher_who_would_wait_for_too_long_is_told_at_once(tmp_path: Path) -> None:
    asked: list[float] = []
    (tmp_path / "sealed").write_bytes(b"sealed")
    with (
        running_service(tmp_path, rate_burst=1, rate_per_s=0.01) as stage,
        Publisher(stage.url, token=stage.tokens[Role.PUBLISHER], sleep=asked.append) as publisher,
        (tmp_path / "sealed").open("rb") as file,
        pytest.raises(RemoteRefusalError) as caught,
    ):
        publisher.put_artifact(file)
    assert (caught.value.code, asked) == (ErrorCode.SERVICE_RATE, [])


def test_requests_at_once_are_bounded(tmp_path: Path) -> None:
    with (
        running_service(tmp_path, requests_at_once=1, requests_wait_s=0.2) as stage,
        stage.client() as caller,
        closing(socket.create_connection(("127.0.0.1", stage.port))) as slow,
    ):
        slow.sendall(b"PUT /v1/manifests/9 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        deadline = time.monotonic() + 5
        answer = caller.get("/v1/receipts")
        while answer.status_code == 200 and time.monotonic() < deadline:
            answer = caller.get("/v1/receipts")
        refused(answer, ErrorCode.SERVICE_BUSY, 503)
        assert 1 <= int(answer.headers["retry-after"]) <= 10
        assert caller.get("/healthz").status_code == 200


def test_requests_wait_in_line_for_a_place(tmp_path: Path) -> None:
    with (
        running_service(tmp_path, requests_at_once=1, requests_wait_s=30, body_timeout_s=0.5) as stage,
        stage.client() as caller,
        closing(socket.create_connection(("127.0.0.1", stage.port))) as slow,
    ):
        slow.sendall(b"PUT /v1/manifests/9 HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        assert [caller.get("/v1/receipts").status_code for _ in range(3)] == [200] * 3
        assert slow.recv(100).startswith(b"HTTP/1.1 408")


def test_counters_have_listed_labels_only(stage: ServiceStage) -> None:
    with stage.client(Role.OPERATOR) as operator:
        text = operator.get("/metrics").text
    labels = {line.partition("{")[2].partition("}")[0] for line in text.splitlines() if "{" in line}
    from service.metrics import CLASSES, ENDS, ROUTES

    allowed = {f'route="{route}",status="{status}"' for route in ROUTES for status in CLASSES}
    assert labels <= allowed | {f'end="{end}"' for end in ENDS}
    assert 'pcrgate_requests_total{route="metrics",status="2xx"}' in text
    assert "bucket" not in text
    assert "pcrgate_enclave_up 0.0" in text  # no enclave is there; whoever looks sees the rest


def test_logs_hold_no_token_and_no_name(stage: ServiceStage, publisher: httpx.Client) -> None:
    publisher.put(path_of(b"canary content"), content=b"canary content", headers={"X-Canary": "canary header"})
    publisher.get("/v1/receipts", params={"boot": "ca" * 32})
    said = stage.log.getvalue()
    assert '"route": "artifacts"' in said
    for token in stage.tokens.values():
        assert token.split("_", 2)[2] not in said
    for canary in ("canary", "ca" * 32, hashlib.sha384(b"canary content").hexdigest(), "Bearer"):
        assert canary not in said


def test_tokens_are_not_kept(stage: ServiceStage) -> None:
    stored = b"".join(path.read_bytes() for path in stage.shelf.manifest.parents[1].rglob("*") if path.is_file())
    for token in stage.tokens.values():
        assert token.split("_", 2)[2].encode() not in stored
        assert token.split("_")[1].encode() in stored
