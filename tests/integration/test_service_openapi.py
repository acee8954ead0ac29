"""Hold the running service to its OpenAPI document: generated requests, and the answers to a real agent's."""

import datetime as dt
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from schemathesis import GenerationMode
from schemathesis.core.failures import AcceptedNegativeData, FailureGroup
from schemathesis.openapi.checks import JsonSchemaError, UndefinedStatusCode
from schemathesis.specs.openapi import checks

from pcrgate.client.outcome import PendingError
from pcrgate.errors import ErrorCode
from service.state_store import Role
from tests.docs.rest_api import openapi
from tests.integration.test_service_client import QUERY
from tests.support.client_stage import ClientStage, open_client_stage
from tests.support.service_stage import running_service

pytestmark = pytest.mark.network

SEED = 20_260
EXAMPLES = 12
"""Requests an operation and a kind of data; sixteen operations, both kinds: about 400 in all."""

CHECKS: list[Any] = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
    checks.allow_header_conformance,
    checks.missing_required_header,
]
ROLES = {"agent": Role.CALLER, "publisher": Role.PUBLISHER, "public": Role.CALLER, "operator": Role.OPERATOR}
HEALTH = {"/healthz", "/readyz"}
FINE = re.compile(r"header: .*\bAuthorization\b.*")
DOCUMENT = openapi()  # of an application that is not started
OPERATIONS = [
    (method.upper(), path, operation)
    for path, methods in DOCUMENT["paths"].items()
    for method, operation in methods.items()
]
GENERATED = [
    pytest.param(method, path, mode, id=f"{method} {path} {mode.value}")
    for method, path, _ in OPERATIONS
    for mode in GenerationMode
    if mode is GenerationMode.POSITIVE or path not in HEALTH  # health takes nothing, so nothing can be wrong
]


@schemathesis.serializer("application/cose")
def as_it_is(_context: Any, value: Any) -> Any:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


@pytest.fixture(scope="module")
def stage() -> Iterator[ClientStage]:
    with open_client_stage(artifact_max_bytes=1 << 20) as found:
        yield found


@pytest.fixture(scope="module")
def schema(stage: ClientStage) -> Any:
    return schemathesis.openapi.from_url(f"{stage.service.url}/openapi.json")


def headers_for(stage: ClientStage, operation: Any) -> dict[str, str]:
    return {"Authorization": f"Bearer {stage.service.tokens[ROLES[operation.tags[0]]]}"}


def answers(schema: Any, stage: ClientStage, method: str, path: str, mode: GenerationMode) -> Counter[int]:
    """Send generated requests, check every answer, and return how often each status came."""
    operation = schema[path][method]
    headers = headers_for(stage, operation)
    seen: Counter[int] = Counter()

    @seeded(SEED)
    @settings(
        max_examples=EXAMPLES, database=None, phases=[Phase.generate], deadline=None,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(case=operation.as_strategy(generation_mode=mode))
    def conforms(case: Any) -> None:
        answer = case.call(headers=headers, timeout=20)
        seen[answer.status_code] += 1
        try:
            case.validate_response(answer, checks=CHECKS)
        except (FailureGroup, AcceptedNegativeData) as refusal:
            failures = refusal.exceptions if isinstance(refusal, FailureGroup) else (refusal,)
            if not all(was_fine_after_all(failure) for failure in failures):
                raise

    conforms()
    return seen


def was_fine_after_all(failure: BaseException) -> bool:
    """Whether all that made a request wrong was the token, in place of which we send the right one."""
    if not isinstance(failure, AcceptedNegativeData):
        return False
    wrong = re.findall(r"^ *- (.*)$", failure.message, re.MULTILINE)
    return bool(wrong) and all(FINE.fullmatch(part) for part in wrong)


@pytest.mark.parametrize(("method", "path", "mode"), GENERATED)
def test_generated_requests_get_documented_answers(
    stage: ClientStage, schema: Any, method: str, path: str, mode: GenerationMode
) -> None:
    seen = answers(schema, stage, method, path, mode)
    assert seen.total() >= 1
    assert all(status < 500 for status in seen), "with an enclave that lives nothing is even 503"


def test_an_answer_that_is_not_documented_is_found(stage: ClientStage) -> None:
    """The checks themselves: with one status, or one member, less in the document they complain."""
    for change in ("status", "member"):
        document = json.loads(json.dumps(DOCUMENT))
        if change == "status":
            del document["paths"]["/v1/evidence"]["get"]["responses"]["400"]
        else:
            shape = document["components"]["schemas"]["Evidence"]
            shape["properties"]["extra"], shape["required"] = {"type": "string"}, ["extra"]
        lessened = schemathesis.openapi.from_dict(document)
        lessened.config.update(base_url=stage.service.url)
        mode = GenerationMode.NEGATIVE if change == "status" else GenerationMode.POSITIVE
        with pytest.raises((FailureGroup, UndefinedStatusCode, JsonSchemaError)):
            answers(lessened, stage, "GET", "/v1/evidence", mode)


class Checked(httpx.HTTPTransport):
    """Hold every answer that passes to the document."""

    def __init__(self, schema: Any) -> None:
        super().__init__()
        self.schema = schema
        self.seen: set[tuple[str, str, int]] = set()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        answer.read()
        answer.elapsed = dt.timedelta()
        path, operation = operation_of(self.schema, request)
        answer.request = request
        operation.validate_response(answer)
        self.seen.add((request.method, path, answer.status_code))
        return httpx.Response(answer.status_code, headers=answer.headers, stream=httpx.ByteStream(answer.content))


def operation_of(schema: Any, request: httpx.Request) -> tuple[str, Any]:
    """Return the most literal path of the document that a request fits."""
    fitting = [
        path
        for method, path, _ in OPERATIONS
        if method == request.method and re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), request.url.path)
    ]
    path = min(fitting, key=lambda one: one.count("{"))
    return path, schema[path][request.method]


