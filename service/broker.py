"""Answer what the enclave asks its parent for: the manifest, credentials, sealed files."""

import asyncio
import contextlib
from pathlib import Path
from typing import Final

from pcrgate.errors import ErrorCode, PcrgateError, WireError
from pcrgate.units import Sha384
from pcrgate.wire.frames import HEAD_BYTES, parse_head
from pcrgate.wire.messages import (
    BlobAnswer,
    BlobRequest,
    CredentialsRequest,
    ManifestAnswer,
    ManifestRequest,
    Message,
    decode_message,
    encode_message,
)
from pcrgate.wire.problems import problem_of
from service.addresses import Address, admitting
from service.blobs import BlobStore
from service.credentials import CredentialsProvider

IDLE_TIMEOUT_S: Final = 120.0
"""Longest silence of an enclave on an open connection."""

CONNECTIONS_MAX: Final = 64
"""Most connections at once: an enclave has a few, so whoever else dials cannot take all of the parent's files."""

READ_AHEAD_BYTES: Final = 64 << 10
"""Most that is read of a connection before it is asked for; requests have some hundred bytes."""


class Broker:
    """Serve one enclave."""

    def __init__(self, address: Address, *, manifest: Path, blobs: BlobStore, credentials: CredentialsProvider) -> None:
        """Take what is handed out; nothing listens yet.

        Args:
            address: where the enclave dials.
            manifest: file with the signed manifest, read each time.
            blobs: sealed files.
            credentials: AWS credentials.
        """
        self._address: Final = address
        self._manifest: Final = manifest
        self._blobs: Final = blobs
        self._credentials: Final = credentials

    async def start(self) -> asyncio.Server:
        """Return what serves from now on, until it is closed.

        Raises:
            OSError: when the address is not to be had.
        """
        return await admitting(self._address, self._converse, most=CONNECTIONS_MAX, read_ahead_bytes=READ_AHEAD_BYTES)

    async def serve(self) -> None:
        """Serve until cancelled.

        Raises:
            OSError: when the address is not to be had.
        """
        async with await self.start() as server:
            await server.serve_forever()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            try:
                while True:
                    async with asyncio.timeout(IDLE_TIMEOUT_S):
                        head = parse_head(await reader.readexactly(HEAD_BYTES))
                        message = decode_message(head, await reader.readexactly(head.payload_bytes))
                    if isinstance(message, BlobRequest):
                        await self.send_blob(message, writer)
                        break
                    writer.write(encode_message(await asyncio.to_thread(self.answer, message)))
                    await writer.drain()
            except PcrgateError as error:
                writer.write(encode_message(problem_of(error)))
                await writer.drain()
            finally:
                writer.close()

    def answer(self, message: Message) -> Message:
        """Return the answer to anything but a request for a sealed file.

        Raises:
            PcrgateError: the refusal.
        """
        if isinstance(message, ManifestRequest):
            try:
                return ManifestAnswer(manifest=self._manifest.read_bytes())
            except OSError as error:
                raise WireError(ErrorCode.WIRE_LINK, "the manifest cannot be read, expected the file") from error
        if isinstance(message, CredentialsRequest):
            return self._credentials.current()
        raise WireError(ErrorCode.WIRE_MESSAGE, "not a request of an enclave to its parent, expected one")

    async def send_blob(self, request: BlobRequest, writer: asyncio.StreamWriter) -> None:
        """Send a sealed file from an offset on, unframed after its head."""
        # One from a bucket is copied here first, which takes as long as it takes; others are served meanwhile.
        path = await asyncio.to_thread(self._blobs.find, Sha384(request.sha384))
        with path.open("rb") as file:
            size = path.stat().st_size
            offset = min(request.offset, size)
            writer.write(encode_message(BlobAnswer(follows_bytes=size - offset)))
            await writer.drain()
            if size > offset:
                await asyncio.get_running_loop().sendfile(writer.transport, file, offset)
