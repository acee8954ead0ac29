"""Listeners: moto's request handler behind sockets that are bound, tracked and closed by us.

werkzeug's own start-up ends the process when a port is in use, and its TLS does the handshake in the accepting thread,
where one silent client stops everybody; both are done here instead.
"""

import contextlib
import errno
import socket
import ssl
import threading
from typing import Any, Final

from moto.moto_server.werkzeug_app import MotoRequestHandler
from werkzeug.serving import ThreadedWSGIServer

from pcrgate.errors import ErrorCode, UsageError

HANDSHAKE_TIMEOUT_S: Final = 10
"""Longest TLS handshake: loopback clients need milliseconds."""

IDLE_TIMEOUT_S: Final = 60
"""Longest silence on a connection before its thread ends."""

BACKLOG: Final = 128
"""Connections that may wait to be accepted: a test suite's burst."""


class _QuietHandler(MotoRequestHandler):  # type: ignore[misc]  # moto ships no types
    """Log no line a request: the audit trail is the record."""

    timeout = IDLE_TIMEOUT_S

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Say nothing."""


class _Server(ThreadedWSGIServer):
    """Serve one listening socket, one thread a connection, and be able to close all of them."""

    def __init__(self, host: str, listening: socket.socket, app: Any, context: ssl.SSLContext | None) -> None:
        super().__init__(host, 0, app, handler=_QuietHandler, fd=listening.fileno())
        self.ssl_context = context
        self._open_lock = threading.Lock()
        self._open: set[socket.socket] = set()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Do the handshake, answer, close: all in the connection's own thread."""
        connection: socket.socket = request
        try:
            if self.ssl_context is not None:
                connection.settimeout(HANDSHAKE_TIMEOUT_S)
                connection = self.ssl_context.wrap_socket(connection, server_side=True)
            with self._open_lock:
                self._open.add(connection)
            self.finish_request(connection, client_address)
        except (OSError, ValueError):
            pass  # the peer went away, or never spoke TLS: nobody is left to tell
        finally:
            with self._open_lock:
                self._open.discard(connection)
            self.shutdown_request(connection)

    def close_connections(self) -> None:
        """End every open connection."""
        with self._open_lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class Listener:
    """Hold one running listener.

    Attributes:
        port: the bound port.
        url: scheme, host and port, without a trailing slash.
    """

    def __init__(self, host: str, port: int, app: Any, *, context: ssl.SSLContext | None = None) -> None:
        """Bind and serve in a thread of its own.

        Raises:
            UsageError: ``usage-port`` when the port is in use or not ours to bind.
        """
        listening = _bind(host, port)
        try:
            self._server = _Server(host, listening, app, context)
        finally:
            listening.close()
        self.port: Final[int] = self._server.server_address[1]
        shown = f"[{host}]" if ":" in host else host
        self.url: Final = f"{'http' if context is None else 'https'}://{shown}:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name=f"twin {self.url}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Stop accepting, end open connections, give the port back. Stopping twice is fine."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._server.close_connections()
            self._thread.join()


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        listening.close()
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "is in use by another program" if taken else f"cannot be bound ({error})"
        raise UsageError(ErrorCode.USAGE_PORT, f"port {port} on {host} {reason}, expected a free one") from error
    return listening
