"""The route of invocations reads body, headers and token itself: everything that it must refuse, and read, is here."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from pcrgate.errors import ErrorCode
from service.settings import BODY_MAX_BYTES
from service.state_store import Role, SessionRecord
from tests.docs.rest_api import openapi
from tests.support.service_stage import ServiceStage, running_service
from tests.unit.service.test_dispatching import DONE, ScriptedLink

pytestmark = pytest.mark.network

SESSION = b"s" * 16
OTHERS = b"o" * 16
PATH = f"/v1/sessions/{SESSION.hex()}/invocations"
RECORD = {"record": "cGNyZ2F0ZQ=="}
JSON = {"Content-Type": "application/json"}
WAIT = {"Prefer": "wait=20"}
ENTRY = openapi()["paths"]["/v1/sessions/{session_id}/invocations"]["post"]


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceStage]:
    with running_service(tmp_path_factory.mktemp("service"), link=ScriptedLink(DONE)) as found:
        for session_id, caller in ((SESSION, f"test-{Role.CALLER.value}"), (OTHERS, "another")):
            found.state.add_session(SessionRecord(session_id=session_id, caller=caller, ticket=b"t", created_ms=1))
        yield found


@pytest.fixture
def caller(stage: ServiceStage) -> Iterator[httpx.Client]:
    with stage.client() as found:
        yield found


def refused(answer: httpx.Response, code: ErrorCode, status: int) -> str:
    """Check that an answer is the documented problem, and return its detail."""
    assert (answer.status_code, answer.json()["code"]) == (status, code.code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["cache-control"] == "no-store"
    assert str(status) in ENTRY["responses"]
    detail: str = answer.json()["detail"]
    return detail


@pytest.mark.parametrize("content", [b"{", json.dumps(RECORD).encode()], ids=["bad", "good"])
@pytest.mark.parametrize("authorization", [None, "Bearer nonsense", "Basic dTpw"])
def test_without_a_token_nothing_else_is_looked_at(
    stage: ServiceStage, authorization: str | None, content: bytes
) -> None:
    with stage.client(None, authorization=authorization) as stranger:
        answer = stranger.post(PATH, content=content, headers=JSON)
    refused(answer, ErrorCode.SERVICE_CREDENTIALS, 401)
    assert "www-authenticate" in answer.headers


@pytest.mark.parametrize("role", [Role.PUBLISHER, Role.OPERATOR])
def test_only_callers_may(stage: ServiceStage, role: Role) -> None:
    with stage.client(role) as other:
        refused(other.post(PATH, json=RECORD), ErrorCode.SERVICE_ROLE, 403)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"cGNyZ2F0ZQ=="',
        b"{}",
        b'{"record": null}',
        b'{"record": 7}',
        b'{"record": ""}',
        b'{"record": "cGNyZ2F0ZQ"}',
        b'{"record": "cGNyZ2F0ZQ==", "priority": 1}',
        b'{"record": "\xff\xfe\xfd\xfc"}',
        b'{"record": "\\ud800AAA"}',
        b'{"record": "cGNyZ2F0ZQ=="} {}',
        b"[" * 100_000,
        b'{"record": ' + b"[" * 100_000,
        json.dumps({"record": "A" * 1_400_004}).encode(),
    ],
    ids=lambda content: f"{content[:34]!r} of {len(content)}",
)
def test_a_body_that_cannot_be_read_is_refused(caller: httpx.Client, content: bytes) -> None:
    refused(caller.post(PATH, content=content, headers=JSON), ErrorCode.SERVICE_REQUEST, 400)


def test_a_refusal_names_the_member_and_repeats_no_value(caller: httpx.Client) -> None:
    answer = caller.post(PATH, json=RECORD | {"priority": "a secret"})
    assert "priority" in refused(answer, ErrorCode.SERVICE_REQUEST, 400)
    assert "secret" not in answer.text


@pytest.mark.parametrize(
    ("kind", "fine"),
    [
        ("application/json", True),
        ("Application/JSON; charset=utf-8", True),
        ("application/vnd.pcrgate+json", True),
        (None, False),
        ("", False),
        ("text/plain", False),
        ("text/json", False),
        ("application/jsonp", False),
        ("application/x-www-form-urlencoded", False),
        ("multipart/form-data; boundary=x", False),
    ],
)
def test_a_body_says_that_it_is_json(caller: httpx.Client, kind: str | None, fine: bool) -> None:
    headers = WAIT | ({} if kind is None else {"Content-Type": kind})
    answer = caller.post(PATH, content=json.dumps(RECORD), headers=headers)
    if fine:
        assert answer.status_code == 200
    else:
        refused(answer, ErrorCode.SERVICE_REQUEST, 400)


def test_a_body_is_bounded(caller: httpx.Client) -> None:
    longest = json.dumps(RECORD).encode().ljust(BODY_MAX_BYTES)
    assert caller.post(PATH, content=longest, headers=JSON | WAIT).status_code == 200
    refused(caller.post(PATH, content=longest + b" ", headers=JSON), ErrorCode.SERVICE_TOO_LARGE, 413)
    pieces = (longest[at : at + 500_000] for at in range(0, len(longest) + 500_000, 500_000))
    chunked = caller.post(PATH, content=(piece + b" " for piece in pieces), headers=JSON)
    refused(chunked, ErrorCode.SERVICE_TOO_LARGE, 413)


def test_a_body_that_says_it_is_too_long_is_not_waited_for(stage: ServiceStage) -> None:
    head = [f"POST {PATH} HTTP/1.1", "Host: x", f"Authorization: Bearer {stage.tokens[Role.CALLER]}"]
    head += ["Content-Type: application/json", f"Content-Length: {BODY_MAX_BYTES + 1}", "", ""]
    with socket.create_connection(("127.0.0.1", stage.port), timeout=20) as endpoint:
        endpoint.sendall("\r\n".join(head).encode())  # and none of the body
        assert endpoint.recv(12, socket.MSG_WAITALL) == b"HTTP/1.1 413"


def test_the_answer_is_what_the_document_says(caller: httpx.Client) -> None:
    answer = caller.post(PATH, json=RECORD, headers=WAIT)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-length"] == str(len(answer.content))
    assert answer.headers["cache-control"] == "private, no-cache"
    body = answer.json()
    assert answer.headers["location"] == f"/v1/results/{body['result_id']}"
    assert answer.headers["etag"] == f'"{body["result_id"]}"'
    assert body["state"] == "done"
    assert list(body) == list(openapi()["components"]["schemas"]["Result"]["properties"])
    assert caller.get(answer.headers["location"]).json() == body, "as the general machinery writes it"


def test_headers_may_be_missing(caller: httpx.Client) -> None:
    first, second = caller.post(PATH, json=RECORD), caller.post(PATH, json=RECORD)
    for answer in (first, second):
        assert answer.status_code in {200, 202}
        assert "preference-applied" not in answer.headers
    assert first.json()["result_id"] != second.json()["result_id"], "without a key each is a new one"


def session_id_is_read(caller: httpx.Client) -> None:
    for session_id in (OTHERS.hex(), "ab" * 16):
        path = f"/v1/sessions/{session_id}/invocations"
        refused(caller.post(path, json=RECORD), ErrorCode.SERVICE_NOT_FOUND, 404)
    for session_id in ("ab", "x" * 32, "ab" * 17):
        path = f"/v1/sessions/{session_id}/invocations"
        refused(caller.post(path, json=RECORD), ErrorCode.SERVICE_REQUEST, 400)


def prefer_is_read(caller: httpx.Client) -> None:
    answer = caller.post(PATH, json=RECORD, headers=WAIT)
    assert (answer.status_code, answer.headers["preference-applied"]) == (200, WAIT["Prefer"])


def idempotency_key_is_read(caller: httpx.Client) -> None:
    key = {"Idempotency-Key": "one" * 42}
    first = caller.post(PATH, json=RECORD, headers=key | WAIT)
    assert caller.post(PATH, json=RECORD, headers=key | WAIT).json() == first.json()
    other = caller.post(PATH, json={"record": "b3RoZXI="}, headers=key)
    refused(other, ErrorCode.SERVICE_IDEMPOTENCY, 422)
    for wrong in ("", "k" * 129, "two words"):
        answer = caller.post(PATH, json=RECORD, headers={"Idempotency-Key": wrong})
        refused(answer, ErrorCode.SERVICE_REQUEST, 400)


READ: dict[tuple[str, str], Callable[[httpx.Client], None]] = {
    ("path", "session_id"): session_id_is_read,
    ("header", "prefer"): prefer_is_read,
    ("header", "idempotency-key"): idempotency_key_is_read,
}


def test_every_documented_parameter_has_a_test() -> None:
    """The route reads what the document lists, by hand: a parameter that is added is read by nobody until it is here."""
    assert {(one["in"], one["name"].lower()) for one in ENTRY["parameters"]} == set(READ)
    assert set(ENTRY["requestBody"]["content"]) == {"application/json"}
    assert ENTRY["requestBody"]["required"] is True


@pytest.mark.parametrize("parameter", READ, ids=lambda parameter: parameter[1])
def test_every_documented_parameter_is_read(caller: httpx.Client, parameter: tuple[str, str]) -> None:
    READ[parameter](caller)


def test_a_result_that_takes_longer_is_named(tmp_path: Path) -> None:
    """Taken, not waited for: 202, where the result will be, and when to ask."""
    with running_service(tmp_path, drain_s=0) as stage, stage.client() as caller:  # no enclave answers
        stage.state.add_session(
            SessionRecord(session_id=SESSION, caller=f"test-{Role.CALLER.value}", ticket=b"t", created_ms=1)
        )
        answer = caller.post(PATH, json=RECORD)
        assert (answer.status_code, answer.json()["state"]) == (202, "pending")
        assert answer.headers["location"] == f"/v1/results/{answer.json()['result_id']}"
        assert answer.headers["retry-after"] == "1"
        assert answer.headers["cache-control"] == "no-store"
        assert "etag" not in answer.headers
