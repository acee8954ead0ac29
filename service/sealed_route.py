"""Read the one request that comes all the time without the machinery that serves any signature.

The route is declared like every other, so the OpenAPI document and what is refused stay the same; only who reads body,
headers and token differs. What a dependency graph and its validators cost is more than what the service does itself.
"""

from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError

from service.parts import only, parts_of
from service.rest_shapes import SealedRecord
from service.state_store import Role

_caller: Final = only(Role.CALLER)


class SealedRoute(APIRoute):
    """Hand a sealed record to an endpoint that takes what ``invoke`` takes and returns a shape."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return what answers a request."""
        endpoint = self.endpoint

        async def handled(request: Request) -> Response:
            caller, headers = await _caller(request), request.headers
            answer = Response(media_type="application/json")
            shape = await endpoint(
                session_id=request.path_params["session_id"],
                body=_record(headers.get("content-type", ""), await request.body()),
                parts=await parts_of(request),
                caller=caller,
                response=answer,
                prefer=headers.get("prefer"),
                idempotency_key=headers.get("idempotency-key"),
            )
            answer.body = shape.model_dump_json().encode()
            answer.headers["Content-Length"] = str(len(answer.body))
            return answer

        return handled


def _record(content_type: str, body: bytes) -> SealedRecord:
    """Return the record of a body that says that it is JSON.

    Raises:
        RequestValidationError: for anything else.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind != "application/json" and not (kind.startswith("application/") and kind.endswith("+json")):
        raise RequestValidationError([{"loc": ("body",)}])
    try:
        return SealedRecord.model_validate_json(body)
    except ValidationError as error:
        raise RequestValidationError([{"loc": ("body", *one["loc"])} for one in error.errors()]) from None
