"""Name where parent and enclave meet: AF_VSOCK addresses in production, Unix sockets on a laptop."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
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

Converse = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""What carries out one connection."""


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


async def admitting(address: Address, converse: Converse, *, most: int, read_ahead_bytes: int) -> asyncio.Server:
    """Return what serves from now on, until it is closed.

    Args:
        address: where to listen.
        converse: carries out one connection, and closes it.
        most: connections at once; the next one is closed unheard.
        read_ahead_bytes: most that is read of a connection before it is asked for.

    Raises:
        OSError: when the address is not to be had.
    """
    admitted = 0

    async def admit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal admitted
        if admitted >= most:
            writer.close()
            return
        admitted += 1
        try:
            await converse(reader, writer)
        finally:
            admitted -= 1

    return await asyncio.start_server(admit, sock=listen(address), limit=read_ahead_bytes)


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
