"""Relay plain bytes from the enclave to one KMS host, as AWS's vsock-proxy does: no framing, no look inside.

The TLS in the stream is the enclave's. The relay keeps one thing: which host the bytes go to.
Spec: aws-nitro-enclaves-cli, vsock_proxy/README.md (one local port, one remote address, an allow-list).
"""

import asyncio
import contextlib
import re
from dataclasses import dataclass
from typing import Final

from pcrgate.errors import ErrorCode, UsageError
from service.addresses import Address, admitting

KMS_HOST: Final = re.compile(r"kms(?:-fips)?\.[a-z]{2}(?:-[a-z]+)+-[0-9]\.amazonaws\.com(?:\.cn)?")
"""Hosts that a relay may reach in production."""

CHUNK_BYTES: Final = 64 << 10
"""Most bytes held for one direction of one connection."""

CONNECTIONS_MAX: Final = 64
"""Most connections at once; the enclave keeps ten open."""

CONNECT_TIMEOUT_S: Final = 5.0
"""Longest for the host to take a connection."""

IDLE_TIMEOUT_S: Final = 120.0
"""Longest silence in both directions: above every timeout of the enclave's client."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """Hold where the bytes go.

    Attributes:
        host: a KMS host, resolved when a connection comes.
        port: 443 in production.
    """

    host: str
    port: int = 443

    @classmethod
    def kms(cls, host: str) -> "Upstream":
        """Return a KMS endpoint of AWS.

        Raises:
            UsageError: ``usage-relay-host`` for any other host.
        """
        if not KMS_HOST.fullmatch(host):
            raise UsageError(ErrorCode.USAGE_RELAY_HOST, "the relay's host is not a KMS endpoint of AWS, expected one")
        return cls(host=host)


class Relay:
    """Move bytes between the enclave and its upstream."""

    def __init__(self, address: Address, upstream: Upstream) -> None:
        """Take both ends; nothing listens yet."""
        self._address: Final = address
        self._upstream: Final = upstream

    async def start(self) -> asyncio.Server:
        """Return what serves from now on, until it is closed.

        Raises:
            OSError: when the address is not to be had.
        """
        return await admitting(self._address, self._carry, most=CONNECTIONS_MAX, read_ahead_bytes=CHUNK_BYTES)

    async def serve(self) -> None:
        """Serve until cancelled.

        Raises:
            OSError: when the address is not to be had.
        """
        async with await self.start() as server:
            await server.serve_forever()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._both_ways(reader, writer)
        except (OSError, TimeoutError):
            pass  # one side is gone; the other hears it from its closed connection
        finally:
            writer.close()

    async def _both_ways(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            from_host, to_host = await self.dial()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_pour(reader, to_host))
                group.create_task(_pour(from_host, writer))
        except* (OSError, TimeoutError):
            pass
        finally:
            to_host.close()

    async def dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return streams to the upstream."""
        return await asyncio.open_connection(self._upstream.host, self._upstream.port, limit=CHUNK_BYTES)


async def _pour(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Move bytes one way until the source ends; the sink's back-pressure holds the source."""
    while True:
        async with asyncio.timeout(IDLE_TIMEOUT_S):
            piece = await source.read(CHUNK_BYTES)
        if not piece:
            break
        sink.write(piece)
        await sink.drain()
    with contextlib.suppress(OSError):
        sink.write_eof()
