"""Call a WSGI application as a server does, without a socket."""

import io
from collections.abc import Callable, Iterable
from typing import Any

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]


def environ(method: str = "GET", path: str = "/", *, body: bytes = b"", **more: Any) -> dict[str, Any]:
    """Return the environ of a request from loopback; keyword arguments replace or add entries."""
    name, _, query = path.partition("?")
    return {
        "REQUEST_METHOD": method,
        "PATH_INFO": name,
        "QUERY_STRING": query,
        "CONTENT_LENGTH": str(len(body)),
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1:5600",
        "wsgi.input": io.BytesIO(body),
        "wsgi.url_scheme": "http",
        **more,
    }


def answer(app: WsgiApp, environ: dict[str, Any]) -> tuple[int, bytes]:
    """Return status and body of the answer."""
    told: list[str] = []

    def start_response(status: str, headers: list[tuple[str, str]]) -> Callable[[bytes], object]:
        told.append(status)
        assert dict(headers)["Content-Length"]
        return lambda _: None

    body = b"".join(app(environ, start_response))
    return int(told[0].split()[0]), body
