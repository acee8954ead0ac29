"""Complete the OpenAPI document: who may ask, every status that an answer can have, problems in one form.

What FastAPI knows by itself is what succeeds. A status that is not in the document is a fault of the service.
"""

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from service.refusals import PROBLEM_TYPE
from service.rest_shapes import ProblemShape

ALWAYS: Final = (400, 401, 403, 404, 405, 408, 413, 429, 500, 503)
"""Refusals that every route but health can answer with: of the guard, of tokens and rates, of paths and parameters;
500 for what nobody foresaw."""

TOLD: Final = {
    304: "As the caller has it.",
    400: "The request, or what it carries for the enclave, cannot be read; or its query has a parameter that is unknown"
    " or stands twice.",
    401: "No bearer token that is known.",
    403: "The token's role may not, or the enclave refuses.",
    404: "Nothing of this name, for this caller.",
    405: "The path takes other methods; Allow names them.",
    408: "The body did not come in time.",
    409: "It contradicts what is there, or an upload goes on elsewhere.",
    411: "No Content-Length.",
    412: "The current manifest is another one.",
    413: "The body is too long.",
    422: "It can be read and not be taken: a wrong digest, a manifest, a key that was used.",
    429: "More requests than the token may send; Retry-After says when to come again.",
    500: "Nobody foresaw this.",
    502: "KMS did not release what the enclave needs.",
    503: "Not now; Retry-After says when to come again.",
}
"""What each status says; codes say more."""

_RETRY: Final = {
    "Retry-After": {"description": "Seconds.", "required": True, "schema": {"type": "string", "pattern": r"^\d+$"}}
}
_UNNAMED: Final = frozenset({"HTTPValidationError", "ValidationError"})
_OPEN: Final = frozenset({"/healthz", "/readyz"})


def refusing(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what a route states as ``responses``: the refusals that it has beside those that all have."""
    return {status: _refusal(status) for status in statuses}


def completed(app: FastAPI) -> Callable[[], dict[str, Any]]:
    """Return the method that makes an application's document, once."""

    def made() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    return made


def _document(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    schemas: dict[str, Any] = document["components"]["schemas"]
    for name in _UNNAMED:
        schemas.pop(name, None)
    schemas["Problem"] = ProblemShape.model_json_schema()
    document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            _complete(operation, is_open=path in _OPEN, has_body=method != "head")
    return document


def _complete(operation: dict[str, Any], *, is_open: bool, has_body: bool) -> None:
    responses: dict[str, Any] = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]  # those are problems with status 400 here
    if is_open:
        operation["security"] = []
    else:
        responses.update({str(status): _refusal(status) for status in ALWAYS})
    if not has_body:
        for answer in responses.values():
            answer.pop("content", None)
    operation["responses"] = dict(sorted(responses.items()))
    for parameter in operation.get("parameters", ()):
        _never_null(parameter["schema"])


def _never_null(schema: dict[str, Any]) -> None:
    """Say of a parameter what it is when it is there: a header or a query has no null."""
    kinds = [kind for kind in schema.pop("anyOf", ()) if kind != {"type": "null"}]
    for kind in kinds:
        schema.update(kind)


def _refusal(status: int) -> dict[str, Any]:
    made: dict[str, Any] = {"description": TOLD[status]}
    if status >= HTTPStatus.BAD_REQUEST:
        made["content"] = {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    if status in {429, 503}:
        made["headers"] = _RETRY
    return made
