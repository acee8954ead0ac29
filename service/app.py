"""Put the service together: parts, routes, refusals, and what happens at its beginning and end."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from importlib.metadata import version
from itertools import chain
from typing import Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, Route
from structlog.typing import FilteringBoundLogger

from pcrgate.errors import ErrorCode, PcrgateError, ServiceError
from service import agent_routes, public_routes, publisher_routes
from service.artifact_store import ArtifactStore
from service.dispatcher import Dispatcher
from service.enclave_desk import EnclaveDesk, Link
from service.enclave_link import EnclaveRefusedError
from service.encoded import to_base64
from service.guard import Guard
from service.log_lines import logger
from service.metrics import Metrics
from service.openapi_document import completed
from service.parts import Parts, now_ms
from service.rate_limits import RateLimits
from service.refusals import refuse, request_id_of
from service.settings import ServiceSettings
from service.shelf import Shelf
from service.state_store import StateStore
from service.tokens import Tokens
from service.upkeep import Upkeep
from service.uploads import UploadOffsetError, Uploads

DESCRIPTION: Final = """\
Carries sealed requests to an attested enclave and sealed results back. Nothing here is trusted: agents verify evidence
and receipts themselves (docs/protocol.md). Every refusal is a problem (RFC 9457) with a code of docs/errors.md.
"""


ROUTED: Final = (agent_routes, publisher_routes, public_routes)


def create_app(
    settings: ServiceSettings,
    *,
    state: StateStore,
    artifacts: ArtifactStore,
    tokens: Tokens,
    shelf: Shelf,
    link: Link,
    log: FilteringBoundLogger | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """Return the application.

    Args:
        settings: what the operator set.
        state: what is remembered; the caller closes it.
        artifacts: sealed files.
        tokens: who may ask.
        shelf: what the enclave is handed.
        link: to the enclave; closed when the service ends.
        log: where lines go; stderr when None.
        clock: seconds, never going back; for rates.
    """
    lines, metrics = log or logger(), Metrics()
    desk = EnclaveDesk(link, state)
    dispatcher = Dispatcher(
        state, desk, metrics=metrics, log=lines, at_once=settings.invocations_at_once,
        waiting=settings.invocations_waiting,
    )  # fmt: skip
    parts = Parts(
        settings=settings,
        state=state,
        artifacts=artifacts,
        tokens=tokens,
        uploads=Uploads(artifacts, state),
        shelf=shelf,
        rates=RateLimits(per_s=settings.rate_per_s, burst=settings.rate_burst, clock=clock),
        desk=desk,
        dispatcher=dispatcher,
        metrics=metrics,
        log=lines,
    )

    upkeep = Upkeep(
        state, parts.uploads, result_keep_s=settings.result_keep_s, upload_keep_s=settings.upload_keep_s, log=lines,
        now_ms=now_ms,
    )  # fmt: skip

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        lines.info("invocations taken up", count=await dispatcher.take_up())
        keeping = asyncio.create_task(upkeep.run())
        yield
        keeping.cancel()
        await dispatcher.drain(settings.drain_s)
        await asyncio.gather(keeping, return_exceptions=True)
        await desk.close()

    app = FastAPI(
        title="pcrgate service",
        version=version("pcrgate"),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        redirect_slashes=False,
    )
    app.state.parts = parts
    app.openapi = completed(app)  # type: ignore[method-assign]  # as FastAPI's documentation does it
    for part in ROUTED:
        app.include_router(part.router)
    app.add_exception_handler(PcrgateError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _unroutable)
    app.add_middleware(Guard, settings=settings, metrics=metrics, log=lines)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    headers = {}
    if isinstance(error, UploadOffsetError):
        headers["Upload-Offset"] = str(error.received_bytes)
    receipt = error.problem.receipt if isinstance(error, EnclaveRefusedError) else None
    if isinstance(error, PcrgateError):
        request.scope["pcrgate.code"] = error.code.code
    return refuse(error, request_id_of(request), headers, receipt=None if receipt is None else to_base64(receipt))


async def _invalid(request: Request, error: Exception) -> Response:
    """Name the fields that cannot be read, never what stands in them."""
    names = set()
    if isinstance(error, RequestValidationError):
        names = {".".join(str(part) for part in one["loc"] if isinstance(part, str)) for one in error.errors()}
    known = ", ".join(sorted(name for name in names if len(name) < 64 and name.isascii() and name.isprintable()))
    fact = f"cannot read {known or 'the request'}, expected what the OpenAPI document says"
    return await _refused(request, ServiceError(ErrorCode.SERVICE_REQUEST, fact))


async def _unroutable(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 0
    if status == 404:
        return await _refused(
            request, ServiceError(ErrorCode.SERVICE_NOT_FOUND, "no such path, expected one of the API")
        )
    if status == 405:
        request.scope["pcrgate.code"] = ErrorCode.SERVICE_METHOD.code
        refusal = ServiceError(ErrorCode.SERVICE_METHOD, "the path does not take this method, expected another")
        return refuse(refusal, request_id_of(request), {"Allow": ", ".join(sorted(_methods(request)))})
    return await _refused(request, ServiceError(ErrorCode.SERVICE_REQUEST, "the request cannot be read"))


def _methods(request: Request) -> set[str]:
    """Return what a path takes, by all routes that it fits: one path can have several, a method each."""
    found: set[str] = set()
    for route in chain(request.app.routes, *(part.router.routes for part in ROUTED)):
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return found
