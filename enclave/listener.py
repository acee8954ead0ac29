"""The seam to whoever connects: a bound socket, AF_VSOCK in production and a Unix socket on a laptop."""

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

BACKLOG: Final = 512
"""Connections that may wait to be accepted: a burst that several times as many as are served at once make."""

ENCLAVE_PORT: Final = 5000
"""AF_VSOCK port on which the enclave listens."""


class Listener(Protocol):
    """Give a listening stream socket."""

    def bind(self) -> socket.socket:
        """Return a bound, listening, non-blocking socket.

        Raises:
            OSError: when the address is not to be had.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VsockListener:
    """Listen on AF_VSOCK: only the parent can connect to an enclave.

    Attributes:
        port: which.
    """

    port: int = ENCLAVE_PORT

    def bind(self) -> socket.socket:
        """Return a bound, listening, non-blocking socket, or raise OSError."""
        return _listening(socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM), (socket.VMADDR_CID_ANY, self.port))


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixListener:
    """Listen on a Unix socket.

    Attributes:
        path: of the socket; must not exist.
    """

    path: Path

    def bind(self) -> socket.socket:
        """Return a bound, listening, non-blocking socket, or raise OSError."""
        return _listening(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM), str(self.path))


def _listening(endpoint: socket.socket, address: str | tuple[int, int]) -> socket.socket:
    try:
        endpoint.bind(address)
        endpoint.listen(BACKLOG)
        endpoint.setblocking(False)
    except BaseException:
        endpoint.close()
        raise
    return endpoint