def test_what_an_agent_and_a_publisher_are_answered_conforms(stage: ClientStage, schema: Any) -> None:
    checked = Checked(schema)
    with stage.client(transport=checked) as client:
        with client.session() as session:
            outcome = session.validate(QUERY)
            with pytest.raises(PendingError) as late:
                while True:
                    session.validate(QUERY, wait_s=0)
            session.result(late.value.result_id)
        client.receipts()
    content, sealed = os.urandom(100), stage.site.stage.model.message
    asked_by: dict[Role, list[tuple[str, str, bytes, dict[str, str]]]] = {
        Role.CALLER: [
            ("GET", f"/v1/receipts/{outcome.receipt.digest}", b"", {}),
            ("GET", f"/v1/receipts/{outcome.receipt.digest}", b"", {"If-None-Match": f'"{outcome.receipt.digest}"'}),
            ("GET", f"/v1/results/{outcome.result_id}", b"", {}),
            ("GET", "/v1/enclaves", b"", {}),
            ("GET", "/v1/manifests/current", b"", {}),
        ],
        Role.PUBLISHER: [
            *[("PUT", f"/v1/artifacts/{hashlib.sha384(sealed).hexdigest()}", sealed, {})] * 2,
            ("HEAD", f"/v1/artifacts/{hashlib.sha384(sealed).hexdigest()}", b"", {}),
            ("HEAD", f"/v1/artifacts/{hashlib.sha384(content).hexdigest()}", b"", {}),
            (
                "PUT",
                f"/v1/artifacts/{hashlib.sha384(content).hexdigest()}",
                content[:9],
                {"Content-Range": "bytes 0-8/99"},
            ),
            ("PUT", f"/v1/manifests/{stage.site.stage.manifest.epoch}", stage.site.signed, {}),
        ],
        Role.OPERATOR: [("GET", path, b"", {}) for path in ("/metrics", *HEALTH)],
    }
    for role, asked in asked_by.items():
        with stage.service.client(role, transport=checked) as http:
            for method, path, body, headers in asked:
                http.request(method, path, content=body, headers=headers)
    succeeding = {
        (method, path, int(status))
        for method, path, operation in OPERATIONS
        for status in operation["responses"]
        if int(status) < 400
    }
    assert succeeding - checked.seen == {("GET", "/v1/manifests/current", 304)}  # in test_service_publisher


@pytest.mark.parametrize("path", sorted({path for _, path, _ in OPERATIONS}))
def test_another_method_is_told_all_that_the_path_takes(stage: ClientStage, path: str) -> None:
    named = re.sub(r"{\w+}", "5f" * 48, path)
    same = {other for other in DOCUMENT["paths"] if re.fullmatch(re.sub(r"{\w+}", "[^/]+", other), named)}
    takes = {method for method, other, _ in OPERATIONS if other in same}
    with stage.service.client() as http:
        for method in {"PATCH", "OPTIONS", "TRACE", "GET", "PUT", "POST", "DELETE"} - takes:
            answer = http.request(method, named)
            assert answer.status_code == 405
            assert answer.json()["code"] == ErrorCode.SERVICE_METHOD.code
            assert set(answer.headers["allow"].split(", ")) == takes


@pytest.mark.parametrize(("method", "path"), [(method, path) for method, path, _ in OPERATIONS if path not in HEALTH])
def test_no_token_no_answer(stage: ClientStage, method: str, path: str) -> None:
    named = re.sub(r"{\w+}", "7", path)
    body = {"PUT": {"ticket": "AAAA"}, "POST": {"hello": "AAAA"}, "DELETE": {"record": "AAAA"}}.get(method)
    with stage.service.client(None, authorization="Bearer guessed") as http:
        answer = http.request(method, named, json=body, params={"nonce": "ab" * 16})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


def test_an_enclave_that_is_gone_is_503_with_the_time_to_come_again(tmp_path: Path) -> None:
    with running_service(tmp_path) as service, service.client() as http:
        for path in (f"/v1/evidence?nonce={'ab' * 16}", "/v1/enclaves"):
            answer = http.get(path)
            assert (answer.status_code, answer.json()["code"]) == (503, ErrorCode.WIRE_LINK.code)
            assert int(answer.headers["retry-after"]) >= 1
