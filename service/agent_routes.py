"""Carry what agents and the enclave say to each other: evidence, sessions, invocations, results; all of it sealed."""

import asyncio
import re
import secrets
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Header, Path, Query, Response

from pcrgate.envelope.session_messages import SESSION_ID_BYTES
from pcrgate.errors import ErrorCode, ServiceError
from pcrgate.wire.messages import (
    EvidenceAnswer,
    EvidenceRequest,
    SessionConfirm,
    SessionConfirmAnswer,
    SessionEnd,
    SessionEndAnswer,
    SessionOpen,
    SessionOpenAnswer,
    SessionResume,
    SessionResumeAnswer,
)
from service.encoded import from_base64, from_hex, hex_pattern, to_base64
from service.openapi_document import refusing
from service.parts import Caller, Parts, PartsOf, now_ms
from service.rest_shapes import (
    Confirmation,
    EndedSession,
    Evidence,
    Hello,
    OpenSession,
    Refusal,
    Result,
    SealedRecord,
    Welcome,
)
from service.sealed_route import SealedRoute
from service.state_store import Invocation, ResultState, SessionRecord, TokenRecord

router: Final = APIRouter(prefix="/v1", tags=["agent"])

NONCE_BYTES: Final = (16, 64)
"""Shortest and longest nonce: what a hello can carry."""

POLL_S: Final = 1
"""What Retry-After says of a result that is not there yet."""

_WAIT: Final = re.compile(r"wait=(\d{1,6})")
_KEY: Final = re.compile(r"^[\x21-\x7e]{1,128}$")
_NO_STORE: Final = {"Cache-Control": "no-store"}
_Id = Annotated[
    str,
    Path(
        description="16 bytes in hex.",
        examples=["5f1e0c1a9b3d4e6f8a7b6c5d4e3f2a1b"],
        json_schema_extra=hex_pattern(SESSION_ID_BYTES),
    ),
]
_Prefer = Annotated[str | None, Header(description="wait=SECONDS to have the result in the answer.")]


@router.get("/evidence", responses=refusing(502))
async def evidence(
    parts: PartsOf,
    _caller: Caller,
    response: Response,
    nonce: Annotated[
        str,
        Query(
            description="16 to 64 random bytes in hex.",
            examples=["ab" * 32],
            json_schema_extra=hex_pattern(*NONCE_BYTES),
        ),
    ],
) -> Evidence:
    """Return a fresh attestation document for the caller's nonce; nothing is cached."""
    fresh = from_hex(nonce, "nonce", least=NONCE_BYTES[0], most=NONCE_BYTES[1])
    answer = await parts.desk.ask(EvidenceRequest(nonce=fresh), EvidenceAnswer)
    response.headers.update(_NO_STORE)
    return Evidence(document=to_base64(answer.document), identity=to_base64(answer.identity))


@router.post("/sessions", responses=refusing(502))
async def open_session(body: Hello, parts: PartsOf, caller: Caller, response: Response) -> Welcome:
    """Hand a hello to the enclave and return its answer; a hello counts once, so a repeated one is refused."""
    response.headers.update(_NO_STORE)
    hello = from_base64(body.hello, "hello")
    if body.resumes is None:
        answer: SessionOpenAnswer | SessionResumeAnswer = await parts.desk.ask(
            SessionOpen(hello=hello), SessionOpenAnswer
        )
    else:
        session = await _session(parts, body.resumes, caller)
        answer = await parts.desk.ask(SessionResume(hello=hello, ticket=session.ticket), SessionResumeAnswer)
    return Welcome(response=to_base64(answer.response), receipt=to_base64(answer.receipt))


@router.put("/sessions/{session_id}", status_code=HTTPStatus.CREATED, responses=refusing(409, 502))
async def confirm_session(session_id: _Id, body: Confirmation, parts: PartsOf, caller: Caller) -> OpenSession:
    """Hand the agent's confirmation to the enclave, and keep it as the ticket of the session."""
    named = _session_id(session_id)
    ticket = from_base64(body.ticket, "ticket")
    earlier = await asyncio.to_thread(parts.state.session, named)
    if earlier is not None and earlier.caller != caller.name:
        raise ServiceError(ErrorCode.SERVICE_CONFLICT, "the session is another caller's, expected a new one")
    answer = await parts.desk.ask(SessionConfirm(ticket=ticket), SessionConfirmAnswer)
    if answer.session_id != named:
        raise ServiceError(ErrorCode.SERVICE_REQUEST, "the ticket is of another session than the path, expected one")
    record = SessionRecord(session_id=named, caller=caller.name, ticket=ticket, created_ms=now_ms())
    await asyncio.to_thread(parts.state.add_session, record)
    return OpenSession(session_id=session_id, receipt=to_base64(answer.receipt))


