"""Say every refusal in one form: RFC 9457 problem details with a code of the error family.

Spec: RFC 9457, 3; RFC 9110, 15 for the status codes.
"""

import json
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from pcrgate.errors import ErrorCode, PcrgateError
from pcrgate.wire.problems import problem_details, problem_of, status_of
from service.pace import RETRY_UNKNOWN_S, BusyError, spread_s
from service.rate_limits import RateExceededError

PROBLEM_TYPE: Final = "application/problem+json"

STATUS: Final = {
    ErrorCode.SERVICE_BUSY: 503,
    ErrorCode.SERVICE_CONFLICT: 409,
    ErrorCode.SERVICE_CREDENTIALS: 401,
    ErrorCode.SERVICE_DIGEST: 422,
    ErrorCode.SERVICE_IDEMPOTENCY: 422,
    ErrorCode.SERVICE_LENGTH_REQUIRED: 411,
    ErrorCode.SERVICE_METHOD: 405,
    ErrorCode.SERVICE_NOT_FOUND: 404,
    ErrorCode.SERVICE_PRECONDITION: 412,
    ErrorCode.SERVICE_QUERY: 400,
    ErrorCode.SERVICE_RATE: 429,
    ErrorCode.SERVICE_REQUEST: 400,
    ErrorCode.SERVICE_ROLE: 403,
    ErrorCode.SERVICE_STORE: 503,
    ErrorCode.SERVICE_TIMEOUT: 408,
    ErrorCode.SERVICE_TOO_LARGE: 413,
    ErrorCode.SERVICE_UPLOAD_OFFSET: 409,
    ErrorCode.WIRE_LINK: 503,
}
"""The status of each of the service's own codes; those of other parts have theirs in ``pcrgate.wire.problems``. An
enclave that is not there comes again, so that is no bad gateway."""

_BY_CODE: Final = {member.code: member for member in ErrorCode}
_TRY_LATER: Final = frozenset({503})


def http_status(code: ErrorCode) -> int:
    """Return the HTTP status of a code; a manifest that is refused is content that cannot be processed."""
    if code in STATUS:
        return STATUS[code]
    return 422 if code.name.startswith("MANIFEST_") else status_of(code)


def details(error: Exception, request_id: str) -> dict[str, str | int]:
    """Return the members of a problem details object; an error that is not ours says nothing of itself.

    Args:
        error: what was raised.
        request_id: becomes the ``instance``.
    """
    problem = problem_of(error)
    code = error.code if isinstance(error, PcrgateError) else ErrorCode.INTERNAL
    return {
        **problem_details(problem),
        "status": http_status(code),
        "code": code.code,
        "advice": code.advice,
        "instance": f"urn:pcrgate:request:{request_id}",
    }


def refuse(
    error: Exception, request_id: str, headers: dict[str, str] | None = None, *, receipt: str | None = None
) -> Response:
    """Return the answer that refuses with an error, with the enclave's receipt in base64 if it gave one."""
    body = details(error, request_id) | ({} if receipt is None else {"receipt": receipt})
    made = Response(json.dumps(body), status_code=int(body["status"]), media_type=PROBLEM_TYPE)
    made.headers["Cache-Control"] = "no-store"
    if isinstance(error, RateExceededError | BusyError):
        made.headers["Retry-After"] = str(error.retry_after_s)
    elif made.status_code in _TRY_LATER:
        made.headers["Retry-After"] = str(spread_s(RETRY_UNKNOWN_S))
    if made.status_code == 401:
        made.headers["WWW-Authenticate"] = 'Bearer realm="pcrgate"'
    made.headers.update(headers or {})
    return made


def request_id_of(request: Request) -> str:
    """Return the id that the guard gave a request."""
    found = request.scope.get("pcrgate.request_id")
    return found if isinstance(found, str) else "none"
