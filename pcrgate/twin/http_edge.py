"""The HTTP edge of the twin's own applications: a WSGI environ read once, answers written as AWS JSON."""

import json
import socket
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NoReturn, Protocol

from pcrgate.twin.faults import FaultCode, FrontDoorError
from pcrgate.twin.sigv4 import HttpRequest

BODY_MAX_BYTES: Final = 1 << 20
"""Longest request body: a document of 262144 bytes and a policy of 131072, as base64 and JSON, fit."""

AMZ_JSON: Final = "application/x-amz-json-1.1"
"""Content type of the AWS JSON protocol."""


class StartResponse(Protocol):
    """Begin a WSGI response. Spec: PEP 3333."""

    def __call__(self, status: str, headers: list[tuple[str, str]], /) -> Callable[[bytes], object]:
        """Take status line and headers."""
        ...


def read_request(environ: Mapping[str, Any]) -> HttpRequest:
    """Return the request of a WSGI environ, its body read whole.

    Raises:
        FrontDoorError: ``RequestEntityTooLargeException``, or ``SerializationException`` when the body breaks off.
    """
    declared = environ.get("CONTENT_LENGTH") or "0"
    chunked = environ.get("wsgi.input_terminated", False)
    length = int(declared) if declared.isdecimal() else -1
    if not 0 <= length <= BODY_MAX_BYTES:
        raise FrontDoorError(FaultCode.REQUEST_TOO_LARGE, f"a request has at most {BODY_MAX_BYTES} bytes")
    body: bytes = environ["wsgi.input"].read(BODY_MAX_BYTES + 1 if chunked else length)
    if len(body) > BODY_MAX_BYTES:
        raise FrontDoorError(FaultCode.REQUEST_TOO_LARGE, f"a request has at most {BODY_MAX_BYTES} bytes")
    if not chunked and len(body) != length:
        raise FrontDoorError(FaultCode.SERIALIZATION, "the body of the request is shorter than declared")
    headers = {name[5:].replace("_", "-").lower(): value for name, value in environ.items() if name.startswith("HTTP_")}
    headers |= {
        name.replace("_", "-").lower(): environ[name] for name in ("CONTENT_TYPE", "CONTENT_LENGTH") if name in environ
    }
    return HttpRequest(
        method=environ["REQUEST_METHOD"],
        path=environ.get("PATH_INFO", "/") or "/",
        query=environ.get("QUERY_STRING", ""),
        headers=headers,
        body=body,
        source_ip=environ.get("REMOTE_ADDR", ""),
        secure=environ.get("wsgi.url_scheme") == "https",
    )


def respond(
    start_response: StartResponse, status: int, body: bytes, *, content_type: str = AMZ_JSON, request_id: str = ""
) -> list[bytes]:
    """Send one whole answer."""
    headers = [("Content-Type", content_type), ("Content-Length", str(len(body)))]
    if request_id:
        headers.append(("x-amzn-RequestId", request_id))
    start_response(f"{status} {'OK' if status == 200 else 'Refused'}", headers)
    return [body]


def error_body(code: str, message: str) -> bytes:
    """Return the JSON of an AWS error."""
    return json.dumps({"__type": code, "message": message}).encode()


def drop_connection(environ: Mapping[str, Any]) -> NoReturn:
    """End the connection without an answer.

    Raises:
        ConnectionAbortedError: always; the server takes it for a client that went away.
    """
    connection = environ.get("werkzeug.socket")
    if connection is not None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)
    raise ConnectionAbortedError