@router.delete("/sessions/{session_id}")
async def end_session(session_id: _Id, body: SealedRecord, parts: PartsOf, caller: Caller) -> EndedSession:
    """Hand the agent's sealed goodbye to the enclave, and forget the ticket."""
    session = await _session(parts, session_id, caller)
    answer = await parts.desk.ask(SessionEnd(record=_handshake(body)), SessionEndAnswer)
    await asyncio.to_thread(parts.state.end_session, session.session_id)
    return EndedSession(receipt=to_base64(answer.receipt))


async def invoke(
    *,
    session_id: _Id,
    body: SealedRecord,
    parts: PartsOf,
    caller: Caller,
    response: Response,
    prefer: _Prefer = None,
    idempotency_key: Annotated[
        str | None, Header(description="1 to 128 printable characters.", json_schema_extra={"pattern": _KEY.pattern})
    ] = None,
) -> Result:
    """Take a sealed request; the result is in the answer when it is there within ``Prefer: wait``."""
    session = await _session(parts, session_id, caller)
    wait_s = _wait_s(prefer, parts)
    if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
        raise ServiceError(ErrorCode.SERVICE_REQUEST, "Idempotency-Key is not 1 to 128 printable characters")
    invocation = Invocation(
        result_id=secrets.token_hex(16),
        caller=caller.name,
        session_id=session.session_id,
        request=from_base64(body.record, "record"),
        created_ms=now_ms(),
    )
    taken = await parts.dispatcher.submit(invocation, idempotency_key=idempotency_key)
    found = taken
    if taken.state is ResultState.PENDING and wait_s:
        found = await _waited(parts, taken.result_id, wait_s, caller)
    response.headers["Location"] = f"/v1/results/{found.result_id}"
    if found.state is ResultState.PENDING:
        response.status_code = HTTPStatus.ACCEPTED
    return _described(found, response, prefer)


router.add_api_route(
    "/sessions/{session_id}/invocations",
    invoke,
    methods=["POST"],
    responses={202: {"model": Result, "description": "Taken; Location names the result."}, **refusing(422)},
    route_class_override=SealedRoute,
)


@router.get("/results/{result_id}")
async def result(result_id: _Id, parts: PartsOf, caller: Caller, response: Response, prefer: _Prefer = None) -> Result:
    """Return how far an invocation of the same caller has come, and its sealed result."""
    from_hex(result_id, "result_id", least=16, most=16)
    return _described(await _waited(parts, result_id, _wait_s(prefer, parts), caller), response, prefer)


async def _waited(parts: Parts, result_id: str, wait_s: int, caller: TokenRecord) -> Invocation:
    found = await parts.dispatcher.wait(result_id, wait_s)
    if found is None:
        found = await asyncio.to_thread(parts.state.invocation, result_id)
    if found is None or found.caller != caller.name:
        raise ServiceError(ErrorCode.SERVICE_NOT_FOUND, "no such result, expected one of this caller that is kept")
    return found


def _described(found: Invocation, response: Response, prefer: str | None) -> Result:
    if prefer is not None:
        response.headers["Preference-Applied"] = prefer
    if found.state is ResultState.PENDING:
        response.headers["Retry-After"] = str(POLL_S)
        response.headers.update(_NO_STORE)
    else:
        response.headers["ETag"] = f'"{found.result_id}"'
        response.headers["Cache-Control"] = "private, no-cache"
    refusal = None
    if found.problem_code is not None:
        refusal = Refusal(code=found.problem_code, detail=found.problem_detail or "")
    return Result(
        result_id=found.result_id,
        state=found.state.value,
        record=None if found.result is None else to_base64(found.result),
        receipt=None if found.receipt is None else to_base64(found.receipt),
        problem=refusal,
    )


async def _session(parts: Parts, session_id: str, caller: TokenRecord) -> SessionRecord:
    """Return a session of this caller.

    Raises:
        ServiceError: ``service-not-found`` for an unknown one, and for another caller's alike.
    """
    found = parts.state.session(_session_id(session_id))
    if found is None or found.caller != caller.name:
        raise ServiceError(ErrorCode.SERVICE_NOT_FOUND, "no such session, expected one of this caller")
    return found


def _session_id(text: str) -> bytes:
    return from_hex(text, "session_id", least=SESSION_ID_BYTES, most=SESSION_ID_BYTES)


def _handshake(body: SealedRecord) -> bytes:
    return from_base64(body.record, "record")


def _wait_s(prefer: str | None, parts: Parts) -> int:
    """Return how long to wait; preferences that are unknown are ignored. Spec: RFC 7240, 2 and 4.3."""
    for preference in (prefer or "").split(","):
        match = _WAIT.fullmatch(preference.strip())
        if match is not None:
            return min(int(match[1]), parts.settings.wait_max_s)
    return 0
