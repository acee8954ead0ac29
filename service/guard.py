"""Stand before every request: name it, bound what it may hold, catch whatever is raised, count and log it.

Bodies are read whole before anything else runs, within a length and a deadline; those of artifacts are streamed by
their route, piece by piece, each within the same deadline.
"""

import asyncio
import re
import secrets
import time
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from pcrgate.errors import ErrorCode, PcrgateError, ServiceError
from service.admission import Admission
from service.metrics import Metrics, route_of
from service.refusals import refuse
from service.settings import BODY_MAX_BYTES, ServiceSettings

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEALTH: Final = "health"


class Guard:
    """Wrap the application."""

    def __init__(self, app: ASGIApp, *, settings: ServiceSettings, metrics: Metrics, log: FilteringBoundLogger) -> None:
        """Take what is wrapped and what bounds it."""
        self._app: Final = app
        self._settings: Final = settings
        self._metrics: Final = metrics
        self._log: Final = log
        self._admission: Final = Admission(
            settings.requests_at_once, line_max=settings.requests_waiting, wait_s=settings.requests_wait_s
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Carry out one request; anything but HTTP is passed on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _request_id(scope)
        scope["pcrgate.request_id"] = request_id
        route, begun, status = route_of(scope["path"]), time.monotonic(), 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [
                    *message.get("headers", []),
                    (b"x-request-id", request_id.encode()),
                    (b"x-content-type-options", b"nosniff"),
                ]
            await send(message)

        self._metrics.begun()
        code = None
        try:
            await self._admitted(scope, receive, sending, route)
        except ClientDisconnect:
            code = "disconnected"
        except Exception as error:  # noqa: BLE001 - the last line of defence: a problem, never a traceback
            code = error.code.code if isinstance(error, PcrgateError) else ErrorCode.INTERNAL.code
            if not isinstance(error, PcrgateError):
                self._log.error("unexpected", type=type(error).__name__, request_id=request_id)
            if not status:
                await refuse(error, request_id)(scope, receive, sending)
        finally:
            self._metrics.ended(route, status or 499)
        if route != _HEALTH:
            duration_ms = round((time.monotonic() - begun) * 1000)
            self._log.info(
                "request", request_id=request_id, method=scope["method"], route=route, status=status,
                duration_ms=duration_ms, code=scope.get("pcrgate.code", code), caller=scope.get("pcrgate.caller"),
            )  # fmt: skip

    async def _admitted(self, scope: Scope, receive: Receive, send: Send, route: str) -> None:
        if route == _HEALTH:
            await self._app(scope, receive, send)
            return
        await self._admission.enter()
        entered = time.monotonic()
        try:
            await self._carried(scope, receive, send, route)
        finally:
            self._admission.leave(time.monotonic() - entered)

    async def _carried(self, scope: Scope, receive: Receive, send: Send, route: str) -> None:
        patient = self._patient(receive)
        if route == "artifacts" and scope["method"] == "PUT":
            await self._app(scope, patient, send)
            return
        body = await _whole_body(scope, patient)

        async def replayed() -> Message:
            nonlocal body
            if body is None:
                return await receive()
            message: Message = {"type": "http.request", "body": body, "more_body": False}
            body = None
            return message

        await self._app(scope, replayed, send)

    def _patient(self, receive: Receive) -> Receive:
        """Wait for the next piece of a body, and no longer than the deadline."""

        async def receiving() -> Message:
            try:
                async with asyncio.timeout(self._settings.body_timeout_s):
                    return await receive()
            except TimeoutError as error:
                raise ServiceError(
                    ErrorCode.SERVICE_TIMEOUT,
                    f"no piece of the body for {self._settings.body_timeout_s:g} s, expected it sooner",
                ) from error

        return receiving


async def _whole_body(scope: Scope, receive: Receive) -> bytes | None:
    """Return the body.

    Raises:
        ServiceError: ``service-too-large``, ``service-timeout``.
        ClientDisconnect: when the client went away.
    """
    declared = dict(scope["headers"]).get(b"content-length", b"0")
    if declared.isdigit() and int(declared) > BODY_MAX_BYTES:
        raise _too_large()
    body, more = bytearray(), True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > BODY_MAX_BYTES:
            raise _too_large()
    return bytes(body)


def _too_large() -> ServiceError:
    return ServiceError(ErrorCode.SERVICE_TOO_LARGE, f"the body is too long, expected at most {BODY_MAX_BYTES} bytes")


def _request_id(scope: Scope) -> str:
    """Return the caller's own id when it is of a harmless form, else a new one."""
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
