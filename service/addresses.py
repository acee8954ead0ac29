"""Name where parent and enclave meet: AF_VSOCK addresses in production, Unix sockets on a laptop."""

import asyncio
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BACKLOG: Final = 64
"""Connections that may wait to be accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VsockAddress:
    """Hold an AF_VSOCK address.

    Attributes:
        cid: whose; ``VMADDR_CID_ANY`` to listen.
        port: which.
    """

    cid: int
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixAddress:
    """Hold the path of a Unix socket."""

    path: Path


Address = VsockAddress | UnixAddress


def listen(address: Address) -> socket.socket:
    """Return a bound, listening, non-blocking socket.

    Raises:
        OSError: when the address is not to be had.
    """
    endpoint = _socket(address)
    try:
        endpoint.bind(_plain(address))
        endpoint.listen(BACKLOG)
    except BaseException:
        endpoint.close()
        raise
    return endpoint


async def connect(address: Address) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return streams to whoever listens there.

    Raises:
        OSError: when nobody does.
    """
    endpoint = _socket(address)
    try:
        await asyncio.get_running_loop().sock_connect(endpoint, _plain(address))
        return await asyncio.open_connection(sock=endpoint)
    except BaseException:
        endpoint.close()
        raise


def _socket(address: Address) -> socket.socket:
    family = socket.AF_VSOCK if isinstance(address, VsockAddress) else socket.AF_UNIX
    endpoint = socket.socket(family, socket.SOCK_STREAM)
    endpoint.setblocking(False)
    return endpoint


def _plain(address: Address) -> str | tuple[int, int]:
    return (address.cid, address.port) if isinstance(address, VsockAddress) else str(address.path)
